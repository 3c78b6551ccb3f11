package query

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// truthy is MongoDB's notion of a true argument.
func truthy(v value.Value) bool {
	switch v.Type {
	case bson.TypeBoolean:
		return v.Bool()
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return value.Compare(v, value.Int32(0)) != 0
	}
	return v.Exists() && !nullish(v)
}

// integral returns a number that is exactly an int64.
func integral(v value.Value) (int64, bool) {
	n, ok := truncated(v)
	return n, ok && value.Compare(v, value.Int64(n)) == 0
}

func regexOperator(key string, v, options value.Value) (part, error) {
	o := ""
	if options.Exists() {
		if options.Type != bson.TypeString {
			return part{}, errBad("%s: $options has to be a string", key)
		}
		o = string(options.Str())
	}
	switch v.Type {
	case bson.TypeString:
		raw := append(append(append([]byte(nil), v.Str()...), 0), o...)
		if strings.IndexByte(string(raw[:len(v.Str())]), 0) >= 0 || strings.IndexByte(o, 0) >= 0 {
			return part{}, fault.Errorf(fault.InvalidRegex, "%s: $regex: pattern holds a NUL byte", key)
		}
		return regexPart(key, value.Value{Type: bson.TypeRegex, Data: append(raw, 0)}, "")
	case bson.TypeRegex:
		if _, own := v.Regex(); own != "" && o != "" {
			return part{}, fault.Errorf(fault.FailedToParse, "%s: $regex: options set in both $regex and $options", key)
		}
		return regexPart(key, v, o)
	}
	return part{}, errBad("%s: $regex has to be a string", key)
}

// regexPart compiles a regular expression value; options adds to its own.
func regexPart(key string, v value.Value, options string) (part, error) {
	pattern, own := v.Regex()
	l, err := compileRegex(key, pattern, own+options)
	if err != nil {
		return part{}, err
	}
	l.raw = v
	p := part{leaf: l, reach: reachDeep}
	if prefix := literalPrefix(pattern, own+options); prefix != "" {
		p.note = []Conjunct{{Op: Prefix, Value: value.String(prefix)}}
	}
	return p, nil
}

var typeNames = map[string][]bson.Type{
	"double": {bson.TypeDouble}, "string": {bson.TypeString}, "object": {bson.TypeEmbeddedDocument},
	"array": {bson.TypeArray}, "binData": {bson.TypeBinary}, "undefined": {bson.TypeUndefined},
	"objectId": {bson.TypeObjectID}, "bool": {bson.TypeBoolean}, "date": {bson.TypeDateTime},
	"null": {bson.TypeNull}, "regex": {bson.TypeRegex}, "dbPointer": {bson.TypeDBPointer},
	"javascript": {bson.TypeJavaScript}, "symbol": {bson.TypeSymbol},
	"javascriptWithScope": {bson.TypeCodeWithScope}, "int": {bson.TypeInt32},
	"timestamp": {bson.TypeTimestamp}, "long": {bson.TypeInt64}, "decimal": {bson.TypeDecimal128},
	"minKey": {bson.TypeMinKey}, "maxKey": {bson.TypeMaxKey},
	"number": {bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128},
}

func typePart(key string, v value.Value) (part, error) {
	l := &typeLeaf{}
	if !v.IsArray() {
		return part{leaf: l}, l.add(key, v)
	}
	n := 0
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if err := l.add(key, e); err != nil {
			return part{}, err
		}
		n++
	}
	if n == 0 {
		return part{}, fault.Errorf(fault.FailedToParse, "%s: $type must match at least one type", key)
	}
	return part{leaf: l}, nil
}

func (l *typeLeaf) add(key string, v value.Value) error {
	if v.Type == bson.TypeString {
		types, ok := typeNames[string(v.Str())]
		if !ok {
			return errBad("%s: $type: Unknown type name alias: %s", key, v.Str())
		}
		for _, t := range types {
			l[t] = true
		}
		return nil
	}
	n, ok := integral(v)
	if !ok {
		return fault.Errorf(fault.TypeMismatch, "%s: $type must be represented as a number or a string", key)
	}
	switch {
	case n == -1:
		n = int64(bson.TypeMinKey)
	case n == 127, n >= 1 && n <= 19:
	default:
		return errBad("%s: $type: Invalid numerical type code: %d", key, n)
	}
	l[n] = true
	return nil
}

func modPart(key string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: malformed mod, needs to be an array", key)
	}
	d, r := value.At(v.Data, 0), value.At(v.Data, 1)
	switch {
	case !r.Exists():
		return part{}, errBad("%s: malformed $mod, not enough elements", key)
	case value.At(v.Data, 2).Exists():
		return part{}, errBad("%s: malformed $mod, too many elements", key)
	}
	divisor, ok := truncated(d)
	remainder, ok2 := truncated(r)
	switch {
	case !ok:
		return part{}, errBad("%s: malformed $mod, divisor value is invalid", key)
	case !ok2:
		return part{}, errBad("%s: malformed $mod, remainder value is invalid", key)
	case divisor == 0:
		return part{}, errBad("%s: $mod: divisor cannot be 0", key)
	}
	return part{leaf: modLeaf{divisor, remainder}, reach: reachMod}, nil
}
