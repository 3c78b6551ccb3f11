package query_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

func mustFilter(t testing.TB, text string) *query.Filter {
	t.Helper()
	f, err := query.Compile(parse(t, []byte(text)))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// TestMatch states semantics in which engines differ.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter, doc string
		want        bool
	}{
		{`{"a.b":null}`, `{"a":[{},{"b":1}]}`, false},
		{`{"a.b":null}`, `{"a":[{}]}`, false},
		{`{"a.b":null}`, `{"a":[{"b":null},{"b":1}]}`, true},
		{`{"a.0.b":null}`, `{"a":[{}]}`, true},
		{`{"a.5":null}`, `{"a":[1]}`, true},
		{`{"a.b":1}`, `{"a":[[1,2],[3]]}`, true},
		{`{"a.b":{"$exists":true}}`, `{"a":[[1]]}`, true},
		{`{"a.b":{"$gt":1}}`, `{"a":[[1,2]]}`, false},
		{`{"a.b":{"$in":[[1]]}}`, `{"a":[{"b":[1]}]}`, true},
		{`{"a":{"$in":[[1,2]]}}`, `{"a":[[1,2]]}`, true},
		{`{"a.b":null}`, `{"a":[1,2]}`, false},
		{`{"a.b":{"$exists":false}}`, `{"a":[1,2]}`, true},
		{`{"a.b":1}`, `{"a":[[{"b":1}]]}`, false},
		{`{"a.0.b":1}`, `{"a":[[{"b":1}]]}`, true},
		{`{"a.0":1}`, `{"a":{"0":1}}`, true},
		{`{"a":{"$in":[[1,2]]}}`, `{"a":[1,2]}`, false},
		{`{"a":{"$all":[{"x":1}]}}`, `{"a":{"x":1}}`, false},
		{`{"a.b":{"$all":[{"x":1}]}}`, `{"a":[{"b":{"x":1}}]}`, true},
		{`{"a":{"$all":[1]}}`, `{"a":1}`, true},
		{`{"a":{"$all":[]}}`, `{"a":[]}`, false},
		{`{"a":{"$elemMatch":{"$gt":1}}}`, `{"a":[[5]]}`, true},
		{`{"a":{"$gt":1}}`, `{"a":[[5]]}`, false},
		{`{"a":{"$elemMatch":{"0":5}}}`, `{"a":[[5]]}`, true},
		{`{"a":{"$gte":null}}`, `{}`, true},
		{`{"a":{"$gt":null}}`, `{"a":1}`, false},
		{`{"a":{"$lt":5}}`, `{"a":{"$numberDouble":"NaN"}}`, false},
		{`{"a":{"$lte":{"$numberDouble":"NaN"}}}`, `{"a":{"$numberDecimal":"NaN"}}`, true},
		{`{"a":{"$lt":{"$maxKey":1}}}`, `{"a":"x"}`, true},
		{`{"a":{"$lt":"b"}}`, `{"a":1}`, false},
		{`{"a":{"$lt":[1,3]}}`, `{"a":[1,2]}`, true},
		{`{"a":{"$numberDecimal":"0.5"}}`, `{"a":0.5}`, true},
		{`{"a":{"$numberDecimal":"0.1"}}`, `{"a":0.1}`, false},
		{`{"a":9007199254740993}`, `{"a":9007199254740992.0}`, false},
		{`{"a":{"$type":"array"}}`, `{"a":[]}`, true},
		{`{"a":{"$type":"number"}}`, `{"a":["x",1]}`, true},
		{`{"a":{"$mod":[4.9,1]}}`, `{"a":5.5}`, true},
		{`{"a":{"$mod":[4,0]}}`, `{"a":null}`, false},
		{`{"a.b":{"$mod":[4,0]}}`, `{"a":[{"b":null}]}`, true},
		{`{"a":{"$bitsAllSet":[1,5]}}`, `{"a":54}`, true},
		{`{"a":{"$bitsAllSet":50}}`, `{"a":[1,54]}`, true},
		{`{"a":{"$bitsAnySet":[0,3]}}`, `{"a":54}`, false},
		{`{"a":{"$bitsAllClear":[0,3]}}`, `{"a":54.0}`, true},
		{`{"a":{"$bitsAnyClear":[1,3]}}`, `{"a":54}`, true},
		{`{"a":{"$bitsAllSet":[200]}}`, `{"a":-1}`, true},
		{`{"a":{"$bitsAllClear":[200]}}`, `{"a":1}`, true},
		{`{"a":{"$bitsAllSet":[1]}}`, `{"a":2.5}`, false},
		{`{"a":{"$bitsAllSet":[]}}`, `{"a":1}`, true},
		{`{"a":{"$bitsAnySet":[]}}`, `{"a":1}`, false},
		{`{"a":{"$bitsAllClear":[]}}`, `{"a":"x"}`, false},
		{`{"a":{"$bitsAnySet":{"$binary":{"base64":"AAE=","subType":"00"}}}}`, `{"a":256}`, true},
		{`{"a":{"$bitsAllSet":[8]}}`, `{"a":{"$binary":{"base64":"AAE=","subType":"00"}}}`, true},
		{`{"a":{"$regex":"^x y # c","$options":"xi"}}`, `{"a":"XY"}`, true},
		{`{"a":{"$regularExpression":{"pattern":"b","options":""}}}`, `{"a":["a","b"]}`, true},
		{`{"a":{"$regex":"a.b","$options":"s"}}`, `{"a":"a\nb"}`, true},
		{`{"a":{"$regex":"a.b"}}`, `{"a":"a\nb"}`, false},
		{`{"a":{"$regex":"^b$","$options":"m"}}`, `{"a":"a\nb\nc"}`, true},
		{`{"a":{"$not":{"$regex":"^B","$options":"i"}}}`, `{"a":["a","b"]}`, false},
		{`{"a":{"$not":{"$regularExpression":{"pattern":"b","options":""}}}}`, `{"a":"a"}`, true},
		{`{"a":{"$in":[{"$regularExpression":{"pattern":"^b","options":""}},7]}}`, `{"a":"bc"}`, true},
		{`{"a":{"$nin":[{"$regularExpression":{"pattern":"^b","options":""}}]}}`, `{"a":["a","bc"]}`, false},
		{`{"a":{"$type":["string",16]}}`, `{"a":7}`, true},
		{`{"a":{"$gt":{"$date":"2024-01-01T00:00:00Z"}}}`, `{"a":{"$date":"2024-01-02T00:00:00Z"}}`, true},
		{`{"a":{"$gt":{"$date":"2024-01-01T00:00:00Z"}}}`, `{"a":{"$timestamp":{"t":4000000000,"i":1}}}`, false},
		{`{"a":{"$lt":{"$binary":{"base64":"AQI=","subType":"00"}}}}`, `{"a":{"$binary":{"base64":"/w==","subType":"05"}}}`, true},
		{`{"a":{"$binary":{"base64":"AQ==","subType":"05"}}}`, `{"a":{"$binary":{"base64":"AQ==","subType":"00"}}}`, false},
		{`{"a":{"$gte":{"$numberDecimal":"1.10"}}}`, `{"a":{"$numberDecimal":"1.1"}}`, true},
		{`{"a":{"$eq":{"$regularExpression":{"pattern":"b","options":""}}}}`, `{"a":"b"}`, false},
		{`{"a":{"$not":{"$gt":1,"$lt":9}}}`, `{"a":[0,20]}`, false},
		{`{"$nor":[{"a":1},{"b":2}],"$comment":"x"}`, `{"a":2}`, true},
		{`{"a":{"$binary":{"base64":"AQ==","subType":"00"}}}`, `{"a":{"$binary":{"base64":"AQ==","subType":"00"}}}`, true},
	} {
		if got := mustFilter(t, c.filter).Match(parse(t, []byte(c.doc))); got != c.want {
			t.Errorf("%s on %s: got %t", c.filter, c.doc, got)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for filter, want := range map[string]string{
		`{"a.b":{"$foo":1}}`:                  "a.b: unknown operator: $foo (bad_value)",
		`{"a":{"$gt":1,"b":2}}`:               "a: unknown operator: b (bad_value)",
		`{"$foo":1}`:                          "unknown top level operator: $foo",
		`{"$and":[]}`:                         "$and must be a nonempty array",
		`{"$or":{}}`:                          "$or must be an array",
		`{"$or":[1]}`:                         "$or entries need to be full objects",
		`{"a":{"$in":1}}`:                     "a: $in needs an array",
		`{"a":{"$not":1}}`:                    "a: $not needs a regex or a document",
		`{"a":{"$bitsAllSet":-1}}`:            "a: $bitsAllSet needs a non-negative integer",
		`{"a":{"$bitsAnySet":[1.5]}}`:         "a: bit positions of $bitsAnySet",
		`{"a":{"$bitsAnySet":"x"}}`:           "a: $bitsAnySet takes",
		`{"a":{"$size":-1}}`:                  "a: Failed to parse $size",
		`{"a":{"$size":1.5}}`:                 "a: Failed to parse $size",
		`{"a":{"$mod":[0,1]}}`:                "a: $mod: divisor cannot be 0",
		`{"a":{"$mod":[1]}}`:                  "a: malformed $mod",
		`{"a":{"$type":"x"}}`:                 "a: $type: Unknown type name alias: x",
		`{"a":{"$type":99}}`:                  "a: $type: Invalid numerical type code: 99",
		`{"a":{"$regex":"(?=x)"}}`:            "a: $regex: Regular expression is invalid or unsupported",
		`{"a":{"$regex":"(a)\\1"}}`:           "unsupported",
		`{"a":{"$regex":"(abcd){0,600}"}}`:    "pattern is too costly",
		`{"a":{"$regex":"a","$options":"q"}}`: "invalid flag",
		`{"a":{"$options":"i"}}`:              "a: $options needs a $regex",
		`{"a":{"$elemMatch":1}}`:              "a: $elemMatch needs an Object",
		`{"$expr":{"$gt":["$a"]}}`:            "$gt",
		`{"$expr":{"$rand":{}}}`:              "$rand",
		`{"a":{"$elemMatch":{"$expr":true}}}`: "$expr can only be applied to the top-level document",
		`{"$where":"1"}`:                      "$where is not supported",
		`{"a":{"$gt":{"$regularExpression":{"pattern":"a","options":""}}}}`: "Can't have regex as arg to $gt",
	} {
		_, err := query.Compile(parse(t, []byte(filter)))
		if err == nil || !strings.Contains(said(err), want) {
			t.Errorf("%s: got %v, want %s", filter, err, want)
		}
	}
}

func TestConditionsBounded(t *testing.T) {
	for n, ok := range map[int]bool{4000: true, 4001: false} {
		filter := `{"$or":[` + strings.TrimSuffix(strings.Repeat(`{"a":1},`, n), ",") + `]}`
		if _, err := query.Compile(parse(t, []byte(filter))); (err == nil) != ok {
			t.Errorf("%d conditions: %v", n, err)
		}
	}
}

func TestPatternsBoundedTogether(t *testing.T) {
	for _, pattern := range []string{
		`{"$regex":"(a?){500}"}`, `{"$regex":"(a?){500} # (","$options":"x"}`, `{"$not":{"$regex":"(a?){500}"}}`,
		`{"$regularExpression":{"pattern":"(a?){500}","options":""}}`, `{"$elemMatch":{"$regex":"(a?){500}"}}`,
		`{"$in":[{"$regularExpression":{"pattern":"(a?){500} # (","options":"x"}}]}`,
	} {
		for n, ok := range map[int]bool{5: true, 20: false} {
			parts := strings.TrimSuffix(strings.Repeat(`{"a":`+pattern+`},`, n), ",")
			if _, err := query.Compile(parse(t, []byte(`{"$or":[`+parts+`]}`))); (err == nil) != ok {
				t.Errorf("%d times %s: %v", n, pattern, err)
			}
		}
	}
}

func TestRegexPrefix(t *testing.T) {
	for _, c := range []struct{ pattern, options, want string }{
		{"^abc", "", "abc"},
		{"^abc.*d", "s", "abc"},
		{`\\Aab?`, "", "a"},
		{"^ a b # c", "x", "ab"},
		{"^a.b", "", "a"},
		{`^a\\.b`, "", "a.b"},
		{"^abc", "i", ""},
		{"^abc", "m", ""},
		{"(?i)^abc", "", ""},
		{"^abc|d", "", ""},
		{"abc", "", ""},
		{"^(a|b)c", "", ""},
	} {
		f := mustFilter(t, fmt.Sprintf(`{"a":{"$regex":"%s","$options":"%s"}}`, c.pattern, c.options))
		got := ""
		for _, k := range f.Conjuncts() {
			if k.Op == query.Prefix {
				got = string(k.Value.Str())
			}
		}
		if got != c.want {
			t.Errorf("/%s/%s: got %q, want %q", c.pattern, c.options, got, c.want)
		}
	}
}

func TestMatchAt(t *testing.T) {
	for _, c := range []struct {
		filter, doc string
		pos         int
	}{
		{`{"a":2}`, `{"a":[1,2]}`, 1},
		{`{"a.b":2}`, `{"a":[{"b":1},{"b":[3,2]}]}`, 1},
		{`{"a":{"$elemMatch":{"b":2}}}`, `{"a":[{"b":1},{"b":2}]}`, 1},
		{`{"b":1}`, `{"a":[1],"b":1}`, -1},
	} {
		if ok, pos := mustFilter(t, c.filter).MatchAt(parse(t, []byte(c.doc)), nil); !ok || pos != c.pos {
			t.Errorf("%s on %s: got %t %d, want %d", c.filter, c.doc, ok, pos, c.pos)
		}
	}
}

func drawJSON(t *rapid.T, depth int) string {
	switch n := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case n < 7 || depth > 2:
		return rapid.SampledFrom([]string{
			"0", "1", "1.5", "2", "3", `"a"`, `"ab"`, `"b"`, "null", "true",
			`{"$numberLong":"1"}`, `{"$numberDecimal":"1.5"}`, `{"$numberDouble":"NaN"}`, `{"$undefined":true}`,
		}).Draw(t, "scalar")
	case n < 8:
		return fmt.Sprintf(`{"b":%s}`, drawJSON(t, depth+1))
	}
	var items []string
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		items = append(items, drawJSON(t, depth+1))
	}
	return "[" + strings.Join(items, ",") + "]"
}

// TestConjunctsCoverMatches: a document that matches has, for each conjunct, an
// index value whose key is in one of the conjunct's ranges.
func TestConjunctsCoverMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom([]string{"a", "a.b", "a.0", "a.0.b", "a.1"}).Draw(t, "path")
		op := rapid.SampledFrom([]string{"$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$regex", "$elemMatch", "documents"}).Draw(t, "op")
		arg := drawJSON(t, 1)
		switch op {
		case "$in":
			arg = "[" + arg + "," + drawJSON(t, 2) + "]"
		case "$regex":
			arg = `"^a"`
		case "$elemMatch":
			arg = `{"$gte":` + arg + `}`
		case "documents":
			op = "$elemMatch"
			arg = fmt.Sprintf(`{%q:{"$lte":%s},"$and":[{"b":%s}]}`, rapid.SampledFrom([]string{"b", "0", "1.b", "b.b"}).Draw(t, "inner"), arg, drawJSON(t, 2))
			if rapid.Bool().Draw(t, "one") {
				arg = strings.Replace(arg, `,"$and"`, `,"$comment":1,"$or"`, 1)
			}
		}
		filter, err := value.ParseJSON([]byte(fmt.Sprintf(`{"$and":[{%q:{%q:%s}}]}`, path, op, arg)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := query.Compile(filter)
		if err != nil {
			return
		}
		doc, err := value.ParseJSON([]byte(`{"a":` + drawJSON(t, 0) + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if !f.Match(doc) {
			return
		}
		for _, c := range f.Conjuncts() {
			for _, desc := range []bool{false, true} {
				if c.Op != query.Exists && !covered(t, c, doc, desc) {
					t.Fatalf("desc %t: %s misses %s", desc, value.AppendJSON(nil, filter, false), value.AppendJSON(nil, doc, false))
				}
			}
		}
	})
}

func drawCondition(t *rapid.T) string {
	arg := drawJSON(t, 1)
	switch op := rapid.SampledFrom([]string{
		"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex", "$elemMatch", "$all", "$size", "$type", "$exists", "$mod", "$not", "$bitsAnySet",
	}).Draw(t, "op"); op {
	case "$in", "$nin", "$all":
		return fmt.Sprintf(`{%q:[%s,%s]}`, op, arg, drawJSON(t, 2))
	case "$regex":
		return `{"$regex":"^a"}`
	case "$elemMatch", "$not":
		return fmt.Sprintf(`{%q:{"$gte":%s}}`, op, arg)
	case "$size", "$bitsAnySet":
		return fmt.Sprintf(`{%q:1}`, op)
	case "$type":
		return `{"$type":["number","array"]}`
	case "$mod":
		return `{"$mod":[2,1]}`
	case "$exists":
		return `{"$exists":true}`
	default:
		return fmt.Sprintf(`{%q:%s}`, op, arg)
	}
}

// TestLogic: a conjunction holds if its parts do, in one pass over the document
// or one after the other; $nor holds if none does; $not is the complement of
// its condition.
func TestLogic(t *testing.T) {
	paths := []string{"a", "a.b", "b", "a.0", "a.0.b", "c", "b.b"}
	match := func(t *rapid.T, filter string, doc []byte) bool {
		f, err := query.Compile(parse(t, []byte(filter)))
		if err != nil {
			t.Skip()
		}
		ok := f.Match(doc)
		if at, _ := f.MatchAt(doc, nil); at != ok {
			t.Fatalf("%s on %s: Match %t, MatchAt %t", filter, value.AppendJSON(nil, doc, false), ok, at)
		}
		return ok
	}
	rapid.Check(t, func(t *rapid.T) {
		doc := parse(t, []byte(`{"b":`+drawJSON(t, 0)+`,"a":`+drawJSON(t, 0)+`}`))
		var parts []string
		all, any := true, false
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			path, cond := rapid.SampledFrom(paths).Draw(t, "path"), drawCondition(t)
			parts = append(parts, fmt.Sprintf(`{%q:%s}`, path, cond))
			ok := match(t, parts[len(parts)-1], doc)
			if match(t, fmt.Sprintf(`{%q:{"$not":%s}}`, path, cond), doc) == ok {
				t.Fatalf("%s: %s and its $not agree on %s", path, cond, value.AppendJSON(nil, doc, false))
			}
			all, any = all && ok, any || ok
		}
		list := strings.Join(parts, ",")
		for op, want := range map[string]bool{"$and": all, "$or": any, "$nor": !any} {
			if filter := fmt.Sprintf(`{%q:[%s]}`, op, list); match(t, filter, doc) != want {
				t.Fatalf("%s on %s: want %t", filter, value.AppendJSON(nil, doc, false), want)
			}
		}
	})
}

func covered(t *rapid.T, c query.Conjunct, doc []byte, desc bool) bool {
	path, err := value.ParsePath(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	vals, _ := path.IndexValues(nil, doc)
	for _, v := range vals {
		k := append(value.AppendKey(nil, v, desc), 0xff) // more fields may follow
		for _, r := range c.Ranges(desc) {
			if bytes.Compare(r.Lo, k) <= 0 && bytes.Compare(k, r.Hi) < 0 {
				return true
			}
		}
	}
	return false
}

// FuzzCompile: any bytes as filter, projection and sort give an error or an
// answer on any bytes as document.
func FuzzCompile(f *testing.F) {
	doc := parse(f, []byte(city))
	for _, s := range []string{
		`{"a":{"$in":[1,null]}}`, `{"$or":[{"a.0.b":{"$elemMatch":{"$gt":1}}},{"c":{"$regex":"^x"}}]}`,
		`{"a":{"$all":[{"$elemMatch":{"b":1}}],"$not":{"$mod":[2,1]}}}`, `{"a":{"$slice":[1,2]}}`, `{"a":1,"b":-1}`,
		`{"a":{"$bitsAllSet":[1,9]},"$expr":{"$gt":["$a.b",{"$size":"$c"}]}}`, `{"a.$":1,"b":{"$add":["$x",1]},"c.d":"$$NOW","e":{"$meta":"textScore"}}`,
	} {
		f.Add(parse(f, []byte(s)), doc)
		f.Add([]byte(s), []byte(city))
	}
	f.Add([]byte(`{"a.b":{"$gt":1,"$in":["x",null],"$type":["string",16]},"$nor":[{"c":{"$size":2}}]}`), []byte(`{"a":[{"b":[2]}],"c":[]}`))
	f.Fuzz(func(t *testing.T, spec, doc []byte) {
		spec, doc = fromText(spec), fromText(doc)
		if q, err := query.Compile(spec); err == nil {
			ok, err := q.Test(doc)
			if at, _ := q.MatchAt(doc, nil); at != q.Match(doc) || ok != at {
				t.Fatal("Match, MatchAt and Test disagree")
			}
			if n, err2 := query.Compile(negated(spec)); err2 == nil && err == nil && n.Match(doc) == ok {
				t.Fatal("a filter and its negation agree")
			}
			for _, c := range q.Conjuncts() {
				c.Ranges(true)
			}
		}
		for _, compile := range []func() (*query.Projection, error){
			func() (*query.Projection, error) { return query.CompileProjection(spec) },
			func() (*query.Projection, error) { return query.CompileProject(value.Doc(spec)) },
			func() (*query.Projection, error) { return query.CompileAddFields("$set", value.Doc(spec)) },
		} {
			if p, err := compile(); err == nil && value.Validate(doc) == nil {
				out := p.Apply(nil, doc)
				if err := value.Validate(out); err != nil && len(out) <= value.MaxDocument && !strings.Contains(err.Error(), "deeper") {
					t.Fatal(err)
				}
			}
		}
		if s, err := query.CompileSort(spec); err == nil {
			s.Key(nil, doc)
		}
	})
}

// negated returns {$nor: [filter]}.
func negated(filter []byte) []byte {
	if len(filter) == 0 {
		filter = []byte{5, 0, 0, 0, 0}
	}
	list, at := value.Begin(nil)
	list = value.End(value.AppendElement(list, []byte("0"), value.Doc(filter)), at)
	out, at := value.Begin(nil)
	return value.End(value.AppendElement(out, []byte("$nor"), value.Value{Type: bson.TypeArray, Data: list}), at)
}

// fromText takes input that looks like text as Extended JSON, which fuzzing
// changes more fruitfully than encoded documents.
func fromText(in []byte) []byte {
	if len(in) > 0 && in[0] == '{' {
		if doc, err := value.ParseJSON(in); err == nil {
			return doc
		}
	}
	return in
}

const city = `{"_id":"3039163","name":"Sant Julià de Lòria","altNames":["San Julia","San Julià"],"country":"AD","adminCode":"06","feature":"PPLA","population":8022,"loc":{"type":"Point","coordinates":[1.49129,42.46372]}}`

func BenchmarkMatchTwoFields(b *testing.B) {
	doc := parse(b, []byte(city))
	f := mustFilter(b, `{"country":"AD","population":{"$gt":5000}}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if !f.Match(doc) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkMatchNestedRegexIn(b *testing.B) {
	doc := parse(b, []byte(city))
	f := mustFilter(b, `{"loc.coordinates":{"$gt":40},"country":{"$in":["AD","DE","FR"]},"name":{"$regex":"^Sant"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if !f.Match(doc) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkSortKey(b *testing.B) {
	doc := parse(b, []byte(city))
	s, err := query.CompileSort(parse(b, []byte(`{"country":1,"population":-1}`)))
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Key(buf[:0], doc)
	}
}

// said is an error as tests compare it: its sentence and its kind.
func said(err error) string { return err.Error() + " (" + string(fault.KindOf(err)) + ")" }

func BenchmarkCompile(b *testing.B) {
	filter := parse(b, []byte(`{"_id":7,"n":{"$gte":1,"$lt":9},"$or":[{"a":1},{"b":{"$in":[1,2,3]}}]}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := query.Compile(filter); err != nil {
			b.Fatal(err)
		}
	}
}
