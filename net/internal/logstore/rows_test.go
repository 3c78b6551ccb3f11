package logstore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
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
	b := Branch{Base: id, Tip: id, Time: 99, Signed: id, Records: 1000, Bytes: 1 << 33}
	f := Refusal{ID: id, Kind: fault.Void, Reason: "why"}
	k := format.FirstKeys(bytesFrom[format.ThreadID](1), bytesFrom[format.SecretKey](2), bytesFrom[format.SecretKey](3))
	invite, err := hex.DecodeString(fixedText(t)["invite"])
	if err != nil {
		t.Fatal(err)
	}
	s := Secrets{Relay: true, Keys: k.Encode(), Invite: invite}
	return map[string][]byte{"branch": b.encode(), "refused": f.encode(), "invite": invite, "secrets": s.Encode()}
}

// fixedText reads the rows as they were fixed, in hex.
func fixedText(t testing.TB) (rows map[string]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/rows.json")
	if err == nil {
		err = json.Unmarshal(text, &rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// What the store of every home holds must never change.
func TestRowsAreFixed(t *testing.T) {
	want := fixedText(t)
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
