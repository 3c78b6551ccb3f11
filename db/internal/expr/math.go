package expr

import (
	"math"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
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

// abs is $abs. The least int32 has no positive of its type and becomes an int64; the least int64 is an
// error.
//
//	{$abs: -2147483648}     2147483648
//	{$abs: -1.5}            1.5
func abs(e *Env, op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeDouble:
		return e.double(math.Abs(v.Float())), nil
	case bson.TypeDecimal128:
		d := number.Decimal(v)
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

// rounding makes $floor, $ceil and the like of integral results. Integers stay as they are, and a double
// stays one.
//
//	{$floor: -1.5}     -2.0
//	{$ceil: -1.5}      -1.0
func rounding(mode apd.Rounder, f func(float64) float64) function {
	return numeric(func(e *Env, _ string, v value.Value) (value.Value, error) {
		switch v.Type {
		case bson.TypeDouble:
			return e.double(f(v.Float())), nil
		case bson.TypeDecimal128:
			x := number.Decimal(v)
			if x.Form != apd.Finite || x.Exponent >= 0 {
				return v, nil
			}
			d, err := number.Integral(x, mode)
			if err != nil {
				return v, fault.Errorf(fault.BadValue, "%v", err)
			}
			return e.decimal(d), nil
		}
		return v, nil
	})
}

// places makes $round and $trunc: to a place from -20 to 100, 0 if not given. A place below 0 is before
// the point, and rounds integers, too.
//
//	{$round: 2.5}            2.0
//	{$round: 3.5}            4.0
//	{$round: [1250, -2]}     1200
//	{$trunc: [1299, -2]}     1200
//	{$trunc: -1.9}           -1.0
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
			n, ok := number.Whole(args[1])
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
		return e.double(number.Nearest(number.Quantize(number.Shortest(x), place, mode))), nil
	case bson.TypeDecimal128:
		return e.decimal(number.Quantize(number.Decimal(v), place, mode)), nil
	}
	if place >= 0 {
		return v, nil
	}
	n, err := number.Quantize(number.Decimal(v), place, mode).Int64()
	if err != nil {
		return v, fault.Errorf(fault.Overflow, "invalid conversion to long: the result of %s overflows", op)
	}
	return e.narrow(v.Type, n), nil
}

// The processor's square root is correctly rounded on every machine, unlike its exponentials and
// logarithms.
func sqrt(e *Env, op string, v value.Value) (value.Value, error) {
	if value.Compare(v, value.Int32(0)) < 0 && !number.IsNaN(v) {
		return v, fault.Errorf(fault.BadValue, "%s's argument must be greater than or equal to 0", op)
	}
	if v.Type != bson.TypeDecimal128 {
		return e.double(math.Sqrt(number.Float(v))), nil
	}
	return e.function(number.Sqrt, v), nil
}

func (e *Env) function(f func(v value.Value) number.Number, v value.Value) value.Value {
	e.charge(costFunction)
	return e.number(f(v))
}

// expLimit bounds the exponents of e that are worth computing, by whether they are decimals. e^710 is
// beyond every double, e^14,150 beyond every decimal.
var expLimit = map[bool]float64{true: 15000, false: 800}

// exp is $exp; of an integer, too, it is a double.
//
//	{$exp: 0}         1.0
//	{$exp: 1}         2.718281828459045
//	{$exp: 1000}      Infinity
//	{$exp: -1000}     0.0
func exp(e *Env, _ string, v value.Value) (value.Value, error) {
	dec := v.Type == bson.TypeDecimal128
	switch f, limit := number.Float(v), expLimit[dec]; {
	case f > limit:
		v = e.number(number.Of(dec, math.Inf(1)))
	case f < -limit:
		v = e.number(number.Of(dec, 0))
	default:
		v = e.function(number.Exp, v)
	}
	return v, nil
}

// logarithm makes $ln and $log10. Zero and what is below are errors, not an infinity and NaN.
//
//	{$ln: 1}     0.0
//	{$ln: 0}     an error
func logarithm(f func(v value.Value) number.Number) function {
	return numeric(func(e *Env, op string, v value.Value) (value.Value, error) {
		if value.Compare(v, value.Int32(0)) <= 0 && !number.IsNaN(v) {
			return v, fault.Errorf(fault.BadValue, "%s's argument must be a positive number, but is %s", op, value.AppendJSONValue(nil, v, false))
		}
		return e.function(f, v), nil
	})
}

// log is $log, of a number to a base. In decimals 1000 to base 10 is 3, where a quotient of doubles
// would be a bit less.
//
//	{$log: [1000, 10]}     3.0
//	{$log: [8, 1]}         an error
func log(e *Env, op string, args []value.Value) (value.Value, error) {
	v, base := args[0], args[1]
	switch {
	case nullish(v) || nullish(base):
		return nullValue, nil
	case !v.IsNumber():
		return v, fault.Errorf(fault.TypeMismatch, "%s's argument must be numeric, not %s", op, typeName(v))
	case !base.IsNumber():
		return v, fault.Errorf(fault.TypeMismatch, "%s's base must be numeric, not %s", op, typeName(base))
	case value.Compare(v, value.Int32(0)) <= 0 && !number.IsNaN(v):
		return v, fault.Errorf(fault.BadValue, "%s's argument must be a positive number", op)
	case value.Compare(base, value.Int32(0)) <= 0 && !number.IsNaN(base), value.Compare(base, value.Int32(1)) == 0:
		return v, fault.Errorf(fault.BadValue, "%s's base must be a positive number not equal to 1", op)
	}
	e.charge(2 * costFunction)
	return e.number(number.Log(v, base)), nil
}

// pow is $pow. A power of integers is one where it fits, else a double.
//
//	{$pow: [2, 10]}       1024
//	{$pow: [2, 64]}       1.8446744073709552e+19
//	{$pow: [2, -1]}       0.5
//	{$pow: [-8, 0.5]}     NaN
//	{$pow: [0, -1]}       an error
func pow(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	switch {
	case nullish(a) || nullish(b):
		return nullValue, nil
	case !a.IsNumber():
		return a, fault.Errorf(fault.TypeMismatch, "%s's base must be numeric, not %s", op, typeName(a))
	case !b.IsNumber():
		return a, fault.Errorf(fault.TypeMismatch, "%s's exponent must be numeric, not %s", op, typeName(b))
	case !True(a) && value.Compare(b, value.Int32(0)) < 0 && !number.IsNaN(b):
		return a, fault.Errorf(fault.BadValue, "%s cannot take a base of 0 and a negative exponent", op)
	}
	t := number.Widest(a.Type, b.Type)
	if t == bson.TypeInt32 || t == bson.TypeInt64 {
		if n, ok := number.IntPower(a.Int(), b.Int()); ok {
			return e.narrow(t, n), nil
		}
		t = bson.TypeDouble
	}
	dec := t == bson.TypeDecimal128
	if f, ok := number.EasyPower(number.Float(a), number.Float(b)); ok {
		return e.number(number.Of(dec, f)), nil
	}
	e.charge(3 * costFunction)
	return e.number(number.Power(a, b)), nil
}
