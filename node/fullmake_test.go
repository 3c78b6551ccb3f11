package node

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A fillingStore is a store on a disk that is full after some more commits: then only what may
// use the reserve is written, or nothing if the reserve is used up.
type fillingStore struct {
	store.Store
	left  *atomic.Int64 // commits; negative: there is room
	spent bool          // there is no reserve
}

func (s fillingStore) Begin() store.Tx { return &fillingTx{Tx: s.Store.Begin(), s: s} }

func (s fillingStore) Full() error {
	if s.left.Load() == 0 {
		return store.DiskFull("the disk")
	}
	return s.Store.Full()
}

type fillingTx struct {
	store.Tx
	s     fillingStore
	spare bool
}

func (t *fillingTx) UseReserve() { t.spare = !t.s.spent; t.Tx.UseReserve() }

func (t *fillingTx) Commit() error {
	if t.spare || t.Used().Puts == 0 {
		return t.Tx.Commit()
	}
	for {
		n := t.s.left.Load()
		if n == 0 {
			t.Discard()
			return store.DiskFull("the disk")
		}
		if n < 0 || t.s.left.CompareAndSwap(n, n-1) {
			return t.Tx.Commit()
		}
	}
}

// Whatever write of a creation or a join a full disk refuses, and whether or not the node ends
// then, the name is free again or what was begun is whole: a second try succeeds once there is
// room, and nothing has a name that nobody gave.
func TestMakeOnAFullDisk(t *testing.T) {
	owner := opened(t, Config{Home: filepath.Join(t.TempDir(), "home")})
	if _, err := owner.CreateDatabase(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
	makes := map[string]func(n *Node, invite string) error{
		"create": func(n *Node, _ string) error { _, err := n.CreateDatabase(t.Context(), "y"); return err },
		"recoverable": func(n *Node, _ string) error {
			d, text, err := n.CreateRecoverable(t.Context(), "y")
			if (err == nil) != (d != nil && text != "") {
				t.Errorf("a database %v with %d bytes of key, and %v", d, len(text), err)
			}
			return err
		},
		"bucket": func(n *Node, _ string) error { _, _, err := n.CreateBucket(t.Context(), "y", ""); return err },
		"join":   func(n *Node, invite string) error { _, err := n.Join(t.Context(), invite, "y"); return err },
	}
	for name, make := range makes {
		for _, spent := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				for commits, done := int64(0), false; !done && commits < 12; commits++ { // a join goes on in the background
					done = makeOnFull(t, owner, commits, spent, make)
				}
			})
		}
	}
}

// makeOnFull reports whether the disk had room for all that was made.
func makeOnFull(t *testing.T, owner *Node, commits int64, spent bool, make func(n *Node, invite string) error) bool {
	t.Helper()
	var left atomic.Int64
	left.Store(-1)
	c := Config{Home: filepath.Join(t.TempDir(), "home"), overlay: func(s store.Store) store.Store {
		return fillingStore{s, &left, spent}
	}}
	n := opened(t, c)
	invite, err := owner.Invite(t.Context(), "theirs", InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	left.Store(commits)
	first := make(n, invite)
	left.Store(-1)
	if first != nil && !fault.Is(first, fault.DiskFull) {
		t.Fatalf("%d commits: %v", commits, first)
	}
	if commits%2 == 0 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = opened(t, c)
	}
	if first != nil {
		if err := make(n, invite); err != nil && !errors.Is(err, ErrExists) {
			t.Fatalf("%d commits: a second try: %v", commits, err)
		}
	}
	if all := n.Databases(); len(all) != 1 || all[0].Name != "y" && all[0].Name != "theirs" || len(n.Damages()) > 0 {
		t.Fatalf("%d commits, reserve spent %v, first %v: got %v and %v", commits, spent, first, all, n.Damages())
	}
	if threads := len(n.host.Threads()); threads > 2 { // the mailbox's too
		t.Fatalf("%d commits: %d threads", commits, threads)
	}
	if d, err := n.Database(t.Context(), n.Databases()[0].Name); err != nil || d.Settle(t.Context()) != nil {
		t.Fatalf("%d commits: %v", commits, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return first == nil
}

// A database that cannot be noted is not there.
func TestMakeUnnoted(t *testing.T) {
	n := opened(t, Config{Home: filepath.Join(t.TempDir(), "home")})
	if err := n.note.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(n.host.Threads())
	if _, err := n.CreateDatabase(t.Context(), "y"); err == nil || len(n.Databases()) > 0 || len(n.host.Threads()) != before {
		t.Errorf("got %v, %v and %d threads, want %d", err, n.Databases(), len(n.host.Threads()), before)
	}
}

func opened(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}
