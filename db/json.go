package db

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// ParseJSON parses one object of Extended JSON v2, relaxed or canonical, into a
// document. Its errors give the position in bytes.
func ParseJSON(text []byte) (bson.Raw, error) { return value.ParseJSON(text) }

// ParseJSONValue parses one value of Extended JSON v2.
func ParseJSONValue(text []byte) (bson.RawValue, error) {
	v, err := value.ParseJSONValue(text)
	if err != nil {
		return bson.RawValue{}, err
	}
	return bson.RawValue{Type: v.Type, Value: v.Data}, nil
}

// ParseTyped parses a value as people type it: Extended JSON, v1 or v2, and the notation of
// MongoDB's shell: {name: 'x', at: ISODate('2026-11-29')}. A whole number beyond 64 bits is
// refused, not rounded.
func ParseTyped(text []byte) (bson.RawValue, error) {
	v, err := value.ParseTyped(text)
	if err != nil {
		return bson.RawValue{}, err
	}
	return bson.RawValue{Type: v.Type, Value: v.Data}, nil
}

// Wrapper returns the name of a field that Extended JSON takes for the wrapper of another type,
// as of {a: {$oid: "…"}} with a plain field $oid; "" if a document has none.
func Wrapper(doc bson.Raw) string { return value.Wrapper(value.Doc(doc)) }

// AppendJSON appends a document as Extended JSON v2 on one line. Canonical text
// gives back the same bytes, but of a document with a [Wrapper]; relaxed text is for people and may change the types
// of numbers.
func AppendJSON(dst []byte, doc bson.Raw, canonical bool) []byte {
	return value.AppendJSON(dst, doc, canonical)
}

// AppendJSONValue appends a value as [AppendJSON] does.
func AppendJSONValue(dst []byte, v bson.RawValue, canonical bool) []byte {
	return value.AppendJSONValue(dst, value.Value{Type: v.Type, Data: v.Value}, canonical)
}
