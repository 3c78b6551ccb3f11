package db_test

import (
	"flag"
	"fmt"
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
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

const schema = `{"type":"object","properties":{"n":{"type":"integer","maximum":3}}}`

// genOps draws the operations of one record: on few documents, so that they
// meet, and now and then on definitions.
func genOps(t *rapid.T, tb testing.TB) []db.Op {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) db.Op {
		coll := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "coll")
		if rapid.IntRange(0, 5).Draw(t, "definition") == 0 {
			f := raw(tb, d("_id", coll))
			sys := "system.collections"
			switch rapid.IntRange(0, 5).Draw(t, "change") {
			case 0:
				return db.NewOp(4, sys, value.String(coll), f, nil, false)
			case 1:
				return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$unset", d("schema", 1))), true)
			case 2:
				x := d("name", "n_1", "key", d("n", 1))
				return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$addToSet", d("indexes", x))), true)
			case 3:
				return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$pull", d("indexes", d("name", "n_1")))), true)
			case 4:
				return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$set", d("schema", "{"))), true)
			}
			return db.NewOp(2, sys, value.String(coll), f, raw(tb, d("$set", d("schema", schema))), true)
		}
		kind := rapid.SampledFrom([]int{1, 2, 2, 2, 3, 4}).Draw(t, "kind")
		k := rapid.Int32Range(0, 4).Draw(t, "id")
		n := rapid.Int32Range(0, 5).Draw(t, "n")
		filter := d()
		if rapid.Bool().Draw(t, "conditional") {
			filter = d("n", d("$lte", n))
		}
		body := d("n", n)
		switch kind {
		case 1:
			body = d("_id", k, "n", n)
		case 2:
			body = rapid.SampledFrom([]any{
				d("$inc", d("n", 1)), d("$set", d("m", n)), d("$push", d("l", n)), d("$set", d("n", []int32{n, 1})),
				d("$currentDate", d("t", true)), d("$bad", d("n", n)), d("$set", d("_mod", 1)),
			}).Draw(t, "update").(bsonD)
		}
		return db.NewOp(kind, coll, value.Int32(k), raw(tb, filter), raw(tb, body), rapid.Bool().Draw(t, "upsert"))
	}), 1, 4).Draw(t, "ops")
}

// genEntries draws records of three logs; their clocks strictly increase in a
// log and collide across logs. Of a log that forked several share a position.
func genEntries(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	var es []journal.Entry
	var times [3]clock.Time
	for i := range rapid.IntRange(1, n).Draw(t, "records") {
		l := rapid.IntRange(0, 2).Draw(t, "log")
		times[l] += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
		e := journal.Entry{Time: times[l] << 16, Atomic: rapid.IntRange(0, 2).Draw(t, "atomic") == 0}
		e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
		e.Payload = encoded(t, es, e, genOps(t, tb))
		if of := recordsOf(es, e.ID.Log); len(of) > 0 && rapid.IntRange(0, 5).Draw(t, "forked") == 0 {
			e.ID.Seq = rapid.SampledFrom(of).Draw(t, "twin").Seq
		}
		if rapid.IntRange(0, 19).Draw(t, "malformed") == 0 {
			e.Payload = []byte{9}
		}
		es = append(es, e)
	}
	return es
}

// encoded encodes operations. One that defines something is a record of its own, which says
// what its author had: mostly all that is earlier, or else some of it, and now and then what
// is not there, or later.
func encoded(t *rapid.T, es []journal.Entry, e journal.Entry, ops []db.Op) []byte {
	i := slices.IndexFunc(ops, func(o db.Op) bool { return o.Coll == "system.collections" })
	if i < 0 || rapid.IntRange(0, 5).Draw(t, "unviewed") == 0 {
		return db.Encode(ops)
	}
	return db.EncodeView(ops[i], viewOf(t, es, e, rapid.Bool().Draw(t, "sees all")))
}

// viewOf draws what the author of e had of es.
func viewOf(t *rapid.T, es []journal.Entry, e journal.Entry, all bool) []clock.RecordID {
	tops := map[clock.LogID]clock.RecordID{}
	for _, o := range es {
		later := o.Time >= e.Time && rapid.IntRange(0, 19).Draw(t, "later") > 0
		if o.ID.Log != e.ID.Log && !later && o.ID.Seq >= tops[o.ID.Log].Seq && (all || rapid.Bool().Draw(t, "seen")) {
			tops[o.ID.Log] = o.ID
		}
	}
	if rapid.IntRange(0, 19).Draw(t, "invented") == 0 {
		tops[clock.LogID{3}] = clock.RecordID{Log: clock.LogID{3}, Seq: 99, Hash: clock.Hash{99}}
	}
	return slices.Collect(maps.Values(tops))
}

func openReplica(t *rapid.T, tb testing.TB, st store.Store) (*replica.Replica, *dbtest.Journal) {
	j, err := dbtest.NewJournal(st, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	x, err := replica.Open(tb.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, j
}

func same(t rapid.TB, x *replica.Replica, es []journal.Entry, c fold.Cut) {
	want, docs, _ := db.ReferenceCut(es, c)
	got, err := db.Dump(x.DB)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, docs) {
		for _, k := range slices.Sorted(maps.Keys(docs)) {
			if got[k] != docs[k] {
				t.Errorf("%q: got %q, want %q", k, got[k], docs[k])
			}
		}
		for k := range got {
			if docs[k] == "" {
				t.Errorf("%q: got %q, want nothing", k, got[k])
			}
		}
		t.Fatal("the state is not the reference's")
	}
	if _, h := x.StateHash(); h != want {
		t.Fatalf("got hash %v, want %v", h, want)
	}
}

// The same records give the same bytes, the same refusals and the same hash,
// in whatever order they arrive: those of the reference fold.
func TestFoldIsTheReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genEntries(rt, t, 25)
		for r := range 3 {
			st := openMemory(rt)
			x, j := openReplica(rt, t, st)
			if r == 1 {
				if err := db.SmallGroups(x.DB, 1, 1); err != nil {
					rt.Fatal(err)
				}
			}
			order := rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r))
			for len(order) > 0 {
				n := rapid.IntRange(1, len(order)).Draw(rt, "delivered")
				if err := j.Deliver(order[:n]...); err != nil {
					rt.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
				order = order[n:]
			}
			same(rt, x, es, fold.Cut{})
			if r == 2 {
				for range 3 {
					same(rt, x, es, setVoid(rt, t, x, es))
				}
			}
			_, before := x.StateHash()
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			x, _ = openReplica(rt, t, st)
			if _, h := x.StateHash(); h != before {
				rt.Fatalf("the hash is %v after reopening, want %v", h, before)
			}
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			if err := st.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// recordsOf returns the records of a log among es.
func recordsOf(es []journal.Entry, log clock.LogID) (ids []clock.RecordID) {
	for _, e := range es {
		if e.ID.Log == log {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// genVoid draws what of the logs 1, 2 and 3 is void: of each nothing, all, what is up to or
// above a position, spans, or single records of es, some of which may be twins.
func genVoid(t *rapid.T, es []journal.Entry) fold.Cut {
	c := fold.Cut{Void: map[clock.LogID]clock.Void{}}
	for _, log := range []clock.LogID{{1}, {2}, {3}} {
		ids := recordsOf(es, log)
		top := uint64(1)
		for _, id := range ids {
			top = max(top, id.Seq+1)
		}
		seq := rapid.Uint64Range(0, top)
		switch rapid.IntRange(0, 6).Draw(t, "void") {
		case 0, 1:
		case 2:
			c.Void[log] = clock.VoidAll()
		case 3:
			c.Void[log] = clock.VoidUpTo(seq.Draw(t, "up to"))
		case 4:
			c.Void[log] = clock.VoidAbove(seq.Draw(t, "above"))
		case 5:
			var spans []clock.Span
			for range rapid.IntRange(1, 3).Draw(t, "spans") {
				first := seq.Draw(t, "first")
				spans = append(spans, clock.Span{First: first, Last: first + rapid.Uint64Range(0, 5).Draw(t, "more")})
			}
			c.Void[log] = clock.NewVoid(spans, nil)
		default:
			var records []clock.Single
			for range rapid.IntRange(0, min(len(ids), 4)).Draw(t, "records") {
				id := rapid.SampledFrom(ids).Draw(t, "record")
				records = append(records, clock.Single{Seq: id.Seq, Hash: id.Hash})
			}
			c.Void[log] = clock.NewVoid(nil, records)
			if rapid.Bool().Draw(t, "and above") {
				c.Void[log] = c.Void[log].Union(clock.VoidAbove(seq.Draw(t, "above")))
			}
		}
	}
	return c
}

// setVoid draws a cut by genVoid, sets it, and returns it.
func setVoid(t *rapid.T, tb testing.TB, x *replica.Replica, es []journal.Entry) fold.Cut {
	c := genVoid(t, es)
	setCut(tb.Context(), t, x, c)
	return c
}

// Void sets that change between deliveries, of any shape, leave what the last of them and
// the records give, on every replica, restarted or not.
func TestVoidIsASet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genEntries(rt, t, 25)
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		order := rapid.Permutation(es).Draw(rt, "order")
		var void fold.Cut
		for n := 0; n < len(order); {
			if rapid.Bool().Draw(rt, "set") {
				void = setVoid(rt, t, x, es)
			}
			if rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
				x, j = openReplica(rt, t, st)
			}
			k := rapid.IntRange(1, len(order)-n).Draw(rt, "delivered")
			if err := j.Deliver(order[n : n+k]...); err != nil {
				rt.Fatal(err)
			}
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			n += k
			same(rt, x, order[:n], void)
		}
		void = setVoid(rt, t, x, es)
		same(rt, x, es, void)
		before := x.Info().Refolds
		if err := x.SetCut(t.Context(), void); err != nil || x.Info().Refolds != before {
			rt.Fatalf("setting the same set again: %v, %d documents folded again", err, x.Info().Refolds-before)
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		x, _ = openReplica(rt, t, st)
		same(rt, x, es, void)
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func openMemory(t *rapid.T) store.Store {
	st, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// Documents with long histories, whose late operations start from cached
// states, and records that do not fit one transaction give the same, too.
func TestLongHistories(t *testing.T) {
	checks(t, "25")
	longHistories(t)
}

func longHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var es []journal.Entry
		n := rapid.IntRange(130, 300).Draw(rt, "records")
		for i := range n {
			op := db.NewOp(2, "a", value.Int32(int32(i%2)), raw(t, d()), raw(t, d("$push", d("l", int32(i)))), true)
			ops := []db.Op{op}
			e := journal.Entry{Time: clock.Time(i+1) << 16, Atomic: i%40 == 7}
			if e.Atomic {
				op.ID = value.Int32(int32(i+1) % 2)
				ops = append(ops, op)
			}
			e.ID = clock.RecordID{Log: clock.LogID{byte(i%3 + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
			e.Payload = db.Encode(ops)
			es = append(es, e)
		}
		late := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, 8, rapid.ID).Draw(rt, "late")
		order := slices.Clone(es)
		for _, i := range late {
			order = append(slices.DeleteFunc(order, func(e journal.Entry) bool { return e.ID == es[i].ID }), es[i])
		}
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		for len(order) > 0 {
			k := min(len(order), rapid.IntRange(1, 100).Draw(rt, "delivered"))
			if err := j.Deliver(order[:k]...); err != nil {
				rt.Fatal(err)
			}
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			order = order[k:]
		}
		same(rt, x, es, fold.Cut{})
		whole := fold.Cut{Void: map[clock.LogID]clock.Void{{2}: clock.VoidAll()}}
		setCut(t.Context(), rt, x, whole)
		same(rt, x, es, whole)
		for range 2 {
			same(rt, x, es, setVoid(rt, t, x, es))
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// checks has rapid make n checks in this test.
func checks(t *testing.T, n string) {
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Value.Set(before); err != nil {
			t.Error(err)
		}
	})
}
