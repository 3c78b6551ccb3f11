package pebblekv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// editsFile says how long the MANIFEST was when it was last synced. Pebble takes a
// MANIFEST that ends early for one whose end was never written: the tables that it
// does not name any more are then deleted. The file has two slots, one for the
// MANIFEST and one for the one before, as pebble makes a new one at each start and
// goes over to it afterwards:
//
//	number of the MANIFEST u64be ‖ length u64be ‖ CRC-32C of the 16 bytes before u32be
const (
	editsFile = "EDITS"
	editsSlot = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// edits notes the lengths of the MANIFESTs of a store.
type edits struct {
	dir string

	mu    sync.Mutex // guards the fields below
	slots [2]manifestLength
	there bool // the file is
}

type manifestLength struct{ number, length uint64 }

// check reads the MANIFESTs that were noted: each is as long as it was, and whole up
// to there. A store of an older release has no note.
func (e *edits) check(files vfs.FS) error {
	name := filepath.Join(e.dir, editsFile)
	b, err := readFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the store's edits: %w", err)
	}
	e.there = true
	whole := 0
	for i := 0; i < len(e.slots) && len(b) >= editsSlot; i, b = i+1, b[editsSlot:] {
		if crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
			continue
		}
		whole++
		s := manifestLength{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		e.slots[i] = s
		manifest := filepath.Join(e.dir, fmt.Sprintf("MANIFEST-%06d", s.number))
		p, err := readFile(files, manifest)
		if errors.Is(err, fs.ErrNotExist) {
			continue // pebble says so if it needs it
		}
		if err == nil && uint64(len(p)) < s.length {
			err = fmt.Errorf("it has %d bytes, and had %d", len(p), s.length)
		}
		if err == nil {
			_, _, err = readEdits(p[:s.length])
		}
		if err != nil {
			return fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (%s)", manifest, plain(err))
		}
	}
	if whole == 0 {
		return fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (it has no whole entry)", name)
	}
	return nil
}

// durableLog returns the number of the oldest log that a start needs, also one after a
// loss of power now; 0 if that is not known.
func (e *edits) durableLog(files vfs.FS) (uint64, error) {
	names, err := files.List(e.dir)
	if err != nil {
		return 0, err
	}
	markers := slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "marker.manifest.") })
	var iteration, number uint64
	if len(markers) != 1 { // pebble is going over to another MANIFEST
		return 0, nil
	}
	if _, err := fmt.Sscanf(markers[0], "marker.manifest.%d.MANIFEST-%d", &iteration, &number); err != nil {
		return 0, nil //nolint:nilerr // not one of pebble's
	}
	if err := syncDir(files, e.dir); err != nil { // it may have just been made
		return 0, err
	}
	e.mu.Lock()
	i := slices.IndexFunc(e.slots[:], func(s manifestLength) bool { return s.number == number })
	var synced manifestLength
	if i >= 0 {
		synced = e.slots[i]
	}
	e.mu.Unlock()
	p, err := readFile(files, filepath.Join(e.dir, fmt.Sprintf("MANIFEST-%06d", number)))
	if err != nil || uint64(len(p)) < synced.length {
		return 0, err
	}
	log, _, err := readEdits(p[:synced.length])
	return log, err
}

func readFile(files vfs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(f)
	return p, errors.Join(err, f.Close())
}

// readEdits reads the records of a MANIFEST and returns the number of the oldest log
// that was still needed, and the last sequence number that it knows.
func readEdits(p []byte) (log, seq uint64, err error) {
	for records := record.NewReader(bytes.NewReader(p), 0); ; {
		r, err := records.Next()
		var edit []byte
		if err == nil {
			edit, err = io.ReadAll(r)
		}
		if errors.Is(err, io.EOF) {
			return log, seq, nil
		}
		if err != nil {
			return log, seq, err
		}
		l, s := numbersOf(edit)
		if l > 0 {
			log = l
		}
		seq = max(seq, s)
	}
}

// The tags that an edit may begin with, in this order (pebble, internal/manifest,
// version_edit.go). All but the first have a number.
const (
	tagComparator   = 1
	tagLogNumber    = 2
	tagPrevLog      = 9
	tagNextFile     = 3
	tagLastSequence = 4
)

// numbersOf returns the number of the oldest log that an edit leaves and the last
// sequence number that it knows, 0 where it says none.
func numbersOf(edit []byte) (log, seq uint64) {
	next := func() uint64 {
		v, n := binary.Uvarint(edit)
		if n <= 0 {
			edit = nil
			return 0
		}
		edit = edit[n:]
		return v
	}
	for {
		switch next() {
		case tagComparator:
			n := next()
			edit = edit[min(n, uint64(len(edit))):]
		case tagLogNumber:
			log = next()
		case tagPrevLog, tagNextFile:
			next()
		case tagLastSequence:
			return log, next()
		default:
			return log, 0
		}
	}
}

// note writes down how long a MANIFEST is, durably.
func (e *edits) note(files vfs.FS, s manifestLength) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := 0
	switch {
	case e.slots[0].number == s.number:
	case e.slots[1].number == s.number || e.slots[0].number > e.slots[1].number:
		i = 1
	}
	e.slots[i] = s
	var b []byte
	for _, s := range e.slots {
		slot := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.number), s.length)
		b = append(b, binary.BigEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))...)
	}
	name := filepath.Join(e.dir, editsFile)
	if !e.there { // it is never there without an entry
		name += ".tmp"
	}
	f, err := files.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil && !e.there {
		err = errors.Join(files.Rename(name, filepath.Join(e.dir, editsFile)), syncDir(files, e.dir))
	}
	if err != nil {
		return fmt.Errorf("write the store's edits: %w", err)
	}
	e.there = true
	return nil
}

func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// watchEdits notes the length of each MANIFEST that is written through it, when it
// has been synced.
func watchEdits(files vfs.FS, e *edits) vfs.FS { return editsFS{files, e} }

type editsFS struct {
	vfs.FS
	e *edits
}

func (f editsFS) Unwrap() vfs.FS { return f.FS }

func (f editsFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	var number uint64
	if err != nil || !strings.HasPrefix(filepath.Base(name), "MANIFEST-") {
		return file, err
	}
	if _, err := fmt.Sscanf(filepath.Base(name), "MANIFEST-%d", &number); err != nil {
		return file, nil //nolint:nilerr // not one of pebble's
	}
	return &manifestFile{File: file, fs: f, at: manifestLength{number: number}}, nil
}

// A manifestFile counts what is written to a MANIFEST.
type manifestFile struct {
	vfs.File
	fs    editsFS
	at    manifestLength
	named bool // its name is durable
}

func (f *manifestFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.at.length += uint64(n)
	return n, err
}

func (f *manifestFile) Sync() error {
	err := f.File.Sync()
	if err == nil && !f.named { // the file that says which MANIFEST counts may be durable before its name
		err = syncDir(f.fs.FS, f.fs.e.dir)
		f.named = err == nil
	}
	if err != nil {
		return err
	}
	return f.fs.e.note(f.fs.FS, f.at)
}
