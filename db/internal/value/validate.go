package value

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

const (
	canonicalNaN   = 0x7ff8000000000000 // double
	decimalNaN     = 0x7c00000000000000 // high half
	decimalInf     = 0x7800000000000000
	decimalMaxHigh = 0x1ed09bead87c0 // 10^34, high half
	decimalMaxLow  = 0x378d8e6400000000
)

// Validate checks that doc is one canonical document: exact lengths, known
// types, unique UTF-8 keys without NUL, arrays keyed "0", "1", … in order,
// booleans 0 or 1, the one canonical NaN, decimals in canonical form, at most
// MaxDepth deep and MaxDocument bytes long. It returns an error (InvalidBSON,
// or BSONObjectTooLarge) that names the field.
func Validate(doc []byte) error {
	if len(doc) > MaxDocument {
		return fault.Of(ErrTooLarge, "the document is larger than %d bytes", MaxDocument)
	}
	if why := validateDoc(doc, false, 1); why != nil {
		return fault.Errorf(fault.InvalidBSON, "invalid BSON: %s", why)
	}
	return nil
}

// An invalid says where, outermost field first, and why.
type invalid struct {
	where string
	why   string
}

func (e *invalid) String() string {
	if e.where == "" {
		return e.why
	}
	return fmt.Sprintf("field %q: %s", e.where, e.why)
}

// in puts key before where, on the way out of nested documents.
func (e *invalid) in(key []byte) *invalid {
	if e.where == "" {
		e.where = string(key)
	} else {
		e.where = string(key) + "." + e.where
	}
	return e
}

func bad(format string, args ...any) *invalid { return &invalid{why: fmt.Sprintf(format, args...)} }

// validateDoc checks one level and goes down. What passes can be walked by Elements to its
// end. It is strict where BSON leaves a choice (NaNs, keys of arrays, decimals), since
// documents are hashed and compared by their bytes.
func validateDoc(doc []byte, array bool, depth int) *invalid {
	if depth > MaxDepth {
		return bad("nested deeper than %d", MaxDepth)
	}
	if len(doc) < 5 || int64(binary.LittleEndian.Uint32(doc)) != int64(len(doc)) || doc[len(doc)-1] != 0 {
		return bad("wrong document length")
	}
	var seen keySet
	rest := doc[4 : len(doc)-1]
	for i := 0; len(rest) > 0; i++ {
		end := bytes.IndexByte(rest[1:], 0)
		if end < 0 {
			return bad("key without end")
		}
		t, key, body := bson.Type(rest[0]), rest[1:1+end], rest[2+end:]
		n := size(t, body)
		if n < 0 {
			return bad("unknown type 0x%02x or value cut short", byte(t)).in(key)
		}
		if array {
			if !isIndex(key, i) {
				return bad("array key %q is not %d", key, i)
			}
		} else if !utf8.Valid(key) {
			return bad("key %q is not UTF-8", key)
		} else if !seen.add(key) {
			return bad("duplicate key %q", key)
		}
		if why := validateValue(t, body[:n], depth); why != nil {
			return why.in(key)
		}
		rest = body[n:]
	}
	return nil
}

// isIndex reports whether key is the decimal form of i.
func isIndex(key []byte, i int) bool {
	var buf [20]byte
	return bytes.Equal(key, strconv.AppendInt(buf[:0], int64(i), 10))
}

// A keySet finds duplicate keys; small sets stay on the stack. Up to 16 keys are compared
// one by one, which is faster than a map and takes no memory; a document of many keys gets
// a map, so that checking it stays linear.
type keySet struct {
	n     int
	small [16][]byte
	large map[string]struct{}
}

func (s *keySet) add(key []byte) bool {
	if s.large != nil {
		if _, dup := s.large[string(key)]; dup {
			return false
		}
		s.large[string(key)] = struct{}{}
		return true
	}
	for _, k := range s.small[:s.n] {
		if bytes.Equal(k, key) {
			return false
		}
	}
	if s.n < len(s.small) {
		s.small[s.n] = key
		s.n++
		return true
	}
	s.large = make(map[string]struct{}, 4*s.n)
	for _, k := range s.small {
		s.large[string(k)] = struct{}{}
	}
	s.large[string(key)] = struct{}{}
	return true
}

func validateValue(t bson.Type, b []byte, depth int) *invalid {
	switch t {
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		if b[len(b)-1] != 0 {
			return bad("string without final NUL")
		}
		if !utf8.Valid(b[4 : len(b)-1]) {
			return bad("string is not UTF-8")
		}
	case bson.TypeEmbeddedDocument:
		return validateDoc(b, false, depth+1)
	case bson.TypeArray:
		return validateDoc(b, true, depth+1)
	case bson.TypeBoolean:
		if b[0] > 1 {
			return bad("boolean is %d", b[0])
		}
	case bson.TypeDouble:
		if u := u64(b); math.Float64frombits(u) != math.Float64frombits(u) && u != canonicalNaN {
			return bad("NaN is not canonical")
		}
	case bson.TypeDecimal128:
		return validateDecimal(u64(b[8:]), u64(b))
	case bson.TypeRegex:
		if !utf8.Valid(b) {
			return bad("regular expression is not UTF-8")
		}
	case bson.TypeDBPointer:
		if n := len(b) - 13; b[n] != 0 || !utf8.Valid(b[4:n]) {
			return bad("invalid DBPointer")
		}
	case bson.TypeCodeWithScope:
		return validateScope(b, depth)
	}
	return nil
}

// validateScope checks the code as a string and the scope as a document that is one level
// deeper.
func validateScope(b []byte, depth int) *invalid {
	n := -1
	if len(b) >= 4 {
		n = size(bson.TypeJavaScript, b[4:])
	}
	if n < 0 {
		return bad("invalid code with scope")
	}
	if why := validateValue(bson.TypeJavaScript, b[4:4+n], depth); why != nil {
		return why
	}
	return validateDoc(b[4+n:], false, depth+1)
}

// validateDecimal takes one encoding of each coefficient with its exponent (1.0 and 1.00
// differ): NaN without sign and payload, infinities without payload, and coefficients in
// the small form. The large form (the two bits after the sign are 1) begins at 2^113, which
// is more than 34 digits, so that no canonical number needs it.
func validateDecimal(high, low uint64) *invalid {
	switch {
	case high == decimalNaN && low == 0, high&^(1<<63) == decimalInf && low == 0:
		return nil
	case high>>61&3 == 3:
		return bad("decimal is not canonical")
	}
	if m := high & (1<<49 - 1); m > decimalMaxHigh || m == decimalMaxHigh && low >= decimalMaxLow {
		return bad("decimal has more than 34 digits")
	}
	return nil
}
