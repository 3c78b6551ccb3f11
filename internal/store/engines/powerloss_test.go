package engines_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/badgerkv"
	"github.com/weftdb/weft/internal/store/pebblekv"
	"github.com/weftdb/weft/internal/store/storetest"
)

const losses = 12 // rounds of each test

// storeOf returns the store over an engine whose disk nobody watches.
func storeOf(t testing.TB, eng store.Engine) store.Store {
	t.Helper()
	s, err := store.New(eng, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pebbleMachine is a file system in memory that forgets what was not synced:
// blocks of files and entries of directories, all of them or some.
type pebbleMachine struct{ fs *vfs.MemFS }

func (m pebbleMachine) Open(t testing.TB) store.Store {
	t.Helper()
	eng, err := pebblekv.Open("store", pebblekv.Options{FS: m.fs, CacheBytes: 4 << 20, Logf: t.Logf, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return storeOf(t, eng)
}

func (m pebbleMachine) Lose(_ testing.TB, r *rand.Rand) storetest.Machine {
	cfg := vfs.CrashCloneCfg{RNG: r}
	if r.IntN(3) > 0 {
		cfg.UnsyncedDataPercent = r.IntN(101)
	}
	return pebbleMachine{m.fs.CrashClone(cfg)}
}

func TestPebblePowerLoss(t *testing.T) {
	m := pebbleMachine{vfs.NewCrashableMem()}
	if err := m.fs.MkdirAll("store", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := m.fs.OpenDir("/") // engines.Open syncs the folder above a new store
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	storetest.PowerLoss(t, m, losses)
}

// badgerMachine is a folder. Badger writes by the os package, where nothing can
// stand between, so what a loss of power takes is modelled: of the value log, all
// that was written since the last Sync began, in part or as zeros. The rest is
// what badger syncs itself before it relies on it (tables are opened with O_DSYNC,
// the manifest is synced at each change, a log file when it is full and before a
// memtable of it is saved): it is copied as it is.
type badgerMachine struct {
	dir   string
	syncs *syncs
}

// syncs notes how much of each log file was there when a sync began that ended.
type syncs struct {
	store.Engine
	dir string

	mu     sync.Mutex // guards synced
	synced map[string]int64
}

func (s *syncs) Sync() error {
	before, err := logSizes(s.dir)
	if err := errors.Join(err, s.Engine.Sync()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, size := range before {
		s.synced[name] = max(s.synced[name], size)
	}
	return nil
}

func logSizes(dir string) (map[string]int64, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	sizes := map[string]int64{}
	for _, name := range names {
		fi, statErr := os.Stat(name)
		if statErr != nil {
			return nil, statErr
		}
		sizes[filepath.Base(name)] = fi.Size()
	}
	return sizes, err
}

func (m *badgerMachine) Open(t testing.TB) store.Store {
	t.Helper()
	sizes, err := logSizes(m.dir) // what came over the last loss is on the disk
	if err != nil {
		t.Fatal(err)
	}
	eng, err := badgerkv.Open(m.dir, badgerkv.Options{Logf: t.Logf, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	m.syncs = &syncs{Engine: eng, dir: m.dir, synced: sizes}
	return storeOf(t, m.syncs)
}

func (m *badgerMachine) Lose(t testing.TB, r *rand.Rand) storetest.Machine {
	t.Helper()
	m.syncs.mu.Lock()
	synced := maps.Clone(m.syncs.synced)
	m.syncs.mu.Unlock()
	for {
		to := t.TempDir()
		if whole, err := copyFiles(m.dir, to); err != nil {
			t.Fatal(err)
		} else if !whole {
			continue
		}
		if err := forget(to, synced, r); err != nil {
			t.Fatal(err)
		}
		return &badgerMachine{dir: to}
	}
}

// copyFiles copies a badger that is in use, and reports whether its tables are
// those of one manifest.
func copyFiles(from, to string) (bool, error) {
	manifest, err := os.ReadFile(filepath.Join(from, "MANIFEST"))
	if err != nil {
		return false, err
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return false, err
	}
	for _, e := range list {
		p, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), p, 0o600)
		}
		if err != nil {
			return false, err
		}
	}
	again, err := os.ReadFile(filepath.Join(from, "MANIFEST"))
	return bytes.Equal(again, manifest), err
}

// forget takes what was not synced out of the last log file: all of it, a part
// that ends anywhere, or its bytes but not its length.
func forget(dir string, synced map[string]int64, r *rand.Rand) error {
	sizes, err := logSizes(dir)
	if err != nil {
		return err
	}
	last := ""
	for name := range sizes {
		if last == "" || strings.Compare(name, last) > 0 {
			last = name
		}
	}
	size, kept := sizes[last], synced[last]
	if size <= kept {
		return nil
	}
	path := filepath.Join(dir, last)
	switch r.IntN(3) {
	case 0:
		return os.Truncate(path, kept)
	case 1:
		return os.Truncate(path, kept+r.Int64N(size-kept+1))
	}
	kept += r.Int64N(size - kept + 1)
	return errors.Join(os.Truncate(path, kept), os.Truncate(path, size)) // the end reads as zeros
}

func TestBadgerPowerLoss(t *testing.T) {
	storetest.PowerLoss(t, &badgerMachine{dir: t.TempDir()}, losses)
}
