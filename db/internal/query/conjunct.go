package query

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// An Op is an operator by MongoDB's name.
type Op string

// The operators of conjuncts, which a planner can use.
const (
	Eq     Op = "$eq"
	In     Op = "$in"
	Gt     Op = "$gt"
	Gte    Op = "$gte"
	Lt     Op = "$lt"
	Lte    Op = "$lte"
	Exists Op = "$exists" // the field exists
	Prefix Op = Regex     // a string that starts with Value
)

// A Conjunct is one condition of the filter's top-level conjunction, which an
// index on Path can answer: some value of the document on Path (of those that
// value.Path.IndexValues gives) is in the key ranges. It is necessary, not
// sufficient: candidates still go through Match. Two ranges on one path may be
// intersected only if the index has met no array, for in an array different
// elements may satisfy them.
type Conjunct struct {
	Path   string
	Op     Op
	Value  value.Value   // unset for In and Exists
	Values []value.Value // for In: in order, without duplicates
	// Inner says that the condition is on an element, by $elemMatch: an index has
	// it, but the same condition on the path need not hold.
	Inner bool
}

// A KeyRange is the half-open range [Lo, Hi) of index keys.
type KeyRange struct{ Lo, Hi []byte }

// Ranges returns the index key ranges of the conjunct, in key order for an
// index with the given direction; nil for Exists. Keys of a compound index are
// concatenations: put the keys of the fields before in front of Lo and Hi.
func (c Conjunct) Ranges(desc bool) []KeyRange {
	switch c.Op {
	case Exists:
		return nil
	case In:
		out := make([]KeyRange, 0, len(c.Values))
		for _, v := range c.Values {
			out = append(out, pointRange(v, desc))
		}
		if desc {
			for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
				out[i], out[j] = out[j], out[i]
			}
		}
		return out
	case Eq:
		return []KeyRange{pointRange(c.Value, desc)}
	}
	return []KeyRange{c.spanRange(desc)}
}

// pointRange covers one value. Null also covers undefined.
func pointRange(v value.Value, desc bool) KeyRange {
	k := value.AppendKey(nil, v, desc)
	if !nullish(v) {
		return KeyRange{k, after(k)}
	}
	lo := value.AppendKey(nil, value.Value{Type: bson.TypeUndefined}, desc)
	hi := value.AppendKey(nil, value.Null(), desc)
	if desc {
		lo, hi = hi, lo
	}
	return KeyRange{lo, after(hi)}
}

// An edge is the place before or after all keys that start with key.
type edge struct {
	key   []byte
	after bool
}

// bytes returns the edge as a bound; desc mirrors it for inverted keys.
func (e edge) bytes(desc bool) []byte {
	k := bytes.Clone(e.key)
	if desc {
		for i := range k {
			k[i] = ^k[i]
		}
	}
	if e.after != desc {
		return after(k)
	}
	return k
}

// spanRange covers a comparison within its type class, or a string prefix.
//
//	{$gt: 5}       after the keys that start with 5's, up to the end of all numbers
//	{$lte: "b"}    from the first string to the last key that starts with that of "b"
//	/^ab/          the keys of strings that start with "ab", without their terminator
func (c Conjunct) spanRange(desc bool) KeyRange {
	k := value.AppendKey(nil, c.Value, false)
	first, last := value.ClassKeys(c.Value)
	lo, hi := edge{[]byte{first}, false}, edge{[]byte{last}, true}
	switch c.Op {
	case Gt:
		lo = edge{k, true}
	case Gte:
		lo = edge{k, false}
	case Lt:
		hi = edge{k, false}
	case Lte:
		hi = edge{k, true}
	case Prefix:
		k = k[:len(k)-2] // without the terminator
		lo, hi = edge{k, false}, edge{k, true}
	}
	if desc {
		lo, hi = hi, lo
	}
	return KeyRange{lo.bytes(desc), hi.bytes(desc)}
}

// after returns the least bytes above everything that starts with k. Of bytes that are all
// 0xff there are none, but the first byte of a key never is.
func after(k []byte) []byte {
	out := append([]byte(nil), k...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out[:i+1]
		}
	}
	return out
}

// unindexed reports values whose matches an index does not hold as such: whole
// arrays, and the ends of the order, which compare across types.
func unindexed(v value.Value) bool {
	switch v.Type {
	case bson.TypeArray, bson.TypeMinKey, bson.TypeMaxKey, bson.TypeUndefined:
		return true
	}
	return false
}

// noteOf returns the conjunct of a comparison, if an index can answer it.
func noteOf(op Op, v value.Value) []Conjunct {
	switch {
	case unindexed(v):
		return nil
	case nullish(v) && (op == Gte || op == Lte):
		op = Eq
	case nullish(v) && op != Eq:
		return nil
	case isNaN(v) && op != Eq:
		return nil
	}
	return []Conjunct{{Op: op, Value: v}}
}
