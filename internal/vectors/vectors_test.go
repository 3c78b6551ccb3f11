package vectors

import (
	"testing"
)

// A recorder notes what a check says, and does not fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }

// TestCheckNotices holds Check against a file of its own with everything wrong that can be.
func TestCheckNotices(t *testing.T) {
	same := func(v any) func([]byte) (any, error) { return func([]byte) (any, error) { return v, nil } }
	type pair struct{ A, b int }
	good := Vector{Name: "one", Values: pair{A: 1}, Bytes: []byte{1, 2}, Gives: Gives{"x": []byte{3}}, Back: same(pair{A: 1})}
	if Writing() {
		Check(t, "vectors", "internal/vectors: how a file is written", good)
	}
	change := func(f func(v *Vector)) []Vector { v := good; f(&v); return []Vector{v} }
	for name, c := range map[string]struct {
		vs    []Vector
		fails bool
	}{
		"as it is":       {[]Vector{good}, false},
		"private fields": {change(func(v *Vector) { v.Values = pair{A: 1, b: 7} }), false},
		"other values":   {change(func(v *Vector) { v.Values = pair{A: 2} }), true},
		"other bytes":    {change(func(v *Vector) { v.Bytes = []byte{1} }), true},
		"gives another":  {change(func(v *Vector) { v.Gives = Gives{"x": []byte{4}} }), true},
		"decodes wrong":  {change(func(v *Vector) { v.Back = same(pair{A: 3}) }), true},
		"another name":   {change(func(v *Vector) { v.Name = "two" }), true},
		"one more":       {append([]Vector{good}, Vector{Name: "two"}), true},
		"one less":       {nil, true},
	} {
		r := &recorder{TB: t}
		if Writing() {
			break
		}
		if Check(r, "vectors", "internal/vectors: how a file is written", c.vs...); r.failed != c.fails {
			t.Errorf("%s: noticed %v, want %v", name, r.failed, c.fails)
		}
	}
}
