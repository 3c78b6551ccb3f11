// Package number does arithmetic that comes out the same on every machine and in every order: what an
// update computes is stored by each replica for itself.
//
//	value ── Decimal, Float, Whole ── Go's numbers      Sum ── Total, Mean ── Number
//
// Doubles are added as they are, and whatever a processor would compute (powers, logarithms) is computed
// in decimals. It builds no values and counts no work: that is for whoever asks.
package number

import (
	"math"
	"math/bits"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A Number is a result. Its type says which of the three is set.
type Number struct {
	Type    bson.Type
	Int     int64
	Float   float64
	Decimal *apd.Decimal // of any number of digits
}

// integer is an int32 if t is and n fits.
func integer(t bson.Type, n int64) Number {
	if t == bson.TypeInt32 && n == int64(int32(n)) {
		return Number{Type: bson.TypeInt32, Int: n}
	}
	return Number{Type: bson.TypeInt64, Int: n}
}

// Of is f as a double, or as a decimal, for what both have: zero, one, infinities and NaN.
func Of(decimal bool, f float64) Number {
	switch {
	case !decimal:
		return Number{Type: bson.TypeDouble, Float: f}
	case f != f || math.IsInf(f, 0):
		return Number{Type: bson.TypeDecimal128, Decimal: special(f)}
	}
	return Number{Type: bson.TypeDecimal128, Decimal: apd.New(int64(f), 0)}
}

// Widest returns the type of an operation on a and b: decimal, double, int64 or int32. One decimal
// makes a decimal of all. Integers that do not fit go up, an int32 to an int64 and that to a double,
// where an update would fail.
func Widest(a, b bson.Type) bson.Type {
	for _, t := range []bson.Type{bson.TypeDecimal128, bson.TypeDouble, bson.TypeInt64} {
		if a == t || b == t {
			return t
		}
	}
	return bson.TypeInt32
}

// Product multiplies the magnitudes in 128 bits; ok is false if the product is no int64.
func Product(x, y int64) (n int64, ok bool) {
	ux, uy := uint64(x), uint64(y)
	if x < 0 {
		ux = -ux
	}
	if y < 0 {
		uy = -uy
	}
	hi, lo := bits.Mul64(ux, uy)
	if (x < 0) != (y < 0) {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo <= math.MaxInt64
}

// IsNaN reports whether a double or decimal is none.
func IsNaN(v value.Value) bool {
	switch v.Type {
	case bson.TypeDouble:
		return math.IsNaN(v.Float())
	case bson.TypeDecimal128:
		return v.Decimal().IsNaN()
	}
	return false
}

// Float converts any number to the nearest double.
func Float(v value.Value) float64 {
	switch v.Type {
	case bson.TypeDouble:
		return v.Float()
	case bson.TypeDecimal128:
		return Nearest(FromBSON(v.Decimal()))
	}
	return float64(v.Int())
}

// Whole returns a number that is exactly an int64.
func Whole(v value.Value) (int64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int(), true
	case bson.TypeDouble:
		f := v.Float()
		if f >= -(1<<63) && f < 1<<63 && f == math.Trunc(f) {
			return int64(f), true
		}
	case bson.TypeDecimal128:
		d := v.Decimal()
		if d.IsNaN() || d.IsInf() != 0 {
			return 0, false
		}
		if value.Compare(v, minInt64) < 0 || value.Compare(v, maxInt64) > 0 {
			return 0, false
		}
		var r apd.Decimal
		x := FromBSON(d)
		if _, err := decimals.RoundToIntegralValue(&r, x); err != nil || r.Cmp(x) != 0 {
			return 0, false
		}
		n, err := r.Int64()
		return n, err == nil
	}
	return 0, false
}

var minInt64, maxInt64 = value.Int64(math.MinInt64), value.Int64(math.MaxInt64)

// Int32 returns a number that is exactly an int32.
func Int32(v value.Value) (int, bool) {
	n, ok := Whole(v)
	return int(n), ok && n == int64(int32(n))
}
