package plan

import (
	"bytes"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// An Interval is the index keys k of one field with lo <= k < hi; hi nil is no end.
// Whether an end of the filter is open is in the keys already: a point ends where the
// keys that begin with it end.
type Interval struct {
	lo, hi   []byte
	point    bool // one key: lo
	From, To Edge // lo and hi as the filter says them
}

// An Edge is an end of an interval, for people.
type Edge struct {
	V    value.Value // none: the end of the type of the other edge
	open bool        // v is not in the interval
}

// pointOf is the interval of one value.
func pointOf(v value.Value, desc bool) Interval {
	k := value.AppendKey(nil, v, desc)
	return Interval{k, store.PrefixEnd(k), true, Edge{V: v}, Edge{V: v}}
}

// has reports whether the key of one field lies in the interval.
func (i *Interval) has(k []byte) bool {
	return bytes.Compare(k, i.lo) >= 0 && (i.hi == nil || bytes.Compare(k, i.hi) < 0)
}

// intervalsOf returns where an index with the given direction holds what a
// condition needs, in key order; ok is false if it cannot tell.
func intervalsOf(c *query.Conjunct, desc bool) (out []Interval, ok bool) {
	switch c.Op {
	case query.Eq:
		return pointsOf([]value.Value{c.Value}, desc)
	case query.In:
		if len(c.Values) > maxIn {
			return nil, false
		}
		return pointsOf(c.Values, desc)
	case query.Gt, query.Gte, query.Lt, query.Lte, query.Prefix:
		for _, r := range c.Ranges(desc) {
			out = append(out, spanOf(c, r, desc))
		}
		if c.Op == query.Prefix { // a stored regular expression equals itself
			out = append(out, regexes(desc))
			slices.SortFunc(out, func(a, b Interval) int { return bytes.Compare(a.lo, b.lo) })
		}
		return out, len(out) > 0
	}
	return nil, false
}

// spanOf is the interval of a comparison.
func spanOf(c *query.Conjunct, r query.KeyRange, desc bool) Interval {
	i := Interval{lo: r.Lo, hi: r.Hi, From: Edge{open: true}, To: Edge{open: true}}
	e := Edge{V: c.Value, open: c.Op == query.Gt || c.Op == query.Lt}
	switch {
	case c.Op == query.Prefix:
		i.From = e
	case (c.Op == query.Gt || c.Op == query.Gte) != desc:
		i.From = e
	default:
		i.To = e
	}
	return i
}

// regexes covers the regular expressions.
func regexes(desc bool) Interval {
	first, _ := value.ClassKeys(value.Value{Type: bson.TypeRegex})
	if desc {
		first = ^first
	}
	open := Edge{V: value.Value{Type: bson.TypeRegex}, open: true}
	return Interval{lo: []byte{first}, hi: []byte{first + 1}, From: open, To: open}
}

// pointsOf returns the keys of values in key order. An empty array is indexed as
// undefined and a missing field as null, and a filter's null means both.
func pointsOf(vs []value.Value, desc bool) (out []Interval, ok bool) {
	for _, v := range vs {
		switch v.Type {
		case bson.TypeArray:
			return nil, false
		case bson.TypeNull, bson.TypeUndefined:
			out = append(out, pointOf(value.Value{Type: bson.TypeUndefined}, desc), pointOf(value.Null(), desc))
		default:
			out = append(out, pointOf(v, desc))
		}
	}
	slices.SortFunc(out, func(a, b Interval) int { return bytes.Compare(a.lo, b.lo) })
	return slices.CompactFunc(out, func(a, b Interval) bool { return bytes.Equal(a.lo, b.lo) }), true
}

// intersect returns the common part of two lists in key order.
func intersect(a, b []Interval) (out []Interval) {
	for len(a) > 0 && len(b) > 0 {
		x, y := &a[0], &b[0]
		both := *x
		both.point = x.point || y.point
		if bytes.Compare(y.lo, x.lo) > 0 {
			both.lo, both.From = y.lo, y.From
		}
		if x.hi == nil || y.hi != nil && bytes.Compare(y.hi, x.hi) < 0 {
			both.hi, both.To = y.hi, y.To
		}
		if both.hi == nil || bytes.Compare(both.lo, both.hi) < 0 {
			out = append(out, both)
		}
		if y.hi == nil || x.hi != nil && bytes.Compare(x.hi, y.hi) <= 0 {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// Text returns the interval as "[1, 5)".
func (i *Interval) Text(desc bool) string {
	ends := [2]Edge{i.From, i.To}
	words := [2]string{}
	for n, e := range ends {
		if e.V.Exists() {
			words[n] = string(value.AppendJSONValue(nil, e.V, false))
			continue
		}
		other := ends[1-n].V
		words[n] = limit(other, (n == 0) != desc)
	}
	open, shut := "[", "]"
	if i.From.open {
		open = "("
	}
	if i.To.open {
		shut = ")"
	}
	return open + words[0] + ", " + words[1] + shut
}

// limit names the end of the values of v's type.
func limit(v value.Value, least bool) string {
	switch {
	case v.IsNumber() && least:
		return "-Infinity"
	case v.IsNumber():
		return "Infinity"
	case v.Type == bson.TypeString && least:
		return `""`
	case v.Type == bson.TypeString:
		return "{}"
	case least:
		return "least"
	}
	return "greatest"
}
