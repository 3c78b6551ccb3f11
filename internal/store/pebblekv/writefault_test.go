package pebblekv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weftdb/weft/internal/store"
)

// A failingDisk gives an error for one operation that changes something, or for all
// from it on.
type failingDisk struct {
	err   error
	at    int64 // the operation's number
	stays bool
	off   atomic.Bool
	ops   atomic.Int64
	met   atomic.Pointer[string] // the first that failed
	sync  atomic.Bool            // a sync failed
}

func (d *failingDisk) String() string { return "failing disk" }

func (d *failingDisk) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || d.off.Load() {
		return nil
	}
	n := d.ops.Add(1)
	if n != d.at && (n < d.at || !d.stays) {
		return nil
	}
	what := fmt.Sprintf("operation %d (%v of %s)", n, op.Kind, op.Path)
	d.met.CompareAndSwap(nil, &what)
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		d.sync.Store(true)
	}
	return d.err
}

func (d *failingDisk) open(t testing.TB, disk vfs.FS, create bool) (store.Store, error) {
	eng, err := Open("store", Options{FS: errorfs.Wrap(disk, d), CacheBytes: 4 << 20, Logf: t.Logf, Create: create})
	if err != nil {
		return nil, err
	}
	return store.New(eng, store.Options{})
}

// runOn opens a store on a disk, writes to it and closes it. When a write is refused
// it makes room, and writes go on unless a sync failed. It returns what was
// acknowledged, and the first error.
func (d *failingDisk) runOn(t testing.TB, disk vfs.FS) (acked []int, first error) {
	s, err := d.open(t, disk, true)
	if err != nil {
		return nil, err
	}
	value := make([]byte, 128<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(r.Uint32())
	}
	for i := range 45 {
		tx := s.Begin()
		if err := tx.Put(fmt.Appendf(nil, "k%06d", i), value); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(tx.Commit(), s.Sync()); err == nil {
			acked = append(acked, i)
		} else if first != nil && d.resumes() {
			t.Errorf("%s: a write when there is room: %v", d.where(), err)
		} else if first == nil {
			first = err
			holds(t, s, acked, "after "+d.where())
			if err := s.Sync(); d.stays && err == nil {
				t.Errorf("a sync after %s and %v is acknowledged", d.where(), first)
			}
			d.off.Store(true)
		}
		if i == 30 {
			if err := s.Compact(t.Context()); err != nil && first == nil {
				first = err // of a merge: writes may go on
				d.off.Store(true)
			}
		}
	}
	holds(t, s, acked, "at the end, after "+d.where())
	if err := s.Close(); err != nil && first == nil {
		first = err
	}
	return acked, first
}

// resumes reports whether writes go on when there is room.
func (d *failingDisk) resumes() bool {
	return errors.Is(d.err, syscall.ENOSPC) && !d.sync.Load()
}

func (d *failingDisk) where() string {
	if p := d.met.Load(); p != nil {
		return *p
	}
	return "no failure"
}

func holds(t testing.TB, s store.Store, acked []int, when string) {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Release()
	for _, i := range acked {
		if _, err := snap.Get(fmt.Appendf(nil, "k%06d", i)); err != nil {
			t.Errorf("%s: %d of %d acknowledged: %v", when, i, len(acked), err)
			return
		}
	}
}

// TestPebbleWriteErrors lets the disk fail at operations that change something: the
// process lives, reads go on, and of what was acknowledged all is there when the store
// is opened again, also when power was lost.
func TestPebbleWriteErrors(t *testing.T) { writeErrors(t, 5) }

// writeErrors tries so many operations of each kind of failure.
func writeErrors(t *testing.T, tries int) {
	whole := &failingDisk{}
	if _, err := whole.runOn(t, newDisk(t)); err != nil {
		t.Fatal(err)
	}
	for _, failure := range []struct {
		name  string
		err   error
		stays bool
	}{{"full", syscall.ENOSPC, true}, {"error", syscall.EIO, false}, {"errors", syscall.EIO, true}} {
		t.Run(failure.name, func(t *testing.T) {
			n := int(whole.ops.Load())
			for _, at := range rand.Perm(n) {
				if int(whole.ops.Load())-n == tries {
					break
				}
				n--
				disk := newDisk(t)
				d := &failingDisk{err: failure.err, stays: failure.stays, at: int64(at) + 1}
				acked, err := d.runOn(t, disk)
				if err != nil && errors.Is(failure.err, syscall.ENOSPC) && !errors.Is(err, store.ErrDiskFull) {
					t.Errorf("%s: got %v, want disk_full", d.where(), err)
				}
				if err != nil && d.met.Load() == nil {
					t.Errorf("an error without a failure: %v", err)
				}
				d.off.Store(true)
				for _, disk := range []*vfs.MemFS{disk.CrashClone(vfs.CrashCloneCfg{}), disk} {
					s, err := d.open(t, disk, len(acked) == 0)
					if err != nil {
						t.Errorf("%s: open again: %v", d.where(), err)
						continue
					}
					holds(t, s, acked, "opened after "+d.where())
					if err := s.Close(); err != nil {
						t.Errorf("%s: %v", d.where(), err)
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}
