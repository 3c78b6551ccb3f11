package plan

import (
	"slices"

	"github.com/weftdb/weft/db/internal/query"
)

// A Bound is what a filter says about one field of an index: intervals, nil for
// none known, empty if nothing can match.
type Bound struct {
	In   []Interval
	used int // conditions that it holds all of
}

// Known reports whether the bound says anything.
func (b *Bound) Known() bool { return b.In != nil }

// points reports whether the bound is single keys.
func (b *Bound) points() bool {
	return b.Known() && !slices.ContainsFunc(b.In, func(i Interval) bool { return !i.point })
}

// boundOf returns the bound of the conditions on path. With several entries a
// document (multi) different entries may meet different conditions, so that only
// one counts: the one that is number pick among them, modulo their number.
//
//	{n: {$gt: 5, $lt: 9}}, no arrays       (5, 9)
//	the same, n may be [1, 20]             (5, Infinity), or (-Infinity, 9): 20 and 1 match
func boundOf(cons []query.Conjunct, path string, desc, multi bool, pick int) (b Bound, choices int) {
	var all [][]Interval
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
		return Bound{In: nonNil(all[pick%len(all)]), used: 1}, len(all)
	}
	b.In, b.used = all[0], len(all)
	for _, in := range all[1:] {
		b.In = intersect(b.In, in)
	}
	b.In = nonNil(b.In)
	return b, 1
}

func nonNil(in []Interval) []Interval {
	if in == nil {
		return []Interval{}
	}
	return in
}
