package expr

import (
	"math"
	"slices"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// narrow builds an int32 if both operands were and the result fits.
func (e *Env) narrow(t bson.Type, n int64) value.Value {
	if t == bson.TypeInt32 && n == int64(int32(n)) {
		return e.int32(int32(n))
	}
	return e.int64(n)
}

func (e *Env) decimalPair(f func(x, y *apd.Decimal) *apd.Decimal, a, b value.Value) value.Value {
	e.charge(costDecimal)
	return e.decimal(f(number.Decimal(a), number.Decimal(b)))
}

// minus subtracts numbers. An int32 that overflows becomes an int64, and that a double. With a double
// the exact difference is rounded once.
//
//	{$subtract: [-2147483648, 1]}            -2147483649
//	{$subtract: [9007199254740993, 0.5]}     9.007199254740992e+15
func (e *Env) minus(a, b value.Value) value.Value {
	switch t := number.Widest(a.Type, b.Type); t {
	case bson.TypeDecimal128:
		return e.decimalPair(number.Sub, a, b)
	case bson.TypeDouble:
		return e.double(number.Difference(a, b))
	default:
		x, y := a.Int(), b.Int()
		d := x - y
		if (d < x) != (y > 0) && y != 0 {
			return e.double(float64(x) - float64(y))
		}
		return e.narrow(t, d)
	}
}

// times multiplies two numbers.
//
//	{$multiply: [2147483647, 2]}     4294967294
//	{$multiply: [2, 0.5]}            1.0
func (e *Env) times(a, b value.Value) value.Value {
	switch t := number.Widest(a.Type, b.Type); t {
	case bson.TypeDecimal128:
		return e.decimalPair(number.Mul, a, b)
	case bson.TypeDouble:
		return e.double(number.Float(a) * number.Float(b))
	default:
		n, ok := number.Product(a.Int(), b.Int())
		if !ok {
			return e.double(float64(a.Int()) * float64(b.Int()))
		}
		return e.narrow(t, n)
	}
}

func errType(op string, v value.Value) error {
	return fault.Errorf(fault.TypeMismatch, "%s only supports numeric types, not %s", op, typeName(v))
}

// add sums exactly and rounds once. With a decimal among them doubles count with 15 digits each, as
// everywhere but in sums over documents. A date may be one of them: its milliseconds are added to, and
// the sum is a date.
//
//	{$add: [1970-01-01T00:00:01, 500.5]}     1970-01-01T00:00:01.500Z
//	{$add: [0.1, 0.2, 0.3]}                  0.6
//	{$add: [1, null]}                        null
//	{$add: []}                               0
func add(e *Env, op string, args []value.Value) (value.Value, error) {
	if len(args) == 2 && args[0].Type == bson.TypeDouble && args[1].Type == bson.TypeDouble {
		return e.double(args[0].Float() + args[1].Float()), nil
	}
	var all number.Sum
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
			all.AddShort(v)
			continue
		}
		all.Add(v)
	}
	v := e.number(all.Total())
	if date {
		return e.asDate(op, v)
	}
	return v, nil
}

// Plus is the sum of two numbers, as $add has it.
func Plus(a, b value.Value) value.Value {
	v, _ := add(&Env{}, "$add", []value.Value{a, b}) // it refuses only what is no number
	return v
}

// asDate turns a number of milliseconds into a date, rounded.
func (e *Env) asDate(op string, v value.Value) (value.Value, error) {
	switch v.Type {
	case bson.TypeDouble, bson.TypeDecimal128:
		f := math.RoundToEven(number.Float(v))
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
//
//	{$divide: [4, 2]}     2.0
//	{$divide: [1, 0]}     an error
func divide(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	if null, err := numbers(op, a, b); null {
		return nullValue, err
	}
	if !True(b) {
		return nullValue, fault.Errorf(fault.BadValue, "can't %s by zero", op)
	}
	if number.Widest(a.Type, b.Type) == bson.TypeDecimal128 {
		return e.decimalPair(number.Quo, a, b), nil
	}
	return e.double(number.Float(a) / number.Float(b)), nil
}

// The remainder has the sign of the dividend, and integers stay integers.
//
//	{$mod: [-7, 3]}      -1
//	{$mod: [7, -3]}      1
//	{$mod: [7, 2.5]}     2.0
func mod(e *Env, op string, args []value.Value) (value.Value, error) {
	a, b := args[0], args[1]
	if null, err := numbers(op, a, b); null {
		return nullValue, err
	}
	if !True(b) {
		return nullValue, fault.Errorf(fault.BadValue, "can't %s by zero", op)
	}
	switch t := number.Widest(a.Type, b.Type); t {
	case bson.TypeDecimal128:
		e.charge(costFunction)
		return e.decimal(number.Remainder(number.Decimal(a), number.Decimal(b))), nil
	case bson.TypeDouble:
		return e.double(math.Mod(number.Float(a), number.Float(b))), nil
	default:
		return e.narrow(t, a.Int()%b.Int()), nil
	}
}

// bitwise makes an operator on integers that starts from unit. A double is refused even if it is whole:
// it is no bits.
//
//	{$bitAnd: [12, 10]}       8
//	{$bitOr: []}              0
//	{$bitAnd: []}             -1
//	{$bitXor: [12, 10.0]}     an error
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

// bitNot is $bitNot; the type is that of the argument.
//
//	{$bitNot: 0}     -1
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
