package format

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// cborModes are the one encoding of what this package signs, hashes, sends and
// stores: canonical CBOR, arrays of fixed length, bounded.
type cborModes struct {
	enc cbor.UserBufferEncMode
	dec cbor.DecMode
	buf sync.Pool // of *bytes.Buffer
}

var modes = sync.OnceValue(func() *cborModes {
	enc, err := cbor.EncOptions{
		Sort: cbor.SortLengthFirst, ShortestFloat: cbor.ShortestFloatNone,
		NaNConvert: cbor.NaNConvertReject, InfConvert: cbor.InfConvertReject,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.UserBufferEncMode()
	if err != nil {
		panic(fmt.Sprintf("net: CBOR options: %v", err)) // they are constants
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid,
		MaxNestedLevels: 8, MaxArrayElements: 1 << 17, MaxMapPairs: 16,
		NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden,
		IntDec: cbor.IntDecConvertNone,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("net: CBOR options: %v", err))
	}
	return &cborModes{enc: enc, dec: dec, buf: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
})

// encodeTo appends the encoding of v, a pointer to one of the structs of this
// package, to b. It panics for a type that CBOR has no form of, which no input
// can bring about.
func encodeTo(b *bytes.Buffer, v any) {
	if err := modes().enc.MarshalToBuffer(v, b); err != nil {
		panic(fmt.Sprintf("net: encode %T: %v", v, err))
	}
}

// encode returns the encoding of v, as [encodeTo] gives it.
func Encode(v any) []byte {
	m := modes()
	b := m.buf.Get().(*bytes.Buffer)
	defer m.buf.Put(b)
	b.Reset()
	encodeTo(b, v)
	return bytes.Clone(b.Bytes())
}

// decode reads b into v, a pointer to a struct. It returns ErrMalformed unless b
// is exactly what encode(v) gives then. What v holds does not alias b.
func Decode(b []byte, what string, v any) error {
	m := modes()
	if err := m.dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	again := m.buf.Get().(*bytes.Buffer)
	defer m.buf.Put(again)
	again.Reset()
	encodeTo(again, v)
	if !bytes.Equal(again.Bytes(), b) {
		return fmt.Errorf("%w: %s is not in canonical form", ErrMalformed, what)
	}
	return nil
}

// decodeFormat is decode for what begins with its version, which it checks first:
// other versions may be of another shape.
func decodeFormat(b []byte, limit int, what string, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, what, len(b), limit)
	}
	// An array of fewer than 16 elements is 0x80|n; a version below 24 is itself.
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1] > 23 {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	if b[1] != thisVersion {
		return fmt.Errorf("%w: %s version %d", ErrVersion, what, b[1])
	}
	return Decode(b, what, v)
}

func checkSuite(suite uint64, what string) error {
	if suite != thisSuite {
		return fmt.Errorf("%w: %s suite %d", ErrVersion, what, suite)
	}
	return nil
}
