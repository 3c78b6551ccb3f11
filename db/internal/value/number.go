package value

import (
	"cmp"
	"math"
	"math/big"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// compareNumbers compares two numbers of any types by exact value.
func compareNumbers(a, b Value) int {
	if a.Type == bson.TypeDecimal128 || b.Type == bson.TypeDecimal128 {
		return compareDecimals(a, b)
	}
	if a.Type == bson.TypeDouble {
		if b.Type == bson.TypeDouble {
			return cmp.Compare(a.Float(), b.Float()) // NaN first
		}
		return -compareIntFloat(b.Int(), a.Float())
	}
	if b.Type == bson.TypeDouble {
		return compareIntFloat(a.Int(), b.Float())
	}
	return cmp.Compare(a.Int(), b.Int())
}

// compareIntFloat compares without rounding either. As a double 2^53+1 would be 2^53. So f
// is rounded to an integer toward 0, which is exact within the range of an int64, and the fraction that
// was dropped decides where the integers are equal.
func compareIntFloat(i int64, f float64) int {
	switch {
	case f != f:
		return 1
	case f >= 1<<63:
		return -1
	case f < -(1 << 63):
		return 1
	}
	t := math.Trunc(f)
	return cmp.Or(cmp.Compare(i, int64(t)), cmp.Compare(t, f))
}

// A number is an exact finite value mant·10^exp, or a special one.
type number struct {
	special int // -2 NaN, -1 -Inf, 1 +Inf, 0 finite
	mant    *big.Int
	exp     int
	float   float64 // set instead of mant if isFloat
	isFloat bool
}

// numberOf keeps a double as it is: its digits in full may be hundreds.
func numberOf(v Value) number {
	switch v.Type {
	case bson.TypeDouble:
		f := v.Float()
		switch {
		case f != f:
			return number{special: -2}
		case math.IsInf(f, 0):
			return number{special: cmp.Compare(f, 0)}
		}
		return number{float: f, isFloat: true}
	case bson.TypeDecimal128:
		d := v.Decimal()
		if d.IsNaN() {
			return number{special: -2}
		}
		if s := d.IsInf(); s != 0 {
			return number{special: s}
		}
		m, e, err := d.BigInt()
		if err != nil {
			return number{special: -2}
		}
		return number{mant: m, exp: e}
	}
	return number{mant: big.NewInt(v.Int())}
}

func (n number) sign() int {
	if n.special != 0 {
		return n.special
	}
	if n.isFloat {
		return cmp.Compare(n.float, 0)
	}
	return n.mant.Sign()
}

// compareDecimals compares by what costs least: whether they are finite, the signs, the
// orders of magnitude; digits are multiplied out only where all of these are equal.
func compareDecimals(a, b Value) int {
	x, y := numberOf(a), numberOf(b)
	if x.special != 0 || y.special != 0 {
		return cmp.Compare(x.special, y.special)
	}
	if c := cmp.Compare(x.sign(), y.sign()); c != 0 || x.sign() == 0 {
		return c
	}
	if !x.isFloat && !y.isFloat {
		return compareMagnitude(x, y) * x.sign()
	}
	if y.isFloat {
		return compareWithFloat(x, y.float)
	}
	return -compareWithFloat(y, x.float)
}

// compareMagnitude compares |x| and |y|, both finite, non-zero and decimal. Where the
// orders are the same the exponents differ by at most 33, for there are at most 34 digits:
// the multiplication stays small.
func compareMagnitude(x, y number) int {
	if c := cmp.Compare(x.order(), y.order()); c != 0 {
		return c
	}
	xm, ym := x.mant, y.mant
	if d := x.exp - y.exp; d > 0 {
		xm = new(big.Int).Mul(xm, pow10(d))
	} else if d < 0 {
		ym = new(big.Int).Mul(ym, pow10(-d))
	}
	return xm.CmpAbs(ym)
}

// order is the power of ten of the leading digit.
func (n number) order() int {
	var buf [48]byte
	d := len(n.mant.Append(buf[:0], 10))
	if n.mant.Sign() < 0 {
		d--
	}
	return n.exp + d - 1
}

// compareWithFloat compares x with the finite f, both of the same sign. Beyond the range of
// doubles, 4.9e-324 to 1.8e308, the order decides: the exponents of decimals go on to
// ±6,000, and fractions of that size would be slow.
func compareWithFloat(x number, f float64) int {
	s := x.sign()
	switch o := x.order(); {
	case o > 309:
		return s
	case o < -330:
		return -s
	}
	return x.rat().Cmp(new(big.Rat).SetFloat64(f))
}

// rat returns the exact value; the order must be within a double's range.
func (n number) rat() *big.Rat {
	if n.exp >= 0 {
		return new(big.Rat).SetInt(new(big.Int).Mul(n.mant, pow10(n.exp)))
	}
	return new(big.Rat).SetFrac(n.mant, pow10(-n.exp))
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}
