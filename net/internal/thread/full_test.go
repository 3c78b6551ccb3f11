package thread

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A fullStore is a store on a disk that is full after some more commits.
type fullStore struct {
	store.Store
	left atomic.Int64 // commits; negative: there is room
}

func (s *fullStore) Begin() store.Tx { return fullTx{s.Store.Begin(), s} }

type fullTx struct {
	store.Tx
	s *fullStore
}

func (t fullTx) Commit() error {
	if n := t.s.left.Load(); n == 0 {
		t.Discard()
		return store.ErrDiskFull
	} else if n > 0 {
		t.s.left.Add(-1)
	}
	return t.Tx.Commit()
}

// Whatever commit of a catch-up a full disk refuses, the thread goes on when there is
// room, in the same process and after a restart, with every record once.
func TestIngestOnAFullDisk(t *testing.T) {
	a := newMemoryNode(t)
	th := a.create(t)
	inv := a.invite(t, th, InviteOptions{})
	var want []string
	for i := range 6 {
		want = append(want, string(rune('a'+i)))
		a.write(t, th, want[i])
	}
	for commits := range int64(12) {
		mem, err := engines.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		s := &fullStore{Store: mem}
		s.left.Store(-1)
		b := nodeOn(t, s, t.TempDir(), keys.NewDevice(), nil)
		own, err := Join(t.Context(), b.env, inv, th.Genesis())
		if err != nil {
			t.Fatal(err)
		}
		opened(t, own)
		s.left.Store(commits)
		if err := pull(t.Context(), own, th, 1<<20); err != nil && !errors.Is(err, store.ErrDiskFull) {
			t.Fatalf("%d commits: %v", commits, err)
		}
		s.left.Store(-1)
		mustPull(t, own, th)
		if err := own.FinishJoin(t.Context()); err != nil {
			t.Fatalf("%d commits: %v", commits, err)
		}
		mustPull(t, own, th)
		wantPayloads(t, own, want...)
		again, err := Open(t.Context(), b.env, own.ID())
		if err != nil {
			t.Fatal(err)
		}
		wantPayloads(t, opened(t, again), want...)
		var damage []error
		report := func(err error) { damage = append(damage, err) }
		if _, err := again.Check(t.Context(), nil, report, func(_ format.BlobID, err error) { report(err) }); err != nil || len(damage) > 0 {
			t.Errorf("%d commits: %v %v", commits, damage, err)
		}
		if inv2 := a.invite(t, th, InviteOptions{}); inv2.Thread == th.ID() {
			inv = inv2 // each lets one device in
		}
	}
}
