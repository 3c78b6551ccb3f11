package expr

import (
	"bytes"
	"cmp"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
)

// An Accumulator takes values one by one and gives one. Values given to Add may be reused by the caller
// after it. A result may be memory of the accumulator: it is valid until the next Add.
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

// NewAccumulator returns $sum, $avg, $min, $max, $stdDevPop or $stdDevSamp; nil for other names. All
// pass over what is no number, but $min and $max, which order all types and pass over null alone.
//
//	{$sum: [1, "a", 2.5]}      3.5
//	{$avg: [1, "a", 2]}        1.5
//	{$avg: ["a"]}              null
//	{$max: [1, "a", null]}     "a"
//	{$stdDevPop: [1, 3]}       1.0
//	{$stdDevSamp: [1]}         null
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

// A sum is $sum or $avg.
type sum struct {
	avg bool
	of  number.Sum
}

// Add adds a number and passes over the rest.
func (s *sum) Add(v value.Value) error {
	s.of.Add(v)
	return nil
}

// Join adds what another sum has.
func (s *sum) Join(o Accumulator) error {
	if o, ok := o.(*sum); ok {
		s.of.Join(&o.of)
	}
	return nil
}

// Result gives the sum, 0 if there was no number, or the average, null if there was none.
func (s *sum) Result(e *Env) (value.Value, error) {
	if !s.avg {
		return e.number(s.of.Total()), nil
	}
	if n, ok := s.of.Mean(); ok {
		return e.number(n), nil
	}
	return nullValue, nil
}

// Size is that of the doubles that were added.
func (s *sum) Size() int { return s.of.Size() }

// An extreme keeps the least (sign -1) or greatest value, without null.
type extreme struct {
	sign int
	best value.Value
	buf  []byte
}

// Add keeps v if it is beyond the best. Of equal values of different types, or of different bytes, one
// is kept whatever their order. Of 1 and 1.0 both $min and $max keep 1.0, whose type has the lesser
// number.
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

// A deviation is a standard deviation, by Welford's method. The conversions keep machines from fusing
// operations, so that all give the same. It is no Joiner: the result depends on the order in the last
// bits.
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
	x := number.Float(v)
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

// accumulated makes the operator over its arguments, or over the elements of its one argument if that
// is an array. With list [1, 5] both {$max: [1, 5]} and {$max: "$list"} are 5, but {$max: ["$list", 0]}
// compares the array itself with 0.
func accumulated(e *Env, op string, args []value.Value) (value.Value, error) {
	a := NewAccumulator(op)
	add := func(v value.Value) error {
		if v.Type == bson.TypeDecimal128 {
			e.charge(costDecimal)
		}
		return a.Add(v)
	}
	if len(args) == 1 && args[0].IsArray() {
		it := value.Elements(args[0].Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if err := add(v); err != nil {
				return nullValue, err
			}
		}
		return a.Result(e)
	}
	for _, v := range args {
		if err := add(v); err != nil {
			return nullValue, err
		}
	}
	return a.Result(e)
}
