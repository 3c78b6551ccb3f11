package value

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Index keys. Each value is its class byte and a payload:
//
//	string, code     bytes with 0x00 as 0x00 0xff, then 0x00 0x01
//	number           0x14 NaN, 0x15 negative, 0x16 zero, 0x17 positive; |x| as
//	                 the big-endian double below or at it, then 0x00 if exact,
//	                 else 0x01 and the rest (appendRest); negative: inverted
//	object           per field: class, name as a string, value; then 0x00
//	array            per element: value; then 0x00
//	binary           length, big-endian uint32; subtype; bytes
//	date             int64 big-endian, sign bit flipped
//	timestamp        uint64 big-endian
//	regex            pattern and options as strings
//
// desc inverts every byte of the value's key.
const (
	numberNaN  = classNumber
	numberNeg  = classNumber + 1
	numberZero = classNumber + 2
	numberPos  = classNumber + 3
)

// AppendKey appends the order-preserving, self-delimiting key of v to dst: the keys of two
// values compare by bytes as Compare orders the values, and keys of equal values are the
// same. desc inverts the order. Keys concatenate. Keys are stored, in indexes and as the
// places of documents: the key of a value can never change.
func AppendKey(dst []byte, v Value, desc bool) []byte {
	start := len(dst)
	dst = appendKey(dst, v)
	if desc {
		invert(dst[start:])
	}
	return dst
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

func appendKey(dst []byte, v Value) []byte {
	class := Class(v)
	if class == classNumber {
		return appendNumber(dst, v)
	}
	dst = append(dst, class)
	switch class {
	case classString, classCode:
		return appendEscaped(dst, v.Str())
	case classObject:
		return appendFields(dst, v.Data)
	case classArray:
		it := Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			dst = appendKey(dst, e)
		}
		return append(dst, 0)
	case classDate:
		return binary.BigEndian.AppendUint64(dst, u64(v.Data)^(1<<63))
	case classTimestamp:
		return binary.BigEndian.AppendUint64(dst, u64(v.Data))
	case classBool, classObjectID:
		return append(dst, v.Data...)
	}
	return appendRareKey(dst, class, v.Data)
}

func appendRareKey(dst []byte, class byte, data []byte) []byte {
	switch class {
	case classBinary:
		dst = binary.BigEndian.AppendUint32(dst, u32(data))
		return append(dst, data[min(4, len(data)):]...)
	case classRegex:
		pattern, options := splitRegex(data)
		return appendEscaped(appendEscaped(dst, pattern), options)
	case classDBPointer:
		ns, id := splitString(data)
		return append(appendEscaped(dst, ns), id...)
	case classCodeScope:
		code, scope := splitScope(data)
		return appendFields(appendEscaped(dst, code), scope)
	}
	return dst
}

// appendFields writes the class before the name, as compareElements compares: {b: 1} is
// below {a: "x"}. The class comes again as the first byte of the value's key.
func appendFields(dst, doc []byte) []byte {
	it := Elements(doc)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		dst = appendEscaped(append(dst, Class(e)), k)
		dst = appendKey(dst, e)
	}
	return append(dst, 0)
}

// appendEscaped writes s so that no string's key begins another's. The end, 00 01, is below
// an escaped NUL, 00 ff, and below every other byte:
//
//	"a"      61 00 01
//	"a\x00"  61 00 ff 00 01
//	"ab"     61 62 00 01
func appendEscaped(dst, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, 0)
		if i < 0 {
			return append(append(dst, s...), 0, 1)
		}
		dst = append(append(dst, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
}

// splitRegex splits a regular expression into pattern and options.
func splitRegex(b []byte) (pattern, options []byte) {
	pattern, rest, _ := bytes.Cut(b, []byte{0})
	options, _, _ = bytes.Cut(rest, []byte{0})
	return pattern, options
}

// Regex returns the pattern and options of a regular expression value.
func (v Value) Regex() (pattern, options string) {
	p, o := splitRegex(v.Data)
	return string(p), string(o)
}

func appendNumber(dst []byte, v Value) []byte {
	switch v.Type {
	case bson.TypeDouble:
		return appendFloat(dst, v.Float())
	case bson.TypeDecimal128:
		return appendDecimal(dst, v)
	}
	n := v.Int()
	if n == 0 {
		return append(dst, numberZero)
	}
	mag := uint64(n)
	if n < 0 {
		mag = -mag
	}
	start := len(dst)
	dst = appendUint(append(dst, numberPos), mag)
	return finishNumber(dst, start, n < 0)
}

// finishNumber turns the key of a magnitude into that of a negative number.
func finishNumber(dst []byte, start int, neg bool) []byte {
	if neg {
		dst[start] = numberNeg
		invert(dst[start+1:])
	}
	return dst
}

// appendFloat always ends with 0x00: a double is its own double. Both zeros have the key of
// zero.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case f != f:
		return append(dst, numberNaN)
	case f == 0:
		return append(dst, numberZero)
	}
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(append(dst, numberPos), math.Float64bits(math.Abs(f)))
	return finishNumber(append(dst, 0), start, f < 0)
}

// appendUint appends the magnitude n > 0: the double at or below it, and the
// 64-bit fraction of the gap to the next double if it is between two.
//
//	2^53+1      double 2^53, 01, 80 00 00 00 00 00 00 00      half of the gap of 2
func appendUint(dst []byte, n uint64) []byte {
	shift := max(0, bits.Len64(n)-53)
	low := n >> shift << shift
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(float64(low)))
	if low == n {
		return append(dst, 0)
	}
	return binary.BigEndian.AppendUint64(append(dst, 1), (n-low)<<(64-shift))
}

var minNormal = math.Float64frombits(1 << 52)

// appendDecimal appends the key of a decimal. Between two doubles at most 2^61
// numbers of 34 digits are distinct, so 64 bits of the gap tell them apart;
// beyond a double's normal range the rest is the decimal itself.
func appendDecimal(dst []byte, v Value) []byte {
	n := numberOf(v)
	switch {
	case n.special == -2:
		return append(dst, numberNaN)
	case n.special != 0:
		return appendFloat(dst, math.Inf(n.special))
	case n.sign() == 0:
		return append(dst, numberZero)
	}
	neg := n.sign() < 0
	n.mant = new(big.Int).Abs(n.mant)
	start := len(dst)
	dst = append(dst, numberPos)
	low, exact, r := floorFloat(n)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(low))
	if exact {
		dst = append(dst, 0)
	} else {
		dst = appendRest(append(dst, 1), n, low, r)
	}
	return finishNumber(dst, start, neg)
}

// floorFloat returns the greatest finite double at or below n > 0. r is n's
// exact value where that was needed.
func floorFloat(n number) (low float64, exact bool, r *big.Rat) {
	switch o := n.order(); {
	case o > 309:
		return math.MaxFloat64, false, nil
	case o < -330:
		return 0, false, nil
	}
	r = n.rat()
	f, exact := r.Float64()
	if exact {
		return f, true, r
	}
	if math.IsInf(f, 0) {
		return math.MaxFloat64, false, r
	}
	if new(big.Rat).SetFloat64(f).Cmp(r) > 0 {
		f = math.Nextafter(f, 0)
	}
	return f, false, r
}

// appendRest appends what n has above the double low: 8 bytes, the fraction of
// the gap to the next double; or, where low is subnormal or the greatest
// double, 18 bytes: n's order + 2^15 and its 34 digits, big-endian.
func appendRest(dst []byte, n number, low float64, r *big.Rat) []byte {
	if low < minNormal || low == math.MaxFloat64 {
		o := n.order()
		m := new(big.Int).Mul(n.mant, pow10(33-(o-n.exp)))
		var buf [16]byte
		dst = binary.BigEndian.AppendUint16(dst, uint16(o+1<<15))
		return append(dst, m.FillBytes(buf[:])...)
	}
	l := new(big.Rat).SetFloat64(low)
	gap := new(big.Rat).SetFloat64(math.Nextafter(low, math.Inf(1)))
	gap.Sub(gap, l)
	f := l.Sub(r, l)
	f.Quo(f, gap)
	q := new(big.Int).Lsh(f.Num(), 64)
	q.Quo(q, f.Denom())
	return binary.BigEndian.AppendUint64(dst, q.Uint64())
}

// KeyLen returns the number of bytes of the first key in the concatenated
// keys, which was encoded with desc; -1 if key is malformed.
func KeyLen(key []byte, desc bool) int {
	k := keyReader{b: key}
	if desc {
		k.flip = 0xff
	}
	k.value(0)
	if k.bad {
		return -1
	}
	return k.n
}

// A keyReader skips over one key. It reads each byte through flip, which is 0xff for a
// descending key. Negative numbers are inverted within their key, so their bytes are read
// through the opposite.
type keyReader struct {
	b    []byte
	n    int
	flip byte
	bad  bool
}

func (k *keyReader) byte() byte {
	if k.n >= len(k.b) {
		k.bad = true
		return 0
	}
	c := k.b[k.n] ^ k.flip
	k.n++
	return c
}

func (k *keyReader) skip(n int) {
	if n < 0 || n > len(k.b)-k.n {
		k.bad, n = true, 0
	}
	k.n += n
}

// text skips an escaped string: 00 01 ends it, 00 ff goes on.
func (k *keyReader) text() {
	for !k.bad {
		if k.byte() == 0 && k.byte() == 1 {
			return
		}
	}
}

// value skips the key of one value. The depth is bounded so that malformed bytes cannot
// exhaust the stack; keys of validated documents stay within it.
func (k *keyReader) value(depth int) {
	if k.bad = k.bad || depth > MaxDepth+1; k.bad {
		return
	}
	switch c := k.byte(); c {
	case classMinKey, classUndefined, classNull, classMaxKey, numberNaN, numberZero:
	case numberNeg, numberPos:
		k.number(c == numberNeg)
	case classString, classCode:
		k.text()
	case classObject:
		k.fields(depth)
	case classArray:
		for !k.bad && k.peek() != 0 {
			k.value(depth + 1)
		}
		k.skip(1)
	case classBinary:
		n := 0
		for range 4 {
			n = n<<8 | int(k.byte())
		}
		k.skip(n + 1)
	case classDate, classTimestamp:
		k.skip(8)
	case classBool:
		k.skip(1)
	case classObjectID:
		k.skip(12)
	case classRegex:
		k.text()
		k.text()
	case classDBPointer:
		k.text()
		k.skip(12)
	case classCodeScope:
		k.text()
		k.fields(depth)
	default:
		k.bad = true
	}
}

func (k *keyReader) peek() byte {
	c := k.byte()
	if !k.bad {
		k.n--
	}
	return c
}

func (k *keyReader) fields(depth int) {
	for !k.bad && k.byte() != 0 {
		k.text()
		k.value(depth + 1)
	}
}

func (k *keyReader) number(neg bool) {
	if neg {
		k.flip = ^k.flip
		defer func() { k.flip = ^k.flip }()
	}
	var u uint64
	for range 8 {
		u = u<<8 | uint64(k.byte())
	}
	if k.byte() == 0 {
		return
	}
	if f := math.Float64frombits(u); f < minNormal || f == math.MaxFloat64 {
		k.skip(18)
		return
	}
	k.skip(8)
}

// ClassKeys returns the first and last first byte of the ascending keys of values of v's
// class. For numbers NaN is left out. NaN answers no comparison but with itself: {$gt: 1}
// and {$lt: 1} both pass it over.
func ClassKeys(v Value) (first, last byte) {
	if c := Class(v); c != classNumber {
		return c, c
	}
	return numberNeg, numberPos
}
