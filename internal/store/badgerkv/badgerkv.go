// Package badgerkv is the engine over badger, opened through ipfs/go-ds-badger.
// Its value log is the write-ahead log; short values are also in the tree, which
// makes old log files garbage that it removes in the background.
//
//	badgerkv.go   opening, and the map
//	collect.go    giving disk space back
package badgerkv

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger"
	"github.com/dgraph-io/badger/options"
	badgerds "github.com/ipfs/go-ds-badger"

	"github.com/weftdb/weft/internal/store"
)

const (
	tableSize   = 16 << 20 // bytes of a memtable and of a table
	recoverSize = 96 << 20 // bytes of the memtable after a crash: all that can wait to be saved
	logSize     = 32 << 20 // bytes of a value log file
	pile        = 8        // tables at level 0 that a close merges
	inline      = 4 << 10  // values this long or longer stay in the value log

	// A transaction's limits keep below badger's own, which are 15% of
	// tableSize for the bytes and, of that, one put per 96 bytes; a put costs
	// up to 12 bytes more than its key and value.
	txBytes = 2 << 20
	txPuts  = 24_000
)

type engine struct {
	ds   *badgerds.Datastore
	db   *badger.DB
	dir  string
	logf func(format string, args ...any)

	written atomic.Int64 // bytes committed
	tidied  int64        // of these, when log files were last removed; under gcMu
	gcMu    sync.Mutex   // held by what removes log files
	stop    context.CancelFunc
	tending sync.WaitGroup
}

func optionsOf(table int64) *badgerds.Options {
	o := badgerds.DefaultOptions
	o.GcInterval = 0 // tend does it
	o.SyncWrites = false
	o.Truncate = true
	o.TableLoadingMode = options.MemoryMap
	o.ValueLogLoadingMode = options.FileIO
	o.MaxTableSize = table
	o.LevelOneSize = 4 * tableSize
	o.NumMemtables = 2
	o.NumCompactors = 1
	// A process that opens and closes the store soon leaves a small table at
	// level 0 and has no time to merge them. Badger makes whoever adds one too
	// many wait for seconds, so a close merges them well before that.
	o.NumLevelZeroTablesStall = 3 * pile
	o.ValueThreshold = inline
	o.ValueLogFileSize = logSize
	o.CompactL0OnClose = false
	o.EventLogging = false
	return &o
}

// Options tunes the engine. The zero value suits production.
type Options struct {
	// Logf receives what the engine has to say of its own; badger's messages go to
	// go-log. nil discards it.
	Logf   func(format string, args ...any)
	Create bool         // a store that is not there is made; else it is ErrCorrupt
	Space  *store.Space // of the disk; nil: nobody watches it
}

// Open opens the engine in dir, which exists.
func Open(dir string, o Options) (store.Engine, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if crashed(dir) {
		ds, err := badgerds.NewDatastore(dir, optionsOf(recoverSize))
		if err != nil {
			return nil, err
		}
		if err := ds.Close(); err != nil {
			return nil, err
		}
	}
	opt := optionsOf(tableSize)
	opt.CompactL0OnClose = piled(dir)
	ds, err := badgerds.NewDatastore(dir, opt)
	if err != nil {
		return nil, err
	}
	e := &engine{ds: ds, db: ds.DB, dir: dir, logf: o.Logf}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.tending.Go(func() { e.tend(ctx) })
	return e, nil
}

// piled reports whether tables have piled up at level 0. A manifest that can
// not be read is for the opening to report.
func piled(dir string) bool {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return false
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f)
	return err == nil && len(m.Levels) > 0 && len(m.Levels[0].Tables) >= pile
}

// crashed reports whether the store in dir was not closed and has enough log
// to fill a memtable. Badger's replay may split a transaction between two
// memtables and then save the first with a log position behind the whole: a
// second crash would leave half of the transaction. So such a log is replayed
// into one memtable that holds all of it, and saved by a close.
func crashed(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		return false
	}
	var logged int64
	names, _ := filepath.Glob(filepath.Join(dir, "*.vlog")) // the pattern is well formed
	for _, name := range names {
		if fi, err := os.Stat(name); err == nil {
			logged += fi.Size()
		}
	}
	return logged > tableSize/3
}

func (e *engine) Limits() store.Limits { return store.Limits{Bytes: txBytes, Puts: txPuts} }

// Charge counts a value that stays in the value log at a quarter: there only
// memory bounds it.
func (e *engine) Charge(key, value []byte) int {
	if len(value) >= inline {
		return len(key) + (len(value)+3)/4
	}
	return len(key) + len(value)
}

func (e *engine) Apply(w *store.Writes) error {
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	entries := make([]badger.Entry, w.Len())
	i, size := 0, int64(0)
	for put := range w.All() {
		size += int64(len(put.Key) + len(put.Value))
		var err error
		if put.Deleted {
			err = txn.Delete(put.Key)
		} else {
			entries[i].Key, entries[i].Value = put.Key, put.Value
			err = txn.SetEntry(&entries[i])
			i++
		}
		if err != nil {
			return err
		}
	}
	e.written.Add(size)
	return txn.Commit()
}

func (e *engine) Sync() error { return e.db.Sync() }

// Position returns the time of the last commit.
func (e *engine) Position() uint64 {
	txn := e.db.NewTransaction(false)
	defer txn.Discard()
	return txn.ReadTs()
}

// Verify checks nothing yet.
func (e *engine) Verify(func(n int) error, func(store.Damage)) error { return nil }

func (e *engine) Close() error {
	e.stop()
	e.tending.Wait()
	err := e.tidy(context.Background(), 1)
	return errors.Join(err, e.ds.Close())
}

func (e *engine) Size() (int64, error) {
	var total int64
	err := filepath.WalkDir(e.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == store.ReserveFile {
			return ignoreGone(err)
		}
		fi, err := d.Info()
		if err == nil {
			total += fi.Size()
		}
		return ignoreGone(err)
	})
	return total, err
}

// ignoreGone drops the error of a file that was removed during a walk.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (e *engine) Snapshot() (store.EngineView, error) {
	return view{e.db.NewTransaction(false)}, nil
}

type view struct{ txn *badger.Txn }

func (v view) Release() { v.txn.Discard() }

func (v view) Get(key []byte) ([]byte, error) {
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// Iterate never prefetches: badger would start a goroutine for each value, and
// short ones are in the tree.
func (v view) Iterate(r store.Range) (store.EngineIterator, error) {
	o := badger.IteratorOptions{Reverse: r.Reverse, Prefix: commonPrefix(r)}
	return &iterator{it: v.txn.NewIterator(o), r: r}, nil
}

// commonPrefix returns what all keys of r begin with. In reverse it must also
// be a prefix of Upper, where the walk begins.
func commonPrefix(r store.Range) []byte {
	if r.Upper == nil {
		return nil
	}
	if !r.Reverse && bytes.Equal(store.PrefixEnd(r.Lower), r.Upper) {
		return r.Lower
	}
	n := 0
	for n < min(len(r.Lower), len(r.Upper)) && r.Lower[n] == r.Upper[n] {
		n++
	}
	return r.Lower[:n]
}

type iterator struct {
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
	return i.it.Item().ValueCopy(buf[:0])
}

// Salvage is to come.
func Salvage(context.Context, string, func(key, value []byte) error) ([]store.Damage, error) {
	return nil, errors.New("not yet")
}
