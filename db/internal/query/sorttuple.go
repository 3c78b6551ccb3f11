package query

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// The sharedFields are the fields of a sort whose paths begin with one name. Where
// they meet the same array, one of its elements counts for all of them: the one
// that comes first in the order of the sort.
type sharedFields struct {
	fields []int // in the sort's order
}

// shares returns the fields of s that could meet an array together.
func (s *Sort) shares() []sharedFields {
	var out []sharedFields
	at := map[string]int{}
	for i, p := range s.paths {
		j, ok := at[p[0].Name]
		if !ok {
			j = len(out)
			at[p[0].Name] = j
			out = append(out, sharedFields{})
		}
		out[j].fields = append(out[j].fields, i)
	}
	n := 0
	for _, g := range out {
		if len(g.fields) > 1 {
			out[n] = g
			n++
		}
	}
	return out[:n]
}

// A cursor is the position of one field on its way into a document.
type cursor struct {
	v    value.Value
	path value.Path
	done bool // v counts, even if it is an array
}

// advance goes on until the value that counts, or an array to be expanded.
func (c *cursor) advance() {
	for !c.done {
		switch {
		case len(c.path) == 0:
			if !c.v.Exists() {
				c.v = value.Null()
			}
			c.done = !c.v.IsArray()
			return
		case c.v.IsDoc():
			c.v = value.Get(c.v.Data, c.path[0].Name)
		case c.v.IsArray():
			e := value.At(c.v.Data, c.path[0].Index)
			if !e.Exists() {
				return
			}
			c.v = e
		default:
			c.v, c.path = value.Null(), nil
			continue
		}
		c.path = c.path[1:]
	}
}

// enter goes to element e of the array at the cursor; e is the zero Value if
// the array is empty.
func (c cursor) enter(e value.Value) cursor {
	switch {
	case len(c.path) == 0 && !e.Exists():
		return cursor{v: value.Value{Type: bson.TypeUndefined}, done: true}
	case len(c.path) == 0:
		return cursor{v: e, done: true}
	case e.IsDoc():
		return cursor{v: e, path: c.path}
	}
	return cursor{v: value.Null(), done: true}
}

// values returns the values of doc that count for these fields.
func (s *Sort) values(g *sharedFields, doc []byte) []value.Value {
	cs := make([]cursor, len(g.fields))
	for i, f := range g.fields {
		cs[i] = cursor{v: value.Doc(doc), path: s.paths[f]}
	}
	return s.best(g, cs, nil)
}

// best returns the better of the values found so far and those from cs. It goes on with all
// fields at once: those that have come to the same array enter its elements together. A
// field that has come to another array counts by itself, for which MongoDB, that refuses
// parallel arrays, has no rule.
func (s *Sort) best(g *sharedFields, cs []cursor, found []value.Value) []value.Value {
	var arr []byte
	for i := range cs {
		c := &cs[i]
		switch c.advance(); {
		case c.done:
		case arr == nil:
			arr = c.v.Data
		case !sameArray(c.v.Data, arr): // another array: each on its own
			*c = cursor{v: extremeOf(c.path, c.v, s.fields[g.fields[i]].Desc), done: true}
		}
	}
	if arr == nil {
		if found == nil || s.before(g, cs, found) {
			found = make([]value.Value, len(cs))
			for i, c := range cs {
				found[i] = c.v
			}
		}
		return found
	}
	next := make([]cursor, len(cs))
	enter := func(e value.Value) {
		for i, c := range cs {
			if next[i] = c; !c.done {
				next[i] = c.enter(e)
			}
		}
		found = s.best(g, next, found)
	}
	it := value.Elements(arr)
	_, e, ok := it.Next()
	if !ok {
		enter(value.Value{})
	}
	for ; ok; _, e, ok = it.Next() {
		enter(e)
	}
	return found
}

// sameArray compares places in memory: two arrays of the same content are two.
func sameArray(a, b []byte) bool { return len(a) == len(b) && &a[0] == &b[0] }

// before reports whether cs come before found.
func (s *Sort) before(g *sharedFields, cs []cursor, found []value.Value) bool {
	for i, f := range g.fields {
		if c := value.Compare(cs[i].v, found[i]); c != 0 {
			return c < 0 != s.fields[f].Desc
		}
	}
	return false
}

// all returns the values of doc that count for all fields.
func (s *Sort) all(doc []byte) []value.Value {
	out := make([]value.Value, len(s.fields))
	for i := range s.shared {
		g := &s.shared[i]
		for k, v := range s.values(g, doc) {
			out[g.fields[k]] = v
		}
	}
	for i, f := range s.fields {
		if !out[i].Exists() {
			out[i] = extreme(s.paths[i], doc, f.Desc)
		}
	}
	return out
}
