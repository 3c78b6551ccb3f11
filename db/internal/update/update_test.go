package update_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

var now = time.UnixMilli(1700000000123)

func parse(t testing.TB, text string) []byte {
	t.Helper()
	doc, err := value.ParseJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return doc
}

func apply(t testing.TB, filter, upd, doc string, filters ...string) ([]byte, error) {
	t.Helper()
	var raws []bson.Raw
	for _, f := range filters {
		raws = append(raws, parse(t, f))
	}
	u, err := update.Compile(parse(t, upd), raws)
	if err != nil {
		return nil, err
	}
	f, err := query.Compile(parse(t, filter))
	if err != nil {
		t.Fatal(err)
	}
	got, changed, err := u.Apply(parse(t, doc), update.Context{Now: now, Filter: f})
	if err == nil && changed == bytes.Equal(got, parse(t, doc)) {
		t.Errorf("%s on %s: changed is %t", upd, doc, changed)
	}
	return got, err
}

func TestApply(t *testing.T) {
	for _, c := range []struct{ filter, upd, doc, want string }{
		{`{}`, `{"$set":{"b":1,"a":2,"c.10":1,"c.9":2}}`, `{"_id":1,"b":0}`, `{"_id":1,"b":1,"a":2,"c":{"9":2,"10":1}}`},
		{`{}`, `{"$set":{"a.2":1}}`, `{"a":[0]}`, `{"a":[0,null,1]}`},
		{`{}`, `{"$unset":{"a.0":1,"b":1}}`, `{"a":[0,1],"b":2}`, `{"a":[null,1]}`},
		{`{}`, `{"$unset":{"a.b.c":1}}`, `{"a":5}`, `{"a":5}`},
		{
			`{}`, `{"$inc":{"a":1,"b":1,"c":1.5,"d":{"$numberDecimal":"0.1"}}}`,
			`{"a":2147483647,"b":{"$numberLong":"1"},"c":1,"d":0.2}`,
			`{"a":{"$numberLong":"2147483648"},"b":{"$numberLong":"2"},"c":2.5,"d":{"$numberDecimal":"0.300000000000000"}}`,
		},
		{`{}`, `{"$mul":{"a":2,"b":{"$numberLong":"3"}}}`, `{"a":{"$numberDecimal":"1.50"}}`, `{"a":{"$numberDecimal":"3.00"},"b":{"$numberLong":"0"}}`},
		{
			`{}`, `{"$inc":{"a":{"$numberDecimal":"0.5"},"b":{"$numberLong":"9007199254740993"}},"$mul":{"c":{"$numberDecimal":"0.5"}}}`,
			`{"a":{"$numberLong":"9007199254740993"},"b":{"$numberDecimal":"1.5"},"c":{"$numberLong":"9007199254740993"}}`,
			`{"a":{"$numberDecimal":"9007199254740993.5"},"b":{"$numberDecimal":"9007199254740994.5"},"c":{"$numberDecimal":"4503599627370496.5"}}`,
		},
		{`{}`, `{"$rename":{"a.b":"c.d","x":"y"}}`, `{"a":{"b":1,"e":2}}`, `{"a":{"e":2},"c":{"d":1}}`},
		{`{}`, `{"$rename":{"a":"b"}}`, `{"a":1,"b":2,"c":3}`, `{"b":1,"c":3}`},
		{`{}`, `{"$push":{"a":{"$each":[3,1],"$sort":-1,"$slice":2,"$position":0}}}`, `{"a":[2]}`, `{"a":[3,2]}`},
		{`{}`, `{"$push":{"a":{"$each":[{"k":1}],"$sort":{"k":1}}}}`, `{"a":[{"k":2},5]}`, `{"a":[5,{"k":1},{"k":2}]}`},
		{`{}`, `{"$push":{"a":{"$each":[9],"$position":-1}}}`, `{"a":[1,2]}`, `{"a":[1,9,2]}`},
		{`{}`, `{"$push":{"a":{"$each":["z","b"],"$sort":1,"$slice":1}}}`, `{}`, `{"a":["z","b"]}`},
		{`{}`, `{"$addToSet":{"a":{"$each":[1.0,2,2]}}}`, `{"a":[1]}`, `{"a":[1,2]}`},
		{`{}`, `{"$pull":{"a":{"$gt":3}}}`, `{"a":[1,5,[2,9]]}`, `{"a":[1]}`},
		{`{}`, `{"$pull":{"a":{"b":1}}}`, `{"a":[{"b":1,"c":1},{"b":2},1]}`, `{"a":[{"b":2},1]}`},
		{`{}`, `{"$pull":{"a":{"$or":[{"b":1},{"c":2}]}}}`, `{"a":[{"b":1,"c":1},{"b":2},1,{"c":2}]}`, `{"a":[{"b":2},1]}`},
		{`{}`, `{"$pullAll":{"a":[1,{"b":1}]}}`, `{"a":[1.0,{"b":1},{"b":1,"c":1}]}`, `{"a":[{"b":1,"c":1}]}`},
		{`{}`, `{"$bit":{"a":{"and":6,"or":1}}}`, `{"a":12}`, `{"a":5}`},
		{`{}`, `{"$min":{"a":"x"},"$max":{"b":"x"}}`, `{"a":1,"b":1}`, `{"a":1,"b":"x"}`},
		{
			`{}`, `{"$currentDate":{"a":true,"b":{"$type":"timestamp"}}}`, `{}`,
			`{"a":{"$date":{"$numberLong":"1700000000123"}},"b":{"$timestamp":{"t":1700000000,"i":1}}}`,
		},
		{`{}`, `{"$setOnInsert":{"a":1}}`, `{"b":1}`, `{"b":1}`},
		{`{"a":2}`, `{"$set":{"a.$":9}}`, `{"a":[1,2,2]}`, `{"a":[1,9,2]}`},
		{`{"a.k":2}`, `{"$inc":{"a.$.n":1}}`, `{"a":[{"k":1},{"k":2}]}`, `{"a":[{"k":1},{"k":2,"n":1}]}`},
		{`{}`, `{"$inc":{"a.$[].n":1}}`, `{"a":[{"n":1},{}]}`, `{"a":[{"n":2},{"n":1}]}`},
		{`{}`, `{"$set":{"_id":1}}`, `{"_id":1}`, `{"_id":1}`},
		{`{}`, `{"$set":{}}`, `{"_id":1}`, `{"_id":1}`},
		{`{}`, `{"$set":{"a.b":2},"$inc":{"c":1}}`, `{"a":[{"b":1}],"c":1}`, `{"a":[{"b":1}],"c":2}`},
	} {
		got, err := apply(t, c.filter, c.upd, c.doc)
		if err != nil || !bytes.Equal(got, parse(t, c.want)) {
			t.Errorf("%s on %s: got %s %v, want %s", c.upd, c.doc, value.AppendJSON(nil, got, true), err, c.want)
		}
	}
}

func TestPipeline(t *testing.T) {
	for _, c := range []struct{ stages, doc, want string }{
		{`[{"$set":{"n":{"$add":["$a",1]}}},{"$unset":"b"}]`, `{"_id":1,"a":2,"b":3}`, `{"_id":1,"a":2,"n":3}`},
		{`[{"$replaceRoot":{"newRoot":{"x":"$a"}}}]`, `{"_id":1,"a":2}`, `{"_id":1,"x":2}`},
		{`[{"$replaceWith":{"$mergeObjects":[{"a":0,"z":1},"$$ROOT"]}}]`, `{"_id":1,"a":2}`, `{"_id":1,"a":2,"z":1}`},
		{`[{"$project":{"a":1}}]`, `{"_id":1,"a":2,"b":1}`, `{"_id":1,"a":2}`},
		{`[{"$set":{"t":"$$NOW"}}]`, `{"_id":1}`, `{"_id":1,"t":{"$date":{"$numberLong":"1700000000123"}}}`},
		{`[{"$unset":"_id"},{"$set":{"b":1}}]`, `{"_id":1}`, `{"_id":1,"b":1}`},
		{`[]`, `{"_id":1}`, `{"_id":1}`},
		{`[{"$set":{"_id":2}}]`, `{"_id":1}`, "(immutable_field)"},
		{`[{"$set":{"r":{"$rand":{}}}}]`, `{"_id":1}`, "stage 0: r: $rand"},
		{`[{"$replaceWith":{"$rand":{}}}]`, `{"_id":1}`, "$rand"},
		{`[{"$replaceWith":"$a"}]`, `{"_id":1}`, "stage 0: 'newRoot' expression must evaluate to an object"},
		{`[{"$set":{"a":1}},{"$match":{"a":1}}]`, `{}`, "stage 1: $match is not allowed to be used within an update (invalid_options)"},
		{`[{"$set":{"a":1},"$unset":"b"}]`, `{}`, "must contain exactly one field (failed_to_parse)"},
		{`[1]`, `{}`, "(type_mismatch)"},
		{`{"$set":{"a":1}}`, `{}`, "must be an array"},
		{`[{"$set":{"a":{"$divide":["$b",0]}}}]`, `{"_id":1,"b":2}`, "stage 0: "},
	} {
		stages, err := value.ParseJSONValue([]byte(c.stages))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		u, err := update.Compile(update.Pipeline(stages), nil)
		if err == nil {
			got, _, err = u.Apply(parse(t, c.doc), update.Context{Now: now})
		}
		switch {
		case c.want[0] != '{':
			if err == nil || !strings.Contains(said(err), c.want) {
				t.Errorf("%s on %s: got %v, want %s", c.stages, c.doc, err, c.want)
			}
		case err != nil || !bytes.Equal(got, parse(t, c.want)):
			t.Errorf("%s on %s: got %s %v, want %s", c.stages, c.doc, value.AppendJSON(nil, got, true), err, c.want)
		}
	}
	if _, err := update.Compile(parse(t, `{"$pipeline":[],"$set":{"a":1}}`), nil); err == nil {
		t.Error("accepted operators besides a pipeline")
	}
	if _, err := update.Compile(parse(t, `{"$pipeline":[]}`), []bson.Raw{parse(t, `{"x":1}`)}); err == nil {
		t.Error("accepted array filters of a pipeline")
	}
}

func TestArrayFilters(t *testing.T) {
	got, err := apply(t, `{}`, `{"$set":{"a.$[x].b.$[y]":0,"a.0.c":1}}`, `{"a":[{"g":1,"b":[1,5]},{"g":2,"b":[7]}]}`,
		`{"x.g":{"$lt":2}}`, `{"y":{"$gte":5}}`)
	want := `{"a":[{"g":1,"b":[1,0],"c":1},{"g":2,"b":[7]}]}`
	if err != nil || !bytes.Equal(got, parse(t, want)) {
		t.Errorf("got %s %v, want %s", value.AppendJSON(nil, got, false), err, want)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		upd, doc string
		kind     fault.Kind
	}{
		{`{"$inc":{"a":"x"}}`, `{}`, fault.TypeMismatch},
		{`{"$inc":{"a":1}}`, `{"_id":1,"a":"x"}`, fault.TypeMismatch},
		{`{"$inc":{"a":{"$numberLong":"1"}}}`, `{"a":{"$numberLong":"9223372036854775807"}}`, fault.BadValue},
		{`{"$set":{"a":1,"a.b":2}}`, `{}`, fault.ConflictingUpdate},
		{`{"$set":{"a":1},"$inc":{"a":2}}`, `{}`, fault.ConflictingUpdate},
		{`{"$rename":{"a":"b"},"$set":{"b":2}}`, `{}`, fault.ConflictingUpdate},
		{`{"$set":{"a.$[]":1,"a.0":2}}`, `{"a":[1]}`, fault.ConflictingUpdate},
		{`{"$set":{"_id":2}}`, `{"_id":1}`, fault.ImmutableField},
		{`{"$unset":{"_id":2}}`, `{"_id":1}`, fault.ImmutableField},
		{`{"$set":{"a.b":1}}`, `{"a":5}`, fault.PathNotViable},
		{`{"$set":{"a.b":1}}`, `{"a":null}`, fault.PathNotViable},
		{`{"$set":{"a.b":1}}`, `{"a":[1]}`, fault.PathNotViable},
		{`{"$set":{"a.b":1}}`, `{"a":[]}`, fault.PathNotViable},
		{`{"$inc":{"a.b":1}}`, `{"a":[{"b":1}]}`, fault.PathNotViable},
		{`{"$set":{"$a":1}}`, `{}`, fault.DollarPrefixed},
		{`{"$set":{"a.$b":1}}`, `{}`, fault.DollarPrefixed},
		{`{"$set":{"a..b":1}}`, `{}`, fault.EmptyFieldName},
		{`{"$set":{"":1}}`, `{}`, fault.EmptyFieldName},
		{`{"$foo":{"a":1}}`, `{}`, fault.FailedToParse},
		{`{"a":1}`, `{}`, fault.FailedToParse},
		{`{"$set":5}`, `{}`, fault.FailedToParse},
		{`{"$pop":{"a":2}}`, `{}`, fault.FailedToParse},
		{`{"$pop":{"a":1}}`, `{"a":5}`, fault.TypeMismatch},
		{`{"$push":{"a":1}}`, `{"a":5}`, fault.BadValue},
		{`{"$push":{"a":{"$each":1}}}`, `{}`, fault.TypeMismatch},
		{`{"$push":{"a":{"$slice":1}}}`, `{}`, fault.BadValue},
		{`{"$push":{"a":{"x":1,"$each":[1]}}}`, `{}`, fault.BadValue},
		{`{"$addToSet":{"a":{"$foo":1}}}`, `{}`, fault.BadValue},
		{`{"$addToSet":{"a":{"x":1,"$each":[1]}}}`, `{}`, fault.BadValue},
		{`{"$pull":{"a":{"$foo":1}}}`, `{"a":[1]}`, fault.BadValue},
		{`{"$addToSet":{"a":1}}`, `{"a":5}`, fault.BadValue},
		{`{"$pull":{"a":1}}`, `{"a":5}`, fault.BadValue},
		{`{"$bit":{"a":{"nand":1}}}`, `{}`, fault.BadValue},
		{`{"$rename":{"a":"a"}}`, `{}`, fault.BadValue},
		{`{"$rename":{"a.0":"b"}}`, `{"a":[1]}`, fault.BadValue},
		{`{"$set":{"a.$":1}}`, `{"a":[1]}`, fault.BadValue},
		{`{"$set":{"a.$[x]":1}}`, `{"a":[1]}`, fault.BadValue},
		{`{"$set":{"a.$[]":1}}`, `{}`, fault.BadValue},
		{`{"$set":{"a.$[]":1}}`, `{"a":1}`, fault.BadValue},
		{`{"$set":{"a.900000":1}}`, `{"a":[]}`, fault.TooLarge},
	} {
		_, err := apply(t, `{}`, c.upd, c.doc)
		if !fault.Is(err, c.kind) {
			t.Errorf("%s on %s: got %v, want %s", c.upd, c.doc, err, c.kind)
		}
	}
}

func TestUpsert(t *testing.T) {
	for _, c := range []struct{ filter, upd, want string }{
		{
			`{"b":1,"_id":7,"a.x":{"$eq":2},"n":{"$gt":1},"$or":[{"c":3}]}`, `{"$set":{"z":1},"$setOnInsert":{"y":1}}`,
			`{"_id":7,"b":1,"a":{"x":2},"c":3,"y":1,"z":1}`,
		},
		{`{"a":1,"$or":[{"b":1},{"b":2}]}`, `{"$inc":{"a":1}}`, `{"a":2}`},
		{`{"$and":[{"a":[1]},{"b":{"$in":[1]}}]}`, `{"$push":{"a":2}}`, `{"a":[1,2]}`},
	} {
		f, err := query.Compile(parse(t, c.filter))
		if err != nil {
			t.Fatal(err)
		}
		u, err := update.Compile(parse(t, c.upd), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.Upsert(f, update.Context{Now: now})
		if err != nil || !bytes.Equal(got, parse(t, c.want)) {
			t.Errorf("%s %s: got %s %v, want %s", c.filter, c.upd, value.AppendJSON(nil, got, false), err, c.want)
		}
	}
}

func TestReplace(t *testing.T) {
	got, changed, err := update.Replace(parse(t, `{"_id":1,"a":1}`), parse(t, `{"b":2}`))
	if err != nil || !changed || !bytes.Equal(got, parse(t, `{"_id":1,"b":2}`)) {
		t.Errorf("got %s %t %v", value.AppendJSON(nil, got, false), changed, err)
	}
	if _, _, err := update.Replace(parse(t, `{"_id":1}`), parse(t, `{"_id":2}`)); !fault.Is(err, fault.ImmutableField) {
		t.Errorf("changed _id: %v", err)
	}
	if _, _, err := update.Replace(parse(t, `{"_id":1}`), parse(t, `{"a":1,"$b":2}`)); err == nil {
		t.Error("accepted a dollar-prefixed field")
	}
}

// An update whose result or work is far beyond a document is refused soon.
func TestApplyIsBounded(t *testing.T) {
	list := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ","+format, i)
		}
		return b.String()[1:]
	}
	for _, c := range []struct {
		upd  string
		kind fault.Kind
	}{
		{`{"$set":{` + list(20000, `"a.$[].f%d":1`) + `}}`, fault.TooLarge},
		{`{"$unset":{` + list(20000, `"a.$[].f%d":1`) + `}}`, fault.BadValue},
		{`{"$unset":{` + list(20000, `"a.$[].x.f%d":1`) + `}}`, fault.BadValue},
		{`{"$setOnInsert":{` + list(20000, `"a.$[].x.y.f%d":1`) + `}}`, fault.BadValue},
		{`{"$rename":{` + list(20000, `"x%[1]d":"y%[1]d"`) + `}}`, fault.BadValue},
	} {
		u, err := update.Compile(parse(t, c.upd), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = u.Apply(parse(t, `{"_id":1,"a":[`+list(20000, `{"i":%d}`)+`]}`), update.Context{})
		if !fault.Is(err, c.kind) {
			t.Errorf("%.40s: got %v, want %s", c.upd, err, c.kind)
		}
	}
}

// TestIncrementsAdd: increments in any order give the same sum.
func TestIncrementsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nums := rapid.SliceOfN(rapid.Int32(), 1, 8).Draw(t, "numbers")
		sum := int64(0)
		doc := []byte{5, 0, 0, 0, 0}
		for _, n := range rapid.Permutation(nums).Draw(t, "order") {
			sum += int64(n)
			upd, err := bson.Marshal(bson.D{{Key: "$inc", Value: bson.D{{Key: "a.b", Value: int64(n)}}}})
			if err != nil {
				t.Fatal(err)
			}
			u, err := update.Compile(upd, nil)
			if err != nil {
				t.Fatal(err)
			}
			if doc, _, err = u.Apply(doc, update.Context{}); err != nil {
				t.Fatal(err)
			}
		}
		path, err := value.ParsePath("a.b")
		if got := path.Lookup(doc).Int(); err != nil || got != sum {
			t.Fatalf("got %d, want %d", got, sum)
		}
	})
}

// FuzzApply: any bytes as update and array filter give an error or a valid
// document, twice the same.
func FuzzApply(f *testing.F) {
	doc := parse(f, `{"_id":1,"a":[1,{"b":2},[3]],"n":1.5,"o":{"p":{"$numberDecimal":"1.5"}}}`)
	filter := parse(f, `{"x":{"$gt":1}}`)
	for _, s := range []string{
		`{"$set":{"a.$[x]":1,"q.5":2}}`, `{"$inc":{"n":1,"o.p":1},"$mul":{"z":{"$numberDecimal":"9E+6144"}}}`,
		`{"$push":{"a":{"$each":[3],"$sort":-1,"$slice":-2,"$position":1}},"$rename":{"n":"m"}}`,
		`{"$pull":{"a":{"$gte":1}},"$unset":{"o.p":1},"$currentDate":{"t":true}}`, `{"$addToSet":{"a":{"$each":[1]}},"$bit":{"k":{"or":5}}}`,
		`{"$set":{"a.$[].b":1},"$pop":{"o.q":1},"$max":{"n":3}}`,
		`{"$pipeline":[{"$set":{"a.b":{"$add":["$n",1]},"q":"$$NOW"}},{"$unset":["o.p"]},{"$project":{"a":1}},{"$replaceWith":{"x":"$$ROOT"}}]}`,
	} {
		f.Add(parse(f, s), filter, doc)
		f.Add([]byte(s), []byte(`{"x":{"$gt":1}}`), []byte(`{"_id":1,"a":[1,{"b":2},[3]],"n":1.5,"o":{"p":2}}`))
	}
	f.Fuzz(func(t *testing.T, upd, filter, doc []byte) {
		upd, filter, doc = fromText(upd), fromText(filter), fromText(doc)
		if value.Validate(doc) != nil {
			return
		}
		u, err := update.Compile(upd, []bson.Raw{filter})
		if err != nil {
			if u, err = update.Compile(upd, nil); err != nil {
				return
			}
		}
		got, _, err := u.Apply(doc, update.Context{Now: now})
		if err != nil {
			return
		}
		if err := value.Validate(got); err != nil {
			t.Fatal(err)
		}
		if again, _, err := u.Apply(doc, update.Context{Now: now}); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("second application differs: %v", err)
		}
	})
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

func BenchmarkInc(b *testing.B) {
	doc := parse(b, city)
	u, err := update.Compile(parse(b, `{"$inc":{"population":1}}`), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := u.Apply(doc, update.Context{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	upd := parse(b, `{"$inc":{"population":1},"$set":{"name":"x"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := update.Compile(upd, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// said is an error as tests compare it: its sentence and its kind.
func said(err error) string { return err.Error() + " (" + string(fault.KindOf(err)) + ")" }
