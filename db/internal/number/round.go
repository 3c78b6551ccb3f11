package number

import (
	"github.com/cockroachdb/apd/v3"
)

// Shortest is the decimal that prints as f does.
func Shortest(f float64) *apd.Decimal {
	var d apd.Decimal
	if _, err := d.SetFloat64(f); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return &d
}

// Quantize rounds to a number of places after the point.
func Quantize(d *apd.Decimal, place int, mode apd.Rounder) *apd.Decimal {
	if d.Form != apd.Finite || int(d.Exponent) >= -place {
		return d
	}
	c := apd.Context{Precision: 800, MaxExponent: 7000, MinExponent: -7000, Rounding: mode}
	var out apd.Decimal
	if d.NumDigits()+int64(d.Exponent) < -int64(place) { // far below the place
		if mode == apd.RoundHalfEven || mode == apd.RoundDown {
			return &apd.Decimal{Negative: d.Negative, Exponent: int32(-place)}
		}
	}
	if _, err := c.Quantize(&out, d, int32(-place)); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	if place < 0 { // as 1E+3 is 1000
		out.Coeff.Mul(&out.Coeff, new(apd.BigInt).SetMathBigInt(power10(-place)))
		out.Exponent = 0
	}
	return &out
}

// Integral rounds to an integer, whose exponent is 0.
func Integral(x *apd.Decimal, mode apd.Rounder) (*apd.Decimal, error) {
	c := decimals
	c.Rounding = mode
	var d apd.Decimal
	_, err := c.RoundToIntegralValue(&d, x)
	return &d, err
}
