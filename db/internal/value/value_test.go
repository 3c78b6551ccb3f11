package value_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/value"
)

// numbers is full of neighbours: equal values of other types and near misses.
var numbers = []string{
	"0", "-0", "1", "1.0", "0.1", "0.5", "-1", "9007199254740992", "9007199254740993", "9007199254740992.5",
	"9223372036854775807", "-9223372036854775808", "9223372036854775808", "1E-6176", "-1E-6176", "5E-324", "4.9E-324",
	"1E+308", "1.7976931348623157E+308", "1.8E+308", "1E+400", "9.999999999999999999999999999999999E+6144",
	"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257828", "2.2250738585072014E-308", "2.2250738585072011E-308",
	"1000000000000000000000000000000000", "NaN", "Infinity", "-Infinity",
}

func drawNumber(t *rapid.T) any {
	switch rapid.IntRange(0, 3).Draw(t, "number type") {
	case 0:
		return rapid.OneOf(rapid.Int32(), rapid.Int32Range(-2, 2)).Draw(t, "int32")
	case 1:
		return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 2),
			rapid.Int64Range(1<<53-3, 1<<53+3), rapid.Int64Range(math.MaxInt64-3, math.MaxInt64)).Draw(t, "int64")
	case 2:
		f := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
			0, 0.1, 1 << 53, 1 << 63, math.Inf(1),
			math.Inf(-1), math.NaN(), math.SmallestNonzeroFloat64, math.MaxFloat64,
		})).Draw(t, "double")
		if f != f {
			f = math.Float64frombits(0x7ff8000000000000) // the canonical NaN
		}
		return f
	}
	d, err := bson.ParseDecimal128(rapid.SampledFrom(numbers).Draw(t, "decimal"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func drawAny(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 17-2*min(depth, 1)).Draw(t, "type") {
	case 0, 1, 2:
		return drawNumber(t)
	case 3, 4:
		return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00b", "a\x01", "ab"})).Draw(t, "string")
	case 5:
		return bson.Symbol(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "symbol"))
	case 6:
		return rapid.Bool().Draw(t, "bool")
	case 7:
		return bson.DateTime(rapid.Int64().Draw(t, "date"))
	case 8:
		return bson.Timestamp{T: rapid.Uint32().Draw(t, "t"), I: rapid.Uint32().Draw(t, "i")}
	case 9:
		return bson.ObjectID(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "oid"))
	case 10:
		return bson.Binary{Subtype: rapid.SampledFrom([]byte{0, 4, 128}).Draw(t, "sub"), Data: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "bin")}
	case 11:
		return bson.Regex{Pattern: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "pattern"), Options: rapid.SampledFrom([]string{"", "i"}).Draw(t, "options")}
	case 12:
		return rapid.SampledFrom([]any{bson.MinKey{}, bson.MaxKey{}, nil, bson.Undefined{}}).Draw(t, "constant")
	case 13:
		return bson.JavaScript(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "code"))
	case 14, 15:
		if depth >= 3 {
			return nil
		}
		d := bson.D{}
		for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "ab", "b"}), 0, 3, rapid.ID).Draw(t, "keys") {
			d = append(d, bson.E{Key: k, Value: drawAny(t, depth+1)})
		}
		return d
	}
	if depth >= 3 {
		return nil
	}
	a := bson.A{}
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		a = append(a, drawAny(t, depth+1))
	}
	return a
}

func encode(t interface{ Fatal(...any) }, v any) value.Value {
	doc, err := bson.Marshal(bson.D{{Key: "v", Value: v}})
	if err != nil {
		t.Fatal(err)
	}
	return value.Get(doc, "v")
}

func document(v value.Value) []byte {
	dst, start := value.Begin(nil)
	return value.End(value.AppendElement(dst, []byte("v"), v), start)
}

// TestKeyOrder: keys compare as values do, both ways, delimit themselves and
// keep the order when more keys follow.
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := encode(t, drawAny(t, 0)), encode(t, drawAny(t, 0))
		want := value.Compare(a, b)
		if back := value.Compare(b, a); back != -want {
			t.Fatalf("Compare is %d one way and %d the other", want, back)
		}
		for _, desc := range []bool{false, true} {
			ka, kb := value.AppendKey(nil, a, desc), value.AppendKey(nil, b, desc)
			if n := value.KeyLen(append(slices.Clone(ka), kb...), desc); n != len(ka) {
				t.Fatalf("KeyLen %d, want %d", n, len(ka))
			}
			w := want
			if desc {
				w = -w
			}
			if got := bytes.Compare(ka, kb); got != w {
				t.Fatalf("desc %t: keys %x and %x compare %d, want %d", desc, ka, kb, got, w)
			}
			if w != 0 && bytes.Compare(append(ka, 0xff), append(kb, 0)) != w {
				t.Fatalf("desc %t: order changes with what follows", desc)
			}
		}
	})
}

// TestNumberOrder orders numbers of all types against exact decimal text.
func TestNumberOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := encode(t, drawNumber(t)), encode(t, drawNumber(t)), encode(t, drawNumber(t))
		ab, bc, ac := value.Compare(a, b), value.Compare(b, c), value.Compare(a, c)
		if ab <= 0 && bc <= 0 && ac > 0 || ab == 0 && bc != ac {
			t.Fatalf("order is not transitive: %d %d %d", ab, bc, ac)
		}
		if bytes.Compare(value.AppendKey(nil, a, false), value.AppendKey(nil, b, false)) != ab {
			t.Fatalf("keys disagree with Compare %d", ab)
		}
	})
}

// TestCanonicalJSON: canonical text gives back the same bytes; relaxed text
// parses to a value of the same order where no precision was lost.
func TestCanonicalJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := document(encode(t, drawAny(t, 0)))
		if err := value.Validate(doc); err != nil {
			t.Fatal(err)
		}
		text := value.AppendJSON(nil, doc, true)
		got, err := value.ParseJSON(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !bytes.Equal(got, doc) {
			t.Fatalf("%s: got %x, want %x", text, got, doc)
		}
		text = value.AppendJSON(nil, doc, false)
		if got, err = value.ParseJSON(text); err != nil || value.Compare(value.Doc(got), value.Doc(doc)) != 0 {
			t.Fatalf("relaxed %s: %v", text, err)
		}
	})
}

func TestParseJSONErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,}`:                                   "byte 7",
		`{"a":01}`:                                   "byte 5",
		`{"a":1}x`:                                   "byte 7",
		`{"a":"` + "\n" + `"}`:                       "byte 6",
		`{"a":1,"a":2}`:                              "duplicate key",
		`{"a":{"$oid":"12"}}`:                        "invalid $oid",
		`{"a":{"$date":"yesterday"}}`:                "invalid $date",
		`{"a":{"$date":"2020-07-26T21"}}`:            "invalid $date",
		`{"a":{"$date":"2020-02-30"}}`:               "invalid $date",
		`{"a":{"$date":"2020-07-26T21:46+2"}}`:       "invalid $date",
		`{"a":{"$date":"2020-07-26Z"}}`:              "invalid $date",
		`{"a":{"$binary":"AQID"}}`:                   "want ','",
		`{"a":{"$binary":"AQID","type":"00"}}`:       "want $type",
		`{"a":{"$binary":"AQI","$type":"00"}}`:       "invalid $binary",
		`{"a":{"$binary":"AQID","$type":"100"}}`:     "invalid $binary",
		`{"a":{"$binary":"AQID","$type":0}}`:         "want a string",
		`{"a":{"$numberLong":"9","x":1}}`:            "want '}'",
		`{"a":"\ud800"}`:                             "invalid escape",
		`{"a\u0000":1}`:                              "NUL",
		`{"a":1e999}`:                                "out of range",
		`[1]`:                                        "want an object",
		strings.Repeat(`{"a":`, 200):                 "nested too deep",
		strings.Repeat(`{"a":[`, 60):                 "nested too deep",
		`{"a":` + strings.Repeat("9", 9) + `,`:       "want a string as key",
		`{"a":{"$binary":{"base64":"%"}}}`:           "invalid $binary",
		`{"a":{"$timestamp":{"t":-1,"i":1}}}`:        "invalid $timestamp",
		`{"a":{"$regularExpression":{"pattern":1}}}`: "invalid $regularExpression",
	} {
		if _, err := value.ParseJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", text, err, want)
		}
	}
}

// Forms that other writers print, and what they mean.
func TestParseJSONOfOthers(t *testing.T) {
	day := func(ms int64) string { return fmt.Sprintf(`{"$date":{"$numberLong":"%d"}}`, ms) }
	const noon = 1595764800000 // 2020-07-26T12:00:00Z
	for text, want := range map[string]string{
		`{"$binary":"AQID","$type":"00"}`:              `{"$binary":{"base64":"AQID","subType":"00"}}`,
		`{ "$binary" : "AQID" , "$type" : "5" }`:       `{"$binary":{"base64":"AQID","subType":"05"}}`,
		`{"$date":"2020-07-26"}`:                       day(noon - 12*3600_000),
		`{"$date":"2020-07-26T12:00"}`:                 day(noon),
		`{"$date":"2020-07-26 12:00:00"}`:              day(noon),
		`{"$date":"2020-07-26T12:00Z"}`:                day(noon),
		`{"$date":"2020-07-26T12:00:00.25"}`:           day(noon + 250),
		`{"$date":"2020-07-26T14:00:00+02"}`:           day(noon),
		`{"$date":"2020-07-26T14:00:00.000+0200"}`:     day(noon),
		`{"$date":"2020-07-26T06:30:00.000001-05:30"}`: day(noon),
		`{"$date":1595764800000}`:                      day(noon),
		`{"$date":{"$numberLong":"1595764800000"}}`:    day(noon),
	} {
		got, err := value.ParseJSON([]byte(`{"a":` + text + `}`))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(value.AppendJSON(nil, got, true)); got != `{"a":`+want+`}` {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	element := func(typ byte, key string, data ...byte) []byte {
		dst, start := value.Begin(nil)
		return value.End(append(append(append(dst, typ), key+"\x00"...), data...), start)
	}
	for name, doc := range map[string][]byte{
		"boolean":      element(8, "a", 2),
		"unknown type": element(0x20, "a"),
		"cut short":    element(1, "a", 1, 2, 3),
		"UTF-8 key":    element(10, "\xff"),
		"UTF-8":        element(2, "a", 2, 0, 0, 0, 0xff, 0),
		"array key":    element(4, "a", 8, 0, 0, 0, 10, '1', 0, 0),
		"duplicate":    append([]byte{11, 0, 0, 0}, 10, 'a', 0, 10, 'a', 0, 0),
		"NaN":          element(1, "a", 1, 0, 0, 0, 0, 0, 0xf8, 0x7f),
		"length":       {6, 0, 0, 0, 0},
	} {
		if err := value.Validate(doc); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzValidate: what passes is printed and parsed back to the same bytes,
// unless a document looks like one of Extended JSON's type wrappers.
func FuzzValidate(f *testing.F) {
	f.Add(document(value.String("a")))
	f.Add(document(encode(f, bson.A{1, 2.5, bson.D{{Key: "x", Value: nil}}})))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if value.Validate(doc) != nil {
			return
		}
		text := value.AppendJSON(nil, doc, true)
		if bytes.Contains(doc, []byte("$")) {
			return
		}
		got, err := value.ParseJSON(text)
		if err != nil || !bytes.Equal(got, doc) {
			t.Fatalf("%s: %v\ngot  %x\nwant %x", text, err, got, doc)
		}
	})
}

// FuzzParseJSON: text is refused, or canonical text of its document gives the
// same document.
func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5,{"$date":"2024-01-01T00:00:00Z"},{"$numberDecimal":"1.50"},null,true,"\u00e9"]}`))
	f.Add([]byte(`{"a":{"$code":"x","$scope":{"y":{"$minKey":1}}},"b":{"$uuid":"00112233-4455-6677-8899-aabbccddeeff"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := value.ParseJSON(text)
		if err != nil {
			return
		}
		again := value.AppendJSON(nil, doc, true)
		if bytes.Contains(doc, []byte("$")) {
			return
		}
		got, err := value.ParseJSON(again)
		if err != nil || !bytes.Equal(got, doc) {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

// FuzzKeyLen: a key is measured or refused within its bytes.
func FuzzKeyLen(f *testing.F) {
	f.Add(value.AppendKey(nil, value.String("a\x00b"), true), true)
	f.Fuzz(func(t *testing.T, key []byte, desc bool) {
		if n := value.KeyLen(key, desc); n > len(key) || n == 0 {
			t.Fatalf("KeyLen %d of %d", n, len(key))
		}
	})
}

const city = `{"_id":"3039163","name":"Sant Julià de Lòria","altNames":["San Julia","San Julià"],"country":"AD","adminCode":"06","feature":"PPLA","population":8022,"elevation":{"$numberInt":"921"},"loc":{"type":"Point","coordinates":[1.49129,42.46372]}}`

func BenchmarkValidate(b *testing.B) {
	doc, err := value.ParseJSON([]byte(city))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := value.Validate(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := value.ParseJSON([]byte(city)); err != nil {
			b.Fatal(err)
		}
	}
}

// A field of a document that is named like a wrapper is found, wherever it is, if text would not
// give it back, and only then.
func TestWrapper(t *testing.T) {
	for _, name := range []string{
		"$ref", "$regex", "$scope", "$x", "$oid", "$symbol", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$uuid",
		"$date", "$minKey", "$maxKey", "$undefined", "$code", "$binary", "$regularExpression", "$timestamp", "$dbPointer",
	} {
		for i, d := range []bson.D{
			{{Key: name, Value: "x"}},
			{{Key: "_id", Value: 1}, {Key: "a", Value: bson.D{{Key: name, Value: "x"}, {Key: "b", Value: 1}}}},
			{{Key: "a", Value: bson.A{1, bson.D{{Key: "b", Value: bson.A{bson.D{{Key: name, Value: bson.D{}}}}}}}}},
			{{Key: "a", Value: bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: name, Value: true}}}}},
			{{Key: "a", Value: 1}, {Key: name, Value: "x"}},
			{{Key: "a", Value: bson.A{name}}},
		} {
			doc, err := bson.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			back, err := value.ParseJSON(value.AppendJSON(nil, doc, true))
			same, found := err == nil && bytes.Equal(back, doc), value.Wrapper(value.Doc(doc))
			if same != (found == "") || !same && found != name {
				t.Errorf("%s, %d: got %q; the text gives it back: %v", name, i, found, same)
			}
		}
	}
}
