package pebblekv

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// compactionPause is between a merge that could not write and the next try.
const compactionPause = time.Second

// compactionCategory is what pebble calls the files that a merge writes.
const compactionCategory = "pebble-compaction"

// A guard stands between pebble and its files. Pebble ends the process when it cannot
// write its log or its MANIFEST, and tries for ever when it cannot save what is in
// memory. With the first such error the guard freezes: what is on disk stays as it is,
// and what pebble does from then on happens in memory, so that reads go on and all
// ends as usual. The engine acknowledges nothing any more.
type guard struct {
	vfs.FS
	dir    string
	failed atomic.Pointer[error]
	frozen chan struct{} // closed after failed is set
	memory *vfs.MemFS    // the files made since then

	closing  chan struct{} // closed when the engine closes
	closeNow sync.Once
	merges   atomic.Int64 // when a merge last failed to write, in Unix nanoseconds
}

func newGuard(dir string, files vfs.FS) *guard {
	return &guard{FS: files, dir: dir, memory: vfs.NewMem(), frozen: make(chan struct{}), closing: make(chan struct{})}
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// failure returns why nothing is written any more, or nil.
func (g *guard) failure() error {
	if p := g.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// freeze notes the first error of a write.
func (g *guard) freeze(name string, err error) {
	err = g.writeError(fmt.Errorf("write %s: %w", name, err))
	if g.failed.CompareAndSwap(nil, &err) {
		close(g.frozen)
	}
}

// writeError is what a write tells its caller.
func (g *guard) writeError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.Of(store.ErrDiskFull, "the disk that holds %s is full: free some space (no space left on device)", g.dir)
	}
	return err
}

// end lets nobody wait any longer.
func (g *guard) end() { g.closeNow.Do(func() { close(g.closing) }) }

// made is a file that was created, or could not be.
func (g *guard) made(name string, category vfs.DiskWriteCategory, f vfs.File, err error) (vfs.File, error) {
	if err == nil {
		return &guarded{File: f, g: g, name: name, merge: category == compactionCategory}, nil
	}
	if category == compactionCategory {
		g.merges.Store(time.Now().UnixNano())
		return nil, err
	}
	g.freeze(name, err)
	return g.remember(name, category)
}

// remember creates a file in memory.
func (g *guard) remember(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.memory.MkdirAll(g.PathDir(name), 0o700); err != nil {
		return nil, err
	}
	return g.memory.Create(name, category)
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == compactionCategory {
		if err := g.mayMerge(); err != nil {
			return nil, err
		}
	} else if g.failure() != nil {
		return g.remember(name, category)
	}
	f, err := g.FS.Create(name, category)
	return g.made(name, category, f, err)
}

// mayMerge waits after a merge that could not write, and, frozen, until the end: a
// merge is never waited for, and would fill the memory.
func (g *guard) mayMerge() error {
	again := time.NewTimer(time.Until(time.Unix(0, g.merges.Load()).Add(compactionPause)))
	defer again.Stop()
	select {
	case <-g.closing:
	case <-g.frozen:
		<-g.closing
	case <-again.C:
	}
	return g.failure()
}

func (g *guard) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if g.failure() != nil {
		return g.remember(to, category)
	}
	f, err := g.FS.ReuseForWrite(from, to, category)
	return g.made(to, category, f, err)
}

// Open opens a file for reading. Pebble ends the process over a table that is not
// there: it is told that it is damaged.
func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if g.failure() != nil {
		if f, err := g.memory.Open(name, opts...); err == nil {
			return f, nil
		}
	}
	f, err := g.FS.Open(name, opts...)
	if errors.Is(err, fs.ErrNotExist) && filepath.Ext(name) == ".sst" {
		return nil, fault.Of(store.ErrCorrupt, "%s is missing: run weft doctor", name)
	}
	return f, err
}

func (g *guard) Stat(name string) (vfs.FileInfo, error) {
	if g.failure() != nil {
		if fi, err := g.memory.Stat(name); err == nil {
			return fi, nil
		}
	}
	return g.FS.Stat(name)
}

func (g *guard) Remove(name string) error {
	if g.failure() != nil {
		_ = g.memory.Remove(name) // it may be on disk, and stays there
		return nil
	}
	err := g.FS.Remove(name)
	if err != nil && filepath.Ext(name) == "" && !errors.Is(err, fs.ErrNotExist) {
		g.freeze(name, err) // an old MANIFEST or marker
		return nil
	}
	return err
}

func (g *guard) Rename(from, to string) error {
	return g.change(to, func() error { return g.FS.Rename(from, to) })
}

func (g *guard) Link(from, to string) error {
	return g.change(to, func() error { return g.FS.Link(from, to) })
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guarded{File: f, g: g, name: name}, nil
}

// change does what changes a file, unless nothing is changed any more. Its error
// freezes.
func (g *guard) change(name string, do func() error) error {
	if g.failure() != nil {
		return nil
	}
	if err := do(); err != nil {
		g.freeze(name, err)
	}
	return nil
}

// A guarded is a file that is written.
type guarded struct {
	vfs.File
	g     *guard
	name  string
	merge bool // by a merge, whose errors are harmless
}

// write does what writes to the file. Pebble learns of an error where it can live with
// it: of a table that is being saved, which it will save again.
func (f *guarded) write(do func() error) error {
	if f.merge {
		err := do()
		if err != nil {
			f.g.merges.Store(time.Now().UnixNano())
		}
		return err
	}
	table := filepath.Ext(f.name) == ".sst"
	if f.g.failure() != nil && !table {
		return nil
	}
	err := do()
	if err == nil {
		return nil
	}
	f.g.freeze(f.name, err)
	if table {
		return err
	}
	return nil
}

func (f *guarded) Write(p []byte) (n int, err error) {
	n = len(p)
	err = f.write(func() (err error) {
		_, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *guarded) WriteAt(p []byte, at int64) (n int, err error) {
	n = len(p)
	err = f.write(func() (err error) {
		_, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

func (f *guarded) Close() error {
	err := f.File.Close()
	if err == nil || f.merge || filepath.Ext(f.name) == ".sst" {
		return err
	}
	f.g.freeze(f.name, err)
	return nil
}

func (f *guarded) Sync() error     { return f.write(f.File.Sync) }
func (f *guarded) SyncData() error { return f.write(f.File.SyncData) }

func (f *guarded) SyncTo(length int64) (whole bool, err error) {
	err = f.write(func() (err error) {
		whole, err = f.File.SyncTo(length)
		return err
	})
	return whole, err
}

// Preallocate may fail: the write that follows tells why.
func (f *guarded) Preallocate(offset, length int64) error {
	if f.g.failure() == nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}
