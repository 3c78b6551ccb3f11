package command

import (
	"bytes"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
)

// FuzzIndexDefinition: a stored or commanded index is refused or has one form,
// and makes entries of any document without a panic.
func FuzzIndexDefinition(f *testing.F) {
	for _, s := range []string{
		`{"name": "a", "key": {"a": 1, "b.c": -1}, "unique": true}`,
		`{"name": "p", "key": {"a": 1}, "partial": "{\"a\": {\"$gt\": 5}}"}`,
		`{"name": "t", "key": {"a": "text"}, "weights": {"a": 3}, "language": "french"}`,
		`{"name": "e", "key": {"a": 1}, "expire": 60, "sparse": true}`,
		`{"key": {"a": 1}, "name": "c", "partialFilterExpression": {"$and": [{"a": 1}]}, "expireAfterSeconds": 5.5}`,
	} {
		doc, err := value.ParseJSON([]byte(s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc, doc)
	}
	f.Fuzz(func(t *testing.T, def, doc []byte) {
		if value.Validate(def) != nil {
			return
		}
		if x, err := indexOf(def); err == nil && !keyspace.IsIDIndex(x) {
			checkForm(t, x)
		}
		x, err := keyspace.ParseIndex(def)
		if err != nil {
			return
		}
		checkForm(t, x)
		ix, err := keyspace.NewIndex(x, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		if value.Validate(doc) == nil {
			var ks keyspace.KeySet
			ks.Fill(ix, doc)
			for i, k := range ks.Keys {
				if i > 0 && bytes.Compare(ks.Keys[i-1], k) >= 0 {
					t.Fatal("the keys are not ascending")
				}
				if ix.Text == nil && len(ix.ValuesOf(doc, k)) != len(x.Keys) {
					t.Fatalf("key %x is of no values", k)
				}
			}
		}
	})
}

// checkForm reports an index that does not come back as it was written.
func checkForm(t *testing.T, x keyspace.IndexDef) {
	t.Helper()
	b, err := bson.Marshal(keyspace.IndexDoc(x))
	if err != nil {
		t.Fatal(err)
	}
	y, err := keyspace.ParseIndex(b)
	if err != nil {
		t.Fatalf("%s: %v", value.AppendJSON(nil, b, false), err)
	}
	if !keyspace.SameIndex(x, y) {
		t.Fatalf("%s comes back as another", value.AppendJSON(nil, b, false))
	}
}

// FuzzTextQuery: a $text is refused or answers, without a panic.
func FuzzTextQuery(f *testing.F) {
	f.Add(`{"$text": {"$search": "run \"the park\" -walk"}}`, "Running in the park")
	f.Add(`{"$and": [{"$text": {"$search": "é ß İ 東京 -\"", "$caseSensitive": true}}, {"a": 1}]}`, "ÉSSI")
	f.Add(`{"$text": {"$search": "x", "$language": "turkish", "$diacriticSensitive": 1}}`, "x")
	f.Fuzz(func(t *testing.T, filter, text string) {
		doc, err := value.ParseJSON([]byte(filter))
		if err != nil {
			return
		}
		rest, spec, err := search.SplitText(doc)
		if err != nil || spec == nil {
			return
		}
		if _, again, _ := search.SplitText(rest); again != nil {
			t.Fatal("$text is left in the filter")
		}
		ix, err := keyspace.NewIndex(keyspace.IndexDef{Name: "t", Keys: []db.IndexKey{{Path: "a", Text: true}}, Language: "english"}, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		q, err := search.NewTextQuery(&keyspace.Coll{Indexes: []*keyspace.Index{ix}}, spec)
		if err != nil {
			return
		}
		b, err := bson.Marshal(bson.D{{Key: "a", Value: text}})
		if err != nil {
			return
		}
		if _, ok := q.Match(b); !ok || bytes.Contains(spec, []byte("$language")) {
			return
		}
		// What matches is found by the index.
		var ks keyspace.KeySet
		if ks.Fill(ix, b); ks.Wide {
			return
		}
		for _, term := range q.Search.Terms() {
			if ks.Has(keyspace.AppendTerm(nil, term)) {
				return
			}
		}
		if !bytes.Contains(spec, []byte("ensitive")) {
			t.Fatalf("%s matches %q, and the index does not know", filter, text)
		}
	})
}

// A query that may use a sparse or partial index matches nothing outside it.
func TestUsableIsSound(t *testing.T) {
	used := 0
	rapid.Check(t, func(rt *rapid.T) {
		partial := genCondition(rt, "partial")
		x := keyspace.IndexDef{Name: "x", Keys: []db.IndexKey{{Path: "a"}, {Path: "b.c"}}}
		if rapid.Bool().Draw(rt, "sparse") {
			x.Sparse = true
		} else {
			x.Partial = partial
		}
		if err := keyspace.CheckIndex(&x); err != nil {
			rt.Fatal(err)
		}
		ix, err := keyspace.NewIndex(x, 1, true)
		if err != nil {
			rt.Fatal(err)
		}
		raw := genCondition(rt, "filter")
		f, err := query.Compile(raw)
		if err != nil {
			rt.Fatal(err)
		}
		if p := (&plan.Planner{Raw: raw}); !p.Usable(ix, f.Conjuncts()) {
			return
		}
		used++
		for range 30 {
			val := rapid.SampledFrom([]any{nil, int32(0), int32(1), 1.5, int32(2), int32(3), "s", bson.A{}, bson.A{int32(1), int32(3)}, bson.A{"s"}})
			doc := bson.D{}
			if rapid.IntRange(0, 3).Draw(rt, "a") > 0 {
				doc = append(doc, bson.E{Key: "a", Value: val.Draw(rt, "value")})
			}
			if rapid.IntRange(0, 3).Draw(rt, "b") > 0 {
				inner := any(bson.D{{Key: "c", Value: val.Draw(rt, "value")}})
				if rapid.Bool().Draw(rt, "array") {
					inner = bson.A{inner, bson.D{}, bson.D{{Key: "c", Value: val.Draw(rt, "value")}}}
				}
				doc = append(doc, bson.E{Key: "b", Value: inner})
			}
			b, err := bson.Marshal(doc)
			if err != nil {
				rt.Fatal(err)
			}
			var ks keyspace.KeySet
			if ks.Fill(ix, b); f.Match(b) && len(ks.Keys) == 0 {
				rt.Fatalf("%v matches %v, which is not in the index %v", raw, bson.Raw(b), keyspace.IndexDoc(x))
			}
		}
	})
	if used == 0 {
		t.Fatal("no query used an index")
	}
}

func genCondition(t *rapid.T, label string) bson.Raw {
	num := rapid.Int32Range(0, 3)
	one := func() bson.D {
		path := rapid.SampledFrom([]string{"a", "b.c"}).Draw(t, label)
		var cond any
		switch rapid.IntRange(0, 6).Draw(t, label) {
		case 0:
			cond = num.Draw(t, label)
		case 1:
			cond = bson.D{{Key: "$exists", Value: true}}
		case 2:
			cond = bson.D{{Key: "$in", Value: bson.A{num.Draw(t, label), num.Draw(t, label)}}}
		case 3:
			cond = bson.D{{Key: "$type", Value: "number"}}
		case 4:
			cond = nil
		default:
			op := rapid.SampledFrom([]string{"$gt", "$gte", "$lt", "$lte", "$eq"}).Draw(t, label)
			cond = bson.D{{Key: op, Value: num.Draw(t, label)}}
		}
		return bson.D{{Key: path, Value: cond}}
	}
	d := one()
	switch rapid.IntRange(0, 3).Draw(t, label) {
	case 0:
		d = bson.D{{Key: "$and", Value: bson.A{d, one()}}}
	case 1:
		d = bson.D{{Key: "$or", Value: bson.A{d, one()}}}
	}
	b, err := bson.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
