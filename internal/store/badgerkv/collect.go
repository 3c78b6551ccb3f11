package badgerkv

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Compact merges the tree, saves the memtable, starts a new log file if the
// current one is large, and then removes the log files without live values.
func (e *engine) Compact(ctx context.Context, exclusive func(func() error) error) error {
	e.gcMu.Lock()
	defer e.gcMu.Unlock()
	if err := cmp.Or(e.say.failure(), e.say.full()); err != nil {
		return err
	}
	if err := e.flatten(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := exclusive(e.rotate); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.flatten(); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(e.dir, "*.vlog"))
	if err != nil {
		return err
	}
	return e.collect(ctx, 3+2*len(names))
}

// flatten merges the tables to one level.
func (e *engine) flatten() error {
	if err := e.say.mergeable(); err != nil {
		e.say.fail(err)
		return err
	}
	_, err := bounded(e.say, func() (struct{}, error) { return struct{}{}, e.db.Flatten(1) }, func(struct{}, error) {})
	if err != nil && fault.NoRoom(err) {
		return store.DiskFull(e.dir)
	}
	return err
}

// tend removes log files in the background, after one file's worth of commits
// when the store is idle, after eight when it is not. A close does so too.
func (e *engine) tend(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	var seen int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, files := e.committed.Load(), int64(1)
		if n != seen {
			files = 8
		}
		seen = n
		if err := e.tidy(ctx, files); err != nil && ctx.Err() == nil {
			e.say.logf("removing old log files of %s: %v", e.dir, err)
		}
	}
}

// tidy removes log files if that many were filled since the last time, unless
// another caller does so now.
func (e *engine) tidy(ctx context.Context, files int64) error {
	if e.say.failure() != nil || e.say.full() != nil || !e.gcMu.TryLock() {
		return nil
	}
	defer e.gcMu.Unlock()
	n := e.committed.Load()
	if n-e.tidied < files*logSize {
		return nil
	}
	e.tidied = n
	return e.collect(ctx, 5)
}

// padKey holds bytes that only fill a log file. It is in the space that
// validKey keeps from callers, and is written expired, so that nothing sees it.
const padKey = "!badger-pad"

// rotate moves the end of the log to a new file and saves the memtable.
func (e *engine) rotate() error {
	sizes, err := e.logSizes()
	if err != nil {
		return err
	}
	all, fill := int64(0), int64(0)
	for i, size := range sizes {
		all += size
		if i == len(sizes)-1 && size > 1<<20 {
			fill = logSize + 1 - size
		}
	}
	// Half of this done would be the end of the store until it is reopened.
	unsaved := min(recoverSize, all)
	if err := cmp.Or(e.say.space.Holds(fill+unsaved), e.reserveLog(fill+2<<20)); err != nil {
		return err
	}
	if err := e.say.manifestGrows(); err != nil {
		return store.DiskFull(e.dir)
	}
	pad := make([]byte, 1<<20)
	for ; fill > 0; fill -= int64(len(pad)) {
		if err := e.pad(pad); err != nil {
			return err
		}
	}
	if err := e.pad(nil); err != nil {
		return err
	}
	// DropPrefix of a prefix that no key has saves the memtable; badger has no
	// other call for it.
	if err := e.db.DropPrefix([]byte("!badger-none")); err != nil {
		e.say.fail(e.say.unwritable(err))
		return e.say.failure()
	}
	return e.moved()
}

// reserveLog takes room in the log for what badger itself writes there.
func (e *engine) reserveLog(n int64) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	return e.haveRoom(n)
}

func (e *engine) pad(p []byte) error {
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.SetEntry(&badger.Entry{Key: []byte(padKey), Value: p, ExpiresAt: 1}); err != nil {
		return err
	}
	return e.commit(txn)
}

// logSizes returns the sizes of the log files, in order.
func (e *engine) logSizes() ([]int64, error) {
	ids, err := logFiles(e.dir)
	var sizes []int64
	for _, id := range ids {
		fi, err := os.Stat(logName(e.dir, id))
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, fi.Size())
	}
	return sizes, err
}

// collect rewrites log files that are 30% garbage or more, until badger refuses
// limit times in a row: it chooses a file by its statistics or by lot, so that
// one refusal says little. The caller holds gcMu.
func (e *engine) collect(ctx context.Context, limit int) error {
	if err := e.checkedLogs(ctx); err != nil {
		return err
	}
	sizes, err := e.logSizes()
	if err != nil || len(sizes) == 0 {
		return err
	}
	// A move that was written in part is the end of the store until it is reopened.
	if err := e.say.space.Holds(slices.Max(sizes)); err != nil {
		return err
	}
	for misses := 0; misses < limit; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.collectOne()
		switch {
		case err == nil:
			misses = 0
			if err := e.moved(); err != nil {
				return err
			}
		case errors.Is(err, badger.ErrNoRewrite):
			misses++
		default:
			return err
		}
	}
	return nil
}

// collectOne rewrites one log file, or returns badger.ErrNoRewrite.
func (e *engine) collectOne() error {
	_, err := bounded(e.say, func() (_ struct{}, err error) {
		defer e.caught(debug.SetPanicOnFault(true), &err)
		return struct{}{}, e.db.RunValueLogGC(0.3)
	}, func(struct{}, error) {})
	return err
}
