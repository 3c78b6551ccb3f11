package number

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

// Decimal converts a number. Doubles keep 15 digits, as in MongoDB.
func Decimal(v value.Value) *apd.Decimal {
	switch v.Type {
	case bson.TypeDecimal128:
		return FromBSON(v.Decimal())
	case bson.TypeDouble:
		f := v.Float()
		if d := special(f); d != nil {
			return d
		}
		return parseDecimal(strconv.FormatFloat(f, 'e', 14, 64))
	}
	return apd.New(v.Int(), 0)
}

// exactly converts a number without rounding that a double would notice.
func exactly(v value.Value) *apd.Decimal {
	if v.Type != bson.TypeDouble {
		return Decimal(v)
	}
	f := v.Float()
	if d := special(f); d != nil {
		return d
	}
	return parseDecimal(strconv.FormatFloat(f, 'e', 29, 64))
}

func special(f float64) *apd.Decimal {
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

// FromBSON converts a stored decimal, which may have any exponent.
func FromBSON(b bson.Decimal128) *apd.Decimal {
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

// ToBSON rounds to 34 digits. Beyond the greatest exponent it is infinite; a zero keeps its sign, and as
// much of its exponent as there is.
func ToBSON(d *apd.Decimal) bson.Decimal128 {
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

// Remainder is the remainder of a truncated division, exact for any exponents. The coefficients are
// brought to one exponent, which may take 12,000 digits: whoever asks counts that.
func Remainder(x, y *apd.Decimal) *apd.Decimal {
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

// Nearest converts a decimal to the nearest double.
func Nearest(d *apd.Decimal) float64 {
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

// Sub is x - y, rounded to 34 digits; NaN where there is no result.
func Sub(x, y *apd.Decimal) *apd.Decimal { return pair(decimals.Sub, x, y) }

// Mul is x · y, rounded to 34 digits; NaN where there is no result.
func Mul(x, y *apd.Decimal) *apd.Decimal { return pair(decimals.Mul, x, y) }

// Quo is x / y, rounded to 34 digits; NaN where there is no result.
func Quo(x, y *apd.Decimal) *apd.Decimal { return pair(decimals.Quo, x, y) }

func pair(f func(d, x, y *apd.Decimal) (apd.Condition, error), x, y *apd.Decimal) *apd.Decimal {
	var d apd.Decimal
	if _, err := f(&d, x, y); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return &d
}
