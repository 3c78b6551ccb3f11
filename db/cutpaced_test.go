package db_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// sameCut compares the documents and the state hash with those of the reference fold.
func sameCut(t rapid.TB, x *replica.Replica, es []journal.Entry, c fold.Cut) {
	want, docs, _ := db.ReferenceCut(es, c)
	got, err := db.Dump(x.DB)
	if err != nil {
		t.Fatal(err)
	}
	for k := range docs {
		if got[k] != docs[k] {
			t.Errorf("%q: got %q, want %q", k, got[k], docs[k])
		}
	}
	for k := range got {
		if docs[k] == "" {
			t.Errorf("%q: got %q, want nothing", k, got[k])
		}
	}
	if _, h := x.StateHash(); h != want {
		t.Fatalf("got hash %v, want %v", h, want)
	}
}

// ownCut writes a snapshot of x as it is now, which arrives, and returns the cut in which
// it stands for everything, on top of an earlier one.
func ownCut(ctx context.Context, x *replica.Replica, j *dbtest.Journal, before fold.Cut, log byte) (fold.Cut, error) {
	c := before.Clone()
	var covered []journal.Entry
	s, err := x.Checkpoint(ctx, func(int64) (err error) { covered, err = j.Entries(); return err })
	if err != nil {
		return c, err
	}
	defer s.Close()
	for _, e := range covered {
		c.Void[e.ID.Log] = c.Void[e.ID.Log].Union(clock.VoidUpTo(e.ID.Seq))
		delete(c.Snapshots, e.ID.Log)
	}
	n := uint64(0)
	state, err := s.Each(ctx, func(p []byte) error {
		n++
		return j.Deliver(journal.Entry{ID: clock.RecordID{Log: clock.LogID{log}, Seq: n, Hash: clock.Hash{log, byte(n)}}, Payload: p, Snapshot: true})
	})
	c.Snapshots[clock.LogID{log}] = fold.CutSnapshot{Last: n, State: state, Whole: true}
	x.Wake()
	return c, err
}

// A localWrite is what a device does to documents of one collection.
type localWrite func(ctx context.Context, x *replica.Replica) error

func genLocalWrite(t *rapid.T, tb testing.TB) localWrite {
	coll := rapid.SampledFrom([]string{"a", "b", "n"}).Draw(t, "collection")
	id, other := rapid.IntRange(0, 4).Draw(t, "id"), rapid.IntRange(0, 4).Draw(t, "other")
	filter, inc := raw(tb, d("_id", int32(id))), raw(tb, d("$inc", d("n", 1)))
	switch rapid.IntRange(0, 4).Draw(t, "write") {
	case 0:
		return func(ctx context.Context, x *replica.Replica) error {
			_, err := x.Collection(coll).Delete(ctx, filter, false)
			return err
		}
	case 1:
		return func(ctx context.Context, x *replica.Replica) error {
			_, err := x.Collection(coll).Insert(ctx, raw(tb, d("_id", int32(id), "n", 7)))
			return err
		}
	case 2:
		return func(ctx context.Context, x *replica.Replica) error {
			return x.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
				_, err := tx.Update(coll, filter, inc, db.UpdateOptions{Upsert: true})
				if err == nil {
					_, err = tx.Update("b", raw(tb, d("_id", int32(other))), inc, db.UpdateOptions{Upsert: true})
				}
				return err
			})
		}
	default:
		return func(ctx context.Context, x *replica.Replica) error {
			_, err := x.Collection(coll).Update(ctx, filter, inc, db.UpdateOptions{Upsert: id%2 == 0})
			return err
		}
	}
}

// cutWhile takes a cut over while others write, and returns why it was not, or that the
// process has ended in one of the writes.
func cutWhile(ctx context.Context, x *replica.Replica, cut fold.Cut, writes []localWrite) error {
	var wg sync.WaitGroup
	var end error
	wg.Go(func() {
		for _, w := range writes {
			if err := w(ctx, x); errors.Is(err, errEnd) { // else it may be refused
				end = err
			}
		}
	})
	err := x.SetCut(ctx, cut)
	wg.Wait()
	return cmp.Or(err, end)
}

// cutOrEnd takes a cut over while others write, in a store that may end somewhere; if it
// does, the replica is opened again and takes it then. It checks the state, with and without
// what the cut covers, and returns the replica and its records, and whether nothing ended.
func cutOrEnd(ctx context.Context, rt *rapid.T, s *tight, j *dbtest.Journal, x *replica.Replica, open func() (*replica.Replica, error), cut fold.Cut, writes []localWrite) (_ *replica.Replica, es []journal.Entry, whole bool) {
	s.limit(rapid.IntRange(-1, 40).Draw(rt, "commits"))
	err := cutWhile(ctx, x, cut, writes)
	if err == nil { // and what it causes
		err = x.Settle(ctx)
	}
	s.limit(-1)
	if whole = err == nil; !whole {
		if !errors.Is(err, errEnd) {
			rt.Fatal(err)
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if x, err = open(); err != nil {
			rt.Fatal(err)
		}
		if err := errors.Join(x.Settle(ctx), x.SetCut(ctx, cut), x.Settle(ctx)); err != nil {
			rt.Fatal(err)
		}
	}
	if es, err = j.Entries(); err != nil {
		rt.Fatal(err)
	}
	sameCut(rt, x, es, cut)
	if err := j.Prune(cut); err != nil {
		rt.Fatal(err)
	}
	sameCut(rt, x, es, cut)
	return x, es, whole
}

// A cut by a snapshot of this replica's own gives the state of the reference fold, whatever
// is written between its pieces, what arrives later, and wherever the process ends.
func TestOwnCutConverges(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		all := genEntries(rt, t, 25)
		at := rapid.IntRange(0, len(all)).Draw(rt, "cut at")
		s := &tight{Store: openMemory(rt), puts: 1000, commits: -1}
		j, err := dbtest.NewJournal(s, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		open := func() (*replica.Replica, error) {
			return replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
		}
		x, err := open()
		if err != nil {
			rt.Fatal(err)
		}
		var writes []localWrite
		for range rapid.IntRange(0, 20).Draw(rt, "writes") {
			writes = append(writes, genLocalWrite(rt, t))
		}
		hand(ctx, rt, x, j, all[:at]...)
		n := rapid.IntRange(0, len(writes)).Draw(rt, "covered writes")
		for _, w := range writes[:n] {
			_ = w(ctx, x) // it may be refused
		}
		cut := fold.Cut{}
		for log := byte(8); log < 10; log++ {
			if cut, err = ownCut(ctx, x, j, cut, log); err != nil {
				rt.Fatal(err)
			}
			if err := errors.Join(db.SmallPieces(x.DB, 1), x.Settle(ctx)); err != nil {
				rt.Fatal(err)
			}
			var es []journal.Entry
			x, es, _ = cutOrEnd(ctx, rt, s, j, x, open, cut, writes[n:])
			k := rapid.IntRange(at, len(all)).Draw(rt, "late")
			hand(ctx, rt, x, j, all[at:k]...)
			sameCut(rt, x, append(es, all[at:k]...), cut)
			at = k
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// straight leaves out what a fork would be, so that the records of a log come in its order.
func straight(es []journal.Entry) (out []journal.Entry) {
	last := map[clock.LogID]uint64{}
	for _, e := range es {
		if e.ID.Seq > last[e.ID.Log] {
			last[e.ID.Log] = e.ID.Seq
			out = append(out, e)
		}
	}
	return out
}

// madeCut has another replica, which has the records es and the snapshots of before, write a
// snapshot of all of it. It returns the cut, and the records of the snapshot.
func madeCut(ctx context.Context, t *rapid.T, tb testing.TB, es []journal.Entry, before fold.Cut, log byte) (fold.Cut, []journal.Entry) {
	y, j := openReplica(t, tb, openMemory(t))
	defer y.Close()
	hand(ctx, t, y, j, es...)
	setCut(ctx, t, y, before)
	c, err := ownCut(ctx, y, j, before, log)
	if err != nil {
		t.Fatal(err)
	}
	all, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return c, slices.DeleteFunc(all, func(e journal.Entry) bool { return e.ID.Log != clock.LogID{log} })
}

// A cut by a snapshot of another replica gives the state of the reference fold, whatever
// lies after the cut and is here, whatever is written between its pieces, what arrives
// later, and wherever the process ends. Often it is taken in pieces.
func TestForeignCutConverges(t *testing.T) {
	ctx := t.Context()
	paced, cuts := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		all := straight(genEntries(rt, t, 25))
		s := &tight{Store: openMemory(rt), puts: 1000, commits: -1}
		j, err := dbtest.NewJournal(s, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		open := func() (*replica.Replica, error) {
			return replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
		}
		x, err := open()
		if err != nil {
			rt.Fatal(err)
		}
		cut := fold.Cut{}
		var covered []journal.Entry
		has := 0
		for log := byte(8); log < 10; log++ {
			at := rapid.IntRange(has, len(all)).Draw(rt, "cut at")
			covered = append(covered, all[has:at]...)
			var snapshot []journal.Entry
			cut, snapshot = madeCut(ctx, rt, t, covered, cut, log)
			covered = append(covered, snapshot...)
			// It is here with some of what comes after it, and own writes.
			end := rapid.IntRange(at, len(all)).Draw(rt, "here")
			hand(ctx, rt, x, j, all[has:end]...)
			covered, has = append(covered, all[at:end]...), end
			var writes []localWrite
			for range rapid.IntRange(0, 10).Draw(rt, "writes") {
				writes = append(writes, genLocalWrite(rt, t))
			}
			n := rapid.IntRange(0, len(writes)).Draw(rt, "writes before")
			for _, w := range writes[:n] {
				_ = w(ctx, x) // it may be refused
			}
			hand(ctx, rt, x, j, snapshot...)
			if err := errors.Join(db.SmallPieces(x.DB, 1), x.Settle(ctx)); err != nil {
				rt.Fatal(err)
			}
			was := db.PacedCuts(x.DB)
			whole := false
			if x, _, whole = cutOrEnd(ctx, rt, s, j, x, open, cut, writes[n:]); whole {
				cuts, paced = cuts+1, paced+int(db.PacedCuts(x.DB)-was)
			}
		}
		es, err := j.Entries()
		if err != nil {
			rt.Fatal(err)
		}
		hand(ctx, rt, x, j, all[has:]...)
		sameCut(rt, x, append(es, all[has:]...), cut)
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
	})
	if t.Logf("%d of %d cuts were taken in pieces", paced, cuts); paced < cuts/10 {
		t.Errorf("%d of %d cuts were taken in pieces", paced, cuts)
	}
}

// A commitLog is a store that tells which commits hold the marker of steps.
type commitLog struct {
	store.Store
	mu    sync.Mutex // guards marks
	marks []bool
}

type loggedTx struct {
	store.Tx
	s    *commitLog
	mark bool
}

func (s *commitLog) Begin() store.Tx { return &loggedTx{Tx: s.Store.Begin(), s: s} }

func (t *loggedTx) Put(k, v []byte) error {
	t.mark = t.mark || string(k) == "D/r"
	return t.Tx.Put(k, v)
}

func (t *loggedTx) Commit() error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.marks = append(t.s.marks, t.mark)
	return t.Tx.Commit()
}

// passed returns how many commits without a marker lie between the first and the last with
// one, and forgets all.
func (s *commitLog) passed() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := slices.Index(s.marks, true)
	between := 0
	for _, m := range s.marks[max(first, 0):] {
		if !m {
			between++
		} else {
			n = between
		}
	}
	s.marks = nil
	return n
}

// Writes pass between the pieces of a cut, and definitions wait for all of it.
func TestWritesPassACut(t *testing.T) {
	ctx := t.Context()
	mem, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	s := &commitLog{Store: mem}
	j, err := dbtest.NewJournal(s, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	x, err := replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	c := x.Collection("c")
	const docs = 1000
	for i := range docs {
		if _, err := c.Insert(ctx, raw(t, d("_id", int32(i), "n", int32(i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.SmallPieces(x.DB, 1); err != nil {
		t.Fatal(err)
	}
	cut, err := ownCut(ctx, x, j, fold.Cut{}, 8)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	s.passed()
	go func() { done <- x.SetCut(ctx, cut) }()
	for i := 0; len(done) == 0; i++ {
		if _, err := c.Update(ctx, raw(t, d("_id", int32(i%docs))), raw(t, d("$inc", d("n", 1000))), db.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := s.passed(); n == 0 {
		t.Errorf("no write passed between the pieces of a cut of %d documents", docs)
	}
	es, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	sameCut(t, x, es, cut)

	if cut, err = ownCut(ctx, x, j, cut, 9); err != nil {
		t.Fatal(err)
	}
	go func() { done <- x.SetCut(ctx, cut) }()
	if err := x.CreateCollection(ctx, "e", db.CollectionOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := s.passed(); n > 1 { // the last that begins before the first piece is noted
		t.Errorf("%d commits passed between the pieces of a cut", n)
	}
	if es, err = j.Entries(); err != nil {
		t.Fatal(err)
	}
	sameCut(t, x, es, cut)
}
