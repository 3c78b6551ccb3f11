package expr

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// widest returns the type of an operation on a and b: decimal, double, int64 or int32. One decimal
// makes a decimal of all. Integers that do not fit go up, an int32 to an int64 and that to a double,
// where an update would fail.
func widest(a, b value.Value) bson.Type {
	for _, t := range []bson.Type{bson.TypeDecimal128, bson.TypeDouble, bson.TypeInt64} {
		if a.Type == t || b.Type == t {
			return t
		}
	}
	return bson.TypeInt32
}

// narrow builds an int32 if both operands were and the result fits.
func (e *Env) narrow(t bson.Type, n int64) value.Value {
	if t == bson.TypeInt32 && n == int64(int32(n)) {
		return e.int32(int32(n))
	}
	return e.int64(n)
}

type decimalOp func(d, x, y *apd.Decimal) (apd.Condition, error)

func (e *Env) decimalPair(f decimalOp, a, b value.Value) value.Value {
	e.charge(costDecimal)
	var d apd.Decimal
	x, y := decimalOf(a), decimalOf(b)
	if _, err := f(&d, x, y); err != nil {
		return e.decimal(&apd.Decimal{Form: apd.NaN})
	}
	return e.decimal(&d)
}

func (e *Env) minus(a, b value.Value) value.Value {
	switch t := widest(a, b); t {
	case bson.TypeDecimal128:
		return e.decimalPair(decimals.Sub, a, b)
	case bson.TypeDouble:
		var d floatSum // an int64 may have more digits than a double
		d.addNumber(a, 1)
		d.addNumber(b, -1)
		return e.double(d.round())
	default:
		x, y := a.Int(), b.Int()
		d := x - y
		if (d < x) != (y > 0) && y != 0 {
			return e.double(float64(x) - float64(y))
		}
		return e.narrow(t, d)
	}
}

func (e *Env) times(a, b value.Value) value.Value {
	switch t := widest(a, b); t {
	case bson.TypeDecimal128:
		return e.decimalPair(decimals.Mul, a, b)
	case bson.TypeDouble:
		return e.double(float(a) * float(b))
	default:
		n, ok := product(a.Int(), b.Int())
		if !ok {
			return e.double(float64(a.Int()) * float64(b.Int()))
		}
		return e.narrow(t, n)
	}
}

// The magnitudes are multiplied in 128 bits; ok is false if the product is no int64.
func product(x, y int64) (int64, bool) {
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

func errType(op string, v value.Value) error {
	return fault.Errorf(fault.TypeMismatch, "%s only supports numeric types, not %s", op, typeName(v))
}

// add sums exactly and rounds once. With a decimal among them doubles count with 15
// digits each, as everywhere but in sums over documents.
func add(e *Env, op string, args []value.Value) (value.Value, error) {
	if len(args) == 2 && args[0].Type == bson.TypeDouble && args[1].Type == bson.TypeDouble {
		return e.double(args[0].Float() + args[1].Float()), nil
	}
	var all sum
	decimal := slices.ContainsFunc(args, func(v value.Value) bool { return v.Type == bson.TypeDecimal128 })
	date := false
	for _, v := range args {
		switch {
		case nullish(v):
			return nullValue, nil
		case v.Type == bson.TypeDateTime:
			if date {
				return nullValue, fault.Errorf(fault.TypeMismatch, "only one date allowed in an %s expression", op)
			}
			date = true
			v = value.Value{Type: bson.TypeInt64, Data: v.Data}
		case !v.IsNumber():
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports numeric or date types, not %s", op, typeName(v))
		}
		if decimal {
			e.charge(costDecimal)
		}
		if decimal && v.Type == bson.TypeDouble {
			all.addDecimal(decimalOf(v))
			all.widen(bson.TypeDecimal128)
			continue
		}
		if err := all.Add(v); err != nil {
			return nullValue, err
		}
	}
	v, err := all.Result(e)
	if date && err == nil {
		return e.asDate(op, v)
	}
	return v, err
}

// asDate turns a number of milliseconds into a date, rounded.
func (e *Env) asDate(op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeDouble, bson.TypeDecimal128:
		f := math.RoundToEven(float(v))
		if !(f >= -(1<<63) && f < 1<<63) {
			return nullValue, fault.Errorf(fault.BadValue, "date overflow in %s", op)
		}
		return e.date(int64(f)), nil
	}
	return e.date(v.Int()), nil
}

// A date less a date is an int64 of milliseconds, a date less a number a date; a number less a date is
// an error.
func subtract(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	switch {
	case nullish(a) || nullish(b):
		return nullValue, nil
	case a.Type == bson.TypeDateTime && b.Type == bson.TypeDateTime:
		x, y := a.Int(), b.Int()
		if d := x - y; (d < x) == (y > 0) || y == 0 {
			return e.int64(d), nil
		}
		return nullValue, fault.Errorf(fault.BadValue, "date overflow in %s", op)
	case a.Type == bson.TypeDateTime && b.IsNumber():
		return e.asDate(op, e.minus(value.Value{Type: bson.TypeInt64, Data: a.Data}, b))
	case !a.IsNumber() || !b.IsNumber():
		return nullValue, fault.Errorf(fault.TypeMismatch, "can't %s %s from %s", op, typeName(b), typeName(a))
	}
	return e.minus(a, b), nil
}

// multiply makes a product of decimals if one of the numbers is a decimal, whatever its
// place: a product of doubles on the way would lose digits.
func multiply(e *Env, op string, args []value.Value) (value.Value, error) {
	p := value.Int32(1)
	for i, v := range args {
		switch {
		case nullish(v):
			return nullValue, nil
		case !v.IsNumber():
			return nullValue, errType(op, v)
		case i == 0 && slices.ContainsFunc(args, func(v value.Value) bool { return v.Type == bson.TypeDecimal128 }):
			p = e.decimal(apd.New(1, 0))
		}
		p = e.times(p, v)
	}
	return p, nil
}

func numbers(op string, a, b value.Value) (null bool, err error) {
	switch {
	case nullish(a) || nullish(b):
		return true, nil
	case !a.IsNumber():
		return true, errType(op, a)
	case !b.IsNumber():
		return true, errType(op, b)
	}
	return false, nil
}

// The quotient is never an integer: {$divide: [4, 2]} is the double 2. Zero is an error for every type.
func divide(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	if null, err := numbers(op, a, b); null {
		return nullValue, err
	}
	if !True(b) {
		return nullValue, fault.Errorf(fault.BadValue, "can't %s by zero", op)
	}
	if widest(a, b) == bson.TypeDecimal128 {
		return e.decimalPair(decimals.Quo, a, b), nil
	}
	return e.double(float(a) / float(b)), nil
}

// The remainder has the sign of the dividend, and integers stay integers.
func mod(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	if null, err := numbers(op, a, b); null {
		return nullValue, err
	}
	if !True(b) {
		return nullValue, fault.Errorf(fault.BadValue, "can't %s by zero", op)
	}
	switch t := widest(a, b); t {
	case bson.TypeDecimal128:
		e.charge(costFunction)
		return e.decimal(remainder(decimalOf(a), decimalOf(b))), nil
	case bson.TypeDouble:
		return e.double(math.Mod(float(a), float(b))), nil
	default:
		return e.narrow(t, a.Int()%b.Int()), nil
	}
}

// bitwise makes an operator on integers that starts from unit.
func bitwise(unit int32, f func(x, y int64) int64) function {
	return function{0, -1, func(e *Env, op string, args []value.Value) (value.Value, error) {
		n, t := int64(unit), bson.TypeInt32
		for _, v := range args {
			switch v.Type {
			case bson.TypeInt64:
				t = bson.TypeInt64
			case bson.TypeInt32:
			default:
				if nullish(v) {
					return nullValue, nil
				}
				return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports int and long operands, not %s", op, typeName(v))
			}
			n = f(n, v.Int())
		}
		return e.narrow(t, n), nil
	}}
}

func bitNot(e *Env, op string, args []value.Value) (value.Value, error) {
	switch v := args[0]; {
	case nullish(v):
		return nullValue, nil
	case v.Type == bson.TypeInt32:
		return e.int32(int32(^v.Int())), nil
	case v.Type == bson.TypeInt64:
		return e.int64(^v.Int()), nil
	default:
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports int and long, not %s", op, typeName(v))
	}
}
