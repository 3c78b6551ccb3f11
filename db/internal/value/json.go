package value

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// ParseJSON parses one Extended JSON v2 object, relaxed or canonical, into a
// validated document: whole numbers become int32 or int64 if they fit, others
// double. Errors are FailedToParse and give the position in bytes.
func ParseJSON(text []byte) ([]byte, error) {
	v, err := ParseJSONValue(text)
	if err != nil {
		return nil, err
	}
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "Extended JSON, byte 0: want an object")
	}
	return v.Data, nil
}

// ParseJSONValue parses any Extended JSON v2 value. The same bounds hold as for documents.
// Text may be longer than the bytes it stands for: a canonical int32 is {"$numberInt":"1"},
// and white space stands for nothing.
func ParseJSONValue(text []byte) (Value, error) { return parseText(text, false) }

// ParseTyped parses a value as people type it: Extended JSON, v1 or v2, and what MongoDB's
// shell takes besides, see shell.go. A whole number beyond 64 bits is refused, as nobody
// who wrote it wants it rounded.
func ParseTyped(text []byte) (Value, error) { return parseText(text, true) }

func parseText(text []byte, typed bool) (Value, error) {
	if len(text) > MaxText {
		return Value{}, fault.Of(ErrTooLarge, "a text of %d bytes is no document: those have at most %d bytes as text, and %d as BSON", len(text), MaxText, MaxDocument)
	}
	p := parser{in: text, out: make([]byte, 0, len(text)+16), typed: typed}
	t := p.value(0)
	p.space()
	if p.err == nil && p.at < len(text) {
		p.fail("text after the value")
	}
	if p.err != nil {
		return Value{}, p.err
	}
	v := Value{t, p.out}
	return v, validateAny(v)
}

func validateAny(v Value) error {
	if v.IsDoc() {
		return Validate(v.Data)
	}
	doc, n := Begin(nil)
	if err := Validate(End(AppendElement(doc, []byte("v"), v), n)); err != nil {
		return err
	}
	return nil
}

// A parser turns text into BSON in one pass. A method that fails sets err and
// moves to the end of the text, so that every loop ends.
type parser struct {
	in    []byte
	at    int
	out   []byte
	str   []byte // the last string parsed
	err   error
	typed bool // by people: see shell.go
}

func (p *parser) fail(why string) { p.failAt(p.at, why) }

func (p *parser) failAt(at int, why string) {
	if p.err == nil {
		p.err = fault.Errorf(fault.FailedToParse, "Extended JSON, byte %d: %s", at, why)
	}
	p.at = len(p.in)
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

// accept consumes c if it is next.
func (p *parser) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(c byte, why string) {
	if !p.accept(c) {
		p.fail(why)
	}
}

// value appends the bytes of the next value and returns its type. depth is that of the
// document or array around it, 0 at the top; objects and arrays check it, so that text of a
// million brackets fails before the stack grows.
func (p *parser) value(depth int) bson.Type {
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case p.quote(c):
		p.text()
		p.out = appendText(p.out, p.str)
		return bson.TypeString
	case p.typed && p.infinite():
		return bson.TypeDouble
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case p.word("true"):
		p.out = append(p.out, 1)
		return bson.TypeBoolean
	case p.word("false"):
		p.out = append(p.out, 0)
		return bson.TypeBoolean
	case p.word("null"):
		return bson.TypeNull
	case p.typed:
		return p.shell(c, depth)
	}
	p.fail("want a value")
	return bson.TypeNull
}

// quote reports whether c begins a string.
func (p *parser) quote(c byte) bool { return c == '"' || c == '\'' && p.typed }

// word consumes w if it is next. What follows it is not looked at: the caller wants ',' or
// an end there.
func (p *parser) word(w string) bool {
	if len(p.in)-p.at >= len(w) && string(p.in[p.at:p.at+len(w)]) == w {
		p.at += len(w)
		return true
	}
	return false
}

func appendText[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)+1))
	return append(append(dst, s...), 0)
}

func (p *parser) array(depth int) bson.Type {
	if depth > MaxDepth {
		p.fail("nested too deep")
		return bson.TypeNull
	}
	p.at++
	var start int
	p.out, start = Begin(p.out)
	if !p.accept(']') {
		for i := 0; p.err == nil; i++ {
			at := len(p.out)
			p.out = append(p.out, 0)
			p.out = append(strconv.AppendInt(p.out, int64(i), 10), 0)
			p.out[at] = byte(p.value(depth))
			if !p.accept(',') {
				p.expect(']', "want ',' or ']'")
				break
			}
			if p.typed && p.accept(']') {
				break
			}
		}
	}
	p.out = End(p.out, start)
	return bson.TypeArray
}

// object parses an object, which the first key may turn out to be the wrapper of another
// type: {"$oid": "…"} is an ObjectId, but {"a": 1, "$oid": "…"} a document. Only then is
// the type another.
func (p *parser) object(depth int) bson.Type {
	if depth > MaxDepth {
		p.fail("nested too deep")
		return bson.TypeNull
	}
	p.at++
	var start int
	p.out, start = Begin(p.out)
	if !p.accept('}') {
		for first := true; p.err == nil; first = false {
			p.key()
			if first && len(p.str) > 3 && p.str[0] == '$' {
				if t, ok := p.wrapper(string(p.str), start, depth); ok {
					return t
				}
			}
			at := len(p.out)
			p.out = append(append(append(p.out, 0), p.str...), 0)
			p.expect(':', "want ':'")
			p.out[at] = byte(p.value(depth))
			if !p.accept(',') {
				p.expect('}', "want ',' or '}'")
				break
			}
			if p.typed && p.accept('}') {
				break
			}
		}
	}
	p.out = End(p.out, start)
	return bson.TypeEmbeddedDocument
}

// key parses a key into p.str.
func (p *parser) key() {
	c := p.peek()
	if p.typed && p.bare() {
		return
	}
	if !p.quote(c) {
		p.fail("want a string as key")
		return
	}
	at := p.at
	p.text()
	for _, c := range p.str {
		if c == 0 {
			p.failAt(at, "key holds a NUL")
			return
		}
	}
}

// text parses a string into p.str, which aliases the input unless the string
// has escapes.
func (p *parser) text() {
	start, quote := p.at+1, p.in[p.at]
	for i := start; i < len(p.in); i++ {
		switch c := p.in[i]; {
		case c == quote:
			p.str, p.at = p.in[start:i], i+1
			return
		case c == '\\':
			p.escaped(start, i)
			return
		case c < 0x20:
			p.failAt(i, "control character in string")
			return
		}
	}
	p.fail("string without end")
}

// escaped parses a string from its first escape at i on. It copies: p.str cannot alias a
// text that is not written out.
func (p *parser) escaped(start, i int) {
	s := append([]byte(nil), p.in[start:i]...)
	for quote := p.in[start-1]; i < len(p.in); {
		c := p.in[i]
		i++
		switch {
		case c == quote:
			p.str, p.at = s, i
			return
		case c < 0x20:
			p.failAt(i-1, "control character in string")
			return
		case c != '\\':
			s = append(s, c)
		default:
			var ok bool
			if s, i, ok = p.escape(s, i); !ok {
				p.failAt(i, "invalid escape")
				return
			}
		}
	}
	p.fail("string without end")
}

// escape appends the escape whose backslash is before i. Characters beyond U+FFFF are two
// escapes, a high and a low surrogate; one alone is invalid.
func (p *parser) escape(s []byte, i int) ([]byte, int, bool) {
	if i >= len(p.in) {
		return s, i, false
	}
	c := p.in[i]
	if k := strings.IndexByte(`"\/bfnrt`, c); k >= 0 {
		return append(s, "\"\\/\b\f\n\r\t"[k]), i + 1, true
	}
	if c == '\'' && p.typed {
		return append(s, c), i + 1, true
	}
	if c != 'u' {
		return s, i, false
	}
	r, ok := p.hex4(i + 1)
	if !ok {
		return s, i, false
	}
	i += 5
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), i+1 < len(p.in) && p.in[i] == '\\' && p.in[i+1] == 'u'
		if ok {
			low, ok = p.hex4(i + 2)
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return s, i, false
		}
		i += 6
	}
	return utf8.AppendRune(s, r), i, true
}

// hex4 reads the four hexadecimal digits of \u. To set the bit 0x20 makes letters small and
// leaves digits as they are; c < '0' refuses control characters that would become digits by
// it.
func (p *parser) hex4(i int) (rune, bool) {
	if i+4 > len(p.in) {
		return 0, false
	}
	var r rune
	for _, c := range p.in[i : i+4] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

// number parses a number by JSON's grammar. A whole number becomes the smallest of int32
// and int64 that holds it, else a double. -0 is a double, for integers have no such zero.
// Beyond the range of doubles there is an error and no infinity.
func (p *parser) number() bson.Type {
	start, whole := p.at, true
	if p.in[p.at] == '-' {
		p.at++
	}
	first := p.at
	n := p.digits()
	ok := n > 0 && (n == 1 || p.in[first] != '0')
	if p.at < len(p.in) && p.in[p.at] == '.' {
		p.at++
		whole = false
		ok = p.digits() > 0 && ok
	}
	if p.at < len(p.in) && p.in[p.at]|0x20 == 'e' {
		p.at++
		whole = false
		if p.at < len(p.in) && (p.in[p.at] == '+' || p.in[p.at] == '-') {
			p.at++
		}
		ok = p.digits() > 0 && ok
	}
	s := string(p.in[start:p.at])
	if !ok {
		p.failAt(start, "invalid number")
		return bson.TypeNull
	}
	if i, err := strconv.ParseInt(s, 10, 64); whole && err == nil && s != "-0" {
		if i == int64(int32(i)) {
			p.out = binary.LittleEndian.AppendUint32(p.out, uint32(i))
			return bson.TypeInt32
		}
		p.out = binary.LittleEndian.AppendUint64(p.out, uint64(i))
		return bson.TypeInt64
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		p.failAt(start, "number out of range")
	case whole && p.typed && s != "-0":
		p.failAt(start, "the whole number "+s+" has more than 64 bits and would be rounded: write "+s+".0 for a double, or NumberDecimal('"+s+"')")
	}
	p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(f))
	return bson.TypeDouble
}

func (p *parser) digits() int {
	n := 0
	for p.at < len(p.in) && p.in[p.at] >= '0' && p.in[p.at] <= '9' {
		p.at++
		n++
	}
	return n
}
