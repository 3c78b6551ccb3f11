package badger4kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

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

// check compares the files of a store that nobody has open with what must be there,
// and reads every table. Badger itself takes a missing MANIFEST for an empty store,
// cuts a log at the first record that it cannot read, whatever is behind it, and
// answers "not found" for what is in a block with a wrong checksum. Damage is
// ErrCorrupt, and nothing was changed.
func check(dir string, create bool, durable uint64) error {
	manifest := filepath.Join(dir, badger.ManifestFilename)
	if _, err := os.Stat(manifest); errors.Is(err, fs.ErrNotExist) {
		left := 0
		for _, ending := range []string{".sst", ".mem", ".vlog"} {
			ids, err := numbered(dir, ending)
			if err != nil {
				return err
			}
			left += len(ids)
		}
		if !create || left > 0 {
			return corrupt(manifest, "is missing")
		}
		return nil
	}
	m, err := readManifest(manifest)
	if err != nil {
		return err
	}
	position := uint64(0)
	for _, id := range slices.Sorted(maps.Keys(m.Tables)) {
		last, err := checkTable(dir, id, func(int) error { return nil }, nil)
		if err != nil {
			return unreadable(tableName(dir, id), err)
		}
		position = max(position, last)
	}
	if position, err = checkMems(dir, position, durable); err != nil {
		return err
	}
	if position < durable {
		return corrupt(dir, "lacks the end of its log")
	}
	return checkLogs(dir)
}

// noKeys is how a KEYREGISTRY without keys ends, behind 16 bytes at random.
var noKeys = []byte("Hello Badger")

// checkKeys makes sure that badger takes nothing for encrypted.
func checkKeys(dir string, log func(string, uint64) string, ids []uint64) error {
	name := filepath.Join(dir, badger.KeyRegistryFileName)
	if b, err := os.ReadFile(name); err == nil && (len(b) != 16+len(noKeys) || !bytes.Equal(b[16:], noKeys)) {
		return corrupt(name, "is damaged")
	}
	for _, id := range ids {
		name := log(dir, id)
		f, err := os.Open(name)
		if err != nil {
			return unreadable(name, err)
		}
		var key [8]byte
		_, err = f.ReadAt(key[:], 0)
		if err = errors.Join(err, f.Close()); err != nil || key != [8]byte{} {
			return unreadable(name, errors.Join(err, errDamaged))
		}
	}
	return nil
}

// readManifest reads the list of tables. An end that was not written whole is no
// part of it; anything else that cannot be read is ErrCorrupt.
func readManifest(name string) (badger.Manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return badger.Manifest{}, unreadable(name, err)
	}
	defer f.Close()
	m, whole, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions("").WithLogger(nil))
	if err != nil {
		return m, fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (%w)", name, err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return m, unreadable(name, err)
	}
	// A damaged length looks like an end too. Behind it stands what was written later.
	rest := b[min(int(whole), len(b)):]
	for i := 1; i+8 < len(rest); i++ {
		n, sum := int64(binary.BigEndian.Uint32(rest[i:])), binary.BigEndian.Uint32(rest[i+4:])
		if n > 0 && n <= int64(len(rest)-i-8) && crc32.Checksum(rest[i+8:i+8+int(n)], castagnoli) == sum {
			return m, corrupt(name, "is damaged")
		}
	}
	return m, nil
}

// checkTable reads a whole table and returns the newest version in it. Blocks that are
// damaged go to bad, if there is one.
func checkTable(dir string, id uint64, pace func(n int) error, bad func(lower, upper []byte, err error)) (uint64, error) {
	t, err := openTable(dir, id)
	if err != nil {
		return 0, err
	}
	defer t.f.Close()
	for i := range t.blocks() {
		b, err := t.block(i)
		if err != nil && bad == nil {
			return 0, err
		}
		if err != nil {
			bad(t.first(i), t.first(i+1), err)
		}
		if err := pace(len(b)); err != nil {
			return 0, err
		}
	}
	return t.index.MaxVersion(), nil
}

// checkMems reads the logs of the memtables, which the tables up to a position may
// lack, and returns how far they go. Versions have no gaps: a log that is missing
// leaves one.
func checkMems(dir string, position, durable uint64) (uint64, error) {
	ids, err := numbered(dir, ".mem")
	if err != nil {
		return 0, err
	}
	if err := checkKeys(dir, memName, ids); err != nil {
		return 0, err
	}
	for _, id := range ids {
		name := memName(dir, id)
		b, err := os.ReadFile(name)
		if err != nil {
			return 0, unreadable(name, err)
		}
		w := newLogWalk(b)
		for _, ok := w.next(); ok; _, ok = w.next() {
		}
		if w.first > position+1 {
			return 0, corrupt(memName(dir, max(id, 1)-1), "is missing, or "+name+" is damaged")
		}
		position = max(position, w.last)
		if durable == 0 || position < durable {
			if w.resumes() >= 0 || position < durable && id == ids[len(ids)-1] {
				return 0, corrupt(name, "is damaged or cut short")
			}
		}
	}
	return position, nil
}

// checkLogs reads the newest file of the value log, which badger cuts at the first
// record that it cannot read.
func checkLogs(dir string) error {
	ids, err := numbered(dir, ".vlog")
	if err == nil {
		err = checkKeys(dir, logName, ids)
	}
	if err != nil || len(ids) == 0 {
		return err
	}
	name := logName(dir, ids[len(ids)-1])
	b, err := os.ReadFile(name)
	if err != nil {
		return unreadable(name, err)
	}
	w := newLogWalk(b)
	for _, ok := w.next(); ok; _, ok = w.next() {
	}
	if w.resumes() >= 0 {
		return corrupt(name, "is damaged")
	}
	return nil
}

// Verify reads every block of every table, the logs of memtables and the value log.
// What badger removes meanwhile is no damage. Later reads of what it found are
// errors.
func (e *engine) Verify(pace func(n int) error, report func(store.Damage)) error {
	tell := func(d store.Damage) {
		e.found(d)
		report(d)
	}
	name := filepath.Join(e.dir, badger.ManifestFilename)
	m, err := readManifest(name)
	if err != nil {
		report(store.Damage{File: name, Err: err})
		return nil
	}
	var stopped error
	pacing := func(n int) error {
		stopped = pace(n)
		return stopped
	}
	for _, id := range slices.Sorted(maps.Keys(m.Tables)) {
		name := tableName(e.dir, id)
		var found []store.Damage
		_, err := checkTable(e.dir, id, pacing, func(lower, upper []byte, err error) {
			if upper != nil {
				upper = append(slices.Clone(upper), 0) // its first key may begin here
			}
			found = append(found, store.Damage{File: name, Lower: slices.Clone(lower), Upper: upper, Err: unreadable(name, err)})
		})
		if stopped != nil {
			return stopped
		}
		if err != nil {
			found = append(found, store.Damage{File: name, Err: unreadable(name, err)})
		}
		if len(found) > 0 && e.lists(id) {
			for _, d := range found {
				tell(d)
			}
		}
	}
	return e.verifyLogs(pace, tell)
}

// lists reports whether the manifest lists a table now.
func (e *engine) lists(id uint64) bool {
	m, err := readManifest(filepath.Join(e.dir, badger.ManifestFilename))
	_, listed := m.Tables[id]
	return err != nil || listed
}

func (e *engine) verifyLogs(pace func(n int) error, tell func(store.Damage)) error {
	for _, kind := range []struct {
		ending string
		name   func(string, uint64) string
	}{{".mem", memName}, {".vlog", logName}} {
		ids, err := numbered(e.dir, kind.ending)
		if err != nil {
			return err
		}
		for _, id := range ids {
			name := kind.name(e.dir, id)
			b, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				w := newLogWalk(b)
				for _, ok := w.next(); ok; _, ok = w.next() {
				}
				// The last record may be under way: what follows is then not written yet.
				if w.resumes() >= 0 {
					err = errDamaged
				}
				if stop := pace(w.at); stop != nil {
					return stop
				}
			}
			if err != nil {
				tell(store.Damage{File: name, Err: unreadable(name, err)})
			}
		}
	}
	return nil
}
