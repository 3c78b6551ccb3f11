package db_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// genHorizons is genDefinitions with horizons among the records: most of authors that had all
// that is earlier, up to their own clock or before; some thin, forged or of who may not.
func genHorizons(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	es := genDefinitions(t, tb, n)
	same := rapid.IntRange(0, 3).Draw(t, "two logs of one identity") == 0
	for i := range es {
		e := &es[i]
		e.Writer, e.Role = fmt.Sprint("did:key:", e.ID.Log[0]), "writer"
		if same && e.ID.Log[0] == 3 {
			e.Writer = "did:key:1"
		}
		if rapid.IntRange(0, 3).Draw(t, "horizon") > 0 {
			continue
		}
		e.Atomic = rapid.IntRange(0, 29).Draw(t, "malformed") == 0
		at := e.Time - 1
		switch rapid.IntRange(0, 5).Draw(t, "T") {
		case 0:
			at = clock.Time(rapid.Uint64Range(0, uint64(e.Time>>16)+1).Draw(t, "some T")) << 16
		case 1, 2:
			at -= min(at, 1<<16)
		}
		e.Payload = db.EncodeHorizon(at, viewOf(t, es, *e, rapid.IntRange(0, 4).Draw(t, "thin") > 0))
	}
	return es
}

// Where operations stand does not depend on when and with what horizons arrive, nor on what
// roles and cuts were, nor on restarts.
func TestHorizonsConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genHorizons(rt, t, 20)
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		owners := rapid.IntRange(0, 2).Draw(rt, "owners all") == 0
		small := rapid.Bool().Draw(rt, "small")
		adjust := func() {
			if !small {
				return
			}
			err := errors.Join(db.SmallGroups(x.DB, 1, 1), db.SmallPieces(x.DB, 1))
			if owners {
				err = errors.Join(err, db.BaseEvery(x.DB, 2))
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		adjust()
		genRights := func(t *rapid.T, es []journal.Entry) func(clock.RecordID) string {
			if owners {
				return func(clock.RecordID) string { return "owner" }
			}
			return genRights(t, es)
		}
		right, cut := genRights(rt, es), fold.Cut{}
		j.SetRights(right)
		order := rapid.Permutation(es).Draw(rt, "order")
		for held := 0; held < len(order); {
			if rapid.IntRange(0, 4).Draw(rt, "roles change") == 0 {
				right = genRights(rt, es)
				j.SetRights(right)
			}
			if rapid.IntRange(0, 4).Draw(rt, "cut changes") == 0 {
				cut = genVoid(rt, es)
			}
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
				var err error
				if x, err = replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j}); err != nil {
					rt.Fatal(err)
				}
				adjust()
			}
			n := rapid.IntRange(1, len(order)-held).Draw(rt, "delivered")
			if err := j.Deliver(order[held : held+n]...); err != nil {
				rt.Fatal(err)
			}
			held += n
			x.Wake()
			if rapid.Bool().Draw(rt, "folded first") {
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
			setCut(t.Context(), rt, x, cut)
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			sameBy(rt, x, order[:held], cut, right)
			if owners {
				sameConflicts(rt, x, order[:held], cut)
			}
		}
		if err := errors.Join(x.Close(), st.Close()); err != nil {
			rt.Fatal(err)
		}
	})
}

// Wherever the process ends while horizons come, go and move what they bind, the next Open
// goes on.
func TestHorizonsSurviveTheEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genHorizons(rt, t, 20)
		st := openMemory(rt)
		s := &tight{Store: st, puts: 24, commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "wide") {
			s.puts = 100_000
		}
		right, cut := genRights(rt, es), fold.Cut{}
		j.SetRights(right)
		order := rapid.Permutation(es).Draw(rt, "order")
		held := 0
		for step := range 4 {
			n := rapid.IntRange(0, len(order)-held).Draw(rt, fmt.Sprint("delivered", step))
			if err := j.Deliver(order[held : held+n]...); err != nil {
				rt.Fatal(err)
			}
			held += n
			if rapid.IntRange(0, 2).Draw(rt, "roles change") == 0 {
				right = genRights(rt, es)
				j.SetRights(right)
			}
			if rapid.IntRange(0, 2).Draw(rt, "cut changes") == 0 {
				cut = genVoid(rt, es)
			}
			for round, ended := 0, true; ended; round++ {
				s.limit(-1)
				if round < 10 && rapid.Bool().Draw(rt, "ends") {
					s.limit(rapid.IntRange(1, 25).Draw(rt, "commits"))
				}
				x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
				if err == nil {
					if rapid.Bool().Draw(rt, "folded first") {
						err = x.Settle(t.Context())
					}
					if err == nil {
						err = x.SetCut(t.Context(), cut)
					}
					if err == nil {
						err = x.Settle(t.Context())
					}
					if err == nil {
						err = db.Built(x.DB)
					}
					if err == nil {
						sameBy(rt, x, order[:held], cut, right)
					}
					if err := x.Close(); err != nil {
						rt.Fatal(err)
					}
				}
				if ended = errors.Is(err, errEnd); err != nil && !ended {
					rt.Fatal(err)
				}
			}
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// A writer that dates an insert before another's document takes its place until the owner's
// next horizon. What comes after that horizon comes after what it has seen.
func TestHorizonEndsInsertBefore(t *testing.T) {
	o, oj := dbtest.OpenIn(t, memory(t), "o")
	w, wj := dbtest.OpenIn(t, memory(t), "w")
	dbs, js := []*replica.Replica{o, w}, []*dbtest.Journal{oj, wj}
	define(t, dbs, js, "owner", "writer")
	if err := w.WriteHorizon(t.Context()); !errors.Is(err, db.ErrRole) {
		t.Errorf("a writer's horizon: got %v", err)
	}
	begun := clock.At(time.Now().Add(-time.Minute))
	late := func(seq uint64, id int) {
		t.Helper()
		e := journal.Entry{ID: clock.RecordID{Log: clock.LogID{9}, Seq: seq, Hash: clock.Hash{9, byte(seq)}}, Time: begun + clock.Time(seq), Writer: "did:key:v", Role: "writer"}
		e.Payload = db.Encode([]db.Op{db.NewOp(1, "c", value.Int32(int32(id)), nil, raw(t, d("_id", int32(id), "by", "v")), false)})
		for i, x := range dbs {
			if err := js[i].Deliver(e); err != nil {
				t.Fatal(err)
			}
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	by := func(n int) string {
		t.Helper()
		exchange(t, dbs, js)
		es, err := oj.Entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range dbs {
			sameBy(t, x, es, fold.Cut{}, func(id clock.RecordID) string {
				return map[clock.LogID]string{oj.Log(): "owner"}[id.Log]
			})
		}
		doc, err := w.Collection("c").Get(t.Context(), id(int32(n)))
		if err != nil {
			t.Fatal(err)
		}
		return doc.Raw.Lookup("by").StringValue()
	}
	for id := range 2 {
		if _, err := o.Collection("c").Insert(t.Context(), raw(t, d("_id", int32(id+1), "by", "o"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, some, err := o.Uncovered(t.Context()); err != nil || some {
		t.Fatalf("the owner's own writes are to be covered: %v, %v", some, err)
	}
	late(1, 1)
	if got := by(1); got != "v" {
		t.Fatalf("before any horizon the document is %s's", got)
	}
	if _, some, err := o.Uncovered(t.Context()); err != nil || !some {
		t.Fatalf("another's writes are not to be covered: %v, %v", some, err)
	}
	if err := o.WriteHorizon(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last, some, err := o.Uncovered(t.Context()); err != nil || some || last == 0 {
		t.Fatalf("after a horizon: %v, %v, %v", last, some, err)
	}
	late(2, 2)
	if got := by(2); got != "o" {
		t.Fatalf("after a horizon the document is %s's", got)
	}
	if got := by(1); got != "v" {
		t.Fatalf("what the horizon has seen was moved: the document is %s's", got)
	}
}
