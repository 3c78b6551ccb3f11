package value

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// AppendJSON appends doc as Extended JSON v2, canonical or relaxed, on one line.
func AppendJSON(dst, doc []byte, canonical bool) []byte {
	return AppendJSONValue(dst, Doc(doc), canonical)
}

// AppendJSONValue appends v as Extended JSON v2. Canonical text gives back the
// same bytes, but of a value with a [Wrapper]; relaxed text may widen or narrow number types.
func AppendJSONValue(dst []byte, v Value, canonical bool) []byte {
	switch v.Type {
	case bson.TypeString:
		return appendQuoted(dst, v.Str())
	case bson.TypeEmbeddedDocument:
		return appendObject(dst, v.Data, canonical)
	case bson.TypeArray:
		dst = append(dst, '[')
		it := Elements(v.Data)
		for i := 0; ; i++ {
			_, e, ok := it.Next()
			if !ok {
				return append(dst, ']')
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONValue(dst, e, canonical)
		}
	case bson.TypeBoolean:
		return strconv.AppendBool(dst, v.Bool())
	case bson.TypeNull, 0:
		return append(dst, "null"...)
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble:
		return appendJSONNumber(dst, v, canonical)
	case bson.TypeDateTime:
		return appendDate(dst, v.Int(), canonical)
	}
	return appendWrapped(dst, v, canonical)
}

func appendObject(dst, doc []byte, canonical bool) []byte {
	dst = append(dst, '{')
	it := Elements(doc)
	for i := 0; ; i++ {
		k, e, ok := it.Next()
		if !ok {
			return append(dst, '}')
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, k), ':')
		dst = AppendJSONValue(dst, e, canonical)
	}
}

func wrap(dst []byte, name, text string) []byte {
	dst = append(append(append(dst, `{"`...), name...), `":`...)
	return append(appendQuoted(dst, []byte(text)), '}')
}

func appendJSONNumber(dst []byte, v Value, canonical bool) []byte {
	switch {
	case v.Type == bson.TypeDouble:
		return appendDouble(dst, v.Float(), canonical)
	case !canonical:
		return strconv.AppendInt(dst, v.Int(), 10)
	case v.Type == bson.TypeInt32:
		return wrap(dst, "$numberInt", strconv.FormatInt(v.Int(), 10))
	}
	return wrap(dst, "$numberLong", strconv.FormatInt(v.Int(), 10))
}

// appendDouble prints the fewest digits that read back. Whole numbers get ".0" (from 1e15
// on an exponent), so that relaxed text still says double. JSON has no infinities and NaN:
// they are wrapped in both forms.
func appendDouble(dst []byte, f float64, canonical bool) []byte {
	var s string
	switch {
	case f != f:
		s, canonical = "NaN", true
	case math.IsInf(f, 0):
		s, canonical = "Infinity", true
		if f < 0 {
			s = "-Infinity"
		}
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		s = strconv.FormatFloat(f, 'f', 1, 64)
	default:
		s = strconv.FormatFloat(f, 'g', -1, 64)
	}
	if canonical {
		return wrap(dst, "$numberDouble", s)
	}
	return append(dst, s...)
}

// appendDate prints ISO text for the years 1970 to 9999 in relaxed form.
func appendDate(dst []byte, ms int64, canonical bool) []byte {
	const year10000 = 253402300800000
	if canonical || ms < 0 || ms >= year10000 {
		dst = append(dst, `{"$date":{"$numberLong":"`...)
		return append(strconv.AppendInt(dst, ms, 10), `"}}`...)
	}
	layout := "2006-01-02T15:04:05Z"
	if ms%1000 != 0 {
		layout = "2006-01-02T15:04:05.000Z"
	}
	dst = append(dst, `{"$date":"`...)
	return append(time.UnixMilli(ms).UTC().AppendFormat(dst, layout), `"}`...)
}

// appendWrapped prints the types that JSON does not have. They look the same in both forms,
// but for what the scope of a code holds.
func appendWrapped(dst []byte, v Value, canonical bool) []byte {
	switch v.Type {
	case bson.TypeDecimal128:
		return wrap(dst, "$numberDecimal", v.Decimal().String())
	case bson.TypeObjectID:
		return wrap(dst, "$oid", hex.EncodeToString(v.Data))
	case bson.TypeSymbol:
		return wrap(dst, "$symbol", string(v.Str()))
	case bson.TypeJavaScript:
		return wrap(dst, "$code", string(v.Str()))
	case bson.TypeMinKey:
		return append(dst, `{"$minKey":1}`...)
	case bson.TypeMaxKey:
		return append(dst, `{"$maxKey":1}`...)
	case bson.TypeUndefined:
		return append(dst, `{"$undefined":true}`...)
	case bson.TypeTimestamp:
		u := u64(v.Data)
		dst = strconv.AppendUint(append(dst, `{"$timestamp":{"t":`...), u>>32, 10)
		dst = strconv.AppendUint(append(dst, `,"i":`...), u&math.MaxUint32, 10)
		return append(dst, `}}`...)
	case bson.TypeBinary:
		if len(v.Data) < 5 {
			return append(dst, "null"...)
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, `{"$binary":{"base64":"`...), v.Data[5:])
		dst = hex.AppendEncode(append(dst, `","subType":"`...), v.Data[4:5])
		return append(dst, `"}}`...)
	case bson.TypeRegex:
		pattern, options := splitRegex(v.Data)
		dst = appendQuoted(append(dst, `{"$regularExpression":{"pattern":`...), pattern)
		return append(appendQuoted(append(dst, `,"options":`...), options), `}}`...)
	case bson.TypeCodeWithScope:
		code, scope := splitScope(v.Data)
		dst = appendQuoted(append(dst, `{"$code":`...), code)
		return append(appendObject(append(dst, `,"$scope":`...), scope, canonical), '}')
	case bson.TypeDBPointer:
		ns, id := splitString(v.Data)
		dst = appendQuoted(append(dst, `{"$dbPointer":{"$ref":`...), ns)
		return append(wrap(append(dst, `,"$id":`...), "$oid", hex.EncodeToString(id)), `}}`...)
	}
	return append(dst, "null"...)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
