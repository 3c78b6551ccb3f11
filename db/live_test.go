package db_test

import (
	"context"
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
)

// A mirror keeps the result of a live query by its events.
type mirror struct {
	l      *db.Live
	filter bson.Raw
	o      db.FindOptions
	docs   []db.Document
	resets int
}

func newMirror(t rapid.TB, tb testing.TB, c *db.Collection, filter bson.Raw, o db.FindOptions) *mirror {
	l, err := c.Live(tb.Context(), filter, o)
	if err != nil {
		t.Fatal(err)
	}
	return &mirror{l: l, filter: filter, o: o, docs: l.Result()}
}

// CatchUp applies the events that there are.
func (m *mirror) catchUp(t rapid.TB, tb testing.TB) {
	for {
		e, ok, err := m.l.TryNext(tb.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		m.apply(t, e)
	}
}

func (m *mirror) apply(t rapid.TB, e db.LiveEvent) {
	at := func(i int) {
		if i < 0 || i >= len(m.docs) || !m.docs[i].Raw.Lookup("_id").Equal(e.ID) {
			t.Fatalf("%s %v: not at %d of %v", e.Operation, e.ID, i, m.docs)
		}
	}
	switch e.Operation {
	case "added":
		m.docs = slices.Insert(m.docs, e.Index, e.Document)
	case "removed":
		at(e.From)
		m.docs = slices.Delete(m.docs, e.From, e.From+1)
	case "changed":
		at(e.Index)
		m.docs[e.Index] = e.Document
	case "moved":
		at(e.From)
		m.docs = slices.Insert(slices.Delete(m.docs, e.From, e.From+1), e.Index, e.Document)
	case "reset":
		m.resets++
		m.docs = e.Result
	default:
		t.Fatalf("got %+v", e)
	}
}

// check compares the mirror with what a Find gives now.
func (m *mirror) check(t rapid.TB, tb testing.TB, c *db.Collection) {
	m.catchUp(t, tb)
	o := m.o
	if len(given(o.Sort)) == 0 {
		o.Sort, _ = marshal(d("_id", 1))
	}
	cur, err := c.Find(tb.Context(), m.filter, o)
	if err != nil {
		t.Fatal(err)
	}
	defer cur.Close()
	i := 0
	for ; cur.Next(); i++ {
		want := cur.Raw()
		if i >= len(m.docs) || string(m.docs[i].Raw) != string(want) || m.docs[i].Mod != cur.Document().Mod {
			t.Fatalf("filter %v sort %v skip %d limit %d: document %d is not %v in %v", m.filter, o.Sort, o.Skip, o.Limit, i, want, m.docs)
		}
	}
	if err := cur.Err(); err != nil || i != len(m.docs) {
		t.Fatalf("filter %v sort %v: got %d documents, want %d: %v", m.filter, o.Sort, len(m.docs), i, err)
	}
}

func genLive(t *rapid.T, tb testing.TB) (filter bson.Raw, o db.FindOptions) {
	n := func() int32 { return rapid.Int32Range(0, 5).Draw(t, "n") }
	filter = raw(tb, rapid.SampledFrom([]bson.D{
		d(), d("n", n()), d("n", d("$gt", n())), d("n", d("$in", bson.A{n(), nil})), d("_id", n()), d("l", n()), d("m", nil),
		d("_id", d("$lt", n()), "n", d("$ne", n())), d("l", d("$size", 2)), d("_mod", d("$exists", true)),
		d("$or", bson.A{d("n", n()), d("m", n())}), d("l.0", n()),
	}).Draw(t, "filter"))
	o = db.FindOptions{
		Skip:  rapid.Int64Range(0, 2).Draw(t, "skip"),
		Limit: rapid.Int64Range(0, 3).Draw(t, "limit"),
	}
	if s := rapid.SampledFrom([]bson.D{nil, d("n", 1), d("n", -1), d("m", 1, "l", -1), d("_id", -1), d("_mod", 1)}).Draw(t, "sort"); s != nil {
		o.Sort = raw(tb, s)
	}
	if rapid.IntRange(0, 3).Draw(t, "projected") == 0 {
		o.Projection = raw(tb, d("n", 1))
	}
	return filter, o
}

// A live query's result with its events applied is what a Find gives: after
// local and remote writes, documents folded again, void logs and drops.
func TestLiveIsFind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		ctx := t.Context()
		es := genEntries(rt, t, 20)
		es = rapid.Permutation(es).Draw(rt, "order")
		every := es
		c := x.Collection("a")
		var ms []*mirror
		for range rapid.IntRange(2, 12).Draw(rt, "steps") {
			for range rapid.IntRange(0, 3).Draw(rt, "subscriptions") {
				filter, o := genLive(rt, t)
				ms = append(ms, newMirror(rt, t, c, filter, o))
			}
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				setVoid(rt, t, x, every)
			case 1:
				n := rapid.Int32Range(0, 6).Draw(rt, "n")
				_, _ = c.Update(ctx, raw(t, d("n", d("$gte", n))), raw(t, d("$inc", d("n", 1), "$set", d("m", n))), db.UpdateOptions{Many: true})
				_, _ = c.Delete(ctx, raw(t, d("_id", n)), false)
				_, _ = c.Replace(ctx, raw(t, d("n", d("$lt", n))), raw(t, d("n", n, "l", bson.A{n, 1})), db.UpdateOptions{})
			case 2:
				for range rapid.IntRange(1, 40).Draw(rt, "inserts") {
					_, _ = c.Insert(ctx, raw(t, d("_id", rapid.Int32Range(0, 60).Draw(rt, "id"), "n", rapid.Int32Range(0, 9).Draw(rt, "n"))))
				}
			case 3:
				if err := x.DropCollection(ctx, "a"); err != nil && !errors.Is(err, db.ErrNotFound) {
					rt.Fatal(err)
				}
			default:
				k := min(len(es), rapid.IntRange(1, 8).Draw(rt, "delivered"))
				if err := j.Deliver(es[:k]...); err != nil {
					rt.Fatal(err)
				}
				es = es[k:]
				x.Wake()
			}
			if err := x.Settle(ctx); err != nil {
				rt.Fatal(err)
			}
			for i, m := range ms {
				if rapid.IntRange(0, 5).Draw(rt, "leave") == 0 {
					m.l.Close()
					ms[i] = nil
				} else {
					m.check(rt, t, c)
				}
			}
			ms = slices.DeleteFunc(ms, func(m *mirror) bool { return m == nil })
		}
		for _, m := range ms {
			m.check(rt, t, c)
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		for _, m := range ms {
			if _, err := m.l.Next(ctx); !errors.Is(err, db.ErrClosed) {
				rt.Fatalf("got %v after Close", err)
			}
			m.l.Close()
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// A window that still has documents is not read again; one that runs out is.
func TestLiveWindow(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	ctx := t.Context()
	var docs []bson.Raw
	for i := range 100 {
		docs = append(docs, raw(t, d("_id", i, "n", i)))
	}
	if _, err := c.Insert(ctx, docs); err != nil {
		t.Fatal(err)
	}
	m := newMirror(t, t, c, nil, db.FindOptions{Sort: raw(t, d("n", -1)), Limit: 5})
	defer m.l.Close()
	for i := 99; i > 83; i-- {
		if _, err := c.Delete(ctx, raw(t, d("_id", i)), false); err != nil {
			t.Fatal(err)
		}
		m.check(t, t, c)
	}
	if m.resets != 0 {
		t.Fatalf("got %d resets while the reserve lasted", m.resets)
	}
	for i := 83; i > 60; i-- {
		if _, err := c.Delete(ctx, raw(t, d("_id", i)), false); err != nil {
			t.Fatal(err)
		}
		m.check(t, t, c)
	}
	if m.resets == 0 || m.resets > 2 {
		t.Fatalf("got %d resets, want one or two", m.resets)
	}
}

// One who does not listen for long is told a reset, and the result is the
// collection again.
func TestLiveSlow(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	ctx := t.Context()
	slow, quick := newMirror(t, t, c, nil, db.FindOptions{}), newMirror(t, t, c, nil, db.FindOptions{})
	defer slow.l.Close()
	defer quick.l.Close()
	pad := strings.Repeat("x", 100_000)
	for i := range 30 {
		if _, err := c.Update(ctx, raw(t, d("_id", i%7)), raw(t, d("$set", d("p", pad, "i", i))), db.UpdateOptions{Upsert: true}); err != nil {
			t.Fatal(err)
		}
		quick.check(t, t, c)
	}
	slow.check(t, t, c)
	if quick.resets != 0 || slow.resets != 1 {
		t.Fatalf("got %d resets of the quick and %d of the slow, want 0 and 1", quick.resets, slow.resets)
	}
}

// A result over its limit ends the live query with an error that says so.
func TestLiveTooLarge(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	ctx := t.Context()
	l, err := c.Live(ctx, nil, db.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pad := strings.Repeat("x", 900_000)
	for range 20 {
		if _, err := c.Insert(ctx, raw(t, d("p", pad))); err != nil {
			t.Fatal(err)
		}
	}
	for err == nil {
		_, err = l.Next(ctx)
	}
	if !errors.Is(err, db.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Live(ctx, nil, db.FindOptions{}); !errors.Is(err, db.ErrTooLarge) {
		t.Fatalf("got %v for a second", err)
	}
	m := newMirror(t, t, c, nil, db.FindOptions{Limit: 3})
	defer m.l.Close()
	m.check(t, t, c)
}

func TestLiveWaits(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	ctx := t.Context()
	l, err := c.Live(ctx, raw(t, d("n", d("$gt", 1))), db.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan db.LiveEvent)
	go func() {
		e, _ := l.Next(ctx)
		got <- e
	}()
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "n", 1)), raw(t, d("_id", 2, "n", 2))); err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.Operation != "added" || fmt.Sprint(e.ID) != fmt.Sprint(id(int32(2))) {
		t.Fatalf("got %+v", e)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Next(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Live(ctx, raw(t, d("n", d("$bad", 1))), db.FindOptions{}); err == nil {
		t.Fatal("a bad filter is accepted")
	}
}

// Subscribers come, listen and go while others write.
func TestLiveManyAtOnce(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := c.Live(ctx, raw(t, d("n", i%3)), db.FindOptions{Limit: int64(i % 2)})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				m := &mirror{l: l, docs: l.Result()}
				for range 20 {
					e, err := l.Next(ctx)
					if err != nil {
						break
					}
					m.apply(t, e)
				}
				l.Close()
			}
		})
	}
	for i := range 300 {
		upd := raw(t, d("$set", d("n", i%3, "i", i)))
		if _, err := c.Update(t.Context(), raw(t, d("_id", i%20)), upd, db.UpdateOptions{Upsert: true}); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}
