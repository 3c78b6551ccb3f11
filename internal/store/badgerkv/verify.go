package badgerkv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/store"
)

// Verify reads every table, and compares it with the manifest, and every record of
// the log. What badger removes meanwhile is no damage.
func (e *engine) Verify(pace func(n int) error, report func(store.Damage)) error {
	if err := e.verifyTables(pace, report); err != nil {
		return err
	}
	ids, err := logFiles(e.dir)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.verifyLog(id, pace, report); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) verifyTables(pace func(n int) error, report func(store.Damage)) error {
	name := filepath.Join(e.dir, badger.ManifestFilename)
	m, err := readManifest(name)
	if err != nil {
		report(store.Damage{File: name, Err: err})
		return nil
	}
	ranges := make(map[uint64]badger.TableInfo)
	for _, t := range e.db.Tables(false) {
		ranges[t.ID] = t
	}
	var stopped error
	buf := make([]byte, 256<<10)
	for _, id := range slices.Sorted(maps.Keys(m.Tables)) {
		_, err := checkTable(e.dir, id, m.Tables[id].Checksum, buf, func(n int) error {
			stopped = pace(n)
			return stopped
		})
		if stopped != nil {
			return stopped
		}
		if err == nil {
			continue
		}
		if now, again := readManifest(name); again == nil {
			if _, listed := now.Tables[id]; !listed {
				continue
			}
		}
		d := store.Damage{File: tableName(e.dir, id), Err: unreadable(tableName(e.dir, id), err)}
		if t, ok := ranges[id]; ok && len(t.Left) > versionLn && len(t.Right) > versionLn {
			d.Lower = slices.Clone(t.Left[:len(t.Left)-versionLn])
			d.Upper = append(slices.Clone(t.Right[:len(t.Right)-versionLn]), 0)
		}
		report(d)
	}
	return nil
}

// logEnd returns how far a log file is written.
func (e *engine) logEnd(name string) (int64, error) {
	e.applying.Lock() // nothing is half written
	defer e.applying.Unlock()
	fi, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// verifyLog reads the records of a log file. Which keys a damaged one held is not
// known.
func (e *engine) verifyLog(id uint32, pace func(n int) error, report func(store.Damage)) error {
	name := logName(e.dir, id)
	end, err := e.logEnd(name)
	if err == nil {
		var at int64
		at, err = readRecords(name, 0, end, pace)
		if err == nil && at < end {
			// Badger writes notes of its own there.
			if now, err2 := e.logEnd(name); err2 != nil {
				err = err2
			} else if now > end {
				at, err = readRecords(name, at, now, pace)
				end = now
			}
			if err == nil && at < end {
				err = errDamaged
			}
		}
	}
	switch _, gone := os.Stat(name); {
	case err == nil || errors.Is(gone, os.ErrNotExist):
		return nil
	case errors.As(err, new(stopped)):
		return errors.Unwrap(err)
	}
	report(store.Damage{File: name, Err: unreadable(name, err)})
	return nil
}

// stopped is an error of who gives the pace.
type stopped struct{ error }

func (s stopped) Unwrap() error { return s.error }

// readRecords reads the records of a log file between two offsets and returns where
// the first begins that is not whole.
func readRecords(name string, at, end int64, pace func(n int) error) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return at, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.NewSectionReader(f, at, end-at), 256<<10)
	var b []byte
	for unpaced := 0; at < end; {
		size, err := recordSize(r, end-at)
		if err != nil || size == 0 {
			return at, err
		}
		b = slices.Grow(b[:0], size)[:size]
		if _, err := io.ReadFull(r, b); err != nil {
			return at, err
		}
		if _, _, ok := parseRecord(b); !ok {
			return at, nil
		}
		at += int64(size)
		if unpaced += size; unpaced >= 256<<10 || at == end {
			if err := pace(unpaced); err != nil {
				return at, stopped{err}
			}
			unpaced = 0
		}
	}
	return at, nil
}

// checkedLogs makes sure that the log files that no longer change can be read to their
// ends, each once: badger stops at a damaged record when it moves what is live, and
// then removes the file with all that is behind.
func (e *engine) checkedLogs(ctx context.Context) error {
	ids, err := logFiles(e.dir)
	if err != nil || len(ids) == 0 {
		return err
	}
	var damage error
	for _, id := range ids[:len(ids)-1] {
		if e.checked[id] {
			continue
		}
		err := e.verifyLog(id, func(int) error { return ctx.Err() }, func(d store.Damage) { damage = d.Err })
		if err = errors.Join(err, damage); err != nil {
			return err
		}
		e.checked[id] = true
	}
	return nil
}
