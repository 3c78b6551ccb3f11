package update

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// arith adds (or multiplies) two numbers in the wider type: decimal, double, int64, int32;
// an int32 that overflows becomes int64. ok is false if an int64 overflows. In expressions
// an int64 that overflows becomes a double. Here it is an error, as in MongoDB: a counter
// must not lose digits unnoticed.
func arith(a, b value.Value, mul bool) (v value.Value, ok bool) {
	switch {
	case a.Type == bson.TypeDecimal128 || b.Type == bson.TypeDecimal128:
		return decimalValue(arithDecimal(toDecimal(a), toDecimal(b), mul)), true
	case a.Type == bson.TypeDouble || b.Type == bson.TypeDouble:
		if mul {
			return doubleValue(toFloat(a) * toFloat(b)), true
		}
		return doubleValue(toFloat(a) + toFloat(b)), true
	}
	x, y := a.Int(), b.Int()
	sum := x + y
	ok = (sum > x) == (y > 0)
	if mul {
		sum, ok = mulInt(x, y)
	}
	if a.Type == bson.TypeInt32 && b.Type == bson.TypeInt32 && sum == int64(int32(sum)) {
		return value.Int32(int32(sum)), true
	}
	return value.Int64(sum), ok
}

// mulInt multiplies the magnitudes in 128 bits; ok is false if the product is no int64.
func mulInt(x, y int64) (int64, bool) {
	ux, uy := uint64(x), uint64(y)
	if x < 0 {
		ux = -ux
	}
	if y < 0 {
		uy = -uy
	}
	neg := (x < 0) != (y < 0)
	hi, lo := bits.Mul64(ux, uy)
	if neg {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo <= math.MaxInt64
}

// An int64 above 2^53 loses digits by that, as it does in MongoDB's $inc by a double.
func toFloat(v value.Value) float64 {
	if v.Type == bson.TypeDouble {
		return v.Float()
	}
	return float64(v.Int())
}

// There is one NaN in documents, whatever bits the processor gives.
func doubleValue(f float64) value.Value {
	u := math.Float64bits(f)
	if f != f {
		u = 0x7ff8000000000000
	}
	return value.Value{Type: bson.TypeDouble, Data: binary.LittleEndian.AppendUint64(nil, u)}
}

func decimalValue(d bson.Decimal128) value.Value {
	return value.Value{Type: bson.TypeDecimal128, Data: value.AppendDecimal(nil, d)}
}

// toDecimal converts a number; doubles keep 15 digits, as in MongoDB.
func toDecimal(v value.Value) bson.Decimal128 {
	s := ""
	switch v.Type {
	case bson.TypeDecimal128:
		return v.Decimal()
	case bson.TypeDouble:
		switch f := v.Float(); {
		case f != f:
			return nan()
		case math.IsInf(f, 0):
			return infinity(f < 0)
		default:
			s = strconv.FormatFloat(f, 'e', 14, 64)
		}
	default:
		s = strconv.FormatInt(v.Int(), 10)
	}
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		return nan()
	}
	return d
}

func nan() bson.Decimal128 { return bson.NewDecimal128(0x7c00000000000000, 0) }

func infinity(neg bool) bson.Decimal128 {
	if neg {
		return bson.NewDecimal128(0xf800000000000000, 0)
	}
	return bson.NewDecimal128(0x7800000000000000, 0)
}

// Finite numbers are calculated exactly, with integers of as many digits as it takes, and
// rounded once.
func arithDecimal(a, b bson.Decimal128, mul bool) bson.Decimal128 {
	if a.IsNaN() || b.IsNaN() {
		return nan()
	}
	if a.IsInf() != 0 || b.IsInf() != 0 {
		f := special(a) + special(b)
		if mul {
			f = special(a) * special(b)
		}
		if f != f {
			return nan()
		}
		return infinity(f < 0)
	}
	x, ex, err := a.BigInt()
	y, ey, err2 := b.BigInt()
	if err != nil || err2 != nil {
		return nan()
	}
	if mul {
		return rounded(new(big.Int).Mul(x, y), ex+ey)
	}
	if ex > ey {
		x, ex = new(big.Int).Mul(x, pow10(ex-ey)), ey
	} else {
		y = new(big.Int).Mul(y, pow10(ey-ex))
	}
	return rounded(new(big.Int).Add(x, y), ex)
}

// special maps a decimal to a double of the same sign, infinity or zero. It is for sums and
// products with an infinity, where nothing else of a finite number counts.
func special(d bson.Decimal128) float64 {
	if i := d.IsInf(); i != 0 {
		return math.Inf(i)
	}
	m, _, err := d.BigInt()
	if err != nil {
		return 0
	}
	return float64(m.Sign())
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// A decimal128 is m·10^exp with at most 34 digits; these are its exponents.
const (
	minExp = -6176
	maxExp = 6111
	digits = 34
)

// rounded returns m·10^exp rounded half to even to 34 digits. A number below the least
// exponent loses digits, one above the greatest gets zeros at its end as far as 34 digits
// go, and is infinite beyond. Rounding 9…9 up gives a digit more, which is rounded off again.
func rounded(m *big.Int, exp int) bson.Decimal128 {
	drop := max(length(m)-digits, minExp-exp, 0)
	if m = roundOff(m, drop); length(m) > digits {
		m = roundOff(m, 1)
		drop++
	}
	exp += drop
	if m.Sign() == 0 {
		exp = min(max(exp, minExp), maxExp)
	}
	if pad := exp - maxExp; pad > 0 && length(m)+pad <= digits {
		m, exp = new(big.Int).Mul(m, pow10(pad)), maxExp
	}
	d, ok := bson.ParseDecimal128FromBigInt(m, exp)
	if !ok {
		return infinity(m.Sign() < 0)
	}
	return d
}

// length returns the number of decimal digits.
func length(m *big.Int) int {
	if m.Sign() == 0 {
		return 1
	}
	return len(new(big.Int).Abs(m).String())
}

// roundOff divides m by 10^n, half to even.
func roundOff(m *big.Int, n int) *big.Int {
	if n <= 0 {
		return m
	}
	p := pow10(n)
	q, r := new(big.Int).QuoRem(m, p, new(big.Int))
	r.Abs(r).Lsh(r, 1)
	if c := r.CmpAbs(p); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(int64(m.Sign())))
	}
	return q
}
