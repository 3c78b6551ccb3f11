package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

func runCommand(t testing.TB, x *replica.Replica, cmd bson.D) bson.Raw {
	t.Helper()
	reply, err := x.Run(t.Context(), raw(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func codeOf(reply bson.Raw) int64 {
	n, _ := reply.Lookup("code").AsInt64OK()
	return n
}

func TestIndexOptions(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	create := func(specs ...any) bson.Raw {
		t.Helper()
		return runCommand(t, x, d("createIndexes", "c", "indexes", bson.A(specs)))
	}
	good := []any{
		d("key", d("a", 1), "name", "a_1"),
		d("key", d("a", -1, "b.c", 1.0), "name", "ab", "unique", true, "v", 2, "background", true),
		d("key", d("s", 1), "name", "s", "sparse", true),
		d("key", d("p", 1), "name", "p", "partialFilterExpression", d("p", d("$gt", 5))),
		d("key", d("at", 1), "name", "at", "expireAfterSeconds", 3600),
		d("key", d("title", "text", "body", "text"), "name", "words", "weights", d("title", 10), "default_language", "german"),
		d("key", d("_id", 1), "name", "_id_"),
	}
	if r := create(good...); r.Lookup("ok").AsFloat64() != 1 || r.Lookup("numIndexesAfter").AsInt64() != 7 {
		t.Fatalf("got %v", r)
	}
	if r := create(good...); r.Lookup("ok").AsFloat64() != 1 || r.Lookup("note").StringValue() == "" {
		t.Fatalf("the same again: got %v", r)
	}
	listed, err := runCommand(t, x, d("listIndexes", "c")).Lookup("cursor", "firstBatch").Array().Values()
	if err != nil || len(listed) != 7 {
		t.Fatalf("got %v, %v", listed, err)
	}
	for _, want := range []bson.D{
		d("v", 2, "key", d("a", -1, "b.c", 1), "name", "ab", "unique", true, "conflicts", int64(0)),
		d("v", 2, "key", d("s", 1), "name", "s", "sparse", true),
		d("v", 2, "key", d("p", 1), "name", "p", "partialFilterExpression", d("p", d("$gt", 5))),
		d("v", 2, "key", d("at", 1), "name", "at", "expireAfterSeconds", 3600),
		d("v", 2, "key", d("title", "text", "body", "text"), "name", "words", "weights", d("title", 10, "body", 1), "default_language", "german"),
	} {
		if !slices.ContainsFunc(listed, func(v bson.RawValue) bool { return v.Document().String() == raw(t, want).String() }) {
			t.Errorf("got %v, want among them %s", listed, raw(t, want))
		}
	}
	for _, c := range []struct {
		code int64
		spec bson.D
	}{
		{86, d("key", d("b", 1), "name", "a_1")},
		{86, d("key", d("a", 1), "name", "a_1", "sparse", true)},
		{85, d("key", d("a", 1), "name", "other")},
		{85, d("key", d("z", "text"), "name", "second")},
		{67, d("key", d("a$b", 1), "name", "n")},
		{67, d("key", d("", 1), "name", "n")},
		{67, d("key", d("$a", 1), "name", "n")},
		{67, d("key", d("a..b", 1), "name", "n")},
		{67, d("key", d("_mod", 1), "name", "n")},
		{67, d("key", d("a", "hashed"), "name", "n")},
		{67, d("key", d("a", "2dsphere"), "name", "n")},
		{67, d("key", d("a", 0), "name", "n")},
		{67, d("key", d("a", true), "name", "n")},
		{67, d("key", d(), "name", "n")},
		{67, d("key", d("q", 1, "w", "text"), "name", "n")},
		{67, d("key", d("a", 1, "b", 1), "name", "n", "expireAfterSeconds", 1)},
		{67, d("key", d("_id", 1), "name", "n", "expireAfterSeconds", 1)},
		{67, d("key", d("q", 1), "name", "n", "expireAfterSeconds", -1)},
		{14, d("key", d("q", 1), "name", "n", "expireAfterSeconds", "1")},
		{67, d("key", d("q", 1), "name", "n", "sparse", true, "partialFilterExpression", d("q", 1))},
		{67, d("key", d("q", 1), "name", "n", "partialFilterExpression", d("q", d("$ne", 1)))},
		{67, d("key", d("q", 1), "name", "n", "partialFilterExpression", d("$expr", true))},
		{67, d("key", d("q", 1), "name", "n", "partialFilterExpression", d("q", d("$exists", false)))},
		{67, d("key", d("q", 1), "name", "n", "partialFilterExpression", d("_mod", 1))},
		{67, d("key", d("w", "text"), "name", "words", "default_language", "klingon")},
		{67, d("key", d("w", 1), "name", "n", "default_language", "english")},
		{197, d("key", d("q", 1), "name", "n", "collation", d("locale", "de"))},
		{14, d("key", d("q", 1), "name", "n", "unique", "yes")},
	} {
		if r := create(c.spec); codeOf(r) != c.code {
			t.Errorf("%v: got %v, want code %d", c.spec, r, c.code)
		}
	}
	for _, what := range []any{"nothing", d("nothing", 1), bson.A{"nothing"}} {
		if r := runCommand(t, x, d("dropIndexes", "c", "index", what)); codeOf(r) != 27 {
			t.Errorf("dropIndexes %v: got %v", what, r)
		}
	}
	for _, what := range []any{"s", d("p", 1), bson.A{"a_1", "ab"}, "*"} {
		if r := runCommand(t, x, d("dropIndexes", "c", "index", what)); r.Lookup("ok").AsFloat64() != 1 {
			t.Errorf("dropIndexes %v: got %v", what, r)
		}
	}
	if xs, err := x.Collection("c").Indexes(t.Context()); err != nil || len(xs) != 0 {
		t.Fatalf("got %v, %v", xs, err)
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

// buildKinds are indexes of every kind that has values as keys, and the text.
func buildKinds() []db.Index {
	return []db.Index{
		{Keys: []db.IndexKey{{Path: "n"}}},
		{Keys: []db.IndexKey{{Path: "u", Desc: true}}, Unique: true},
		{Keys: []db.IndexKey{{Path: "tags"}, {Path: "n", Desc: true}}},
		{Keys: []db.IndexKey{{Path: "s"}}, Sparse: true},
		{Keys: []db.IndexKey{{Path: "n"}, {Path: "u"}}, Partial: mustRaw(d("n", d("$gte", 50)))},
		{Keys: []db.IndexKey{{Path: "words", Text: true}}},
	}
}

func buildDoc(t testing.TB, i int) bson.Raw {
	doc := d("_id", i, "n", i%100, "u", i, "tags", bson.A{i % 7, "x"}, "words", fmt.Sprintf("the number %d runs", i%50))
	if i%3 == 0 {
		doc = append(doc, bson.E{Key: "s", Value: i % 5})
	}
	return raw(t, doc)
}

func insertMany(t testing.TB, c *db.Collection, n int) {
	t.Helper()
	docs := make([]bson.Raw, n)
	for i := range docs {
		docs[i] = buildDoc(t, i)
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

// asScanned reports a query whose answer, at one moment, depends on the indexes.
func asScanned(t rapid.TB, x *replica.Replica) {
	t.Helper()
	filters := []bsonD{
		d("n", 7), d("n", d("$gte", 60)), d("u", d("$lt", 40)), d("tags", 3), d("s", 2), d("s", nil), d("s", d("$exists", true)),
		d("n", 70, "u", d("$gt", 5)),
	}
	err := x.Transaction(context.Background(), db.TxOptions{}, func(tx *db.Tx) error {
		for _, f := range filters {
			var got [2][]string
			for i, scan := range []bool{false, true} {
				docs, err := tx.Find("c", mustRaw(f), db.FindOptions{NoIndex: scan})
				if err != nil {
					return err
				}
				for _, doc := range docs {
					got[i] = append(got[i], doc.String())
				}
				slices.Sort(got[i])
			}
			if !slices.Equal(got[0], got[1]) {
				return fmt.Errorf("%v: %d documents with indexes, %d without", f, len(got[0]), len(got[1]))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Writers and readers go on while indexes of every kind are built, and each
// index ends up with what the documents give.
func TestBuildsGoOnBesideWriters(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	insertMany(t, c, 1000)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i += 2 {
				f, up := raw(t, d("_id", i*37%1000)), raw(t, d("$inc", d("n", 1), "$push", d("tags", i%9)))
				if i%5 == 0 {
					up = raw(t, d("$unset", d("s", 1)))
				}
				if _, err := c.Update(t.Context(), f, up, db.UpdateOptions{}); err != nil {
					t.Error(err)
					return
				}
				if i%11 == 0 {
					if _, err := c.Delete(t.Context(), f, false); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var names []string
	for _, ix := range buildKinds() {
		name, err := c.CreateIndex(t.Context(), ix)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		asScanned(t, x)
	}
	stop()
	wg.Wait()
	xs, err := c.Indexes(t.Context())
	if err != nil || len(xs) != len(names) {
		t.Fatalf("got %v, %v", xs, err)
	}
	for _, ix := range xs {
		if s := ix.State; s.Building || s.Done != s.Total || s.Total == 0 {
			t.Fatalf("index %s: got %+v", ix.Name, s)
		}
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

// An index that is dropped while it is built leaves nothing, and whoever waits
// for it is told.
func TestDropWhileBuilding(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	insertMany(t, c, 2000)
	name, err := c.CreateIndexWith(t.Context(), buildKinds()[0], db.CreateIndexOptions{Background: true})
	if err != nil {
		t.Fatal(err)
	}
	xs, err := c.Indexes(t.Context())
	if err != nil || len(xs) != 1 || xs[0].State.Total != 2000 {
		t.Fatalf("got %v, %v", xs, err)
	}
	if err := c.DropIndex(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
	if i := x.Info(); i.Building != 0 {
		t.Fatalf("%d indexes are being built", i.Building)
	}
}

// A unique index is not defined if the documents violate it, and leaves nothing.
func TestUniqueOverDuplicates(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	insertMany(t, c, 600)
	_, err := c.CreateIndex(t.Context(), unique("n"))
	var dup *db.DuplicateKeyError
	if !errors.As(err, &dup) || dup.Index != "n_1" || dup.Value[0].Key != "n" {
		t.Fatalf("got %v", err)
	}
	var e *db.Error // as every write that is refused gives one
	if !errors.As(err, &e) || e.Kind() != db.ReasonDuplicate || e.Error() != err.Error() {
		t.Fatalf("got %v", e)
	}
	if xs, err := c.Indexes(t.Context()); err != nil || len(xs) != 0 {
		t.Fatalf("got %v, %v", xs, err)
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.CreateIndex(ctx, unique("u")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.CreateIndex(t.Context(), unique("u")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

// Wherever the process ends while an index is built or deleted, the next Open
// goes on, and no query ever uses half an index.
func TestBuildsSurviveTheEnd(t *testing.T) {
	checks(t, "6")
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		s := &tight{Store: st, puts: 900, commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		open := func() *replica.Replica {
			x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
			if err != nil {
				rt.Fatal(err)
			}
			return x
		}
		x := open()
		insertMany(t, x.Collection("c"), 600)
		kinds := buildKinds()
		for round := range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			s.limit(rapid.IntRange(1, 12).Draw(rt, "commits"))
			ix := rapid.SampledFrom(kinds).Draw(rt, "index")
			c := x.Collection("c")
			if rapid.IntRange(0, 2).Draw(rt, "drop") == 0 {
				err = c.DropIndex(t.Context(), nameOf(ix))
			} else {
				_, err = c.CreateIndexWith(t.Context(), ix, db.CreateIndexOptions{Background: rapid.Bool().Draw(rt, "background")})
			}
			if err != nil && !errors.Is(err, errEnd) && !errors.Is(err, db.ErrNotFound) {
				rt.Fatal(err)
			}
			_, err = c.Update(t.Context(), mustRaw(d("_id", round*31)), mustRaw(d("$inc", d("n", 1))), db.UpdateOptions{})
			if err != nil && !errors.Is(err, errEnd) {
				rt.Fatal(err)
			}
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			s.limit(-1)
			x = open()
			asScanned(rt, x)
		}
		if _, err := db.Dump(x.DB); err != nil {
			rt.Fatal(err)
		}
		asScanned(rt, x)
		if err := errors.Join(x.Close(), st.Close()); err != nil {
			rt.Fatal(err)
		}
	})
}

func nameOf(x db.Index) string {
	name := ""
	for i, k := range x.Keys {
		dir := "1"
		if k.Desc {
			dir = "-1"
		} else if k.Text {
			dir = "text"
		}
		if i > 0 {
			name += "_"
		}
		name += k.Path + "_" + dir
	}
	return name
}

func (s *tight) limit(commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = commits
}
