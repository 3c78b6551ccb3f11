package value

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// wrapper parses the rest of an Extended JSON type wrapper whose first key was name; the
// object's bytes began at start in p.out. ok is false, and nothing is consumed, if name is
// no wrapper: then the object is an ordinary one. What was begun as a document, from start
// on, is dropped: the bytes of the value take its place.
func (p *parser) wrapper(name string, start, depth int) (t bson.Type, ok bool) {
	at := p.at
	switch name {
	case "$oid", "$symbol", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$uuid":
		p.out = p.out[:start]
		s := p.member()
		t = p.textWrapper(name, s, at)
	case "$date":
		p.out = p.out[:start]
		p.date(at)
		t = bson.TypeDateTime
	case "$minKey", "$maxKey":
		p.out = p.out[:start]
		p.expect(':', "want ':'")
		if p.space(); !p.word("1") {
			p.fail("want 1")
		}
		t = bson.TypeMinKey
		if name == "$maxKey" {
			t = bson.TypeMaxKey
		}
	case "$undefined":
		p.out = p.out[:start]
		p.expect(':', "want ':'")
		if p.space(); !p.word("true") {
			p.fail("want true")
		}
		t = bson.TypeUndefined
	case "$code":
		p.out = p.out[:start]
		t = p.code(depth)
	case "$binary":
		p.out = p.out[:start]
		if p.expect(':', "want ':'"); p.peek() == '"' {
			p.oldBinary(at)
			t = bson.TypeBinary
			break
		}
		p.at = at
		t = p.documentWrapper(name, at, depth)
	case "$regularExpression", "$timestamp", "$dbPointer":
		p.out = p.out[:start]
		t = p.documentWrapper(name, at, depth)
	default:
		return 0, false
	}
	p.expect('}', "want '}' after "+name)
	return t, true
}

// wrappers are the names that wrapper takes.
var wrappers = []string{
	"$oid", "$symbol", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$uuid", "$date", "$minKey", "$maxKey",
	"$undefined", "$code", "$binary", "$regularExpression", "$timestamp", "$dbPointer",
}

// Wrapper returns the first field of a document in v, or of v, that has the name of a wrapper: as
// text it would be read as a value of another type, or not at all. "" says that there is none.
func Wrapper(v Value) string {
	doc := v.Data
	switch v.Type {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
	case bson.TypeCodeWithScope:
		_, doc = splitScope(v.Data)
	default:
		return ""
	}
	it := Elements(doc)
	for first := v.Type != bson.TypeArray; ; first = false {
		k, e, ok := it.Next()
		if !ok {
			return ""
		}
		if first && len(k) > 3 && k[0] == '$' && slices.Contains(wrappers, string(k)) {
			return string(k)
		}
		if name := Wrapper(e); name != "" {
			return name
		}
	}
}

// member parses ':' and a string.
func (p *parser) member() string {
	p.expect(':', "want ':'")
	return p.string()
}

func (p *parser) string() string {
	if !p.quote(p.peek()) {
		p.fail("want a string")
		return ""
	}
	p.text()
	return string(p.str)
}

// textWrapper appends the value whose text s is. at, the place behind the wrapper's key, is
// for errors.
func (p *parser) textWrapper(name, s string, at int) bson.Type {
	if p.err != nil {
		return bson.TypeNull
	}
	var err error
	t := bson.TypeNull
	switch name {
	case "$oid":
		t = bson.TypeObjectID
		p.out, err = appendHex(p.out, s, 12)
	case "$uuid":
		t = bson.TypeBinary
		p.out = append(p.out, 16, 0, 0, 0, bson.TypeBinaryUUID)
		if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
			s = strings.ReplaceAll(s, "-", "")
		}
		p.out, err = appendHex(p.out, s, 16)
	case "$symbol":
		t = bson.TypeSymbol
		p.out = appendText(p.out, s)
	case "$numberInt":
		var n int64
		t = bson.TypeInt32
		n, err = strconv.ParseInt(s, 10, 32)
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(n))
	case "$numberLong":
		var n int64
		t = bson.TypeInt64
		n, err = strconv.ParseInt(s, 10, 64)
		p.out = binary.LittleEndian.AppendUint64(p.out, uint64(n))
	case "$numberDouble":
		var f float64
		t = bson.TypeDouble
		f, err = parseDouble(s)
		p.out = binary.LittleEndian.AppendUint64(p.out, math.Float64bits(f))
	case "$numberDecimal":
		var d bson.Decimal128
		t = bson.TypeDecimal128
		if len(s) > 64 {
			err = strconv.ErrRange
		} else if d, err = bson.ParseDecimal128(s); err == nil {
			p.out = AppendDecimal(p.out, d)
		}
	}
	if err != nil {
		p.failAt(at, "invalid "+name)
	}
	return t
}

// AppendDecimal appends the 16 bytes of d; every NaN becomes the canonical one.
func AppendDecimal(dst []byte, d bson.Decimal128) []byte {
	h, l := d.GetBytes()
	if d.IsNaN() {
		h, l = decimalNaN, 0
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, l), h)
}

func parseDouble(s string) (float64, error) {
	switch s {
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	case "NaN":
		return math.Float64frombits(canonicalNaN), nil
	}
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

func appendHex(dst []byte, s string, n int) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != n {
		err = hex.ErrLength
	}
	return append(dst, b...), err
}

// date parses the value of $date: ISO 8601 text, a canonical $numberLong, or milliseconds
// as a number. $numberLong is the only object that can stand there, so the value may nest
// little.
func (p *parser) date(at int) {
	p.expect(':', "want ':'")
	n := len(p.out)
	t := p.value(MaxDepth - 2)
	if p.err != nil {
		return
	}
	v := Value{t, p.out[n:]}
	var ms int64
	switch t {
	case bson.TypeInt32, bson.TypeInt64:
		ms = v.Int()
	case bson.TypeString:
		when, ok := parseDate(string(v.Str()))
		if !ok {
			p.failAt(at, "invalid $date: want a time as 2026-11-29T08:15:30.250Z, or a number of milliseconds")
			return
		}
		ms = when.UnixMilli()
	default:
		p.failAt(at, "invalid $date")
	}
	p.out = binary.LittleEndian.AppendUint64(p.out[:n], uint64(ms))
}

// parseDate parses a time as programs write it into $date (ISO 8601): a day alone is its
// midnight, the time goes to the minute at least, after T or a space; what is finer than a
// millisecond is cut, as BSON has no room for it. Without a zone it is in UTC.
func parseDate(s string) (time.Time, bool) {
	if len(s) > 40 {
		return time.Time{}, false
	}
	day, clock := s, ""
	if i := strings.IndexAny(s, "T "); i >= 0 {
		day, clock = s[:i], s[i+1:]
	} else if when, err := time.Parse(time.DateOnly, s); err == nil {
		return when, true
	}
	zone := ""
	if i := strings.IndexAny(clock, "Z+-"); i >= 0 {
		clock, zone = clock[:i], clock[i:]
	}
	for _, c := range []string{"15:04:05.999", "15:04"} {
		for _, z := range []string{"", "Z07:00", "Z0700", "Z07"} {
			if (z == "") != (zone == "") {
				continue
			}
			if when, err := time.Parse(time.DateOnly+"T"+c+z, day+"T"+clock+zone); err == nil {
				return when, true
			}
		}
	}
	return time.Time{}, false
}

// code parses {"$code": …} and what may follow, "$scope", which makes it another type.
func (p *parser) code(depth int) bson.Type {
	s := p.member()
	if !p.accept(',') {
		p.out = appendText(p.out, s)
		return bson.TypeJavaScript
	}
	if p.key(); string(p.str) != "$scope" {
		p.fail("want $scope after $code")
	}
	p.expect(':', "want ':'")
	if p.peek() != '{' {
		p.fail("want an object as $scope")
		return bson.TypeNull
	}
	n := len(p.out)
	p.out = appendText(append(p.out, 0, 0, 0, 0), s)
	if p.value(depth) != bson.TypeEmbeddedDocument {
		p.fail("want an object as $scope")
	}
	binary.LittleEndian.PutUint32(p.out[n:], uint32(len(p.out)-n))
	return bson.TypeCodeWithScope
}

// documentWrapper parses the wrappers whose value is an object of fixed keys.
func (p *parser) documentWrapper(name string, at, depth int) bson.Type {
	p.expect(':', "want ':'")
	if p.peek() != '{' {
		p.fail("want an object in " + name)
		return bson.TypeNull
	}
	n := len(p.out)
	p.value(depth)
	if p.err != nil {
		return bson.TypeNull
	}
	doc := append([]byte(nil), p.out[n:]...)
	p.out = p.out[:n]
	var t bson.Type
	ok := false
	switch name {
	case "$binary":
		t = bson.TypeBinary
		ok = p.binary(doc)
	case "$regularExpression":
		t = bson.TypeRegex
		ok = p.regex(doc)
	case "$timestamp":
		t = bson.TypeTimestamp
		s, i := Get(doc, "t"), Get(doc, "i")
		ok = count(doc) == 2 && isUint32(s) && isUint32(i)
		if ok {
			p.out = binary.LittleEndian.AppendUint64(p.out, uint64(s.Int())<<32|uint64(i.Int()))
		}
	case "$dbPointer":
		t = bson.TypeDBPointer
		ref, id := Get(doc, "$ref"), Get(doc, "$id")
		ok = count(doc) == 2 && ref.Type == bson.TypeString && id.Type == bson.TypeObjectID
		p.out = append(append(p.out, ref.Data...), id.Data...)
	}
	if !ok {
		p.failAt(at, "invalid "+name)
	}
	return t
}

func isUint32(v Value) bool {
	return (v.Type == bson.TypeInt32 || v.Type == bson.TypeInt64) && v.Int() >= 0 && v.Int() <= math.MaxUint32
}

func count(doc []byte) int {
	n := 0
	it := Elements(doc)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	return n
}

func (p *parser) binary(doc []byte) bool {
	data, sub := Get(doc, "base64"), Get(doc, "subType")
	if count(doc) != 2 || data.Type != bson.TypeString || sub.Type != bson.TypeString {
		return false
	}
	return p.appendBinary(string(data.Str()), string(sub.Str()))
}

func (p *parser) appendBinary(data, sub string) bool {
	b, err := base64.StdEncoding.DecodeString(data)
	s, err2 := strconv.ParseUint(sub, 16, 8)
	if err != nil || err2 != nil {
		return false
	}
	p.out = binary.LittleEndian.AppendUint32(p.out, uint32(len(b)))
	p.out = append(append(p.out, byte(s)), b...)
	return true
}

// oldBinary parses the rest of {"$binary": base64, "$type": hexadecimal}, which Extended
// JSON v1 had.
func (p *parser) oldBinary(at int) {
	p.text()
	data := string(p.str)
	p.expect(',', "want ',' and $type after a $binary that is a string")
	if p.key(); p.err == nil && string(p.str) != "$type" {
		p.fail("want $type after a $binary that is a string")
	}
	sub := p.member()
	if p.err == nil && !p.appendBinary(data, sub) {
		p.failAt(at, "invalid $binary")
	}
}

func (p *parser) regex(doc []byte) bool {
	pattern, options := Get(doc, "pattern"), Get(doc, "options")
	if count(doc) != 2 || pattern.Type != bson.TypeString || options.Type != bson.TypeString ||
		strings.IndexByte(string(pattern.Str())+string(options.Str()), 0) >= 0 {
		return false
	}
	p.out = append(append(p.out, pattern.Str()...), 0)
	p.out = append(append(p.out, options.Str()...), 0)
	return true
}
