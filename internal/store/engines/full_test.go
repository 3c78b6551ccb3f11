package engines_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// smallDisk mounts a disk of so many MB. It skips the test where that is not
// permitted.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a small disk needs the right to mount one")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", size), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fillUp writes a file until the disk is full to the last byte.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1<<20)
	for size := len(p); size > 0; {
		if n, err := f.Write(p[:size]); err != nil && n < size {
			size /= 2
		}
	}
}

// A fullStore writes to a store whose disk is full now and then, and remembers what
// was acknowledged.
type fullStore struct {
	t     *testing.T
	s     store.Store
	next  int
	acked []int
}

func (f *fullStore) key(i int) []byte { return fmt.Appendf(nil, "k%08d", i) }

// write commits and syncs one transaction of some kB.
func (f *fullStore) write() error {
	tx := f.s.Begin()
	defer tx.Discard()
	v := make([]byte, 3000)
	for i := range v {
		v[i] = byte(f.next * (i + 7) >> 3)
	}
	if err := tx.Put(f.key(f.next), v); err != nil {
		f.t.Fatal(err)
	}
	f.next++
	if err := errors.Join(tx.Commit(), f.s.Sync()); err != nil {
		return err
	}
	f.acked = append(f.acked, f.next-1)
	return nil
}

// check reads everything that was acknowledged.
func (f *fullStore) check(when string) {
	f.t.Helper()
	snap := f.s.Snapshot()
	defer snap.Release()
	for _, i := range f.acked {
		if _, err := snap.Get(f.key(i)); err != nil {
			f.t.Fatalf("%s: %s was acknowledged: %v", when, f.key(i), err)
		}
	}
}

// within fails the test if f takes longer than a user may have to wait.
func within(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, store.ErrDiskFull) {
			t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(limit):
		t.Fatalf("%s has not ended after %v", what, limit)
	}
}

// TestFullDisk fills a disk by what a store writes, and by others. Writes are refused
// by name, reads go on, closing and opening end, and writes go on when there is room.
func TestFullDisk(t *testing.T) {
	for _, engine := range engines.Names() {
		t.Run(engine, func(t *testing.T) {
			disk := smallDisk(t, 64)
			dir, filler := filepath.Join(disk, "store"), filepath.Join(disk, "filler")
			f := &fullStore{t: t, s: opener(engine)(t, dir)}
			for f.next < 100 {
				if err := f.write(); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				fillUp(t, filler)
				refused := 0
				for range 2000 {
					if err := f.write(); err != nil {
						if !errors.Is(err, store.ErrDiskFull) {
							t.Fatalf("got %v, want disk_full", err)
						}
						refused++
						break
					}
				}
				if refused == 0 {
					t.Fatal("no write was refused on a full disk")
				}
				f.check("on a full disk")
				within(t, 10*time.Second, "Close on a full disk", f.s.Close)
				within(t, 10*time.Second, "Open on a full disk", func() (err error) {
					s, err := engines.Open(dir, &engines.Options{Logf: t.Logf})
					if err == nil {
						f.s = s
						f.check("opened on a full disk")
						return s.Close()
					}
					return err
				})
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				f.s = opener(engine)(t, dir)
				f.check("after there is room")
				if err := f.write(); err != nil {
					t.Fatalf("a write when there is room: %v", err)
				}
			}
			// Filled by its own writes, and freed under it.
			fillUp(t, filler)
			if err := os.Truncate(filler, 24<<20); err != nil {
				t.Fatal(err)
			}
			for f.next < 50_000 && f.write() == nil {
			}
			f.check("filled by its own writes")
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			end := time.Now().Add(15 * time.Second)
			for f.write() != nil {
				if time.Now().After(end) {
					t.Fatalf("writes are refused 15 s after there is room: %v", f.write())
				}
				time.Sleep(20 * time.Millisecond) // the disk has no event to wait for
			}
			f.check("at the end")
			within(t, 10*time.Second, "Close", f.s.Close)
		})
	}
}
