package db_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/fault"
)

// The result of a typed live query is what a typed find gives, after every write.
func TestLiveOf(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	towns := db.Of[town](x.Collection("towns"))
	filter, o := bson.M{"people": bson.M{"$gte": 20}}, db.FindOptions{Sort: bson.D{{Key: "people", Value: -1}, {Key: "_id", Value: 1}}, Limit: 5}
	live, err := towns.Live(ctx, filter, o)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	rng := rand.New(rand.NewPCG(7, 7))
	told := map[string]int{}
	for range 300 {
		id, people := fmt.Sprint(rng.IntN(12)), rng.Int64N(100)
		if rng.IntN(4) == 0 {
			_, err = towns.Delete(ctx, bson.M{"_id": id}, false)
		} else {
			_, err = towns.Replace(ctx, bson.M{"_id": id}, town{ID: id, People: people}, db.UpdateOptions{Upsert: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, ok, err := live.TryNext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if told[e.Operation]++; e.Operation == "added" && e.Value.ID != e.ID.StringValue() {
				t.Fatalf("the event of %v has %v", e.ID, e.Value)
			}
		}
		var want []town
		for v, err := range towns.Find(ctx, filter, o) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, v)
		}
		if got := live.Result(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if told["added"] == 0 || told["removed"] == 0 || told["changed"] == 0 || told["moved"] == 0 {
		t.Errorf("the run told %v: it does not show every operation", told)
	}

	// What does not fit the type ends the query with an error that names the document.
	if _, err := x.Collection("towns").Insert(ctx, bson.M{"_id": "odd", "people": 1000, "name": 5}); err != nil {
		t.Fatal(err)
	}
	for err == nil { // what falls out of the limit is told first
		_, err = live.Next(ctx)
	}
	if !fault.Is(err, fault.BadValue) {
		t.Errorf("got %v", err)
	}
	if _, err := live.Next(ctx); !errors.Is(err, db.ErrClosed) {
		t.Errorf("after the end: got %v", err)
	}
	if _, err := towns.Live(ctx, filter, o); !fault.Is(err, fault.BadValue) {
		t.Errorf("got %v", err)
	}
}

// A typed watch tells the documents before and after, and goes on behind one that does not
// fit the type.
func TestWatchOf(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("towns")
	towns := db.Of[town](c)
	w, err := towns.Watch(ctx, db.WatchOptions{Filter: bson.M{"people": bson.M{"$gt": 0}}, Image: db.ImageEither})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, f := range []func() error{
		func() error { _, err := x.Collection("others").Insert(ctx, bson.M{"people": 5}); return err },
		func() error { _, err := towns.Insert(ctx, town{ID: "none"}, town{ID: "li", People: 1}); return err },
		func() error {
			_, err := towns.Update(ctx, bson.M{"_id": "li"}, bson.M{"$inc": bson.M{"people": 1}}, db.UpdateOptions{})
			return err
		},
		func() error { _, err := c.Insert(ctx, bson.M{"_id": "odd", "people": 1, "name": 5}); return err },
		func() error { _, err := c.Delete(ctx, bson.M{"_id": "li"}, false); return err },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for len(got) < 4 {
		c, err := w.Next(ctx)
		switch {
		case fault.Is(err, fault.BadValue):
			got = append(got, "misfit "+c.ID.StringValue())
		case err != nil:
			t.Fatal(err)
		default:
			was, is := int64(-1), int64(-1)
			if c.Was != nil {
				was = c.Was.People
			}
			if c.Value != nil {
				is = c.Value.People
			}
			got = append(got, fmt.Sprint(c.Operation, " ", c.ID.StringValue(), " ", was, " ", is))
		}
	}
	if want := []string{"insert li -1 1", "update li 1 2", "misfit odd", "delete li 2 -1"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// Of one document, and from a token on.
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := towns.Insert(ctx, town{ID: "ch"}, town{ID: "is", People: 3}); err != nil {
		t.Fatal(err)
	}
	one, err := towns.Watch(ctx, db.WatchOptions{ID: "is", ResumeAfter: token})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if c, err := one.Next(ctx); err != nil || c.Value == nil || c.Value.ID != "is" {
		t.Errorf("got %v, %v", c, err)
	}
}

// Options, transactions and pipelines take what a program has; a bson.Raw is taken as it is,
// also an empty one, which is none.
func TestDriverEverywhere(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("towns")
	schema := bson.M{"properties": bson.M{"people": bson.M{"minimum": 0}}}
	if err := x.CreateCollection(ctx, "towns", db.CollectionOptions{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	// One by one, a slice, and both at once.
	ids, err := c.Insert(ctx, town{ID: "a", People: 1}, []town{{ID: "b", People: 2}, {ID: "c", People: 3}}, bson.D{{Key: "_id", Value: "d"}}, raw(t, bson.M{"_id": "e", "people": 5}))
	if err != nil || len(ids) != 5 || ids[2].StringValue() != "c" {
		t.Fatal(ids, err)
	}
	if _, err := c.Insert(ctx, town{ID: "f", People: -1}); !errors.Is(err, db.ErrSchema) {
		t.Errorf("against the schema: got %v", err)
	}
	ids, refused, err := c.InsertMany(ctx, []town{{ID: "a"}, {ID: "g", People: 7}}, db.InsertOptions{Unordered: true})
	if err != nil || len(ids) != 1 || len(refused) != 1 || refused[0].Index != 0 {
		t.Errorf("got %v, %v, %v", ids, refused, err)
	}
	if _, err := c.Insert(ctx, town{ID: "a"}); !db.IsDuplicateKeyError(err) {
		t.Errorf("an _id that is there: got %v", err)
	}
	if _, err := c.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "name"}}, Unique: true, Sparse: true}); !db.IsDuplicateKeyError(err) {
		t.Errorf("a unique index over names that are all empty: got %v", err)
	}
	for _, bad := range []any{5, []int{1}, nil, make(chan int)} {
		if db.IsDuplicateKeyError(fault.New(fault.BadValue, "x")) || db.IsDuplicateKeyError(nil) {
			t.Fatal("everything is a duplicate")
		}
		if _, err := c.Insert(ctx, bson.M{"_id": "z"}, bad); !fault.Is(err, fault.TypeMismatch) && !fault.Is(err, fault.BadValue) {
			t.Errorf("%v as document: got %v", bad, err)
		}
		if _, _, err := c.InsertMany(ctx, []any{bad}, db.InsertOptions{}); !fault.Is(err, fault.TypeMismatch) && !fault.Is(err, fault.BadValue) {
			t.Errorf("%v as document of many: got %v", bad, err)
		}
	}
	if n, err := db.Of[town](c).Count(ctx, bson.M{"_id": "z"}); n != 0 || err != nil {
		t.Errorf("a call that cannot be encoded has written something: %d, %v", n, err)
	}

	// Options of reads.
	if _, err := c.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "people"}}}); err != nil {
		t.Fatal(err)
	}
	var none bson.Raw
	large := bson.M{"people": bson.M{"$gt": 2}}
	for _, q := range []struct {
		filter any
		o      db.FindOptions
	}{
		{large, db.FindOptions{Sort: bson.D{{Key: "people", Value: -1}}, Projection: map[string]int{"people": 1}, Hint: "people_1"}},
		{raw(t, large), db.FindOptions{Sort: raw(t, bson.M{"people": -1}), Projection: none, Hint: bson.M{"people": 1}}},
	} {
		cur, err := c.Find(ctx, q.filter, q.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []town
		if err := cur.All(&got); err != nil || len(got) != 3 || got[0].ID != "g" {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if _, err := c.Find(ctx, 5, db.FindOptions{}); err == nil {
		t.Error("5 was taken for a filter")
	}
	for _, o := range []db.FindOptions{{Sort: 5}, {Projection: 5}, {Hint: make(chan int)}} {
		if _, err := c.Find(ctx, nil, o); err == nil {
			t.Errorf("%v was taken", o)
		}
	}

	// Pipelines, with variables and a hint.
	pipeline := []bson.M{{"$match": bson.M{"$expr": bson.M{"$gt": bson.A{"$people", "$$least"}}}}, {"$group": bson.M{"_id": nil, "n": bson.M{"$sum": 1}}}}
	agg, err := c.Aggregate(ctx, pipeline, db.AggregateOptions{Let: bson.M{"least": 2}, Hint: "people_1"})
	if err != nil {
		t.Fatal(err)
	}
	var sums []struct{ N int }
	if err := agg.All(&sums); err != nil || len(sums) != 1 || sums[0].N != 3 {
		t.Errorf("got %v, %v", sums, err)
	}
	for _, bad := range []any{bson.M{}, []int{1}, 5, make(chan int)} {
		if _, err := c.Aggregate(ctx, bad, db.AggregateOptions{}); err == nil {
			t.Errorf("%v was taken as a pipeline", bad)
		}
	}

	// A transaction.
	err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		if _, err := tx.Insert("towns", []town{{ID: "t", People: 1}}); err != nil {
			return err
		}
		if _, err := tx.Update("towns", bson.M{"_id": "t"}, bson.M{"$inc": bson.M{"people": 8}}, db.UpdateOptions{}); err != nil {
			return err
		}
		if r, err := tx.Replace("towns", bson.M{"_id": "a"}, town{ID: "a", People: 10}, db.UpdateOptions{}); err != nil || r.Modified != 1 {
			t.Errorf("got %v, %v", r, err)
		}
		if n, err := tx.Delete("towns", bson.M{"_id": "b"}, false); err != nil || n != 1 {
			t.Errorf("got %v, %v", n, err)
		}
		m, err := tx.FindAndModify("towns", bson.M{}, bson.M{"$set": bson.M{"name": "most"}}, db.ModifyOptions{Sort: bson.M{"people": -1}, New: true, Projection: bson.M{"name": 1}})
		if err != nil || m.Document.Lookup("name").StringValue() != "most" || m.Document.Lookup("_id").StringValue() != "a" {
			t.Errorf("got %v, %v", m, err)
		}
		d, err := tx.Get("towns", "t")
		if err != nil {
			return err
		}
		docs, err := tx.Aggregate("towns", pipeline, db.AggregateOptions{Let: bson.M{"least": 8}})
		if err != nil || len(docs) != 1 || docs[0].Lookup("n").AsInt64() != 2 {
			t.Errorf("got %v, %v", docs, err)
		}
		var got town
		if err := d.Decode(&got); err != nil || got.People != 9 {
			t.Errorf("got %v, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o := db.UpdateOptions{ArrayFilters: []bson.M{{"t": "old"}}}
	if _, err := c.Insert(ctx, town{ID: "tags", Tags: []string{"old", "kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(ctx, bson.M{"_id": "tags"}, bson.M{"$set": bson.M{"tags.$[t]": "new"}}, o); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Of[town](c).Get(ctx, "tags"); err != nil || fmt.Sprint(got.Tags) != "[new kept]" {
		t.Errorf("got %v, %v", got, err)
	}
}
