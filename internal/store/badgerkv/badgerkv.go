// Package badgerkv is the engine over badger, with the options of ipfs/go-ds-badger:
// the files are the same, but that each value has a checksum behind it.
// Its value log is the write-ahead log; short values are also in the tree, which
// makes old log files garbage that it removes in the background.
//
//	badgerkv.go   opening, and the map
//	check.go      what must be there, before badger opens it
//	sum.go        the checksum of a value
//	reads.go      reads of what is damaged
//	verify.go     reading everything
//	salvage.go    taking out of a damaged store what can be read
//	vlog.go       the files of the value log
//	table.go      the files of the tree
//	log.go        badger's messages, and its waits for room on the disk
//	collect.go    giving disk space back
package badgerkv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger"
	"github.com/dgraph-io/badger/options"
	badgerds "github.com/ipfs/go-ds-badger"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

const (
	tableSize   = 16 << 20 // bytes of a memtable and of a table
	recoverSize = 96 << 20 // bytes of the memtable after a crash: all that can wait to be saved
	logSize     = 32 << 20 // bytes of a value log file
	pile        = 8        // tables at level 0 that a close merges
	ahead       = 1 << 20  // bytes of room taken in a log file at once
	inline      = 4 << 10  // values this long or longer stay in the value log

	// A transaction's limits keep below badger's own, which are 15% of
	// tableSize for the bytes and, of that, one put per 96 bytes; a put costs
	// up to 12 bytes more than its key and value.
	txBytes = 2 << 20
	txPuts  = 24_000
)

type engine struct {
	db  *badger.DB
	dir string
	say *messages

	applying sync.Mutex // held while a transaction is written
	log      uint32     // the number of the last log file; under applying
	room     uint64     // the position up to which the last log file has room; under applying
	position atomic.Uint64

	committed atomic.Int64    // bytes
	tidied    int64           // of these, when log files were last removed; under gcMu
	checked   map[uint32]bool // log files that were read to their ends; under gcMu
	gcMu      sync.Mutex      // held by what removes log files
	stop      context.CancelFunc
	tending   sync.WaitGroup
}

// optionsOf is go-ds-badger's choice with ours. Its own NewDatastore would send
// badger's messages to a logger of the whole process, past Logf.
func optionsOf(dir string, table int64, say *messages) badger.Options {
	o := badgerds.DefaultOptions.Options
	o.Dir, o.ValueDir = dir, dir
	o.Logger = say
	o.SyncWrites = false
	o.Truncate = true // of a last write that was interrupted: check saw no other
	o.VerifyValueChecksum = true
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
	o.BypassLockGuard = holdsLock // badger would write to the file
	return o
}

// Options tunes the engine. The zero value suits a store that is there.
type Options struct {
	// Create makes an empty store if none is there; otherwise that is ErrCorrupt.
	Create bool
	// Durable is the position that the store had reached: if it is not there, that is
	// ErrCorrupt. 0: not known.
	Durable uint64
	// Logf receives warnings and errors, badger's too; nil discards them.
	Logf  func(format string, args ...any)
	Space *store.Space // of the disk; nil: nobody watches it
}

// Open opens the engine in dir, which exists. What is damaged there is ErrCorrupt,
// and left as it is. On a full disk nothing has to be written.
func Open(dir string, o Options) (eng store.Engine, err error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	release, err := lock(dir)
	if err != nil {
		return nil, err
	}
	say := newMessages(dir, o, release)
	defer func() {
		if err != nil {
			err = errors.Join(err, say.released())
		}
	}()
	f, err := check(dir, o.Create, o.Durable)
	if err != nil {
		return nil, err
	}
	table, err := recovered(dir, f.unsaved, say)
	if err != nil {
		return nil, err
	}
	opt := optionsOf(dir, table, say)
	opt.CompactL0OnClose = f.piled
	e := &engine{dir: dir, say: say, log: f.log, checked: make(map[uint32]bool)}
	if e.db, err = openBadger(opt, say); err != nil {
		return nil, err
	}
	// A process that was killed may have left the end of its log unsynced: it counts as
	// durable from now on.
	if err := errors.Join(e.sameTables(f), e.db.Sync(), e.findEnd()); err != nil {
		return nil, errors.Join(err, closeBadger(e.db, say))
	}
	say.hasty.Store(false)
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.tending.Go(func() { e.tend(ctx) })
	return e, nil
}

// recovered saves what the log has and no table, if that is enough to fill a memtable,
// and returns the size of memtable to go on with: without room to save it, one that holds
// all of it. Badger's replay may split a transaction between two memtables and then save
// the first with a log position behind the whole: a crash after that would leave half of
// the transaction. So such a log is replayed into one memtable, and saved by a close.
func recovered(dir string, unsaved int64, say *messages) (table int64, err error) {
	if unsaved <= tableSize/3 {
		return tableSize, nil
	}
	db, err := openBadger(optionsOf(dir, recoverSize, say), say)
	if err == nil {
		err = closeBadger(db, say)
	}
	if say.unsaved.Swap(false) {
		return recoverSize, err
	}
	return tableSize, err
}

func openBadger(o badger.Options, say *messages) (*badger.DB, error) {
	return bounded(say, func() (*badger.DB, error) { return badger.Open(o) }, func(db *badger.DB, err error) {
		if err == nil {
			_ = db.Close() // nobody waits for it
		}
	})
}

// closeBadger closes badger. What it could not save, the log has, and the next opening
// finds it there.
func closeBadger(db *badger.DB, say *messages) error {
	say.hasty.Store(true)
	if say.stuck.Load() { // nor can it be closed
		return say.failure()
	}
	_, err := bounded(say, func() (struct{}, error) { return struct{}{}, db.Close() }, func(struct{}, error) {})
	return errors.Join(say.failure(), err)
}

func (e *engine) Limits() store.Limits { return store.Limits{Bytes: txBytes, Puts: txPuts} }

// Charge counts a value that stays in the value log at a quarter: there only
// memory bounds it.
func (e *engine) Charge(key, value []byte) int {
	n := len(value) + sumSize
	if n >= inline {
		n = (n + 3) / 4
	}
	return len(key) + n
}

// Position is the end of the log: the number of the last file, and its size in the
// lower 32 bits.
func (e *engine) Position() uint64 { return e.position.Load() }

// findEnd notes how far the log goes; applying is held, or nobody knows the engine.
func (e *engine) findEnd() error {
	for {
		if _, err := os.Stat(logName(e.dir, e.log+1)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		e.log++
	}
	fi, err := os.Stat(logName(e.dir, e.log))
	if err != nil {
		return err
	}
	e.position.Store(uint64(e.log)<<32 | uint64(fi.Size()))
	return nil
}

// moved finds the last log file again, after badger itself has written to the log and
// may have removed files since.
func (e *engine) moved() error {
	e.applying.Lock()
	defer e.applying.Unlock()
	ids, err := logFiles(e.dir)
	if err == nil && len(ids) > 0 {
		e.log = ids[len(ids)-1]
		err = e.findEnd()
	}
	return err
}

// haveRoom takes room in the last log file for n bytes, and more so as to ask seldom.
// A write of badger's that fails half way is the end of a store until it is reopened.
//
// Like pebble's, it may use the reserve: who must not was refused before.
func (e *engine) haveRoom(n int64) error {
	err := e.takeRoom(n)
	if fault.NoRoom(err) && e.say.space.Yield() {
		err = e.takeRoom(n)
	}
	if fault.NoRoom(err) {
		return store.DiskFull(e.dir)
	}
	return err
}

func (e *engine) takeRoom(n int64) error {
	at := e.position.Load()
	if e.room>>32 == at>>32 && at+uint64(n) <= e.room {
		return nil
	}
	name, from := logName(e.dir, uint32(at>>32)), int64(uint32(at))
	more := n + ahead
	err := allocate(name, from, more)
	if err != nil {
		more = n
		err = allocate(name, from, more)
	}
	if err == nil {
		e.room = at + uint64(more)
	}
	return err
}

// Apply refuses while badger cannot save what it has in memory: it would wait for
// room on the disk.
func (e *engine) Apply(w *store.Writes) error {
	if err := cmp.Or(e.say.failure(), e.say.full()); err != nil {
		return err
	}
	e.applying.Lock()
	defer e.applying.Unlock()
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	entries := make([]badger.Entry, w.Len())
	values := 0
	for put := range w.All() {
		values += len(put.Value) + sumSize
	}
	stored := make([]byte, 0, values) // one piece of memory, until badger has written all
	i, size := 0, int64(0)
	for put := range w.All() {
		size += int64(len(put.Key) + len(put.Value) + sumSize)
		var err error
		if put.Deleted {
			err = txn.Delete(put.Key)
		} else {
			from := len(stored)
			stored = withSum(stored, put.Key, put.Value)
			entries[i].Key, entries[i].Value = put.Key, stored[from:]
			err = txn.SetEntry(&entries[i])
			i++
		}
		if err != nil {
			return err
		}
	}
	if err := e.haveRoom(size + int64(w.Len()+1)*64); err != nil {
		return err
	}
	e.committed.Add(size)
	if err := e.commit(txn); err != nil {
		return err // final, and no ErrDiskFull: it may be written in part
	}
	return e.findEnd()
}

// commit commits a transaction, and does not wait for one that badger cannot end.
func (e *engine) commit(txn *badger.Txn) error {
	done := make(chan error, 1)
	txn.CommitWith(func(err error) { done <- err })
	var err error
	select {
	case err = <-done:
		// badger tells its logger too, but maybe after the next write, at which it would
		// look for a log file that could not be made.
		if err != nil && !errors.Is(err, badger.ErrBlockedWrites) {
			e.say.fail(e.say.unwritable(err))
		}
	case <-e.say.gone:
	}
	return cmp.Or(e.say.failure(), err)
}

// Full is why Apply refuses: badger waits for room for what it has in memory, which may be
// more than a disk has that is not full.
func (e *engine) Full() error { return e.say.full() }

func (e *engine) Sync() error {
	if err := e.say.failure(); err != nil {
		return err
	}
	return e.db.Sync()
}

func (e *engine) Close() error {
	e.stop()
	e.tending.Wait()
	err := e.tidy(context.Background(), 1)
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrDiskFull) { // nothing was moved
		e.say.logf("removing old log files of %s: %v", e.dir, err)
		err = nil
	}
	// The tables that a close saves must not know more of the log than the disk has.
	return errors.Join(err, e.Sync(), closeBadger(e.db, e.say), e.say.released())
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
	return view{e, e.db.NewTransaction(false)}, nil
}

type view struct {
	e   *engine
	txn *badger.Txn
}

func (v view) Release() { v.txn.Discard() }

func (v view) Get(key []byte) (value []byte, err error) {
	defer v.e.caught(debug.SetPanicOnFault(true), &err)
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, v.e.unreadable(err)
	}
	return v.e.valueOf(item, nil)
}

// Iterate never prefetches: badger would start a goroutine for each value, and
// short ones are in the tree.
func (v view) Iterate(r store.Range) (it store.EngineIterator, err error) {
	defer v.e.caught(debug.SetPanicOnFault(true), &err)
	o := badger.IteratorOptions{Reverse: r.Reverse, Prefix: commonPrefix(r)}
	return &iterator{e: v.e, it: v.txn.NewIterator(o), r: r}, nil
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
	e   *engine
	it  *badger.Iterator
	r   store.Range
	k   []byte // nil when not at a key of the range
	err error
}

func (i *iterator) Seek(key []byte) {
	i.k = nil
	defer i.e.caught(debug.SetPanicOnFault(true), &i.err)
	switch {
	case i.err != nil:
		return
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
	i.k = nil
	defer i.e.caught(debug.SetPanicOnFault(true), &i.err)
	i.it.Next()
	i.load()
}

func (i *iterator) load() {
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
func (i *iterator) Close()      { i.it.Close() }

// Err reports a table that could not be read. Badger's walks have no errors of their
// own, and end where what they read is no table.
func (i *iterator) Err() error { return i.err }

func (i *iterator) Value(buf []byte) ([]byte, error) {
	return i.e.valueOf(i.it.Item(), buf)
}
