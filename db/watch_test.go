package db_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// A follower keeps a copy of a collection by what a watch tells it.
type follower struct {
	c     *db.Collection
	copy  map[string]string
	gaps  int
	token string
}

func (f *follower) reread(t *testing.T) {
	t.Helper()
	f.copy = map[string]string{}
	for _, doc := range all(t, f.c, nil, db.FindOptions{}) {
		f.copy[doc.Lookup("_id").String()] = doc.String()
	}
}

// follow applies n changes, or all up to a document with the given _id.
func (f *follower) follow(t *testing.T, w *db.Watch, n int, until string) {
	t.Helper()
	for ; n != 0; n-- {
		ch, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case ch.Operation == "gap":
			f.gaps++
			f.reread(t)
		case ch.After == nil:
			delete(f.copy, ch.ID.String())
		default:
			f.copy[ch.ID.String()] = ch.After.String()
		}
		f.token = ch.Token
		if until != "" && strings.Contains(ch.ID.String(), until) {
			return
		}
	}
}

// check follows up to a last document, and compares the copy.
func (f *follower) check(t *testing.T, x *replica.Replica, w *db.Watch, last string) {
	t.Helper()
	if err := x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.c.Insert(t.Context(), raw(t, d("_id", last))); err != nil {
		t.Fatal(err)
	}
	f.follow(t, w, -1, last)
	got := f.copy
	f.reread(t)
	if !maps.Equal(got, f.copy) {
		t.Fatalf("%s: the copy has %d documents and is not the collection with %d", last, len(got), len(f.copy))
	}
}

// A copy kept by a watch is the collection, whatever the watch goes through:
// slowness beyond its queue, late and void records, pauses in the middle of a
// commit.
func TestWatchLosesNothing(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	f := &follower{c: x.Collection("c"), copy: map[string]string{}}
	w, err := x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Close() }()
	r := rand.New(rand.NewPCG(1, 2))
	pad := strings.Repeat("x", 60_000)
	for round := range 12 {
		for i := range 30 {
			for side, c := range []*db.Collection{x.Collection("c"), y.Collection("c")} {
				scribble(t, r, c, fmt.Sprint(round%2*100+i, side), pad[:r.IntN(1+round%3*30_000)])
			}
		}
		es, err := k.Entries()
		if err != nil {
			t.Fatal(err)
		}
		r.Shuffle(len(es), func(a, b int) { es[a], es[b] = es[b], es[a] })
		if err := j.Deliver(es[:len(es)*(round+1)/12]...); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			x.Wake()
		}
		if round%4 == 1 {
			if err := voidLogs(t.Context(), x, []clock.LogID{k.Log()}[:round/4%2]); err != nil {
				t.Fatal(err)
			}
		}
		f.follow(t, w, 20, "")
		if round%3 == 2 {
			w.Close()
			if w, err = x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}, ResumeAfter: f.token}); err != nil {
				t.Fatal(err)
			}
		}
		if round%3 == 0 {
			f.check(t, x, w, fmt.Sprint("last", round))
		}
	}
	f.check(t, x, w, "last")
}

// scribble writes documents of one transaction that others write too.
func scribble(t *testing.T, r *rand.Rand, c *db.Collection, own, pad string) {
	t.Helper()
	shared := raw(t, d("_id", r.IntN(10)))
	var err error
	switch r.IntN(4) {
	case 0:
		_, err = c.Insert(t.Context(), raw(t, d("_id", own+pad[:min(len(pad), 9)], "p", pad)), raw(t, d("p", pad, "q", 1)), raw(t, d("q", 2)))
		if err != nil && strings.Contains(err.Error(), "duplicate") {
			err = nil
		}
	case 1:
		_, err = c.Delete(t.Context(), shared, false)
	case 2:
		_, err = c.Update(t.Context(), raw(t, d("q", r.IntN(3))), raw(t, d("$inc", d("q", 1))), db.UpdateOptions{Many: true})
	default:
		_, err = c.Update(t.Context(), shared, raw(t, d("$inc", d("n", 1), "$set", d("p", pad))), db.UpdateOptions{Upsert: true})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A watch that is behind when records change documents that they do not name is
// told a gap.
func TestWatchGap(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	for n := range int32(3) {
		if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", n))); err != nil {
			t.Fatal(err)
		}
	}
	es, err := k.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	f := &follower{c: x.Collection("c"), copy: map[string]string{}}
	w, err := x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	x.Wake()
	f.check(t, x, w, "first")
	w.Close()
	if err := voidLogs(t.Context(), x, []clock.LogID{k.Log()}); err != nil {
		t.Fatal(err)
	}
	if w, err = x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}, ResumeAfter: f.token}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f.check(t, x, w, "last")
	if f.gaps != 1 || len(f.copy) != 2 {
		t.Fatalf("got %d gaps and %d documents, want 1 and 2", f.gaps, len(f.copy))
	}
	if err := voidLogs(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	f.check(t, x, w, "live")
	if f.gaps != 1 || len(f.copy) != 6 {
		t.Fatalf("got %d gaps and %d documents, want 1 and 6: a watch that keeps up needs none", f.gaps, len(f.copy))
	}
}

// A watch whose queue overflowed goes on from the journal.
func TestWatchOverflow(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	f := &follower{c: x.Collection("c"), copy: map[string]string{}}
	w, err := x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	pad := strings.Repeat("x", 900_000)
	for i := range 8 {
		if _, err := f.c.Insert(t.Context(), raw(t, d("_id", i, "p", pad))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.c.Delete(t.Context(), raw(t, d("_id", 3)), false); err != nil {
		t.Fatal(err)
	}
	f.check(t, x, w, "last")
	if f.gaps != 0 || len(f.copy) != 8 {
		t.Fatalf("got %d gaps and %d documents, want none and 8", f.gaps, len(f.copy))
	}
}

// A held journal stops the committer at its next look for arrivals.
type held struct {
	*dbtest.Journal
	hold    atomic.Bool
	stopped chan struct{}
	release chan struct{}
}

func (h *held) Arrivals(n int64, maxBytes int) ([]journal.Arrival, error) {
	if h.hold.CompareAndSwap(true, false) {
		close(h.stopped)
		<-h.release
	}
	return h.Journal.Arrivals(n, maxBytes)
}

// A watch that goes on from the journal is told own writes that were folded
// ahead of earlier arrivals.
func TestWatchTellsWhatIsAhead(t *testing.T) {
	y, k := dbtest.OpenIn(t, memory(t), "b")
	if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", "theirs"))); err != nil {
		t.Fatal(err)
	}
	es, err := k.Entries()
	if err != nil {
		t.Fatal(err)
	}
	st := memory(t)
	j, err := dbtest.NewJournal(st, "J/", "a")
	if err != nil {
		t.Fatal(err)
	}
	h := &held{Journal: j, stopped: make(chan struct{}), release: make(chan struct{})}
	x, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: h})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	f := &follower{c: x.Collection("c"), copy: map[string]string{}}
	w, err := x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	f.check(t, x, w, "first")
	w.Close()
	if err := x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	h.hold.Store(true)
	if _, err := f.c.Insert(t.Context(), raw(t, d("_id", "mine"))); err != nil {
		t.Fatal(err)
	}
	<-h.stopped
	if w, err = x.Watch(t.Context(), db.WatchOptions{Collections: []string{"c"}, ResumeAfter: f.token}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f.follow(t, w, -1, "mine")
	close(h.release)
	f.check(t, x, w, "last")
}
