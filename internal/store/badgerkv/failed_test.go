package badgerkv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// noTables keeps badger from making any of its next tables, by an error that has nothing
// to do with room.
func noTables(t *testing.T, dir string) (undo func()) {
	t.Helper()
	ids, err := numbered(dir, ".sst")
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	if len(ids) > 0 {
		next = ids[len(ids)-1] + 1
	}
	for id := next; id < next+100; id++ {
		if err := os.Mkdir(tableName(dir, id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for id := next; id < next+100; id++ {
			if err := os.Remove(tableName(dir, id)); err != nil {
				t.Error(err)
			}
		}
	}
}

// a bulk is a store that takes transactions of 200 kB.
type bulk struct {
	store.Store
	r     *rand.Rand
	acked int
}

func newBulk(t *testing.T, dir string) *bulk {
	t.Helper()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &bulk{Store: s, r: rand.New(rand.NewPCG(1, 2))}
}

func (b *bulk) write() error {
	tx := b.Begin()
	defer tx.Discard()
	v := make([]byte, 2000)
	for j := range 100 {
		for i := range v {
			v[i] = byte(b.r.Uint32())
		}
		if err := tx.Put(fmt.Appendf(nil, "%06d/%02d", b.acked, j), v); err != nil {
			return err
		}
	}
	if err := errors.Join(tx.Commit(), b.Sync()); err != nil {
		return err
	}
	b.acked++
	return nil
}

func (b *bulk) check(t *testing.T) {
	t.Helper()
	snap := b.Snapshot()
	defer snap.Release()
	for i := range b.acked {
		if _, err := snap.Get(fmt.Appendf(nil, "%06d/99", i)); err != nil {
			t.Fatalf("transaction %d of %d: %v", i, b.acked, err)
		}
	}
}

// ends returns the error of f, which must come within 10 s.
func ends(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s has not ended after 10 s", what)
		return nil
	}
}

// A flush that fails for another reason than room is final: writes and the close say so,
// in bounded time and naming the store, reads go on, and the next opening has all.
func TestFailedFlush(t *testing.T) {
	for _, when := range []string{"closing", "writing"} {
		t.Run(when, func(t *testing.T) {
			dir := t.TempDir()
			b := newBulk(t, dir)
			for range 10 {
				if err := b.write(); err != nil {
					t.Fatal(err)
				}
			}
			undo := noTables(t, dir)
			if when == "writing" {
				var err error
				for b.acked < 1000 && err == nil {
					err = ends(t, "a write", b.write)
				}
				says(t, "a write", dir, err)
				says(t, "a sync", dir, ends(t, "a sync", b.Sync))
				b.check(t)
			}
			says(t, "a close", dir, ends(t, "a close", b.Close))
			undo()
			acked := b.acked
			b = newBulk(t, dir)
			b.acked = acked
			b.check(t)
			if err := errors.Join(b.write(), b.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func says(t *testing.T, what, dir string, err error) {
	t.Helper()
	if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), dir) || errors.Is(err, store.ErrDiskFull) {
		t.Errorf("%s: got %v (%s), want an error of kind internal that names the store", what, err, fault.KindOf(err))
	}
}

// The end of the log is not what badger takes it for once a write to it has failed, be it
// one of badger's own: nothing is acknowledged from then on.
func TestFailedLog(t *testing.T) {
	dir := t.TempDir()
	eng, err := Open(dir, Options{Create: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(eng, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := &bulk{Store: s, r: rand.New(rand.NewPCG(1, 2))}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	// The next file of the log cannot be made: something that is none has its name.
	if err := os.Symlink("nowhere", filepath.Join(dir, "000001.vlog")); err != nil {
		t.Skip(err)
	}
	for range 100 {
		if err = eng.(*engine).pad(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	says(t, "a write of badger's own", dir, err)
	says(t, "a write", dir, ends(t, "a write", b.write))
	b.check(t)
	says(t, "a close", dir, ends(t, "a close", b.Close))
	if err := os.Remove(filepath.Join(dir, "000001.vlog")); err != nil {
		t.Fatal(err)
	}
	acked := b.acked
	b = newBulk(t, dir)
	b.acked = acked
	b.check(t)
	if err := errors.Join(b.write(), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// A table that is cut under an open store ends no process: it is not merged any more,
// commits say which it is, and the rest is read.
func TestCutTable(t *testing.T) {
	for _, merge := range []string{"compacting", "in the background"} {
		t.Run(merge, func(t *testing.T) {
			dir := t.TempDir()
			acked := 0
			var b *bulk
			for range 4 { // each close makes a table
				b = newBulk(t, dir)
				b.acked = acked
				for range 3 {
					if err := b.write(); err != nil {
						t.Fatal(err)
					}
				}
				acked = b.acked
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
			b = newBulk(t, dir)
			b.acked = acked
			cut := tableName(dir, 2) // keys from 3/ on
			if err := os.Truncate(cut, 8<<10); err != nil {
				t.Fatal(err)
			}
			var err error
			if merge == "compacting" {
				err = ends(t, "a compaction", func() error { return b.Compact(t.Context()) })
				if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), cut) {
					t.Errorf("a compaction: got %v, want corrupt, naming %s", err, cut)
				}
				err = b.write()
			} else {
				for b.acked < 20_000 && err == nil { // until there are tables to merge
					err = ends(t, "a write", b.write)
				}
			}
			if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), cut) {
				t.Errorf("a write: got %v, want corrupt, naming %s", err, cut)
			}
			snap := b.Snapshot()
			for _, key := range []string{"000000/00", "000011/99"} {
				if _, err := snap.Get([]byte(key)); err != nil {
					t.Errorf("%s of another table: %v", key, err)
				}
			}
			if _, err := snap.Get([]byte("000005/99")); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("what was cut: got %v, want corrupt", err)
			}
			snap.Release()
			if err := ends(t, "a close", b.Close); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("a close: got %v, want corrupt", err)
			}
		})
	}
}

// While badger waits for room for what it has in memory, commits are refused, and the store
// says why also of a disk that has some room.
func TestFullWhileAFlushWaits(t *testing.T) {
	dir := t.TempDir()
	eng, err := Open(dir, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(eng, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit := func() error {
		tx := s.Begin()
		defer tx.Discard()
		return errors.Join(tx.Put([]byte("a"), []byte("b")), tx.Commit())
	}
	say := eng.(*engine).say
	say.waits.Add(1)
	if err := commit(); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("a commit while a flush waits: %v", err)
	}
	if err := s.Full(); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("the store refuses commits, and Full says %v", err)
	}
	say.waits.Add(-1)
	if err := errors.Join(s.Full(), commit()); err != nil {
		t.Errorf("when the flush is done: %v", err)
	}
}
