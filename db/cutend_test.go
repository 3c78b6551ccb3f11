package db_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store/engines"
)

// A cutEnd is a cut to come into force while the process ends.
type cutEnd struct {
	es          []journal.Entry
	before, cut fold.Cut
	late        []journal.Entry // which arrive afterwards
}

// everywhere ends the process after each step of the cut, and of the next Open.
func (c *cutEnd) everywhere(t *testing.T) {
	for first := 0; ; first++ {
		for second := -1; second < 2; second++ {
			if c.at(t, first, second) {
				return
			}
		}
	}
}

// at ends the process after first commits, and again after second ones; it reports
// whether the cut needed no more than the first.
func (c *cutEnd) at(t *testing.T, first, second int) (whole bool) {
	ctx := t.Context()
	mem, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	s := &tight{Store: mem, puts: 1000, commits: -1}
	j, err := dbtest.NewJournal(mem, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Deliver(c.es...); err != nil {
		t.Fatal(err)
	}
	open := func() (*replica.Replica, error) {
		return replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
	}
	x, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.SetCut(ctx, c.before), x.Settle(ctx), db.Built(x.DB)); err != nil {
		t.Fatal(err)
	}
	s.puts, s.commits = 14, first // a step for each write
	err = x.SetCut(ctx, c.cut)
	whole = err == nil
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s.commits = range []int{second, -1} {
		if x, err = open(); err == nil {
			break
		}
		if !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
	}
	s.commits, s.puts = -1, 1000
	if err := x.SetCut(ctx, c.cut); err != nil {
		t.Fatal(err)
	}
	same(t, x, c.es, c.cut)
	es := slices.Clone(c.es)
	for _, e := range c.late {
		if err := j.Deliver(e); err != nil {
			t.Fatal(err)
		}
		x.Wake()
		if err := x.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
		same(t, x, es, c.cut)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return whole
}

// entryOf is the record at the given time of a log, whose position is the time.
func entryOf(log byte, at uint64, atomic bool, ops ...db.Op) journal.Entry {
	return journal.Entry{
		ID:   clock.RecordID{Log: clock.LogID{log}, Seq: at, Hash: clock.Hash{log, byte(at)}},
		Time: clock.Time(at) << 16, Atomic: atomic, Payload: db.Encode(ops),
	}
}

func voidUpTo(log byte, seq uint64) fold.Cut {
	return fold.Cut{Void: map[clock.LogID]clock.Void{{log}: clock.VoidUpTo(seq)}}
}

func insertOp(tb testing.TB, coll string, n int) db.Op {
	return db.NewOp(1, coll, value.Int32(0), nil, raw(tb, d("_id", 0, "n", n)), false)
}

func updateOp(tb testing.TB, coll string, filter, doc any, upsert bool) db.Op {
	return db.NewOp(2, coll, value.Int32(0), raw(tb, filter), raw(tb, doc), upsert)
}

func increments(tb testing.TB, coll string, n int) []db.Op {
	return slices.Repeat([]db.Op{updateOp(tb, coll, d(), d("$inc", d("n", 1)), false)}, n)
}

// b is folded without the insert that is cut off, because a transaction joins it to
// a, before its part of the snapshot is there: its update matches nothing for a while.
func TestCutTakesBackTheRefusalsBetween(t *testing.T) {
	es := []journal.Entry{
		entryOf(1, 1, false, insertOp(t, "a", 0)),
		entryOf(1, 2, false, insertOp(t, "b", 0)),
	}
	state, _, payload := db.ReferenceCut(es, fold.Cut{})
	es = append(es,
		entryOf(2, 3, false, updateOp(t, "b", d("n", d("$lte", 0)), d("$set", d("k", 1)), false)),
		entryOf(2, 4, true, updateOp(t, "a", d(), d("$set", d("m", 1)), false), updateOp(t, "b", d(), d("$set", d("m", 1)), false)),
		journal.Entry{ID: clock.RecordID{Log: clock.LogID{8}, Seq: 1, Hash: clock.Hash{8}}, Payload: payload, Snapshot: true})
	cut := voidUpTo(1, 2)
	cut.Snapshots = map[clock.LogID]fold.CutSnapshot{{8}: {Last: 1, State: state}}
	(&cutEnd{es: es, cut: cut}).everywhere(t)
}

// a's entries are written for the transaction that joins it to b, which does not
// stand any more once b is folded without the operations that a cached state hid.
// After the end b may come first.
func TestCutTakesBackTheEntriesBetween(t *testing.T) {
	for _, unique := range []bool{false, true} {
		index := d("$addToSet", d("indexes", d("name", "n_1", "key", d("n", 1), "unique", unique)))
		es := []journal.Entry{
			entryOf(1, 1, false, insertOp(t, "a", 5)),
			entryOf(1, 3, false, append([]db.Op{insertOp(t, "b", 0)}, increments(t, "b", 70)...)...),
			entryOf(2, 2, false,
				db.NewOp(2, "system.collections", value.String("a"), raw(t, d("_id", "a")), raw(t, index), true),
				db.NewOp(1, "a", value.Int32(1), nil, raw(t, d("_id", 1, "n", 101)), false)),
			entryOf(2, 4, false, updateOp(t, "a", d(), d("$inc", d("n", 1)), true)),
			entryOf(2, 5, true, updateOp(t, "a", d(), d("$inc", d("n", 100)), false), updateOp(t, "b", d(), d("$set", d("m", 1)), false)),
		}
		for range 3 { // documents are taken in any order
			(&cutEnd{es: es, cut: voidUpTo(1, 3)}).everywhere(t)
		}
	}
}

// A state of b is cached at its 64th operation, of the transaction that counts again,
// before the head says so. After the end b loses an operation first.
func TestCutTakesBackTheStatesBetween(t *testing.T) {
	es := []journal.Entry{
		entryOf(3, 1, false, append([]db.Op{insertOp(t, "a", 0), insertOp(t, "b", 0)}, increments(t, "b", 61)...)...),
		entryOf(1, 2, false, updateOp(t, "b", d(), d("$inc", d("n", 1000)), false)),
		entryOf(2, 4, false, updateOp(t, "a", d(), d("$set", d("k", 1)), false)),
		entryOf(2, 5, true, updateOp(t, "a", d(), d("$set", d("m", 1)), false), updateOp(t, "b", d(), d("$set", d("m", 1)), false)),
	}
	late := []journal.Entry{
		entryOf(3, 9, false, increments(t, "b", 1)...),
		entryOf(4, 7, false, increments(t, "b", 1)...),
	}
	(&cutEnd{es: es, before: voidUpTo(2, 5), cut: voidUpTo(1, 2), late: late}).everywhere(t)
}
