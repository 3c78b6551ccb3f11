package engines_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A filler takes what is free of the disk of a store.
type filler struct {
	dir   string // of the store
	files []string
}

// takeAll leaves no byte free, with the reserve used up.
func (f *filler) takeAll(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(f.dir, store.ReserveFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s.filler%d", f.dir, len(f.files))
	fillUp(t, name)
	f.files = append(f.files, name)
}

func (f *filler) free(t *testing.T) {
	t.Helper()
	for _, name := range f.files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	f.files = nil
}

// newestLog returns the log of a store that is written last.
func newestLog(t *testing.T, engine, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, map[string]string{"pebble": "*.log", "badger": "*.vlog"}[engine]))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no log: %v", dir, err)
	}
	return names[len(names)-1]
}

// TestNoByteFree opens a store on a disk without a free byte again and again: after it
// was closed, after it was killed, and after it was killed in the middle of a write.
// Everything is read, a write is refused by name, closing is no error, and when there is
// room writes go on without a new opening.
func TestNoByteFree(t *testing.T) {
	for _, engine := range engines.Names() {
		for _, state := range []string{"closed", "killed", "torn"} {
			t.Run(engine+"/"+state, func(t *testing.T) {
				disk := smallDisk(t, 64)
				work, dir := filepath.Join(t.TempDir(), "store"), filepath.Join(disk, "store")
				f := &fullStore{t: t, s: opener(engine)(t, work)}
				for f.next < 2500 { // more than 5 MiB: badger opens such a log twice
					if err := f.write(); err != nil {
						t.Fatal(err)
					}
				}
				if state != "closed" {
					copyStore(t, work, dir)
				}
				if err := f.s.Close(); err != nil {
					t.Fatal(err)
				}
				if state == "closed" {
					copyStore(t, work, dir)
				}
				if state == "torn" {
					w, err := os.OpenFile(newestLog(t, engine, dir), os.O_WRONLY|os.O_APPEND, 0)
					if err == nil {
						_, err = w.Write([]byte("the beginning of a record that was never written to its end"))
						err = errors.Join(err, w.Close())
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				full := &filler{dir: dir}
				full.takeAll(t)
				for range 3 {
					fullOpening(t, f, full)
					began := time.Now()
					if err := f.s.Close(); err != nil {
						t.Errorf("Close on a full disk: %v", err)
					}
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("Close took %v", took)
					}
				}
				fullOpening(t, f, full)
				full.free(t)
				end := time.Now().Add(15 * time.Second)
				for f.write() != nil {
					if time.Now().After(end) {
						t.Fatalf("writes are refused 15 s after there is room: %v", f.write())
					}
					time.Sleep(20 * time.Millisecond) // the disk has no event to wait for
				}
				f.check("when there is room")
				if err := f.s.Close(); err != nil {
					t.Fatal(err)
				}
				f.s = opener(engine)(t, dir)
				f.check("opened when there is room")
				if err := errors.Join(f.write(), f.s.Close()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// fullOpening opens a store on a full disk, reads it and tries to write to it.
func fullOpening(t *testing.T, f *fullStore, full *filler) {
	t.Helper()
	began := time.Now()
	s, err := engines.Open(full.dir, &engines.Options{Logf: t.Logf})
	if err != nil {
		t.Fatalf("open on a full disk: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("an opening took %v", took)
	}
	f.s = s
	f.check("opened on a full disk")
	if err := s.Sync(); err != nil {
		t.Errorf("a sync of nothing: %v", err)
	}
	full.takeAll(t) // opening may have removed what nobody needs any more
	if err := f.write(); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("a write on a full disk: got %v, want disk_full", err)
	}
	f.next--
}
