package expr

import (
	"bytes"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// coerced is the text of a value where MongoDB accepts more than strings.
//
//	{$toUpper: 1.5}      "1.5"
//	{$toLower: null}     ""
//	{$toUpper: true}     an error
func coerced(v value.Value) ([]byte, error) {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return v.Str(), nil
	case bson.TypeDateTime:
		return isoDate(nil, v.Int()), nil
	case bson.TypeTimestamp:
		return isoDate(nil, v.Int()>>32*1000), nil
	}
	if nullish(v) {
		return nil, nil
	}
	if v.IsNumber() {
		return appendNumber(nil, v), nil
	}
	return nil, fault.Errorf(fault.TypeMismatch, "can't convert from BSON type %s to String", typeName(v))
}

// Doubles have as many digits as read back, in plain form from 1e-5 up to 1e17.
func appendNumber(dst []byte, v value.Value) []byte {
	switch v.Type {
	case bson.TypeDouble:
		f := v.Float()
		switch {
		case f != f:
			return append(dst, "NaN"...)
		case math.IsInf(f, 1):
			return append(dst, "Infinity"...)
		case math.IsInf(f, -1):
			return append(dst, "-Infinity"...)
		case f == 0 || math.Abs(f) >= 1e-5 && math.Abs(f) < 1e17:
			return strconv.AppendFloat(dst, f, 'f', -1, 64)
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case bson.TypeDecimal128:
		return append(dst, v.Decimal().String()...)
	}
	return strconv.AppendInt(dst, v.Int(), 10)
}

func isoDate(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}

// concat is $concat, which takes strings only: a number has to be made one by $toString.
//
//	{$concat: ["a", 1]}        an error
//	{$concat: ["a", null]}     null
func concat(e *Env, op string, args []value.Value) (value.Value, error) {
	n := 0
	for _, v := range args {
		if nullish(v) {
			return nullValue, nil
		}
		if v.Type != bson.TypeString {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports strings, not %s", op, typeName(v))
		}
		n += len(v.Str())
	}
	if err := e.room(op, n); err != nil {
		return nullValue, err
	}
	s := make([]byte, 0, n)
	for _, v := range args {
		s = append(s, v.Str()...)
	}
	return e.text(op, s)
}

// cased makes $toUpper and $toLower, which change ASCII letters only. What lies beyond ASCII keeps its
// case, as in MongoDB, so that no version of Unicode matters.
//
//	{$toUpper: "straße"}     "STRAßE"
//	{$toLower: "ÄB"}         "Äb"
func cased(from, to byte) function {
	return function{1, 1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		s, err := coerced(args[0])
		if err != nil {
			return nullValue, err
		}
		return e.text(op, withCase(s, from, to))
	}}
}

func withCase(s []byte, from, to byte) []byte {
	s = bytes.Clone(s)
	for i, b := range s {
		if b >= from && b < from+26 {
			s[i] = b - from + to
		}
	}
	return s
}

// strcasecmp is $strcasecmp: -1, 0 or 1, of ASCII letters without their case.
//
//	{$strcasecmp: ["Ab", "aB"]}     0
//	{$strcasecmp: ["b", "A"]}       1
func strcasecmp(e *Env, _ string, args []value.Value) (value.Value, error) {
	a, err := coerced(args[0])
	if err != nil {
		return nullValue, err
	}
	b, err := coerced(args[1])
	if err != nil {
		return nullValue, err
	}
	return e.count(bytes.Compare(withCase(a, 'a', 'A'), withCase(b, 'a', 'A'))), nil
}

// substrBytes is $substr and $substrBytes, which divide between characters only:
//
//	"héllo", 0, 1    "h"       "héllo", 0, 2    an error: é has two bytes
//	"héllo", 1, -1   "éllo"    "héllo", 9, 1    ""
func substrBytes(e *Env, op string, args []value.Value) (value.Value, error) {
	s, err := coerced(args[0])
	if err != nil {
		return nullValue, err
	}
	if !args[1].IsNumber() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s: starting index must be a numeric type (is BSON type %s)", op, typeName(args[1]))
	}
	if !args[2].IsNumber() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s: length must be a numeric type (is BSON type %s)", op, typeName(args[2]))
	}
	from, n := toward(args[1]), toward(args[2])
	switch {
	case from < 0:
		return nullValue, fault.Errorf(fault.BadValue, "%s: starting index must be non-negative (got: %d)", op, from)
	case from >= int64(len(s)):
		return e.text(op, nil)
	case n < 0 || n > int64(len(s))-from:
		n = int64(len(s)) - from
	}
	if !utf8.RuneStart(s[from]) {
		return nullValue, fault.Errorf(fault.BadValue, "%s: Invalid range, starting index is a UTF-8 continuation byte", op)
	}
	if end := from + n; end < int64(len(s)) && !utf8.RuneStart(s[end]) {
		return nullValue, fault.Errorf(fault.BadValue, "%s: Invalid range, ending index is in the middle of a UTF-8 character", op)
	}
	return e.text(op, s[from:from+n])
}

// toward truncates a number to an int64, clamped.
func toward(v value.Value) int64 {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int()
	}
	f := number.Float(v)
	switch {
	case f != f:
		return 0
	case f >= 1<<62:
		return 1 << 62
	case f <= -(1 << 62):
		return -(1 << 62)
	}
	return int64(f)
}

// substrCP is $substrCP, which counts code points and cannot divide one. A length below 0 is an error here,
// where $substrBytes takes the rest.
//
//	{$substrCP: ["héllo", 1, 2]}      "él"
//	{$substrCP: ["héllo", 9, 1]}      ""
//	{$substrCP: ["héllo", 1, -1]}     an error
func substrCP(e *Env, op string, args []value.Value) (value.Value, error) {
	s, err := coerced(args[0])
	if err != nil {
		return nullValue, err
	}
	var at [2]int
	for i, v := range args[1:] {
		name := [...]string{"starting index", "length"}[i]
		if !v.IsNumber() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s: %s must be a numeric type (is BSON type %s)", op, name, typeName(v))
		}
		n, ok := number.Int32(v)
		if !ok {
			return nullValue, fault.Errorf(fault.BadValue, "%s: %s cannot be represented as a 32-bit integral value", op, name)
		}
		if n < 0 {
			return nullValue, fault.Errorf(fault.BadValue, "%s: %s must be a nonnegative integer", op, name)
		}
		at[i] = n
	}
	from := offset(s, at[0])
	return e.text(op, s[from:from+offset(s[from:], at[1])])
}

// offset is where in s code point n begins; the length of s if it has fewer.
func offset(s []byte, n int) int {
	i := 0
	for ; n > 0 && i < len(s); n-- {
		_, w := utf8.DecodeRune(s[i:])
		i += w
	}
	return i
}

// lengthOf makes $strLenBytes and $strLenCP. A missing text has no length: it is an error.
//
//	{$strLenBytes: "é"}     2
//	{$strLenCP: "é"}        1
//	{$strLenCP: "$a"}       an error
func lengthOf(f func(s []byte) int) function {
	return function{1, 1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		if args[0].Type != bson.TypeString {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a string argument, found: %s", op, typeName(args[0]))
		}
		return e.count(f(args[0].Str())), nil
	}}
}

// What stands between separators may be empty: "a,,b" has three parts.
//
//	{$split: ["a,,b", ","]}     ["a", "", "b"]
//	{$split: ["ab", ","]}       ["ab"]
func split(e *Env, op string, args []value.Value) (value.Value, error) {
	s, sep := args[0], args[1]
	switch {
	case nullish(s) || nullish(sep):
		return nullValue, nil
	case s.Type != bson.TypeString:
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires an expression that evaluates to a string as a first argument, found: %s", op, typeName(s))
	case sep.Type != bson.TypeString:
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires an expression that evaluates to a string as a second argument, found: %s", op, typeName(sep))
	case len(sep.Str()) == 0:
		return nullValue, fault.Errorf(fault.BadValue, "%s requires a non-empty separator", op)
	}
	out := e.array(op)
	rest, more := s.Str(), true
	for more {
		var part []byte
		part, rest, more = bytes.Cut(rest, sep.Str())
		v, err := e.text(op, part)
		if err != nil {
			return nullValue, err
		}
		if !out.add(v) {
			break
		}
	}
	return out.value()
}

// spaces are what $trim removes by default.
const spaces = "\x00\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"

// trimmed makes $trim, $ltrim and $rtrim. chars is a set of characters and no prefix.
//
//	{$trim: {input: "  a b "}}                 "a b"
//	{$ltrim: {input: "abac", chars: "ab"}}     "c"
//	{$trim: {input: " a ", chars: ""}}         " a "
func trimmed(left, right bool) form {
	return namedForm(1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		s, chars := args[0], args[1]
		set := spaces
		switch {
		case nullish(s) || chars.Exists() && nullish(chars):
			return nullValue, nil
		case s.Type != bson.TypeString:
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires its input to be a string, got %s instead", op, typeName(s))
		case chars.Exists() && chars.Type != bson.TypeString:
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires 'chars' to be a string, got %s instead", op, typeName(chars))
		case chars.Exists():
			set = string(chars.Str())
		}
		if err := e.spend(len(s.Str()) * (1 + len(set)>>8) >> 6); err != nil {
			return nullValue, err
		}
		t := s.Str()
		if left {
			t = bytes.TrimLeft(t, set)
		}
		if right {
			t = bytes.TrimRight(t, set)
		}
		return e.text(op, t)
	}, "input", "chars")
}

// indexOfText makes $indexOfBytes and, with points, $indexOfCP. Places count from 0, bytes or code
// points; -1 is none, also where the third argument is beyond the end.
//
//	{$indexOfBytes: ["éa", "a"]}      2
//	{$indexOfCP: ["éa", "a"]}         1
//	{$indexOfCP: ["abc", "c", 9]}     -1
//	{$indexOfCP: ["abc", ""]}         0
func indexOfText(points bool) function {
	return function{2, 4, func(e *Env, op string, args []value.Value) (value.Value, error) {
		switch {
		case nullish(args[0]):
			return nullValue, nil
		case args[0].Type != bson.TypeString:
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a string as the first argument, found: %s", op, typeName(args[0]))
		case args[1].Type != bson.TypeString:
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a string as the second argument, found: %s", op, typeName(args[1]))
		}
		from, to, err := span(op, args)
		if err != nil {
			return nullValue, err
		}
		s := args[0].Str()
		size := len(s)
		if points {
			size = utf8.RuneCount(s)
		}
		if from > size || to < from {
			return e.count(-1), nil
		}
		if points {
			to = offset(s, to)
			from = offset(s, from)
		}
		i := bytes.Index(s[from:min(to, len(s))], args[1].Str())
		if i >= 0 {
			i += from
			if points {
				i = utf8.RuneCount(s[:i])
			}
		}
		return e.count(i), nil
	}}
}

// replaced makes $replaceOne and $replaceAll. The size is known before anything is built: a short text
// may have very many places to be replaced. find is text and no pattern.
//
//	{$replaceOne: {input: "a.a.", find: ".", replacement: "-"}}     "a-a."
//	{$replaceAll: {input: "a.a.", find: ".", replacement: "-"}}     "a-a-"
//	{$replaceAll: {input: "a", find: "a", replacement: null}}       null
func replaced(n int) form {
	return namedForm(3, func(e *Env, op string, args []value.Value) (value.Value, error) {
		for i, v := range args {
			if !nullish(v) && v.Type != bson.TypeString {
				return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires that '%s' be a string, found: %s", op, []string{"input", "find", "replacement"}[i], typeName(v))
			}
		}
		for _, v := range args {
			if nullish(v) {
				return nullValue, nil
			}
		}
		s, old, with := args[0].Str(), args[1].Str(), args[2].Str()
		times := 1
		if n < 0 {
			times = bytes.Count(s, old)
		}
		if len(with) > MaxValue/max(1, times) {
			return nullValue, e.room(op, MaxValue+1)
		}
		if err := e.room(op, len(s)+times*len(with)); err != nil {
			return nullValue, err
		}
		return e.text(op, bytes.Replace(s, old, with, n))
	}, "input", "find", "replacement")
}
