// Package pebblekv is the engine over pebble. Commits go to its write-ahead log
// without a sync; a sync appends an empty log record with one.
//
//	pebblekv.go   opening, and the map
//	guard.go      what becomes of an error of a write
//	pacer.go      when files are merged
//	edits.go      how long the MANIFEST was, noted outside of it
//	end.go        up to where the files go, before pebble writes anything
//	damage.go     bytes that are not what was written: as errors, and looked for
//	salvage.go    what can be read of a store that cannot be opened
package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/store"
)

type engine struct {
	db       *pebble.DB
	guard    *guard
	pacer    *pacer
	edits    *edits
	opt      *pebble.Options
	fs       vfs.FS
	dir      string
	position atomic.Uint64 // the next sequence number
}

type logger func(format string, args ...any)

func (logger) Infof(string, ...any)                {}
func (l logger) Errorf(format string, args ...any) { l(format, args...) }

// Fatalf must not return: pebble calls it when going on would lose data.
func (l logger) Fatalf(format string, args ...any) {
	l(format, args...)
	panic(fatal(fmt.Sprintf(format, args...)))
}

// A fatal is why pebble cannot go on.
type fatal string

func (f fatal) Error() string { return string(f) }

// Options tunes the engine. The zero value suits production.
type Options struct {
	CacheBytes int64                            // of the block cache; 0 means 32 MiB
	FS         vfs.FS                           // nil means the machine's
	Logf       func(format string, args ...any) // the engine's warnings and errors; nil discards them
	Create     bool                             // a store that is not there is made; else it is ErrCorrupt
	Durable    uint64                           // a position that must be there
	Space      *store.Space                     // of the disk; nil: nobody watches it
}

// blockSize is what a read of a table takes in at once. Pebble's 4 KiB make a scan
// three times slower, and 32 KiB double what a get costs.
const blockSize = 16 << 10

// Open opens the engine in dir.
func Open(dir string, o Options) (store.Engine, error) {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	edits := &edits{dir: dir}
	pacer := &pacer{}
	po := optionsOf(o, pacer)
	guard := newGuard(dir, watchEdits(po.FS, edits), o.Space)
	po.Cache, po.FS = cache, guard
	lock, err := lockDir(dir, o)
	if err != nil {
		return nil, guard.writeError(err)
	}
	defer lock.Close() // the database has it, too
	if !o.Create {
		if err := edits.check(o.FS); err != nil {
			return nil, err
		}
		if err := checkEnd(o.FS, dir, o.Durable); err != nil {
			return nil, err
		}
	}
	po.Lock = lock
	db, err := open(dir, po)
	// Pebble was told that all is well. What is there can be read on a full disk.
	if failed := guard.thaw(); failed != nil && (o.Create || err != nil || !errors.Is(failed, store.ErrDiskFull)) {
		guard.end()
		if err == nil {
			err = db.Close()
		}
		return nil, errors.Join(failed, err)
	} else if failed != nil {
		// It could not save what it found in the logs: they stay, and count as durable.
		if err := syncLogs(o.FS, dir); err != nil {
			guard.end()
			return nil, errors.Join(err, db.Close())
		}
	}
	if err != nil && o.Create {
		return nil, guard.writeError(err)
	}
	if err != nil {
		return nil, guard.writeError(openError(dir, err))
	}
	e := &engine{db: db, guard: guard, pacer: pacer, edits: edits, opt: po, fs: o.FS, dir: dir}
	pacer.level0.Store(db.Metrics().Levels[0].TablesCount)
	return e, e.locate()
}

// lockDir keeps other processes out while the files are looked at.
func lockDir(dir string, o Options) (*pebble.Lock, error) {
	if o.Create {
		if err := o.FS.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return pebble.LockDirectory(dir, o.FS)
}

func optionsOf(o Options, p *pacer) *pebble.Options {
	po := &pebble.Options{
		FS:                    o.FS,
		FormatMajorVersion:    pebble.FormatNewest,
		Logger:                logger(o.Logf),
		MemTableSize:          8 << 20,
		L0StopWritesThreshold: stopWrites,
		ErrorIfNotExists:      !o.Create,
		EventListener: &pebble.EventListener{
			// The default ends the process. Whoever reads there gets the error.
			DataCorruption: func(i pebble.DataCorruptionInfo) { o.Logf("%s is damaged: %v", i.Path, i.Details) },
			BackgroundError: func(err error) {
				p.failed(err)
				o.Logf("tables cannot be written or merged: %v", err)
			},
			FlushEnd: func(i pebble.FlushInfo) {
				p.level0.Add(int64(len(i.Output)))
			},
			CompactionEnd: func(i pebble.CompactionInfo) {
				if i.Err == nil {
					p.merged(i)
				}
			},
		},
	}
	po.Experimental.CompactionScheduler = p
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].BlockSize = blockSize
	}
	return po
}

// open opens pebble, which panics at some things that a damaged file may hold.
func open(dir string, po *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", pebble.ErrCorruption, r)
		}
	}()
	return pebble.Open(dir, po)
}

// locate finds out the next sequence number: that of a deletion of nothing.
func (e *engine) locate() error {
	b := e.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; the result of Commit counts
	if err := errors.Join(b.Delete([]byte("!pebble-position"), nil), b.Commit(pebble.NoSync)); err != nil {
		return errors.Join(fmt.Errorf("find the end of the log: %w", err), e.db.Close())
	}
	e.position.Store(uint64(b.SeqNum()))
	return nil
}

func (e *engine) Position() uint64 { return e.position.Load() }

// OpenMemory opens an empty engine in memory. Nothing of it remains after Close.
func OpenMemory() (store.Engine, error) {
	return Open("store", Options{CacheBytes: 4 << 20, FS: vfs.NewMem(), Create: true})
}

func (e *engine) Limits() store.Limits { return store.Limits{Bytes: 8 << 20, Puts: 100_000} }

func (e *engine) Charge(key, value []byte) int { return len(key) + len(value) }

func (e *engine) Apply(w *store.Writes) (err error) {
	defer stopped(&err)
	if err := errors.Join(e.guard.thaw(), e.pacer.refusal(e.dir)); err != nil {
		return err
	}
	b := e.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; the result of Commit counts
	for put := range w.All() {
		var err error
		if put.Deleted {
			err = b.Delete(put.Key, nil)
		} else {
			err = b.Set(put.Key, put.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	e.position.Store(uint64(b.SeqNum()) + uint64(b.Count()))
	return nil
}

func (e *engine) Sync() (err error) {
	defer stopped(&err)
	if err := e.guard.thaw(); err != nil { // nor is it kept to be synced
		return err
	}
	if err := e.db.LogData(nil, pebble.Sync); err != nil {
		return err
	}
	return e.guard.thaw()
}

// stopped makes an error of pebble's end in this goroutine.
func stopped(err *error) {
	r := recover()
	if r == nil {
		return
	}
	f, ours := r.(fatal)
	if !ours {
		panic(r)
	}
	*err = f
}

func (e *engine) Size() (total int64, err error) {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if name == store.ReserveFile {
			continue
		}
		fi, err := e.fs.Stat(e.fs.PathJoin(e.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return 0, err
		}
		total += fi.Size()
	}
	return total, nil
}

// Full is nil: what the guard keeps is written as soon as the disk has room.
func (e *engine) Full() error { return nil }

func (e *engine) Compact(ctx context.Context, _ func(func() error) error) error {
	if err := e.guard.thaw(); err != nil {
		return err
	}
	// The flush begins a log, maybe in the file of an old one.
	if err := errors.Join(e.emptyLogs(), e.db.Flush(), e.emptyLogs()); err != nil {
		return e.readError(err)
	}
	e.pacer.resume()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frozen := e.guard.freezing()
	go func() { // frozen, no merge ends
		select {
		case <-frozen:
			cancel()
		case <-ctx.Done():
		}
	}()
	it, err := e.db.NewIter(nil)
	if err != nil {
		return e.readError(err)
	}
	var first, last []byte
	if it.First() {
		first = append(first, it.Key()...)
	}
	if it.Last() {
		last = append(append(last, it.Key()...), 0)
	}
	if err := it.Close(); err != nil || last == nil {
		return e.readError(err)
	}
	err = e.db.Compact(ctx, first, last, false)
	if failed := e.guard.failure(); failed != nil {
		return failed
	}
	if err == nil {
		err = e.cleaned(ctx)
	}
	return e.guard.writeError(e.readError(err))
}

// cleaned waits until the tables that a merge has replaced are removed, for a while.
func (e *engine) cleaned(ctx context.Context) error {
	again := time.NewTicker(10 * time.Millisecond) // pebble does not tell
	defer again.Stop()
	for range 500 {
		if e.db.Metrics().Table.ObsoleteCount == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// emptyLogs takes what is in the logs that pebble keeps only to write over: that no
// start needs them is on disk. One that is taken for a new log meanwhile has another
// name then.
func (e *engine) emptyLogs() error {
	if e.fs != vfs.Default {
		return nil
	}
	first, err := e.edits.durableLog(e.fs)
	if err != nil {
		return err
	}
	names, err := e.fs.List(e.dir)
	for _, name := range names {
		if n, ok := logNumber(name); ok && n < first {
			if gone := os.Truncate(filepath.Join(e.dir, name), 0); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	return err
}

func (e *engine) Close() error {
	e.guard.end()
	return e.db.Close()
}

func (e *engine) Snapshot() (store.EngineView, error) {
	return &view{e: e, s: e.db.NewSnapshot()}, nil
}

// A view gets its first value as pebble does. Further ones it seeks by an iterator that
// it keeps, which takes half the time: Get opens each table anew.
type view struct {
	e *engine
	s *pebble.Snapshot

	mu    sync.Mutex // guards the fields below
	asked bool
	free  []*pebble.Iterator // nobody uses them
}

func (v *view) Release() {
	for _, it := range v.free {
		_ = it.Close() // its error was that of a get
	}
	_ = v.s.Close() // it has no error to give
}

// getter returns an iterator to get with, nil for the first get.
func (v *view) getter() (*pebble.Iterator, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.asked {
		v.asked = true
		return nil, nil
	}
	if n := len(v.free); n > 0 {
		it := v.free[n-1]
		v.free = v.free[:n-1]
		return it, nil
	}
	return v.s.NewIter(&pebble.IterOptions{UseL6Filters: true})
}

func (v *view) Get(key []byte) ([]byte, error) {
	it, err := v.getter()
	if err != nil {
		return nil, v.e.readError(err)
	}
	if it == nil {
		return v.getOne(key)
	}
	var value []byte
	if it.SeekPrefixGE(key) { // a prefix is a whole key
		var p []byte
		if p, err = it.ValueAndErr(); err == nil {
			value = append(make([]byte, 0, len(p)), p...)
		}
	} else if err = it.Error(); err == nil {
		err = store.ErrNotFound
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		_ = it.Close() // the same error
		return nil, v.e.readError(err)
	}
	v.mu.Lock()
	v.free = append(v.free, it)
	v.mu.Unlock()
	return value, err
}

func (v *view) getOne(key []byte) ([]byte, error) {
	p, done, err := v.s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, v.e.readError(err)
	}
	value := append(make([]byte, 0, len(p)), p...)
	return value, done.Close()
}

func (v *view) Iterate(r store.Range) (store.EngineIterator, error) {
	it, err := v.s.NewIter(&pebble.IterOptions{LowerBound: r.Lower, UpperBound: r.Upper})
	if err != nil {
		return nil, v.e.readError(err)
	}
	return &iterator{e: v.e, it: it, reverse: r.Reverse}, nil
}

type iterator struct {
	e       *engine
	it      *pebble.Iterator
	reverse bool
	buf     []byte
}

func (i *iterator) Seek(key []byte) {
	switch {
	case i.reverse && key == nil:
		i.it.Last()
	case i.reverse: // SeekLT of the key's successor gives the largest <= key
		i.buf = append(append(i.buf[:0], key...), 0)
		i.it.SeekLT(i.buf)
	case key == nil:
		i.it.First()
	default:
		i.it.SeekGE(key)
	}
}

func (i *iterator) Next() {
	if i.reverse {
		i.it.Prev()
	} else {
		i.it.Next()
	}
}

func (i *iterator) Valid() bool { return i.it.Valid() }
func (i *iterator) Key() []byte { return i.it.Key() }
func (i *iterator) Err() error  { return i.e.readError(i.it.Error()) }
func (i *iterator) Close()      { _ = i.it.Close() } // its error was Err's

func (i *iterator) Value(buf []byte) ([]byte, error) {
	p, err := i.it.ValueAndErr()
	return append(buf[:0], p...), i.e.readError(err)
}
