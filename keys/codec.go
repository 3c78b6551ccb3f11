package keys

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// version and suite begin every binary format of this package. Suite 1 is
// Ed25519 with SHA-512 as in RFC 8032.
const (
	version = 1
	suite   = 1
)

// canonical is the one encoding: definite lengths, shortest integers, no tags.
var canonical = sync.OnceValues(func() (cbor.EncMode, error) {
	return cbor.EncOptions{
		Sort: cbor.SortLengthFirst, ShortestFloat: cbor.ShortestFloatNone,
		NaNConvert: cbor.NaNConvertReject, InfConvert: cbor.InfConvertReject,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode()
})

var strict = sync.OnceValues(func() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid,
		MaxNestedLevels: 8, MaxArrayElements: 64, MaxMapPairs: 16,
		NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden,
		IntDec: cbor.IntDecConvertNone,
	}.DecMode()
})

func marshal(v any) ([]byte, error) {
	enc, err := canonical()
	if err != nil {
		return nil, fmt.Errorf("keys: cbor: %w", err)
	}
	b, err := enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("keys: encode %T: %w", v, err)
	}
	return b, nil
}

// unmarshal decodes b, one CBOR array that begins with the version, into v. It
// returns ErrTooLarge above limit, ErrVersion for another version, and
// ErrMalformed unless b is exactly what marshal(v) gives.
func unmarshal(b []byte, limit int, what string, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, what, len(b), limit)
	}
	// An array of fewer than 24 elements is 0x80|n; a version below 24 is itself.
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1] > 23 {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	if b[1] != version {
		return fmt.Errorf("%w: %s version %d", ErrVersion, what, b[1])
	}
	dec, err := strict()
	if err != nil {
		return fmt.Errorf("keys: cbor: %w", err)
	}
	if err := dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	again, err := marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: %s is not in canonical form", ErrMalformed, what)
	}
	return nil
}

func checkSuite(v, s uint8, what string) error {
	if v != version {
		return fmt.Errorf("%w: %s version %d", ErrVersion, what, v)
	}
	if s != suite {
		return fmt.Errorf("%w: %s suite %d", ErrVersion, what, s)
	}
	return nil
}
