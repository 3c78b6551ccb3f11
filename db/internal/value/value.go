// Package value works on encoded BSON without decoding it: validation, lookup,
// comparison in MongoDB's order, index keys and Extended JSON.
//
//	document bytes ── Iter ── Value          walk the elements in place
//	      │            Path                  dotted lookup through arrays
//	   Validate                              the strict check at ingest
//	Value ── Compare, Equal, AppendKey       one order, in memory and in indexes
//	text  ── ParseJSON, AppendJSON           Extended JSON v2
//
// Functions other than Validate and ParseJSON expect validated bytes; on other
// bytes they end early, they never panic.
package value

import (
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// Bounds of a stored document. They are no settings: every replica has to take or refuse
// the same bytes.
const (
	// MaxDocument is the largest encoded document, in bytes. A record of one operation holds
	// it, so that whatever is stored can be written elsewhere as it is.
	MaxDocument = 956 << 10
	// MaxText is the largest text of a value in Extended JSON, in bytes.
	MaxText = 16 << 20
	// MaxDepth is the deepest nesting; a flat document has depth 1.
	MaxDepth = 100
)

// ErrTooLarge reports a document, or a text of one, over its limit.
var ErrTooLarge = fault.New(fault.TooLarge, "too large")

// A Value is one encoded BSON value. Data aliases the document it came from. The zero Value
// (type 0) stands for a missing field. Data is what BSON has behind an element's key: the
// four bytes of an int32, the length, text and NUL of a string, nothing of a null.
type Value struct {
	Type bson.Type
	Data []byte
}

// Of returns rv as a Value that aliases it.
func Of(rv bson.RawValue) Value { return Value{Type: rv.Type, Data: rv.Value} }

// Doc returns the encoded document doc as a Value.
func Doc(doc []byte) Value { return Value{Type: bson.TypeEmbeddedDocument, Data: doc} }

// Raw returns v in the driver's type, aliasing v.
func (v Value) Raw() bson.RawValue { return bson.RawValue{Type: v.Type, Value: v.Data} }

// Exists reports whether v is a value rather than a missing field. The null of a document
// exists.
func (v Value) Exists() bool { return v.Type != 0 }

// IsDoc reports whether v is an embedded document.
func (v Value) IsDoc() bool { return v.Type == bson.TypeEmbeddedDocument }

// IsArray reports whether v is an array.
func (v Value) IsArray() bool { return v.Type == bson.TypeArray }

// IsNumber reports whether v is an int32, int64, double or decimal. A boolean or a date is
// none, although some operators calculate with dates.
func (v Value) IsNumber() bool {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return true
	}
	return false
}

// Str returns the text of a string, symbol or code value, without a copy; nil
// for other types.
func (v Value) Str() []byte {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		if len(v.Data) >= 5 {
			return v.Data[4 : len(v.Data)-1]
		}
	}
	return nil
}

// Bool reports whether v is the boolean true.
func (v Value) Bool() bool {
	return v.Type == bson.TypeBoolean && len(v.Data) == 1 && v.Data[0] != 0
}

// String builds a string value.
func String(s string) Value {
	d := binary.LittleEndian.AppendUint32(make([]byte, 0, len(s)+5), uint32(len(s)+1))
	d = append(d, s...)
	return Value{bson.TypeString, append(d, 0)}
}

// Int64 builds an int64 value.
func Int64(n int64) Value {
	return Value{bson.TypeInt64, binary.LittleEndian.AppendUint64(nil, uint64(n))}
}

// Int32 builds an int32 value.
func Int32(n int32) Value {
	return Value{bson.TypeInt32, binary.LittleEndian.AppendUint32(nil, uint32(n))}
}

// DateTime builds a date value from milliseconds since 1970.
func DateTime(ms int64) Value {
	return Value{bson.TypeDateTime, binary.LittleEndian.AppendUint64(nil, uint64(ms))}
}

// Null is the null value.
func Null() Value { return Value{Type: bson.TypeNull} }
