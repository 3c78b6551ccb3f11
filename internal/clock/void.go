package clock

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/weftdb/weft/internal/fault"
)

// ErrVoid reports bytes that are not the encoding of a [Void].
var ErrVoid = fault.New(fault.Malformed, "not the encoding of the void records of a log")

// A Span is the positions from First to Last, both included.
type Span struct{ First, Last uint64 }

// A Single is one record of a log. Of a log that forked, others may share its position.
type Single struct {
	Seq  uint64
	Hash Hash
}

func (s Single) compare(o Single) int {
	if c := cmp.Compare(s.Seq, o.Seq); c != 0 {
		return c
	}
	return bytes.Compare(s.Hash[:], o.Hash[:])
}

// A Void says which records of one log count as never written, those still to come
// included: all in its spans but those that are kept, and single ones beside them. It is a
// plain value, whose slices are never changed, so that copies share them. The zero value
// has none.
//
//	Spans {1 3} {7 MaxUint64}, Kept {8 cd…}, Records {5 ab…}
//	positions 1 2 3 and all from 7 on are void but the record cd… of position 8; of position 5
//	the record ab…, but no twin of it
//
// [NewVoid] gives the one form that each set of records has: positions are from 1; spans
// are sorted, not empty, and at least one position that is in none lies between two; records
// are sorted by position and hash, each once, and in no span; kept ones so, and in a span.
type Void struct {
	Spans   []Span
	Records []Single
	Kept    []Single
}

// NewVoid returns the Void of all records in spans, and of records, in its one form. Both
// may be in any order and overlap; what names no position is left out. It keeps neither.
func NewVoid(spans []Span, records []Single) (v Void) {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	for _, s := range spans {
		s.First = max(s.First, 1)
		n := len(v.Spans)
		switch {
		case s.First > s.Last:
		case n > 0 && s.First-1 <= v.Spans[n-1].Last: // they overlap or touch
			v.Spans[n-1].Last = max(v.Spans[n-1].Last, s.Last)
		default:
			v.Spans = append(v.Spans, s)
		}
	}
	for _, r := range records {
		if r.Seq > 0 && !v.spans(r.Seq) {
			v.Records = append(v.Records, r)
		}
	}
	slices.SortFunc(v.Records, Single.compare)
	v.Records = slices.Compact(v.Records)
	return v
}

// But returns the Void of the records of v but kept ones, in its one form.
func (v Void) But(kept []Single) Void {
	if len(kept) == 0 {
		return v
	}
	out := Void{Spans: v.Spans, Kept: slices.Clone(v.Kept)}
	for _, r := range kept {
		if v.spans(r.Seq) {
			out.Kept = append(out.Kept, r)
		}
	}
	slices.SortFunc(out.Kept, Single.compare)
	out.Kept = slices.Compact(out.Kept)
	for _, r := range v.Records {
		if !slices.Contains(kept, r) {
			out.Records = append(out.Records, r)
		}
	}
	return out
}

// VoidUpTo returns the Void of every record up to position seq.
func VoidUpTo(seq uint64) Void { return NewVoid([]Span{{1, seq}}, nil) }

// VoidAbove returns the Void of every record after position seq.
func VoidAbove(seq uint64) Void {
	if seq == math.MaxUint64 {
		return Void{}
	}
	return NewVoid([]Span{{seq + 1, math.MaxUint64}}, nil)
}

// VoidAll returns the Void of a whole log.
func VoidAll() Void { return VoidUpTo(math.MaxUint64) }

// VoidBut returns the Void of every record that is in none of spans.
func VoidBut(spans []Span) Void {
	var void []Span
	next := uint64(1) // the first position that is not looked at yet
	for _, s := range NewVoid(spans, nil).Spans {
		void = append(void, Span{next, s.First - 1})
		if s.Last == math.MaxUint64 {
			return NewVoid(void, nil)
		}
		next = s.Last + 1
	}
	return NewVoid(append(void, Span{next, math.MaxUint64}), nil)
}

// Has reports whether the record is void. The caller has looked at its log.
func (v Void) Has(id RecordID) bool {
	if v.spans(id.Seq) {
		return !has(v.Kept, id)
	}
	return has(v.Records, id)
}

// Below reports whether the record is void by its position, held or not.
func (v Void) Below(id RecordID) bool { return v.spans(id.Seq) && !has(v.Kept, id) }

// has reports whether a record is among sorted ones.
func has(sorted []Single, id RecordID) bool {
	if len(sorted) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(sorted, Single{id.Seq, id.Hash}, Single.compare)
	return ok
}

// spans reports whether a position is in a span.
func (v Void) spans(seq uint64) bool {
	if len(v.Spans) == 1 { // nearly always
		return v.Spans[0].First <= seq && seq <= v.Spans[0].Last
	}
	i, _ := slices.BinarySearchFunc(v.Spans, seq, func(s Span, seq uint64) int { return cmp.Compare(s.Last, seq) })
	return i < len(v.Spans) && v.Spans[i].First <= seq
}

// Empty reports whether no record is void.
func (v Void) Empty() bool { return len(v.Spans) == 0 && len(v.Records) == 0 }

// Equal reports whether the same records are void.
func (v Void) Equal(o Void) bool {
	return slices.Equal(v.Spans, o.Spans) && slices.Equal(v.Records, o.Records) && slices.Equal(v.Kept, o.Kept)
}

// Union returns the Void of the records that are void in v or in o.
func (v Void) Union(o Void) Void {
	both := NewVoid(slices.Concat(v.Spans, o.Spans), slices.Concat(v.Records, o.Records))
	var kept []Single
	for _, r := range slices.Concat(v.Kept, o.Kept) {
		if id := (RecordID{Seq: r.Seq, Hash: r.Hash}); !v.Has(id) && !o.Has(id) {
			kept = append(kept, r)
		}
	}
	return both.But(kept)
}

const (
	spanSize   = 8 + 8
	singleSize = 8 + 32

	keeps = 1 << 31
)

// Encode returns v in the one form that [DecodeVoid] takes:
//
//	spans    u32be                    how many; the highest bit says that records are kept
//	         (first u64be, last u64be)…
//	kept     u32be                    how many, if there are
//	         (seq u64be, hash [32]byte)…
//	records  (seq u64be, hash [32]byte)…    the rest
func (v Void) Encode() []byte {
	b := make([]byte, 0, 8+spanSize*len(v.Spans)+singleSize*(len(v.Records)+len(v.Kept)))
	n := uint32(len(v.Spans))
	if len(v.Kept) > 0 {
		n |= keeps
	}
	b = binary.BigEndian.AppendUint32(b, n)
	for _, s := range v.Spans {
		b = binary.BigEndian.AppendUint64(b, s.First)
		b = binary.BigEndian.AppendUint64(b, s.Last)
	}
	if len(v.Kept) > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Kept)))
		b = appendSingles(b, v.Kept)
	}
	return appendSingles(b, v.Records)
}

func appendSingles(b []byte, records []Single) []byte {
	for _, r := range records {
		b = binary.BigEndian.AppendUint64(b, r.Seq)
		b = append(b, r.Hash[:]...)
	}
	return b
}

// DecodeVoid is the inverse of [Void.Encode]. Anything else is [ErrVoid]. It takes memory
// in proportion to b, and keeps nothing of it.
func DecodeVoid(b []byte) (Void, error) {
	if len(b) < 4 {
		return Void{}, fault.Of(ErrVoid, "void records in %d bytes, at least 4", len(b))
	}
	first, rest := binary.BigEndian.Uint32(b), b[4:]
	spans := make([]Span, 0, min(int(first&^keeps), len(rest)/spanSize))
	for range first &^ keeps {
		if len(rest) < spanSize {
			return Void{}, fault.Of(ErrVoid, "void records: %d spans in %d bytes", first&^keeps, len(b))
		}
		spans = append(spans, Span{binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])})
		rest = rest[spanSize:]
	}
	var kept []Single
	if first&keeps != 0 {
		if len(rest) < 4 || binary.BigEndian.Uint32(rest) == 0 || int64(binary.BigEndian.Uint32(rest))*singleSize > int64(len(rest)-4) {
			return Void{}, fault.Of(ErrVoid, "void records: fewer are kept than it says")
		}
		n := int(binary.BigEndian.Uint32(rest)) * singleSize
		kept, rest = singles(rest[4:4+n]), rest[4+n:]
	}
	if len(rest)%singleSize != 0 {
		return Void{}, fault.Of(ErrVoid, "void records: a part of one in %d bytes", len(b))
	}
	records := singles(rest)
	v := NewVoid(spans, records).But(kept)
	if !slices.Equal(v.Spans, spans) || !slices.Equal(v.Records, records) || !slices.Equal(v.Kept, kept) {
		return Void{}, fault.Of(ErrVoid, "void records that are not in their order, or named twice")
	}
	return v, nil
}

// singles is the inverse of appendSingles.
func singles(b []byte) (records []Single) {
	for ; len(b) > 0; b = b[singleSize:] {
		records = append(records, Single{binary.BigEndian.Uint64(b), Hash(b[8:singleSize])})
	}
	return records
}
