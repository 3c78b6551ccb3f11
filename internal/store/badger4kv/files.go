package badger4kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"

	"github.com/weftdb/weft/internal/store"
)

// A log file, of a memtable (.mem) or of values (.vlog), has 20 bytes of header and
// then records:
//
//	meta 1 ‖ user meta 1 ‖ length of the key uvarint ‖ length of the value uvarint
//	‖ when it expires uvarint ‖ key ‖ value ‖ CRC-32C of all before u32be
//
// and zeros behind them. A key ends with 8 bytes of 2^64-1 - version. The records of a
// transaction in a .mem file have bit [inTxn], and end with one with bit [endsTxn].
const (
	logHeader = 20
	versionLn = 8

	deleted   = 1 << 0
	isPointer = 1 << 1
	inTxn     = 1 << 6
	endsTxn   = 1 << 7
)

var (
	errDamaged = errors.New("what is there is not what was written")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	ownPfx     = []byte("!badger")
)

// An entry is a version of a key.
type entry struct {
	key     []byte // without the version
	version uint64
	meta    byte
	value   []byte // or, with isPointer, where it is: file, size and offset u32le
}

func splitKey(k []byte) ([]byte, uint64) {
	n := len(k) - versionLn
	return k[:n], ^binary.BigEndian.Uint64(k[n:])
}

// parseRecord reads the record that b begins with, and its size; false if there is
// none or it is damaged. The entry points into b.
func parseRecord(b []byte) (entry, int, bool) {
	if len(b) < 5 || b[1] != 0 { // we write no user meta
		return entry{}, 0, false
	}
	at := 2
	var numbers [3]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return entry{}, 0, false
		}
		numbers[i] = v
		at += n
	}
	klen, vlen := numbers[0], numbers[1]
	if klen < versionLn || klen > 1<<16 || vlen > uint64(len(b)) || numbers[2] != 0 {
		return entry{}, 0, false
	}
	end := at + int(klen+vlen)
	if end+crc32.Size > len(b) || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return entry{}, 0, false
	}
	e := entry{meta: b[0], value: b[at+int(klen) : end]}
	e.key, e.version = splitKey(b[at : at+int(klen)])
	return e, end + crc32.Size, true
}

// A logWalk goes through the records of a log file.
type logWalk struct {
	b     []byte
	at    int    // where the next record begins, or what is none
	whole int    // how far whole transactions reach
	last  uint64 // the newest version of them
	first uint64 // the oldest
	open  uint64 // the transaction that is not whole yet, or 0
	torn  bool   // a record stands at at, and does not belong there
}

func newLogWalk(b []byte) *logWalk { return &logWalk{b: b, at: logHeader, whole: logHeader} }

// next returns the next record, false after the last that is in its place. Like
// badger's own replay it goes no further than that.
func (w *logWalk) next() (entry, bool) {
	if w.at > len(w.b) {
		return entry{}, false
	}
	e, size, ok := parseRecord(w.b[w.at:])
	if !ok {
		return entry{}, false
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
		return entry{}, false
	}
	w.at += size
	if w.open = open; open == 0 {
		w.whole = w.at
		w.last = max(w.last, e.version)
		if w.first == 0 {
			w.first = e.version
		}
	}
	return e, true
}

// resumes returns where, after the record that ended the walk, the next whole one
// begins, or -1.
func (w *logWalk) resumes() int {
	i := w.at + 1
	if w.torn {
		i = w.at
	}
	for ; i < len(w.b); i++ {
		if rest := w.b[i:]; len(rest) >= len(zeros) && bytes.Equal(rest[:len(zeros)], zeros[:]) {
			i += len(zeros) - 32
			continue
		}
		if _, _, ok := parseRecord(w.b[i:]); ok {
			return i
		}
	}
	return -1
}

var zeros [4096]byte

// A table is a table file: blocks, and an index of them with a checksum.
//
//	block … ‖ index ‖ its length u32be ‖ checksum ‖ its length u32be
//	block: entry … ‖ where each begins u32le … ‖ their number u32be ‖ checksum ‖ its length u32be
//	entry: bytes shared with the block's first key u16le ‖ bytes of key u16le ‖ key
//	       ‖ meta 1 ‖ user meta 1 ‖ when it expires uvarint ‖ value
//
// A checksum is badger's Checksum message, and covers what stands before it.
type table struct {
	f     *os.File
	size  int64
	index *fb.TableIndex
}

func tableName(dir string, id uint64) string { return filepath.Join(dir, fmt.Sprintf("%06d.sst", id)) }

// openTable opens a table and checks its index. The caller owes a close of the file.
func openTable(dir string, id uint64) (t *table, err error) {
	f, err := os.Open(tableName(dir, id))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	at := fi.Size()
	part := func() ([]byte, error) { // the part before at, and its length behind it
		var n [4]byte
		if at -= 4; at < 0 {
			return nil, errDamaged
		}
		if _, err := f.ReadAt(n[:], at); err != nil {
			return nil, err
		}
		size := int64(binary.BigEndian.Uint32(n[:]))
		if at -= size; at < 0 {
			return nil, errDamaged
		}
		b := make([]byte, size)
		_, err := f.ReadAt(b, at)
		return b, err
	}
	sum, err := part()
	if err != nil {
		return nil, err
	}
	index, err := part()
	if err != nil {
		return nil, err
	}
	if !summed(index, sum) {
		return nil, errDamaged
	}
	t = &table{f: f, size: fi.Size(), index: fb.GetRootAsTableIndex(index, 0)}
	// The blocks follow each other up to the index.
	var o fb.BlockOffset
	end := int64(0)
	for i := range t.index.OffsetsLength() {
		if !t.index.Offsets(&o, i) || int64(o.Offset()) != end {
			return nil, errDamaged
		}
		end += int64(o.Len())
	}
	if end != at {
		return nil, errDamaged
	}
	return t, nil
}

// summed reports whether a checksum is that of b.
func summed(b, sum []byte) bool {
	var c pb.Checksum
	return proto.Unmarshal(sum, &c) == nil && c.Sum != 0 && y.VerifyChecksum(b, &c) == nil
}

func (t *table) blocks() int { return t.index.OffsetsLength() }

// first returns the first key of a block, nil behind the last.
func (t *table) first(i int) []byte {
	var o fb.BlockOffset
	if i >= t.blocks() || !t.index.Offsets(&o, i) {
		return nil
	}
	k, _ := splitKey(o.KeyBytes())
	return k
}

// block reads a block and checks it.
func (t *table) block(i int) ([]byte, error) {
	var o fb.BlockOffset
	t.index.Offsets(&o, i)
	b := make([]byte, o.Len())
	if _, err := t.f.ReadAt(b, int64(o.Offset())); err != nil {
		return nil, err
	}
	if len(b) < 8 {
		return nil, errDamaged
	}
	at := len(b) - 4 - int(binary.BigEndian.Uint32(b[len(b)-4:]))
	if at < 4 || !summed(b[:at], b[at:len(b)-4]) {
		return nil, errDamaged
	}
	return b[:at], nil
}

// entries gives the entries of a block that was checked.
func entries(b []byte) []entry {
	n := int(binary.BigEndian.Uint32(b[len(b)-4:]))
	end := len(b) - 4 - 4*n
	out := make([]entry, 0, n)
	var base []byte
	for i := range n {
		at := int(binary.LittleEndian.Uint32(b[end+4*i:]))
		to := end
		if i+1 < n {
			to = int(binary.LittleEndian.Uint32(b[end+4*(i+1):]))
		}
		shared, klen := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint16(b[at+2:]))
		at += 4
		full := append(bytes.Clone(base[:shared]), b[at:at+klen]...)
		if base == nil {
			base = full
		}
		at += klen
		e := entry{meta: b[at]}
		e.key, e.version = splitKey(full)
		_, skip := binary.Uvarint(b[at+2:])
		e.value = b[at+2+skip : to]
		out = append(out, e)
	}
	return out
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
	return ids, nil
}

func memName(dir string, id uint64) string { return filepath.Join(dir, fmt.Sprintf("%05d.mem", id)) }
func logName(dir string, id uint64) string { return filepath.Join(dir, fmt.Sprintf("%06d.vlog", id)) }

// sizeOf returns the bytes that the files in dir take: log files have more room than
// they use.
func sizeOf(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != store.ReserveFile {
			var fi fs.FileInfo
			if fi, err = d.Info(); err == nil {
				total += taken(fi)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		return err
	})
	return total, err
}
