package plan

import (
	"slices"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
)

// An order says how a walk's order serves a sort. Documents that the sort has
// alike come in the order of _id, whatever the access.
type order struct {
	Whole   bool // the walk is in the order of the sort
	Fields  int  // else: in the order of its first fields; what they have alike must be sorted
	reverse bool // the walk is to go backward
}

// orderOf returns how an index on keys serves a sort; single marks the fields of
// one value only.
func orderOf(sort []query.SortField, keys []keyspace.IndexKey, single []bool) order {
	return orderAfter(sort, keys, single, single)
}

// orderAfter is orderOf for walks of which each has one value in the fields that
// are fixed. Fields of one value say nothing of the order: those of the sort are passed over
// (single), those of the index too (fixed).
//
//	index {a: 1, b: 1}, sort {b: -1}, a = 1     whole, backward
//	index {a: 1, b: 1}, sort {a: 1, c: 1}       one field; each tie in a is sorted by c
//	index {a: 1, b: 1}, sort {a: 1, b: -1}      one field: a walk turns as a whole
func orderAfter(sort []query.SortField, keys []keyspace.IndexKey, fixed, single []bool) (o order) {
	if len(sort) == 0 {
		return o
	}
	at := func(marks []bool, i int) bool { return i < len(marks) && marks[i] }
	constant := func(path string) bool {
		i := slices.IndexFunc(keys, func(k keyspace.IndexKey) bool { return k.Path == path })
		return i >= 0 && at(single, i)
	}
	i, turned, last := 0, false, 0
	for f := 0; f < len(sort); f++ {
		s := sort[f]
		if constant(s.Path) {
			continue
		}
		for at(fixed, i) {
			i++
		}
		if i == len(keys) {
			// What is alike in the whole key comes by _id, also backward.
			o.Whole = s.Path == "_id" && !s.Desc
			o.Fields = last
			return o
		}
		if keys[i].Path != s.Path || turned && (keys[i].Desc != s.Desc) != o.reverse {
			o.Fields = last
			return o
		}
		o.reverse, turned = keys[i].Desc != s.Desc, true
		i++
		last = f + 1
		if s.Path == "_id" {
			o.Whole = true
			return o
		}
	}
	for at(fixed, i) {
		i++
	}
	o.Whole = i == len(keys)
	o.Fields = last
	return o
}
