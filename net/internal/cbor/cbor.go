// Package cbor writes and reads the part of canonical DAG-CBOR that signed
// objects use: arrays of known length, unsigned integers, byte strings, booleans.
//
//	b = AppendUint(AppendArray(b, 2), 7)     what is written
//	r.Array(2); r.Uint()                     is read in the same order
//
// A [Reader] accepts the one canonical encoding of each value, nothing else.
package cbor

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed reports bytes that are not the canonical encoding of what was
// read for.
var ErrMalformed = errors.New("malformed CBOR")

// Major types, in the upper three bits of the first byte.
const (
	majorUint  = 0 << 5
	majorBytes = 2 << 5
	majorArray = 4 << 5
	valueFalse = 0xf4
	valueTrue  = 0xf5
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AppendArray appends the head of an array of n elements, which follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendUint appends n.
func AppendUint(b []byte, n uint64) []byte { return appendHead(b, majorUint, n) }

// AppendBytes appends the byte string p.
func AppendBytes(b, p []byte) []byte { return append(appendHead(b, majorBytes, uint64(len(p))), p...) }

// AppendBytesHead appends the head of a byte string of n bytes, which follow.
func AppendBytesHead(b []byte, n int) []byte { return appendHead(b, majorBytes, uint64(n)) }

// AppendBool appends v.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, valueTrue)
	}
	return append(b, valueFalse)
}

// A Reader reads values in order. After the first failure it returns zero values;
// Err and End tell.
type Reader struct {
	p   []byte
	err error
}

// NewReader returns a reader of p, which what it returns aliases.
func NewReader(p []byte) *Reader { return &Reader{p: p} }

// Err returns the first failure, or nil.
func (r *Reader) Err() error { return r.err }

// End returns the first failure, or an error if bytes are left.
func (r *Reader) End() error {
	if r.err == nil && len(r.p) != 0 {
		r.fail("%d bytes too many", len(r.p))
	}
	return r.err
}

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		r.p = nil
	}
}

func (r *Reader) head(major byte) uint64 {
	if r.err != nil {
		return 0
	}
	if len(r.p) == 0 || r.p[0]&0xe0 != major {
		r.fail("another type than expected")
		return 0
	}
	info := r.p[0] & 0x1f
	if info < 24 {
		r.p = r.p[1:]
		return uint64(info)
	}
	if info > 27 {
		r.fail("indefinite length")
		return 0
	}
	size := 1 << (info - 24)
	if len(r.p) < 1+size {
		r.fail("truncated")
		return 0
	}
	var n uint64
	for _, c := range r.p[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	if (size == 1 && n < 24) || (size > 1 && n < 1<<(4*size)) {
		r.fail("integer is not in shortest form")
		return 0
	}
	r.p = r.p[1+size:]
	return n
}

// Array reads the head of an array of exactly n elements.
func (r *Reader) Array(n int) {
	if got := r.head(majorArray); r.err == nil && got != uint64(n) {
		r.fail("array of %d elements, not %d", got, n)
	}
}

// ArrayMax reads the head of an array of at most limit elements and returns their
// number.
func (r *Reader) ArrayMax(limit int) int {
	n := r.head(majorArray)
	if n > uint64(limit) {
		r.fail("array of %d elements, at most %d", n, limit)
		return 0
	}
	return int(n)
}

// Uint reads an integer.
func (r *Reader) Uint() uint64 { return r.head(majorUint) }

// UintMax reads an integer of at most limit.
func (r *Reader) UintMax(limit uint64) uint64 {
	n := r.head(majorUint)
	if n > limit {
		r.fail("integer %d, at most %d", n, limit)
		return 0
	}
	return n
}

// Bytes reads a byte string of at most limit bytes; it aliases the input.
func (r *Reader) Bytes(limit int) []byte {
	n := r.head(majorBytes)
	if r.err != nil {
		return nil
	}
	if n > uint64(limit) || n > uint64(len(r.p)) {
		r.fail("byte string of %d bytes", n)
		return nil
	}
	p := r.p[:n:n]
	r.p = r.p[n:]
	return p
}

// Fixed reads a byte string of len(dst) bytes into dst.
func (r *Reader) Fixed(dst []byte) {
	p := r.Bytes(len(dst))
	if r.err == nil && len(p) != len(dst) {
		r.fail("byte string of %d bytes, not %d", len(p), len(dst))
		return
	}
	copy(dst, p)
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	if r.err != nil {
		return false
	}
	if len(r.p) == 0 || (r.p[0] != valueFalse && r.p[0] != valueTrue) {
		r.fail("another type than expected")
		return false
	}
	v := r.p[0] == valueTrue
	r.p = r.p[1:]
	return v
}
