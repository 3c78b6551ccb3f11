package format

import (
	"crypto/rand"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A logKind says what a log holds.
type logKind uint8

const (
	KindControl logKind = 1 // who may do what, sealed with the service key
	KindData    logKind = 2 // what was done, sealed with the read key

	KindSnapshot logKind = 3 // what a checkpoint puts in the place of records, sealed with the read key
)

const maxDescriptor = 64

// A descriptor says whose log it is; its hash is the log's ID.
type Descriptor struct {
	Device      keys.PublicKey
	Kind        logKind
	Incarnation [16]byte // random, new after a restore
}

func NewDescriptor(device keys.PublicKey, kind logKind) Descriptor {
	d := Descriptor{Device: device, Kind: kind}
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

func (d *Descriptor) Encode() []byte {
	return codec.Encode(&descriptorWire{Version: thisVersion, Device: d.Device, Kind: uint64(d.Kind), Incarnation: d.Incarnation})
}

func (d *Descriptor) Id(thread ThreadID) clock.LogID { return LogIDOf(thread, d.Encode()) }

func LogIDOf(thread ThreadID, descriptor []byte) clock.LogID {
	return clock.LogID(digest(domainLog, thread[:], descriptor))
}

// decodeDescriptor parses a descriptor strictly.
func DecodeDescriptor(p []byte) (Descriptor, error) {
	var w descriptorWire
	if err := codec.DecodeVersioned(p, maxDescriptor, "descriptor", &w); err != nil {
		return Descriptor{}, err
	}
	if w.Kind < uint64(KindControl) || w.Kind > uint64(KindSnapshot) {
		return Descriptor{}, fault.Of(ErrVersion, "log of unknown kind %d", w.Kind)
	}
	return Descriptor{Device: w.Device, Kind: logKind(w.Kind), Incarnation: w.Incarnation}, nil
}
