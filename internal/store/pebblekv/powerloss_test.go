package pebblekv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weftdb/weft/internal/store"
)

// newDisk returns a disk in memory that forgets what was not synced, with the folder of a
// store.
func newDisk(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	root, err := disk.OpenDir("/")
	if err = errors.Join(err, disk.MkdirAll("store", 0o700)); err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// A machine loses its power at one of the operations that change something.
type machine struct {
	disk *vfs.MemFS
	keep vfs.CrashCloneCfg // what of the unsynced remains

	mu    sync.Mutex // guards the fields below
	ops   int
	cutAt int
	now   promised
	after *vfs.MemFS // the disk then
	then  promised
}

// promised is what must be there: keys up to a number, and a position.
type promised struct {
	keys     int
	position uint64
}

func (m *machine) String() string { return "machine" }

func (m *machine) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ops++; m.ops == m.cutAt {
		m.after, m.then = m.disk.CrashClone(m.keep), m.now
	}
	return nil
}

func (m *machine) promise(p promised) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = promised{max(m.now.keys, p.keys), max(m.now.position, p.position)}
}

// live opens the store, checks what was promised, writes, syncs now and then, and closes.
func (m *machine) live(t *testing.T, r *rand.Rand, create bool) {
	t.Helper()
	e, err := Open("store", Options{FS: errorfs.Wrap(m.disk, m), CacheBytes: 1 << 20, Create: create, Durable: m.now.position})
	if err != nil {
		t.Fatalf("open with %+v promised: %v", m.now, err)
	}
	if e.Position() < m.now.position {
		t.Fatalf("the position is %d, %+v was promised", e.Position(), m.now)
	}
	s, err := store.New(e, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	next := 0
	for ; ; next++ {
		if _, err := snap.Get(fmt.Appendf(nil, "k%06d", next)); err != nil {
			break
		}
	}
	snap.Release()
	if next < m.now.keys {
		t.Fatalf("key %d is not there, %+v was promised", next, m.now)
	}
	// What the core does: the witness notes it at once.
	m.promise(promised{next, e.Position()})
	for range r.IntN(60) {
		tx := s.Begin()
		if err := errors.Join(tx.Put(fmt.Appendf(nil, "k%06d", next), make([]byte, 1<<(6+r.IntN(12)))), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		next++
		if r.IntN(3) == 0 {
			p := promised{next, e.Position()}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
			m.promise(p)
		}
	}
	p := promised{next, e.Position()}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.promise(p)
}

// Power is lost at any point of opening, writing and closing, many times in a row: what
// was promised is there, and no store is taken for a damaged one.
func TestPowerLossAnywhere(t *testing.T) { losePower(t, 100) }

func losePower(t *testing.T, lives int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for lived := 0; lived < lives; {
		disk := newDisk(t)
		var now promised
		for i := range 8 {
			m := &machine{disk: disk, now: now, cutAt: 1 + r.IntN(150), keep: vfs.CrashCloneCfg{
				RNG: rand.New(rand.NewPCG(r.Uint64(), 2)), UnsyncedDataPercent: r.IntN(101), // drawn from by pebble's goroutines, too
			}}
			m.live(t, r, i == 0)
			if lived++; m.after == nil {
				m.after, m.then = disk.CrashClone(vfs.CrashCloneCfg{}), m.now
			}
			if m.then.position == 0 {
				break // it was never made
			}
			disk, now = m.after, m.then
		}
	}
}
