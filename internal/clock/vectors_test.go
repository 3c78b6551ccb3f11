package clock

import (
	"bytes"
	"math"
	"testing"

	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds what of a log is void against testdata/vectors/void.json.
func TestVectors(t *testing.T) {
	h, o := Hash(bytes.Repeat([]byte{1}, 32)), Hash(bytes.Repeat([]byte{2}, 32))
	var all []vectors.Vector
	for _, c := range []struct {
		name string
		Void
	}{
		{"nothing", Void{}},
		{"all", VoidAll()},
		{"spans and records", NewVoid([]Span{{1, 3}, {7, math.MaxUint64}}, []Single{{5, h}})},
		{"spans of which records are kept", NewVoid([]Span{{1, 9}}, []Single{{11, h}}).But([]Single{{4, h}, {4, o}})},
	} {
		all = append(all, vectors.Vector{Name: c.name, Values: c.Void, Bytes: c.Encode(), Back: func(b []byte) (any, error) { return DecodeVoid(b) }})
	}
	vectors.Check(t, "void", "docs/design/db.md, Keys", all...)
}
