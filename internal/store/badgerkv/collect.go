package badgerkv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger"
)

// Compact merges the tree, saves the memtable, starts a new log file if the
// current one is large, and then removes the log files without live values.
func (e *engine) Compact(ctx context.Context, exclusive func(func() error) error) error {
	e.gcMu.Lock()
	defer e.gcMu.Unlock()
	if err := e.db.Flatten(1); err != nil {
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
	if err := e.db.Flatten(1); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(e.dir, "*.vlog"))
	if err != nil {
		return err
	}
	return e.collect(ctx, 3+2*len(names))
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
	if !e.gcMu.TryLock() {
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
	last, err := e.lastLog()
	if err != nil {
		return err
	}
	fill := int64(0)
	if last > 1<<20 {
		fill = logSize + 1 - last
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
		return err
	}
	return e.moved()
}

func (e *engine) pad(p []byte) error {
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.SetEntry(&badger.Entry{Key: []byte(padKey), Value: p, ExpiresAt: 1}); err != nil {
		return err
	}
	return txn.Commit()
}

// lastLog returns the size of the log file that is being written.
func (e *engine) lastLog() (int64, error) {
	entries, err := os.ReadDir(e.dir) // sorted by name, which is the number
	if err != nil {
		return 0, err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if strings.HasSuffix(entries[i].Name(), ".vlog") {
			fi, err := entries[i].Info()
			if err != nil {
				return 0, err
			}
			return fi.Size(), nil
		}
	}
	return 0, nil
}

// collect rewrites log files that are 30% garbage or more, until badger refuses
// limit times in a row: it chooses a file by its statistics or by lot, so that
// one refusal says little. The caller holds gcMu.
func (e *engine) collect(ctx context.Context, limit int) error {
	if err := e.checkedLogs(ctx); err != nil {
		return err
	}
	for misses := 0; misses < limit; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.db.RunValueLogGC(0.3)
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
