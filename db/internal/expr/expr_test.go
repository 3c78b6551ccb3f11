package expr_test

import (
	"errors"
	"testing"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
)

// A testCase is an expression, a document, and the value as canonical Extended
// JSON, "missing", or the number of an error.
type testCase struct {
	expr, doc, want string
	code            int32
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
		if c.code != 0 {
			var e *value.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Errorf("%s on %s: got %s, %v, want error %d", c.expr, c.doc, text(v), err, c.code)
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
		{expr: `"$"`, code: 16872},
		{expr: `"$a."`, code: 40353},
		{expr: `"$a..b"`, code: 15998},
		{expr: `"$$x"`, code: 17276},
		{expr: `"$a.$b"`, code: 16410},
		{expr: `{"$nope": 1}`, code: 168},
		{expr: `{"$add": [1], "$subtract": [1, 2]}`, code: 15983},
		{expr: `{"a.b": 1}`, code: 16412},
		{expr: `{"a": {"$b": 1}}`, code: 168},
		{expr: `{"$let": {"vars": {"x": "$a", "y": 2}, "in": {"$add": ["$$x", "$$y"]}}}`, doc: `{"a": 1}`, want: `3`},
		{expr: `{"$let": {"vars": {"x": {"$let": {"vars": {"y": 1}, "in": "$$y"}}, "y": "$a"}, "in": ["$$x", "$$y"]}}`, doc: `{"a": 5}`, want: `[1, 5]`},
		{expr: `{"$let": {"vars": {"x": "$d"}, "in": "$$x.e"}}`, doc: `{"d": {"e": 9}}`, want: `9`},
		{expr: `{"$let": {"vars": {"X": 1}, "in": 1}}`, code: 9},
		{expr: `{"$let": {"vars": {"x": 1}}}`, code: 16877},
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
		{expr: `{"$add": [{"$date": "2020-01-01T00:00:00Z"}, {"$date": "2020-01-01T00:00:00Z"}]}`, code: 16612},
		{expr: `{"$add": [1, "a"]}`, code: 14},
		{expr: `{"$subtract": [5, 7]}`, want: `-2`},
		{expr: `{"$subtract": [{"$numberLong": "-9223372036854775808"}, 1]}`, want: `-9223372036854775809.0`},
		{expr: `{"$subtract": [{"$date": "2020-01-01T00:00:01Z"}, {"$date": "2020-01-01T00:00:00Z"}]}`, want: `{"$numberLong": "1000"}`},
		{expr: `{"$subtract": [1]}`, code: 16020},
		{expr: `{"$subtract": ["a", 1]}`, code: 14},
		{expr: `{"$multiply": [3, 4, 0.5]}`, want: `6.0`},
		{expr: `{"$multiply": [2147483647, 2]}`, want: `{"$numberLong": "4294967294"}`},
		{expr: `{"$divide": [7, 2]}`, want: `3.5`},
		{expr: `{"$divide": [1, 0]}`, code: 2},
		{expr: `{"$divide": [{"$numberDecimal": "1"}, 3]}`, want: `{"$numberDecimal": "0.3333333333333333333333333333333333"}`},
		{expr: `{"$mod": [-7, 3]}`, want: `-1`},
		{expr: `{"$mod": [7.5, 2]}`, want: `1.5`},
		{expr: `{"$mod": [{"$numberDecimal": "1E+100"}, 7]}`, want: `{"$numberDecimal": "4"}`},
		{expr: `{"$mod": [1, 0]}`, code: 16610},
		{expr: `{"$abs": -5}`, want: `5`},
		{expr: `{"$abs": {"$numberLong": "-9223372036854775808"}}`, code: 28680},
		{expr: `{"$abs": -2147483648}`, want: `{"$numberLong": "2147483648"}`},
		{expr: `{"$ceil": -2.8}`, want: `-2.0`},
		{expr: `{"$floor": -2.8}`, want: `-3.0`},
		{expr: `{"$floor": {"$numberDecimal": "2.5"}}`, want: `{"$numberDecimal": "2"}`},
		{expr: `{"$floor": "a"}`, code: 28765},
		{expr: `{"$round": [19.25, 1]}`, want: `19.2`},
		{expr: `{"$round": [28.73, 1]}`, want: `28.7`},
		{expr: `{"$round": [34.32, -1]}`, want: `30.0`},
		{expr: `{"$round": 2.5}`, want: `2.0`},
		{expr: `{"$round": [12345, -2]}`, want: `12300`},
		{expr: `{"$round": [1.2345, 101]}`, code: 51083},
		{expr: `{"$trunc": [19.25, 1]}`, want: `19.2`},
		{expr: `{"$trunc": [-45.39, -1]}`, want: `-40.0`},
		{expr: `{"$trunc": [7, -1]}`, want: `0`},
		{expr: `{"$pow": [5, 2]}`, want: `25`},
		{expr: `{"$pow": [5, -2]}`, want: `0.04`},
		{expr: `{"$pow": [-5, 0.5]}`, want: `{"$numberDouble": "NaN"}`},
		{expr: `{"$pow": [2, 62]}`, want: `{"$numberLong": "4611686018427387904"}`},
		{expr: `{"$pow": [2, 63]}`, want: `9223372036854775808.0`},
		{expr: `{"$pow": [2, 0.5]}`, want: `1.4142135623730951`},
		{expr: `{"$pow": [0, -1]}`, code: 28764},
		{expr: `{"$sqrt": 25}`, want: `5.0`},
		{expr: `{"$sqrt": {"$numberDecimal": "2"}}`, want: `{"$numberDecimal": "1.414213562373095048801688724209698"}`},
		{expr: `{"$sqrt": -1}`, code: 28714},
		{expr: `{"$exp": 0}`, want: `1.0`},
		{expr: `{"$exp": 2}`, want: `7.38905609893065`},
		{expr: `{"$exp": -2}`, want: `0.1353352832366127`},
		{expr: `{"$exp": 1000}`, want: `{"$numberDouble": "Infinity"}`},
		{expr: `{"$ln": 10}`, want: `2.302585092994046`},
		{expr: `{"$ln": 0}`, code: 28766},
		{expr: `{"$log": [100, 10]}`, want: `2.0`},
		{expr: `{"$log": [100, 1]}`, code: 28759},
		{expr: `{"$log10": 0.001}`, want: `-3.0`},
		{expr: `{"$bitAnd": [63, 7]}`, want: `7`},
		{expr: `{"$bitOr": [8, {"$numberLong": "3"}]}`, want: `{"$numberLong": "11"}`},
		{expr: `{"$bitXor": [5, 1]}`, want: `4`},
		{expr: `{"$bitNot": 0}`, want: `-1`},
		{expr: `{"$bitAnd": [1.5]}`, code: 14},
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
		{expr: `{"$cond": [1, 2]}`, code: 16020},
		{expr: `{"$cond": {"if": 1, "then": 2}}`, code: 17082},
		{expr: `{"$cond": {"if": 1, "then": 2, "els": 3}}`, code: 17083},
		{expr: `{"$ifNull": ["$a", "$b", 3]}`, want: `3`},
		{expr: `{"$ifNull": ["$a", "$b"]}`, want: `missing`},
		{expr: `{"$ifNull": ["$a"]}`, code: 1257300},
		{expr: `{"$switch": {"branches": [{"case": false, "then": 1}, {"case": "$a", "then": 2}], "default": 3}}`, doc: `{"a": 1}`, want: `2`},
		{expr: `{"$switch": {"branches": [{"case": false, "then": 1}]}}`, code: 40066},
		{expr: `{"$switch": {"branches": []}}`, code: 40068},
	})
}
