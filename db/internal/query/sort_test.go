package query_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

// TestSortArrays: fields that meet one array take the element of it that comes
// first in the order of the sort; others count each on its own.
func TestSortArrays(t *testing.T) {
	for _, c := range []struct{ sort, low, high string }{
		{`{"a.x":1,"a.y":1}`, `{"a":[{"x":1,"y":5},{"x":9,"y":6}]}`, `{"a":[{"x":1,"y":7},{"x":9,"y":0}]}`},
		{`{"a.x":1,"a.y":-1}`, `{"a":[{"x":1,"y":5}]}`, `{"a":[{"x":1,"y":4},{"x":2,"y":9}]}`},
		{`{"a.x":-1,"a.y":1}`, `{"a":[{"x":3,"y":9},{"x":1,"y":0}]}`, `{"a":[{"x":2,"y":0}]}`},
		{`{"a":1,"a.x":1}`, `{"a":[{"x":1},{"x":2}]}`, `{"a":[{"x":2},{"x":3}]}`},
		{`{"a.x":1,"a.y":1}`, `{"a":[]}`, `{"a":[{"x":1,"y":1}]}`},
		{`{"a.x":1,"a.y":1}`, `{"a":5}`, `{"a":[{"x":1}]}`},
		{`{"a.0.x":1,"a.1.x":1}`, `{"a":[{"x":1},{"x":5}]}`, `{"a":[{"x":1},{"x":6}]}`},
		{`{"a.x":1,"a.y":1}`, `{"a":{"x":[2,1],"y":[3,4]}}`, `{"a":{"x":[1],"y":[4]}}`},
		{`{"a.x.p":1,"a.x.q":1}`, `{"a":[{"x":[{"p":1,"q":2},{"p":3,"q":0}]}]}`, `{"a":[{"x":[{"p":1,"q":3},{"p":3,"q":0}]}]}`},
		{`{"a":1,"b":1}`, `{"a":[1,5],"b":[2]}`, `{"a":[1],"b":[3,4]}`},
		{`{"a.b":1,"a.c":-1}`, `{"a":{"b":1,"c":3}}`, `{"a":{"b":1,"c":2}}`},
		{`{"a":1}`, `{"a":[]}`, `{"a":null}`},
		{`{"a":-1}`, `{"a":[1,9]}`, `{"a":[3,4]}`},
	} {
		s, err := query.CompileSort(parse(t, []byte(c.sort)))
		if err != nil {
			t.Fatal(err)
		}
		low, high := parse(t, []byte(c.low)), parse(t, []byte(c.high))
		if s.Compare(low, high) != -1 || s.Compare(high, low) != 1 || s.Compare(low, low) != 0 {
			t.Errorf("%s: %s is not before %s", c.sort, c.low, c.high)
		}
	}
}

// TestSortIsOrder: Compare is a total order that Key keeps.
func TestSortIsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := ""
		for i, p := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "a.b", "a.0", "a.0.b", "b", "b.b"}), 1, 4, rapid.ID).Draw(t, "paths") {
			if i > 0 {
				spec += ","
			}
			spec += fmt.Sprintf("%q:%d", p, rapid.SampledFrom([]int{1, -1}).Draw(t, "direction"))
		}
		s, err := query.CompileSort(parse(t, []byte("{"+spec+"}")))
		if err != nil {
			t.Fatal(err)
		}
		var docs [][]byte
		for range 3 {
			docs = append(docs, parse(t, []byte(`{"a":`+drawJSON(t, 0)+`,"b":`+drawJSON(t, 0)+`}`)))
		}
		for _, a := range docs {
			for _, b := range docs {
				c := s.Compare(a, b)
				if k := bytes.Compare(s.Key(nil, a), s.Key(nil, b)); k != c || s.Compare(b, a) != -c {
					t.Fatalf("%s: Compare %d, Key %d, backward %d of %s and %s", spec, c, k, s.Compare(b, a), value.AppendJSON(nil, a, false), value.AppendJSON(nil, b, false))
				}
				for _, d := range docs {
					if c <= 0 && s.Compare(b, d) <= 0 && s.Compare(a, d) > 0 {
						t.Fatalf("%s is no order", spec)
					}
				}
			}
		}
	})
}
