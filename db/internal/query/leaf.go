package query

import (
	"bytes"
	"math"
	"math/bits"
	"regexp"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A leaf is a condition on one value; the zero Value is a missing field.
type leaf interface {
	test(v value.Value, s *spot) bool
}

// noneLeaf matches nothing, as {$all: []} does.
type noneLeaf struct{}

func (noneLeaf) test(value.Value, *spot) bool { return false }

// nullish reports whether v is missing, null or undefined: one in equality.
func nullish(v value.Value) bool {
	return v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}

// An eqLeaf is equality in BSON order: 1 equals 1.0. Types that have one encoding are
// compared by bytes, and null equals what is missing or undefined.
type eqLeaf struct {
	v     value.Value
	class byte
}

func (l *eqLeaf) test(v value.Value, _ *spot) bool {
	if v.Type == l.v.Type {
		if bytes.Equal(v.Data, l.v.Data) {
			return true
		}
		switch v.Type { // one encoding each
		case bson.TypeString, bson.TypeInt32, bson.TypeInt64, bson.TypeBoolean, bson.TypeObjectID, bson.TypeDateTime:
			return false
		}
		return value.Compare(v, l.v) == 0
	}
	if nullish(l.v) {
		return nullish(v)
	}
	return v.Exists() && value.Class(v) == l.class && value.Compare(v, l.v) == 0
}

// A cmpLeaf is $gt, $gte, $lt or $lte, which compare within one type class. Four rules are
// MongoDB's own: MinKey and MaxKey compare with all classes; {$gte: null} and {$lte: null}
// are equality with null, {$gt: null} and {$lt: null} match nothing; NaN is only equal to
// NaN; 5 is neither above nor below "a".
type cmpLeaf struct {
	op    Op
	v     value.Value
	class byte
	nan   bool
}

func newCmpLeaf(op Op, v value.Value) *cmpLeaf {
	return &cmpLeaf{op: op, v: v, class: value.Class(v), nan: isNaN(v)}
}

func isNaN(v value.Value) bool {
	switch v.Type {
	case bson.TypeDouble:
		f := v.Float()
		return f != f
	case bson.TypeDecimal128:
		return v.Decimal().IsNaN()
	}
	return false
}

func (l *cmpLeaf) test(v value.Value, _ *spot) bool {
	if nullish(l.v) {
		return nullish(v) && (l.op == Gte || l.op == Lte)
	}
	if !v.Exists() {
		return false
	}
	if value.Class(v) != l.class {
		switch l.v.Type {
		case bson.TypeMinKey:
			return l.op == Gt || l.op == Gte
		case bson.TypeMaxKey:
			return l.op == Lt || l.op == Lte
		}
		return false
	}
	if l.nan || isNaN(v) { // NaN is only equal to NaN
		return l.nan && isNaN(v) && (l.op == Gte || l.op == Lte)
	}
	c := value.Compare(v, l.v)
	switch l.op {
	case Gt:
		return c > 0
	case Gte:
		return c >= 0
	case Lt:
		return c < 0
	}
	return c <= 0
}

// An inLeaf is $in: values sorted by Compare, and regular expressions.
type inLeaf struct {
	values  []value.Value
	regexes []*regexLeaf
	null    bool
}

// A value that is null, missing or undefined is decided by whether the list has a null.
func (l *inLeaf) test(v value.Value, s *spot) bool {
	if nullish(v) {
		return l.null
	}
	if _, ok := slices.BinarySearchFunc(l.values, v, value.Compare); ok {
		return true
	}
	for _, r := range l.regexes {
		if r.test(v, s) {
			return true
		}
	}
	return false
}

// An existsLeaf is $exists: true, to which null exists; false is its negation.
type existsLeaf struct{}

func (existsLeaf) test(v value.Value, _ *spot) bool { return v.Exists() }

// A typeLeaf is $type: a set of BSON types.
type typeLeaf [256]bool

func (l *typeLeaf) test(v value.Value, _ *spot) bool { return v.Exists() && l[v.Type] }

// A sizeLeaf is $size: an array of so many elements. No other value has a size.
type sizeLeaf int

func (l sizeLeaf) test(v value.Value, _ *spot) bool {
	if !v.IsArray() {
		return false
	}
	return count(v.Data) == int(l)
}

// A modLeaf is $mod. Fractions are dropped, of the arguments when they are compiled, of the
// value here: 5.9 is 5.
type modLeaf struct{ divisor, remainder int64 }

func (l modLeaf) test(v value.Value, _ *spot) bool {
	n, ok := truncated(v)
	return ok && n%l.divisor == l.remainder
}

// truncated returns a number rounded to an int64 toward 0; ok is false if it has none.
func truncated(v value.Value) (n int64, ok bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int(), true
	case bson.TypeDouble:
		f := math.Trunc(v.Float())
		if f >= -(1<<63) && f < 1<<63 {
			return int64(f), true
		}
	case bson.TypeDecimal128:
		return truncatedDecimal(v.Decimal())
	}
	return 0, false
}

// A regexLeaf is $regex, over strings and symbols. A stored regular expression only matches
// if it is the same.
type regexLeaf struct {
	re     *regexp.Regexp
	states int         // that a match may hold
	raw    value.Value // as a BSON regular expression, which it also equals
}

func (l *regexLeaf) test(v value.Value, _ *spot) bool {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol:
		return l.re.Match(v.Str())
	case bson.TypeRegex:
		return bytes.Equal(v.Data, l.raw.Data)
	}
	return false
}

// cost of a regular expression: a state takes a sixteenth of a tick for each byte.
func (l *regexLeaf) cost(size int) int { return (1 + size*l.states) * value.MeterTick / 16 }

// cost of a list: it is searched by halves, and every pattern is tried.
func (l *inLeaf) cost(size int) int {
	n := size + costVisit*bits.Len(uint(len(l.values)))
	for _, r := range l.regexes {
		n += r.cost(size)
	}
	return n
}

// An elemLeaf is $elemMatch with operators: one element, taken as a field of its own,
// passes them all. The array that an element is counts by its elements:
// {$elemMatch: {$gt: 1}} matches [[5]]. What is within an element tells no position; the
// position is that of the element.
type elemLeaf struct{ node node }

func (l elemLeaf) test(v value.Value, s *spot) bool {
	if !v.IsArray() {
		return false
	}
	in := s.inside()
	it := value.Elements(v.Data)
	for i := 0; ; i++ {
		_, e, ok := it.Next()
		if !ok {
			return false
		}
		if l.node.match(e, in) {
			s.set(i)
			return true
		}
		if s.take(in); in != nil && in.err != nil {
			return false
		}
	}
}

// An elemDocLeaf is $elemMatch with a filter on documents (a nested array is
// taken as the document of its indexes).
type elemDocLeaf struct{ node node }

func (l elemDocLeaf) test(v value.Value, s *spot) bool {
	if !v.IsArray() {
		return false
	}
	in := s.inside()
	it := value.Elements(v.Data)
	for i := 0; ; i++ {
		_, e, ok := it.Next()
		if !ok {
			return false
		}
		if (e.IsDoc() || e.IsArray()) && l.node.match(value.Doc(e.Data), in) {
			s.set(i)
			return true
		}
		if s.take(in); in != nil && in.err != nil {
			return false
		}
	}
}
