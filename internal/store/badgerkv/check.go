package badgerkv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// What a check of the files of a closed store found.
type found struct {
	manifest badger.Manifest
	log      uint32 // the number of the last log file
	piled    bool   // tables wait at level 0 for a merge
	unsaved  int64  // bytes of the log that are in no table
}

func corrupt(file, what string) error {
	return fault.Of(store.ErrCorrupt, "%s %s: run weft doctor", file, what)
}

// unreadable is what an error at reading a file means: without it, what was written
// is gone.
func unreadable(file string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return corrupt(file, "is missing")
	case errors.Is(err, errDamaged), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return corrupt(file, "is damaged")
	}
	return fault.Of(store.ErrCorrupt, "%s cannot be read: run weft doctor (%w)", file, err)
}

// check compares the files of a store that nobody has open with what must be there.
// Badger itself drops a table with a wrong checksum, takes a missing MANIFEST for an
// empty store, and cuts the log at the first record that it cannot read, whatever is
// behind it. Damage is ErrCorrupt, and nothing was changed.
func check(dir string, create bool, durable uint64) (found, error) {
	logs, err := logFiles(dir)
	if err != nil {
		return found{}, err
	}
	manifest := filepath.Join(dir, badger.ManifestFilename)
	if _, err := os.Stat(manifest); errors.Is(err, fs.ErrNotExist) {
		tables, err := numbered(dir, ".sst")
		if err == nil && (!create || len(logs)+len(tables) > 0) {
			err = corrupt(manifest, "is missing")
		}
		return found{}, err
	}
	m, err := readManifest(manifest)
	if err != nil {
		return found{}, err
	}
	head, err := checkTables(dir, m)
	if err != nil {
		return found{}, err
	}
	f := found{manifest: m, piled: len(m.Levels) > 0 && len(m.Levels[0].Tables) >= pile}
	if len(logs) > 0 {
		f.log = logs[len(logs)-1]
	}
	at, _ := parsePointer(head.value)
	f.unsaved, err = checkLogs(dir, logs, at, durable)
	return f, err
}

// readManifest reads the list of tables. An end that was not written whole is no
// part of it; anything else that cannot be read is ErrCorrupt.
func readManifest(name string) (badger.Manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return badger.Manifest{}, unreadable(name, err)
	}
	defer f.Close()
	m, whole, err := badger.ReplayManifestFile(f)
	if err != nil {
		return m, fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (%w)", name, err)
	}
	// A damaged length looks like an end too. Behind it stands what was written later.
	rest, err := readFrom(name, whole)
	if err != nil {
		return m, unreadable(name, err)
	}
	for i := 1; i+8 < len(rest); i++ {
		n, sum := int64(binary.BigEndian.Uint32(rest[i:])), binary.BigEndian.Uint32(rest[i+4:])
		if n > 0 && n <= int64(len(rest)-i-8) && crc32.Checksum(rest[i+8:i+8+int(n)], castagnoli) == sum {
			return m, corrupt(name, "is damaged")
		}
	}
	return m, nil
}

// checkTables reads every table of the manifest and returns the newest head.
func checkTables(dir string, m badger.Manifest) (entry, error) {
	type job struct {
		id  uint64
		sum []byte
	}
	jobs := make(chan job)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards head and bad
		head entry
		bad  error
	)
	for range min(2, len(m.Tables)) {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for j := range jobs {
				h, err := checkTable(dir, j.id, j.sum, buf, func(int) error { return nil })
				mu.Lock()
				if err != nil && bad == nil {
					bad = unreadable(tableName(dir, j.id), err)
				}
				if h.version > head.version {
					head = h
				}
				mu.Unlock()
			}
		})
	}
	for id, t := range m.Tables {
		jobs <- job{id, t.Checksum}
	}
	close(jobs)
	wg.Wait()
	return head, bad
}

// checkTable reads a whole table and returns its head, if it has one.
func checkTable(dir string, id uint64, want, buf []byte, pace func(n int) error) (entry, error) {
	t, err := openTable(dir, id)
	if err != nil {
		return entry{}, err
	}
	defer t.f.Close()
	sum, err := t.sum(buf, pace)
	if err != nil {
		return entry{}, err
	}
	if len(want) > 0 && !bytes.Equal(sum, want) {
		return entry{}, errDamaged
	}
	head, _, err := t.newest(headKey)
	return head, err
}

// checkLogs reads the log from what the tables may lack to its end. The files from the
// head's on are all there, and whole but for the end of the last: a transaction that
// was not written to its end when the power went. That is behind what is durable; if
// that is not known, it has nothing whole behind it. It returns how much that is.
func checkLogs(dir string, logs []uint32, head pointer, durable uint64) (unsaved int64, err error) {
	for len(logs) > 0 && logs[0] < head.file {
		logs = logs[1:]
	}
	want, position := head.file, uint64(0)
	for i, id := range logs {
		if id != want {
			return 0, corrupt(logName(dir, want), "is missing")
		}
		want++
		offset := int64(0)
		if id == head.file {
			offset = int64(head.offset) + int64(head.size)
		}
		name := logName(dir, id)
		fi, err := os.Stat(name)
		if err != nil {
			return 0, unreadable(name, err)
		}
		if fi.Size() < offset {
			return 0, corrupt(name, "is cut short")
		}
		b, err := readFrom(name, offset)
		if err != nil {
			return 0, unreadable(name, err)
		}
		unsaved += int64(len(b))
		w := logWalk{b: b}
		for _, _, ok := w.next(); ok; _, _, ok = w.next() {
		}
		position = uint64(id)<<32 | uint64(offset) + uint64(w.whole)
		last := i == len(logs)-1
		if w.whole < len(b) && (!last || position < durable || durable == 0 && w.resumes() >= 0) {
			return 0, corrupt(name, "is damaged")
		}
	}
	switch {
	case len(logs) == 0 && head != (pointer{}):
		return 0, corrupt(logName(dir, want), "is missing")
	case position < durable && len(logs) == 0:
		return 0, corrupt(logName(dir, uint32(durable>>32)), "is missing")
	case position < durable:
		return 0, corrupt(logName(dir, logs[len(logs)-1]), "is cut short")
	}
	return unsaved, nil
}

// sameTables makes sure that badger opened every table that check found, but for
// those that it has merged since.
func (e *engine) sameTables(f found) error {
	opened := make(map[uint64]bool)
	for _, t := range e.db.Tables(false) {
		opened[t.ID] = true
	}
	for id := range f.manifest.Tables {
		if opened[id] {
			continue
		}
		now, err := readManifest(filepath.Join(e.dir, badger.ManifestFilename))
		if err != nil {
			return err
		}
		if _, listed := now.Tables[id]; listed {
			return corrupt(tableName(e.dir, id), "was not opened")
		}
	}
	return nil
}
