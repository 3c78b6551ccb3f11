// Package pebblekv is the engine over pebble. Commits go to its write-ahead log
// without a sync; a sync appends an empty log record with one.
package pebblekv

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/store"
)

type engine struct {
	db *pebble.DB
}

type logger func(format string, args ...any)

func (logger) Infof(string, ...any)                {}
func (l logger) Errorf(format string, args ...any) { l(format, args...) }

// Fatalf must not return: pebble calls it when going on would lose data.
func (l logger) Fatalf(format string, args ...any) {
	l(format, args...)
	panic("pebble cannot go on; its reason was logged")
}

// Options tunes the engine. The zero value suits production.
type Options struct {
	CacheBytes int64                            // of the block cache; 0 means 32 MiB
	FS         vfs.FS                           // nil means the machine's
	Logf       func(format string, args ...any) // the engine's warnings and errors; nil discards them
}

// Open opens the engine in dir, creating it if absent.
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
	po := &pebble.Options{
		Cache:              cache,
		FS:                 o.FS,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger(o.Logf),
		MemTableSize:       4 << 20,
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, po)
	if err != nil {
		return nil, err
	}
	return &engine{db: db}, nil
}

// OpenMemory opens an empty engine in memory. Nothing of it remains after Close.
func OpenMemory() (store.Engine, error) {
	return Open("store", Options{CacheBytes: 4 << 20, FS: vfs.NewMem()})
}

func (e *engine) Limits() store.Limits { return store.Limits{Bytes: 8 << 20, Puts: 100_000} }

func (e *engine) Charge(key, value []byte) int { return len(key) + len(value) }

func (e *engine) Apply(w *store.Writes) error {
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
	return b.Commit(pebble.NoSync)
}

func (e *engine) Sync() error { return e.db.LogData(nil, pebble.Sync) }

func (e *engine) Size() (int64, error) {
	return int64(e.db.Metrics().DiskSpaceUsage()), nil
}

func (e *engine) Compact(ctx context.Context, _ func(func() error) error) error {
	if err := e.db.Flush(); err != nil {
		return err
	}
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	var first, last []byte
	if it.First() {
		first = append(first, it.Key()...)
	}
	if it.Last() {
		last = append(append(last, it.Key()...), 0)
	}
	if err := it.Close(); err != nil || last == nil {
		return err
	}
	return e.db.Compact(ctx, first, last, false)
}

func (e *engine) Close() error { return e.db.Close() }

func (e *engine) Snapshot() (store.EngineView, error) {
	return view{e.db.NewSnapshot()}, nil
}

type view struct{ s *pebble.Snapshot }

func (v view) Release() { _ = v.s.Close() } // it has no error to give

func (v view) Get(key []byte) ([]byte, error) {
	p, done, err := v.s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	value := append(make([]byte, 0, len(p)), p...)
	return value, done.Close()
}

func (v view) Iterate(r store.Range) (store.EngineIterator, error) {
	it, err := v.s.NewIter(&pebble.IterOptions{LowerBound: r.Lower, UpperBound: r.Upper})
	if err != nil {
		return nil, err
	}
	return &iterator{it: it, reverse: r.Reverse}, nil
}

type iterator struct {
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
func (i *iterator) Err() error  { return i.it.Error() }
func (i *iterator) Close()      { _ = i.it.Close() } // its error was Err's

func (i *iterator) Value(buf []byte) ([]byte, error) {
	p, err := i.it.ValueAndErr()
	return append(buf[:0], p...), err
}
