package judge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

func doc(t testing.TB, kv ...any) bson.Raw {
	t.Helper()
	d := bson.D{}
	for i := 0; i < len(kv); i += 2 {
		d = append(d, bson.E{Key: kv[i].(string), Value: kv[i+1]})
	}
	b, err := bson.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A hostile operation is as costly as a document of a megabyte and a few bytes allow.
type hostile struct {
	name        string
	coll        string
	filter, upd bson.Raw
	filters     []bson.Raw
	cur         bson.Raw
	def         bson.Raw
}

func hostiles(t testing.TB) (hs []hostile) {
	d := func(kv ...any) bson.Raw { return doc(t, kv...) }
	fields := bson.D{{Key: "_id", Value: 1}}
	for i := range 60_000 {
		fields = append(fields, bson.E{Key: fmt.Sprintf("f%d", i), Value: int32(i)})
	}
	flat, err := bson.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	ints := make(bson.A, 60_000)
	for i := range ints {
		ints[i] = int32(i)
	}
	var docs bson.A
	for i := range 20_000 {
		docs = append(docs, bson.D{{Key: "i", Value: int32(i)}, {Key: "s", Value: "aaaaaaaa"}})
	}
	array, records := d("_id", 1, "a", ints), d("_id", 1, "a", docs)
	text := d("_id", 1, "s", strings.Repeat("a", 1_000_000))
	var deep any = "x"
	for range 45 {
		deep = bson.A{bson.D{{Key: "0", Value: deep}}}
	}
	set := d("$set", bson.D{{Key: "x", Value: 1}})
	var ors bson.A
	for range 1000 {
		ors = append(ors, bson.D{{Key: "f59999", Value: -1}})
	}
	var patterns bson.A
	for i := range 5 {
		patterns = append(patterns, bson.D{{Key: "s", Value: bson.Regex{Pattern: fmt.Sprintf("(a|b|aa){%d}c", 300+i)}}})
	}
	nested := bson.D{{Key: "$map", Value: bson.D{{Key: "input", Value: bson.D{{Key: "$range", Value: bson.A{0, 2000}}}}, {Key: "in", Value: bson.D{
		{Key: "$sum", Value: bson.D{{Key: "$map", Value: bson.D{{Key: "input", Value: bson.D{{Key: "$range", Value: bson.A{0, 2000}}}}, {Key: "as", Value: "y"}, {Key: "in", Value: "$$y"}}}}},
	}}}}}
	var stages bson.A
	for i := range 1000 {
		stages = append(stages, bson.D{{Key: "$set", Value: bson.D{{Key: "x", Value: i}}}})
	}
	wild := bson.D{}
	var filters []bson.Raw
	for i := range 60 {
		wild = append(wild, bson.E{Key: fmt.Sprintf("a.$[x%d]", i), Value: 1})
		filters = append(filters, d(fmt.Sprintf("x%d", i), bson.D{{Key: "$in", Value: bson.A{-1, -2, -3}}}))
	}
	schema := func(s string) bson.Raw { return d("_id", "a", "schema", s) }
	rule := func(s string) bson.Raw { return d("_id", "a", "rules", bson.D{{Key: "write", Value: s}}) }
	var props []string
	for i := range 400 {
		props = append(props, fmt.Sprintf(`"p%d":{"type":"string","pattern":"^(a|b){1,50}$"}`, i))
	}
	return []hostile{
		{name: "set", upd: set, cur: flat},
		{name: "conditions", filter: d("$or", ors), upd: set, cur: flat},
		{name: "paths", filter: d(strings.Repeat("0.", 80)+"0", "y"), upd: set, cur: d("_id", 1, "0", deep)},
		{name: "patterns", filter: d("$or", patterns), upd: set, cur: text},
		{name: "patterns of elements", filter: d("a", bson.D{{Key: "$elemMatch", Value: bson.D{{Key: "s", Value: bson.Regex{Pattern: "(a|b|aa){100}c"}}}}}), upd: set, cur: records},
		{name: "expr", filter: d("$expr", bson.D{{Key: "$eq", Value: bson.A{nested, 1}}}), upd: set, cur: d("_id", 1)},
		{name: "pipeline", upd: d("$pipeline", bson.A{bson.D{{Key: "$set", Value: bson.D{{Key: "x", Value: nested}}}}}), cur: d("_id", 1)},
		{name: "stages", upd: d("$pipeline", stages), cur: flat},
		{name: "array filters", upd: d("$set", wild), filters: filters, cur: array},
		{name: "pull", upd: d("$pull", bson.D{{Key: "a", Value: bson.D{{Key: "s", Value: bson.Regex{Pattern: "(a|b|aa){100}c"}}}}}), cur: records},
		{name: "push sorted", upd: d("$push", bson.D{{Key: "a", Value: bson.D{{Key: "$each", Value: bson.A{bson.D{}}}, {Key: "$sort", Value: bson.D{{Key: "s", Value: 1}, {Key: "i", Value: -1}}}}}}), cur: records},
		{name: "add to set", upd: d("$addToSet", bson.D{{Key: "a", Value: bson.D{{Key: "$each", Value: ints[:1000]}}}}), cur: array},
		{name: "rename", upd: d("$rename", bson.D{{Key: "f59999", Value: "g"}}), cur: flat},
		{name: "schema pattern", upd: set, cur: text, def: schema(`{"properties":{"s":{"pattern":"(a|b|aa){100}c"}}}`)},
		{name: "schema unique", upd: set, cur: records, def: schema(`{"properties":{"a":{"uniqueItems":true,"contains":{"properties":{"i":{"const":-1}}}}}}`)},
		{name: "rule", upd: set, cur: array, def: rule(`doc.a.all(x, doc.a.all(y, y >= 0))`)},
		{name: "rule text", upd: set, cur: text, def: rule(`!doc.s.matches("(a|b|aa){20}c")`)},
		{name: "definition", coll: SystemCollection, upd: set, cur: d("_id", "a", "schema", `{"properties":{`+strings.Join(props, ",")+`}}`)},
	}
}

func (h *hostile) decide(t testing.TB, ops int) (Verdict, *Judge) {
	t.Helper()
	var j Judge
	coll := h.coll
	if coll == "" {
		coll = "a"
	}
	if h.filter == nil {
		h.filter = doc(t)
	}
	op := payload.Op{Kind: payload.Update, Coll: coll, ID: value.Int32(1), Filter: h.filter, Doc: h.upd}
	for _, f := range h.filters {
		op.ArrayFilters = append(op.ArrayFilters, f)
	}
	var def *Definition
	if h.def != nil {
		var err error
		if def, err = ParseDefinition(h.def); err != nil {
			t.Fatal(h.name, err)
		}
	}
	return j.Decide(&op, keyspace.State{Doc: h.cur}, Author{Ops: ops}, def), &j
}

// However costly its operations are, a record takes no more than it may: each of them
// ends near its share, with the same verdict each time.
func TestWorkIsBounded(t *testing.T) {
	for _, h := range hostiles(t) {
		v, j := h.decide(t, payload.MaxOps)
		again, k := h.decide(t, payload.MaxOps)
		if v.Code != again.Code || j.Work != k.Work {
			t.Errorf("%s: %v with %d, then %v with %d", h.name, v.Code, j.Work, again.Code, k.Work)
		}
		if v.Code != keyspace.CodeTooCostly {
			t.Errorf("%s: one of %d operations is %s, and takes %d of %d bytes", h.name, payload.MaxOps, v.Code.Reason(), j.Work, share(payload.MaxOps))
		}
	}
}

// BenchmarkHostile shows how long the work of one operation takes that has its record
// for itself: ns/step says whether what is counted is what it takes.
func BenchmarkHostile(b *testing.B) {
	for _, h := range hostiles(b) {
		for _, ops := range []int{1, payload.MaxOps} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(h.name, " ", "-"), ops), func(b *testing.B) {
				var took time.Duration
				var work int
				for b.Loop() {
					b.StopTimer()
					from := time.Now()
					b.StartTimer()
					_, j := h.decide(b, ops)
					took += time.Since(from)
					work += j.Work
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(max(work/value.MeterTick, 1)), "ns/step")
				b.ReportMetric(float64(work/b.N)/(1<<20), "MiB-counted")
			})
		}
	}
}

// Ordinary operations are far from what a record may take.
func TestOrdinaryWork(t *testing.T) {
	cur := doc(t, "_id", 1, "name", "Ada", "tags", bson.A{"a", "b"}, "address", bson.D{{Key: "city", Value: "Paris"}}, "n", 7, "text", strings.Repeat("word ", 400))
	def, err := ParseDefinition(doc(t, "_id", "a",
		"schema", `{"required":["name"],"properties":{"name":{"type":"string","pattern":"^[A-Z]"},"n":{"minimum":0}}}`,
		"rules", bson.D{{Key: "write", Value: `writer == "did:key:x" && doc.n < 1000 && old.name == doc.name`}}))
	if err != nil {
		t.Fatal(err)
	}
	op := payload.Op{
		Kind: payload.Update, Coll: "a", ID: value.Int32(1), Filter: doc(t, "_id", 1, "n", bson.D{{Key: "$lt", Value: 100}}, "name", bson.Regex{Pattern: "^A"}),
		Doc: doc(t, "$inc", bson.D{{Key: "n", Value: 1}}, "$push", bson.D{{Key: "tags", Value: "c"}}),
	}
	var j Judge
	v := j.Decide(&op, keyspace.State{Doc: cur}, Author{Writer: "did:key:x", Ops: payload.MaxOps}, def)
	if v.Code != keyspace.CodeOK || !FitsShare(payload.MaxOps, j.Work) {
		t.Fatalf("%v: %d of %d bytes", v.Err, j.Work, share(payload.MaxOps)/Headroom)
	}
	t.Logf("%d bytes counted, of %d", j.Work, share(payload.MaxOps))
}
