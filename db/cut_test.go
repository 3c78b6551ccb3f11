package db_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store/engines"
)

// checkpointOf draws a cut of es: a position in each log, and the snapshot of
// what is up to there, in a log of its own, on top of an earlier cut.
func checkpointOf(t *rapid.T, es []journal.Entry, before fold.Cut, log byte) (fold.Cut, journal.Entry) {
	c := fold.Cut{Void: maps.Clone(before.Void), Snapshots: maps.Clone(before.Snapshots)}
	for _, id := range []clock.LogID{{1}, {2}, {3}} {
		if ids := recordsOf(es, id); len(ids) > 0 && rapid.IntRange(0, 3).Draw(t, "covers") > 0 {
			c.Void[id] = c.Void[id].Union(clock.VoidUpTo(rapid.SampledFrom(ids).Draw(t, "up to").Seq))
		}
	}
	var covered []journal.Entry
	for _, e := range es {
		if _, snapshot := before.Snapshots[e.ID.Log]; snapshot {
			c.Void[e.ID.Log] = clock.VoidUpTo(e.ID.Seq)
		}
		if c.Void[e.ID.Log].Has(e.ID) {
			covered = append(covered, e)
		}
	}
	_, _, payload := db.ReferenceCut(covered, before)
	e := journal.Entry{ID: clock.RecordID{Log: clock.LogID{log}, Seq: 1, Hash: clock.Hash{log}}, Time: 1000 << 16, Payload: payload, Snapshot: true}
	alone := fold.Cut{Snapshots: map[clock.LogID]fold.CutSnapshot{{log}: {Last: 1}}}
	state, _, _ := db.ReferenceCut([]journal.Entry{e}, alone)
	for id := range before.Snapshots {
		delete(c.Snapshots, id)
	}
	c.Snapshots[clock.LogID{log}] = fold.CutSnapshot{Last: 1, State: state}
	return c, e
}

func hand(ctx context.Context, t *rapid.T, x *replica.Replica, j *dbtest.Journal, es ...journal.Entry) {
	if err := j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	if err := x.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

// voidLogs cuts logs that are void as a whole, and nothing else.
func voidLogs(ctx context.Context, x *replica.Replica, logs []clock.LogID) error {
	c := replica.Cut{Void: map[clock.LogID]clock.Void{}}
	for _, id := range logs {
		c.Void[id] = clock.VoidAll()
	}
	return x.SetCut(ctx, c)
}

// both is c, and what the other leaves out of logs.
func both(c, o fold.Cut) fold.Cut {
	c.Void = maps.Clone(c.Void)
	for id, v := range o.Void {
		c.Void[id] = c.Void[id].Union(v)
	}
	return c
}

func setCut(ctx context.Context, t *rapid.T, x *replica.Replica, c fold.Cut) {
	if err := x.SetCut(ctx, c); err != nil {
		t.Fatal(err)
	}
}

// Replicas that have the history, that have cut it off, and that never had it
// agree, whenever each learns of a cut, and whatever comes late.
func TestCutsConverge(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		all := genEntries(rt, t, 25)
		none := fold.Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]fold.CutSnapshot{}}
		first, one := checkpointOf(rt, all, none, 8)
		checkpoint := first
		first = both(checkpoint, genVoid(rt, all))
		whole := append(slices.Clone(all), one)
		second, two := checkpointOf(rt, whole, first, 9)
		whole = append(whole, two)

		full, fj := openReplica(rt, t, openMemory(rt))
		order := rapid.Permutation(all).Draw(rt, "order")
		at := rapid.IntRange(0, len(order)).Draw(rt, "cut at")
		hand(ctx, rt, full, fj, order[:at]...)
		same(rt, full, order[:at], none)
		hand(ctx, rt, full, fj, one)
		same(rt, full, order[:at], none) // not in force yet
		setCut(ctx, rt, full, first)
		same(rt, full, append(slices.Clone(order[:at]), one), first)
		hand(ctx, rt, full, fj, order[at:]...)
		same(rt, full, whole, first)

		st := openMemory(rt)
		pruned, pj := openReplica(rt, t, st)
		if rapid.Bool().Draw(rt, "small") {
			if err := db.SmallGroups(pruned.DB, 1, 1); err != nil {
				rt.Fatal(err)
			}
		}
		covered := slices.DeleteFunc(slices.Clone(order), func(e journal.Entry) bool { return !checkpoint.Void[e.ID.Log].Has(e.ID) })
		late := slices.DeleteFunc(slices.Clone(order), func(e journal.Entry) bool { return checkpoint.Void[e.ID.Log].Has(e.ID) })
		hand(ctx, rt, pruned, pj, append(covered, one)...)
		verified := checkpoint // alone: the snapshot is compared with what counted before
		verified.Snapshots = map[clock.LogID]fold.CutSnapshot{{8}: {Last: 1, State: checkpoint.Snapshots[clock.LogID{8}].State, Whole: true}}
		setCut(ctx, rt, pruned, verified)
		setCut(ctx, rt, pruned, first)
		if err := pj.Prune(first); err != nil {
			rt.Fatal(err)
		}
		n := rapid.IntRange(0, len(late)).Draw(rt, "late")
		hand(ctx, rt, pruned, pj, late[:n]...)
		if err := pruned.Close(); err != nil {
			rt.Fatal(err)
		}
		pruned, pj = openReplica(rt, t, st)
		hand(ctx, rt, pruned, pj, late[n:]...)
		same(rt, pruned, whole, first)

		joiner, jj := openReplica(rt, t, openMemory(rt))
		hand(ctx, rt, joiner, jj, one)
		setCut(ctx, rt, joiner, first)
		hand(ctx, rt, joiner, jj, late...)
		same(rt, joiner, whole, first)

		for _, x := range []struct {
			*replica.Replica
			j *dbtest.Journal
		}{{full, fj}, {pruned, pj}, {joiner, jj}} {
			hand(ctx, rt, x.Replica, x.j, two)
			setCut(ctx, rt, x.Replica, second)
			same(rt, x.Replica, whole, second)
			if err := x.j.Prune(second); err != nil {
				rt.Fatal(err)
			}
			setCut(ctx, rt, x.Replica, second)
			same(rt, x.Replica, whole, second)
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// Wherever the process ends while cuts of any shape follow one another, the next Open
// gives the state of the reference fold by the one before or the one that was being set.
func TestCutSurvivesTheEnd(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		all := genEntries(rt, t, 12)
		none := fold.Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]fold.CutSnapshot{}}
		cut, one := checkpointOf(rt, all, none, 8)
		whole := append(slices.Clone(all), one)
		cuts := []fold.Cut{none} // of which the fold has the first
		for range rapid.IntRange(1, 3).Draw(rt, "cuts") {
			next := genVoid(rt, all)
			if rapid.IntRange(0, 2).Draw(rt, "checkpoint") > 0 {
				next = both(cut, next)
			}
			cuts = append(cuts, next)
		}
		s := &tight{Store: openMemory(rt), puts: 14, commits: -1}
		j, err := dbtest.NewJournal(s.Store, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		if err := j.Deliver(whole...); err != nil {
			rt.Fatal(err)
		}
		run := func(x *replica.Replica) error {
			if err := errors.Join(x.Settle(ctx), db.Built(x.DB)); err != nil {
				return err
			}
			if len(cuts) > 1 && isBy(rt, x, whole, cuts[1]) {
				cuts = cuts[1:]
			}
			same(rt, x, whole, cuts[0])
			for len(cuts) > 1 {
				if err := x.SetCut(ctx, cuts[1]); err != nil {
					return err
				}
				cuts = cuts[1:]
				if err := db.Built(x.DB); err != nil {
					return err
				}
				same(rt, x, whole, cuts[0])
			}
			return nil
		}
		for round := 0; ; round++ {
			s.commits = -1
			if round < 20 {
				s.commits = rapid.IntRange(1, 25).Draw(rt, "commits")
			}
			x, err := replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
			if err == nil {
				err = run(x)
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
			}
			if err == nil {
				return
			}
			if !errors.Is(err, errEnd) {
				rt.Fatal(err)
			}
		}
	})
}

// isBy reports whether all that x holds is the reference's by a cut: two cuts can give the
// same state hash and other times, tombstones and refusals.
func isBy(t rapid.TB, x *replica.Replica, es []journal.Entry, c fold.Cut) bool {
	_, docs, _ := db.ReferenceCut(es, c)
	got, err := db.Dump(x.DB)
	if err != nil {
		t.Fatal(err)
	}
	return maps.Equal(got, docs)
}

// What changes of a cut is written with every step: thousands of logs leave room for the
// documents of a step.
func TestLargeCutFitsItsSteps(t *testing.T) {
	ctx := t.Context()
	mem, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var es []journal.Entry
	for i := range 8 {
		id, doc := value.Int32(int32(i)), raw(t, d("_id", i, "big", make([]byte, 300<<10)))
		es = append(es, entryOf(1, uint64(i+1), false, db.NewOp(1, "a", id, nil, doc, false)),
			entryOf(2, uint64(i+10), false, db.NewOp(2, "a", id, raw(t, d()), raw(t, d("$set", d("k", 1))), false)))
	}
	cut := fold.Cut{Void: map[clock.LogID]clock.Void{{2}: clock.VoidAbove(11)}}
	for i := range 3000 {
		cut.Void[clock.LogID{9, byte(i), byte(i >> 8)}] = clock.VoidAll()
	}
	s := &tight{Store: mem, puts: 100_000, commits: -1}
	j, err := dbtest.NewJournal(mem, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	x, err := replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := errors.Join(x.Settle(ctx), x.SetCut(ctx, cut)); err != nil {
		t.Fatal(err)
	}
	same(t, x, es, cut)
}

// What a database writes as a snapshot is what another takes for its records,
// and what replaces its own; a snapshot of anything else is refused.
func TestSnapshotStandsForTheRecords(t *testing.T) {
	ctx := t.Context()
	x, j := dbtest.Open(t, "a")
	c := x.Collection("c")
	if err := x.CreateCollection(ctx, "c", db.CollectionOptions{Indexes: []db.Index{{Keys: []db.IndexKey{{Path: "n"}}}}}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := c.Insert(ctx, raw(t, d("_id", int32(i), "n", int32(i)))); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if _, err := c.Update(ctx, raw(t, d()), raw(t, d("$inc", d("n", 1))), db.UpdateOptions{Many: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Delete(ctx, raw(t, d("_id", d("$gte", 15))), true); err != nil {
		t.Fatal(err)
	}
	var at int64
	s, err := x.Checkpoint(ctx, func(n int64) error { at = n; return nil })
	if err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	state, err := s.Each(ctx, func(p []byte) error { payloads = append(payloads, p); return nil })
	s.Close()
	if err != nil || at == 0 || len(payloads) != 1 {
		t.Fatalf("at %d: %d payloads, %v", at, len(payloads), err)
	}
	es, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	snap := journal.Entry{ID: clock.RecordID{Log: clock.LogID{7}, Seq: 1, Hash: clock.Hash{7}}, Payload: payloads[0], Snapshot: true}
	cut := fold.Cut{
		Void:      map[clock.LogID]clock.Void{j.Log(): clock.VoidUpTo(es[len(es)-1].ID.Seq)},
		Snapshots: map[clock.LogID]fold.CutSnapshot{{7}: {Last: 1, State: state, Whole: true}},
	}
	bad := fold.Cut{Void: cut.Void, Snapshots: map[clock.LogID]fold.CutSnapshot{{7}: {Last: 1, State: clock.Hash{1}, Whole: true}}}
	if err := j.Deliver(snap); err != nil {
		t.Fatal(err)
	}
	x.Wake()
	if err := x.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.SetCut(ctx, bad); !errors.Is(err, fold.ErrSnapshot) {
		t.Fatalf("a false state hash: %v", err)
	}
	if _, err := c.Update(ctx, raw(t, d("_id", 3)), raw(t, d("$set", d("n", -1))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	late := maps.Clone(cut.Void)
	late[j.Log()] = clock.VoidUpTo(es[len(es)-1].ID.Seq + 1)
	if err := x.SetCut(ctx, fold.Cut{Void: late, Snapshots: cut.Snapshots}); !errors.Is(err, fold.ErrSnapshot) {
		t.Fatalf("a snapshot that lacks a change: %v", err)
	}
	if err := x.SetCut(ctx, cut); err != nil {
		t.Fatal(err)
	}
	if err := j.Prune(cut); err != nil {
		t.Fatal(err)
	}
	if es, err = j.Entries(); err != nil || len(es) != 2 {
		t.Fatalf("%d records are left, %v", len(es), err)
	}
	y, k := dbtest.Open(t, "b")
	if err := k.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	y.Wake()
	if err := errors.Join(y.Settle(ctx), y.SetCut(ctx, cut)); err != nil {
		t.Fatal(err)
	}
	same(t, x, es, cut)
	same(t, y, es, cut)
	if n := db.History(x.DB); n > 1 {
		t.Errorf("%d operations are left before the last ones", n)
	}
	if got, err := y.Collection("c").Count(ctx, raw(t, d("n", d("$gte", 100)))); err != nil || got != 14 {
		t.Errorf("count by the index: %d, %v", got, err)
	}
}
