package thread

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A device that forks its log, or is restored, splits nobody: both branches arrive
// everywhere, the fork is proved, and the device goes on in a new log.
func TestForkedLogs(t *testing.T) {
	dir := t.TempDir()
	n := openTestNode(t, dir, keys.NewDevice(), nil)
	o := newMemoryNode(t)
	to := o.create(t)
	th := n.join(t, to, o.invite(t, to, InviteOptions{}))
	n.write(t, th, "common")
	backup := t.TempDir()
	copyStore(t, n.env.store, backup)
	n.write(t, th, "left 1")
	n.write(t, th, "left 2")
	mustPull(t, to, th)
	r := openTestNode(t, backup, n.env.device, n.env.cert)
	restored, err := Open(t.Context(), r.env, th.ID())
	if err != nil {
		t.Fatal(err)
	}
	opened(t, restored)
	r.write(t, restored, "right 1", "right 2")
	forked := restored.ownData.ID
	mustPull(t, to, restored)
	mustPull(t, restored, to)
	want := []string{"common", "left 1", "left 2", "right 1", "right 2"}
	relay, late := newMemoryNode(t), newMemoryNode(t)
	tr := relay.adopt(t, to)
	inv := o.invite(t, to, InviteOptions{})
	mustPull(t, tr, to)
	tl := late.join(t, tr, inv)
	for _, x := range []*Thread{to, restored, tl} {
		wantPayloads(t, x, want...)
		checkFork(t, x, forked)
	}
	r.write(t, restored, "again")
	if restored.ownData.ID == forked {
		t.Fatal("the restored device went on in the forked log")
	}
	mustPull(t, to, restored)
	wantPayloads(t, to, append(want, "again")...)
	again, err := Open(t.Context(), o.env, to.ID())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	again.Flushed(2)
	again.Flushed(again.lastArrival())
	if !slices.Equal(again.Tips(), to.Tips()) || !slices.Equal(again.Sendable(), to.Tips()) {
		t.Fatalf("got %v, sendable %v, want %v", again.Tips(), again.Sendable(), to.Tips())
	}
	checkFork(t, again, forked)
}

func checkFork(t *testing.T, th *Thread, log clock.LogID) {
	t.Helper()
	forks, err := th.Forks()
	if err != nil || len(forks) != 1 || forks[0].Log != log || forks[0].Seq != 2 {
		t.Fatalf("got %+v, %v", forks, err)
	}
	for _, h := range forks[0].Heads {
		if !keys.Verify(forks[0].Device, format.DomainHead, h.Signature, th.id[:], h.ID.Hash[:]) {
			t.Fatal("the proof does not verify")
		}
	}
}

func copyStore(t *testing.T, s store.Store, dir string) {
	t.Helper()
	to, err := engines.Open(dir+"/store", nil)
	if err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{})
	defer it.Close()
	tx := to.Begin()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Put(bytes.Clone(it.Key()), bytes.Clone(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(it.Err(), tx.Commit(), to.Close()); err != nil {
		t.Fatal(err)
	}
}
