package clock

import (
	"bytes"
	"math"
	"testing"

	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds what of a log is void against testdata/vectors/void.json.
func TestVectors(t *testing.T) {
	h := Hash(bytes.Repeat([]byte{1}, 32))
	var all []vectors.Vector
	for _, c := range []struct {
		name string
		Void
	}{
		{"nothing", Void{}},
		{"all", VoidAll()},
		{"spans and records", NewVoid([]Span{{1, 3}, {7, math.MaxUint64}}, []Single{{5, h}})},
	} {
		all = append(all, vectors.Vector{Name: c.name, Values: c.Void, Bytes: c.Encode(), Back: func(b []byte) (any, error) { return DecodeVoid(b) }})
	}
	vectors.Check(t, "void", "docs/design/db.md, Keys", all...)
}
