package expr_test

import (
	"testing"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Whatever the expression and the document: an error with a code, or a value
// that is well-formed, is found again, and is not too large.
func FuzzEval(f *testing.F) {
	for _, s := range []string{
		`{"$add": ["$a", 1, {"$toDate": "2020-01-01"}]}`, `{"$map": {"input": "$b", "in": {"$concat": ["$$this", "x"]}}}`,
		`{"$reduce": {"input": {"$range": [0, 100000]}, "initialValue": "a", "in": {"$concat": ["$$value", "$$value"]}}}`,
		`{"$reduce": {"input": {"$range": [0, 3000]}, "initialValue": [], "in": {"$concatArrays": ["$$value", "$$value", ["x"]]}}}`,
		`{"$map": {"input": {"$range": [0, 3000]}, "in": {"$map": {"input": {"$range": [0, 3000]}, "in": {"$add": ["$$this", 0.5]}}}}}`,
		`{"$zip": {"inputs": ["$b", "$b"], "useLongestLength": true, "defaults": [1, 2]}}`, `{"$dateToString": {"date": "$d", "format": "%Y%U"}}`,
		`{"$regexFindAll": {"input": "$s", "regex": "(a|b)*"}}`, `{"$switch": {"branches": [{"case": "$a", "then": {"$let": {"vars": {"x": 1}, "in": "$$x"}}}]}}`,
		`{"$setField": {"field": "x", "input": "$$ROOT", "value": {"$sortArray": {"input": "$b", "sortBy": {"x": 1}}}}}`,
		`{"$pow": [{"$numberDecimal": "1E+6000"}, {"$numberDecimal": "0.00001"}]}`, `{"$round": [{"$numberDecimal": "1E-6000"}, 2]}`,
		`{"$arrayToObject": {"$zip": {"inputs": ["$b", "$b"]}}}`, `{"$dateTrunc": {"date": "$d", "unit": "week", "binSize": 9999999}}`,
		`{"$replaceAll": {"input": "$s", "find": "", "replacement": "$s"}}`, `{"$exp": 1e300}`, `{"$mod": [{"$numberDecimal": "9E+6111"}, 7]}`,
	} {
		f.Add([]byte(s), []byte(`{"a": 1, "b": ["x", {"x": 2}], "d": {"$date": "2020-01-01T00:00:00Z"}, "s": "abab"}`))
	}
	f.Fuzz(func(t *testing.T, expression, doc []byte) {
		root, err := value.ParseJSON(doc)
		if err != nil {
			return
		}
		v, err := value.ParseJSONValue(expression)
		if err != nil {
			return
		}
		x, err := expr.Compile(v)
		if err == nil {
			v, err = x.Eval(&expr.Env{Root: root})
		}
		if err != nil {
			if fault.KindOf(err) == fault.Internal || err.Error() == "" {
				t.Fatalf("got an error without a kind: %v", err)
			}
			return
		}
		if len(v.Data) > expr.MaxValue {
			t.Fatalf("got %d bytes", len(v.Data))
		}
		if !v.Exists() || len(v.Data) > 1<<19 || expr.TooDeep(v, value.MaxDepth-1) {
			return
		}
		out, n := value.Begin(nil)
		if err := value.Validate(value.End(value.AppendElement(out, []byte("v"), v), n)); err != nil {
			t.Fatalf("%s: got %x: %v", expression, v.Data, err)
		}
	})
}
