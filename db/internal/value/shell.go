package value

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// What people type besides Extended JSON, as MongoDB's shell takes it:
//
//	{name: 'x', 'a.b': 1, $set: {},}    bare keys, single quotes, a comma at the end
//	NaN Infinity -Infinity undefined    /pattern/flags
//	ObjectId('…') ISODate('…') Date(ms) UUID('…') BinData(0, '…') Timestamp(t, i)
//	NumberInt(1) NumberLong('1') NumberDecimal('1.5') Double(1) MinKey() MaxKey()
//
// The driver's names are taken too (ObjectID, Int32, Long, Decimal128), and "new" before any.

// bare parses a key without quotes into p.str, if one is next.
func (p *parser) bare() bool {
	start := p.at
	for p.at < len(p.in) && (isName(p.in[p.at]) || p.at > start && strings.IndexByte("-.", p.in[p.at]) >= 0) {
		p.at++
	}
	p.str = p.in[start:p.at]
	return p.at > start
}

func isName(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

// infinite parses NaN and the infinities.
func (p *parser) infinite() bool {
	for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
		if p.word(w) {
			f, _ := parseDouble(w) // it is one of its words
			p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(f))
			return true
		}
	}
	return false
}

// shell parses a value that Extended JSON does not have.
func (p *parser) shell(c byte, depth int) bson.Type {
	at := p.at
	if c == '/' {
		return p.pattern()
	}
	if c == 0 || c >= '0' && c <= '9' || !isName(c) || !p.bare() {
		p.failAt(at, "want a value")
		return bson.TypeNull
	}
	name := string(p.str)
	if name == "new" {
		at = p.at
		if p.space(); !p.bare() {
			p.fail("want a type after new")
			return bson.TypeNull
		}
		name = string(p.str)
	}
	if name == "undefined" {
		return bson.TypeUndefined
	}
	build, ok := constructors[name]
	if !ok {
		p.failAt(at, "want a value: a text needs quotes, as '"+clipName(name)+"'")
		return bson.TypeNull
	}
	if !p.accept('(') {
		if name == "MinKey" || name == "MaxKey" {
			return build(p, at, nil)
		}
		p.fail("want '(' after " + name)
		return bson.TypeNull
	}
	return build(p, at, p.arguments(depth))
}

func clipName(s string) string { return s[:min(len(s), 40)] }

// arguments parses values up to ')'. They are copied: what a constructor gives takes their
// place.
func (p *parser) arguments(depth int) []Value {
	var out []Value
	if depth >= MaxDepth {
		p.fail("nested too deep")
	}
	for p.err == nil && !p.accept(')') {
		if len(out) > 0 {
			p.expect(',', "want ',' or ')'")
		}
		if len(out) == 2 {
			p.fail("too many arguments")
		}
		n := len(p.out)
		t := p.value(depth + 1)
		out = append(out, Value{t, bytes.Clone(p.out[n:])})
		p.out = p.out[:n]
	}
	return out
}

// A constructor appends the value of a call with these arguments, and returns its type.
type constructor func(p *parser, at int, args []Value) bson.Type

var constructors map[string]constructor

func init() { // constructors calls value, which uses it
	wrapped := func(wrapper string) constructor {
		return func(p *parser, at int, args []Value) bson.Type {
			if len(args) != 1 || args[0].Type != bson.TypeString && !args[0].IsNumber() {
				p.failAt(at, "want one argument, a text or a number")
				return bson.TypeNull
			}
			text := ""
			if args[0].Type == bson.TypeString {
				text = string(args[0].Str())
			} else if text = numberText(args[0]); text == "" {
				p.failAt(at, "the number would be rounded: write it in quotes")
			}
			return p.textWrapper(wrapper, text, at)
		}
	}
	constructors = map[string]constructor{
		"ObjectId": wrapped("$oid"), "ObjectID": wrapped("$oid"), "UUID": wrapped("$uuid"),
		"NumberInt": wrapped("$numberInt"), "Int32": wrapped("$numberInt"),
		"NumberLong": wrapped("$numberLong"), "Long": wrapped("$numberLong"),
		"NumberDecimal": wrapped("$numberDecimal"), "Decimal128": wrapped("$numberDecimal"), "Double": wrapped("$numberDouble"),
		"ISODate": (*parser).shellDate, "Date": (*parser).shellDate,
		"BinData": (*parser).shellBinary, "Timestamp": (*parser).shellTimestamp,
		"MinKey": func(p *parser, at int, args []Value) bson.Type { return p.key0(bson.TypeMinKey, at, args) },
		"MaxKey": func(p *parser, at int, args []Value) bson.Type { return p.key0(bson.TypeMaxKey, at, args) },
	}
}

func (p *parser) key0(t bson.Type, at int, args []Value) bson.Type {
	if len(args) > 0 {
		p.failAt(at, "want no arguments")
	}
	return t
}

// numberText returns a number as the text that a wrapper takes, "" for one that was rounded
// already.
func numberText(v Value) string {
	switch v.Type {
	case bson.TypeDecimal128:
		return v.Decimal().String()
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.FormatInt(v.Int(), 10)
	}
	f := v.Float()
	if math.Abs(f) >= 1<<53 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// shellDate makes a time of a text or of milliseconds. A time of now is refused, as a file
// that is imported twice would give two documents.
func (p *parser) shellDate(at int, args []Value) bson.Type {
	var ms int64
	ok := len(args) == 1
	if ok {
		switch v := args[0]; v.Type {
		case bson.TypeInt32, bson.TypeInt64:
			ms = v.Int()
		case bson.TypeString:
			var when time.Time
			when, ok = parseDate(string(v.Str()))
			ms = when.UnixMilli()
		default:
			ok = false
		}
	}
	if !ok {
		p.failAt(at, "want a time, as ISODate('2026-11-29T08:15:30Z'), or a number of milliseconds")
	}
	p.out = binary.LittleEndian.AppendUint64(p.out, uint64(ms))
	return bson.TypeDateTime
}

func (p *parser) shellBinary(at int, args []Value) bson.Type {
	ok := len(args) == 2 && isUint32(args[0]) && args[0].Int() < 256 && args[1].Type == bson.TypeString
	if !ok || !p.appendBinary(string(args[1].Str()), strconv.FormatInt(args[0].Int(), 16)) {
		p.failAt(at, "want BinData(type, 'base64')")
	}
	return bson.TypeBinary
}

func (p *parser) shellTimestamp(at int, args []Value) bson.Type {
	if len(args) == 1 && args[0].Type == bson.TypeEmbeddedDocument && count(args[0].Data) == 2 {
		args = []Value{Get(args[0].Data, "t"), Get(args[0].Data, "i")}
	}
	if len(args) != 2 || !isUint32(args[0]) || !isUint32(args[1]) {
		p.failAt(at, "want Timestamp(seconds, counter)")
		return bson.TypeNull
	}
	p.out = binary.LittleEndian.AppendUint64(p.out, uint64(args[0].Int())<<32|uint64(args[1].Int()))
	return bson.TypeTimestamp
}

// pattern parses /pattern/flags; only \/ is an escape of its own.
func (p *parser) pattern() bson.Type {
	at, class := p.at, false
	for i := at + 1; i < len(p.in); i++ {
		switch c := p.in[i]; {
		case c == '\\':
			i++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '\n' || c == 0:
			p.failAt(at, "a regular expression without end")
			return bson.TypeNull
		case c == '/' && !class:
			text := strings.ReplaceAll(string(p.in[at+1:i]), `\/`, "/")
			p.at = i + 1
			start := p.at
			for p.at < len(p.in) && p.in[p.at] >= 'a' && p.in[p.at] <= 'z' {
				p.at++
			}
			p.out = append(append(p.out, text...), 0)
			p.out = append(append(p.out, p.in[start:p.at]...), 0)
			return bson.TypeRegex
		}
	}
	p.failAt(at, "a regular expression without end")
	return bson.TypeNull
}
