package value_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/value"
)

// What people type is what Extended JSON says in more words.
func TestTyped(t *testing.T) {
	for typed, strict := range map[string]string{
		`{name: 'x', "a.b": 1, $set: {c_1: true,},}`:   `{"name":"x","a.b":1,"$set":{"c_1":true}}`,
		`{a.b: 1, é: 'it\'s', "q": "it's"}`:            `{"a.b":1,"é":"it's","q":"it's"}`,
		`[NaN, Infinity, -Infinity, -1,]`:              `[{"$numberDouble":"NaN"},{"$numberDouble":"Infinity"},{"$numberDouble":"-Infinity"},-1]`,
		`ObjectId('507f1f77bcf86cd799439011')`:         `{"$oid":"507f1f77bcf86cd799439011"}`,
		`new Date(1500)`:                               `{"$date":{"$numberLong":"1500"}}`,
		`ISODate("2026-11-29T08:15:30Z")`:              `{"$date":"2026-11-29T08:15:30Z"}`,
		`NumberLong(5)`:                                `{"$numberLong":"5"}`,
		`[NumberInt('5'), Int32(5), Double(1)]`:        `[5, 5, {"$numberDouble":"1"}]`,
		`NumberDecimal('0.10')`:                        `{"$numberDecimal":"0.10"}`,
		`{a: /x\/[/]y/i}`:                              `{"a":{"$regularExpression":{"pattern":"x/[/]y","options":"i"}}}`,
		`[MinKey, MaxKey(), undefined]`:                `[{"$minKey":1},{"$maxKey":1},{"$undefined":true}]`,
		`BinData(0, 'AQI=')`:                           `{"$binary":{"base64":"AQI=","subType":"00"}}`,
		`Timestamp(5, 1)`:                              `{"$timestamp":{"t":5,"i":1}}`,
		`Timestamp({t: 5, i: 1})`:                      `{"$timestamp":{"t":5,"i":1}}`,
		`UUID('00112233-4455-6677-8899-aabbccddeeff')`: `{"$uuid":"00112233-4455-6677-8899-aabbccddeeff"}`,
		`{$oid: '507f1f77bcf86cd799439011'}`:           `{"$oid":"507f1f77bcf86cd799439011"}`,
		`-9223372036854775808`:                         `{"$numberLong":"-9223372036854775808"}`,
		`9223372036854775808.0`:                        `{"$numberDouble":"9.223372036854775808e18"}`,
	} {
		got, err := value.ParseTyped([]byte(typed))
		want, werr := value.ParseJSONValue([]byte(strict))
		if err != nil || werr != nil || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: got %v %q, %v; want %v %q, %v", typed, got.Type, got.Data, err, want.Type, want.Data, werr)
		}
		if strict == typed {
			t.Errorf("%s is no other notation", typed)
		}
	}
	for text, says := range map[string]string{
		`{a: 9223372036854775808}`: "would be rounded", `{a: -9223372036854775809}`: "would be rounded",
		`{a: NumberLong(9007199254740993.0)}`: "in quotes", `{a: x}`: "needs quotes, as 'x'", `{a: ISODate()}`: "want a time",
		`{a: 'x}`: "without end", `{a 1}`: "want ':'", `{a: /x}`: "without end", `{a: ObjectId('zz')}`: "invalid $oid",
		`{a: 1,,}`: "want a string as key", `[1,,]`: "want a value", `{a: MinKey(1)}`: "no arguments", `{a: BinData(0)}`: "want BinData",
		"{a: '\x01'}": "control character", `{a: Timestamp(1)}`: "want Timestamp", `{a: new}`: "want a type", `ObjectId`: "want '('",
		strings.Repeat("Long(", 1000): "nested too deep",
	} {
		if v, err := value.ParseTyped([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, %v, want %q", text, v, err, says)
		}
	}
	// Extended JSON alone takes none of it.
	for _, text := range []string{`{a: 1}`, `{'a': 1}`, `NaN`, `[1,]`, `ObjectId('507f1f77bcf86cd799439011')`, `"it\'s"`} {
		if v, err := value.ParseJSONValue([]byte(text)); err == nil {
			t.Errorf("%s: got %v", text, v)
		}
	}
}

func FuzzTyped(f *testing.F) {
	for _, s := range []string{`{a: 'x', b: ISODate('2020-01-01')}`, `[/a/i, NaN, NumberLong(1),]`, `Timestamp(Long(Long(1)), 2)`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := value.ParseTyped(text)
		strict, serr := value.ParseJSONValue(text)
		if serr == nil && err == nil && (v.Type != strict.Type || !bytes.Equal(v.Data, strict.Data)) {
			t.Fatalf("%q: got %v, as Extended JSON %v", text, v, strict)
		}
		if err != nil && serr == nil && !strings.Contains(err.Error(), "rounded") {
			t.Fatalf("%q: Extended JSON is refused: %v", text, err)
		}
	})
}
