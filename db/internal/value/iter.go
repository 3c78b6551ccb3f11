package value

import (
	"bytes"
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An Iter walks the elements of an encoded document or array without
// allocating. It stops at the first malformed element.
type Iter struct {
	rest []byte
	bad  bool
}

// Elements returns an iterator over the document or array bytes doc.
func Elements(doc []byte) Iter {
	if len(doc) < 5 {
		return Iter{bad: true}
	}
	n := int(binary.LittleEndian.Uint32(doc))
	if n < 5 || n > len(doc) {
		return Iter{bad: true}
	}
	return Iter{rest: doc[4 : n-1]}
}

// Next returns the next element; key and v alias the document. ok is false at
// the end and at malformed bytes.
func (it *Iter) Next() (key []byte, v Value, ok bool) {
	if len(it.rest) == 0 {
		return nil, Value{}, false
	}
	t := bson.Type(it.rest[0])
	end := 1
	for end < len(it.rest) && it.rest[end] != 0 { // keys are short
		end++
	}
	if end == len(it.rest) {
		it.rest, it.bad = nil, true
		return nil, Value{}, false
	}
	key = it.rest[1:end]
	body := it.rest[end+1:]
	n := size(t, body)
	if n < 0 {
		it.rest, it.bad = nil, true
		return nil, Value{}, false
	}
	it.rest = body[n:]
	return key, Value{t, body[:n:n]}, true
}

// Malformed reports whether the iteration ended at malformed bytes.
func (it *Iter) Malformed() bool { return it.bad }

// size returns the number of bytes of a value of type t at the start of b, or -1 if b does
// not hold one. It is the one table of BSON's layouts: whoever walks over elements, in
// place or in a key, relies on it. A prefix is at most MaxEncoded, so what is added to it
// cannot overflow.
func size(t bson.Type, b []byte) int {
	n := -1
	switch t {
	case bson.TypeInt32:
		n = 4
	case bson.TypeDouble, bson.TypeInt64, bson.TypeDateTime, bson.TypeTimestamp:
		n = 8
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		n = prefixed(b, 4, 1)
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		n = prefixed(b, 0, 5)
	case bson.TypeBoolean:
		n = 1
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		n = 0
	case bson.TypeObjectID:
		n = 12
	case bson.TypeBinary:
		n = prefixed(b, 5, 0)
	case bson.TypeDecimal128:
		n = 16
	case bson.TypeDBPointer:
		if n = prefixed(b, 4, 1); n >= 0 {
			n += 12
		}
	case bson.TypeRegex:
		if i := bytes.IndexByte(b, 0); i >= 0 {
			if j := bytes.IndexByte(b[i+1:], 0); j >= 0 {
				n = i + j + 2
			}
		}
	}
	if n > len(b) {
		return -1
	}
	return n
}

// prefixed reads a little-endian int32 length and adds extra bytes to it. extra is what the
// prefix does not count: 4 for a string (the prefix itself), 0 for a document (which counts
// itself), 5 for binary data (the prefix and the subtype). A prefix below least is
// malformed.
func prefixed(b []byte, extra, least int) int {
	if len(b) < 4 {
		return -1
	}
	n := int(int32(binary.LittleEndian.Uint32(b)))
	if n < least || n > MaxEncoded {
		return -1
	}
	return n + extra
}

// MaxEncoded bounds every length prefix, in bytes; it leaves room for commands
// around a document of MaxDocument bytes.
const MaxEncoded = 64 << 20

// Get returns the value of the top-level field name of doc; the zero Value if it is absent.
// It is the loop of Iter.Next written out: most of the time of a filter goes to it.
// Validated documents have no name twice; of other bytes the first one counts.
func Get(doc []byte, name string) Value {
	if len(doc) < 5 {
		return Value{}
	}
	n := int(binary.LittleEndian.Uint32(doc))
	if n < 5 || n > len(doc) {
		return Value{}
	}
	rest := doc[4 : n-1]
	// An element of that name has at least its type, the name and a NUL.
	for len(rest) > len(name)+1 {
		t := bson.Type(rest[0])
		end := 1
		for end < len(rest) && rest[end] != 0 { // keys are short
			end++
		}
		if end == len(rest) {
			break
		}
		body := rest[end+1:]
		n := size(t, body)
		if n < 0 {
			break
		}
		if end == len(name)+1 && string(rest[1:end]) == name {
			return Value{t, body[:n:n]}
		}
		rest = body[n:]
	}
	return Value{}
}

// Begin starts a document in dst and returns the position to hand to End. The position is
// an offset and no pointer, so documents nest in one buffer that grows: a document is begun
// within another and ended before it.
func Begin(dst []byte) ([]byte, int) { return append(dst, 0, 0, 0, 0), len(dst) }

// End ends the document that Begin started at start.
func End(dst []byte, start int) []byte {
	dst = append(dst, 0)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// AppendElement appends one element with the given key and value.
func AppendElement(dst, key []byte, v Value) []byte {
	dst = append(dst, byte(v.Type))
	dst = append(dst, key...)
	dst = append(dst, 0)
	return append(dst, v.Data...)
}

// AppendHeader appends an element's type and key; its value's bytes follow.
func AppendHeader[K ~string | ~[]byte](dst []byte, t bson.Type, key K) []byte {
	dst = append(dst, byte(t))
	dst = append(dst, key...)
	return append(dst, 0)
}
