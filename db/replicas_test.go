package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// A replica is a database and its journal.
type peer struct {
	x *replica.Replica
	j *dbtest.Journal
}

func newReplica(t *testing.T, name string) peer {
	x, j := dbtest.OpenIn(t, memory(t), name)
	return peer{x, j}
}

func (r peer) entries(t *testing.T) []journal.Entry {
	t.Helper()
	es, err := r.j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func (r peer) deliver(t *testing.T, es ...journal.Entry) {
	t.Helper()
	if err := r.j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	r.x.Wake()
	if err := r.x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A late record folds again the documents that it touches, and those that atomic
// records join to them from there; no others.
func TestLateRecordsRefoldWhatTheyTouch(t *testing.T) {
	a := newReplica(t, "a")
	seq := uint64(0)
	entry := func(at clock.Time, atomic bool, ids ...int32) journal.Entry {
		seq++
		e := journal.Entry{Time: at << 16, Atomic: atomic, ID: clock.RecordID{Log: clock.LogID{1}, Seq: seq, Hash: clock.Hash{byte(seq), 1}}}
		var ops []db.Op
		for _, n := range ids {
			ops = append(ops, db.NewOp(2, "c", value.Int32(n), raw(t, d()), raw(t, d("$push", d("l", int32(seq)))), true))
		}
		e.Payload = db.Encode(ops)
		return e
	}
	every := make([]int32, 50)
	for i := range every {
		every[i] = int32(i)
	}
	a.deliver(t, entry(10, false, every...), entry(20, false, every...))
	a.deliver(t, entry(30, true, 40, 41), entry(40, true, 41, 42), entry(50, true, 43, 44))
	if n := a.x.Info().Refolds; n != 0 {
		t.Fatalf("%d documents were folded again by records in order", n)
	}
	for _, c := range []struct {
		name string
		e    journal.Entry
		want int64
	}{
		{"one document", entry(15, false, 7), 1},
		{"five", entry(5, false, 1, 2, 3, 4, 5), 5},
		{"five in one atomic record", entry(16, true, 1, 2, 3, 4, 5), 5},
		{"what that joined, from before it", entry(12, false, 3), 5},
		{"and from after it", entry(17, false, 3), 1},
		{"new documents", entry(6, false, 100, 101), 0},
		{"all that atomic records join, one by one", entry(15, false, 40), 3},
		{"from after the first of them", entry(35, false, 41), 2},
		{"in place, where only the earlier one joins", entry(35, false, 40), 0},
		{"nothing later", entry(60, false, 43), 0},
	} {
		before := a.x.Info().Refolds
		a.deliver(t, c.e)
		if got := a.x.Info().Refolds - before; got != c.want {
			t.Errorf("%s: %d documents were folded again, want %d", c.name, got, c.want)
		}
	}
	same(t, a.x, a.entries(t), fold.Cut{})
}

// Replicas that all write at once, through their committers, and hear of each
// other in pieces, late, twice and out of order, end with one state: that of a
// replica that hears all of it at once.
func TestReplicasConverge(t *testing.T) { converge(t, 60) }

func converge(t *testing.T, writes int) {
	var rs []peer
	for i := range 3 {
		rs = append(rs, newReplica(t, fmt.Sprint("replica", i)))
	}
	if _, err := rs[0].x.Collection("c").Insert(t.Context(), raw(t, d("_id", "cas", "v", 0))); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs[1:] {
		r.deliver(t, rs[0].entries(t)...)
	}
	var writers, couriers sync.WaitGroup
	var written atomic.Bool
	for i, r := range rs {
		for w := range 2 {
			writers.Go(func() {
				if err := writeRandomly(t.Context(), r.x, rand.New(rand.NewPCG(uint64(i), uint64(w))), fmt.Sprint(i, "-", w), writes); err != nil {
					t.Error(err)
				}
			})
		}
		couriers.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			for !written.Load() {
				if err := carry(rnd, rs, i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	written.Store(true)
	couriers.Wait()
	var full []journal.Entry
	for _, r := range rs {
		full = append(full, r.entries(t)...)
	}
	rs = append(rs, newReplica(t, "from scratch"))
	for i, r := range rs {
		if i < 3 {
			rand.Shuffle(len(full), func(a, b int) { full[a], full[b] = full[b], full[a] })
		}
		r.deliver(t, full...)
	}
	es := rs[3].entries(t)
	for _, r := range rs {
		if n := len(r.entries(t)); n != len(es) {
			t.Fatalf("a replica has %d records, another %d", len(es), n)
		}
		same(t, r.x, es, fold.Cut{})
		checkVersions(t, r.x)
	}
}

// carry delivers to replica i some of what another has, unless the draw has them
// apart.
func carry(rnd *rand.Rand, rs []peer, i int) error {
	from := rnd.IntN(len(rs))
	if from == i || rnd.IntN(3) == 0 {
		return nil
	}
	es, err := rs[from].j.Entries()
	if err != nil || len(es) == 0 {
		return err
	}
	first := rnd.IntN(len(es))
	es = append(es[first:min(len(es), first+1+rnd.IntN(40))], es[rnd.IntN(len(es))])
	rnd.Shuffle(len(es), func(a, b int) { es[a], es[b] = es[b], es[a] })
	if err := rs[i].j.Deliver(es...); err != nil {
		return err
	}
	rs[i].x.Wake()
	return nil
}

// writeRandomly writes documents that all others write too; now and then it sets
// the next version of one, if that is still the next.
func writeRandomly(ctx context.Context, x *replica.Replica, r *rand.Rand, name string, writes int) error {
	c := x.Collection("c")
	for i := range writes {
		f := bsonD{{Key: "_id", Value: r.IntN(8)}}
		var err error
		switch r.IntN(7) {
		case 0:
			_, err = insert(ctx, c, d("_id", fmt.Sprint(name, i)))
		case 1:
			if _, err = insert(ctx, c, f); err != nil && strings.Contains(err.Error(), "E11000") {
				err = nil
			}
		case 2:
			_, err = c.Delete(ctx, mustRaw(f), false)
		case 3:
			_, err = c.Update(ctx, mustRaw(f), mustRaw(d("$push", d("l", fmt.Sprint(name, i)))), db.UpdateOptions{Upsert: true})
		case 4:
			err = setVersion(ctx, c, name)
		case 5:
			err = x.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
				_, err := tx.Update("c", mustRaw(d("_id", d("$lt", 4))), mustRaw(d("$inc", d("n", 1))), db.UpdateOptions{Many: true})
				return err
			})
			if errors.Is(err, db.ErrConflict) {
				err = nil
			}
		default:
			_, err = c.Update(ctx, mustRaw(f), mustRaw(d("$inc", d("n", 1))), db.UpdateOptions{Upsert: true})
		}
		if err != nil {
			return fmt.Errorf("%s, write %d: %w", name, i, err)
		}
	}
	return nil
}

// setVersion takes the version that it sees and sets the next.
func setVersion(ctx context.Context, c *db.Collection, name string) error {
	doc, err := c.Get(ctx, id("cas"))
	if err != nil {
		return err
	}
	v := doc.Raw.Lookup("v").AsInt64()
	_, err = c.Update(ctx, mustRaw(d("_id", "cas", "v", v)), mustRaw(d("$inc", d("v", 1), "$push", d("set", d("v", v, "by", name)))), db.UpdateOptions{})
	return err
}

// checkVersions checks that each version was set once.
func checkVersions(t *testing.T, x *replica.Replica) {
	t.Helper()
	doc, err := x.Collection("c").Get(t.Context(), id("cas"))
	if err != nil {
		t.Fatal(err)
	}
	set, _ := doc.Raw.Lookup("set").ArrayOK()
	vs, err := set.Values()
	if err != nil || int64(len(vs)) != doc.Raw.Lookup("v").AsInt64() || len(vs) == 0 {
		t.Fatalf("%d versions were set, %v", len(vs), doc.Raw)
	}
	for i, v := range vs {
		if got := v.Document().Lookup("v").AsInt64(); got != int64(i) {
			t.Fatalf("version %d was set at place %d", got, i)
		}
	}
}

func insert(ctx context.Context, c *db.Collection, doc bsonD) ([]bson.RawValue, error) {
	return c.Insert(ctx, mustRaw(doc))
}

func mustRaw(v any) bson.Raw {
	b, err := bson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
