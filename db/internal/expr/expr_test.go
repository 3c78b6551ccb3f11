package expr_test

import (
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A testCase is an expression, a document, and the value as canonical Extended
// JSON, "missing", or the kind of an error and a part of what it says.
type testCase struct {
	expr, doc, want string
	kind            fault.Kind
	says            string
}

func parse(t testing.TB, s string) value.Value {
	t.Helper()
	v, err := value.ParseJSONValue([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

const now = 1_700_000_000_000

// eval evaluates an expression on a document.
func eval(t testing.TB, expression, doc string) (value.Value, error) {
	t.Helper()
	if doc == "" {
		doc = "{}"
	}
	x, err := expr.Compile(parse(t, expression))
	if err != nil {
		return value.Value{}, err
	}
	return x.Eval(&expr.Env{Root: parse(t, doc).Data, Now: now})
}

func text(v value.Value) string {
	if !v.Exists() {
		return "missing"
	}
	return string(value.AppendJSONValue(nil, v, true))
}

func check(t *testing.T, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		v, err := eval(t, c.expr, c.doc)
		if c.kind != "" {
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s on %s: got %s, %v, want %s: %s", c.expr, c.doc, text(v), err, c.kind, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s on %s: %v", c.expr, c.doc, err)
			continue
		}
		want := c.want
		if want != "missing" {
			want = text(parse(t, want))
		}
		if got := text(v); got != want {
			t.Errorf("%s on %s: got %s, want %s", c.expr, c.doc, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	check(t, []testCase{
		{expr: `"$a"`, doc: `{"a": 1}`, want: `1`},
		{expr: `"$b"`, doc: `{"a": 1}`, want: `missing`},
		{expr: `"$a.b"`, doc: `{"a": {"b": 1}}`, want: `1`},
		{expr: `"$a.b"`, doc: `{"a": [{"b": 1}, {"c": 2}, {"b": 3}, 4, [{"b": 5}]]}`, want: `[1, 3]`},
		{expr: `"$a.b.c"`, doc: `{"a": [{"b": [{"c": 1}]}, {"b": {"c": 2}}, {"b": 3}]}`, want: `[[1], 2]`},
		{expr: `"$a.0"`, doc: `{"a": [1, 2]}`, want: `[]`},
		{expr: `"$a.b"`, doc: `{"a": 1}`, want: `missing`},
		{expr: `"$$ROOT"`, doc: `{"a": 1}`, want: `{"a": 1}`},
		{expr: `"$$CURRENT.a"`, doc: `{"a": 1}`, want: `1`},
		{expr: `"$$NOW"`, want: `{"$date": {"$numberLong": "1700000000000"}}`},
		{expr: `"$$REMOVE"`, want: `missing`},
		{expr: `{"x": "$a", "y": "$b"}`, doc: `{"a": 1}`, want: `{"x": 1}`},
		{expr: `["$a", "$b"]`, doc: `{"a": 1}`, want: `[1, null]`},
		{expr: `{"$literal": "$a"}`, want: `"$a"`},
		{expr: `{"$literal": {"$add": [1, 2]}}`, want: `{"$add": [1, 2]}`},
		{expr: `"$"`, kind: fault.FailedToParse, says: "$' by itself is not a valid FieldPath"},
		{expr: `"$a."`, kind: fault.FailedToParse, says: "FieldPath must not end with a '.'."},
		{expr: `"$a..b"`, kind: fault.EmptyFieldName},
		{expr: `"$$x"`, kind: fault.FailedToParse, says: "Use of undefined variable"},
		{expr: `"$a.$b"`, kind: fault.DollarPrefixed},
		{expr: `{"$nope": 1}`, kind: fault.InvalidPipeline},
		{expr: `{"$add": [1], "$subtract": [1, 2]}`, kind: fault.FailedToParse, says: "an object representing an expression must have exactly one field"},
		{expr: `{"a.b": 1}`, kind: fault.BadValue, says: "FieldPath field names may not contain '."},
		{expr: `{"a": {"$b": 1}}`, kind: fault.InvalidPipeline},
		{expr: `{"$let": {"vars": {"x": "$a", "y": 2}, "in": {"$add": ["$$x", "$$y"]}}}`, doc: `{"a": 1}`, want: `3`},
		{expr: `{"$let": {"vars": {"x": {"$let": {"vars": {"y": 1}, "in": "$$y"}}, "y": "$a"}, "in": ["$$x", "$$y"]}}`, doc: `{"a": 5}`, want: `[1, 5]`},
		{expr: `{"$let": {"vars": {"x": "$d"}, "in": "$$x.e"}}`, doc: `{"d": {"e": 9}}`, want: `9`},
		{expr: `{"$let": {"vars": {"X": 1}, "in": 1}}`, kind: fault.FailedToParse},
		{expr: `{"$let": {"vars": {"x": 1}}}`, kind: fault.FailedToParse, says: "Missing 'in' parameter to"},
	})
}

func TestArithmetic(t *testing.T) {
	check(t, []testCase{
		{expr: `{"$add": [1, 2]}`, want: `3`},
		{expr: `{"$add": []}`, want: `0`},
		{expr: `{"$add": ["$a", 1]}`, want: `null`},
		{expr: `{"$add": [1, 2.5]}`, want: `3.5`},
		{expr: `{"$add": [2147483647, 1]}`, want: `{"$numberLong": "2147483648"}`},
		{expr: `{"$add": [{"$numberLong": "9223372036854775807"}, 1]}`, want: `9223372036854775808.0`},
		{expr: `{"$add": [{"$numberDecimal": "0.1"}, 0.2]}`, want: `{"$numberDecimal": "0.300000000000000"}`},
		{expr: `{"$add": [{"$date": "2020-01-01T00:00:00Z"}, 1000]}`, want: `{"$date": "2020-01-01T00:00:01Z"}`},
		{expr: `{"$add": [{"$date": "2020-01-01T00:00:00Z"}, {"$date": "2020-01-01T00:00:00Z"}]}`, kind: fault.TypeMismatch, says: "only one date allowed in an"},
		{expr: `{"$add": [1, "a"]}`, kind: fault.TypeMismatch},
		{expr: `{"$subtract": [5, 7]}`, want: `-2`},
		{expr: `{"$subtract": [{"$numberLong": "-9223372036854775808"}, 1]}`, want: `-9223372036854775809.0`},
		{expr: `{"$subtract": [{"$date": "2020-01-01T00:00:01Z"}, {"$date": "2020-01-01T00:00:00Z"}]}`, want: `{"$numberLong": "1000"}`},
		{expr: `{"$subtract": [1]}`, kind: fault.FailedToParse, says: "takes exactly"},
		{expr: `{"$subtract": ["a", 1]}`, kind: fault.TypeMismatch},
		{expr: `{"$multiply": [3, 4, 0.5]}`, want: `6.0`},
		{expr: `{"$multiply": [2147483647, 2]}`, want: `{"$numberLong": "4294967294"}`},
		{expr: `{"$divide": [7, 2]}`, want: `3.5`},
		{expr: `{"$divide": [1, 0]}`, kind: fault.BadValue},
		{expr: `{"$divide": [{"$numberDecimal": "1"}, 3]}`, want: `{"$numberDecimal": "0.3333333333333333333333333333333333"}`},
		{expr: `{"$mod": [-7, 3]}`, want: `-1`},
		{expr: `{"$mod": [7.5, 2]}`, want: `1.5`},
		{expr: `{"$mod": [{"$numberDecimal": "1E+100"}, 7]}`, want: `{"$numberDecimal": "4"}`},
		{expr: `{"$mod": [{"$numberLong": "-9223372036854775808"}, -1]}`, want: `{"$numberLong": "0"}`},
		{expr: `{"$mod": [-2147483648, -1]}`, want: `0`},
		{expr: `{"$mod": [1, 0]}`, kind: fault.BadValue, says: "by zero"},
		{expr: `{"$abs": -5}`, want: `5`},
		{expr: `{"$abs": {"$numberLong": "-9223372036854775808"}}`, kind: fault.Overflow},
		{expr: `{"$abs": -2147483648}`, want: `{"$numberLong": "2147483648"}`},
		{expr: `{"$ceil": -2.8}`, want: `-2.0`},
		{expr: `{"$floor": -2.8}`, want: `-3.0`},
		{expr: `{"$floor": {"$numberDecimal": "2.5"}}`, want: `{"$numberDecimal": "2"}`},
		{expr: `{"$floor": "a"}`, kind: fault.TypeMismatch, says: "only supports numeric types"},
		{expr: `{"$round": [19.25, 1]}`, want: `19.2`},
		{expr: `{"$round": [28.73, 1]}`, want: `28.7`},
		{expr: `{"$round": [34.32, -1]}`, want: `30.0`},
		{expr: `{"$round": 2.5}`, want: `2.0`},
		{expr: `{"$round": [12345, -2]}`, want: `12300`},
		{expr: `{"$round": [1.2345, 101]}`, kind: fault.BadValue, says: "it must be in [-20, 100]"},
		{expr: `{"$trunc": [19.25, 1]}`, want: `19.2`},
		{expr: `{"$trunc": [-45.39, -1]}`, want: `-40.0`},
		{expr: `{"$trunc": [7, -1]}`, want: `0`},
		{expr: `{"$pow": [5, 2]}`, want: `25`},
		{expr: `{"$pow": [5, -2]}`, want: `0.04`},
		{expr: `{"$pow": [-5, 0.5]}`, want: `{"$numberDouble": "NaN"}`},
		{expr: `{"$pow": [2, 62]}`, want: `{"$numberLong": "4611686018427387904"}`},
		{expr: `{"$pow": [2, 63]}`, want: `9223372036854775808.0`},
		{expr: `{"$pow": [2, 0.5]}`, want: `1.4142135623730951`},
		{expr: `{"$pow": [0, -1]}`, kind: fault.BadValue, says: "cannot take a base of 0 and a negative exponent"},
		{expr: `{"$sqrt": 25}`, want: `5.0`},
		{expr: `{"$sqrt": {"$numberDecimal": "2"}}`, want: `{"$numberDecimal": "1.414213562373095048801688724209698"}`},
		{expr: `{"$sqrt": -1}`, kind: fault.BadValue, says: "s argument must be greater than or equal to 0"},
		{expr: `{"$exp": 0}`, want: `1.0`},
		{expr: `{"$exp": 2}`, want: `7.38905609893065`},
		{expr: `{"$exp": -2}`, want: `0.1353352832366127`},
		{expr: `{"$exp": 1000}`, want: `{"$numberDouble": "Infinity"}`},
		{expr: `{"$ln": 10}`, want: `2.302585092994046`},
		{expr: `{"$ln": 0}`, kind: fault.BadValue, says: "positive number"},
		{expr: `{"$log": [100, 10]}`, want: `2.0`},
		{expr: `{"$log": [100, 1]}`, kind: fault.BadValue, says: "s base must be a positive number not equal to 1"},
		{expr: `{"$log10": 0.001}`, want: `-3.0`},
		{expr: `{"$bitAnd": [63, 7]}`, want: `7`},
		{expr: `{"$bitOr": [8, {"$numberLong": "3"}]}`, want: `{"$numberLong": "11"}`},
		{expr: `{"$bitXor": [5, 1]}`, want: `4`},
		{expr: `{"$bitNot": 0}`, want: `-1`},
		{expr: `{"$bitAnd": [1.5]}`, kind: fault.TypeMismatch},
	})
}

func TestComparisonAndLogic(t *testing.T) {
	check(t, []testCase{
		{expr: `{"$cmp": [1, 2]}`, want: `-1`},
		{expr: `{"$eq": [1, 1.0]}`, want: `true`},
		{expr: `{"$eq": ["$a", null]}`, want: `false`},
		{expr: `{"$lt": ["$a", null]}`, want: `true`},
		{expr: `{"$gt": ["a", 1]}`, want: `true`},
		{expr: `{"$ne": [[1], 1]}`, want: `true`},
		{expr: `{"$gte": [{"$minKey": 1}, "$a"]}`, want: `false`},
		{expr: `{"$and": []}`, want: `true`},
		{expr: `{"$or": []}`, want: `false`},
		{expr: `{"$and": [1, "a", [false]]}`, want: `true`},
		{expr: `{"$and": [1, 0, {"$divide": [1, 0]}]}`, want: `false`},
		{expr: `{"$or": [null, "$a", "x"]}`, want: `true`},
		{expr: `{"$not": [{"$numberDecimal": "0"}]}`, want: `true`},
		{expr: `{"$not": [[]]}`, want: `false`},
		{expr: `{"$cond": [true, 1, {"$divide": [1, 0]}]}`, want: `1`},
		{expr: `{"$cond": {"if": "$a", "then": 1, "else": "$$REMOVE"}}`, want: `missing`},
		{expr: `{"$cond": [1, 2]}`, kind: fault.FailedToParse, says: "takes exactly"},
		{expr: `{"$cond": {"if": 1, "then": 2}}`, kind: fault.FailedToParse, says: "Missing 'else'"},
		{expr: `{"$cond": {"if": 1, "then": 2, "els": 3}}`, kind: fault.FailedToParse, says: "Unrecognized parameter to"},
		{expr: `{"$ifNull": ["$a", "$b", 3]}`, want: `3`},
		{expr: `{"$ifNull": ["$a", "$b"]}`, want: `missing`},
		{expr: `{"$ifNull": ["$a"]}`, kind: fault.FailedToParse, says: "needs at least two arguments, had"},
		{expr: `{"$switch": {"branches": [{"case": false, "then": 1}, {"case": "$a", "then": 2}], "default": 3}}`, doc: `{"a": 1}`, want: `2`},
		{expr: `{"$switch": {"branches": [{"case": false, "then": 1}]}}`, kind: fault.BadValue, says: "could not find a matching branch for an input, and no default was specified"},
		{expr: `{"$switch": {"branches": []}}`, kind: fault.FailedToParse, says: "requires at least one branch"},
	})
}

// With a decimal among them the numbers are added and multiplied as decimals, wherever it
// stands; int64 and double as the nearest double of the exact result.
func TestMixedArithmetic(t *testing.T) {
	long, half, dec := `{"$numberLong": "9007199254740993"}`, `0.5`, `{"$numberDecimal": "1"}`
	check(t, []testCase{
		{expr: `{"$add": [` + long + `, ` + half + `, ` + dec + `]}`, want: `{"$numberDecimal": "9007199254740994.500000000000000"}`},
		{expr: `{"$add": [` + dec + `, ` + half + `, ` + long + `]}`, want: `{"$numberDecimal": "9007199254740994.500000000000000"}`},
		{expr: `{"$add": [` + long + `, ` + half + `]}`, want: `{"$numberDouble": "9007199254740994.0"}`},
		{expr: `{"$add": [{"$numberLong": "9223372036854775807"}, 1, -1]}`, want: `{"$numberLong": "9223372036854775807"}`},
		{expr: `{"$add": [{"$numberLong": "9223372036854775807"}, 1]}`, want: `9.223372036854776e18`},
		{expr: `{"$add": [0.1, 0.2]}`, want: `0.30000000000000004`},
		{expr: `{"$add": [0.1, ` + dec + `]}`, want: `{"$numberDecimal": "1.100000000000000"}`},
		{expr: `{"$sum": [` + long + `, ` + half + `, ` + dec + `]}`, want: `{"$numberDecimal": "9007199254740994.5"}`},
		{expr: `{"$avg": [` + long + `, 1.0, ` + dec + `]}`, want: `{"$numberDecimal": "3002399751580331.666666666666666667"}`},
		{expr: `{"$subtract": [` + long + `, ` + half + `]}`, want: `{"$numberDouble": "9007199254740992.0"}`},
		{expr: `{"$subtract": [0.5, {"$numberLong": "9007199254740995"}]}`, want: `{"$numberDouble": "-9007199254740994.0"}`},
		{expr: `{"$subtract": [` + long + `, {"$numberDecimal": "0.5"}]}`, want: `{"$numberDecimal": "9007199254740992.5"}`},
		{expr: `{"$multiply": [` + long + `, ` + half + `, {"$numberDecimal": "2"}]}`, want: `{"$numberDecimal": "9007199254740993.000000000000000"}`},
		{expr: `{"$multiply": [{"$numberDecimal": "2"}, ` + half + `, ` + long + `]}`, want: `{"$numberDecimal": "9007199254740993.000000000000000"}`},
	})
}
