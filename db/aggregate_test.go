package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/fault"
)

func pipe(t testing.TB, stages ...any) (out []bson.Raw) {
	t.Helper()
	for _, s := range stages {
		out = append(out, raw(t, s.(bson.D)))
	}
	return out
}

func aggregated(ctx context.Context, c *db.Collection, p []bson.Raw, o db.AggregateOptions) (out []bson.Raw, err error) {
	a, err := c.Aggregate(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	for a.Next() {
		out = append(out, a.Raw())
	}
	return out, a.Err()
}

// What a collection answers itself, by indexes, is what the stages answer.
func TestPushedDownIsTheSame(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	val := rapid.SampledFrom([]any{nil, int32(1), 2.5, int64(3), "a", true, bson.A{}, bson.A{1, 4}, bson.A{"a", nil}, d("y", 1)})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n%40 == 1 {
			if _, err := c.Delete(t.Context(), nil, true); err != nil {
				rt.Fatal(err)
			}
			var docs []bson.Raw
			for i := range 40 {
				doc := d("_id", i)
				for _, f := range []string{"a", "b", "c"} {
					if rapid.IntRange(0, 3).Draw(rt, "has") > 0 {
						doc = append(doc, bson.E{Key: f, Value: val.Draw(rt, f)})
					}
				}
				docs = append(docs, raw(t, doc))
			}
			if _, err := c.Insert(t.Context(), docs); err != nil {
				rt.Fatal(err)
			}
			for _, keys := range [][]db.IndexKey{{{Path: "a"}}, {{Path: "b", Desc: true}, {Path: "a"}}} {
				if _, err := c.CreateIndex(t.Context(), db.Index{Keys: keys}); err != nil {
					rt.Fatal(err)
				}
			}
		}
		name := rapid.SampledFrom([]string{"a", "b", "c", "_id", "a.y", "z"})
		match := func() any {
			op := rapid.SampledFrom([]string{"$eq", "$gt", "$lte", "$ne", "$in"}).Draw(rt, "op")
			arg := val.Draw(rt, "x")
			if op == "$in" {
				arg = bson.A{arg, val.Draw(rt, "y")}
			}
			return d("$match", d(name.Draw(rt, "f"), d(op, arg)))
		}
		whole := []any{
			d("$set", d("z", "$a")), d("$set", d("a", "$b")), d("$unset", "b"), d("$project", d("a", 1, "b", 1)),
			d("$project", d("c", 0)), d("$project", d("a", "$c", "b", 1)), d("$unwind", "$a"), d("$set", d("a.y", 2)),
			d("$group", d("_id", "$b", "a", d("$sum", 1))), d("$replaceWith", d("_id", "$_id", "a", "$b")),
		}
		var stages []any
		for range rapid.IntRange(1, 4).Draw(rt, "stages") {
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0, 1:
				stages = append(stages, match())
			case 2:
				stages = append(stages, rapid.SampledFrom(whole).Draw(rt, "stage"))
			default:
				stages = append(stages, d("$sort", d("b", 1, "_id", -1, "a", 1, "c", 1)))
				if rapid.Bool().Draw(rt, "skips") {
					stages = append(stages, d("$skip", rapid.IntRange(0, 5).Draw(rt, "skip")))
				}
				stages = append(stages, d("$limit", rapid.IntRange(1, 20).Draw(rt, "limit")))
			}
		}
		want, wantErr := aggregated(t.Context(), c, pipe(t, append([]any{d("$redact", "$$KEEP")}, stages...)...), db.AggregateOptions{NoIndex: true})
		got, err := aggregated(t.Context(), c, pipe(t, stages...), db.AggregateOptions{})
		if fault.KindOf(err) != fault.KindOf(wantErr) {
			rt.Fatalf("%v: got %v, want %v", stages, err, wantErr)
		}
		a, b := texts(got), texts(want)
		slices.Sort(a)
		slices.Sort(b)
		if err == nil && !slices.Equal(a, b) {
			rt.Fatalf("%v: got %v, want %v", stages, a, b)
		}
	})
}

func TestAggregateCommand(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	var docs []bson.Raw
	for i := range 250 {
		docs = append(docs, raw(t, d("_id", i, "n", i%7, "s", d("x", i%3))))
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: "n"}}}); err != nil {
		t.Fatal(err)
	}
	run := func(cmd bson.D) bson.Raw {
		t.Helper()
		r, err := x.Run(t.Context(), raw(t, cmd))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := run(d("aggregate", "c", "pipeline", bson.A{d("$match", d("n", d("$gte", 2))), d("$set", d("m", d("$add", bson.A{"$n", "$$k"})))},
		"let", d("k", 100), "cursor", d("batchSize", 100)))
	first, _ := r.Lookup("cursor", "firstBatch").Array().Values()
	id, ok := r.Lookup("cursor", "id").AsInt64OK()
	if len(first) != 100 || !ok || id == 0 || first[0].Document().Lookup("m").AsInt64() != 102 {
		t.Fatal(r)
	}
	// What is written meanwhile is not seen.
	if _, err := c.Delete(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	r = run(d("getMore", id, "collection", "c"))
	if next, _ := r.Lookup("cursor", "nextBatch").Array().Values(); len(next) != 78 || r.Lookup("cursor", "id").AsInt64() != 0 {
		t.Fatal(r)
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	for want, cmd := range map[string]bson.D{
		"14 ":                         d("aggregate", "c", "pipeline", 1, "cursor", d()),
		"9 The 'cursor'":              d("aggregate", "c", "pipeline", bson.A{}),
		"168 Unrecognized":            d("aggregate", "c", "pipeline", bson.A{d("$nope", 1)}, "cursor", d()),
		"9 $set: x: Use of undefined": d("aggregate", "c", "pipeline", bson.A{d("$set", d("x", "$$y"))}, "cursor", d()),
		"9 BSON field 'agg":           d("aggregate", "c", "pipeline", bson.A{}, "cursor", d(), "nope", 1),
	} {
		if r := run(cmd); r.Lookup("ok").AsFloat64() != 0 || !strings.Contains(fmt.Sprint(r.Lookup("code").AsInt64(), " ", r.Lookup("errmsg").StringValue()), want) {
			t.Errorf("%v: got %v, want %s", cmd, r, want)
		}
	}
	r = run(d("aggregate", 1, "pipeline", bson.A{d("$documents", bson.A{d("x", 1), d("x", 2)}), d("$match", d("x", 2))}, "cursor", d()))
	if v, _ := r.Lookup("cursor", "firstBatch").Array().Values(); len(v) != 1 {
		t.Fatal(r)
	}
	// The index serves the match, and explain says so and what follows.
	for _, cmd := range []bson.D{
		d("explain", d("aggregate", "c", "pipeline", bson.A{d("$set", d("z", 1)), d("$match", d("n", 3)), d("$count", "n")}, "cursor", d())),
		d("aggregate", "c", "pipeline", bson.A{d("$set", d("z", 1)), d("$match", d("n", 3)), d("$count", "n")}, "explain", true),
	} {
		r = run(cmd)
		plan := r.Lookup("stages", "0", "$cursor", "queryPlanner", "winningPlan")
		if stages(plan.Document()) != "FETCH IXSCAN n_1" || r.Lookup("stages", "2", "$count").StringValue() != "n" {
			t.Fatal(r)
		}
	}
}

// A $lookup asks an index of the other collection.
func TestLookupUsesAnIndex(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	var as, bs []bson.Raw
	for i := range 300 {
		as = append(as, raw(t, d("_id", i, "k", i%50)))
		bs = append(bs, raw(t, d("_id", i, "key", i%100, "v", i)))
	}
	for name, docs := range map[string][]bson.Raw{"a": as, "b": bs} {
		if _, err := x.Collection(name).Insert(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
	}
	byField := d("$lookup", d("from", "b", "localField", "k", "foreignField", "key", "as", "bs"))
	byPipeline := d("$lookup", d("from", "b", "let", d("k", "$k"), "pipeline",
		bson.A{d("$match", d("$expr", d("$eq", bson.A{"$key", "$$k"})))}, "as", "bs"))
	total := d("$group", d("_id", nil, "n", d("$sum", d("$size", "$bs")), "v", d("$sum", d("$sum", "$bs.v"))))
	var want string
	for _, indexed := range []bool{false, true} {
		if indexed {
			if _, err := x.Collection("b").CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: "key"}}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, lookup := range []bson.D{byField, byPipeline} {
			a, err := x.Collection("a").Aggregate(t.Context(), pipe(t, lookup, total), db.AggregateOptions{})
			if err != nil || !a.Next() {
				t.Fatal(err)
			}
			got, n := a.Raw().String(), a.Looked()
			a.Close()
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			if (n > 2000) == indexed {
				t.Fatalf("looked at %d documents, indexed: %v", n, indexed)
			}
		}
	}
}

// A transaction aggregates its own writes, and conflicts with writes that would
// change the result.
func TestAggregateInTransaction(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	if _, err := c.Insert(t.Context(), raw(t, d("_id", 1, "n", 2)), raw(t, d("_id", 2, "n", 3))); err != nil {
		t.Fatal(err)
	}
	sum := pipe(t, d("$match", d("n", d("$gt", 0))), d("$group", d("_id", nil, "sum", d("$sum", "$n"))))
	total := func(tx *db.Tx) int64 {
		got, err := tx.Aggregate("c", sum, db.AggregateOptions{})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		return got[0].Lookup("sum").AsInt64()
	}
	err := x.Transaction(t.Context(), db.TxOptions{}, func(tx *db.Tx) error {
		if _, err := tx.Insert("c", raw(t, d("_id", 3, "n", 10))); err != nil {
			return err
		}
		if got := total(tx); got != 15 {
			t.Errorf("got %d, want 15", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = x.Transaction(t.Context(), db.TxOptions{}, func(tx *db.Tx) error {
		if _, err := tx.Insert("log", raw(t, d("sum", total(tx)))); err != nil {
			return err
		}
		_, err := c.Insert(t.Context(), raw(t, d("n", 1)))
		return err
	})
	if !errors.Is(err, db.ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
}

func TestAggregateEnds(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	var docs []bson.Raw
	for i := range 2000 {
		docs = append(docs, raw(t, d("_id", i, "s", "some text of a document")))
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []bson.D{
		d("$group", d("_id", "$_id")), d("$sort", d("s", 1, "x", -1)), d("$facet", d("a", bson.A{})),
		d("$bucketAuto", d("groupBy", "$s", "buckets", 2)), d("$group", d("_id", nil, "all", d("$push", "$s"))),
	} {
		_, err := aggregated(t.Context(), c, pipe(t, d("$redact", "$$KEEP"), stage), db.AggregateOptions{MaxBytes: 20_000})
		if !fault.Is(err, fault.QueryMemoryExceeded) {
			t.Errorf("%v: got %v, want %s", stage, err, fault.QueryMemoryExceeded)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := c.Aggregate(ctx, pipe(t, d("$set", d("x", 1))), db.AggregateOptions{})
	if err != nil || !a.Next() {
		t.Fatal(err)
	}
	cancel()
	if a.Next() || !errors.Is(a.Err(), context.Canceled) {
		t.Fatalf("got %v after the context ended", a.Err())
	}
	a.Close()
	// One document that is much work ends as well.
	for _, p := range [][]bson.Raw{
		pipe(t, d("$limit", 1), d("$set", d("x", d("$map", d("input", d("$range", bson.A{0, 1_000_000}), "in", d("$size", d("$range", bson.A{0, 30}))))))),
		pipe(t, d("$limit", 1), d("$set", d("x", d("$range", bson.A{0, 100_000}), "y", d("$range", bson.A{0, 100_000}))), d("$unwind", "$x"), d("$count", "n")),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := aggregated(ctx, c, p, db.AggregateOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: got %v, want the context's error", p, err)
		}
		cancel()
	}
	b, err := c.Aggregate(t.Context(), nil, db.AggregateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if b.Next() || !errors.Is(b.Err(), db.ErrClosed) {
		t.Fatalf("got %v after the database was closed", b.Err())
	}
	b.Close()
}

// BenchmarkAggregateGroup counts and sums by country, of all documents.
func BenchmarkAggregateGroup(b *testing.B) {
	c, docs := placesDB(b)
	p := pipe(b, d("$group", d("_id", "$country", "n", d("$sum", 1), "population", d("$sum", "$population"))))
	n := 0
	for b.Loop() {
		got, err := aggregated(b.Context(), c, p, db.AggregateOptions{})
		if err != nil || len(got) < 50 {
			b.Fatal(len(got), err)
		}
		n += len(docs)
	}
	perSecond(b, n)
}
