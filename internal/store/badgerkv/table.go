package badgerkv

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sort"
)

// A table file is a sequence of blocks of sorted entries, an index and a filter:
//
//	block …  ‖ end of each block u32be … ‖ number of blocks u32be ‖ filter ‖ length of the filter u32be
//
// An entry of a block has 10 bytes of header, the part of its key that is not that of
// the block's first, and a value:
//
//	bytes shared u16be ‖ bytes of key u16be ‖ bytes of value u16be ‖ where the entry before begins u32be
//	value: meta 1 ‖ user meta 1 ‖ when it expires uvarint ‖ value or pointer
//
// A block ends with an entry without a key. Nothing in a table has a checksum but the
// whole: its SHA-256 is in MANIFEST.
const entryHeader = 10

var errDamaged = errors.New("what is there is not what was written")

// A table is a table file that is open to be read.
type table struct {
	f    *os.File
	id   uint64
	size int64
	ends []uint32 // of the blocks
}

func tableName(dir string, id uint64) string { return filepath.Join(dir, fmt.Sprintf("%06d.sst", id)) }

// openTable opens a table and reads its index, errDamaged if there is none. The
// caller owes a close of the file.
func openTable(dir string, id uint64) (*table, error) {
	f, err := os.Open(tableName(dir, id))
	if err != nil {
		return nil, err
	}
	t := &table{f: f, id: id}
	if err := t.readIndex(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *table) readIndex() error {
	fi, err := t.f.Stat()
	if err != nil {
		return err
	}
	t.size = fi.Size()
	at := t.size
	number := func() (int64, error) {
		var b [4]byte
		if at -= 4; at < 0 {
			return 0, errDamaged
		}
		_, err := t.f.ReadAt(b[:], at)
		return int64(binary.BigEndian.Uint32(b[:])), err
	}
	filter, err := number()
	if err != nil {
		return err
	}
	at -= filter
	n, err := number()
	if err != nil {
		return err
	}
	if at -= 4 * n; at < 0 || n == 0 {
		return errDamaged
	}
	b := make([]byte, 4*n)
	if _, err := t.f.ReadAt(b, at); err != nil {
		return err
	}
	t.ends = make([]uint32, n)
	last := uint32(0)
	for i := range t.ends {
		t.ends[i] = binary.BigEndian.Uint32(b[4*i:])
		if t.ends[i] <= last {
			return errDamaged
		}
		last = t.ends[i]
	}
	if int64(last) != at {
		return errDamaged
	}
	return nil
}

// sum returns the SHA-256 of the whole file; pace is told what was read.
func (t *table) sum(buf []byte, pace func(n int) error) ([]byte, error) {
	h := sha256.New()
	for at := int64(0); at < t.size; {
		n, err := t.f.ReadAt(buf[:min(int64(len(buf)), t.size-at)], at)
		if err != nil && !(err == io.EOF && n > 0) {
			return nil, err
		}
		h.Write(buf[:n])
		at += int64(n)
		if err := pace(n); err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

// block reads a block.
func (t *table) block(i int) ([]byte, error) {
	begin := uint32(0)
	if i > 0 {
		begin = t.ends[i-1]
	}
	b := make([]byte, t.ends[i]-begin)
	_, err := t.f.ReadAt(b, int64(begin))
	return b, err
}

// blockEntries gives the entries of a block, each with a key of its own, until
// something is no entry: bad is then set.
func blockEntries(b []byte, bad *bool) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		*bad = true
		var base, last []byte
		prev := ^uint32(0)
		for at := 0; ; {
			if at+entryHeader > len(b) {
				return
			}
			h := b[at : at+entryHeader]
			shared, klen, vlen := int(binary.BigEndian.Uint16(h)), int(binary.BigEndian.Uint16(h[2:])), int(binary.BigEndian.Uint16(h[4:]))
			if binary.BigEndian.Uint32(h[6:]) != prev {
				return
			}
			prev = uint32(at)
			at += entryHeader
			if at+klen+vlen > len(b) || shared > len(base) {
				return
			}
			if shared == 0 && klen == 0 {
				*bad = at+vlen != len(b)
				return
			}
			full := append(bytes.Clone(base[:shared]), b[at:at+klen]...)
			if base == nil {
				base = full
			}
			if last != nil && compareKeys(last, full) >= 0 {
				return
			}
			last = full
			e, ok := parseEntry(full, b[at+klen:at+klen+vlen])
			if !ok || !yield(e) {
				*bad = !ok
				return
			}
			at += klen + vlen
		}
	}
}

func parseEntry(key, value []byte) (entry, bool) {
	k, version, ok := splitKey(key)
	if !ok || len(value) < 3 {
		return entry{}, false
	}
	e := entry{key: k, version: version, meta: value[0]}
	var n int
	e.expires, n = binary.Uvarint(value[2:])
	if n <= 0 {
		return entry{}, false
	}
	e.value = value[2+n:]
	return e, true
}

// compareKeys orders keys with their versions: by key, the newest first.
func compareKeys(a, b []byte) int {
	ka, va, _ := splitKey(a)
	kb, vb, _ := splitKey(b)
	if c := bytes.Compare(ka, kb); c != 0 {
		return c
	}
	switch {
	case va > vb:
		return -1
	case va < vb:
		return 1
	}
	return 0
}

// newest returns the newest entry of a key in a table that is whole.
func (t *table) newest(key []byte) (entry, bool, error) {
	var failed error
	i := sort.Search(len(t.ends), func(i int) bool { // the first block that begins at the key or behind it
		b, err := t.block(i)
		failed = errors.Join(failed, err)
		var bad bool
		for e := range blockEntries(b, &bad) {
			return bytes.Compare(e.key, key) >= 0
		}
		return true
	})
	for i = max(i-1, 0); i < len(t.ends) && failed == nil; i++ {
		b, err := t.block(i)
		failed = err
		var bad bool
		for e := range blockEntries(b, &bad) {
			switch c := bytes.Compare(e.key, key); {
			case c == 0:
				return e, true, nil
			case c > 0:
				return entry{}, false, nil
			}
		}
	}
	return entry{}, false, failed
}
