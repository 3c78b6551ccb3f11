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
// included: all in its spans, and single ones beside them. It is a plain value, whose
// slices are never changed, so that copies share them. The zero value has none.
//
//	Spans {1 3} {7 MaxUint64}, Records {5 ab…}
//	positions 1 2 3 and all from 7 on are void, of position 5 the record ab…, but no twin of it
//
// [NewVoid] gives the one form that each set of records has: positions are from 1; spans
// are sorted, not empty, and at least one position that is in none lies between two;
// records are sorted by position and hash, each once, and in no span.
type Void struct {
	Spans   []Span
	Records []Single
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
		return true
	}
	if len(v.Records) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(v.Records, Single{id.Seq, id.Hash}, Single.compare)
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
	return slices.Equal(v.Spans, o.Spans) && slices.Equal(v.Records, o.Records)
}

// Union returns the Void of the records that are void in v or in o.
func (v Void) Union(o Void) Void {
	return NewVoid(slices.Concat(v.Spans, o.Spans), slices.Concat(v.Records, o.Records))
}

const (
	spanSize   = 8 + 8
	singleSize = 8 + 32
)

// Encode returns v in the one form that [DecodeVoid] takes:
//
//	spans    u32be                    how many
//	         (first u64be, last u64be)…
//	records  (seq u64be, hash [32]byte)…    the rest
func (v Void) Encode() []byte {
	b := make([]byte, 0, 4+spanSize*len(v.Spans)+singleSize*len(v.Records))
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.Spans)))
	for _, s := range v.Spans {
		b = binary.BigEndian.AppendUint64(b, s.First)
		b = binary.BigEndian.AppendUint64(b, s.Last)
	}
	for _, r := range v.Records {
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
	n, rest := int64(binary.BigEndian.Uint32(b)), b[4:]
	if n*spanSize > int64(len(rest)) || (int64(len(rest))-n*spanSize)%singleSize != 0 {
		return Void{}, fault.Of(ErrVoid, "void records: %d spans and single records in %d bytes", n, len(b))
	}
	spans := make([]Span, n)
	for i := range spans {
		spans[i] = Span{binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])}
		rest = rest[spanSize:]
	}
	records := make([]Single, len(rest)/singleSize)
	for i := range records {
		records[i] = Single{binary.BigEndian.Uint64(rest), Hash(rest[8:singleSize])}
		rest = rest[singleSize:]
	}
	v := NewVoid(spans, records)
	if !slices.Equal(v.Spans, spans) || !slices.Equal(v.Records, records) {
		return Void{}, fault.Of(ErrVoid, "void records that are not in their order, or named twice")
	}
	return v, nil
}
