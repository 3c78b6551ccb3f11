package plan

import (
	"bytes"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

// A query may use a sparse or partial index only if it matches nothing that the
// index leaves out. The functions here say so only when they are sure.

// impliesSparse reports whether what meets the conditions has one of the fields
// of keys, and no condition looks for a missing one: an array may hold both.
func impliesSparse(cons []query.Conjunct, keys []keyspace.IndexKey) bool {
	some := false
	for _, k := range keys {
		for i := range cons {
			if cons[i].Path != k.Path {
				continue
			}
			if !impliesExists(&cons[i]) {
				return false
			}
			some = some || !cons[i].Inner
		}
	}
	return some
}

// impliesExists reports whether no missing field meets c.
func impliesExists(c *query.Conjunct) bool {
	switch c.Op {
	case query.Eq:
		return !isNullish(c.Value)
	case query.In:
		return !slices.ContainsFunc(c.Values, isNullish)
	}
	return true
}

func isNullish(v value.Value) bool {
	return v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}

// impliesAll reports whether every document that meets the conditions, which
// are those of filter, matches partial.
func impliesAll(cons []query.Conjunct, filter, partial []byte) bool {
	it := value.Elements(partial)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if same := value.Get(filter, string(k)); same.Type == v.Type && bytes.Equal(same.Data, v.Data) {
			continue
		}
		switch {
		case string(k) == "$and":
			parts := value.Elements(v.Data)
			for _, p, ok := parts.Next(); ok; _, p, ok = parts.Next() {
				if !impliesAll(cons, filter, p.Data) {
					return false
				}
			}
		case string(k) == "$or":
			if !impliesAny(cons, filter, v.Data) {
				return false
			}
		case !impliesField(cons, string(k), v):
			return false
		}
	}
	return true
}

func impliesAny(cons []query.Conjunct, filter, parts []byte) bool {
	it := value.Elements(parts)
	for _, p, ok := it.Next(); ok; _, p, ok = it.Next() {
		if impliesAll(cons, filter, p.Data) {
			return true
		}
	}
	return false
}

// impliesField reports whether the conditions imply {path: cond}.
func impliesField(cons []query.Conjunct, path string, cond value.Value) bool {
	if keyspace.NumericPath([]keyspace.IndexKey{{Path: path}}) {
		return false
	}
	test := func(op string, arg value.Value) bool {
		return slices.ContainsFunc(cons, func(c query.Conjunct) bool { return c.Path == path && !c.Inner && impliesOp(&c, op, arg) })
	}
	if !cond.IsDoc() {
		return test("$eq", cond)
	}
	it := value.Elements(cond.Data)
	for n := 0; ; n++ {
		op, arg, ok := it.Next()
		switch {
		case !ok:
			return n > 0 || test("$eq", cond)
		case !bytes.HasPrefix(op, []byte("$")):
			return test("$eq", cond)
		case !test(string(op), arg):
			return false
		}
	}
}

// impliesOp reports whether a value that meets c meets {op: arg}.
func impliesOp(c *query.Conjunct, op string, arg value.Value) bool {
	switch op {
	case "$exists":
		return impliesExists(c)
	case "$in":
		return impliesIn(c, arg)
	case "$eq":
		return c.Op == query.Eq && value.Equal(c.Value, arg) || c.Op == query.In && len(c.Values) == 1 && value.Equal(c.Values[0], arg)
	case "$gt", "$gte", "$lt", "$lte":
		if c.Op == query.In {
			return len(c.Values) > 0 && !slices.ContainsFunc(c.Values, func(v value.Value) bool { return !inBound(query.Eq, v, op, arg) })
		}
		return c.Op != query.Exists && c.Op != query.Prefix && inBound(c.Op, c.Value, op, arg)
	}
	return false
}

func impliesIn(c *query.Conjunct, list value.Value) bool {
	vals := c.Values
	if c.Op == query.Eq {
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
func inBound(op query.Op, v value.Value, bound string, limit value.Value) bool {
	if value.Class(v) != value.Class(limit) || isNullish(v) || v.IsArray() || isNotNumber(v) || isNotNumber(limit) {
		return false
	}
	cmp := value.Compare(v, limit)
	switch op {
	case query.Eq:
		switch bound {
		case "$gt":
			return cmp > 0
		case "$gte":
			return cmp >= 0
		case "$lt":
			return cmp < 0
		}
		return cmp <= 0
	case query.Gt:
		return cmp >= 0 && (bound == "$gt" || bound == "$gte")
	case query.Gte:
		return bound == "$gte" && cmp >= 0 || bound == "$gt" && cmp > 0
	case query.Lt:
		return cmp <= 0 && (bound == "$lt" || bound == "$lte")
	case query.Lte:
		return bound == "$lte" && cmp <= 0 || bound == "$lt" && cmp < 0
	}
	return false
}

func isNotNumber(v value.Value) bool {
	return v.IsNumber() && value.Equal(v, keyspace.NotANumber)
}
