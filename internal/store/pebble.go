package store

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleEngine keeps the map in pebble. Commits go to its write-ahead log
// without a sync; sync appends an empty log record with one.
type pebbleEngine struct {
	db *pebble.DB
}

type pebbleLog func(format string, args ...any)

func (pebbleLog) Infof(string, ...any)                {}
func (l pebbleLog) Errorf(format string, args ...any) { l(format, args...) }

// Fatalf must not return: pebble calls it when going on would lose data.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l(format, args...)
	panic("store: pebble cannot go on; its reason was logged")
}

func openPebble(dir string, o Options) (engine, error) {
	return openPebbleFS(dir, o, vfs.Default)
}

func openPebbleMemory() (engine, error) {
	return openPebbleFS("store", Options{CacheBytes: 4 << 20, Logf: func(string, ...any) {}}, vfs.NewMem())
}

func openPebbleFS(dir string, o Options, fs vfs.FS) (engine, error) {
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		Cache:              cache,
		FS:                 fs,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             pebbleLog(o.Logf),
		MemTableSize:       4 << 20,
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, po)
	if err != nil {
		return nil, err
	}
	return &pebbleEngine{db: db}, nil
}

func (e *pebbleEngine) limits() Limits { return Limits{Bytes: 8 << 20, Puts: 100_000} }

func (e *pebbleEngine) charge(key, value []byte) int { return len(key) + len(value) }

func (e *pebbleEngine) apply(w *writeSet) error {
	b := e.db.NewBatch()
	defer func() { _ = b.Close() }() // frees memory; the result of Commit counts
	for n := w.first(); n != 0; n = w.after(n) {
		var err error
		if node := &w.nodes[n]; node.deleted {
			err = b.Delete(node.key, nil)
		} else {
			err = b.Set(node.key, node.value, nil)
		}
		if err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

func (e *pebbleEngine) sync() error { return e.db.LogData(nil, pebble.Sync) }

func (e *pebbleEngine) size() (int64, error) {
	return int64(e.db.Metrics().DiskSpaceUsage()), nil
}

func (e *pebbleEngine) compact(ctx context.Context, _ func(func() error) error) error {
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

func (e *pebbleEngine) close() error { return e.db.Close() }

func (e *pebbleEngine) snapshot() (engineView, error) {
	return pebbleView{e.db.NewSnapshot()}, nil
}

type pebbleView struct{ s *pebble.Snapshot }

func (v pebbleView) release() { _ = v.s.Close() } // it has no error to give

func (v pebbleView) get(key []byte) ([]byte, error) {
	p, done, err := v.s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	value := append(make([]byte, 0, len(p)), p...)
	return value, done.Close()
}

func (v pebbleView) iterate(r Range) (engineIter, error) {
	it, err := v.s.NewIter(&pebble.IterOptions{LowerBound: r.Lower, UpperBound: r.Upper})
	if err != nil {
		return nil, err
	}
	return &pebbleIter{it: it, reverse: r.Reverse}, nil
}

type pebbleIter struct {
	it      *pebble.Iterator
	reverse bool
	buf     []byte
}

func (i *pebbleIter) seek(key []byte) {
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

func (i *pebbleIter) next() {
	if i.reverse {
		i.it.Prev()
	} else {
		i.it.Next()
	}
}

func (i *pebbleIter) valid() bool { return i.it.Valid() }
func (i *pebbleIter) key() []byte { return i.it.Key() }
func (i *pebbleIter) err() error  { return i.it.Error() }
func (i *pebbleIter) close()      { _ = i.it.Close() } // its error was Err's

func (i *pebbleIter) value(buf []byte) ([]byte, error) {
	p, err := i.it.ValueAndErr()
	return append(buf[:0], p...), err
}
