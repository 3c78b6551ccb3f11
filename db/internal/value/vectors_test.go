package value_test

import (
	"math"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds the keys of values of every type against testdata/vectors/values.json.
func TestVectors(t *testing.T) {
	decimal := func(s string) bson.Decimal128 {
		d, err := bson.ParseDecimal128(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	var all []vectors.Vector
	for _, c := range []struct {
		name string
		v    any
	}{
		{"min key", bson.MinKey{}},
		{"undefined", bson.Undefined{}},
		{"null", bson.Null{}},
		{"max key", bson.MaxKey{}},
		{"NaN", math.NaN()},
		{"zero", 0.0},
		{"minus zero", math.Copysign(0, -1)},
		{"long zero", int64(0)},
		{"decimal zero", decimal("0E-20")},
		{"int 1", int32(1)},
		{"long 1", int64(1)},
		{"double 1", 1.0},
		{"decimal 1", decimal("1.000")},
		{"int -7", int32(-7)},
		{"double 1.5", 1.5},
		{"double -1.5", -1.5},
		{"infinity", math.Inf(1)},
		{"minus infinity", math.Inf(-1)},
		{"decimal infinity", decimal("Infinity")},
		{"long beyond 2^53", int64(1<<53 + 1)},
		{"its opposite", int64(-1<<53 - 1)},
		{"the largest long", int64(math.MaxInt64)},
		{"the lowest long", int64(math.MinInt64)},
		{"the least double", math.SmallestNonzeroFloat64},
		{"the greatest double", math.MaxFloat64},
		{"decimal 0.1", decimal("0.1")},
		{"double 0.1", 0.1},
		{"decimal -0.1", decimal("-0.1")},
		{"decimal of 34 digits", decimal("1.234567890123456789012345678901234")},
		{"decimal above all doubles", decimal("1.5E+400")},
		{"decimal below all doubles", decimal("-1.5E-400")},
		{"decimal of a subnormal size", decimal("3E-320")},
		{"empty string", ""},
		{"string", "a"},
		{"string with NUL", "a\x00b"},
		{"string beyond ASCII", "é"},
		{"symbol", bson.Symbol("a")},
		{"empty document", bson.D{}},
		{"document", bson.D{{Key: "b", Value: int32(2)}, {Key: "a", Value: "x"}}},
		{"document in document", bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: nil}}}}},
		{"array", bson.A{int32(1), "x", nil}},
		{"binary", bson.Binary{Data: []byte{1, 2}}},
		{"binary of a subtype", bson.Binary{Subtype: 128, Data: []byte{1, 0}}},
		{"ObjectId", bson.ObjectID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"true", true},
		{"false", false},
		{"date", bson.DateTime(1_700_000_000_123)},
		{"date before 1970", bson.DateTime(-1)},
		{"timestamp", bson.Timestamp{T: 7, I: 9}},
		{"regular expression", bson.Regex{Pattern: "^a", Options: "i"}},
		{"code", bson.JavaScript("f()")},
		{"code with scope", bson.CodeWithScope{Code: "f()", Scope: bson.D{{Key: "a", Value: int32(1)}}}},
		{"DBPointer", bson.DBPointer{DB: "db.c", Pointer: bson.ObjectID{1}}},
	} {
		doc, err := bson.Marshal(bson.D{{Key: "v", Value: c.v}})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		key := value.AppendKey(nil, value.Get(doc, "v"), false)
		if n := value.KeyLen(key, false); n != len(key) {
			t.Errorf("%s: its key has %d bytes, %d are read", c.name, len(key), n)
		}
		all = append(all, vectors.Vector{Name: c.name, Bytes: key, Gives: vectors.Gives{"bson": doc}})
	}
	vectors.Check(t, "values", "docs/design/query.md, Keys of values: bytes are the key of field v of the document", all...)
}
