package db

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// The kinds of keys under a database's prefix; docs/design/db.md lists them.
const (
	tagDoc        = 'd' // document: its head and bytes
	tagHistory    = 'h' // an operation of a document, before its last
	tagBase       = 'b' // cached state of a document after an operation
	tagIndex      = 'i' // index entry
	tagWide       = 'j' // a document that has too many index entries
	tagConflict   = 'u' // a key of a unique index that several documents have
	tagRefused    = 'x' // refused operation
	tagCollection = 'c' // local numbers of a collection and its indexes
	tagSlot       = 'm' // what one commit changed in the meta data
	tagMeta       = 'M' // the meta data, of every 256 commits or earlier
	tagRedo       = 'r' // steps under way
	tagVoid       = 'v' // a log that is void, up to a position
	tagSnapshot   = 's' // a snapshot log in force
	tagOwn        = 'o' // a log of this replica
	tagGap        = 'g' // the last fold that changed more of a collection than its records name
	tagNoted      = 'y' // a refusal, by the arrival with which it was noted
	tagContested  = 'q' // a conflict, by the arrival with which it was noted
	tagFeed       = 'f' // the ID of the feed
)

// A ref is a stamp by local numbers: the arrival stands for log and hash.
type ref struct {
	time  clock.Time
	n     int64
	index uint32
}

func (db *DB) key(tag byte, parts ...[]byte) []byte {
	n := len(db.prefix) + 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(append(make([]byte, 0, n), db.prefix...), tag)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func num(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func (r ref) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.time))
	dst = binary.AppendUvarint(dst, uint64(r.n))
	return binary.AppendUvarint(dst, uint64(r.index))
}

var (
	errCorrupt = fault.New(fault.Corrupt, "corrupt value in the store")
	errLost    = fault.New(fault.Corrupt, "the journal has lost arrivals")
)

// A scanner reads the fields of a stored value; bad stays set after an error.
type scanner struct {
	b   []byte
	bad bool
}

func (s *scanner) take(n int) []byte {
	if s.bad || n < 0 || n > len(s.b) {
		s.bad = true
		return make([]byte, min(max(n, 0), 64))
	}
	p := s.b[:n:n]
	s.b = s.b[n:]
	return p
}

func (s *scanner) byte() byte  { return s.take(1)[0] }
func (s *scanner) u64() uint64 { return binary.BigEndian.Uint64(s.take(8)) }

func (s *scanner) uvarint() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.bad = true
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) ref() ref {
	return ref{time: clock.Time(s.u64()), n: int64(s.uvarint()), index: uint32(s.uvarint())}
}

// A state is a document at one place of the order.
type state struct {
	doc  []byte     // nil if there is none
	mod  clock.Time // of the last operation that changed it
	dead bool       // it was deleted
}

// A head is what is stored of a document, besides its earlier operations.
type head struct {
	last   ref // its last operation, refused or not
	code   code
	atomic bool
	count  uint64 // operations
	state
}

const (
	headDoc = 1 << iota
	headDead
	headMany
	headRefused
	headMod
	headAtomic
)

func (h *head) append(dst []byte) []byte {
	flags := byte(0)
	set := func(on bool, bit byte) {
		if on {
			flags |= bit
		}
	}
	set(h.doc != nil, headDoc)
	set(h.dead, headDead)
	set(h.count > 1, headMany)
	set(h.code != 0, headRefused)
	set(h.mod != h.last.time, headMod)
	set(h.atomic, headAtomic)
	dst = h.last.append(append(dst, flags))
	if h.count > 1 {
		dst = binary.AppendUvarint(dst, h.count)
	}
	if h.code != 0 {
		dst = append(dst, byte(h.code))
	}
	if h.mod != h.last.time {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.mod))
	}
	return append(dst, h.doc...)
}

// parseHead reads a head; its document aliases b.
func parseHead(b []byte) (h head, err error) {
	s := scanner{b: b}
	flags := s.byte()
	h.last, h.count = s.ref(), 1
	if flags&headMany != 0 {
		h.count = s.uvarint()
	}
	if flags&headRefused != 0 {
		h.code = code(s.byte())
	}
	h.mod = h.last.time
	if flags&headMod != 0 {
		h.mod = clock.Time(s.u64())
	}
	h.dead, h.atomic = flags&headDead != 0, flags&headAtomic != 0
	if flags&headDoc != 0 {
		h.doc = s.b
	}
	if s.bad || h.doc != nil && len(h.doc) < 5 {
		return h, errCorrupt
	}
	return h, nil
}
