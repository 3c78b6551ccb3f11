package pebblekv

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weftdb/weft/internal/store"
)

// openOn opens an empty store on a disk in memory whose operations inject may refuse.
func openOn(t *testing.T, space *store.Space, inject func(errorfs.Op) error) (*guard, store.Store) {
	t.Helper()
	e, err := Open("store", Options{FS: errorfs.Wrap(newDisk(t), errorfs.InjectorFunc(inject)), Create: true, Space: space})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(e, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // of some, the disk has failed
	return e.(*engine).guard, s
}

func commit(s store.Store, key string) error {
	tx := s.Begin()
	defer tx.Discard()
	return errors.Join(tx.Put([]byte(key), []byte("1")), tx.Commit())
}

func syncsLog(op errorfs.Op) bool {
	return filepath.Ext(op.Path) == ".log" && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
}

// After a sync that failed the system may have dropped what it was to keep, and say that
// all is well the next time. So it is not asked again: not when the reserve makes room
// and not when there is room later.
func TestSyncsAreNotRepeated(t *testing.T) {
	t.Run("reserve", func(t *testing.T) {
		dir := t.TempDir()
		space := store.OpenSpace(dir)
		if _, err := os.Stat(filepath.Join(dir, store.ReserveFile)); err != nil {
			t.Skip("this disk has no room for a reserve")
		}
		var armed, met atomic.Bool
		_, s := openOn(t, space, func(op errorfs.Op) error {
			if armed.Load() && syncsLog(op) && met.CompareAndSwap(false, true) {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := commit(s, "a"); err != nil {
			t.Fatal(err)
		}
		armed.Store(true)
		for range 3 {
			if err := s.Sync(); !errors.Is(err, store.ErrDiskFull) {
				t.Fatalf("got %v, want disk_full", err)
			}
		}
	})
	t.Run("later", func(t *testing.T) {
		var full, armed, met atomic.Bool
		_, s := openOn(t, nil, func(op errorfs.Op) error {
			if full.Load() && op.Kind == errorfs.OpFileWrite || armed.Load() && syncsLog(op) && met.CompareAndSwap(false, true) {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := commit(s, "a"); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		if err := s.Sync(); !errors.Is(err, store.ErrDiskFull) {
			t.Fatalf("got %v, want disk_full", err)
		}
		full.Store(false)
		armed.Store(true)
		for range 3 {
			if err := errors.Join(commit(s, "b"), s.Sync()); !errors.Is(err, store.ErrDiskFull) {
				t.Fatalf("got %v, want disk_full: a sync failed", err)
			}
		}
		if !met.Load() {
			t.Error("no sync was refused")
		}
	})
}

// Syncs that a full disk refuses leave nothing behind, and are done once when there is
// room.
func TestRefusedSyncsAreNotKept(t *testing.T) {
	var full atomic.Bool
	g, s := openOn(t, nil, func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := commit(s, "a"); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	for range 1000 {
		if err := s.Sync(); !errors.Is(err, store.ErrDiskFull) {
			t.Fatalf("got %v, want disk_full", err)
		}
	}
	g.mu.Lock()
	kept := len(g.kept)
	g.mu.Unlock()
	if kept > 10 {
		t.Errorf("%d changes are kept of one commit", kept)
	}
	full.Store(false)
	if err := errors.Join(s.Sync(), commit(s, "b"), s.Sync()); err != nil {
		t.Errorf("with room: %v", err)
	}
}
