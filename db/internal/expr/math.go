package expr

import (
	"math"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// numeric makes an operator of one number; null gives null.
func numeric(f func(e *Env, op string, v value.Value) (value.Value, error)) function {
	return function{1, 1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		switch v := args[0]; {
		case nullish(v):
			return nullValue, nil
		case !v.IsNumber():
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports numeric types, not %s", op, typeName(v))
		default:
			return f(e, op, v)
		}
	}}
}

func abs(e *Env, op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeDouble:
		return e.double(math.Abs(v.Float())), nil
	case bson.TypeDecimal128:
		d := decimalOf(v)
		d.Negative = false
		return e.decimal(d), nil
	}
	n := v.Int()
	if n == math.MinInt64 {
		return v, fault.Errorf(fault.Overflow, "can't take %s of long long min", op)
	}
	if n < 0 {
		n = -n
	}
	return e.narrow(v.Type, n), nil
}

// rounding makes $floor, $ceil and the like of integral results.
func rounding(mode apd.Rounder, f func(float64) float64) function {
	c := decimals
	c.Rounding = mode
	return numeric(func(e *Env, _ string, v value.Value) (value.Value, error) {
		switch v.Type {
		case bson.TypeDouble:
			return e.double(f(v.Float())), nil
		case bson.TypeDecimal128:
			var d apd.Decimal
			x := decimalOf(v)
			if x.Form != apd.Finite || x.Exponent >= 0 {
				return v, nil
			}
			if _, err := c.RoundToIntegralValue(&d, x); err != nil {
				return v, fault.Errorf(fault.BadValue, "%v", err)
			}
			return e.decimal(&d), nil
		}
		return v, nil
	})
}

// places makes $round and $trunc: to a place from -20 to 100, 0 if not given.
func places(mode apd.Rounder, f func(float64) float64) function {
	return function{1, 2, func(e *Env, op string, args []value.Value) (value.Value, error) {
		v, place := args[0], 0
		if nullish(v) || len(args) == 2 && nullish(args[1]) {
			return nullValue, nil
		}
		if !v.IsNumber() {
			return v, fault.Errorf(fault.TypeMismatch, "%s only supports numeric types, not %s", op, typeName(v))
		}
		if len(args) == 2 {
			n, ok := whole(args[1])
			if !ok {
				return v, fault.Errorf(fault.BadValue, "precision argument to %s must be an integral value", op)
			}
			if n < -20 || n > 100 {
				return v, fault.Errorf(fault.BadValue, "cannot apply %s with precision value %d: it must be in [-20, 100]", op, n)
			}
			place = int(n)
		}
		return roundTo(e, op, v, place, mode, f)
	}}
}

// A double is rounded as it prints: {$round: [2.675, 2]} is 2.68 although the double lies below that.
func roundTo(e *Env, op string, v value.Value, place int, mode apd.Rounder, f func(float64) float64) (value.Value, error) {
	switch v.Type {
	case bson.TypeDouble:
		if place == 0 {
			return e.double(f(v.Float())), nil
		}
		x := v.Float()
		if math.IsInf(x, 0) || x != x {
			return v, nil
		}
		return e.double(floatOf(quantized(shortest(x), place, mode))), nil
	case bson.TypeDecimal128:
		return e.decimal(quantized(decimalOf(v), place, mode)), nil
	}
	if place >= 0 {
		return v, nil
	}
	n, err := quantized(decimalOf(v), place, mode).Int64()
	if err != nil {
		return v, fault.Errorf(fault.Overflow, "invalid conversion to long: the result of %s overflows", op)
	}
	return e.narrow(v.Type, n), nil
}

// shortest is the decimal that prints as f does.
func shortest(f float64) *apd.Decimal {
	var d apd.Decimal
	if _, err := d.SetFloat64(f); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return &d
}

// quantized rounds to a number of places after the point.
func quantized(d *apd.Decimal, place int, mode apd.Rounder) *apd.Decimal {
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

// The processor's square root is correctly rounded on every machine, unlike its exponentials and
// logarithms.
func sqrt(e *Env, op string, v value.Value) (value.Value, error) {
	if value.Compare(v, value.Int32(0)) < 0 && !isNaN(v) {
		return v, fault.Errorf(fault.BadValue, "%s's argument must be greater than or equal to 0", op)
	}
	if v.Type != bson.TypeDecimal128 {
		return e.double(math.Sqrt(float(v))), nil
	}
	return e.function(decimals.Sqrt, v), nil
}

func isNaN(v value.Value) bool {
	switch v.Type {
	case bson.TypeDouble:
		return math.IsNaN(v.Float())
	case bson.TypeDecimal128:
		return v.Decimal().IsNaN()
	}
	return false
}

// function applies a function of decimals to a decimal, or to another number by
// way of 40 digits, which gives a double.
func (e *Env) function(f func(d, x *apd.Decimal) (apd.Condition, error), v value.Value) value.Value {
	e.charge(costFunction)
	var d apd.Decimal
	x := exactly(v)
	if x.Form == apd.NaN {
		d.Form = apd.NaN
	} else if _, err := f(&d, x); err != nil {
		d = apd.Decimal{Form: apd.NaN}
	}
	if v.Type == bson.TypeDecimal128 {
		return e.decimal(&d)
	}
	return e.double(floatOf(&d))
}

// expLimit bounds the exponents of e that are worth computing, by whether they are decimals. e^710 is
// beyond every double, e^14,150 beyond every decimal.
var expLimit = map[bool]float64{true: 15000, false: 800}

func exp(e *Env, _ string, v value.Value) (value.Value, error) {
	dec := v.Type == bson.TypeDecimal128
	switch f, limit := float(v), expLimit[dec]; {
	case f > limit:
		v = e.ofKind(dec, math.Inf(1))
	case f < -limit:
		v = e.ofKind(dec, 0)
	default:
		v = e.function(context(dec).Exp, v)
	}
	return v, nil
}

func context(dec bool) *apd.Context {
	if dec {
		return &decimals
	}
	return &wide
}

func (e *Env) ofKind(dec bool, f float64) value.Value {
	if !dec {
		return e.double(f)
	}
	if d := specialDecimal(f); d != nil {
		return e.decimal(d)
	}
	return e.decimal(apd.New(int64(f), 0))
}

func logarithm(f func(c *apd.Context) func(d, x *apd.Decimal) (apd.Condition, error)) function {
	return numeric(func(e *Env, op string, v value.Value) (value.Value, error) {
		if value.Compare(v, value.Int32(0)) <= 0 && !isNaN(v) {
			return v, fault.Errorf(fault.BadValue, "%s's argument must be a positive number, but is %s", op, value.AppendJSONValue(nil, v, false))
		}
		return e.function(f(context(v.Type == bson.TypeDecimal128)), v), nil
	})
}

func log(e *Env, op string, args []value.Value) (value.Value, error) {
	v, base := args[0], args[1]
	switch {
	case nullish(v) || nullish(base):
		return nullValue, nil
	case !v.IsNumber():
		return v, fault.Errorf(fault.TypeMismatch, "%s's argument must be numeric, not %s", op, typeName(v))
	case !base.IsNumber():
		return v, fault.Errorf(fault.TypeMismatch, "%s's base must be numeric, not %s", op, typeName(base))
	case value.Compare(v, value.Int32(0)) <= 0 && !isNaN(v):
		return v, fault.Errorf(fault.BadValue, "%s's argument must be a positive number", op)
	case value.Compare(base, value.Int32(0)) <= 0 && !isNaN(base), value.Compare(base, value.Int32(1)) == 0:
		return v, fault.Errorf(fault.BadValue, "%s's base must be a positive number not equal to 1", op)
	}
	e.charge(2 * costFunction)
	var x, y, d apd.Decimal
	dec := widest(v, base) == bson.TypeDecimal128
	c := wide
	if dec {
		c.Precision = 40
	}
	if isNaN(v) || isNaN(base) {
		d.Form = apd.NaN
	} else if _, err := c.Ln(&x, exactly(v)); err != nil {
		d.Form = apd.NaN
	} else if _, err := c.Ln(&y, exactly(base)); err != nil {
		d.Form = apd.NaN
	} else if _, err := c.Quo(&d, &x, &y); err != nil {
		d.Form = apd.NaN
	}
	if dec {
		return e.decimal(&d), nil
	}
	return e.double(floatOf(&d)), nil
}

func pow(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	switch {
	case nullish(a) || nullish(b):
		return nullValue, nil
	case !a.IsNumber():
		return a, fault.Errorf(fault.TypeMismatch, "%s's base must be numeric, not %s", op, typeName(a))
	case !b.IsNumber():
		return a, fault.Errorf(fault.TypeMismatch, "%s's exponent must be numeric, not %s", op, typeName(b))
	case !True(a) && value.Compare(b, value.Int32(0)) < 0 && !isNaN(b):
		return a, fault.Errorf(fault.BadValue, "%s cannot take a base of 0 and a negative exponent", op)
	}
	t := widest(a, b)
	if t == bson.TypeInt32 || t == bson.TypeInt64 {
		if n, ok := intPower(a.Int(), b.Int()); ok {
			return e.narrow(t, n), nil
		}
		t = bson.TypeDouble
	}
	dec := t == bson.TypeDecimal128
	if f, ok := easyPower(float(a), float(b)); ok {
		return e.ofKind(dec, f), nil
	}
	return e.power(a, b, dec)
}

// power is a to the b where neither decides it alone. It is computed in decimal,
// with more digits than are shown: the mathematics of a processor differ between
// machines in the last bit, and replicas must not.
func (e *Env) power(a, b value.Value, dec bool) (value.Value, error) {
	e.charge(3 * costFunction)
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
		return e.ofKind(dec, math.NaN()), nil
	}
	odd := int64(0)
	if n, ok := whole(b); ok {
		odd = n & 1
	} else if negative {
		return e.ofKind(dec, math.NaN()), nil
	}
	sign := 1.0
	if negative && odd == 1 {
		sign = -1
	}
	if size := floatOf(&lg) * floatOf(y); size > limit {
		return e.ofKind(dec, math.Inf(int(sign))), nil
	} else if size < -limit {
		return e.ofKind(dec, 0), nil
	}
	// x^y = e^(y ln x), with digits to spare for the exponent's size.
	c := wide
	if dec {
		c.Precision = 45
	}
	var d apd.Decimal
	if _, err := c.Ln(&lg, &abs); err != nil {
		return e.ofKind(dec, math.NaN()), nil
	}
	if _, err := c.Mul(&lg, &lg, y); err != nil {
		return e.ofKind(dec, math.NaN()), nil
	}
	if _, err := c.Exp(&d, &lg); err != nil {
		return e.ofKind(dec, math.NaN()), nil
	}
	if d.IsZero() {
		return e.ofKind(dec, 0), nil
	}
	d.Negative = sign < 0
	if dec {
		return e.decimal(&d), nil
	}
	return e.double(floatOf(&d)), nil
}

// easyPower is the power where infinities, NaN, zero or one decide it.
func easyPower(x, y float64) (float64, bool) {
	special := math.IsInf(x, 0) || math.IsInf(y, 0) || x != x || y != y
	if special || x == 0 || y == 0 || x == 1 {
		return math.Pow(x, y), true
	}
	return 0, false
}

// intPower is x^y if it is an int64. It takes at most 63 multiplications, since no other base has a
// larger power that is an int64.
func intPower(x, y int64) (int64, bool) {
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
		if out, ok = product(out, x); !ok {
			return 0, false
		}
	}
	return out, true
}
