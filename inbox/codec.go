package inbox

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// canonical is the one encoding of everything that is signed or sent: canonical
// DAG-CBOR arrays.
var canonical = sync.OnceValues(func() (cbor.EncMode, error) {
	return cbor.EncOptions{
		Sort: cbor.SortLengthFirst, ShortestFloat: cbor.ShortestFloatNone,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode()
})

var strict = sync.OnceValues(func() (cbor.DecMode, error) {
	return cbor.DecOptions{
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		UTF8: cbor.UTF8RejectInvalid, MaxNestedLevels: 6, MaxArrayElements: maxBatch, MaxMapPairs: 16,
		NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden, IntDec: cbor.IntDecConvertNone,
	}.DecMode()
})

func encode(v any) ([]byte, error) {
	enc, err := canonical()
	if err != nil {
		return nil, fmt.Errorf("inbox: cbor: %w", err)
	}
	p, err := enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("inbox: encode %T: %w", v, err)
	}
	return p, nil
}

// decode parses p into v and returns ErrTooLarge or ErrMalformed unless p is
// exactly what encode(v) gives.
func decode(p []byte, limit int, v any) error {
	if len(p) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(p), limit)
	}
	dec, err := strict()
	if err != nil {
		return fmt.Errorf("inbox: cbor: %w", err)
	}
	if err := dec.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, p) {
		return fmt.Errorf("%w: not in canonical form", ErrMalformed)
	}
	return nil
}
