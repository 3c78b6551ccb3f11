package feed

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

// A thousand watches of one collection, each for another document, must not cost a
// thousand filters a change. So an audience is filed under one value that its filter
// requires, and a change is offered to those filed under the values that it has:
//
//	{_id: 7}                     ids[7]
//	{owner: "ann", open: true}   fields owner["ann"]
//	{n: {$gt: 5}}                rest: offered every change
//	change owner "ann" → "bob"   offered to owner["ann"], owner["bob"] and rest
//
// Invariant: an audience that a change matches is filed under a value of the document
// before or after it, or in rest. That is why the values are those of IndexValues, why an
// array goes to each of its elements, and why what filters treat in another way than
// keys do (null, regular expressions, arrays) is not addressable or filed twice.

// A route leads from the changes of a collection to the audiences that may match
// them: by _id, by the value of a field that a filter requires, or all the rest.
type route struct {
	laws   bool // of definitions
	ids    map[string][]*audience
	fields []*fieldRoute
	rest   []*audience
}

type fieldRoute struct {
	path      value.Path
	text      string
	audiences map[string][]*audience // by the value's key
}

func (r *route) empty() bool { return len(r.ids) == 0 && len(r.fields) == 0 && len(r.rest) == 0 }

// address adds g to its routes, or removes it.
func (f *Feed) address(g *audience, do func(*route, *audience)) {
	if g.Colls == nil {
		do(&f.all, g)
	}
	colls := g.Colls
	if g.Law != nil {
		colls = append(slices.Clone(colls), judge.SystemCollection)
	}
	for _, c := range colls {
		r := f.routes[c]
		if r == nil {
			r = &route{ids: map[string][]*audience{}, laws: c == judge.SystemCollection}
			f.routes[c] = r
		}
		if do(r, g); r.empty() {
			delete(f.routes, c)
		}
	}
}

// maxAddresses bounds the values of a $in that an audience is filed under.
const maxAddresses = 1000

// slots returns where g is filed: under the keys of a field, or nowhere.
func (r *route) slots(g *audience) (path string, keys []string) {
	if r.laws && g.Law != nil {
		return "_id", []string{string(g.Law)}
	}
	if g.IDKey != nil {
		return "_id", []string{string(g.IDKey)}
	}
	if g.Filter == nil || g.Ops&change.OpOther != 0 {
		return "", nil
	}
	var best *query.Conjunct
	rank := 0
	cons := g.Filter.Conjuncts()
	for i := range cons {
		c := &cons[i]
		if !addressable(c) {
			continue
		}
		n := 1
		switch {
		case c.Path == "_id":
			n = 4
		case c.Op == query.Eq && r.field(c.Path) != nil:
			n = 3 // one field less to read of each document
		case c.Op == query.Eq:
			n = 2
		}
		if n > rank {
			best, rank = c, n
		}
	}
	if best == nil {
		return "", nil
	}
	values := best.Values
	if best.Op == query.Eq {
		values = []value.Value{best.Value}
	}
	for _, v := range values {
		keys = append(keys, string(value.AppendKey(nil, v, false)))
		if v.Type == bson.TypeNull {
			keys = append(keys, string(value.AppendKey(nil, value.Value{Type: bson.TypeUndefined}, false)))
		}
	}
	slices.Sort(keys)
	return best.Path, slices.Compact(keys)
}

// addressable reports whether every document that meets c has one of its values
// among those of [value.Path.IndexValues].
func addressable(c *query.Conjunct) bool {
	if c.Op != query.Eq && c.Op != query.In || len(c.Values) > maxAddresses || c.Path == "_mod" || strings.HasPrefix(c.Path, "_mod.") {
		return false
	}
	for _, v := range append([]value.Value{c.Value}, c.Values...) {
		switch v.Type {
		case bson.TypeArray, bson.TypeMinKey, bson.TypeMaxKey, bson.TypeUndefined, bson.TypeRegex:
			return false
		}
	}
	return !keyspace.NumericPath([]keyspace.IndexKey{{Path: c.Path}})
}

// field returns the route by the values of a path; nil if nothing is filed there.
func (r *route) field(path string) *fieldRoute {
	for _, f := range r.fields {
		if f.text == path {
			return f
		}
	}
	return nil
}

// A filing is where an audience is filed in a route.
type filing struct {
	r     *route
	field *fieldRoute // nil: by _id, or in rest if there are no keys
	keys  []string
}

func (x *filing) lists() map[string][]*audience {
	if x.field != nil {
		return x.field.audiences
	}
	return x.r.ids
}

// add files g in r, and notes in g where.
func (r *route) add(g *audience) {
	x := filing{r: r}
	var path string
	if r.ids != nil {
		path, x.keys = r.slots(g)
	}
	if len(x.keys) > 0 && path != "_id" {
		if x.field = r.field(path); x.field == nil {
			p, err := value.ParsePath(path)
			if err != nil {
				x.keys = nil
			} else {
				x.field = &fieldRoute{path: p, text: path, audiences: map[string][]*audience{}}
				r.fields = append(r.fields, x.field)
			}
		}
	}
	if len(x.keys) == 0 {
		r.rest = append(r.rest, g)
	}
	for _, k := range x.keys {
		m := x.lists()
		m[k] = append(m[k], g)
	}
	g.filed = append(g.filed, x)
}

// remove takes g off where add filed it.
func (r *route) remove(g *audience) {
	i := slices.IndexFunc(g.filed, func(x filing) bool { return x.r == r })
	x := g.filed[i]
	isG := func(o *audience) bool { return o == g }
	if len(x.keys) == 0 {
		r.rest = slices.DeleteFunc(r.rest, isG)
	}
	for _, k := range x.keys {
		m := x.lists()
		if m[k] = slices.DeleteFunc(m[k], isG); len(m[k]) == 0 {
			delete(m, k)
		}
	}
	if x.field != nil && len(x.field.audiences) == 0 {
		r.fields = slices.DeleteFunc(r.fields, func(f *fieldRoute) bool { return f == x.field })
	}
}

// scratch is what route reuses; the feed's mu guards it.
type scratch struct {
	vals []value.Value
	key  []byte
}

// route calls yield with each audience that c matches, once.
func (f *Feed) route(c *change.Change, yield func(*audience)) {
	f.marks++ // an audience that is filed under two values of the document is asked once
	offer := func(list []*audience) {
		for _, g := range list {
			if g.mark == f.marks {
				continue
			}
			g.mark = f.marks
			if g.Matches(c) {
				yield(g)
			}
		}
	}
	if !strings.HasPrefix(c.Coll, "system.") {
		offer(f.all.rest)
	}
	r := f.routes[c.Coll]
	if r == nil {
		return
	}
	offer(r.rest)
	offer(r.ids[string(c.IDKey)])
	s := &f.scratch
	for _, fr := range r.fields {
		for _, doc := range [][]byte{c.Before.Doc, c.After.Doc} {
			if doc == nil {
				continue
			}
			s.vals, _ = fr.path.IndexValues(s.vals[:0], doc)
			for _, v := range s.vals {
				s.key = value.AppendKey(s.key[:0], v, false)
				offer(fr.audiences[string(s.key)])
			}
		}
	}
}
