// Package badger4kv is the engine over badger v4 (dgraph-io/badger/v4). Commits go to
// the log of a memtable, a mapped file; values of a mebibyte or more to the value log.
//
//	badger4kv.go   opening, and the map
//	check.go       what must be there, before badger opens it; reading everything
//	files.go       the files of the logs and of the tree
//	salvage.go     taking out of a damaged store what can be read
package badger4kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

const (
	tableSize = 16 << 20 // bytes of a memtable
	logSize   = 16 << 20 // bytes of a value log file
	inline    = 1 << 20  // values this long or longer are in the value log; badger allows no more

	// Below badger's own limits: 15% of tableSize, and of that one put per 96 bytes.
	txBytes = 2 << 20
	txPuts  = 24_000
)

// endKey is written by every transaction, so that the newest version of all is always
// in the tree: badger drops a deletion that has nothing left to delete. It is in the
// space that validKey keeps from callers.
var endKey = []byte("!badger-end")

type engine struct {
	db  *badger.DB
	dir string

	mu     sync.Mutex     // guards damage
	damage []store.Damage // that Verify found
}

// Options tunes the engine. The zero value suits a store that is there.
type Options struct {
	Create     bool                             // makes an empty store if none is there; otherwise that is ErrCorrupt
	Durable    uint64                           // the position that the store had reached; 0: not known
	CacheBytes int64                            // of the block cache; 0 means 32 MiB
	Logf       func(format string, args ...any) // warnings and errors, badger's too; nil discards them
}

type logger func(format string, args ...any)

func (logger) Debugf(string, ...any) {}
func (logger) Infof(string, ...any)  {}

func (l logger) Warningf(format string, args ...any) {
	l("badger: %s", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
func (l logger) Errorf(format string, args ...any) { l.Warningf(format, args...) }

func optionsOf(dir string, o Options) badger.Options {
	b := badger.DefaultOptions(dir)
	b.Logger = logger(o.Logf)
	b.MetricsEnabled = false
	b.MemTableSize = tableSize
	b.NumMemtables = 2
	b.BaseTableSize = 4 << 20
	b.NumCompactors = 2
	b.NumLevelZeroTables = 2 // more are left alone by Flatten
	b.ValueThreshold = inline
	b.ValueLogFileSize = logSize
	b.VerifyValueChecksum = true
	b.ChecksumVerificationMode = options.OnBlockRead
	b.Compression = options.None
	b.BlockCacheSize = o.CacheBytes
	b.DetectConflicts = false // the core does
	return b
}

// Open opens the engine in dir, which exists. What is damaged there is ErrCorrupt,
// and left as it is.
func Open(dir string, o Options) (store.Engine, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	release, err := lock(dir)
	if err != nil {
		return nil, err
	}
	err = check(dir, o.Create, o.Durable)
	if err = errors.Join(err, release()); err != nil {
		return nil, err
	}
	db, err := badger.Open(optionsOf(dir, o))
	if errors.Is(err, badger.ErrEncryptionKeyMismatch) { // nothing is encrypted
		return nil, corrupt(filepath.Join(dir, badger.KeyRegistryFileName), "is damaged")
	}
	if err != nil {
		return nil, err
	}
	return &engine{db: db, dir: dir}, nil
}

func corrupt(file, what string) error {
	return fault.Of(store.ErrCorrupt, "%s %s: run weft doctor", file, what)
}

func (e *engine) Limits() store.Limits { return store.Limits{Bytes: txBytes, Puts: txPuts} }

func (e *engine) Charge(key, value []byte) int { return len(key) + len(value) }

func (e *engine) Apply(w *store.Writes) error {
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	for put := range w.All() {
		var err error
		if put.Deleted {
			err = txn.Delete(put.Key)
		} else {
			err = txn.SetEntry(badger.NewEntry(put.Key, put.Value))
		}
		if err != nil {
			return err
		}
	}
	if err := txn.SetEntry(badger.NewEntry(endKey, nil)); err != nil {
		return err
	}
	return txn.Commit()
}

func (e *engine) Sync() error { return e.db.Sync() }

// Position is the version of the newest transaction.
func (e *engine) Position() uint64 {
	txn := e.db.NewTransaction(false)
	defer txn.Discard()
	return txn.ReadTs()
}

func (e *engine) Close() error { return e.db.Close() }

func (e *engine) Size() (int64, error) { return sizeOf(e.dir) }

func (e *engine) Compact(ctx context.Context, exclusive func(func() error) error) error {
	// DropPrefix of a prefix that no key has saves the memtable; badger has no other
	// call for it.
	err := exclusive(func() error { return e.db.DropPrefix([]byte("!badger-none")) })
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = e.db.Flatten(1)
	}
	for err == nil {
		if err = e.db.RunValueLogGC(0.3); err == nil {
			err = ctx.Err()
		}
	}
	if errors.Is(err, badger.ErrNoRewrite) {
		return nil
	}
	return err
}

func (e *engine) Snapshot() (store.EngineView, error) {
	return view{e, e.db.NewTransaction(false)}, nil
}

// hurt returns an ErrCorrupt if what was found damaged touches a range of keys.
// Badger takes a block of a table that it cannot read for one without keys.
func (e *engine) hurt(lower, upper []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.damage {
		if (d.Upper == nil || bytes.Compare(lower, d.Upper) < 0) && (upper == nil || bytes.Compare(d.Lower, upper) < 0) {
			return d.Err
		}
	}
	return nil
}

type view struct {
	e   *engine
	txn *badger.Txn
}

func (v view) Release() { v.txn.Discard() }

func (v view) Get(key []byte) ([]byte, error) {
	if err := v.e.hurt(key, append(key[:len(key):len(key)], 0)); err != nil {
		return nil, err
	}
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, v.e.unreadable(err)
	}
	value, err := item.ValueCopy(nil)
	return value, v.e.unreadable(err)
}

func (e *engine) unreadable(err error) error {
	if err == nil {
		return nil
	}
	return fault.Of(store.ErrCorrupt, "%s holds what cannot be read: run weft doctor (%w)", e.dir, err)
}

func (v view) Iterate(r store.Range) (store.EngineIterator, error) {
	if err := v.e.hurt(r.Lower, r.Upper); err != nil {
		return nil, err
	}
	o := badger.IteratorOptions{Reverse: r.Reverse}
	if !r.Reverse && r.Upper != nil && bytes.Equal(store.PrefixEnd(r.Lower), r.Upper) {
		o.Prefix = r.Lower
	}
	return &iterator{e: v.e, it: v.txn.NewIterator(o), r: r}, nil
}

type iterator struct {
	e  *engine
	it *badger.Iterator
	r  store.Range
	k  []byte // nil when not at a key of the range
}

func (i *iterator) Seek(key []byte) {
	switch {
	case key != nil:
		i.it.Seek(key)
	case i.r.Reverse && i.r.Upper != nil:
		i.it.Seek(i.r.Upper)
		if i.it.Valid() && bytes.Equal(i.it.Item().Key(), i.r.Upper) {
			i.it.Next()
		}
	case i.r.Reverse || i.r.Lower == nil:
		i.it.Rewind()
	default:
		i.it.Seek(i.r.Lower)
	}
	i.load()
}

func (i *iterator) Next() {
	i.it.Next()
	i.load()
}

func (i *iterator) load() {
	i.k = nil
	if i.it.Valid() && bytes.Equal(i.it.Item().Key(), endKey) {
		i.it.Next()
	}
	if !i.it.Valid() {
		return
	}
	k := i.it.Item().Key()
	switch {
	case i.r.Reverse && bytes.Compare(k, i.r.Lower) < 0:
	case !i.r.Reverse && i.r.Upper != nil && bytes.Compare(k, i.r.Upper) >= 0:
	default:
		i.k = k
	}
}

func (i *iterator) Valid() bool { return i.k != nil }
func (i *iterator) Key() []byte { return i.k }
func (i *iterator) Err() error  { return nil } // badger's walks have none
func (i *iterator) Close()      { i.it.Close() }

func (i *iterator) Value(buf []byte) ([]byte, error) {
	v, err := i.it.Item().ValueCopy(buf[:0])
	return v, i.e.unreadable(err)
}

// found keeps a damage that Verify found, so that reads there are errors.
func (e *engine) found(d store.Damage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.ContainsFunc(e.damage, func(o store.Damage) bool { return o.File == d.File && bytes.Equal(o.Lower, d.Lower) }) {
		e.damage = append(e.damage, d)
	}
}
