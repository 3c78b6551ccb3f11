package thread

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

func bytesFrom[T ~[32]byte](b byte) (a T) {
	for i := range a {
		a[i] = b + byte(i)
	}
	return a
}

// fixedRows returns the encodings of fixed values, by the name of the row.
func fixedRows(t testing.TB) map[string][]byte {
	t.Helper()
	id := clock.RecordID{Log: bytesFrom[clock.LogID](1), Seq: 70000, Hash: bytesFrom[clock.Hash](2)}
	b := branch{base: id, tip: id, time: 99, signed: id, records: 1000, bytes: 1 << 33}
	f := Refusal{ID: id, Kind: fault.Void, Reason: "why"}
	k := format.FirstKeys(bytesFrom[format.ThreadID](1), bytesFrom[format.SecretKey](2), bytesFrom[format.SecretKey](3))
	var fixed map[string]string
	readJSON(t, "testdata/rows.json", &fixed)
	invite, err := hex.DecodeString(fixed["invite"])
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"branch": b.encode(), "refused": encodeRefusal(&f), "invite": invite,
		"secrets": rows.Encode(&secretsRow{Relay: true, Keys: k.Encode(), Invite: invite}),
	}
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// What the store of every home holds must never change.
func TestRowsAreFixed(t *testing.T) {
	var want map[string]string
	readJSON(t, "testdata/rows.json", &want)
	got := fixedRows(t)
	for name, b := range got {
		if hex.EncodeToString(b) != want[name] {
			t.Errorf("%s: got %x, want %s", name, b, want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d rows, want %d", len(got), len(want))
	}
}

// What is stored here is decoded as strictly as what peers send.
func FuzzRows(f *testing.F) {
	f.Add(fixedRows(f)["branch"])
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := decodeBranch(clock.LogID{}, 0, p); err == nil && !bytes.Equal(b.encode(), p) {
			t.Error("a branch encodes to other bytes")
		}
	})
}

// anotherGenesis returns the signed genesis of some other thread.
func anotherGenesis(t testing.TB) []byte {
	t.Helper()
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := format.NewGenesis(d, cert, 5)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
