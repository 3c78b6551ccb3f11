package expr

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

func numberOf(t *testing.T, x any) value.Value {
	t.Helper()
	if s, ok := x.(string); ok {
		d, err := bson.ParseDecimal128(s)
		if err != nil {
			t.Fatal(err)
		}
		x = d
	}
	typ, data, err := bson.MarshalValue(x)
	if err != nil {
		t.Fatal(err)
	}
	return value.Value{Type: typ, Data: data}
}

// sumOf adds numbers in two sums that join, divided at cut.
func sumOf(t *testing.T, op string, cut int, xs []any) string {
	t.Helper()
	a, b := NewAccumulator(op), NewAccumulator(op)
	for i, x := range xs {
		to := a
		if i >= cut {
			to = b
		}
		if err := to.Add(numberOf(t, x)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.(Joiner).Join(b); err != nil {
		t.Fatal(err)
	}
	v, err := a.Result(&Env{})
	if err != nil {
		t.Fatal(err)
	}
	return v.Raw().String()
}

// Sums over all types of numbers are exact, and rounded once: in whatever order and
// however the numbers are divided.
func TestSumsAreExact(t *testing.T) {
	const big = int64(9007199254740993) // 2^53 + 1
	inf, nan := math.Inf(1), math.NaN()
	for _, test := range []struct {
		xs        []any
		sum, mean string
	}{
		{[]any{big, 0.5, "1"}, `{"$numberDecimal":"9007199254740994.5"}`, `{"$numberDecimal":"3002399751580331.5"}`},
		{[]any{big, "1"}, `{"$numberDecimal":"9007199254740994"}`, `{"$numberDecimal":"4503599627370497"}`},
		{[]any{big, 0.5}, `{"$numberDouble":"9.007199254740994E+15"}`, `{"$numberDouble":"4.503599627370497E+15"}`},
		{[]any{big, 0.0, int32(-1)}, `{"$numberDouble":"9.007199254740992E+15"}`, `{"$numberDouble":"3.0023997515803305E+15"}`},
		{[]any{int64(math.MaxInt64), int64(1), int64(-2)}, `{"$numberLong":"9223372036854775806"}`, `{"$numberDouble":"3.0744573456182584E+18"}`},
		{[]any{int64(math.MaxInt64), int64(1)}, `{"$numberDouble":"9.223372036854776E+18"}`, `{"$numberDouble":"4.611686018427388E+18"}`},
		{[]any{int64(math.MaxInt64), int64(math.MaxInt64), "0.5"}, `{"$numberDecimal":"18446744073709551614.5"}`, `{"$numberDecimal":"6148914691236517204.833333333333333"}`},
		{[]any{int64(math.MinInt64), int64(math.MinInt64), 0.25, "0"}, `{"$numberDecimal":"-18446744073709551615.75"}`, `{"$numberDecimal":"-4611686018427387903.9375"}`},
		{[]any{int32(math.MaxInt32), int32(1)}, `{"$numberLong":"2147483648"}`, `{"$numberDouble":"1.073741824E+09"}`},
		{[]any{int32(1), int32(2)}, `{"$numberInt":"3"}`, `{"$numberDouble":"1.5"}`},
		{[]any{0.1, "1"}, `{"$numberDecimal":"1.100000000000000005551115123125783"}`, `{"$numberDecimal":"0.5500000000000000027755575615628914"}`},
		{[]any{1e16, 1.0, -1e16}, `{"$numberDouble":"1.0"}`, `{"$numberDouble":"0.3333333333333333"}`},
		{[]any{1e300, 1.0, -1e300, int64(1)}, `{"$numberDouble":"2.0"}`, `{"$numberDouble":"0.5"}`},
		{[]any{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64}, `{"$numberDouble":"1.7976931348623157E+308"}`, `{"$numberDouble":"5.992310449541053E+307"}`},
		{[]any{math.MaxFloat64, math.MaxFloat64}, `{"$numberDouble":"Infinity"}`, `{"$numberDouble":"Infinity"}`},
		{[]any{math.SmallestNonzeroFloat64, 1.0, -1.0}, `{"$numberDouble":"5E-324.0"}`, `{"$numberDouble":"0.0"}`},
		{[]any{"1E+33", "0.4", "0.4", "0.4", "-1E+33"}, `{"$numberDecimal":"1.2"}`, `{"$numberDecimal":"0.24"}`},
		{[]any{"9.99E+6144", "1E-6176"}, `{"$numberDecimal":"9.990000000000000000000000000000000E+6144"}`, `{"$numberDecimal":"4.995000000000000000000000000000000E+6144"}`},
		{[]any{"10.00", "20.00"}, `{"$numberDecimal":"30.00"}`, `{"$numberDecimal":"15.00"}`},
		{[]any{inf, int64(1), "1"}, `{"$numberDecimal":"Infinity"}`, `{"$numberDecimal":"Infinity"}`},
		{[]any{inf, -inf, int64(1)}, `{"$numberDouble":"NaN"}`, `{"$numberDouble":"NaN"}`},
		{[]any{nan, "1"}, `{"$numberDecimal":"NaN"}`, `{"$numberDecimal":"NaN"}`},
		{[]any{"Infinity", -inf}, `{"$numberDecimal":"NaN"}`, `{"$numberDecimal":"NaN"}`},
		{[]any{"1", "2"}, `{"$numberDecimal":"3"}`, `{"$numberDecimal":"1.5"}`},
	} {
		for range 4 {
			rand.Shuffle(len(test.xs), func(i, j int) { test.xs[i], test.xs[j] = test.xs[j], test.xs[i] })
			cut := rand.IntN(len(test.xs) + 1)
			if got := sumOf(t, "$sum", cut, test.xs); got != test.sum {
				t.Errorf("$sum of %v: got %s, want %s", test.xs, got, test.sum)
			}
			if got := sumOf(t, "$avg", cut, test.xs); got != test.mean {
				t.Errorf("$avg of %v: got %s, want %s", test.xs, got, test.mean)
			}
		}
	}
}
