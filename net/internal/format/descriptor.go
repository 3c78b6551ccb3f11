package format

import (
	"crypto/rand"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A LogKind says what a log holds.
type LogKind uint8

// What a log holds.
const (
	KindControl LogKind = 1 // who may do what, sealed with the service key
	KindData    LogKind = 2 // what was done, sealed with the read key

	KindSnapshot LogKind = 3 // what a checkpoint puts in the place of records, sealed with the read key
)

const maxDescriptor = 112

// A Descriptor says whose log it is; its hash is the log's ID.
type Descriptor struct {
	Device      keys.PublicKey
	Kind        LogKind
	Incarnation [16]byte // random, new after a restore
	// Control is the control log that it belongs to, which says who its writer is and what
	// that one may do; zero of a control log.
	Control clock.LogID
}

// NewDescriptor returns the descriptor of a new log, which belongs to a control log unless
// it is one. The incarnation is random, so that a device that was restored never writes at
// positions that it had used.
func NewDescriptor(device keys.PublicKey, kind LogKind, control clock.LogID) Descriptor {
	d := Descriptor{Device: device, Kind: kind, Control: control}
	_, _ = rand.Read(d.Incarnation[:]) // never fails: crypto/rand aborts the process instead
	return d
}

type descriptorWire struct {
	_           struct{} `cbor:",toarray"`
	Version     uint64
	Suite       canonical.Suite
	Device      keys.PublicKey
	Kind        uint64
	Incarnation [16]byte
	Control     []byte // empty of a control log
}

// Encode returns the bytes that are sent and hashed.
func (d *Descriptor) Encode() []byte {
	w := descriptorWire{Version: thisVersion, Suite: thisSuite, Device: d.Device, Kind: uint64(d.Kind), Incarnation: d.Incarnation}
	if d.Kind != KindControl {
		w.Control = d.Control[:]
	}
	return codec.Encode(&w)
}

// LogID returns the ID of the log in a thread.
func (d *Descriptor) LogID(thread ThreadID) clock.LogID { return LogIDOf(thread, d.Encode()) }

// LogIDOf returns the ID of the log that an encoded descriptor describes.
func LogIDOf(thread ThreadID, descriptor []byte) clock.LogID {
	return clock.LogID(digest(domainLog, thread[:], descriptor))
}

// DecodeDescriptor parses a descriptor strictly.
func DecodeDescriptor(p []byte) (Descriptor, error) {
	var w descriptorWire
	if err := codec.DecodeVersioned(p, maxDescriptor, "descriptor", &w); err != nil {
		return Descriptor{}, err
	}
	if err := codec.CheckSuite(w.Suite, "descriptor"); err != nil {
		return Descriptor{}, err
	}
	if w.Kind < uint64(KindControl) || w.Kind > uint64(KindSnapshot) {
		return Descriptor{}, fault.Of(ErrVersion, "log of unknown kind %d", w.Kind)
	}
	d := Descriptor{Device: w.Device, Kind: LogKind(w.Kind), Incarnation: w.Incarnation}
	switch {
	case d.Kind != KindControl && len(w.Control) == len(d.Control):
		d.Control = clock.LogID(w.Control)
	case d.Kind != KindControl || len(w.Control) != 0:
		return Descriptor{}, fault.Of(ErrMalformed, "log of kind %d of a control log named by %d bytes", w.Kind, len(w.Control))
	}
	return d, nil
}
