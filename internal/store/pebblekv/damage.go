package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// openError says what pebble found wrong with a store that was there. What is not
// the machine's (a lock, a full disk, a folder that may not be entered) is damage:
// pebble reads its files with errors of many kinds.
func openError(dir string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return fault.Of(store.ErrCorrupt, "%s has lost its MANIFEST: run weft doctor", dir)
	case errors.As(err, &errno) && errno != syscall.ENOENT, strings.Contains(err.Error(), "lock held"):
		return err
	}
	return fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (%s)", dir, plain(err))
}

// plain returns what pebble says without the names of its packages.
func plain(err error) string {
	return strings.NewReplacer("pebble/record: unexpected EOF", "a record is cut short or altered", "pebble/record: ", "", "pebble: ", "").Replace(err.Error())
}

// isCorruption reports whether pebble met bytes that are not what it wrote. Its
// readers of records have errors of their own for it.
func isCorruption(err error) bool {
	return pebble.IsCorruptionError(err) || pebble.ExtractDataCorruptionInfo(err) != nil || errors.Is(err, record.ErrInvalidChunk) ||
		errors.Is(err, record.ErrZeroedChunk) || errors.Is(err, record.ErrUnexpectedEOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, io.EOF) // a table that was cut
}

// readError is what a read tells its caller.
func (e *engine) readError(err error) error {
	if err == nil || errors.Is(err, store.ErrCorrupt) || !isCorruption(err) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := e.dir
	if i := pebble.ExtractDataCorruptionInfo(err); i != nil {
		name = i.Path
	}
	return fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor", name)
}

// Verify reads every block of every table, and the MANIFEST. The log is read by
// every opening, and holds what is in memory as well.
func (e *engine) Verify(pace func(n int) error, report func(store.Damage)) error {
	if err := e.guard.failure(); err != nil {
		return err
	}
	levels, err := e.db.SSTables()
	if err != nil {
		return e.readError(err)
	}
	seen := map[string]bool{}
	for _, level := range levels {
		for _, t := range level {
			name := filepath.Join(e.dir, t.BackingSSTNum.String()+".sst")
			if seen[name] {
				continue
			}
			seen[name] = true
			if err := pace(int(t.Size)); err != nil {
				return err
			}
			err := checkTable(e.opt, name)
			if failed := e.guard.failure(); failed != nil {
				return failed // a table may be in memory
			}
			if err == nil || isMissing(err) && !e.holds(name) {
				continue // a table that was merged meanwhile
			}
			report(store.Damage{
				File: name, Lower: append([]byte{}, t.Smallest.UserKey...), Upper: append(append([]byte{}, t.Largest.UserKey...), 0),
				Err: fault.Of(store.ErrCorrupt, "%s is damaged: %v", name, err),
			})
		}
	}
	names, err := filepath.Glob(filepath.Join(e.dir, "MANIFEST-*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := checkManifest(e.opt, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			report(store.Damage{File: name, Err: fault.Of(store.ErrCorrupt, "%s is damaged: %v", name, err)})
		}
		if err := pace(n); err != nil {
			return err
		}
	}
	return nil
}

// isMissing reports whether a file was not there, by itself or as the guard says it.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt)
}

// holds reports whether a table is one of the store's now.
func (e *engine) holds(name string) bool {
	levels, err := e.db.SSTables()
	if err != nil {
		return true
	}
	for _, level := range levels {
		for _, t := range level {
			if filepath.Join(e.dir, t.BackingSSTNum.String()+".sst") == name {
				return true
			}
		}
	}
	return false
}

// openTable opens a table for reading outside of the store.
func openTable(o *pebble.Options, name string) (r *sstable.Reader, err error) {
	f, err := o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, err = sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return nil, err // which closed the file
	}
	return r, nil
}

func checkTable(o *pebble.Options, name string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unreadable: %v", r)
		}
	}()
	r, err := openTable(o, name)
	if err != nil {
		return err
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// checkManifest reads the records of a MANIFEST. Its end may be being written.
func checkManifest(o *pebble.Options, name string) (read int, err error) {
	f, err := o.FS.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for records := record.NewReader(f, 0); ; {
		r, err := records.Next()
		var n int64
		if err == nil {
			n, err = io.Copy(io.Discard, r)
		}
		read += int(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, record.ErrUnexpectedEOF), errors.Is(err, io.ErrUnexpectedEOF):
			return read, nil
		case err != nil:
			return read, err
		}
	}
}
