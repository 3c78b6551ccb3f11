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
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// genUnique draws records on few documents and few values of k, and definitions
// of unique indexes that come and go.
func genUnique(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	sys := "system.collections"
	indexes := []bsonD{
		d("name", "k", "key", d("k", 1), "unique", true),
		d("name", "s", "key", d("k", -1), "unique", true, "sparse", true),
		d("name", "p", "key", d("k", 1, "on", 1), "unique", true, "partial", `{"on": {"$gte": {"$numberInt":"1"}}}`),
	}
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) db.Op {
		coll := rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "coll")
		if rapid.IntRange(0, 7).Draw(t, "definition") == 0 {
			f, x := raw(tb, d("_id", coll)), rapid.SampledFrom(indexes).Draw(t, "index")
			if rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
				return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$pull", d("indexes", d("name", x[0].Value)))), true)
			}
			return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$addToSet", d("indexes", x))), true)
		}
		k := rapid.Int32Range(0, 1).Draw(t, "k")
		doc := rapid.Int32Range(0, 4).Draw(t, "id")
		kind := rapid.SampledFrom([]int{1, 2, 2, 2, 3, 4}).Draw(t, "kind")
		body := d("k", k, "on", 1)
		switch kind {
		case 1:
			body = d("_id", doc, "k", k, "on", k)
		case 2:
			body = rapid.SampledFrom([]any{
				d("$set", d("k", k)), d("$unset", d("k", 1)), d("$set", d("k", []int32{k, 1})), d("$inc", d("on", 1)), d("$set", d("k", bson.A{})),
				d("$set", d("k", nil)),
			}).Draw(t, "update").(bsonD)
		}
		return db.NewOp(kind, coll, value.Int32(doc), raw(tb, d()), raw(tb, body), rapid.Bool().Draw(t, "upsert"))
	}), 1, 4)
	var es []journal.Entry
	var times [3]clock.Time
	for i := range rapid.IntRange(2, n).Draw(t, "records") {
		l := rapid.IntRange(0, 2).Draw(t, "log")
		times[l] += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
		e := journal.Entry{Time: times[l] << 16, Atomic: rapid.IntRange(0, 3).Draw(t, "atomic") == 0}
		e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
		e.Payload = encoded(t, es, e, ops.Draw(t, "ops"))
		es = append(es, e)
	}
	return es
}

// The same records give the same conflicts with the same owners, in whatever
// order they arrive, and with states cached on the way.
func TestConflictsAreTheReference(t *testing.T) {
	checks(t, "60")
	conflicts := 0
	rapid.Check(t, func(rt *rapid.T) {
		es := genUnique(rt, t, 25)
		for r := range 2 {
			st := openMemory(rt)
			x, j := openReplica(rt, t, st)
			if r == 1 {
				if err := errors.Join(db.SmallGroups(x.DB, 1, 1), db.BaseEvery(x.DB, 2)); err != nil {
					rt.Fatal(err)
				}
			}
			order := rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r))
			for n := 0; n < len(order); {
				k := rapid.IntRange(1, len(order)-n).Draw(rt, "delivered")
				if err := j.Deliver(order[n : n+k]...); err != nil {
					rt.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
				n += k
				sameConflicts(rt, x, order[:n], fold.Cut{})
			}
			void := setVoid(rt, t, x, es)
			same(rt, x, es, void)
			sameConflicts(rt, x, es, void)
			if n, err := db.HeadsInHistory(x.DB); n > 0 || err != nil {
				rt.Fatalf("%d documents have their last operation twice, %v", n, err)
			}
			conflicts += int(x.Info().Conflicts)
			if err := errors.Join(x.Close(), st.Close()); err != nil {
				rt.Fatal(err)
			}
		}
	})
	if conflicts == 0 {
		t.Fatal("there was no conflict")
	}
}

// Markers are right wherever the process ends between the steps of records too
// big for one transaction.
func TestConflictsSurviveTheEnd(t *testing.T) {
	checks(t, "40")
	rapid.Check(t, func(rt *rapid.T) {
		es := genUnique(rt, t, 12)
		st := openMemory(rt)
		s := &tight{Store: st, puts: 24, commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		if err := j.Deliver(rapid.Permutation(es).Draw(rt, "order")...); err != nil {
			rt.Fatal(err)
		}
		void := genVoid(rt, es)
		for round, ended := 0, true; ended; round++ {
			s.limit(-1)
			if round < 20 {
				s.limit(rapid.IntRange(1, 25).Draw(rt, "commits"))
			}
			x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
			if err == nil {
				if err = x.Settle(t.Context()); err == nil {
					err = x.SetCut(t.Context(), void)
				}
				if err == nil {
					err = db.Built(x.DB)
				}
				if err == nil {
					same(rt, x, es, void)
					sameConflicts(rt, x, es, void)
				}
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
			}
			if ended = errors.Is(err, errEnd); err != nil && !ended {
				rt.Fatal(err)
			}
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func sameConflicts(t rapid.TB, x *replica.Replica, es []journal.Entry, void fold.Cut) {
	if err := db.Built(x.DB); err != nil {
		t.Fatal(err)
	}
	got, err := db.DumpConflicts(x.DB)
	if err != nil {
		t.Fatal(err)
	}
	if want := db.ReferenceConflicts(es, void); !slices.Equal(got, want) {
		t.Fatalf("got conflicts\n%q\nwant\n%q", got, want)
	}
}

var errRollback = errors.New("as if it had not been")

func unique(path string) db.Index {
	return db.Index{Keys: []db.IndexKey{{Path: path}}, Unique: true}
}

// A local write that gives two documents one key is refused, and nothing of it
// is logged.
func TestUniqueIsRefused(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("people")
	if _, err := c.CreateIndex(ctx, unique("email")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "email", "a")), raw(t, d("_id", 2, "email", bson.A{"b", "c"})), raw(t, d("_id", 3))); err != nil {
		t.Fatal(err)
	}
	n, _ := x.StateHash()
	refused := func(what string, err error) {
		t.Helper()
		var dup *db.DuplicateKeyError
		if !errors.As(err, &dup) || !fault.Is(err, fault.DuplicateKey) || !strings.Contains(err.Error(), fmt.Sprint("_id: ", dup.ID.AsInt64())) || dup.Pattern[0].Key != "email" || dup.Value[0].Key != "email" {
			t.Fatalf("%s: got %v", what, err)
		}
	}
	_, err := c.Insert(ctx, raw(t, d("_id", 9, "email", "a")))
	refused("insert", err)
	_, err = c.Insert(ctx, raw(t, d("_id", 9, "email", bson.A{"x", "c"})))
	refused("an element of an array", err)
	_, err = c.Insert(ctx, raw(t, d("_id", 9)))
	refused("a second missing field", err)
	_, err = c.Insert(ctx, raw(t, d("_id", 9, "email", nil)))
	refused("null and a missing field", err)
	_, err = c.Update(ctx, raw(t, d("_id", 1)), raw(t, d("$set", d("email", "b"))), db.UpdateOptions{})
	refused("update", err)
	_, err = c.Update(ctx, raw(t, d("_id", 9)), raw(t, d("$set", d("email", "b"))), db.UpdateOptions{Upsert: true})
	refused("upsert", err)
	_, err = c.Replace(ctx, raw(t, d("_id", 1)), raw(t, d("email", "c")), db.UpdateOptions{})
	refused("replace", err)
	err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		_, err := tx.Insert("people", raw(t, d("_id", 8, "email", "new")), raw(t, d("_id", 9, "email", "new")))
		return err
	})
	refused("transaction", err)
	err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		_, err := tx.Insert("people", raw(t, d("_id", 9, "email", "a")))
		refused("in a transaction", err)
		if _, err = tx.Update("people", raw(t, d("_id", 1)), raw(t, d("$set", d("email", "z"))), db.UpdateOptions{}); err != nil {
			return err
		}
		if _, err = tx.Insert("people", raw(t, d("_id", 9, "email", "a"))); err != nil {
			return err
		}
		return errRollback
	})
	if !errors.Is(err, errRollback) {
		t.Fatal(err)
	}
	if now, _ := x.StateHash(); now != n {
		t.Fatalf("%d records were logged", now-n)
	}
	// Its own key is no obstacle, nor one that was given up.
	if _, err := c.Update(ctx, raw(t, d("_id", 1)), raw(t, d("$set", d("email", "a", "n", 1))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = x.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
		if _, err := tx.Delete("people", raw(t, d("_id", 1)), false); err != nil {
			return err
		}
		_, err := tx.Insert("people", raw(t, d("_id", 10, "email", "a")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if i := x.Info(); i.Conflicts != 0 {
		t.Fatalf("got %d conflicts", i.Conflicts)
	}
}

// Among many writers at once, in one commit group or several, one wins.
func TestUniqueOneWins(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	if _, err := c.CreateIndex(t.Context(), unique("k")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins := map[int]int{}
	for w := range 8 {
		wg.Go(func() {
			for k := range 30 {
				_, err := c.Insert(t.Context(), raw(t, d("_id", w*100+k, "k", k)))
				if err == nil {
					mu.Lock()
					wins[k]++
					mu.Unlock()
				} else if !fault.Is(err, fault.DuplicateKey) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for k := range 30 {
		if wins[k] != 1 {
			t.Fatalf("key %d was inserted %d times", k, wins[k])
		}
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

// Two replicas that do not see each other both set a key: a conflict that both
// list with one owner, and that ends when one changes.
func TestConflictEnds(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	y, yj := dbtest.OpenIn(t, memory(t), "y")
	ctx := t.Context()
	exchange := func() {
		t.Helper()
		for _, p := range []struct {
			from, to *dbtest.Journal
			db       *replica.Replica
		}{{xj, yj, y}, {yj, xj, x}} {
			es, err := p.from.Entries()
			if err == nil {
				err = p.to.Deliver(es...)
			}
			p.db.Wake()
			if err = errors.Join(err, p.db.Settle(ctx), db.Built(p.db.DB)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := x.Collection("c").CreateIndex(ctx, unique("k")); err != nil {
		t.Fatal(err)
	}
	exchange()
	for i, r := range []*replica.Replica{x, y} {
		if _, err := r.Collection("c").Insert(ctx, raw(t, d("_id", fmt.Sprint(i), "k", "same"))); err != nil {
			t.Fatal(err)
		}
	}
	exchange()
	var seen [][]string
	for _, r := range []*replica.Replica{x, y} {
		cs, err := db.DumpConflicts(r.DB)
		if err != nil || len(cs) != 1 {
			t.Fatalf("got %q, %v", cs, err)
		}
		seen = append(seen, cs)
		reply, err := r.Run(ctx, raw(t, d("conflicts", "c")))
		if err != nil || reply.Lookup("cursor", "firstBatch", "0", "owner", "_id").StringValue() != "0" {
			t.Fatalf("got %v, %v", reply, err)
		}
		// Neither is hidden, and a third is refused.
		if n, err := r.Collection("c").Count(ctx, raw(t, d("k", "same"))); n != 2 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		if _, err := r.Collection("c").Insert(ctx, raw(t, d("k", "same"))); err == nil {
			t.Fatal("a third document with the key was inserted")
		}
	}
	if !slices.Equal(seen[0], seen[1]) {
		t.Fatalf("%q differs from %q", seen[0], seen[1])
	}
	if _, err := y.Collection("c").Update(ctx, raw(t, d("_id", "0")), raw(t, d("$set", d("k", "other"))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	exchange()
	for _, r := range []*replica.Replica{x, y} {
		if cs, err := db.DumpConflicts(r.DB); err != nil || len(cs) != 0 {
			t.Fatalf("got %q, %v", cs, err)
		}
	}
}
