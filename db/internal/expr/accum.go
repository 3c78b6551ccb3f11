package expr

import (
	"bytes"
	"cmp"
	"math"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// An Accumulator takes values one by one and gives one. Values given to Add may
// be reused by the caller after it.
type Accumulator interface {
	Add(v value.Value) error
	Result(e *Env) (value.Value, error)
	// Size is how many bytes it holds beyond a fixed few.
	Size() int
}

// A Joiner is an accumulator that can take what another of its kind has.
type Joiner interface {
	Join(o Accumulator) error
}

// NewAccumulator returns $sum, $avg, $min, $max, $stdDevPop or $stdDevSamp; nil
// for other names.
func NewAccumulator(name string) Accumulator {
	switch name {
	case "$sum", "$avg":
		return &sum{avg: name == "$avg"}
	case "$min":
		return &extreme{sign: -1}
	case "$max":
		return &extreme{sign: 1}
	case "$stdDevPop", "$stdDevSamp":
		return &deviation{sample: name == "$stdDevSamp"}
	}
	return nil
}

// A sum adds numbers and passes over the rest. Integers are added exactly,
// doubles with what rounding lost, so that order hardly counts.
type sum struct {
	avg     bool
	n       int64
	t       bson.Type // widest type seen; 0 if none
	i       int64
	f, lost float64
	d       *apd.Decimal
}

// Add adds a number.
func (s *sum) Add(v value.Value) error {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		s.addInt(v.Int())
	case bson.TypeDouble:
		s.addFloat(v.Float())
	case bson.TypeDecimal128:
		s.addDecimal(decimalOf(v))
	default:
		return nil
	}
	s.n++
	s.widen(v.Type)
	return nil
}

func (s *sum) widen(t bson.Type) {
	s.t = widest(value.Value{Type: s.t}, value.Value{Type: t})
}

// Join adds what another sum has.
func (s *sum) Join(other Accumulator) error {
	o, ok := other.(*sum)
	if !ok || o.n == 0 {
		return nil
	}
	s.addInt(o.i)
	s.addFloat(o.f)
	s.lost += o.lost
	if o.d != nil {
		s.addDecimal(o.d)
	}
	s.n += o.n
	s.widen(o.t)
	return nil
}

func (s *sum) addInt(x int64) {
	t := s.i + x
	if (t > s.i) == (x > 0) || x == 0 {
		s.i = t
		return
	}
	s.addFloat(float64(s.i))
	s.i = x
	s.widen(bson.TypeDouble)
}

func (s *sum) addDecimal(x *apd.Decimal) {
	if s.d == nil {
		s.d = new(apd.Decimal)
	}
	var d apd.Decimal
	if _, err := decimals.Add(&d, s.d, x); err != nil {
		d = apd.Decimal{Form: apd.NaN}
	}
	s.d = &d
}

// addFloat adds without losing what a double cannot hold.
func (s *sum) addFloat(x float64) {
	t := s.f + x
	if !math.IsInf(t, 0) && t == t {
		if math.Abs(s.f) >= math.Abs(x) {
			s.lost += (s.f - t) + x
		} else {
			s.lost += (x - t) + s.f
		}
	}
	s.f = t
}

// Result gives the sum as an int32 if all were and it fits, as the widest type
// otherwise; the average as a double or decimal, null if there was no number.
func (s *sum) Result(e *Env) (value.Value, error) {
	if s.avg {
		return s.average(e), nil
	}
	switch s.t {
	case bson.TypeDecimal128:
		return e.decimal(s.total()), nil
	case bson.TypeDouble:
		return e.double(s.float()), nil
	case 0:
		return e.int32(0), nil
	}
	return e.narrow(s.t, s.i), nil
}

func (s *sum) average(e *Env) value.Value {
	switch {
	case s.n == 0:
		return nullValue
	case s.t == bson.TypeDecimal128:
		var d apd.Decimal
		if _, err := decimals.Quo(&d, s.total(), apd.New(s.n, 0)); err != nil {
			d = apd.Decimal{Form: apd.NaN}
		}
		return e.decimal(&d)
	}
	return e.double(s.float() / float64(s.n))
}

func (s *sum) float() float64 {
	f := s.f
	if !math.IsInf(f, 0) && f == f {
		f += s.lost
	}
	if s.i != 0 {
		f += float64(s.i)
	}
	return f
}

func (s *sum) total() *apd.Decimal {
	var d apd.Decimal
	x := apd.New(s.i, 0)
	if s.f != 0 || s.lost != 0 {
		x = decimalOf(value.Value{Type: bson.TypeDouble, Data: (&Env{}).double(s.float()).Data})
	}
	if _, err := decimals.Add(&d, x, s.d); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return &d
}

// Size is 0.
func (s *sum) Size() int { return 0 }

// An extreme keeps the least (sign -1) or greatest value, without null.
type extreme struct {
	sign int
	best value.Value
	buf  []byte
}

// Add keeps v if it is beyond the best. Of equal values of different types, or
// of different bytes, one is kept whatever their order.
func (x *extreme) Add(v value.Value) error {
	if nullish(v) {
		return nil
	}
	if x.best.Exists() {
		c := value.Compare(v, x.best) * x.sign
		if c == 0 {
			c = cmp.Or(cmp.Compare(x.best.Type, v.Type), bytes.Compare(x.best.Data, v.Data))
		}
		if c <= 0 {
			return nil
		}
	}
	x.buf = append(x.buf[:0], v.Data...)
	x.best = value.Value{Type: v.Type, Data: x.buf}
	return nil
}

// Join takes the best of another.
func (x *extreme) Join(o Accumulator) error {
	if o, ok := o.(*extreme); ok {
		return x.Add(o.best)
	}
	return nil
}

// Result gives the value, null if there was none.
func (x *extreme) Result(*Env) (value.Value, error) {
	if !x.best.Exists() {
		return nullValue, nil
	}
	return x.best, nil
}

// Size is that of the value.
func (x *extreme) Size() int { return cap(x.buf) }

// A deviation is a standard deviation, by Welford's method. The conversions
// keep machines from fusing operations, so that all give the same.
type deviation struct {
	sample   bool
	n        int64
	mean, m2 float64
}

// Add adds a number and passes over the rest.
func (d *deviation) Add(v value.Value) error {
	if !v.IsNumber() {
		return nil
	}
	x := float(v)
	d.n++
	delta := x - d.mean
	d.mean += delta / float64(d.n)
	d.m2 += float64(delta * float64(x-d.mean))
	return nil
}

// Result gives a double, null if there are too few numbers.
func (d *deviation) Result(e *Env) (value.Value, error) {
	n := d.n
	if d.sample {
		n--
	}
	if n <= 0 {
		return nullValue, nil
	}
	return e.double(math.Sqrt(d.m2 / float64(n))), nil
}

// Size is 0.
func (d *deviation) Size() int { return 0 }

// accumulated makes the operator over its arguments, or over the elements of
// its one argument if that is an array.
func accumulated(e *Env, op string, args []value.Value) (value.Value, error) {
	a := NewAccumulator(op)
	if len(args) == 1 && args[0].IsArray() {
		it := value.Elements(args[0].Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if err := a.Add(v); err != nil {
				return nullValue, err
			}
		}
		return a.Result(e)
	}
	for _, v := range args {
		if err := a.Add(v); err != nil {
			return nullValue, err
		}
	}
	return a.Result(e)
}
