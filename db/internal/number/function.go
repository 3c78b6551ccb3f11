package number

import (
	"math"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// ofDecimal is a result that was computed in decimals.
func ofDecimal(d *apd.Decimal, decimal bool) Number {
	if decimal {
		return Number{Type: bson.TypeDecimal128, Decimal: d}
	}
	return Number{Type: bson.TypeDouble, Float: Nearest(d)}
}

func context(dec bool) *apd.Context {
	if dec {
		return &decimals
	}
	return &wide
}

type operation func(c *apd.Context, d, x *apd.Decimal) (apd.Condition, error)

// apply applies a function of decimals to a decimal, or to another number by way of digits
// enough for a double.
func apply(f operation, v value.Value) Number {
	dec := v.Type == bson.TypeDecimal128
	var d apd.Decimal
	x := exactly(v)
	if x.Form == apd.NaN {
		d.Form = apd.NaN
	} else if _, err := f(context(dec), &d, x); err != nil {
		d = apd.Decimal{Form: apd.NaN}
	}
	return ofDecimal(&d, dec)
}

// Sqrt is the square root of a decimal.
func Sqrt(v value.Value) Number { return apply((*apd.Context).Sqrt, v) }

// Exp is e to the v, which whoever asks bounds.
func Exp(v value.Value) Number { return apply((*apd.Context).Exp, v) }

// Ln is the natural logarithm of a positive number.
func Ln(v value.Value) Number { return apply((*apd.Context).Ln, v) }

// Log10 is the logarithm of a positive number to base 10.
func Log10(v value.Value) Number { return apply((*apd.Context).Log10, v) }

// Log is the logarithm of a positive number to a positive base that is not 1.
func Log(v, base value.Value) Number {
	var x, y, d apd.Decimal
	dec := Widest(v.Type, base.Type) == bson.TypeDecimal128
	c := wide
	if dec {
		c.Precision = 40
	}
	if IsNaN(v) || IsNaN(base) {
		d.Form = apd.NaN
	} else if _, err := c.Ln(&x, exactly(v)); err != nil {
		d.Form = apd.NaN
	} else if _, err := c.Ln(&y, exactly(base)); err != nil {
		d.Form = apd.NaN
	} else if _, err := c.Quo(&d, &x, &y); err != nil {
		d.Form = apd.NaN
	}
	return ofDecimal(&d, dec)
}

// Power is a to the b where neither decides it alone. It is computed in decimal,
// with more digits than are shown: the mathematics of a processor differ between
// machines in the last bit, and replicas must not.
func Power(a, b value.Value) Number {
	dec := Widest(a.Type, b.Type) == bson.TypeDecimal128
	x, y := exactly(a), exactly(b)
	limit := 330.0 // powers of ten beyond which a double, or a decimal, has no value
	if dec {
		limit = 6200
	}
	var lg apd.Decimal
	abs := *x
	abs.Negative = false
	negative := x.Negative
	if _, err := wide.Log10(&lg, &abs); err != nil {
		return Of(dec, math.NaN())
	}
	odd := int64(0)
	if n, ok := Whole(b); ok {
		odd = n & 1
	} else if negative {
		return Of(dec, math.NaN())
	}
	sign := 1.0
	if negative && odd == 1 {
		sign = -1
	}
	if size := Nearest(&lg) * Nearest(y); size > limit {
		return Of(dec, math.Inf(int(sign)))
	} else if size < -limit {
		return Of(dec, 0)
	}
	// x^y = e^(y ln x), with digits to spare for the exponent's size.
	c := wide
	if dec {
		c.Precision = 45
	}
	var d apd.Decimal
	if _, err := c.Ln(&lg, &abs); err != nil {
		return Of(dec, math.NaN())
	}
	if _, err := c.Mul(&lg, &lg, y); err != nil {
		return Of(dec, math.NaN())
	}
	if _, err := c.Exp(&d, &lg); err != nil {
		return Of(dec, math.NaN())
	}
	if d.IsZero() {
		return Of(dec, 0)
	}
	d.Negative = sign < 0
	return ofDecimal(&d, dec)
}

// EasyPower is the power where infinities, NaN, zero or one decide it.
func EasyPower(x, y float64) (float64, bool) {
	special := math.IsInf(x, 0) || math.IsInf(y, 0) || x != x || y != y
	if special || x == 0 || y == 0 || x == 1 {
		return math.Pow(x, y), true
	}
	return 0, false
}

// IntPower is x^y if it is an int64. It takes at most 63 multiplications, since no other base has a
// larger power that is an int64.
func IntPower(x, y int64) (int64, bool) {
	switch {
	case y < 0:
		switch {
		case x == 1:
			return 1, true
		case x == -1 && y%2 == 0:
			return 1, true
		case x == -1:
			return -1, true
		}
		return 0, false
	case x == 0 && y > 0, x == 1:
		return x, true
	case x == -1:
		return 1 - 2*(y&1), true
	case y > 63:
		return 0, false
	}
	out := int64(1)
	for range y {
		var ok bool
		if out, ok = Product(out, x); !ok {
			return 0, false
		}
	}
	return out, true
}
