package db_test

import (
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// What an index finds is what a scan finds, in the same order if it is sorted.
func TestIndexedIsUnindexed(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	val := rapid.Custom(func(t *rapid.T) any {
		return rapid.SampledFrom([]any{nil, int32(1), 2.5, int64(3), "a", "b", true, d("x", 1), bson.A{}, bson.A{1, 4}, bson.A{"a", nil}}).Draw(t, "value")
	})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		c := x.Collection("c" + string(rune('a'+n%26)) + string(rune('a'+n/26)))
		for i := range rapid.IntRange(0, 12).Draw(rt, "docs") {
			doc := d("_id", i)
			for _, f := range []string{"a", "b"} {
				if rapid.IntRange(0, 3).Draw(rt, "has") > 0 {
					doc = append(doc, bson.E{Key: f, Value: val.Draw(rt, f)})
				}
			}
			if _, err := c.Insert(t.Context(), raw(t, doc)); err != nil {
				rt.Fatal(err)
			}
		}
		desc := rapid.Bool().Draw(rt, "desc")
		keys := []db.IndexKey{{Path: "a", Desc: desc}, {Path: "b"}}[:rapid.IntRange(1, 2).Draw(rt, "keys")]
		if _, err := c.CreateIndex(t.Context(), db.Index{Keys: keys}); err != nil {
			rt.Fatal(err)
		}
		for range 10 {
			op := rapid.SampledFrom([]string{"$eq", "$gt", "$gte", "$lt", "$lte", "$ne"}).Draw(rt, "op")
			f := d("a", d(op, val.Draw(rt, "x")))
			if rapid.Bool().Draw(rt, "in") {
				f = d("a", d("$in", bson.A{val.Draw(rt, "x"), val.Draw(rt, "y")}))
			}
			if rapid.Bool().Draw(rt, "both") {
				f = append(f, bson.E{Key: "b", Value: val.Draw(rt, "z")})
			}
			var o db.FindOptions
			sorted := rapid.Bool().Draw(rt, "sorted")
			if sorted {
				dir := 1
				if desc {
					dir = -1
				}
				o.Sort = raw(t, d("a", dir))
				o.Limit = rapid.Int64Range(0, 5).Draw(rt, "limit")
			}
			got := texts(all(t, c, raw(t, f), o))
			o.NoIndex = true
			want := texts(all(t, c, raw(t, f), o))
			if !sorted {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("%v: got %v by index %v, want %v", f, got, keys, want)
			}
		}
	})
}

func texts(docs []bson.Raw) (out []string) {
	for _, d := range docs {
		out = append(out, d.String())
	}
	return out
}

func TestCommands(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	run := func(cmd bson.D) bson.Raw {
		t.Helper()
		r, err := x.Run(t.Context(), raw(t, cmd))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	docs := bson.A{}
	for i := range 250 {
		docs = append(docs, d("_id", i, "n", i%7))
	}
	if r := run(d("insert", "c", "documents", docs)); r.Lookup("n").AsInt64() != 250 {
		t.Fatal(r)
	}
	if r := run(d("insert", "c", "documents", bson.A{d("_id", 1), d("_id", 1000)}, "ordered", false)); r.Lookup("n").AsInt64() != 1 ||
		r.Lookup("writeErrors", "0", "code").AsInt64() != 11000 {
		t.Fatal(r)
	}
	r := run(d("find", "c", "filter", d("_id", d("$lt", 250))))
	seen := 0
	for field := "firstBatch"; ; field = "nextBatch" {
		vs, err := r.Lookup("cursor", field).Array().Values()
		if err != nil {
			t.Fatal(r)
		}
		seen += len(vs)
		cur := r.Lookup("cursor", "id").AsInt64()
		if cur == 0 {
			break
		}
		r = run(d("getMore", cur, "collection", "c", "batchSize", 40))
	}
	if seen != 250 {
		t.Fatalf("got %d documents, want 250", seen)
	}
	if r := run(d("nonsense", 1)); r.Lookup("code").AsInt64() != 59 || r.Lookup("codeName").StringValue() != "CommandNotFound" {
		t.Fatal(r)
	}
	for _, cmd := range []bson.D{
		d("ping", 1), d("create", "s", "validator", d("$jsonSchema", d("required", bson.A{"a"}))), d("listCollections", 1),
		d("createIndexes", "c", "indexes", bson.A{d("name", "n_1", "key", d("n", 1))}), d("listIndexes", "c"),
		d("update", "c", "updates", bson.A{d("q", d("n", 3), "u", d("$inc", d("n", 1)), "multi", true)}),
		d("delete", "c", "deletes", bson.A{d("q", d("n", 5), "limit", 0)}), d("distinct", "c", "key", "n"),
		d("count", "c", "query", d("n", 4)), d("dropIndexes", "c", "index", "n_1"), d("drop", "c"),
	} {
		if r := run(cmd); r.Lookup("ok").AsFloat64() != 1 || r.Lookup("writeErrors").Type != 0 {
			t.Fatalf("%v: %v", cmd, r)
		}
	}
	if r := run(d("insert", "s", "documents", bson.A{d("b", 1)})); r.Lookup("writeErrors", "0", "code").AsInt64() != 121 {
		t.Fatal(r)
	}
}

// A watch tells each change once, live and after a pause.
func TestWatch(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	w, err := x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	c := x.Collection("c")
	if _, err := c.Insert(t.Context(), raw(t, d("_id", 1, "n", 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(t.Context(), nil, raw(t, d("$inc", d("n", 1))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	first, err := w.Next(t.Context())
	if err != nil || first.Operation != "insert" || first.Remote || first.After.Lookup("n").AsInt64() != 1 {
		t.Fatalf("got %+v, %v", first, err)
	}
	next, err := w.Next(t.Context())
	if err != nil || next.Operation != "update" || next.Before.Lookup("n").AsInt64() != 1 {
		t.Fatalf("got %+v, %v", next, err)
	}
	w.Close()
	if _, err := c.Delete(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	w, err = x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}, ResumeAfter: next.Token})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if ch, err := w.Next(t.Context()); err != nil || ch.Operation != "delete" {
		t.Fatalf("got %+v, %v", ch, err)
	}
}
