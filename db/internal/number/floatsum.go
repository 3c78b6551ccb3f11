package number

import (
	"math"
	"math/big"
	"slices"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A floatSum is the exact sum of doubles: doubles whose bits do not overlap, the least
// first (Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997). Most sums have one
// or two.
type floatSum struct {
	parts   []float64
	huge    []float64 // of doubles from hugeFrom on, divided by hugeScale so that none overflows
	special float64   // of what is infinite or no number; 0 if nothing was
}

const (
	hugeFrom  = 0x1p960
	hugeScale = 0x1p128
)

func (s *floatSum) add(x float64) {
	switch {
	case x == 0:
	case math.IsInf(x, 0) || x != x:
		s.special += x
	case math.Abs(x) >= hugeFrom:
		s.huge = grow(s.huge, x/hugeScale)
	default:
		s.parts = grow(s.parts, x)
	}
}

// Difference is the nearest double of a - b, which are no decimals: an int64 may have more
// digits than a double.
func Difference(a, b value.Value) float64 {
	var d floatSum
	d.addNumber(a, 1)
	d.addNumber(b, -1)
	return d.round()
}

// addNumber adds a number that is no decimal, times 1 or -1, which is sign.
func (s *floatSum) addNumber(v value.Value, sign float64) {
	if v.Type == bson.TypeDouble {
		s.add(sign * v.Float())
		return
	}
	const low = 1<<32 - 1
	n := v.Int()
	s.add(sign * float64(n&^low))
	s.add(sign * float64(n&low))
}

// grow adds x to the doubles of a sum.
func grow(parts []float64, x float64) []float64 {
	n := 0
	for _, y := range parts {
		if math.Abs(x) < math.Abs(y) {
			x, y = y, x
		}
		t := x + y
		if rest := y - (t - x); rest != 0 {
			parts[n] = rest
			n++
		}
		x = t
	}
	if x == 0 {
		return parts[:n]
	}
	return append(parts[:n], x)
}

func (s *floatSum) join(o *floatSum) {
	s.special += o.special
	for _, x := range o.parts {
		s.parts = grow(s.parts, x)
	}
	for _, x := range o.huge {
		s.huge = grow(s.huge, x)
	}
}

func (s *floatSum) clone() *floatSum {
	return &floatSum{slices.Clone(s.parts), slices.Clone(s.huge), s.special}
}

// round returns the nearest double, of two as near the even one.
func (s *floatSum) round() float64 {
	switch {
	case s.special != 0:
		return s.special
	case len(s.huge) > 0:
		f, _ := s.whole().Float64()
		return f
	case len(s.parts) == 0:
		return 0
	}
	i := len(s.parts) - 1
	sum, rest := s.parts[i], 0.0
	for i--; i >= 0 && rest == 0; i-- {
		x, y := sum, s.parts[i]
		sum = x + y
		rest = y - (sum - x)
	}
	// Half a unit lies between two doubles: what is below it decides.
	if i >= 0 && (rest < 0) == (s.parts[i] < 0) {
		if up := sum + 2*rest; up-sum == 2*rest {
			return up
		}
	}
	return sum
}

// whole returns the sum, exactly.
func (s *floatSum) whole() *big.Float {
	// From the least to the greatest bit of all doubles and some carries.
	sum := new(big.Float).SetPrec(2300)
	for _, x := range s.huge {
		sum.Add(sum, big.NewFloat(x))
	}
	sum.Mul(sum, big.NewFloat(hugeScale))
	for _, x := range s.parts {
		sum.Add(sum, big.NewFloat(x))
	}
	return sum
}

// exact returns decimals whose sum it is; special has to be told apart.
func (s *floatSum) exact() (out []*apd.Decimal) {
	for _, x := range s.parts {
		out = append(out, exactDecimal(x, 0))
	}
	for _, x := range s.huge {
		out = append(out, exactDecimal(x, 128))
	}
	return out
}

// exactDecimal returns x·2^scale with all its digits, and no exponent if it is whole.
//
//	m·2^-k = m·5^k·10^-k      0.75 = 3·2^-2 = 75·10^-2
func exactDecimal(x float64, scale int) *apd.Decimal {
	frac, exp := math.Frexp(x)
	m, exp := int64(frac*(1<<53)), exp-53+scale
	for m&1 == 0 {
		m, exp = m>>1, exp+1
	}
	n := big.NewInt(m)
	if exp >= 0 {
		return decimalOfBig(n.Lsh(n, uint(exp)), 0)
	}
	return decimalOfBig(n.Mul(n, new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(-exp)), nil)), int32(exp))
}

// size is how many bytes it holds.
func (s *floatSum) size() int { return 8 * (cap(s.parts) + cap(s.huge)) }
