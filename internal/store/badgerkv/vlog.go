package badgerkv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A file of the value log is a sequence of records:
//
//	length of the key u32be ‖ length of the value u32be ‖ when it expires u64be
//	‖ meta 1 ‖ user meta 1 ‖ key ‖ value ‖ CRC-32C of all before u32be
//
// A key ends with its version: the 8 bytes of 2^64-1 - version, so that the newest
// sorts first. The records of a transaction have bit [inTxn] and one version, and
// end with a record with bit [endsTxn], whose value is the version in decimal. Others
// were moved here from a file that was removed.
const (
	logHeader = 18
	versionLn = 8

	deleted   = 1 << 0
	isPointer = 1 << 1
	inTxn     = 1 << 6
	endsTxn   = 1 << 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Badger's own keys.
var (
	headKey = []byte("!badger!head") // its value points to the first record that the tables may lack
	movePfx = []byte("!badger!move") // before the key of a record that was moved
	ownPfx  = []byte("!badger")      // before all of them, and ours
)

// An entry is a version of a key, in a table or in the log.
type entry struct {
	key     []byte // without the version
	version uint64
	meta    byte
	expires uint64
	value   []byte // or, with isPointer, a pointer
}

// splitKey parts a key from its version.
func splitKey(k []byte) ([]byte, uint64, bool) {
	n := len(k) - versionLn
	if n < 0 {
		return nil, 0, false
	}
	return k[:n], ^binary.BigEndian.Uint64(k[n:]), true
}

// joinKey is a key with its version.
func joinKey(key []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(key[:len(key):len(key)], ^version)
}

// A pointer says where a record is: in a table it stands for a long value.
type pointer struct{ file, size, offset uint32 }

func (p pointer) append(b []byte) []byte {
	for _, n := range []uint32{p.file, p.size, p.offset} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func parsePointer(b []byte) (pointer, bool) {
	if len(b) != 12 {
		return pointer{}, false
	}
	return pointer{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}, true
}

// parseRecord reads the record that b begins with, and its size; false if there is
// none or it is damaged. The entry points into b.
func parseRecord(b []byte) (entry, int, bool) {
	if len(b) < logHeader+crc32.Size {
		return entry{}, 0, false
	}
	klen, vlen := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	size := logHeader + klen + vlen + crc32.Size
	if klen < versionLn || klen > 1<<16 || size > int64(len(b)) {
		return entry{}, 0, false
	}
	sum := b[size-crc32.Size : size]
	if crc32.Checksum(b[:size-crc32.Size], castagnoli) != binary.BigEndian.Uint32(sum) {
		return entry{}, 0, false
	}
	e := entry{meta: b[16], expires: binary.BigEndian.Uint64(b[8:]), value: b[logHeader+klen : size-crc32.Size]}
	e.key, e.version, _ = splitKey(b[logHeader : logHeader+klen])
	return e, int(size), true
}

// recordSize returns the size that the next record of r says it has, 0 if it is none
// of at most limit bytes.
func recordSize(r *bufio.Reader, limit int64) (int, error) {
	h, err := r.Peek(logHeader)
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	klen, vlen := int64(binary.BigEndian.Uint32(h)), int64(binary.BigEndian.Uint32(h[4:]))
	size := logHeader + klen + vlen + crc32.Size
	if klen > 1<<16 || size > limit {
		return 0, nil
	}
	return int(size), nil
}

// A logWalk goes through the records of a part of a log file.
type logWalk struct {
	b     []byte
	at    int    // where the next record begins, or what is none
	whole int    // how far whole transactions reach
	last  uint64 // the newest version of them
	open  uint64 // the transaction that is not whole yet, or 0
	torn  bool   // a record stands at at, and does not belong there
}

// next returns the next record and where it begins, false after the last that is in
// its place. Like badger's own replay it goes no further than that.
func (w *logWalk) next() (entry, int, bool) {
	e, size, ok := parseRecord(w.b[w.at:])
	if !ok {
		return entry{}, 0, false
	}
	open := w.open
	switch {
	case e.meta&inTxn != 0:
		ok = open == 0 || open == e.version
		open = e.version
	case e.meta&endsTxn != 0:
		v, err := strconv.ParseUint(string(e.value), 10, 64)
		ok = err == nil && v == open
		open = 0
	default:
		ok = open == 0
	}
	if !ok {
		w.torn = true
		return entry{}, 0, false
	}
	offset := w.at
	w.at += size
	w.open = open
	if open == 0 {
		w.whole = w.at
		w.last = max(w.last, e.version)
	}
	return e, offset, true
}

// resumes returns where, after the record that ended the walk, the next whole one
// begins, or -1. A write that was interrupted has none behind it.
func (w *logWalk) resumes() int {
	from := w.at + 1
	if w.torn {
		from = w.at
	}
	for i := from; i+logHeader+crc32.Size <= len(w.b); i++ {
		if _, _, ok := parseRecord(w.b[i:]); ok {
			return i
		}
	}
	return -1
}

// readFrom reads a file from an offset to its end.
func readFrom(name string, offset int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() <= offset {
		return nil, err
	}
	b := make([]byte, fi.Size()-offset)
	n, err := f.ReadAt(b, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

func be16(b []byte) int    { return int(binary.BigEndian.Uint16(b)) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func logName(dir string, id uint32) string { return filepath.Join(dir, fmt.Sprintf("%06d.vlog", id)) }

// logFiles returns the numbers of the log files in dir, in order.
func logFiles(dir string) ([]uint32, error) {
	ids, err := numbered(dir, ".vlog")
	out := make([]uint32, len(ids))
	for i, id := range ids {
		out[i] = uint32(id)
	}
	return out, err
}

// numbered returns, in order, the numbers that are names in dir with an ending.
func numbered(dir, ending string) ([]uint64, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, e := range list {
		if name, ok := strings.CutSuffix(e.Name(), ending); ok {
			if id, err := strconv.ParseUint(name, 10, 32); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil // ReadDir sorts by name; all have six digits or more
}
