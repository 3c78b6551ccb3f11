// Package keyspace is how a database lies in the store: keys, the heads of documents,
// the catalogue of collections and indexes, the meta data, and the definitions of
// indexes.
//
//	Space      the prefix of every key: Space.Key(tag, parts…)
//	Head       what is stored of a document: its State, and its last operation by Ref
//	Catalog    collections and indexes by local numbers; immutable once published
//	Meta       cursor, counts and state hash: what one commit changes is one slot
//	KeySet     the index keys of one document
//
// A Ref is a stamp by local numbers, so stored values are of this replica only; the
// state hash is not. Everything read from the store is checked: what is not in its
// form is [ErrCorrupt]. docs/design/db.md lists the keys to the byte.
package keyspace

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// The kinds of keys under a database's prefix; docs/design/db.md lists them.
const (
	TagDoc        = 'd' // document: its head and bytes
	TagHistory    = 'h' // an operation of a document, before its last
	TagBase       = 'b' // cached state of a document after an operation
	TagIndex      = 'i' // index entry
	TagWide       = 'j' // a document that has too many index entries
	TagConflict   = 'u' // a key of a unique index that several documents have
	TagRefused    = 'x' // refused operation
	tagCollection = 'c' // local numbers of a collection and its indexes
	tagSlot       = 'm' // what one commit changed in the meta data
	tagMeta       = 'M' // the meta data, of every 256 commits or earlier
	TagRedo       = 'r' // steps under way
	TagPrepared   = 'p' // a document whose history names operations that are not folded yet
	TagVoid       = 'v' // what of a log is void
	TagSnapshot   = 's' // a snapshot log in force
	TagOwn        = 'o' // a log of this replica
	TagGap        = 'g' // the last fold that changed more of a collection than its records name
	TagNoted      = 'y' // a refusal, by the arrival with which it was noted
	TagContested  = 'q' // a conflict, by the arrival with which it was noted
	TagFeed       = 'f' // the ID of the feed
	TagAwaited    = 'w' // a definition of which something that it names has not arrived
	TagPlace      = 'z' // horizons, and what stands elsewhere than at its clock
	TagAuthority  = 'a' // what roles followed from when definitions were judged last
)

// A Ref is a stamp by local numbers: the arrival stands for log and hash. It takes 10
// to 20 bytes instead of 76, but orders like the stamp only if the times differ: for
// equal times of two records somebody has to look the records up.
//
//	{Time: 0x018f…, N: 300, Index: 2}  →  time u64be ‖ ac 02 ‖ 02
type Ref struct {
	Time  clock.Time
	N     int64  // the arrival
	Index uint32 // of the operation in the record
}

// A Space is the prefix that every key of a database begins with.
type Space []byte

// Key returns the key of that kind whose parts follow: a copy, which the caller owns.
//
//	Key(TagDoc, Num(3), id)  →  prefix ‖ 'd' ‖ 03 ‖ id
func (sp Space) Key(tag byte, parts ...[]byte) []byte {
	n := len(sp) + 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(append(make([]byte, 0, n), sp...), tag)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

// ContestedKey is the key under which the feed finds a conflict that was noted at
// arrival n.
func (sp Space) ContestedKey(n int64, index uint32, key []byte) []byte {
	return sp.Key(TagContested, binary.BigEndian.AppendUint64(nil, uint64(n)), Num(index), key)
}

// NotedKey is the key under which the feed finds a refusal that was noted at
// arrival n.
func (sp Space) NotedKey(n int64, r Ref) []byte {
	return r.Append(sp.Key(TagNoted, binary.BigEndian.AppendUint64(nil, uint64(n))))
}

// DueKey is the key that is there while horizons are due.
func (sp Space) DueKey() []byte { return sp.Key(TagPlace, []byte{'d'}) }

// Num returns the local number of a collection or an index as keys have it.
func Num(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// Append appends the stored form of r to dst. Those of one document order by time, which
// leads; that is what history and bases are read by.
func (r Ref) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Time))
	dst = binary.AppendUvarint(dst, uint64(r.N))
	return binary.AppendUvarint(dst, uint64(r.Index))
}

var (
	// ErrCorrupt reports a stored value that is not in its form.
	ErrCorrupt = fault.New(fault.Corrupt, "corrupt value in the store")
	// ErrLost reports a record that the journal has no more, though the fold needs it.
	ErrLost = fault.New(fault.Corrupt, "the journal has lost arrivals")
)

// A Scanner reads the fields of a stored value; Bad stays set after an error, so that
// the caller asks once, at the end. After an error each field reads as zero.
type Scanner struct {
	B   []byte // what is left; fields alias it
	Bad bool
}

// Take returns the next n bytes.
func (s *Scanner) Take(n int) []byte {
	if s.Bad || n < 0 || n > len(s.B) {
		s.Bad = true
		return make([]byte, min(max(n, 0), 64))
	}
	p := s.B[:n:n]
	s.B = s.B[n:]
	return p
}

func (s *Scanner) byte() byte { return s.Take(1)[0] }

// U64 reads 8 bytes, big-endian.
func (s *Scanner) U64() uint64 { return binary.BigEndian.Uint64(s.Take(8)) }

// Uvarint reads an unsigned integer of variable length.
func (s *Scanner) Uvarint() uint64 {
	v, n := binary.Uvarint(s.B)
	if n <= 0 {
		s.Bad = true
		return 0
	}
	s.B = s.B[n:]
	return v
}

// Ref reads what [Ref.Append] wrote.
func (s *Scanner) Ref() Ref {
	return Ref{Time: clock.Time(s.U64()), N: int64(s.Uvarint()), Index: uint32(s.Uvarint())}
}

// A Head is what is stored of a document, besides its earlier operations.
type Head struct {
	Last   Ref    // its last operation, refused or not
	Code   Code   // the verdict on it
	Atomic bool   // its record is atomic
	Count  uint64 // operations
	State
}

// The flags of a stored head. What has its usual value takes no room: a document that was
// inserted and never changed is flags ‖ ref ‖ BSON.
const (
	headDoc = 1 << iota
	headDead
	headMany
	headRefused
	headMod
	headAtomic
)

// Append appends the stored form of h, its document last, to dst.
func (h *Head) Append(dst []byte) []byte {
	flags := byte(0)
	set := func(on bool, bit byte) {
		if on {
			flags |= bit
		}
	}
	set(h.Doc != nil, headDoc)
	set(h.Dead, headDead)
	set(h.Count > 1, headMany)
	set(h.Code != 0, headRefused)
	set(h.Mod != h.Last.Time, headMod)
	set(h.Atomic, headAtomic)
	dst = h.Last.Append(append(dst, flags))
	if h.Count > 1 {
		dst = binary.AppendUvarint(dst, h.Count)
	}
	if h.Code != 0 {
		dst = append(dst, byte(h.Code))
	}
	if h.Mod != h.Last.Time {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Mod))
	}
	return append(dst, h.Doc...)
}

// ParseHead reads a head; its document aliases b.
func ParseHead(b []byte) (h Head, err error) {
	s := Scanner{B: b}
	flags := s.byte()
	h.Last, h.Count = s.Ref(), 1
	if flags&headMany != 0 {
		h.Count = s.Uvarint()
	}
	if flags&headRefused != 0 {
		h.Code = Code(s.byte())
	}
	h.Mod = h.Last.Time
	if flags&headMod != 0 {
		h.Mod = clock.Time(s.U64())
	}
	h.Dead, h.Atomic = flags&headDead != 0, flags&headAtomic != 0
	if flags&headDoc != 0 {
		h.Doc = s.B
	}
	if s.Bad || h.Doc != nil && len(h.Doc) < 5 {
		return h, ErrCorrupt
	}
	return h, nil
}

// Uvarints is a helper of stored values.
func Uvarints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// ValueNone is no value: the _id of a document that is only looked at.
var ValueNone value.Value

// Missing is the ErrCorrupt of a walk over all documents of a collection that met another
// number of them than there are.
func Missing(collection string, seen, counted int64) error {
	return fault.Of(ErrCorrupt, "collection %s: there are %d documents, %d are counted: run weft doctor", collection, seen, counted)
}

// Keys returns what follows prefix in the keys that begin with it.
func Keys(r interface {
	Iterate(store.Range) store.Iterator
}, prefix []byte) (rest [][]byte, err error,
) {
	all := store.Prefix(prefix)
	all.KeysOnly = true
	it := r.Iterate(all)
	defer it.Close()
	for ; it.Valid(); it.Next() {
		rest = append(rest, bytes.Clone(it.Key()[len(prefix):]))
	}
	return rest, it.Err()
}

// Clip bounds the message of a refusal, which is told to people and is not hashed.
func Clip(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	if len(s) > 512 {
		s = s[:512]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
