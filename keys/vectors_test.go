package keys_test

import (
	"compress/gzip"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/weftdb/weft/keys"
)

// Outside vectors of every edge case of a key and of R: a key that is not of the
// group of prime order is refused, and so is what only some verifiers accept.
func TestEd25519Vectors(t *testing.T) {
	f, err := os.Open("testdata/ed25519/vectors.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Number        int
		Key, Sig, Msg string
		Flags         []string
	}
	if err := json.NewDecoder(z).Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, v := range vectors {
		has := func(flags ...string) bool {
			return slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(v.Flags, f) })
		}
		key, err1 := hex.DecodeString(v.Key)
		sig, err2 := hex.DecodeString(v.Sig)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		usable := keys.PublicKey(key).Check() == nil
		if want := !has("low_order_A", "low_order_component_A", "non_canonical_A"); usable != want {
			t.Errorf("vector %d %v: key usable: got %v, want %v", v.Number, v.Flags, usable, want)
		}
		if !usable {
			got["key refused"]++
			continue
		}
		accepted := ed25519.Verify(key, []byte(v.Msg), sig)
		if want := !has("low_order_residue", "non_canonical_R"); accepted != want {
			t.Errorf("vector %d %v: accepted: got %v, want %v", v.Number, v.Flags, accepted, want)
		}
		if accepted {
			got["accepted"]++
		} else {
			got["refused"]++
		}
	}
	if len(vectors) != 914 || got["key refused"] == 0 || got["accepted"] == 0 || got["refused"] == 0 {
		t.Errorf("got %d vectors, %v", len(vectors), got)
	}
}
