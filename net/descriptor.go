package net

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/cbor"
)

// A logKind says what a log holds.
type logKind uint8

const (
	kindControl logKind = 1 // who may do what, sealed with the service key
	kindData    logKind = 2 // what was done, sealed with the read key
)

const maxDescriptor = 64

// A descriptor says whose log it is; its hash is the log's ID.
type descriptor struct {
	Device      keys.PublicKey
	Kind        logKind
	Incarnation [16]byte // random, new after a restore
}

func newDescriptor(device keys.PublicKey, kind logKind) descriptor {
	d := descriptor{Device: device, Kind: kind}
	_, _ = rand.Read(d.Incarnation[:]) // never fails: crypto/rand aborts the process instead
	return d
}

func (d *descriptor) encode() []byte {
	b := cbor.AppendUint(cbor.AppendArray(make([]byte, 0, maxDescriptor), 4), formatVersion)
	b = cbor.AppendUint(cbor.AppendBytes(b, d.Device[:]), uint64(d.Kind))
	return cbor.AppendBytes(b, d.Incarnation[:])
}

func (d *descriptor) id(thread ThreadID) clock.LogID { return logID(thread, d.encode()) }

func logID(thread ThreadID, descriptor []byte) clock.LogID {
	return clock.LogID(digest(domainLog, thread[:], descriptor))
}

// decodeDescriptor parses a descriptor strictly.
func decodeDescriptor(p []byte) (descriptor, error) {
	var d descriptor
	if len(p) > maxDescriptor {
		return d, fmt.Errorf("%w: descriptor of %d bytes", ErrTooLarge, len(p))
	}
	r := cbor.NewReader(p)
	r.Array(4)
	if v := r.Uint(); r.Err() == nil && v != formatVersion {
		return d, fmt.Errorf("%w: descriptor version %d", ErrVersion, v)
	}
	r.Fixed(d.Device[:])
	kind := r.Uint()
	r.Fixed(d.Incarnation[:])
	if err := r.End(); err != nil {
		return descriptor{}, fmt.Errorf("%w: descriptor: %w", ErrMalformed, err)
	}
	if kind != uint64(kindControl) && kind != uint64(kindData) {
		return descriptor{}, fmt.Errorf("%w: log of kind %d", ErrVersion, kind)
	}
	d.Kind = logKind(kind)
	if !bytes.Equal(d.encode(), p) {
		return descriptor{}, fmt.Errorf("%w: descriptor is not in canonical form", ErrMalformed)
	}
	return d, nil
}
