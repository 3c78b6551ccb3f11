package query

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A bitsLeaf is $bitsAllSet, $bitsAnySet, $bitsAllClear or $bitsAnyClear: it
// matches whole numbers and binary values by the bits of its mask.
type bitsLeaf struct {
	mask []byte // bit i is bit i%8 of byte i/8
	all  bool   // all bits of the mask, not any
	set  bool   // are 1, not 0
}

// Behind the bits of a number its sign goes on for ever, behind those of binary data there
// are zeros.
func (l *bitsLeaf) test(v value.Value, _ *spot) bool {
	var num [8]byte
	var bits []byte
	fill := byte(0) // what follows the bits
	switch {
	case v.Type == bson.TypeBinary && len(v.Data) >= 5:
		bits = v.Data[5:]
	case v.IsNumber():
		n, ok := integral(v)
		if !ok {
			return false
		}
		for i := range num {
			num[i] = byte(n >> (8 * i))
		}
		bits, fill = num[:], byte(n>>63)
	default:
		return false
	}
	for i, m := range l.mask {
		b := fill
		if i < len(bits) {
			b = bits[i]
		}
		if !l.set {
			b = ^b
		}
		switch {
		case l.all && b&m != m:
			return false
		case !l.all && b&m != 0:
			return true
		}
	}
	return l.all
}

// maxBit bounds a bit position: no document holds more bits.
const maxBit = 8 * value.MaxDocument

// bitsPart compiles the bits that are asked for: an array of positions, a number, or binary
// data.
func bitsPart(key, op string, v value.Value) (part, error) {
	l := &bitsLeaf{
		all: op == "$bitsAllSet" || op == "$bitsAllClear",
		set: op == "$bitsAllSet" || op == "$bitsAnySet",
	}
	switch {
	case v.IsArray():
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			n, ok := integral(e)
			if !ok || n < 0 {
				return part{}, errBad("%s: bit positions of %s must be non-negative integers: %s", key, op, value.AppendJSONValue(nil, e, false))
			}
			if n >= maxBit {
				return part{}, errBad("%s: bit positions of %s must be below %d: %d", key, op, maxBit, n)
			}
			for int(n/8) >= len(l.mask) {
				l.mask = append(l.mask, 0)
			}
			l.mask[n/8] |= 1 << (n % 8)
		}
	case v.Type == bson.TypeBinary && len(v.Data) >= 5:
		l.mask = v.Data[5:]
	case v.IsNumber():
		n, ok := integral(v)
		if !ok || n < 0 {
			return part{}, fault.Errorf(fault.FailedToParse, "%s: %s needs a non-negative integer: %s", key, op, value.AppendJSONValue(nil, v, false))
		}
		for ; n > 0; n >>= 8 {
			l.mask = append(l.mask, byte(n))
		}
	default:
		return part{}, errBad("%s: %s takes an array, a number or binary data, not %s", key, op, v.Type)
	}
	return part{leaf: l}, nil
}
