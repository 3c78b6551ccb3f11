package db_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

func refusals(t rapid.TB, tb testing.TB, x *replica.Replica, o db.RefusedOptions) (out []db.Refusal) {
	for r, err := range x.Refused(tb.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// A set of refusals kept by a watch is the list, through late records, void logs
// and pauses.
func TestRefusedWatchIsTheList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		es := rapid.Permutation(genEntries(rt, t, 15)).Draw(rt, "order")
		every := es
		o := db.WatchOptions{Operations: []string{"refused", "cleared"}, Collections: []string{"a", "b", "system.collections"}}
		w := watch(rt, t, x, o)
		got := map[string]string{}
		for len(es) > 0 {
			k := min(len(es), rapid.IntRange(1, 5).Draw(rt, "delivered"))
			if err := j.Deliver(es[:k]...); err != nil {
				rt.Fatal(err)
			}
			es = es[k:]
			if rapid.IntRange(0, 3).Draw(rt, "pause") == 0 {
				token, err := w.Token()
				if err != nil {
					rt.Fatal(err)
				}
				w.Close()
				o.ResumeAfter = token
				if rapid.Bool().Draw(rt, "reopen") {
					if err := x.Close(); err != nil {
						rt.Fatal(err)
					}
					x, _ = openReplica(rt, t, st)
				}
			}
			if rapid.IntRange(0, 2).Draw(rt, "void") == 0 {
				setVoid(rt, t, x, every)
			}
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			if o.ResumeAfter != "" {
				w = watch(rt, t, x, o)
				o.ResumeAfter = ""
			}
			for _, c := range changes(rt, t, w) {
				switch c.Operation {
				case "refused":
					got[db.StampText(c.Refusal.Stamp)] = string(c.Refusal.Reason)
				case "cleared":
					delete(got, db.StampText(c.Refusal.Stamp))
				}
			}
			want := map[string]string{}
			for _, r := range refusals(rt, t, x, db.RefusedOptions{}) {
				if r.Collection != "" && r.Reason != db.ReasonVoid { // these are listed, and told to nobody
					want[db.StampText(r.Stamp)] = string(r.Reason)
				}
			}
			if !maps.Equal(got, want) {
				rt.Fatalf("got %v, want %v", got, want)
			}
		}
		w.Close()
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// refused returns a database in which another device's operations were refused:
// an insert of _id 1, updates, and an atomic transaction.
func refused(t *testing.T) (*replica.Replica, *dbtest.Journal) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	ctx := t.Context()
	c := x.Collection("c")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "n", 1)), raw(t, d("_id", 2, "n", 1))); err != nil {
		t.Fatal(err)
	}
	deliver(t, y, k, j)
	if _, err := c.Delete(ctx, raw(t, d("_id", 1)), false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(ctx, raw(t, d("_id", 2)), raw(t, d("$set", d("n", 5))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Collection("e").Insert(ctx, raw(t, d("_id", 9, "from", "a"))); err != nil {
		t.Fatal(err)
	}
	// The other device's clock is past all this, of which it knows nothing.
	if _, err := x.Collection("tick").Insert(ctx, raw(t, d("_id", 1))); err != nil {
		t.Fatal(err)
	}
	es, err := j.Entries()
	if err == nil {
		err = k.Deliver(es[len(es)-1])
	}
	if err != nil {
		t.Fatal(err)
	}
	y.Wake()
	if err := y.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	z := y.Collection("c")
	if _, err := y.Collection("e").Insert(ctx, raw(t, d("_id", 9, "from", "b"))); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Update(ctx, raw(t, d("_id", 1)), raw(t, d("$inc", d("n", 10))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Update(ctx, raw(t, d("_id", 2, "n", 1)), raw(t, d("$inc", d("n", 10))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = y.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
		if _, err := tx.Insert("c", raw(t, d("_id", 7))); err != nil {
			return err
		}
		_, err := tx.Update("c", raw(t, d("_id", 1)), raw(t, d("$inc", d("n", 1))), db.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, x, j, k)
	return x, k
}

func TestRefusedIsListed(t *testing.T) {
	x, k := refused(t)
	all := refusals(t, t, x, db.RefusedOptions{})
	if len(all) != 5 {
		t.Fatalf("got %+v", all)
	}
	for _, r := range all {
		if r.Body == nil || r.Stamp.Log != k.Log() || r.Message == "" || r.Handled {
			t.Errorf("got %+v", r)
		}
		one, err := x.Refusal(t.Context(), r.Stamp)
		if err != nil || one.Reason != r.Reason || one.Stamp != r.Stamp {
			t.Errorf("got %+v, %v", one, err)
		}
	}
	stamps := func(rs []db.Refusal) (out []string) {
		for _, r := range rs {
			out = append(out, db.StampText(r.Stamp))
		}
		return out
	}
	last := refusals(t, t, x, db.RefusedOptions{Newest: true, Skip: 1, Limit: 3})
	slices.Reverse(last)
	if !slices.Equal(stamps(last), stamps(all[1:4])) {
		t.Errorf("got %v of %v", stamps(last), stamps(all))
	}
	for _, tc := range []struct {
		o db.RefusedOptions
		n int
	}{
		{db.RefusedOptions{Collection: "e"}, 1},
		{db.RefusedOptions{Reasons: []db.Reason{db.ReasonDuplicate, db.ReasonAtomic}}, 2},
		{db.RefusedOptions{Log: clock.LogID{1}}, 0},
		{db.RefusedOptions{Log: k.Log(), Since: all[2].Stamp.Time, Until: all[3].Stamp.Time}, 1},
		{db.RefusedOptions{Until: all[0].Stamp.Time}, 0},
	} {
		if got := refusals(t, t, x, tc.o); len(got) != tc.n {
			t.Errorf("%+v: got %d, want %d", tc.o, len(got), tc.n)
		}
	}
	if _, err := x.Refusal(t.Context(), clock.Stamp{Time: 1}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// A retry writes the operation again, now, and marks the refusal; what would be
// refused again says why and writes nothing.
func TestRetry(t *testing.T) {
	x, _ := refused(t)
	ctx := t.Context()
	_, before := x.StateHash()
	var bad *db.WriteError
	for _, r := range refusals(t, t, x, db.RefusedOptions{}) {
		if _, err := x.Retry(ctx, r.Stamp); !errors.As(err, &bad) || bad.Index > 1 {
			t.Fatalf("%s: got %v", r.Reason, err)
		}
	}
	if _, h := x.StateHash(); h != before {
		t.Fatal("a refused retry changed something")
	}
	c := x.Collection("c")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "n", 0))); err != nil {
		t.Fatal(err)
	}
	atomic := refusals(t, t, x, db.RefusedOptions{Reasons: []db.Reason{db.ReasonAtomic}})[0]
	if res, err := x.Retry(ctx, atomic.Stamp); err != nil || res.Operations != 2 || res.Changed != 2 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if doc, err := c.Get(ctx, id(int32(1))); err != nil || doc.Raw.Lookup("n").AsInt64() != 1 {
		t.Fatalf("got %v, %v", doc.Raw, err)
	}
	if got := refusals(t, t, x, db.RefusedOptions{Unhandled: true}); len(got) != 3 {
		t.Fatalf("got %d unhandled, want 3", len(got))
	}
	_, before = x.StateHash()
	all := refusals(t, t, x, db.RefusedOptions{})
	if err := x.Handle(ctx, true, all[0].Stamp, all[1].Stamp); err != nil {
		t.Fatal(err)
	}
	if err := x.Handle(ctx, true, all[2].Stamp, clock.Stamp{}); !errors.Is(err, db.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	if got := refusals(t, t, x, db.RefusedOptions{Unhandled: true}); len(got) != 1 {
		t.Fatalf("got %d unhandled, want 1", len(got))
	}
	if err := x.Handle(ctx, false, all[0].Stamp); err != nil {
		t.Fatal(err)
	}
	if got := refusals(t, t, x, db.RefusedOptions{Unhandled: true}); len(got) != 2 {
		t.Fatalf("got %d unhandled, want 2", len(got))
	}
	if _, h := x.StateHash(); h != before {
		t.Fatal("a mark changed the state hash")
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

func values(t *testing.T, r bson.Raw, path ...string) []bson.RawValue {
	t.Helper()
	vs, err := r.Lookup(path...).Array().Values()
	if err != nil {
		t.Fatalf("%v in %v: %v", path, r, err)
	}
	return vs
}

func TestRefusedCommands(t *testing.T) {
	x, k := refused(t)
	r := works(t, x, d("refused", 1, "newest", true, "limit", 2, "unhandled", true))
	list := values(t, r, "refused")
	if len(list) != 2 || !r.Lookup("more").Boolean() || list[0].Document().Lookup("body", "operations").AsInt64() != 2 {
		t.Fatalf("got %v", r)
	}
	r = works(t, x, d("refused", "e", "reasons", bson.A{"duplicate_key"}, "log", k.Log().String()))
	list = values(t, r, "refused")
	if len(list) != 1 || r.Lookup("more").Boolean() || list[0].Document().Lookup("body", "document", "from").StringValue() != "b" {
		t.Fatalf("got %v", r)
	}
	stamp := list[0].Document().Lookup("stamp").StringValue()
	if r := run(t, x, d("retryRefused", stamp)); r.Lookup("code").AsInt64() != 11000 {
		t.Fatalf("got %v", r)
	}
	works(t, x, d("delete", "e", "deletes", bson.A{d("q", d(), "limit", 0)}))
	if r := works(t, x, d("retryRefused", stamp)); r.Lookup("nModified").AsInt64() != 1 {
		t.Fatalf("got %v", r)
	}
	works(t, x, d("handleRefused", bson.A{stamp}, "handled", false))
	for _, bad := range []bson.D{
		d("refused", 1, "reason", "x"), d("refused", 1, "reasons", bson.A{"x"}), d("refused", 1, "log", "00"), d("refused", 1, "limit", -1),
		d("refused", 1, "since", 3), d("retryRefused", "1.2.3.4"), d("retryRefused", stamp[:len(stamp)-1]+"9"), d("handleRefused", bson.A{3}),
		d("watch", "c", "operations", bson.A{"x"}), d("watch", "c", "image", "x"), d("watch", "c", "limit", 3), d("watch", "c", "filter", 3),
		d("watch", "c", "resumeAfter", "x"), d("live", "c", "filter", d("a", d("$bad", 1))), d("live", 1), d("live", "c", "limit", -1),
	} {
		if r := run(t, x, bad); r.Lookup("ok").Double() != 0 {
			t.Errorf("%v: got %v", bad, r)
		}
	}
}

func TestWatchAndLiveCommands(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	w := works(t, x, d("watch", "c", "filter", d("n", d("$gt", 1))))
	l := works(t, x, d("live", "c", "sort", d("n", -1), "limit", 1, "projection", d("n", 1)))
	more := func(r bson.Raw, ms int) bson.Raw {
		return works(t, x, d("getMore", r.Lookup("cursor", "id"), "collection", "c", "maxTimeMS", ms))
	}
	if got := values(t, more(w, 1), "cursor", "nextBatch"); len(got) != 0 {
		t.Fatalf("got %v", got)
	}
	works(t, x, d("insert", "c", "documents", bson.A{d("_id", 1, "n", 1, "x", 1), d("_id", 2, "n", 2)}))
	r := more(w, 10_000)
	got := values(t, r, "cursor", "nextBatch")
	if len(got) != 1 || got[0].Document().Lookup("operationType").StringValue() != "insert" || got[0].Document().Lookup("fullDocument", "n").AsInt64() != 2 {
		t.Fatalf("got %v", got)
	}
	token := r.Lookup("cursor", "postBatchResumeToken")
	steps := values(t, more(l, 10_000), "cursor", "nextBatch")
	if len(steps) != 3 || steps[2].Document().Lookup("document", "n").AsInt64() != 2 {
		t.Fatalf("got %v", steps)
	}
	works(t, x, d("delete", "c", "deletes", bson.A{d("q", d("_id", 2), "limit", 1)}))
	again := works(t, x, d("watch", "c", "resumeAfter", token))
	got = values(t, more(again, 10_000), "cursor", "nextBatch")
	if len(got) != 1 || got[0].Document().Lookup("operationType").StringValue() != "delete" || got[0].Document().Lookup("documentKey", "_id").AsInt64() != 2 {
		t.Fatalf("got %v", got)
	}
	if r := run(t, x, d("getMore", again.Lookup("cursor", "id"), "collection", "other")); r.Lookup("code").AsInt64() != 43 {
		t.Fatalf("got %v", r)
	}
}

// What a membership that ended, or a fork, made void is listed between the refusals, in the
// order of stamps, with the same words on every replica; what a checkpoint covers is not.
func TestVoidIsListed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genEntries(rt, t, 25)
		void := genVoid(rt, es)
		want := map[string]bool{} // stamps of the operations of void records
		for _, e := range es {
			spans := void.Void[e.ID.Log].Spans
			covered := len(spans) > 0 && spans[0].First == 1 && spans[0].Last < math.MaxUint64 && e.ID.Seq <= spans[0].Last
			if !void.Voids(e.ID, false) || covered {
				continue
			}
			rec := journal.Decode(&journal.Arrival{Entry: e})
			for i := range max(1, len(rec.Ops)) {
				want[db.StampText(journal.Stamp(rec, uint32(i)))] = true
			}
		}
		var all []string
		for r := range 2 {
			x, j := openReplica(rt, t, openMemory(rt))
			for order := rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r)); len(order) > 0; {
				n := rapid.IntRange(1, len(order)).Draw(rt, "delivered")
				if err := j.Deliver(order[:n]...); err != nil {
					rt.Fatal(err)
				}
				order = order[n:]
				if rapid.Bool().Draw(rt, "now") || len(order) == 0 {
					setCut(t.Context(), rt, x, void)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
			got := map[string]bool{}
			last := clock.Stamp{}
			for _, f := range refusals(rt, t, x, db.RefusedOptions{}) {
				if f.Stamp.Compare(last) < 0 {
					rt.Fatalf("%v is told after %v", f.Stamp, last)
				}
				last = f.Stamp
				if f.Reason == db.ReasonVoid {
					got[db.StampText(f.Stamp)] = true
				}
				if one, err := x.Refusal(t.Context(), f.Stamp); err != nil || one.Reason != f.Reason || one.Operation != f.Operation {
					rt.Fatalf("got %+v, %v, want %+v", one, err, f)
				}
			}
			if !maps.Equal(got, want) {
				rt.Fatalf("got void %v, want %v", got, want)
			}
			if n := len(refusals(rt, t, x, db.RefusedOptions{Reasons: []db.Reason{db.ReasonVoid}, Unhandled: true})); n != len(want) {
				rt.Fatalf("got %d by reason, want %d", n, len(want))
			}
			texts := refusalTexts(rt, x, db.RefusedOptions{})
			newest := refusalTexts(rt, x, db.RefusedOptions{Newest: true})
			slices.Reverse(newest)
			if !slices.Equal(newest, texts) || r > 0 && !slices.Equal(texts, all) {
				rt.Fatalf("they differ:\n%q\n%q\n%q", texts, newest, all)
			}
			all = texts
			if _, err := x.Verify(t.Context()); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// An operation of a void record is written again, as this device's, and cannot be marked.
func TestVoidIsRetried(t *testing.T) {
	ctx := t.Context()
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	if _, err := y.Collection("a").Insert(ctx, raw(t, d("_id", 1, "v", "kept"))); err != nil {
		t.Fatal(err)
	}
	deliver(t, x, j, k)
	if err := x.SetCut(ctx, fold.Cut{Void: map[clock.LogID]clock.Void{k.Log(): clock.VoidAbove(0)}}); err != nil {
		t.Fatal(err)
	}
	all := refusals(t, t, x, db.RefusedOptions{Collection: "a", Log: k.Log(), Unhandled: true})
	if len(all) != 1 || all[0].Reason != db.ReasonVoid || all[0].Body == nil || all[0].Operation != "insert" {
		t.Fatalf("got %+v, want the void insert with its document", all)
	}
	if err := x.Handle(ctx, true, all[0].Stamp); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v, want %v", err, db.ErrNotFound)
	}
	if res, err := x.Retry(ctx, all[0].Stamp); err != nil || res.Changed != 1 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if doc, err := x.Collection("a").Get(ctx, all[0].ID); err != nil || doc.Raw.Lookup("v").StringValue() != "kept" {
		t.Errorf("got %v, %v", doc, err)
	}
}
