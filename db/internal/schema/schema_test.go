package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/value"
)

func compile(t testing.TB, text string, o Options) *Schema {
	t.Helper()
	s, err := Compile(text, o)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func check(t testing.TB, s *Schema, v any) error {
	t.Helper()
	b, err := bson.Marshal(bson.D{{Key: "v", Value: v}})
	if err != nil {
		t.Fatal(err)
	}
	return s.check(value.Get(b, "v"), nil)
}

// BSON values as JSON: what the rules page says of them.
func TestBSON(t *testing.T) {
	id, dec := bson.NewObjectID(), func(s string) bson.Decimal128 {
		d, err := bson.ParseDecimal128(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	date := bson.DateTime(1_600_000_000_123)
	for _, c := range []struct {
		schema string
		v      any
		fits   bool
	}{
		{`{"type":"string","const":"2020-09-13T12:26:40.123Z"}`, date, true},
		{`{"type":"string","pattern":"^[0-9a-f]{24}$"}`, id, true},
		{`{"const":"eHl6"}`, bson.Binary{Data: []byte("xyz")}, true},
		{`{"type":"integer"}`, 2.0, true},
		{`{"type":"integer"}`, 2.5, false},
		{`{"type":"integer","minimum":100}`, dec("1.5E+2"), true},
		{`{"type":"integer"}`, dec("1.5"), false},
		{`{"multipleOf":0.01}`, 0.07, true},
		{`{"maximum":9007199254740993}`, int64(9007199254740993), true},
		{`{"exclusiveMaximum":9007199254740993}`, int64(9007199254740993), false},
		{`{"maximum":9007199254740993}`, int64(9007199254740994), false},
		{`{"enum":[1]}`, dec("1.0"), true},
		{`{"uniqueItems":true}`, bson.A{1, 2.0, int64(3), dec("4")}, true},
		{`{"uniqueItems":true}`, bson.A{1, dec("1.00")}, false},
		{`{"type":"number"}`, dec("NaN"), false},
		{`{"minimum":0}`, dec("Infinity"), false},
		{`{"type":"null"}`, nil, true},
		{`{"bsonType":"int"}`, int32(1), true},
		{`{"bsonType":"int"}`, int64(1), false},
		{`{"bsonType":["date","objectId"]}`, id, true},
		{`{"bsonType":"number","minimum":2}`, 1.0, false},
		{`{"properties":{"d":{"bsonType":"date"}}}`, bson.D{{Key: "d", Value: "2020"}}, false},
		{`{"format":"email"}`, "nonsense", true},
	} {
		if err := check(t, compile(t, c.schema, Options{}), c.v); (err == nil) != c.fits {
			t.Errorf("%s on %v: got %v, want fits %v", c.schema, c.v, err, c.fits)
		}
	}
	for _, draft := range []string{draft2020, draft7 + "#"} {
		text := fmt.Sprintf(`{"$schema":%q,"format":"date-time"}`, draft)
		if err := check(t, compile(t, text, Options{}), "nonsense"); err != nil {
			t.Errorf("%s: a format is an annotation: %v", draft, err)
		}
		if check(t, compile(t, text, Options{Formats: true}), "nonsense") == nil {
			t.Errorf("%s: an asserted format accepts nonsense", draft)
		}
		if err := check(t, compile(t, text, Options{Formats: true}), date); err != nil {
			t.Error(err)
		}
	}
}

func TestMisfit(t *testing.T) {
	s := compile(t, `{"properties":{"a":{"items":{"properties":{"b":{"maximum":3}}}}}}`, Options{})
	doc, err := bson.Marshal(bson.D{{Key: "a", Value: bson.A{bson.D{{Key: "b", Value: 1}}, bson.D{{Key: "b", Value: 5}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var m *Misfit
	if err := s.Check(doc); !errors.As(err, &m) || m.Path != "a.1.b" || m.Keyword != "maximum" || m.Error() != `field "a.1.b": is beyond the limit 3 (maximum)` {
		t.Errorf("got %v", err)
	}
}

// A count may be bounded by any number: what no document can reach allows all, or nothing.
func TestHugeCounts(t *testing.T) {
	array, object := bson.A{1, 2}, bson.D{{Key: "a", Value: 1}}
	for _, n := range []string{"2147483648", "4294967296", "4294967297", "9223372036854775808", "18446744073709551616", "18446744073709551617.0", "1e30"} {
		for text, v := range map[string]any{
			`{"$Items":%s}`: array, `{"$Properties":%s}`: object, `{"$Length":%s}`: "text", `{"contains":true,"$Contains":%s}`: array,
		} {
			text = fmt.Sprintf(text, n)
			if err := check(t, compile(t, strings.Replace(text, "$", "max", 1), Options{}), v); err != nil {
				t.Errorf("%s as a maximum: %v", text, err)
			}
			if err := check(t, compile(t, strings.Replace(text, "$", "min", 1), Options{}), v); err == nil {
				t.Errorf("%s as a minimum: it fits", text)
			}
		}
	}
}

// What a schema may not be: an error that says so, at once.
func TestRefusedSchemas(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 100) + "true" + strings.Repeat("}", 100)
	wide := `{"enum":[` + strings.TrimSuffix(strings.Repeat("1,", 5000), ",") + `]}`
	for text, want := range map[string]string{
		`{`:                               "not JSON",
		`{} {}`:                           "not JSON",
		`1`:                               "object or a boolean",
		`{"type":"moon"}`:                 "not a valid schema",
		`{"type":1,"minimum":"a"}`:        "not a valid schema",
		`{"$ref":"http://example.com/x"}`: "may not refer",
		`{"$ref":"file:///etc/passwd"}`:   "may not refer",
		`{"$ref":"#/$defs/none"}`:         "",
		`{"$schema":"http://json-schema.org/draft-04/schema#"}`: "$schema must be",
		`{"$ref":"#"}`: "without end",
		`{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"}]}}}`:   "", // unreachable: fine
		`{"properties":{"x":{"$ref":"#/properties/x"}}}`:     "without end",
		`{"pattern":"(?!a)"}`:                                "",
		`{"pattern":"((a{100}){100}){100}"}`:                 "",
		`{"pattern":"a{900}b{900}c{900}d{900}e{900}f{900}"}`: "too large",
		`{"pattern":"` + strings.Repeat("a", 2000) + `"}`:    "at most 1024 bytes",
		`{"minimum":1e999999999}`:                            "too large",
		`{"multipleOf":1e-999999}`:                           "too fine",
		`{"const":` + strings.Repeat("1", 1000) + `}`:        "too large",
		`{"bsonType":"moon"}`:                                "unknown type",
		`{"title":"` + strings.Repeat("a", MaxText) + `"}`:   "at most 65536 bytes",
		deep: "nested deeper",
		wide: "more than",
	} {
		_, err := Compile(text, Options{})
		if want == "" && strings.Contains(text, `"allOf":[{"$ref"`) {
			if err != nil {
				t.Errorf("%.60s: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 600 {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
	}
}

// What an object lacks is named, the first alone where programs look for it.
func TestLacks(t *testing.T) {
	s, err := Compile(`{"required":["b","a","c","d","e","f","g"]}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for doc, want := range map[string]string{
		`{"a":1,"c":1,"d":1,"e":1,"f":1,"g":1}`: `missing required field "b" (the object lacks "b")`,
		`{"b":1}`:                               `missing required field "a" (the object lacks "a", "c", "d", "e", "f" and 1 more)`,
	} {
		raw, err := value.ParseJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(raw); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", doc, err, want)
		}
	}
}

// Replicas refuse a schema with the same words, whatever else is wrong with it.
func TestOneError(t *testing.T) {
	const text = `{"properties":{"b":{"minimum":2e99999},"a":{"minimum":1e99999},"c":{"const":{"d":4e99999,"c":3e99999}}}}`
	for text, want := range map[string]string{
		text: "1e99999",
		`{"properties":{"a":{"pattern":"(b"},"b":{"pattern":"(a"},"c":{"pattern":"(c"}}}`:                                  `"(a"`,
		`{"patternProperties":{"(b":true,"(a":true,"(c":true,"(d":true}}`:                                                  `"(a"`,
		`{"properties":{"a":{"bsonType":"sun"},"b":{"bsonType":"moon"},"c":{"pattern":"("},"d":{"bsonType":[]}}}`:          `no type`,
		`{"properties":{"a":{"$ref":"#/b"},"b":{"$ref":"#/a"},"c":{"$ref":"http://x/y"},"d":{"pattern":"(","$ref":"#k"}}}`: `$ref "#/a", $ref "#/b", $ref "#k", $ref "http://x/y"`,
		`{"properties":{"a":{"$id":"x"},"b":{"$id":"x"},"c":{"$anchor":"y"},"d":{"$anchor":"y"}}}`:                         `$anchor "y", $id "x"`,
		`{"properties":{"a":{"minimum":"x"},"b":{"type":"moon"},"c":{"required":1}}}`:                                      `at /properties/a/minimum`,
		`{"properties":{"b":{"$ref":"#/properties/b"},"a":{"$ref":"#/properties/a"}}}`:                                     `/properties/a`,
	} {
		said := ""
		for range 50 {
			_, err := Compile(text, Options{})
			if err == nil || !strings.Contains(err.Error(), want) || said != "" && err.Error() != said {
				t.Fatalf("%s: got %v, before %q, want always the same with %s", text, err, said, want)
			}
			said = err.Error()
		}
	}
}

// A schema whose evaluation explodes ends by its budget, and soon.
func TestBudget(t *testing.T) {
	var defs []string
	for i := range 60 {
		defs = append(defs, fmt.Sprintf(`"a%d":{"anyOf":[{"allOf":[{"$ref":"#/$defs/a%d"},false]},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1))
	}
	chain := `{"$defs":{` + strings.Join(defs, ",") + `,"a60":{"type":"string"}},"not":{"$ref":"#/$defs/a0"}}`
	twice := `{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"}}}]}`
	nest := any(1)
	for range 90 {
		nest = bson.D{{Key: "x", Value: nest}}
	}
	many := bson.A{}
	for i := range 100_000 {
		many = append(many, int32(i))
	}
	for text, v := range map[string]any{
		chain: 1, twice: nest,
		`{"items":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"enum":[1,2,3]},`, 200), ",") + `]},"contains":{"not":true}}`: many,
		`{"pattern":"(x|y|z)*(a{900}|b{900})$"}`: strings.Repeat("x", 1_000_000),
	} {
		s := compile(t, text, Options{})
		err := check(t, s, v)
		if !errors.Is(err, errBudget) && !strings.Contains(text, "enum") {
			t.Errorf("%.60s: got %v, want the end of the budget", text, err)
		}
	}
}

// genSchema draws schemas that use most keywords.
func genSchema(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		if depth == 0 {
			return rapid.Bool().Draw(t, "bool")
		}
		sub := func() any { return genSchema(depth-1).Draw(t, "sub") }
		out := map[string]any{}
		for range rapid.IntRange(1, 3).Draw(t, "keywords") {
			n := rapid.IntRange(0, 3).Draw(t, "n")
			switch k := rapid.IntRange(0, 20).Draw(t, "keyword"); k {
			case 0:
				out["type"] = rapid.SampledFrom([]string{"string", "number", "integer", "object", "array", "null", "boolean"}).Draw(t, "type")
			case 1:
				out["minimum"] = n
			case 2:
				out["exclusiveMaximum"] = n
			case 3:
				out["multipleOf"] = []any{1, 2, 0.5, 0.1}[n]
			case 4:
				out["enum"] = []any{n, "a", map[string]any{"a": 1}}
			case 5:
				out["const"] = []any{1.0, "b", []any{1}, nil}[n]
			case 6:
				out["minLength"] = n
			case 7:
				out["pattern"] = []string{"a", "^b", "c$", "."}[n]
			case 8:
				out["properties"] = map[string]any{"a": sub(), "b": sub()}
			case 9:
				out["required"] = []any{"a"}
			case 10:
				out["additionalProperties"] = sub()
			case 11:
				out["patternProperties"] = map[string]any{"^a": sub()}
			case 12:
				out["propertyNames"] = sub()
			case 13:
				out["items"] = sub()
			case 14:
				out["prefixItems"] = []any{sub()}
			case 15:
				out["contains"], out["minContains"] = sub(), n
			case 16:
				out["uniqueItems"] = true
			case 17:
				out[[]string{"allOf", "anyOf", "oneOf", "allOf"}[n]] = []any{sub(), sub()}
			case 18:
				out["not"] = sub()
			case 19:
				out["if"], out["then"], out["else"] = sub(), sub(), sub()
			case 20:
				out[[]string{"unevaluatedProperties", "unevaluatedItems", "maxItems", "maxProperties"}[n]] = []any{false, false, 1, 1}[n]
			}
		}
		return out
	})
}

func genValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		n := rapid.IntRange(0, 7).Draw(t, "kind")
		if depth == 0 {
			n %= 6
		}
		switch n {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return int64(rapid.IntRange(-1, 4).Draw(t, "int"))
		case 3:
			return rapid.SampledFrom([]float64{0, 0.5, 0.7, 1, 2.5}).Draw(t, "float")
		case 4, 5:
			return rapid.SampledFrom([]string{"", "a", "b", "bc", "äb"}).Draw(t, "string")
		case 6:
			return rapid.SliceOfN(genValue(depth-1), 0, 3).Draw(t, "array")
		}
		out := map[string]any{}
		for _, k := range []string{"a", "b", "ab"} {
			if rapid.Bool().Draw(t, k) {
				out[k] = genValue(depth-1).Draw(t, "value")
			}
		}
		return out
	})
}

// What is evaluated here fits if and only if the library says so.
func TestAgainstLibrary(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text, err := bson.MarshalExtJSON(bson.M{"s": genSchema(3).Draw(rt, "schema")}, false, false)
		if err != nil {
			rt.Fatal(err)
		}
		s := strings.TrimSuffix(strings.TrimPrefix(string(text), `{"s":`), "}")
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(s))
		if err != nil {
			rt.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:x", doc); err != nil {
			rt.Fatal(err)
		}
		want, err := c.Compile("mem:x")
		if err != nil {
			rt.Fatal(err)
		}
		got := compile(t, s, Options{})
		for range 5 {
			v := genValue(2).Draw(rt, "value")
			b, err := bson.Marshal(bson.M{"v": v})
			if err != nil {
				rt.Fatal(err)
			}
			x, y := got.check(value.Get(b, "v"), nil), want.Validate(v)
			if (x == nil) != (y == nil) {
				rt.Fatalf("%s on %v: got %v, the library %v", s, v, x, y)
			}
		}
	})
}

// Schemas and documents of any bytes: an answer or an error.
func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`, []byte{5, 0, 0, 0, 0})
	f.Add(`{"$dynamicRef":"#x","$defs":{"a":{"$dynamicAnchor":"x","unevaluatedItems":false}}}`, []byte{5, 0, 0, 0, 0})
	f.Add(`{"patternProperties":{"(a|b)*":{"multipleOf":1e-3}},"bsonType":"date"}`, []byte{5, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, text string, doc []byte) {
		start := time.Now()
		defer func() {
			if took := time.Since(start); took > time.Minute {
				t.Fatalf("took %v", took)
			}
		}()
		s, err := Compile(text, Options{Formats: true})
		if err != nil {
			return
		}
		first := fmt.Sprint(s.Check(doc))
		if again := fmt.Sprint(s.Check(doc)); again != first {
			t.Fatalf("%s, then %s", first, again)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	text := `{"type":"object","required":["name","population","loc"],"additionalProperties":false,"properties":{"_id":{"type":"string"},
		"name":{"type":"string","minLength":1,"maxLength":200},"altNames":{"type":"array","items":{"type":"string"},"maxItems":10},
		"country":{"type":"string","pattern":"^[A-Z]{2}$"},"adminCode":{"type":"string"},"feature":{"enum":["PPL","PPLA","PPLC"]},
		"population":{"type":"integer","minimum":0},"loc":{"type":"object","properties":{"type":{"const":"Point"},
		"coordinates":{"type":"array","minItems":2,"maxItems":2,"items":{"type":"number","minimum":-180,"maximum":180}}}}}}`
	doc, err := bson.Marshal(bson.D{
		{Key: "_id", Value: "1"},
		{Key: "name", Value: "Paris"},
		{Key: "altNames", Value: bson.A{"Lutetia", "Paname"}},
		{Key: "country", Value: "FR"},
		{Key: "adminCode", Value: "A8"},
		{Key: "feature", Value: "PPLC"},
		{Key: "population", Value: 2138551},
		{Key: "loc", Value: bson.D{{Key: "type", Value: "Point"}, {Key: "coordinates", Value: bson.A{2.3488, 48.85341}}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	s := compile(b, text, Options{})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := s.Check(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			compile(b, text, Options{})
		}
	})
}
