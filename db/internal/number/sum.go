package number

import (
	"math/big"
	"math/bits"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A Sum adds numbers exactly. It is rounded once, at its end, so that neither the order
// counts nor how the numbers are divided among sums that join.
//
//	9007199254740993 (int64) + 0.5 (double) + 1 (decimal)
//	ints 9007199254740993 · floats 0.5 · decimals 1      9007199254740994.5
type Sum struct {
	n        int64
	t        bson.Type // widest type seen; 0 if none
	hi       int64     // of the integers, 128 bits: hi·2^64 + lo
	lo       uint64
	floats   floatSum
	decimals *apd.Decimal // nil: none
}

// sumDigits are those that a sum of decimals keeps until its end, where 34 are left:
// more than any that anybody adds up, but bounded.
const sumDigits = 128

var (
	longDecimals = apd.Context{Precision: sumDigits, MaxExponent: 2 * 6144, MinExponent: -2 * 6176, Rounding: apd.RoundHalfEven}
	allDigits    = apd.Context{MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent}
)

// Add adds a number and passes over the rest.
func (s *Sum) Add(v value.Value) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		s.addInt(v.Int())
	case bson.TypeDouble:
		s.floats.add(v.Float())
	case bson.TypeDecimal128:
		s.addDecimal(Decimal(v))
	default:
		return
	}
	s.n++
	s.widen(v.Type)
}

// AddShort adds a number of which 15 digits count if it is a double, as in an operation of
// decimals. The sum is a decimal.
func (s *Sum) AddShort(v value.Value) {
	s.addDecimal(Decimal(v))
	s.n++
	s.widen(bson.TypeDecimal128)
}

// widen notes the type of a number: the result has the widest.
func (s *Sum) widen(t bson.Type) {
	s.t = Widest(s.t, t)
}

// Join adds what another sum has.
func (s *Sum) Join(o *Sum) {
	if o.n == 0 {
		return
	}
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.hi += o.hi + int64(carry)
	s.floats.join(&o.floats)
	if o.decimals != nil {
		s.addDecimal(o.decimals)
	}
	s.n += o.n
	s.widen(o.t)
}

func (s *Sum) addInt(x int64) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, uint64(x), 0)
	s.hi += x>>63 + int64(carry)
}

// integer returns the sum of the integers; ok is false if it is no int64.
func (s *Sum) integer() (n int64, ok bool) {
	n = int64(s.lo)
	return n, s.hi == n>>63
}

func (s *Sum) addDecimal(x *apd.Decimal) {
	if s.decimals == nil {
		s.decimals = new(apd.Decimal)
	}
	// What lies below all digits that are kept costs nothing: to add it would be to write
	// out all the zeros between.
	if above(s.decimals, x) {
		return
	}
	if above(x, s.decimals) {
		s.decimals = x
		return
	}
	var d apd.Decimal
	if _, err := longDecimals.Add(&d, s.decimals, x); err != nil {
		d = apd.Decimal{Form: apd.NaN}
	}
	s.decimals = &d
}

// above reports whether y is nothing beside x, whose digits are kept.
func above(x, y *apd.Decimal) bool {
	if x.Form != apd.Finite || y.Form != apd.Finite || x.IsZero() || y.IsZero() {
		return false
	}
	return int64(x.Exponent)+x.NumDigits()-int64(y.Exponent)-y.NumDigits() > 2*sumDigits
}

// Total gives the sum as an int32 if all were and it fits, as an int64 if all were
// integers and it fits, as the widest type otherwise.
func (s *Sum) Total() Number {
	switch s.t {
	case bson.TypeDecimal128:
		return Number{Type: s.t, Decimal: s.total()}
	case bson.TypeDouble:
		return Number{Type: s.t, Float: s.float()}
	case 0:
		return Number{Type: bson.TypeInt32}
	}
	if n, ok := s.integer(); ok {
		return integer(s.t, n)
	}
	return Number{Type: bson.TypeDouble, Float: s.float()}
}

// Mean gives the average as a double or decimal; ok is false if there was no number.
func (s *Sum) Mean() (n Number, ok bool) {
	switch {
	case s.n == 0:
		return Number{}, false
	case s.t == bson.TypeDecimal128:
		return Number{Type: s.t, Decimal: mean(s.total(), s.n)}, true
	}
	return Number{Type: bson.TypeDouble, Float: s.float() / float64(s.n)}, true
}

// mean divides. An exact quotient has no more zeros at its end than the sum.
func mean(sum *apd.Decimal, n int64) *apd.Decimal {
	var d apd.Decimal
	cond, err := decimals.Quo(&d, sum, apd.New(n, 0))
	if err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	if d.Form == apd.Finite && !cond.Inexact() && d.Exponent < sum.Exponent {
		var short apd.Decimal
		if short.Reduce(&d); short.Exponent > sum.Exponent {
			short.Coeff.Mul(&short.Coeff, apd.NewBigInt(0).Exp(apd.NewBigInt(10), apd.NewBigInt(int64(short.Exponent-sum.Exponent)), nil))
			short.Exponent = sum.Exponent
		}
		return &short
	}
	return &d
}

// float returns the sum of the integers and doubles, rounded to the nearest double.
func (s *Sum) float() float64 {
	if s.hi == 0 && s.lo == 0 {
		return s.floats.round()
	}
	all := s.floats.clone()
	for _, part := range s.parts() {
		all.add(part)
	}
	return all.round()
}

// parts returns the sum of the integers as doubles, each exact.
func (s *Sum) parts() []float64 {
	const two32, two64 = 1 << 32, 1 << 64
	if n, ok := s.integer(); ok {
		return []float64{float64(n>>32) * two32, float64(n & (two32 - 1))}
	}
	return []float64{
		float64(s.hi>>32) * two32 * two64, float64(s.hi&(two32-1)) * two64,
		float64(s.lo>>32) * two32, float64(s.lo & (two32 - 1)),
	}
}

// total returns the sum of all, not rounded.
func (s *Sum) total() *apd.Decimal {
	if x := s.floats.special; x != 0 {
		return s.plus(special(x))
	}
	n := new(big.Int).Lsh(big.NewInt(s.hi), 64)
	n.Add(n, new(big.Int).SetUint64(s.lo))
	d := decimalOfBig(n, 0)
	for _, x := range s.floats.exact() {
		var sum apd.Decimal
		if _, err := allDigits.Add(&sum, d, x); err != nil {
			return &apd.Decimal{Form: apd.NaN}
		}
		d = &sum
	}
	return s.plus(d)
}

// plus adds the decimals.
func (s *Sum) plus(d *apd.Decimal) *apd.Decimal {
	if s.decimals == nil {
		return d
	}
	var all apd.Decimal
	if _, err := allDigits.Add(&all, d, s.decimals); err != nil {
		return &apd.Decimal{Form: apd.NaN}
	}
	return &all
}

func decimalOfBig(n *big.Int, exp int32) *apd.Decimal {
	d := &apd.Decimal{Negative: n.Sign() < 0, Exponent: exp}
	d.Coeff.SetMathBigInt(new(big.Int).Abs(n))
	return d
}

// Size is how many bytes it holds beyond a fixed few: its doubles.
func (s *Sum) Size() int { return s.floats.size() }
