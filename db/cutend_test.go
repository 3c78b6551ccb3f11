package db_test

import (
	"errors"
	"fmt"
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

// entryOf is the record at the given time of a log, whose position is the time.
func entryOf(log byte, at uint64, atomic bool, ops ...db.Op) journal.Entry {
	return journal.Entry{
		ID:   clock.RecordID{Log: clock.LogID{log}, Seq: at, Hash: clock.Hash{log, byte(at)}},
		Time: clock.Time(at) << 16, Atomic: atomic, Payload: db.Encode(ops),
	}
}

// joined are the records of two documents that the snapshot holds, of which the
// second has a later operation in log 2 and is joined to the first by another:
// so that the second is folded without what is cut off, before its own part of
// the snapshot is.
func joined(tb testing.TB, index any, n int, update db.Op, more ...db.Op) []journal.Entry {
	insert := func(coll string, id int32, n int) db.Op {
		return db.NewOp(1, coll, value.Int32(id), nil, raw(tb, d("_id", id, "n", n)), false)
	}
	set := func(coll string) db.Op {
		return db.NewOp(2, coll, value.Int32(0), raw(tb, d()), raw(tb, d("$set", d("m", 1))), false)
	}
	es := []journal.Entry{entryOf(1, 1, false, insert("a", 0, 0))}
	if index != nil {
		es = append(es, entryOf(1, 2, false, db.NewOp(2, "system.collections", value.String("b"), raw(tb, d("_id", "b")),
			raw(tb, d("$addToSet", d("indexes", index))), true)))
	}
	return append(es,
		entryOf(1, 3, false, append(more, insert("b", 0, n))...),
		entryOf(2, 4, false, update),
		entryOf(2, 5, true, set("a"), set("b")))
}

// Wherever the process ends while a cut comes into force, and ends again while
// the next Open goes on, the state is the reference's: no refusal, entry or
// conflict stays that only a state in between had.
func TestCutLeavesNothingOfTheStatesBetween(t *testing.T) {
	update := func(upsert bool, filter, doc any) db.Op {
		return db.NewOp(2, "b", value.Int32(0), raw(t, filter), raw(t, doc), upsert)
	}
	low := d("n", d("$lte", 0))
	for name, es := range map[string][]journal.Entry{
		"refusal":  joined(t, nil, 0, update(false, low, d("$set", d("k", 1)))),
		"entry":    joined(t, d("name", "n_1", "key", d("n", 1)), 5, update(true, d(), d("$inc", d("n", 1)))),
		"conflict": joined(t, d("name", "n_1", "key", d("n", 1), "unique", true), 5, update(true, d(), d("$inc", d("n", 1))), db.NewOp(1, "b", value.Int32(1), nil, raw(t, d("_id", 1, "n", 1)), false)),
	} {
		t.Run(name, func(t *testing.T) {
			for first, done := 0, false; !done; first++ {
				for second := -1; second < 3; second++ {
					if done = endsInCut(t, es, first, second); done {
						break
					}
				}
			}
		})
	}
}

func endsInCut(t *testing.T, es []journal.Entry, first, second int) (done bool) {
	ctx := t.Context()
	void := map[clock.LogID]uint64{{1}: 3}
	var covered []journal.Entry
	for _, e := range es {
		if e.ID.Log == (clock.LogID{1}) {
			covered = append(covered, e)
		}
	}
	state, _, _ := db.ReferenceCut(covered, fold.Cut{})
	whole := slices.Clone(es)
	for i, part := range [][]journal.Entry{covered[:1], covered[1:]} { // a record each
		_, _, payload := db.ReferenceCut(part, fold.Cut{})
		whole = append(whole, journal.Entry{
			ID: clock.RecordID{Log: clock.LogID{8}, Seq: uint64(i + 1), Hash: clock.Hash{8, byte(i)}}, Payload: payload, Snapshot: true,
		})
	}
	cut := fold.Cut{Void: void, Snapshots: map[clock.LogID]fold.CutSnapshot{{8}: {Last: 2, State: state}}}
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
	if err := j.Deliver(whole...); err != nil {
		t.Fatal(err)
	}
	open := func() (*replica.Replica, error) {
		return replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
	}
	x, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Settle(ctx), db.Built(x.DB)); err != nil {
		t.Fatal(err)
	}
	s.puts = 14
	s.commits = first
	err = x.SetCut(ctx, cut)
	x.Close()
	done = err == nil
	for _, n := range []int{second, -1} {
		s.commits = n
		if x, err = open(); err == nil {
			break
		}
		if !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
	}
	s.commits = -1
	if err := x.SetCut(ctx, cut); err != nil {
		t.Fatal(err)
	}
	t.Log(fmt.Sprint(first, second))
	sameCut(t, x, whole, cut)
	x.Close()
	return done
}
