package value

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The order of types; each is also the first byte of an index key, so all are
// above the terminator 0x00. Numbers take the four bytes from classNumber.
const (
	classMinKey    = 0x08
	classUndefined = 0x0c
	classNull      = 0x10
	classNumber    = 0x14
	classString    = 0x1c
	classObject    = 0x20
	classArray     = 0x24
	classBinary    = 0x28
	classObjectID  = 0x2c
	classBool      = 0x30
	classDate      = 0x34
	classTimestamp = 0x38
	classRegex     = 0x3c
	classDBPointer = 0x40
	classCode      = 0x44
	classCodeScope = 0x48
	classMaxKey    = 0xf0
)

// Class returns the place of v's type in BSON order. Values of one class are
// compared by value: all numbers share one, strings and symbols another. A
// missing field has the class of null.
func Class(v Value) byte {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol:
		return classString
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return classNumber
	case bson.TypeBoolean:
		return classBool
	case bson.TypeEmbeddedDocument:
		return classObject
	case bson.TypeArray:
		return classArray
	case bson.TypeDateTime:
		return classDate
	case bson.TypeObjectID:
		return classObjectID
	case bson.TypeBinary:
		return classBinary
	case bson.TypeTimestamp:
		return classTimestamp
	case bson.TypeRegex:
		return classRegex
	}
	return rareClass(v.Type)
}

// rareClass is Class of the types that few documents have. What is no type, a missing field
// among it, has the class of null.
func rareClass(t bson.Type) byte {
	switch t {
	case bson.TypeMinKey:
		return classMinKey
	case bson.TypeUndefined:
		return classUndefined
	case bson.TypeDBPointer:
		return classDBPointer
	case bson.TypeJavaScript:
		return classCode
	case bson.TypeCodeWithScope:
		return classCodeScope
	case bson.TypeMaxKey:
		return classMaxKey
	}
	return classNull
}

// Compare orders two values as MongoDB's BSON order does and returns -1, 0 or 1. Numbers of
// all types compare by exact value; NaN is below every number. Equality is wider than that
// of bytes: 1, 1.0 and decimal 1.00 are equal, and so are 0.0 and -0.0, and a string and a
// symbol of the same text. Whoever needs the bytes to be the same compares Data.
func Compare(a, b Value) int {
	ca, cb := Class(a), Class(b)
	if ca != cb {
		return cmp.Compare(ca, cb)
	}
	switch ca {
	case classNumber:
		return compareNumbers(a, b)
	case classString, classCode:
		return bytes.Compare(a.Str(), b.Str())
	case classObject:
		return compareElements(a.Data, b.Data, true)
	case classArray:
		return compareElements(a.Data, b.Data, false)
	case classBool, classObjectID:
		return bytes.Compare(a.Data, b.Data)
	case classDate:
		return cmp.Compare(int64(u64(a.Data)), int64(u64(b.Data)))
	case classTimestamp:
		return cmp.Compare(u64(a.Data), u64(b.Data))
	}
	return compareRare(ca, a.Data, b.Data)
}

// compareRare is Compare within the other classes. Those that it does not name have one
// value each, as null and MinKey: all of them are equal.
func compareRare(class byte, a, b []byte) int {
	switch class {
	case classBinary: // length, subtype, bytes
		if c := cmp.Compare(len(a), len(b)); c != 0 || len(a) < 4 {
			return c
		}
		return bytes.Compare(a[4:], b[4:])
	case classRegex: // pattern, options: both NUL-terminated, so bytes decide
		return bytes.Compare(a, b)
	case classDBPointer:
		na, ia := splitString(a)
		nb, ib := splitString(b)
		return cmp.Or(bytes.Compare(na, nb), bytes.Compare(ia, ib))
	case classCodeScope:
		ta, sa := splitScope(a)
		tb, sb := splitScope(b)
		return cmp.Or(bytes.Compare(ta, tb), compareElements(sa, sb, true))
	}
	return 0
}

// compareElements compares two documents or arrays element by element: type class, then
// name (for documents), then value; a prefix is the lesser. The class before the name is
// MongoDB's rule: {b: 1} is below {a: "x"}, because numbers are below strings. Names are
// compared byte by byte.
func compareElements(a, b []byte, names bool) int {
	ia, ib := Elements(a), Elements(b)
	for {
		ka, va, oka := ia.Next()
		kb, vb, okb := ib.Next()
		if !oka || !okb {
			switch {
			case oka:
				return 1
			case okb:
				return -1
			}
			return 0
		}
		if c := cmp.Compare(Class(va), Class(vb)); c != 0 {
			return c
		}
		if names {
			if c := bytes.Compare(ka, kb); c != 0 {
				return c
			}
		}
		if c := Compare(va, vb); c != 0 {
			return c
		}
	}
}

// Equal reports whether a and b have the same place in BSON order: 1 and 1.0
// are equal, documents with other field orders are not.
func Equal(a, b Value) bool {
	if a.Type == b.Type && bytes.Equal(a.Data, b.Data) {
		return true // NaN, too: it has one place
	}
	return Compare(a, b) == 0
}

// splitString splits a length-prefixed string from the bytes after it. rest is what follows
// the final NUL; both are nil if b holds no string.
func splitString(b []byte) (text, rest []byte) {
	n := prefixed(b, 4, 1)
	if n < 0 || n > len(b) {
		return nil, nil
	}
	return b[4 : n-1], b[n:]
}

// splitScope splits a code-with-scope value. Its layout is an int32 length of all, the code
// as a string, the scope as a document.
func splitScope(b []byte) (code, scope []byte) {
	if len(b) < 4 {
		return nil, nil
	}
	return splitString(b[4:])
}

// u64 and u32 read the little-endian integers of BSON; 0 where the bytes are too few, since
// nothing here panics on bytes that were not validated.
func u64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// Float returns the double of a TypeDouble value.
func (v Value) Float() float64 { return math.Float64frombits(u64(v.Data)) }

// Int returns the integer of an int32, int64, date or timestamp value.
func (v Value) Int() int64 {
	if v.Type == bson.TypeInt32 {
		return int64(int32(u32(v.Data)))
	}
	return int64(u64(v.Data))
}

// Decimal returns the decimal of a TypeDecimal128 value.
func (v Value) Decimal() bson.Decimal128 {
	if len(v.Data) < 16 {
		return bson.Decimal128{}
	}
	return bson.NewDecimal128(u64(v.Data[8:]), u64(v.Data))
}
