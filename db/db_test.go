package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

func TestMain(m *testing.M) {
	childMain()
	goleak.VerifyTestMain(m)
}

// given returns the document that an option holds; nil for none.
func given(v any) bson.Raw {
	b, _ := v.(bson.Raw)
	return b
}

func raw(t testing.TB, v any) bson.Raw {
	t.Helper()
	b, err := bson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func d(kv ...any) bson.D {
	out := bson.D{}
	for i := 0; i < len(kv); i += 2 {
		out = append(out, bson.E{Key: kv[i].(string), Value: kv[i+1]})
	}
	return out
}

func id(v any) bson.RawValue {
	t, b, err := bson.MarshalValue(v)
	if err != nil {
		panic(err)
	}
	return bson.RawValue{Type: t, Value: b}
}

func memory(t testing.TB) store.Store {
	t.Helper()
	st, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func all(t testing.TB, c *db.Collection, filter any, o db.FindOptions) []bson.Raw {
	t.Helper()
	cur, err := c.Find(t.Context(), filter, o)
	if err != nil {
		t.Fatal(err)
	}
	defer cur.Close()
	var out []bson.Raw
	for cur.Next() {
		out = append(out, cur.Raw())
	}
	if err := cur.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteAndReadBack(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("people")
	ids, err := c.Insert(ctx, raw(t, d("_id", "ada", "age", 36)), raw(t, d("name", "bob", "age", 17)))
	if err != nil || len(ids) != 2 {
		t.Fatalf("got %v, %v", ids, err)
	}
	if _, err := c.Insert(ctx, raw(t, d("_id", "ada"))); err == nil {
		t.Fatal("a duplicate _id was inserted")
	}
	if _, err := c.Insert(ctx, raw(t, d("_id", "eve", "_mod", 1))); err == nil {
		t.Fatal("a document with _mod was inserted")
	}
	r, err := c.Update(ctx, raw(t, d("age", d("$gt", 1))), raw(t, d("$inc", d("age", 1))), db.UpdateOptions{Many: true})
	if err != nil || r.Matched != 2 || r.Modified != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r, err = c.Update(ctx, raw(t, d("name", "eve")), raw(t, d("$set", d("age", 5))), db.UpdateOptions{Upsert: true}); err != nil || !r.UpsertedID.IsZero() == false {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r, err = c.Replace(ctx, raw(t, d("_id", "ada")), raw(t, d("age", 40)), db.UpdateOptions{}); err != nil || r.Modified != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if n, err := c.Count(ctx, nil); n != 3 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if _, err := c.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "age"}}}); err != nil {
		t.Fatal(err)
	}
	got := all(t, c, nil, db.FindOptions{Sort: raw(t, d("age", 1))})
	if len(got) != 3 || got[2].Lookup("age").AsInt64() != 40 {
		t.Fatalf("got %v", got)
	}
	if n, err := c.Delete(ctx, raw(t, d("age", 18)), false); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if doc, err := c.Get(ctx, id("ada")); err != nil || doc.Mod == 0 {
		t.Fatalf("got %v, %v", doc, err)
	}
	if n, _ := x.StateHash(); j.FlushedTo() != n {
		t.Fatalf("flushed %d of %d", j.FlushedTo(), n)
	}
	if err := x.DropCollection(ctx, "people"); err != nil {
		t.Fatal(err)
	}
	if cs, err := x.Collections(ctx); err != nil || len(cs) != 0 {
		t.Fatalf("got %v, %v", cs, err)
	}
}

// A compare-and-set succeeds once, however many try.
func TestCompareAndSetOnce(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	if _, err := c.Insert(t.Context(), raw(t, d("_id", 1, "v", 0))); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins := map[int]int64{}
	for range 8 {
		wg.Go(func() {
			for v := range 20 {
				r, err := c.Update(t.Context(), raw(t, d("_id", 1, "v", v)), raw(t, d("$inc", d("v", 1))), db.UpdateOptions{})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				wins[v] += r.Matched
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for v, n := range wins {
		if n != 1 && !(n == 0 && v > 0) {
			t.Fatalf("value %d was set %d times", v, n)
		}
	}
}

func TestTransactionConflict(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("c")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "v", 0))); err != nil {
		t.Fatal(err)
	}
	for _, atomic := range []bool{false, true} {
		err := x.Transaction(ctx, db.TxOptions{Atomic: atomic}, func(tx *db.Tx) error {
			if _, err := tx.Insert("other", raw(t, d("_id", "x"))); err != nil {
				return err
			}
			if _, err := tx.Update("c", raw(t, d("_id", 1)), raw(t, d("$inc", d("v", 1))), db.UpdateOptions{}); err != nil {
				return err
			}
			doc, err := tx.Get("c", id(int32(1)))
			if err != nil || doc.Raw.Lookup("v").AsInt64() < 1 {
				return fmt.Errorf("does not read its own write: %v, %w", doc.Raw, err)
			}
			_, err = c.Update(ctx, nil, raw(t, d("$inc", d("v", 1))), db.UpdateOptions{})
			return err
		})
		if !errors.Is(err, db.ErrConflict) {
			t.Fatalf("got %v, want a conflict", err)
		}
		if n, _ := x.Collection("other").Count(ctx, nil); n != 0 {
			t.Fatal("half a transaction was written")
		}
	}
	err := x.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
		if _, err := tx.Insert("other", raw(t, d("_id", "x"))); err != nil {
			return err
		}
		_, err := tx.Delete("c", raw(t, d("_id", 1)), false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Count(ctx, nil); n != 0 {
		t.Fatal("the transaction's delete is missing")
	}
}

type bsonD = bson.D

func marshal(v any) (bson.Raw, error) { return bson.Marshal(v) }

func contextBackground() context.Context { return context.Background() }
