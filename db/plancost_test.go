package db_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// lieDocs is how many documents the collection of lies has.
const lieDocs = 6_000

// lies is a collection whose values mislead whoever looks at the first of them and takes
// the rest to be alike. _ids rise, as those of an import do. Each field has an index, and
// so has each with "by" after it.
func lies(t *testing.T) *db.Collection {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	r := rand.New(rand.NewPCG(1, 2))
	at := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	fill(t, c, lieDocs, func(i int) bson.D {
		burst := i % (lieDocs / 8)
		skewed := int(1 / (0.001 + r.Float64())) // 1 half of the time, 900 once in 10,000
		return d("_id", fmt.Sprintf("%08x", i*17),
			"block", at(i >= 2500 && i < 2800), // all in one place
			"clusters", at(burst < 20), // in eight places
			"straggler", at(i < 150 || i == lieDocs-1), // the first and the last
			"growing", at(i%97 == 0 && i < 4500 || i >= 4500), // few, then all
			"fading", at(i < 1500 || i%397 == 0), // all, then few
			"repeated", i%60, // everywhere alike
			"skewed", skewed, //
			"steps", i/500*1_000_000+i%500, // dense, with gaps between
			"day", fmt.Sprintf("2026-%02d", 1+i*i/(lieDocs*lieDocs/11)), // long with the same beginning
			"late", at(i >= lieDocs-150), "early", at(i < 150), // what is early or late in by
			"by", i, "random", r.IntN(1000), "tags", bson.A{i % 7, 100 + i/600}, "rare", at(i == 3500 || i == 5500))
	})
	for _, f := range []string{"block", "clusters", "straggler", "growing", "fading", "repeated", "skewed", "steps", "day", "late", "early", "tags", "by"} {
		keys := []db.IndexKey{{Path: f}}
		if f == "clusters" || f == "skewed" {
			if _, err := c.CreateIndex(t.Context(), db.Index{Keys: append(keys, db.IndexKey{Path: "random"})}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.CreateIndex(t.Context(), db.Index{Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// work runs a query and returns what it looked at, in documents scanned, those keys with
// it that were counted to choose a plan.
func work(t *testing.T, c *db.Collection, filter any, o db.FindOptions) (cost float64, plan bson.Raw) {
	t.Helper()
	plan, err := c.Explain(t.Context(), filter, o, true)
	if err != nil {
		t.Fatal(err)
	}
	cost = plan.Lookup("executionStats", "cost").Double()
	keys := plan.Lookup("executionStats", "totalKeysExamined").AsInt64()
	// Those counted of the plan that wins are not read again.
	return cost + 0.5*float64(max(0, plan.Lookup("queryPlanner", "keysCounted").AsInt64()-keys)), plan
}

// What the planner chooses looks at little more than the best of what can be chosen,
// wherever the values lie. With a limit, which may end early or not, it pays at most a few
// times the best.
func TestPlannerIsNotMisled(t *testing.T) {
	c := lies(t)
	indexes, err := c.Indexes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := func(vals ...any) bson.D { return d("$in", bson.A(vals)) }
	for _, test := range []struct {
		filter, sort bson.D
		limit        int64
	}{
		{filter: d("block", 1)},
		{filter: d("clusters", 1)},
		{filter: d("straggler", 1)},
		{filter: d("growing", 1)},
		{filter: d("fading", 1)},
		{filter: d("fading", 0)},
		{filter: d("repeated", 7)},
		{filter: d("skewed", 1)},
		{filter: d("skewed", 30)},
		{filter: d("block", 1, "repeated", 7)},
		{filter: d("clusters", 1, "fading", 1)},
		{filter: d("clusters", 1, "random", d("$lt", 100))},
		{filter: d("skewed", 1, "random", d("$lt", 30))},
		{filter: d("clusters", 1, "random", 5)},
		{filter: d("steps", d("$lt", 2_000_250))},
		{filter: d("steps", d("$gte", 250, "$lt", 5_000_050))},
		{filter: d("skewed", d("$gte", 2))},
		{filter: d("skewed", d("$gte", 30))},
		{filter: d("day", "2026-02")},
		{filter: d("day", d("$regex", "^2026-0"))},
		{filter: d("_id", d("$gte", "0000c000"), "block", 1)},
		{filter: d("_id", d("$lt", "00000800"), "fading", 1)},
		{filter: d("skewed", in(900, 800, 700, 600, 500, 1))},
		{filter: d("skewed", in(900, 800, 700, 600, 500, 30))},
		{filter: d("day", in("2026-01", "2026-02", "x"))},
		{filter: d("$or", bson.A{d("block", 1), d("clusters", 1)})},
		{filter: d("$or", bson.A{d("skewed", 40), d("straggler", 1)})},
		{filter: d("$or", bson.A{d("skewed", 40), d("growing", 1)})},
		{filter: d("$or", bson.A{d("late", 1, "repeated", 3), d("early", 1, "fading", 1)})},
		{filter: d("block", 1), sort: d("by", 1)},
		{filter: d("block", 1), sort: d("_id", -1)},
		{filter: d("block", 1), limit: 10},
		{filter: d("fading", 1), limit: 10},
		{filter: d("growing", 1, "random", d("$lt", 10)), limit: 10},
		{filter: d("clusters", 1, "rare", 1), limit: 10},
		{filter: d("fading", 1, "rare", 1), limit: 1},
		{filter: d("late", 1), sort: d("by", 1), limit: 10},
		{filter: d("early", 1), sort: d("by", -1), limit: 10},
		{filter: d("growing", 1, "rare", 0), sort: d("by", 1), limit: 50},
		{filter: d("block", 1), sort: d("_id", -1), limit: 20},
		{filter: d("late", 1), sort: d("_id", 1), limit: 3},
		{filter: d("late", 1), sort: d("repeated", 1, "random", 1), limit: 10},
		{filter: d("late", 1), sort: d("day", 1, "random", 1), limit: 10},
		{filter: d("$or", bson.A{d("late", 1), d("clusters", 1, "random", 5)}), sort: d("by", 1), limit: 100},
		{filter: d("rare", 1), sort: d("by", 1), limit: 2},
		{filter: d("rare", 1), sort: d("by", 1), limit: 3},
	} {
		filter, o := raw(t, test.filter), db.FindOptions{Limit: test.limit}
		if test.sort != nil {
			o.Sort = raw(t, test.sort)
		}
		cost, plan := work(t, c, filter, o)
		scan := o
		scan.NoIndex = true
		best, _ := work(t, c, filter, scan)
		got, want := answer(t, c, filter, o), answer(t, c, filter, scan)
		if len(got) != len(want) || (test.sort != nil || test.limit == 0) && !slices.Equal(got, want) {
			t.Errorf("%v sort %v limit %d: got %d documents, want the %d of a scan", test.filter, test.sort, test.limit, len(got), len(want))
		}
		query := fmt.Sprint(test.filter, test.sort)
		for _, x := range indexes {
			if strings.Contains(query, x.Keys[0].Path) {
				h := o
				h.Hint = id(x.Name)
				n, _ := work(t, c, filter, h)
				best = min(best, n)
			}
		}
		most := 1.2*best + 250
		if test.limit > 0 {
			most = 3*best + 500
		}
		if test.filter[0].Key == "$or" {
			most += best // no hint names a union
		}
		if cost > most {
			t.Errorf("%v sort %v limit %d: costs %.0f, the best plan %.0f\n%v", test.filter, test.sort, test.limit, cost, best, plan)
		}
	}
}

// A plan that takes over from another gives the rest of the same documents, in the same
// order, and none twice.
func TestOvertakenPlansAgree(t *testing.T) {
	c := lies(t)
	r := rand.New(rand.NewPCG(3, 4))
	one := func(of ...any) any { return of[r.IntN(len(of))] }
	overtaken := map[string]int{}
	for range 150 {
		filter := d(one("late", "early", "block", "rare", "clusters").(string), 1)
		switch r.IntN(4) {
		case 0:
			filter = append(filter, bson.E{Key: "tags", Value: one(3, 105, 109)})
		case 1:
			filter = d("$or", bson.A{filter, d("tags", 108, "random", d("$lt", 50)), d("straggler", 1, "rare", 1)})
		case 2:
			filter = append(filter, bson.E{Key: "random", Value: d("$lt", r.IntN(1000))})
		}
		sort := d(one("by", "_id", "repeated", "skewed", "day").(string), one(1, -1))
		if r.IntN(2) == 0 {
			sort = append(sort, bson.E{Key: "random", Value: one(1, -1)})
		}
		o := db.FindOptions{Sort: raw(t, sort), Limit: 1 + r.Int64N(80), Skip: r.Int64N(3) * 7}
		kind := "sorted"
		if r.IntN(4) == 0 {
			o.Sort, kind = nil, "unsorted"
		}
		scan := o
		scan.NoIndex = true
		got, want := answer(t, c, filter, o), answer(t, c, filter, scan)
		plan, err := c.Explain(t.Context(), filter, o, true)
		if err != nil {
			t.Fatal(err)
		}
		if by, ok := plan.Lookup("executionStats", "overtakenBy", "stage").StringValueOK(); ok {
			overtaken[kind+" "+by]++
		}
		if len(got) != len(want) || o.Sort != nil && !slices.Equal(got, want) || o.Sort == nil && len(slices.Compact(got)) != len(want) {
			t.Fatalf("%v sort %v skip %d limit %d: got %v, want %v\n%v", filter, o.Sort, o.Skip, o.Limit, got, want, plan)
		}
	}
	t.Log(overtaken)
	if overtaken["sorted FETCH"] == 0 || overtaken["sorted COLLSCAN"] == 0 || overtaken["unsorted FETCH"] == 0 {
		t.Errorf("plans were overtaken by %v: not by all kinds", overtaken)
	}
}

// Distinct values of an index are found by one document each, however close together most
// of them lie; and where nearly each document has its own, by little more than a scan.
func TestDistinctIsNotMisled(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	const docs, values = 20_000, 150
	fill(t, c, docs, func(i int) bson.D {
		far := i % values
		if far == values-1 {
			far = 1 << 40
		}
		return d("_id", i, "far", far, "own", i)
	})
	for _, f := range []string{"far", "own"} {
		if _, err := c.CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: f}}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, skipped, err := db.DistinctLooked(t.Context(), c, "far"); err != nil || !skipped || n != values {
		t.Errorf("far: looked at %d documents, %v, %v, want %d", n, skipped, err, values)
	}
	if n, skipped, err := db.DistinctLooked(t.Context(), c, "own"); err != nil || skipped || n > docs+docs/8 {
		t.Errorf("own: looked at %d documents, %v, %v, want little more than %d", n, skipped, err, docs)
	}
}

func answer(t *testing.T, c *db.Collection, filter any, o db.FindOptions) []string {
	t.Helper()
	docs, err := find(t, c)(filter, o)
	if err != nil {
		t.Fatal(err)
	}
	out := texts(docs)
	if len(given(o.Sort)) == 0 {
		slices.Sort(out)
	}
	return out
}
