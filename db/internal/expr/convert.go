package expr

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// typeOf is $type, which knows a value that is missing from null.
//
//	{$type: "$a"}     "missing"
//	{$type: null}     "null"
//	{$type: 1.0}      "double"
func typeOf(e *Env, op string, args []value.Value) (value.Value, error) {
	return e.text(op, []byte(typeName(args[0])))
}

// isNumber is $isNumber. NaN is one, a date is none.
//
//	{$isNumber: "1"}     false
func isNumber(_ *Env, _ string, args []value.Value) (value.Value, error) {
	return boolean(args[0].IsNumber()), nil
}

// targets are the types that $convert converts to.
var targets = map[string]bson.Type{
	"double": bson.TypeDouble, "string": bson.TypeString, "objectId": bson.TypeObjectID, "bool": bson.TypeBoolean,
	"date": bson.TypeDateTime, "int": bson.TypeInt32, "long": bson.TypeInt64, "decimal": bson.TypeDecimal128,
}

// toType makes $toInt and the like.
func toType(t bson.Type) function {
	return function{1, 1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		if nullish(args[0]) {
			return nullValue, nil
		}
		return e.convert(op, args[0], t)
	}}
}

// A conversion is $convert. What its onError replaces are failures to convert; onNull is for an input
// that is null or missing. Both are evaluated only where they are needed.
//
//	{$convert: {input: "x", to: "int", onError: -1}}     -1
//	{$convert: {input: null, to: "int", onNull: 0}}      0
//	{$convert: {input: 1, to: "moon", onError: 0}}       an error
//	{$convert: {input: "7", to: 16}}                     7
type conversion struct {
	op                     string
	input, to, fail, empty node // fail and empty may be nil
}

func compileConvert(c *compiler, name string, arg value.Value) (node, error) {
	args, err := c.arguments(name, arg, 2, "input", "to", "onError", "onNull")
	if err != nil {
		return nil, err
	}
	return &conversion{name, args[0], args[1], args[2], args[3]}, nil
}

// An unknown target type is an error even with onError, for it is a mistake in the expression.
func (n *conversion) eval(e *Env) (value.Value, error) {
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	v, err := n.input.eval(e)
	if err != nil {
		return v, err
	}
	to, err := n.to.eval(e)
	if err != nil {
		return to, err
	}
	if nullish(v) {
		if n.empty == nil {
			return nullValue, nil
		}
		return n.empty.eval(e)
	}
	if nullish(to) {
		return nullValue, nil
	}
	if to.IsDoc() { // {type: …}
		to = value.Get(to.Data, "type")
	}
	t, err := target(n.op, to)
	if err != nil {
		return v, err
	}
	out, err := e.convert(n.op, v, t)
	if n.fail != nil && fault.Is(err, fault.ConversionFailure) {
		return n.fail.eval(e)
	}
	return out, err
}

// The numbers are those of BSON's types: 16 is int.
func target(op string, v value.Value) (bson.Type, error) {
	if v.Type == bson.TypeString {
		if t, ok := targets[string(v.Str())]; ok {
			return t, nil
		}
		return 0, fault.Errorf(fault.BadValue, "%s: unknown or unsupported type name: %s", op, v.Str())
	}
	n, ok := number.Whole(v)
	if !ok {
		return 0, fault.Errorf(fault.FailedToParse, "%s's 'to' argument must be a string or number, but is %s", op, typeName(v))
	}
	for _, t := range targets {
		if int64(t) == n {
			return t, nil
		}
	}
	return 0, fault.Errorf(fault.FailedToParse, "In %s, numeric value for 'to' does not correspond to a supported BSON type: %d", op, n)
}

func errConvert(op string, v value.Value, t bson.Type) error {
	return fault.Errorf(fault.ConversionFailure, "Unsupported conversion from %s to %s in %s with no onError value", typeName(v), typeName(value.Value{Type: t}), op)
}

func errFailed(op string, v value.Value, t bson.Type, why string) error {
	text := value.AppendJSONValue(nil, v, false)
	if len(text) > 100 {
		text = append(text[:100:100], "…"...)
	}
	return fault.Errorf(fault.ConversionFailure, "Failed to convert %s to %s in %s with no onError value: %s", strings.ToValidUTF8(string(text), ""), typeName(value.Value{Type: t}), op, why)
}

// convert is $toInt and the like. What cannot be converted (a document to an int, "abc" to a date, 1e10
// to an int) is a ConversionFailure, which onError replaces. Numbers lose their fraction toward zero;
// text must be of the type as a whole, so that "1.5" is no int.
//
//	{$toInt: -2.9}         -2
//	{$toInt: "2.9"}        an error
//	{$toInt: 1e10}         an error
//	{$toBool: "false"}     true
//	{$toInt: true}         1
func (e *Env) convert(op string, v value.Value, t bson.Type) (value.Value, error) {
	if v.Type == t {
		return v, nil
	}
	switch t {
	case bson.TypeBoolean:
		return boolean(True(v)), nil
	case bson.TypeString:
		return e.toString(op, v)
	case bson.TypeDateTime:
		return e.toDate(op, v)
	case bson.TypeObjectID:
		if v.Type != bson.TypeString {
			return v, errConvert(op, v, t)
		}
		id := e.alloc(12)
		if len(v.Str()) != 24 {
			return v, errFailed(op, v, t, "an ObjectId has 24 hexadecimal digits")
		}
		if _, err := hex.Decode(id, v.Str()); err != nil {
			return v, errFailed(op, v, t, "an ObjectId has 24 hexadecimal digits")
		}
		return value.Value{Type: t, Data: id}, nil
	}
	return e.toNumber(op, v, t)
}

// toString has no text for documents and arrays; that of a date is in UTC.
//
//	{$toString: 1.0}       "1"
//	{$toString: 1e21}      "1e+21"
//	{$toString: [[1]]}     an error
func (e *Env) toString(op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeBoolean:
		return e.text(op, strconv.AppendBool(nil, v.Bool()))
	case bson.TypeObjectID:
		return e.text(op, hex.AppendEncode(nil, v.Data))
	case bson.TypeDateTime:
		return e.text(op, isoDate(nil, v.Int()))
	case bson.TypeSymbol, bson.TypeJavaScript:
		return e.text(op, v.Str())
	}
	if v.IsNumber() {
		return e.text(op, appendNumber(nil, v))
	}
	return v, errConvert(op, v, bson.TypeString)
}

// toDate takes milliseconds since 1970 of all numbers but an int32, which is too small for one of today.
//
//	{$toString: {$toDate: 1500.9}}           "1970-01-01T00:00:01.500Z"
//	{$toString: {$toDate: "2024-02-29"}}     "2024-02-29T00:00:00.000Z"
//	{$toDate: "2023-02-29"}                  an error
func (e *Env) toDate(op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeString:
		ms, why := parseDate(string(v.Str()), nil)
		if why != "" {
			return v, errFailed(op, v, bson.TypeDateTime, why)
		}
		return e.date(ms), nil
	case bson.TypeObjectID, bson.TypeTimestamp:
		ms, _ := dateOf(v)
		return e.date(ms), nil
	case bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		n, err := e.toNumber(op, v, bson.TypeInt64)
		if err != nil {
			return v, err
		}
		return e.date(n.Int()), nil
	}
	return v, errConvert(op, v, bson.TypeDateTime)
}

// toNumber converts to a number, truncating toward zero.
func (e *Env) toNumber(op string, v value.Value, t bson.Type) (value.Value, error) {
	switch v.Type {
	case bson.TypeBoolean:
		n := int32(0)
		if v.Bool() {
			n = 1
		}
		return e.toNumber(op, value.Int32(n), t)
	case bson.TypeDateTime:
		if t == bson.TypeInt32 {
			return v, errConvert(op, v, t)
		}
		return e.convert(op, value.Value{Type: bson.TypeInt64, Data: v.Data}, t)
	case bson.TypeString:
		return e.parseNumber(op, v, t)
	}
	if !v.IsNumber() {
		return v, errConvert(op, v, t)
	}
	switch t {
	case bson.TypeDouble:
		f := number.Float(v)
		if v.Type == bson.TypeDecimal128 && math.IsInf(f, 0) && v.Decimal().IsInf() == 0 {
			return v, errFailed(op, v, t, "out of range")
		}
		return e.double(f), nil
	case bson.TypeDecimal128:
		return e.decimal(number.Decimal(v)), nil
	}
	n, ok := truncated(v)
	if !ok || t == bson.TypeInt32 && n != int64(int32(n)) {
		return v, errFailed(op, v, t, "out of range")
	}
	if t == bson.TypeInt32 {
		return e.int32(int32(n)), nil
	}
	return e.int64(n), nil
}

// truncated drops the fraction; ok is false if that is no int64. A decimal of more than 19 digits
// before its point is no int64; to look saves writing out 1E+6000.
func truncated(v value.Value) (n int64, ok bool) {
	switch v.Type {
	case bson.TypeDouble:
		f := math.Trunc(v.Float())
		return int64(f), f >= -(1<<63) && f < 1<<63
	case bson.TypeDecimal128:
		d := number.FromBSON(v.Decimal())
		if d.Form != apd.Finite || d.NumDigits()+int64(d.Exponent) > 19 {
			return 0, false
		}
		n, err := number.Quantize(d, 0, apd.RoundDown).Int64()
		return n, err == nil
	}
	return v.Int(), true
}

// Go's syntax is wider than MongoDB's: underscores, hexadecimal digits and binary exponents are
// refused.
func (e *Env) parseNumber(op string, v value.Value, t bson.Type) (value.Value, error) {
	s := string(v.Str())
	bad := errFailed(op, v, t, "not a number of that type")
	if s == "" || strings.Trim(s, " \t\n\r_") != s || strings.ContainsAny(s, "_xXpP") {
		return v, bad
	}
	switch t {
	case bson.TypeInt32, bson.TypeInt64:
		size := 64
		if t == bson.TypeInt32 {
			size = 32
		}
		n, err := strconv.ParseInt(s, 10, size)
		if err != nil {
			return v, bad
		}
		if t == bson.TypeInt32 {
			return e.int32(int32(n)), nil
		}
		return e.int64(n), nil
	case bson.TypeDouble:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return v, bad
		}
		return e.double(f), nil
	}
	if len(s) > 1000 {
		return v, bad
	}
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		return v, bad
	}
	b := e.alloc(16)
	value.AppendDecimal(b[:0], d)
	return value.Value{Type: t, Data: b}, nil
}
