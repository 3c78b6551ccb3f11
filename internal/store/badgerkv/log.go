package badgerkv

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// patience is how long badger may take to end what it does after something of it has
// failed for good.
const patience = 5 * time.Second

// again is when a flush is tried again that found the disk full.
const again = 100 * time.Millisecond

// What badger says when it cannot or will do something. It says it in the goroutine
// that does it, with no lock held, and goes on when the call returns.
const (
	sayFlushes   = "Storing value log head: "
	sayNoFlush   = "Failure while flushing memtable to disk: " // and tries again, for ever
	sayNoWrite   = "writeRequests: "                           // where the log ends is not what badger takes it for
	sayMerges    = "Got compaction priority: "
	manifestRoom = 64 << 10 // bytes of room taken for MANIFEST at once
)

// messages takes badger's messages: warnings and errors go to logf. It is also where
// badger can be stopped: an error of a write that it would tell nobody, a merge of what
// is damaged, and work that waits for room on the disk while the engine closes.
type messages struct {
	dir   string
	logf  func(format string, args ...any)
	space *store.Space
	// release gives the lock of the folder back.
	release func() error

	failed  atomic.Pointer[error] // why nothing is written until the store is opened again
	gone    chan struct{}         // closed then
	hasty   atomic.Bool           // opening or closing: nothing waits for room
	unsaved atomic.Bool           // what is in memory was not saved, for want of room
	stuck   atomic.Bool           // badger has not ended what it was told to
	waits   atomic.Int32          // how many wait for room
	last    atomic.Int64          // when a flush last failed for want of room, in nanoseconds of the clock
}

func newMessages(dir string, o Options, release func() error) *messages {
	m := &messages{dir: dir, logf: o.Logf, space: o.Space, release: release, gone: make(chan struct{})}
	m.hasty.Store(true)
	return m
}

func (m *messages) Debugf(format string, _ ...any) {
	if strings.HasPrefix(format, sayFlushes) {
		for err := m.manifestGrows(); err != nil; err = m.manifestGrows() {
			m.noRoom(err)
		}
	}
}

func (m *messages) Infof(format string, _ ...any) {
	if !strings.HasPrefix(format, sayMerges) {
		return
	}
	if m.manifestGrows() != nil {
		m.space.Wait() // the tables of the merge would have no room either
	}
	if err := m.mergeable(); err != nil {
		m.logf("tables of %s are not merged: %v", m.dir, err)
		m.fail(err)
		runtime.Goexit()
	}
}

func (m *messages) Warningf(format string, args ...any) {
	m.logf("badger: %s", strings.TrimSpace(fmt.Sprintf(format, args...)))
	if err := errorOf(args); err != nil {
		removeTable(err)
	}
}

func (m *messages) Errorf(format string, args ...any) {
	err := errorOf(args)
	if strings.HasPrefix(format, sayNoFlush) && fault.NoRoom(err) {
		m.logf("the store in %s waits for room to save what it has in memory: %v", m.dir, err)
		removeTable(err)
	} else {
		m.Warningf(format, args...)
	}
	switch {
	case err == nil:
	case strings.HasPrefix(format, sayNoWrite):
		m.fail(m.unwritable(err))
	case !strings.HasPrefix(format, sayNoFlush):
	case fault.NoRoom(err):
		m.noRoom(err)
	default:
		m.fail(m.unwritable(err))
		runtime.Goexit()
	}
}

func errorOf(args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return nil
}

// released lets others have the folder, unless badger may still write to it: then
// nobody has it until the process ends.
func (m *messages) released() error {
	if m.stuck.Load() {
		return nil
	}
	return m.release()
}

// removeTable removes what was written of a table, which badger leaves.
func removeTable(err error) {
	if p, ok := errors.AsType[*fs.PathError](err); ok && p.Op == "write" && filepath.Ext(p.Path) == ".sst" {
		_ = errors.Join(os.Truncate(p.Path, 0), os.Remove(p.Path)) // best effort
	}
}

// fail ends all writing, with the first reason.
func (m *messages) fail(err error) {
	if m.failed.CompareAndSwap(nil, &err) {
		close(m.gone)
	}
}

// failure returns why nothing is written until the store is opened again, or nil.
func (m *messages) failure() error {
	if p := m.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// unwritable is the error of a write that is final.
func (m *messages) unwritable(err error) error {
	switch kind := fault.KindOf(err); {
	case fault.NoRoom(err):
		return fault.Errorf(fault.DiskFull, "the disk that holds %s was full in the middle of a write: free some space and start again (%w)", m.dir, err)
	case kind == fault.PermissionDenied:
		return fault.Errorf(kind, "the store in %s may not be written: %w", m.dir, err)
	}
	return fault.Errorf(fault.Internal, "the store in %s cannot be written, look after its disk and start again: %w", m.dir, err)
}

// noRoom is told that a flush found the disk full. It returns when the flush may be
// tried again. While the engine opens or closes that is once, if the reserve makes room;
// else the goroutine of the flush ends: the log has all that it was to save.
func (m *messages) noRoom(err error) {
	if m.hasty.Load() {
		if m.space.Yield() {
			return
		}
		m.logf("what is in the log of %s is not saved in tables: %v", m.dir, err)
		m.unsaved.Store(true)
		runtime.Goexit()
	}
	m.waits.Add(1)
	m.space.Wait()
	time.Sleep(again)
	m.last.Store(time.Now().UnixNano())
	m.waits.Add(-1)
}

// full returns ErrDiskFull while flushes fail for want of room.
func (m *messages) full() error {
	if m.waits.Load() > 0 || m.unsaved.Load() {
		return store.DiskFull(m.dir)
	}
	// Badger tries once a second, and does not tell when it succeeds.
	if last := m.last.Load(); last != 0 && time.Since(time.Unix(0, last)) < 3*time.Second {
		return store.DiskFull(m.dir)
	}
	return nil
}

// manifestGrows takes room for what badger adds to MANIFEST: a change that is written in
// part is damage.
func (m *messages) manifestGrows() error {
	name := filepath.Join(m.dir, badger.ManifestFilename)
	fi, err := os.Stat(name)
	if err == nil {
		err = allocate(name, fi.Size(), manifestRoom)
	}
	if fault.NoRoom(err) {
		return err
	}
	return nil // of another error badger's own write tells
}

// mergeable returns ErrCorrupt if a table was cut since it was opened: badger would
// touch what is not there any more, and that ends the process.
func (m *messages) mergeable() error {
	manifest, err := readManifest(filepath.Join(m.dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	for id := range manifest.Tables {
		t, err := openTable(m.dir, id)
		if errors.Is(err, errDamaged) || errors.Is(err, io.EOF) {
			return unreadable(tableName(m.dir, id), err)
		}
		if err == nil {
			_ = t.f.Close() // it was read
		}
	}
	return nil
}

// bounded runs f, which ends late or never after something of badger's has failed: then
// it gives up after a while, with the reason. What f returns after that goes to late.
func bounded[T any](m *messages, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		ended := true
		defer func() {
			if ended {
				r.err = cmp.Or(m.failure(), store.DiskFull(m.dir))
			}
			done <- r
		}()
		r.v, r.err = f()
		ended = false
	}()
	var timeout <-chan time.Time
	gone := m.gone
	for {
		select {
		case r := <-done:
			return r.v, r.err
		case <-gone:
			timer := time.NewTimer(patience)
			defer timer.Stop()
			gone, timeout = nil, timer.C
		case <-timeout:
			m.stuck.Store(true)
			go func() {
				r := <-done
				late(r.v, r.err)
			}()
			var none T
			return none, m.failure()
		}
	}
}
