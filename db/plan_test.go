package db_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// plans draws collections, indexes and queries in which planners go wrong: few
// distinct values, arrays, nested documents, null beside missing, ties.
type plans struct{ t *rapid.T }

var planPaths = []string{"a", "b", "c.d", "c", "_id", "a.0", "c.d.e"}

func (p plans) value(deep bool) any {
	vals := []any{
		nil, int32(1), int32(2), 2.5, int64(3), 1.0, "a", "ab", "abc", "b", "", true, false,
		bson.Regex{Pattern: "^ab"},
		bson.DateTime(1),
		bson.MinKey{},
		bson.MaxKey{},
		d("d", 1), d("d", bson.A{1, 2}), d("e", nil), strings.Repeat("a", 1100),
	}
	if deep {
		vals = append(vals, bson.A{}, bson.A{1, 4}, bson.A{"a", nil}, bson.A{bson.A{1}}, bson.A{d("d", 1), d("d", 3)}, bson.A{d("d", bson.A{2})})
	}
	return rapid.SampledFrom(vals).Draw(p.t, "value")
}

func (p plans) scalar() any {
	return rapid.SampledFrom([]any{nil, int32(1), int32(2), 2.5, int64(3), "a", "ab", "b", true}).Draw(p.t, "scalar")
}

func (p plans) doc(id int, arrays bool) bson.D {
	doc := d("_id", p.id(id))
	for _, f := range []string{"a", "b", "c"} {
		switch rapid.IntRange(0, 5).Draw(p.t, f) {
		case 0:
		case 1:
			doc = append(doc, bson.E{Key: f, Value: p.value(arrays)})
		case 2:
			doc = append(doc, bson.E{Key: f, Value: d("d", p.scalar())})
		default:
			doc = append(doc, bson.E{Key: f, Value: p.scalar()})
		}
	}
	return doc
}

func (p plans) id(i int) any {
	if i%3 == 0 {
		return fmt.Sprintf("k%d", i)
	}
	return int32(i)
}

func (p plans) index() db.Index {
	x := db.Index{}
	paths := slices.Clone(planPaths)
	for range rapid.IntRange(1, 3).Draw(p.t, "keys") {
		i := rapid.IntRange(0, len(paths)-1).Draw(p.t, "path")
		x.Keys = append(x.Keys, db.IndexKey{Path: paths[i], Desc: rapid.Bool().Draw(p.t, "desc")})
		paths = slices.Delete(paths, i, i+1)
	}
	switch rapid.IntRange(0, 5).Draw(p.t, "kind") {
	case 0:
		x.Sparse = true
	case 1:
		x.Unique = true
		x.Sparse = rapid.Bool().Draw(p.t, "sparse")
	case 2:
		f := rapid.SampledFrom([]bson.D{
			d("a", d("$exists", true)), d("b", d("$gt", 1)), d("a", 1), d("b", d("$gte", 1, "$lt", 3)), d("a", d("$in", bson.A{1, 2})),
			d("$and", bson.A{d("a", d("$gte", "a")), d("b", d("$exists", true))}), d("c.d", d("$type", "number")),
			d("c.d", d("$gte", 1)), d("c.d", d("$in", bson.A{1, 2})), d("a", d("$lte", 4)),
		}).Draw(p.t, "partial")
		x.Partial = must(bson.Marshal(f))
	}
	return x
}

func must(b bson.Raw, err error) bson.Raw {
	if err != nil {
		panic(err)
	}
	return b
}

func (p plans) condition() any {
	op := rapid.SampledFrom([]string{"$eq", "$eq", "$gt", "$gte", "$lt", "$lte", "$ne", "$in", "$exists", "$regex", "$elemMatch", "$inside", "$size", "$between", "$all", "$not", "literal"}).
		Draw(p.t, "op")
	switch op {
	case "$in":
		return d(op, bson.A{p.value(true), p.scalar(), p.scalar()}[:rapid.IntRange(0, 3).Draw(p.t, "in")])
	case "$all":
		return d(op, bson.A{p.scalar(), p.scalar()})
	case "$exists":
		return d(op, rapid.Bool().Draw(p.t, "exists"))
	case "$regex":
		return d(op, rapid.SampledFrom([]string{"^a", "^ab", "b", "^", "^a|b", "^(a)b"}).Draw(p.t, "re"))
	case "$elemMatch":
		if rapid.Bool().Draw(p.t, "documents") {
			return d(op, d("d", rapid.SampledFrom([]any{1, nil, d("$gte", 1), d("$in", bson.A{1, 2, nil}), d("$ne", 1)}).Draw(p.t, "inner")))
		}
		return d(op, d("$gte", p.scalar(), "$lt", p.scalar()))
	case "$inside":
		return d("$elemMatch", d("d", p.condition()))
	case "$size":
		return d(op, rapid.IntRange(0, 2).Draw(p.t, "size"))
	case "$between":
		return d("$gte", p.value(false), "$lt", p.value(false))
	case "$not":
		return d(op, d("$gt", p.scalar()))
	case "literal":
		return p.scalar()
	}
	return d(op, p.value(true))
}

func (p plans) filter(depth int) bson.D {
	f := bson.D{}
	for range rapid.IntRange(0, 3).Draw(p.t, "conditions") {
		kind := rapid.IntRange(0, 7).Draw(p.t, "kind")
		if kind > 1 || depth == 0 {
			path := rapid.SampledFrom(planPaths).Draw(p.t, "path")
			if !slices.ContainsFunc(f, func(e bson.E) bool { return e.Key == path }) {
				f = append(f, bson.E{Key: path, Value: p.condition()})
			}
			continue
		}
		op := []string{"$or", "$and"}[kind]
		branches := bson.A{}
		for range rapid.IntRange(1, 3).Draw(p.t, "branches") {
			branches = append(branches, p.filter(depth-1))
		}
		if !slices.ContainsFunc(f, func(e bson.E) bool { return e.Key == op }) {
			f = append(f, bson.E{Key: op, Value: branches})
		}
	}
	return f
}

func (p plans) options() (filter bson.Raw, o db.FindOptions) {
	filter = must(bson.Marshal(p.filter(2)))
	sort := bson.D{}
	for range rapid.IntRange(0, 3).Draw(p.t, "sorts") {
		path := rapid.SampledFrom(planPaths).Draw(p.t, "path")
		if !slices.ContainsFunc(sort, func(e bson.E) bool { return e.Key == path }) {
			sort = append(sort, bson.E{Key: path, Value: rapid.SampledFrom([]int{1, -1}).Draw(p.t, "dir")})
		}
	}
	o.Sort = must(bson.Marshal(sort))
	if len(sort) > 0 {
		o.Skip, o.Limit = rapid.Int64Range(0, 4).Draw(p.t, "skip"), rapid.Int64Range(0, 6).Draw(p.t, "limit")
	}
	return filter, o
}

// finder answers a query: a collection or a snapshot.
type finder func(filter any, o db.FindOptions) ([]bson.Raw, error)

func find(t testing.TB, c *db.Collection) finder {
	return func(filter any, o db.FindOptions) (out []bson.Raw, err error) {
		cur, err := c.Find(t.Context(), filter, o)
		if err != nil {
			return nil, err
		}
		defer cur.Close()
		for cur.Next() {
			out = append(out, cur.Raw())
		}
		return out, cur.Err()
	}
}

// checkPlans asks one query in all ways.
func checkPlans(rt *rapid.T, t testing.TB, c *db.Collection, xs []db.Index) {
	ask := find(t, c)
	filter, o := plans{rt}.options()
	get := func(o db.FindOptions) []string {
		docs, err := ask(filter, o)
		if err != nil {
			rt.Fatalf("filter %v sort %v: %v", filter, o.Sort, err)
		}
		out := texts(docs)
		if len(given(o.Sort)) <= 5 {
			slices.Sort(out)
		}
		return out
	}
	if _, err := ask(filter, o); err != nil {
		if fault.Is(err, fault.Internal) {
			rt.Fatal(err)
		}
		return // no such query
	}
	scan := o
	scan.NoIndex = true
	want := get(scan)
	check := func(what string, got []string) {
		if !slices.Equal(got, want) {
			plan, _ := c.Explain(t.Context(), filter, o, true)
			rt.Fatalf("filter %v sort %v skip %d limit %d with %s:\n got %v\nwant %v\n%v", filter, o.Sort, o.Skip, o.Limit, what, got, want, plan)
		}
	}
	check("the planner's choice", get(o))
	for _, x := range xs {
		h := o
		h.Hint = id(x.Name)
		if docs, err := ask(filter, h); err == nil {
			out := texts(docs)
			if len(given(o.Sort)) <= 5 {
				slices.Sort(out)
			}
			check("index "+x.Name, out)
		}
	}
	if o.Skip == 0 && o.Limit == 0 {
		for _, x := range append([]db.Index{{}}, xs...) {
			co := db.CountOptions{}
			if x.Name != "" {
				co.Hint = id(x.Name)
			}
			if n, err := c.CountWith(t.Context(), filter, co); err == nil && n != int64(len(want)) || err != nil && x.Name == "" {
				rt.Fatalf("filter %v: counted %d, %v by %q, want %d", filter, n, err, x.Name, len(want))
			}
		}
	}
	path := rapid.SampledFrom(planPaths).Draw(rt, "distinct")
	got, err := c.Distinct(t.Context(), path, filter)
	if err != nil {
		rt.Fatal(err)
	}
	all, err := db.DistinctByScan(t.Context(), c, path, given(filter))
	if err != nil {
		rt.Fatal(err)
	}
	if !slices.EqualFunc(got, all, func(a, b bson.RawValue) bool { return a.Equal(b) }) {
		rt.Fatalf("filter %v: distinct %s gives %v, want %v", filter, path, got, all)
	}
}

// Answers by an index are those of a scan: the same documents, sorted ones in the
// same order.
func TestPlansAgree(t *testing.T) {
	for _, size := range []int{0, 60} { // as it is; or with memory for two _ids
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if size > 0 {
				defer db.SetMaxSeen(size)()
			}
			planned(t, memory(t))
		})
	}
}

func planned(t *testing.T, st store.Store) {
	x, _ := dbtest.OpenIn(t, st, "a")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		c := x.Collection(fmt.Sprintf("c%d", n))
		p := plans{rt}
		arrays := rapid.Bool().Draw(rt, "arrays")
		var docs []bson.Raw
		for i := range rapid.IntRange(0, 24).Draw(rt, "docs") {
			docs = append(docs, raw(t, p.doc(i, arrays)))
		}
		if _, err := c.Insert(t.Context(), docs); err != nil {
			rt.Fatal(err)
		}
		var xs []db.Index
		for i := range rapid.IntRange(0, 4).Draw(rt, "indexes") {
			x := p.index()
			x.Name = fmt.Sprintf("x%d", i)
			if _, err := c.CreateIndex(t.Context(), x); err == nil {
				xs = append(xs, x)
			} else if !errors.Is(err, db.ErrExists) && !x.Unique {
				rt.Fatalf("%+v: %v", x, err)
			}
		}
		for range 8 {
			checkPlans(rt, t, c, xs)
		}
	})
}

// Two questions on one moment have one answer, while others write and indexes
// come and go.
func TestPlansAgreeDuringWrites(t *testing.T) { plansDuringWrites(t, 60) }

func plansDuringWrites(t *testing.T, rounds int) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	write := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	put := func(i int) bson.Raw {
		return raw(t, d("_id", i, "a", i%7, "b", i%11, "c", bson.A{i % 3, i % 5}))
	}
	for i := range 300 {
		if _, err := c.Insert(t.Context(), put(i)); err != nil {
			t.Fatal(err)
		}
	}
	write(func(i int) error {
		_, err := c.Replace(t.Context(), raw(t, d("_id", i%300)), put(i*31%300+i%2), db.UpdateOptions{})
		if err != nil && strings.Contains(err.Error(), "_id") {
			_, err = c.Update(t.Context(), raw(t, d("_id", i%300)), raw(t, d("$set", d("a", i%7), "$inc", d("b", 1))), db.UpdateOptions{})
		}
		return err
	})
	write(func(i int) error {
		x := db.Index{Name: "x", Keys: []db.IndexKey{{Path: []string{"a", "b", "c"}[i%3], Desc: i%2 == 0}, {Path: "b", Desc: true}}[:1+i%2]}
		if x.Keys[0].Path == "b" {
			x.Keys = x.Keys[:1]
		}
		if _, err := c.CreateIndex(t.Context(), x); err != nil {
			return err
		}
		return c.DropIndex(t.Context(), "x")
	})
	for i := range rounds {
		filter := raw(t, d("a", d("$gte", i%7), "c", i%5, "$or", bson.A{d("b", d("$lt", 4)), d("b", i%11)}))
		o := db.FindOptions{Sort: raw(t, d([]string{"a", "b", "c"}[i%3], 1-i%2*2)), Limit: int64(i % 50)}
		by, scan, err := db.FindTwice(t.Context(), c, filter, o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(texts(by), texts(scan)) {
			t.Fatalf("%v %v: got %v, want %v", filter, o.Sort, by, scan)
		}
	}
	close(stop)
	wg.Wait()
}
