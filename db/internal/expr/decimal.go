package expr

import (
	"math"
	"math/big"
	"strconv"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// decimals is IEEE 754 decimal128: 34 digits, half to even.
var decimals = apd.Context{Precision: 34, MaxExponent: 6144, MinExponent: -6143, Rounding: apd.RoundHalfEven}

// wide is for functions of doubles, which are computed in decimals so that they
// do not depend on the machine: 17 digits, and some for exponents.
var wide = apd.Context{Precision: 26, MaxExponent: 6144, MinExponent: -6143, Rounding: apd.RoundHalfEven}

// decimalOf converts a number. Doubles keep 15 digits, as in MongoDB.
func decimalOf(v value.Value) *apd.Decimal {
	switch v.Type {
	case bson.TypeDecimal128:
		return fromDecimal(v.Decimal())
	case bson.TypeDouble:
		f := v.Float()
		if d := specialDecimal(f); d != nil {
			return d
		}
		return parseDecimal(strconv.FormatFloat(f, 'e', 14, 64))
	}
	return apd.New(v.Int(), 0)
}

// exactly converts a number without rounding that a double would notice.
func exactly(v value.Value) *apd.Decimal {
	if v.Type != bson.TypeDouble {
		return decimalOf(v)
	}
	f := v.Float()
	if d := specialDecimal(f); d != nil {
		return d
	}
	return parseDecimal(strconv.FormatFloat(f, 'e', 29, 64))
}

func specialDecimal(f float64) *apd.Decimal {
	switch {
	case f != f:
		return &apd.Decimal{Form: apd.NaN}
	case math.IsInf(f, 0):
		return &apd.Decimal{Form: apd.Infinite, Negative: f < 0}
	}
	return nil
}

func parseDecimal(s string) *apd.Decimal {
	d, _, err := apd.NewFromString(s)
	if err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return d
}

func fromDecimal(b bson.Decimal128) *apd.Decimal {
	high, _ := b.GetBytes()
	d := &apd.Decimal{Negative: high>>63 == 1}
	if b.IsNaN() {
		d.Form = apd.NaN
		return d
	}
	if b.IsInf() != 0 {
		d.Form = apd.Infinite
		return d
	}
	m, exp, err := b.BigInt()
	if err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	d.Coeff.SetMathBigInt(m.Abs(m))
	d.Exponent = int32(exp)
	return d
}

// decimal builds a decimal value, rounded to 34 digits.
func (e *Env) decimal(d *apd.Decimal) value.Value {
	b := e.alloc(16)
	value.AppendDecimal(b[:0], toDecimal(d))
	return value.Value{Type: bson.TypeDecimal128, Data: b}
}

// Beyond the greatest exponent it is infinite; a zero keeps its sign, and as much of its exponent as
// there is.
func toDecimal(d *apd.Decimal) bson.Decimal128 {
	sign := uint64(0)
	if d.Negative {
		sign = 1 << 63
	}
	switch d.Form {
	case apd.NaN, apd.NaNSignaling:
		return bson.NewDecimal128(0x7c00000000000000, 0)
	case apd.Infinite:
		return bson.NewDecimal128(sign|0x7800000000000000, 0)
	}
	var r apd.Decimal
	if _, err := decimals.Round(&r, d); err != nil || r.Form != apd.Finite {
		return bson.NewDecimal128(sign|0x7800000000000000, 0)
	}
	m, exp := r.Coeff.MathBigInt(), int(r.Exponent)
	if m.Sign() == 0 { // which keeps its sign
		exp = min(max(exp, -6176), 6111)
		return bson.NewDecimal128(sign|uint64(exp+6176)<<49, 0)
	}
	for exp > 6111 { // a large exponent with room for digits
		m = new(big.Int).Mul(m, big.NewInt(10))
		exp--
	}
	if r.Negative {
		m = new(big.Int).Neg(m)
	}
	out, ok := bson.ParseDecimal128FromBigInt(m, exp)
	if !ok {
		return bson.NewDecimal128(sign|0x7800000000000000, 0)
	}
	return out
}

// remainder is the remainder of a truncated division, exact for any exponents. The coefficients are
// brought to one exponent, which may take 12,000 digits: hence costFunction.
func remainder(x, y *apd.Decimal) *apd.Decimal {
	switch {
	case x.Form == apd.NaN || y.Form == apd.NaN || x.Form == apd.Infinite || y.IsZero():
		return &apd.Decimal{Form: apd.NaN}
	case y.Form == apd.Infinite || x.IsZero():
		return x
	}
	a, b := x.Coeff.MathBigInt(), y.Coeff.MathBigInt()
	exp := min(x.Exponent, y.Exponent)
	a = new(big.Int).Mul(a, power10(int(x.Exponent-exp)))
	b = new(big.Int).Mul(b, power10(int(y.Exponent-exp)))
	d := &apd.Decimal{Negative: x.Negative, Exponent: exp}
	d.Coeff.SetMathBigInt(a.Rem(a, b))
	return d
}

func power10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// floatOf converts a decimal to the nearest double.
func floatOf(d *apd.Decimal) float64 {
	switch d.Form {
	case apd.NaN, apd.NaNSignaling:
		return math.NaN()
	case apd.Infinite:
		if d.Negative {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	f, _ := strconv.ParseFloat(d.Text('E'), 64)
	return f
}

// float converts any number to the nearest double.
func float(v value.Value) float64 {
	switch v.Type {
	case bson.TypeDouble:
		return v.Float()
	case bson.TypeDecimal128:
		return floatOf(fromDecimal(v.Decimal()))
	}
	return float64(v.Int())
}

// whole returns a number that is exactly an int64.
func whole(v value.Value) (int64, bool) {
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
		x := fromDecimal(d)
		if _, err := decimals.RoundToIntegralValue(&r, x); err != nil || r.Cmp(x) != 0 {
			return 0, false
		}
		n, err := r.Int64()
		return n, err == nil
	}
	return 0, false
}

var minInt64, maxInt64 = value.Int64(math.MinInt64), value.Int64(math.MaxInt64)

// int32Of returns a number that is exactly an int32.
func int32Of(v value.Value) (int, bool) {
	n, ok := whole(v)
	return int(n), ok && n == int64(int32(n))
}
