package query

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A query may use a partial or sparse index only if it matches nothing that the
// index leaves out. What is here says so only when it is sure.

// Implies reports whether every document that matches t and meets cons, which
// hold for it, matches the filter of a partial index, which is compiled by
// CompilePartial.
func (t Tree) Implies(cons []Conjunct, partial Tree) bool {
	for i := range partial {
		want := &partial[i]
		if slices.ContainsFunc(t, func(have Term) bool { return have.equal(want) }) {
			continue
		}
		implied := func(b Tree) bool { return t.Implies(cons, b) }
		switch {
		case want.Op == And:
			if slices.ContainsFunc(want.Branches, func(b Tree) bool { return !implied(b) }) {
				return false
			}
		case want.Op == Or:
			if !slices.ContainsFunc(want.Branches, implied) {
				return false
			}
		case want.Op != "" || !implyTerm(cons, want):
			return false
		}
	}
	return true
}

// implyTerm reports whether the conditions imply all operators on a path.
func implyTerm(cons []Conjunct, want *Term) bool {
	for name := range strings.SplitSeq(want.Path, ".") {
		if value.ParseIndex(name) >= 0 {
			return false // it may be a place in an array, where index and filter differ
		}
	}
	for _, o := range want.Operators {
		if !slices.ContainsFunc(cons, func(c Conjunct) bool { return c.Path == want.Path && !c.Inner && c.implies(o.Op, o.Arg) }) {
			return false
		}
	}
	return len(want.Operators) > 0
}

// Present reports whether no missing field meets the condition.
func (c *Conjunct) Present() bool {
	switch c.Op {
	case Eq:
		return !nullish(c.Value)
	case In:
		return !slices.ContainsFunc(c.Values, nullish)
	}
	return true
}

// implies reports whether a value that meets c meets {op: arg}.
func (c *Conjunct) implies(op Op, arg value.Value) bool {
	switch op {
	case Exists:
		return c.Present()
	case In:
		return c.implyIn(arg)
	case Eq:
		return c.Op == Eq && value.Equal(c.Value, arg) || c.Op == In && len(c.Values) == 1 && value.Equal(c.Values[0], arg)
	case Gt, Gte, Lt, Lte:
		if c.Op == In {
			return len(c.Values) > 0 && !slices.ContainsFunc(c.Values, func(v value.Value) bool { return !inBound(Eq, v, op, arg) })
		}
		return c.Op != Exists && c.Op != Prefix && inBound(c.Op, c.Value, op, arg)
	}
	return false
}

func (c *Conjunct) implyIn(list value.Value) bool {
	vals := c.Values
	if c.Op == Eq {
		vals = []value.Value{c.Value}
	}
	if !list.IsArray() || len(vals) == 0 {
		return false
	}
	for _, v := range vals {
		found := false
		it := value.Elements(list.Data)
		for _, e, ok := it.Next(); ok && !found; _, e, ok = it.Next() {
			found = e.Type != bson.TypeRegex && value.Equal(v, e)
		}
		if !found {
			return false
		}
	}
	return true
}

// inBound reports whether everything that "op v" admits is admitted by "bound
// limit", within one class of values.
func inBound(op Op, v value.Value, bound Op, limit value.Value) bool {
	if value.Class(v) != value.Class(limit) || nullish(v) || v.IsArray() || isNaN(v) || isNaN(limit) {
		return false
	}
	cmp := value.Compare(v, limit)
	switch op {
	case Eq:
		switch bound {
		case Gt:
			return cmp > 0
		case Gte:
			return cmp >= 0
		case Lt:
			return cmp < 0
		}
		return cmp <= 0
	case Gt:
		return cmp >= 0 && (bound == Gt || bound == Gte)
	case Gte:
		return bound == Gte && cmp >= 0 || bound == Gt && cmp > 0
	case Lt:
		return cmp <= 0 && (bound == Lt || bound == Lte)
	case Lte:
		return bound == Lte && cmp <= 0 || bound == Lt && cmp < 0
	}
	return false
}
