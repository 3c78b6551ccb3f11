package schema

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// kinds are JSON's types, a bit each.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBoolean
	kindNumber
	kindInteger // a number without a fraction; such a value has both bits
	kindString
	kindArray
	kindObject
)

var kindNames = map[string]kinds{
	"null": kindNull, "boolean": kindBoolean, "number": kindNumber, "integer": kindInteger, "string": kindString,
	"array": kindArray, "object": kindObject,
}

// kindOf returns the JSON type of a BSON value. Numbers that JSON does not have (NaN,
// infinities) have none. A date, an ObjectId and all that JSON has no type for are strings;
// text says which.
func kindOf(v value.Value) kinds {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return kindNull
	case bson.TypeBoolean:
		return kindBoolean
	case bson.TypeInt32, bson.TypeInt64:
		return kindNumber | kindInteger
	case bson.TypeDouble:
		f := v.Float()
		switch {
		case math.IsNaN(f) || math.IsInf(f, 0):
			return 0
		case f == math.Trunc(f):
			return kindNumber | kindInteger
		}
		return kindNumber
	case bson.TypeDecimal128:
		r := rat(v)
		switch {
		case r == nil:
			return 0
		case r.IsInt():
			return kindNumber | kindInteger
		}
		return kindNumber
	case bson.TypeArray:
		return kindArray
	case bson.TypeEmbeddedDocument:
		return kindObject
	}
	return kindString
}

// rat returns a number as JSON text would give it, a double by its shortest
// digits; nil if JSON does not have it.
//
//	double 0.1          1/10, not the 0.1000000000000000055… that it is
//	decimal 1.50        3/2
func rat(v value.Value) *big.Rat {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return new(big.Rat).SetInt64(v.Int())
	case bson.TypeDouble:
		r, ok := new(big.Rat).SetString(strconv.FormatFloat(v.Float(), 'g', -1, 64))
		if ok {
			return r
		}
	case bson.TypeDecimal128:
		n, exp, err := v.Decimal().BigInt()
		if err != nil {
			return nil
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exp, -exp))), nil)
		if exp >= 0 {
			return new(big.Rat).SetInt(n.Mul(n, scale))
		}
		return new(big.Rat).SetFrac(n, scale)
	}
	return nil
}

// text returns a value of kindString as the text that schemas see; it may
// alias v.
func text(v value.Value) []byte {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return v.Str()
	case bson.TypeDateTime:
		return time.UnixMilli(int64(binary.LittleEndian.Uint64(v.Data))).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z")
	case bson.TypeObjectID:
		return hex.AppendEncode(nil, v.Data)
	case bson.TypeBinary:
		if len(v.Data) >= 5 {
			return base64.StdEncoding.AppendEncode(nil, v.Data[5:])
		}
	}
	return value.AppendJSONValue(nil, v, false)
}

// appendCanonical appends a form of v that is the same for values that JSON
// takes for equal, and for no others.
//
//	null    z            "ab"            s‹2›ab
//	true    t            [1]             [n1;]
//	1.50    n3/2;        {b: 1, a: 2}    {s‹1›an2;s‹1›bn1;}
//
// Texts have their length before them, so that no text can look like something else. Fields
// are sorted.
func appendCanonical(dst []byte, v value.Value) []byte {
	switch kindOf(v) {
	case kindNull:
		return append(dst, 'z')
	case kindBoolean:
		if v.Bool() {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case kindArray:
		dst = append(dst, '[')
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			dst = appendCanonical(dst, e)
		}
		return append(dst, ']')
	case kindObject:
		fields := map[string]value.Value{}
		it := value.Elements(v.Data)
		for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
			fields[string(k)] = e
		}
		dst = append(dst, '{')
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			dst = appendCanonical(appendSized(dst, k), fields[k])
		}
		return append(dst, '}')
	case kindString:
		return appendSized(dst, text(v))
	case 0:
		// NaN and the infinities: equal to themselves only.
		return append(appendSized(append(dst, '!'), v.Data), byte(v.Type))
	}
	if v.Type == bson.TypeInt32 || v.Type == bson.TypeInt64 {
		return append(strconv.AppendInt(append(dst, 'n'), v.Int(), 10), ';')
	}
	return append(append(append(dst, 'n'), rat(v).RatString()...), ';')
}

// appendSized appends a text, or a field's name, behind its length.
func appendSized[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(append(dst, 's'), uint64(len(s)))
	return append(dst, s...)
}

// appendJSONCanonical is appendCanonical of a decoded JSON value. It is for the const and
// enum of schemas: a document's value is equal if appendCanonical gives these bytes.
func appendJSONCanonical(dst []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(dst, 'z'), nil
	case bool:
		if v {
			return append(dst, 't'), nil
		}
		return append(dst, 'f'), nil
	case []any:
		dst = append(dst, '[')
		for _, e := range v {
			if dst, err = appendJSONCanonical(dst, e); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case map[string]any:
		dst = append(dst, '{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if dst, err = appendJSONCanonical(appendSized(dst, k), v[k]); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case string:
		return appendSized(dst, v), nil
	case json.Number:
		r, err := parseNumber(v.String())
		if err != nil {
			return nil, err
		}
		return append(append(append(dst, 'n'), r.RatString()...), ';'), nil
	}
	return nil, fmt.Errorf("no JSON value: %T", v)
}
