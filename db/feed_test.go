package db_test

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store/engines"
)

// changes returns what a watch has to tell now.
func changes(t rapid.TB, tb testing.TB, w *db.Watch) (out []db.Change) {
	for {
		c, ok, err := w.TryNext(tb.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, c)
	}
}

func watch(t rapid.TB, tb testing.TB, x *replica.Replica, o db.WatchOptions) *db.Watch {
	w, err := x.Watch(tb.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Tokens survive a restart, and the changes after one are told with the documents
// before and after them, from the history.
func TestResumeTellsWhatWas(t *testing.T) {
	st := memory(t)
	x, _ := dbtest.OpenIn(t, st, "a")
	ctx := t.Context()
	w := watch(t, t, x, db.WatchOptions{})
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	c := x.Collection("c")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "n", 0)), raw(t, d("_id", 2))); err != nil {
		t.Fatal(err)
	}
	for range 70 {
		if _, err := c.Update(ctx, raw(t, d("_id", 1)), raw(t, d("$inc", d("n", 1))), db.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Replace(ctx, raw(t, d("_id", 2)), raw(t, d("x", 1)), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, raw(t, d("_id", 1)), false); err != nil {
		t.Fatal(err)
	}
	live := changes(t, t, w)
	w.Close()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, _ = dbtest.OpenIn(t, st, "a")
	w = watch(t, t, x, db.WatchOptions{ResumeAfter: token})
	defer w.Close()
	again := changes(t, t, w)
	if len(live) != 74 || len(again) != len(live) {
		t.Fatalf("got %d and %d changes, want 74", len(live), len(again))
	}
	for i, a := range again {
		b := live[i]
		if a.Token == "" || a.Operation != b.Operation || string(a.After) != string(b.After) || string(a.Before) != string(b.Before) ||
			!a.ID.Equal(b.ID) || a.Current || a.Log != b.Log || a.Seq != b.Seq || a.Log.String() == "" || !a.Time.Equal(b.Time) {
			t.Fatalf("change %d: got %+v, want %+v", i, a, b)
		}
	}
}

// A token that is no token, or of another database, replica or history, is
// refused with MongoDB's code.
func TestTokenIsRefused(t *testing.T) {
	st := memory(t)
	x, _ := dbtest.OpenIn(t, st, "a")
	ctx := t.Context()
	if _, err := x.Collection("c").Insert(ctx, raw(t, d("_id", 1))); err != nil {
		t.Fatal(err)
	}
	w := watch(t, t, x, db.WatchOptions{})
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	y, _ := dbtest.OpenIn(t, memory(t), "a")
	if _, err := y.Collection("c").Insert(ctx, raw(t, d("_id", 1))); err != nil {
		t.Fatal(err)
	}
	bent := []byte(token)
	// In the hash of the record.
	if bent[14] == 'A' {
		bent[14] = 'B'
	} else {
		bent[14] = 'A'
	}
	for _, tc := range []struct {
		x     *replica.Replica
		token string
		want  string
	}{
		{x, "", ""},
		{x, token, ""},
		{x, "4.0", "malformed"},
		{x, token + "A", "malformed"},
		{x, token[:len(token)-1], "malformed"},
		{x, strings.Repeat("A", 1000), "malformed"},
		{x, base64.RawURLEncoding.EncodeToString(make([]byte, 20)), "version 0"},
		{y, token, "not one of this database"},
		{x, string(bent), "another history"},
	} {
		w, err := tc.x.Watch(ctx, db.WatchOptions{ResumeAfter: tc.token})
		if err == nil {
			w.Close()
		}
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("token %q: got %v, want %q", tc.token, err, tc.want)
		}
	}
}

// What a watch with a filter tells is what one without tells, filtered: as it
// happens, and again from the journal.
func TestFilteredWatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		es := rapid.Permutation(genEntries(rt, t, 12)).Draw(rt, "order")
		n := rapid.Int32Range(0, 5).Draw(rt, "n")
		o := db.WatchOptions{
			Collections: rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}, {"b", "system.collections"}}).Draw(rt, "collections"),
			Image:       rapid.SampledFrom([]db.Image{db.ImageAfter, db.ImageBefore, db.ImageEither}).Draw(rt, "image"),
			Operations:  rapid.SampledFrom([][]string{nil, {"insert", "delete"}, {"update", "refused", "cleared"}}).Draw(rt, "operations"),
			Filter:      raw(t, rapid.SampledFrom([]bson.D{d(), d("n", n), d("n", d("$lt", n)), d("_id", d("$in", bson.A{n, 1})), d("l", n), d("m", nil)}).Draw(rt, "filter")),
		}
		if rapid.Bool().Draw(rt, "one") {
			o.ID = id(n)
		}
		every := db.WatchOptions{
			Collections: []string{"a", "b", "system.collections"},
			Operations:  []string{"insert", "update", "replace", "delete", "refused", "cleared"},
		}
		all, some := watch(rt, t, x, every), watch(rt, t, x, o)
		begin, err := some.Token()
		if err != nil {
			rt.Fatal(err)
		}
		for len(es) > 0 {
			k := min(len(es), rapid.IntRange(1, 4).Draw(rt, "delivered"))
			if err := j.Deliver(es[:k]...); err != nil {
				rt.Fatal(err)
			}
			es = es[k:]
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			equalChanges(rt, changes(rt, t, some), filtered(rt, t, x, changes(rt, t, all), o))
		}
		all.Close()
		some.Close()
		every.ResumeAfter, o.ResumeAfter = begin, begin
		all, some = watch(rt, t, x, every), watch(rt, t, x, o)
		equalChanges(rt, changes(rt, t, some), filtered(rt, t, x, changes(rt, t, all), o))
		all.Close()
		some.Close()
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func equalChanges(t rapid.TB, got, want []db.Change) {
	text := func(cs []db.Change) (out []string) {
		for _, c := range cs {
			if c.Collection == "" && c.Refusal != nil {
				continue // of a malformed record: only a watch of all collections is told
			}
			s := c.Operation + " " + c.Collection + " " + c.ID.String() + " " + c.After.String() + " " + c.Before.String()
			if c.Refusal != nil {
				s += " " + db.StampText(c.Refusal.Stamp) + " " + string(c.Refusal.Reason)
			}
			out = append(out, s)
		}
		return out
	}
	if g, w := text(got), text(want); !slices.Equal(g, w) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(g, "\n"), strings.Join(w, "\n"))
	}
}

// filtered picks by the definition of the options, with Match as the judge.
func filtered(t rapid.TB, tb testing.TB, x *replica.Replica, cs []db.Change, o db.WatchOptions) (out []db.Change) {
	fits := func(doc bson.Raw) bool {
		ok, err := db.Matches(given(o.Filter), doc)
		if err != nil {
			t.Fatal(err)
		}
		return doc != nil && ok
	}
	for _, c := range cs {
		other := c.Refusal != nil
		switch {
		case c.Operation == "gap":
			if len(o.Collections) > 0 && !slices.Contains(o.Collections, c.Collection) || len(o.Collections) == 0 && strings.HasPrefix(c.Collection, "system.") {
				continue
			}
			out = append(out, c)
			continue
		case len(o.Collections) == 0 && strings.HasPrefix(c.Collection, "system."),
			len(o.Collections) > 0 && !slices.Contains(o.Collections, c.Collection),
			o.ID != nil && !o.ID.(bson.RawValue).Equal(c.ID),
			len(o.Operations) == 0 && other,
			len(o.Operations) > 0 && !slices.Contains(o.Operations, c.Operation):
			continue
		}
		after, before := fits(c.After), fits(c.Before)
		switch {
		case other, len(given(o.Filter)) <= 5:
		case o.Image == db.ImageAfter && !after && (c.After != nil || !before && !c.Current),
			o.Image == db.ImageBefore && !before && !c.Current,
			o.Image == db.ImageEither && !after && !before && !c.Current:
			continue
		}
		out = append(out, c)
	}
	return out
}

// Copies of collections that a watch keeps, which reads a collection again when it
// is told a gap of it, are the collections: through late and void records, changed
// definitions, pauses and ends of the process.
func TestCopiesByWatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		es := rapid.Permutation(genEntries(rt, t, 20)).Draw(rt, "order")
		every := es
		o := db.WatchOptions{}
		w := watch(rt, t, x, o)
		got := map[string]map[string]string{"a": {}, "b": {}}
		read := func(coll string) map[string]string {
			out := map[string]string{}
			for _, doc := range all(t, x.Collection(coll), nil, db.FindOptions{}) {
				out[doc.Lookup("_id").String()] = doc.String()
			}
			return out
		}
		token := ""
		for len(es) > 0 {
			k := min(len(es), rapid.IntRange(1, 5).Draw(rt, "delivered"))
			if err := j.Deliver(es[:k]...); err != nil {
				rt.Fatal(err)
			}
			es = es[k:]
			if w != nil && rapid.IntRange(0, 2).Draw(rt, "pause") == 0 {
				var err error
				if token, err = w.Token(); err != nil {
					rt.Fatal(err)
				}
				w.Close()
				w = nil
			}
			if w == nil && rapid.IntRange(0, 2).Draw(rt, "reopen") == 0 {
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
				x, _ = openReplica(rt, t, st)
			}
			if rapid.IntRange(0, 3).Draw(rt, "void") == 0 {
				setVoid(rt, t, x, every)
			}
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			if w == nil {
				if rapid.Bool().Draw(rt, "still paused") && len(es) > 0 {
					continue
				}
				w = watch(rt, t, x, db.WatchOptions{ResumeAfter: token})
			}
			for _, c := range changes(rt, t, w) {
				switch {
				case c.Operation == "gap" && c.Collection == "":
					got["a"], got["b"] = read("a"), read("b")
				case c.Operation == "gap":
					got[c.Collection] = read(c.Collection)
				case c.After == nil:
					delete(got[c.Collection], c.ID.String())
				default:
					got[c.Collection][c.ID.String()] = c.After.String()
				}
			}
			for coll, copied := range got {
				if want := read(coll); !maps.Equal(copied, want) {
					rt.Fatalf("%s: got %v, want %v", coll, copied, want)
				}
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

// A merge may change a document by a record that arrived long ago: here an atomic one,
// refused as another wrote its other document before. What arrives with the cause and
// names the document, without effect on it, does not tell of that.
func TestResumeAfterMergeThatUndoes(t *testing.T) {
	insert := func(id int32, doc bson.D) db.Op {
		return db.NewOp(1, "c", value.Int32(id), nil, raw(t, append(bson.D{{Key: "_id", Value: id}}, doc...)), false)
	}
	entry := func(log byte, seq uint64, at clock.Time, atomic bool, ops ...db.Op) journal.Entry {
		e := journal.Entry{Time: at << 16, Writer: "did:key:x", Role: "writer", Atomic: atomic, Payload: db.Encode(ops)}
		e.ID = clock.RecordID{Log: clock.LogID{log}, Seq: seq, Hash: clock.Hash{log, byte(seq), 1}}
		return e
	}
	first := []journal.Entry{
		entry(1, 1, 5, false, insert(1, d("n", 0))),
		entry(1, 2, 20, true, db.NewOp(2, "c", value.Int32(1), raw(t, d()), raw(t, d("$set", d("n", 1))), false), insert(2, d("by", "one"))),
	}
	late := []journal.Entry{
		entry(2, 1, 10, false, insert(2, d("by", "two"))),
		entry(2, 2, 25, false, insert(1, d("n", 2))), // a duplicate
	}
	x, j := dbtest.OpenIn(t, memory(t), "a")
	settle(t, x, j, first)
	w := watch(t, t, x, db.WatchOptions{})
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	settle(t, x, j, late)
	w = watch(t, t, x, db.WatchOptions{ResumeAfter: token})
	defer w.Close()
	told := false
	for _, c := range changes(t, t, w) {
		told = told || c.Operation == "gap" || c.ID.Type == bson.TypeInt32 && c.ID.Int32() == 1
	}
	if docs := all(t, x.Collection("c"), nil, db.FindOptions{}); len(docs) != 2 || docs[0].Lookup("n").AsInt64() != 0 {
		t.Fatalf("documents are %v: the atomic record is not refused", docs)
	}
	if !told {
		t.Error("a watch that resumed was not told that a document changed")
	}
}

// Gaps name the collections of which more changed than the records name.
func TestGapNamesCollections(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	ctx := t.Context()
	for _, c := range []string{"one", "two"} {
		if _, err := y.Collection(c).Insert(ctx, raw(t, d("_id", 1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Collection("three").Insert(ctx, raw(t, d("_id", 1))); err != nil {
		t.Fatal(err)
	}
	deliver(t, x, j, k)
	w := watch(t, t, x, db.WatchOptions{})
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := voidLogs(ctx, x, []clock.LogID{k.Log()}); err != nil {
		t.Fatal(err)
	}
	var got []string
	w = watch(t, t, x, db.WatchOptions{ResumeAfter: token})
	for _, c := range changes(t, t, w) {
		got = append(got, c.Operation+" "+c.Collection)
		token = c.Token
	}
	w.Close()
	slices.Sort(got)
	if !slices.Equal(got, []string{"gap one", "gap two"}) {
		t.Fatalf("got %v", got)
	}
	w = watch(t, t, x, db.WatchOptions{ResumeAfter: token})
	defer w.Close()
	if cs := changes(t, t, w); len(cs) != 0 {
		t.Fatalf("got %+v after the gaps", cs)
	}
}

func deliver(t testing.TB, x *replica.Replica, j, from *dbtest.Journal) {
	t.Helper()
	es, err := from.Entries()
	if err == nil {
		err = j.Deliver(es...)
	}
	if err != nil {
		t.Fatal(err)
	}
	x.Wake()
	if err := x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A late record that folds a document again tells one change, with the document
// as it is then; resumed, it is flagged where the history cannot tell.
func TestLateChange(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	ctx := t.Context()
	push := func(c *db.Collection, v string) {
		t.Helper()
		if _, err := c.Update(ctx, raw(t, d("_id", 1)), raw(t, d("$push", d("l", v))), db.UpdateOptions{Upsert: true}); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, t, x, db.WatchOptions{})
	defer w.Close()
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	push(y.Collection("c"), "early")
	push(x.Collection("c"), "late")
	deliver(t, x, j, k)
	got := changes(t, t, w)
	if len(got) != 2 || !got[1].Late || !got[1].Remote || got[1].Log != k.Log() || got[1].Operation != "update" {
		t.Fatalf("got %+v", got)
	}
	if want := raw(t, d("_id", 1, "l", bson.A{"early", "late"})); string(got[1].After) != string(want) {
		t.Fatalf("got %v, want %v", got[1].After, want)
	}
	w2 := watch(t, t, x, db.WatchOptions{ResumeAfter: token})
	defer w2.Close()
	again := changes(t, t, w2)
	if len(again) != 2 || !again[0].Current || string(again[0].After) != string(got[1].After) || again[0].Before != nil {
		t.Fatalf("got %+v", again)
	}
}

func TestWatchOptionsAreChecked(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	for _, o := range []db.WatchOptions{
		{Operations: []string{"inserted"}},
		{Collections: []string{"a b"}},
		{Filter: raw(t, d("a", d("$bad", 1)))},
		{Image: 7},
		{ID: id(bson.A{1})},
	} {
		if w, err := x.Watch(t.Context(), o); err == nil {
			w.Close()
			t.Errorf("%+v: no error", o)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Watch(t.Context(), db.WatchOptions{}); !errors.Is(err, db.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

// Whatever text a token has, it is a place or an error; one that is accepted is
// written back the same.
func FuzzResumeToken(f *testing.F) {
	st, err := engines.OpenMemory()
	if err != nil {
		f.Fatal(err)
	}
	defer st.Close()
	j, err := dbtest.NewJournal(st, "J/", "a")
	if err != nil {
		f.Fatal(err)
	}
	x, err := replica.Open(f.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		f.Fatal(err)
	}
	defer x.Close()
	for i := range 3 {
		if _, err := x.Collection("c").Insert(f.Context(), raw(f, d("_id", i))); err != nil {
			f.Fatal(err)
		}
	}
	w := watch(f, f, x, db.WatchOptions{})
	token, err := w.Token()
	if err != nil {
		f.Fatal(err)
	}
	w.Close()
	f.Add(token, []byte(nil))
	f.Add("AQ", []byte(raw(f, d("watch", "c", "filter", d("a", 1), "operations", bson.A{"insert"}))))
	f.Add("", []byte(raw(f, d("watch", 1, "id", 3, "image", "either", "collections", bson.A{"a"}))))
	f.Add("", []byte(raw(f, d("refused", 1, "reasons", bson.A{"schema"}, "log", "00", "limit", -1))))
	f.Add("", []byte(raw(f, d("live", "c", "sort", d("a", -1), "limit", 3))))
	f.Fuzz(func(t *testing.T, text string, cmd []byte) {
		if text != "" {
			w, err := x.Watch(t.Context(), db.WatchOptions{ResumeAfter: text})
			if err == nil {
				changes(t, t, w)
				w.Close()
			}
		}
		if s, err := db.ParseStamp(text); err == nil && db.StampText(s) != text {
			t.Fatalf("stamp %q is written %q", text, db.StampText(s))
		}
		it, err := bson.Raw(cmd).Elements()
		if err != nil || len(it) == 0 || !slices.Contains([]string{"watch", "live", "refused", "retryRefused", "handleRefused"}, it[0].Key()) {
			return
		}
		reply, err := x.Run(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := reply.Lookup("cursor", "id").AsInt64OK(); ok {
			works(t, x, d("killCursors", "c", "cursors", bson.A{id}))
		}
	})
}
