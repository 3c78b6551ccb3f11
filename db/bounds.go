package db

import (
	"bytes"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// An interval is the index keys k of one field with lo <= k < hi.
type interval struct {
	lo, hi   []byte
	point    bool // one key: lo
	from, to edge // lo and hi as the filter says them
}

// An edge is an end of an interval, for people.
type edge struct {
	v    value.Value // none: the end of the type of the other edge
	open bool        // v is not in the interval
}

func pointOf(v value.Value, desc bool) interval {
	k := value.AppendKey(nil, v, desc)
	return interval{k, store.PrefixEnd(k), true, edge{v: v}, edge{v: v}}
}

// has reports whether the key of one field lies in the interval.
func (i *interval) has(k []byte) bool {
	return bytes.Compare(k, i.lo) >= 0 && (i.hi == nil || bytes.Compare(k, i.hi) < 0)
}

// intervalsOf returns where an index with the given direction holds what a
// condition needs, in key order; ok is false if it cannot tell.
func intervalsOf(c *query.Conjunct, desc bool) (out []interval, ok bool) {
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
			slices.SortFunc(out, func(a, b interval) int { return bytes.Compare(a.lo, b.lo) })
		}
		return out, len(out) > 0
	}
	return nil, false
}

// spanOf is the interval of a comparison.
func spanOf(c *query.Conjunct, r query.KeyRange, desc bool) interval {
	i := interval{lo: r.Lo, hi: r.Hi, from: edge{open: true}, to: edge{open: true}}
	e := edge{v: c.Value, open: c.Op == query.Gt || c.Op == query.Lt}
	switch {
	case c.Op == query.Prefix:
		i.from = e
	case (c.Op == query.Gt || c.Op == query.Gte) != desc:
		i.from = e
	default:
		i.to = e
	}
	return i
}

// regexes covers the regular expressions.
func regexes(desc bool) interval {
	first, _ := value.ClassKeys(value.Value{Type: bson.TypeRegex})
	if desc {
		first = ^first
	}
	open := edge{v: value.Value{Type: bson.TypeRegex}, open: true}
	return interval{lo: []byte{first}, hi: []byte{first + 1}, from: open, to: open}
}

// pointsOf returns the keys of values in key order. An empty array is indexed as
// undefined and a missing field as null, and a filter's null means both.
func pointsOf(vs []value.Value, desc bool) (out []interval, ok bool) {
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
	slices.SortFunc(out, func(a, b interval) int { return bytes.Compare(a.lo, b.lo) })
	return slices.CompactFunc(out, func(a, b interval) bool { return bytes.Equal(a.lo, b.lo) }), true
}

// intersect returns the common part of two lists in key order.
func intersect(a, b []interval) (out []interval) {
	for len(a) > 0 && len(b) > 0 {
		x, y := &a[0], &b[0]
		both := *x
		both.point = x.point || y.point
		if bytes.Compare(y.lo, x.lo) > 0 {
			both.lo, both.from = y.lo, y.from
		}
		if x.hi == nil || y.hi != nil && bytes.Compare(y.hi, x.hi) < 0 {
			both.hi, both.to = y.hi, y.to
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

// A bound is what a filter says about one field of an index: intervals, nil for
// none known, empty if nothing can match.
type bound struct {
	in   []interval
	used int // conditions that it holds all of
}

// known reports whether the bound says anything.
func (b *bound) known() bool { return b.in != nil }

// points reports whether the bound is single keys.
func (b *bound) points() bool {
	return b.known() && !slices.ContainsFunc(b.in, func(i interval) bool { return !i.point })
}

// boundOf returns the bound of the conditions on path. With several entries a
// document (multi) different entries may meet different conditions, so that only
// one counts: the one that is number pick among them, modulo their number.
func boundOf(cons []query.Conjunct, path string, desc, multi bool, pick int) (b bound, choices int) {
	var all [][]interval
	for i := range cons {
		if cons[i].Path != path {
			continue
		}
		if in, ok := intervalsOf(&cons[i], desc); ok {
			all = append(all, in)
		}
	}
	if len(all) == 0 {
		return b, 0
	}
	if multi {
		return bound{in: nonNil(all[pick%len(all)]), used: 1}, len(all)
	}
	b.in, b.used = all[0], len(all)
	for _, in := range all[1:] {
		b.in = intersect(b.in, in)
	}
	b.in = nonNil(b.in)
	return b, 1
}

func nonNil(in []interval) []interval {
	if in == nil {
		return []interval{}
	}
	return in
}
