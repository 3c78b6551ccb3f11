package db_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/replica"
)

// A suspended database answers as if it never slept, tells its state without
// waking, and is not suspended while something uses it.
func TestSuspend(t *testing.T) {
	st := memory(t)
	x, j := dbtest.OpenIn(t, st, "a")
	ctx := t.Context()
	c := x.Collection("things")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1)), raw(t, d("_id", 2))); err != nil {
		t.Fatal(err)
	}
	w, err := x.Watch(ctx, db.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Suspend() {
		t.Error("suspended under a watch")
	}
	w.Close()
	cur, err := c.Find(ctx, nil, db.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Suspend() {
		t.Error("suspended under a cursor")
	}
	cur.Close()
	err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		if x.Suspend() {
			t.Error("suspended under a transaction")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	info := x.Info()
	sleep(t, x)
	if got := x.Info(); got != info || !x.Suspended() {
		t.Errorf("asleep: got %+v, want %+v, suspended %v", got, info, x.Suspended())
	}
	snap := st.Snapshot()
	defer snap.Release()
	peeked, ok, err := keyspace.Peek(snap, []byte("D/"))
	if n, h := x.StateHash(); !ok || err != nil || peeked.Arrival != n || peeked.Hash != h {
		t.Errorf("peek: got %+v, %v, %v", peeked, ok, err)
	}
	// What arrives meanwhile is folded by the next use.
	y, other := dbtest.Open(t, "b")
	if _, err := y.Collection("things").Insert(ctx, raw(t, d("_id", 3))); err != nil {
		t.Fatal(err)
	}
	es, err := other.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Deliver(es...); err != nil {
		t.Fatal(err)
	}
	if err := x.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Count(ctx, nil); n != 3 || err != nil {
		t.Errorf("got %d documents, %v", n, err)
	}
}

// sleep suspends a database that nothing uses but calls that just returned.
func sleep(t *testing.T, x *replica.Replica) {
	t.Helper()
	for range 1000 {
		if x.Suspend() {
			return
		}
		if err := x.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("not suspended")
}

// Uses and suspensions at the same time lose nothing.
func TestSuspendUnderUse(t *testing.T) {
	x, _ := dbtest.Open(t, "a")
	ctx := t.Context()
	c := x.Collection("things")
	const writers, each = 4, 40
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for k := range each {
				if _, err := c.Insert(ctx, raw(t, d("_id", fmt.Sprint(i, "/", k)))); err != nil {
					t.Error(err)
				}
				if _, err := c.Get(ctx, id(fmt.Sprint(i, "/", k))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	suspended := 0
	go func() { wg.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
			if x.Suspend() {
				suspended++
			}
		}
	}
	if n, err := c.Count(ctx, nil); n != writers*each || err != nil {
		t.Errorf("got %d documents, %v after %d suspensions", n, err, suspended)
	}
	sleep(t, x)
	if err := x.Close(); err != nil || x.Suspend() {
		t.Errorf("close: %v", err)
	}
	if _, err := c.Count(ctx, nil); err == nil {
		t.Error("a closed database answers")
	}
}
