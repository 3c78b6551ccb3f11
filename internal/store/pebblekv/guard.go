package pebblekv

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// mergeCategory is what pebble calls the files that a merge writes.
const mergeCategory = "pebble-compaction"

// A guard stands between pebble and its files. Pebble ends the process when it cannot
// write its log or its MANIFEST, and tries for ever when it cannot save what is in
// memory. With the first such error the guard freezes: the files stay as they are, and
// what pebble does to them from then on is kept in memory, in order. Reads go on, and
// the engine acknowledges nothing. If the disk was full and has room again, what was
// kept is done and all is as before; after any other error the engine has to be opened
// again.
type guard struct {
	vfs.FS
	dir   string
	space *store.Space
	// The files made while frozen, for reading.
	memory atomic.Pointer[vfs.MemFS]
	failed atomic.Pointer[error] // nil unless frozen

	mu      sync.Mutex    // guards the fields below
	frozen  chan struct{} // closed when it freezes
	kept    []change
	final   bool // no room will help
	stopped bool // the engine closes
}

// A change is something to do to a file.
type change struct {
	do    func() error
	close bool  // frees what the process holds: done in any case
	sync  bool  // after an error nothing is known of what it was to keep: never done again
	met   error // of the first try, which was made already; nil if none was
}

func newGuard(dir string, files vfs.FS, space *store.Space) *guard {
	g := &guard{FS: files, dir: dir, space: space, frozen: make(chan struct{})}
	g.memory.Store(vfs.NewMem())
	return g
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// failure returns why nothing is written, or nil.
func (g *guard) failure() error {
	if p := g.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// writeError is what a write tells its caller.
func (g *guard) writeError(err error) error {
	if fault.NoRoom(err) {
		return store.DiskFull(g.dir)
	}
	return err
}

// freeze notes an error of a write; mu is held. After a sync that failed only a new start
// tells what is on disk.
func (g *guard) freeze(name string, err error, sync bool) {
	if sync || !fault.NoRoom(err) {
		g.final = true
	}
	err = g.writeError(fmt.Errorf("write %s: %w", name, err))
	if g.failed.CompareAndSwap(nil, &err) {
		close(g.frozen)
	}
}

// attempt does what changes a file, and once more if the disk was full and the reserve
// made room, but for a sync.
func (g *guard) attempt(c change) error {
	err := c.met
	if err == nil {
		err = c.do()
	}
	if fault.NoRoom(err) && g.space.Yield() && !c.sync {
		err = c.do()
	}
	return err
}

// change does something to a file, or keeps it for later. do may be called again after
// an error, and then goes on.
func (g *guard) change(name string, c change) {
	if g.failure() == nil {
		err := g.attempt(c)
		if err == nil {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.freeze(name, err, c.sync)
		g.keep(c)
		return
	}
	g.mu.Lock()
	switch {
	case g.failure() == nil: // thawed meanwhile
		g.mu.Unlock()
		if !c.sync {
			c.met = nil
		}
		g.change(name, c)
		return
	case !g.stopped:
		g.final = g.final || c.sync && c.met != nil
		g.keep(c)
	case c.close:
		_ = c.do() // nothing that counts was written
	}
	g.mu.Unlock()
}

// keep keeps a change; what its first try met has been told. mu is held.
func (g *guard) keep(c change) {
	c.met = nil
	g.kept = append(g.kept, c)
}

// thaw does what was kept if there is room now, and returns why not.
func (g *guard) thaw() error {
	if g.failure() == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.final || g.stopped {
		return g.failure()
	}
	for i, c := range g.kept {
		if err := g.attempt(c); err != nil {
			g.final = c.sync || !fault.NoRoom(err)
			g.kept = g.kept[i:]
			return g.failure()
		}
	}
	g.kept = nil
	g.failed.Store(nil)
	g.memory.Store(vfs.NewMem())
	g.frozen = make(chan struct{})
	return nil
}

// freezing returns a channel that is closed when the guard is frozen.
func (g *guard) freezing() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen
}

// end lets nobody wait any longer, and forgets what was kept: none of it was
// acknowledged.
func (g *guard) end() {
	_ = g.thaw() // or all stays as it is
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	for _, c := range g.kept {
		if c.close {
			_ = c.do()
		}
	}
	g.kept = nil
}

// create gives a file that open makes.
func (g *guard) create(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	if category == mergeCategory {
		return g.createMerge(name, open)
	}
	f := &guarded{g: g, name: name}
	if g.failure() == nil {
		var err error
		err = g.attempt(change{do: func() error {
			f.File, err = open()
			return err
		}})
		if err == nil {
			return f, nil
		}
		g.mu.Lock()
		g.freeze(name, err, false)
		g.mu.Unlock()
	}
	memory := g.memory.Load()
	err := memory.MkdirAll(g.PathDir(name), 0o700)
	if err == nil {
		f.memory, err = memory.Create(name, category)
	}
	if err != nil {
		return nil, err
	}
	g.change(name, change{do: func() (err error) {
		f.File, err = open()
		return err
	}})
	return f, nil
}

// createMerge gives a file for a merge, whose errors are harmless: pebble tries again.
// There is none while frozen: nobody waits for a merge, and it would fill the memory.
func (g *guard) createMerge(name string, open func() (vfs.File, error)) (vfs.File, error) {
	if err := g.failure(); err != nil {
		return nil, err
	}
	f := &guarded{g: g, name: name, merge: true}
	return f, g.attempt(change{do: func() (err error) {
		f.File, err = open()
		return err
	}})
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(name, category, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *guard) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(to, category, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, category) })
}

// Open opens a file for reading. Pebble ends the process over a table that is not
// there: it is told that it is damaged.
func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if g.failure() != nil {
		if f, err := g.memory.Load().Open(name, opts...); err == nil {
			return f, nil
		}
	}
	f, err := g.FS.Open(name, opts...)
	if errors.Is(err, fs.ErrNotExist) && isTable(name) {
		return nil, fault.Of(store.ErrCorrupt, "%s is missing: run weft doctor", name)
	}
	return f, err
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guarded{File: f, g: g, name: name}, nil
}

func (g *guard) Stat(name string) (vfs.FileInfo, error) {
	if g.failure() != nil {
		if fi, err := g.memory.Load().Stat(name); err == nil {
			return fi, nil
		}
	}
	return g.FS.Stat(name)
}

// Remove removes a file. Pebble can live with an error, unless it is of a marker.
func (g *guard) Remove(name string) error {
	if g.failure() == nil && !strings.HasPrefix(filepath.Base(name), "marker.") {
		return g.FS.Remove(name)
	}
	g.change(name, change{do: func() error {
		if err := g.FS.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}})
	return nil
}

func (g *guard) Rename(from, to string) error {
	g.change(to, change{do: func() error { return g.FS.Rename(from, to) }})
	return nil
}

func (g *guard) Link(from, to string) error {
	g.change(to, change{do: func() error { return g.FS.Link(from, to) }})
	return nil
}

func isTable(name string) bool { return filepath.Ext(name) == ".sst" }

// A guarded is a file that is written.
type guarded struct {
	vfs.File          // nil until a file that was made while frozen is on disk
	memory   vfs.File // such a file, for reading
	g        *guard
	name     string
	merge    bool
}

// write does what writes to the file. Pebble learns of an error where it can live with
// it: of a merge, and of a table on disk that is being saved, which it saves again.
func (f *guarded) write(c change) error {
	switch {
	case f.merge:
		return f.g.attempt(c)
	case isTable(f.name) && f.memory == nil:
		err := f.g.attempt(c)
		if err != nil {
			f.g.mu.Lock()
			defer f.g.mu.Unlock()
			f.g.freeze(f.name, err, false) // the table is forgotten
		}
		return err
	}
	f.g.change(f.name, c)
	return nil
}

func (f *guarded) Write(p []byte) (int, error) {
	var n int
	var met error
	if f.g.failure() == nil { // as nearly always
		if n, met = f.File.Write(p); met == nil {
			return n, nil
		}
	}
	rest := slices.Clone(p[n:]) // it may be kept
	if met == nil && f.memory != nil {
		if n, err := f.memory.Write(slices.Clone(p)); err != nil {
			return n, err
		}
	}
	return len(p), f.write(change{met: met, do: func() error {
		n, err := f.File.Write(rest)
		rest = rest[n:]
		return err
	}})
}

// WriteAt is nothing that pebble does to files that it creates.
func (f *guarded) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func (f *guarded) Sync() error { return f.sync(vfs.File.Sync) }

func (f *guarded) SyncData() error { return f.sync(vfs.File.SyncData) }

func (f *guarded) sync(how func(vfs.File) error) error {
	var met error
	if f.g.failure() == nil {
		if met = how(f.File); met == nil {
			return nil
		}
	}
	return f.write(change{sync: true, met: met, do: func() error { return how(f.File) }})
}

// SyncTo syncs all or nothing that counts.
func (f *guarded) SyncTo(length int64) (whole bool, err error) {
	if f.g.failure() != nil && !f.merge {
		return false, nil
	}
	err = f.write(change{sync: true, do: func() (err error) {
		whole, err = f.File.SyncTo(length)
		return err
	}})
	return whole, err
}

// Preallocate may fail: the write that follows tells why.
func (f *guarded) Preallocate(offset, length int64) error {
	if f.g.failure() == nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

func (f *guarded) Stat() (vfs.FileInfo, error) {
	if f.memory != nil {
		return f.memory.Stat()
	}
	return f.File.Stat()
}

func (f *guarded) Fd() uintptr {
	if f.memory != nil {
		return vfs.InvalidFd
	}
	return f.File.Fd()
}

func (f *guarded) Close() error {
	if f.memory != nil {
		_ = f.memory.Close() // of memory
	}
	if f.merge || isTable(f.name) && f.memory == nil {
		return f.File.Close()
	}
	f.g.change(f.name, change{close: true, do: func() (err error) {
		if f.File != nil {
			err, f.File = f.File.Close(), nil
		}
		return err
	}})
	return nil
}
