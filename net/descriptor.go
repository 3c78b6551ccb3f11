package net

import (
	"crypto/rand"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// A logKind says what a log holds.
type logKind uint8

const (
	kindControl logKind = 1 // who may do what, sealed with the service key
	kindData    logKind = 2 // what was done, sealed with the read key

	kindSnapshot logKind = 3 // what a checkpoint puts in the place of records, sealed with the read key
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

type descriptorWire struct {
	_           struct{} `cbor:",toarray"`
	Version     uint64
	Device      keys.PublicKey
	Kind        uint64
	Incarnation [16]byte
}

func (d *descriptor) encode() []byte {
	return encode(&descriptorWire{Version: formatVersion, Device: d.Device, Kind: uint64(d.Kind), Incarnation: d.Incarnation})
}

func (d *descriptor) id(thread ThreadID) clock.LogID { return logID(thread, d.encode()) }

func logID(thread ThreadID, descriptor []byte) clock.LogID {
	return clock.LogID(digest(domainLog, thread[:], descriptor))
}

// decodeDescriptor parses a descriptor strictly.
func decodeDescriptor(p []byte) (descriptor, error) {
	var w descriptorWire
	if err := decodeFormat(p, maxDescriptor, "descriptor", &w); err != nil {
		return descriptor{}, err
	}
	if w.Kind < uint64(kindControl) || w.Kind > uint64(kindSnapshot) {
		return descriptor{}, fmt.Errorf("%w: log of kind %d", ErrVersion, w.Kind)
	}
	return descriptor{Device: w.Device, Kind: logKind(w.Kind), Incarnation: w.Incarnation}, nil
}
