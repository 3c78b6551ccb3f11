package verify

import (
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

var (
	// ErrNoKeys reports an operation that needs the read key, on a node that does
	// not have it: a relay, or a joiner that has not joined yet.
	ErrNoKeys = fault.New(fault.NoKeys, "this node cannot read the thread")
	// ErrEpoch reports that a key is missing which other members have.
	ErrEpoch = fault.Of(ErrNoKeys, "the key of the present epoch has not arrived: it comes from the device of an owner or admin")
)

// An Opener is what a thread's records are checked and opened with. It may be used by
// several goroutines, as long as nobody changes it.
type Opener struct {
	Thread     format.ThreadID
	Keys       *format.Keys
	Sealer     *format.Sealer
	FirstEpoch []clock.Hash // names the epoch of what is sealed with the service key
}

// Control opens a control record of a device.
func (o *Opener) Control(device keys.PublicKey, id clock.RecordID, h *format.Header, body []byte) (*control.Record, error) {
	b, err := format.ParseBody(body)
	if err != nil {
		return nil, err
	}
	p, err := o.Sealer.Open(o.Keys.Service, o.position(id), b)
	if err != nil {
		return nil, err
	}
	payload, err := format.DecodeControl(p.Payload)
	if err != nil {
		return nil, err
	}
	return control.NewRecord(id, device, h, payload), nil
}

// Entry opens a data record that is held. ErrEpoch says that its key is not known here.
func (o *Opener) Entry(id clock.RecordID, raw format.Record) (format.Entry, error) {
	h, err := format.DecodeHeader(raw.Header)
	if err != nil {
		return format.Entry{}, err
	}
	read, ok := o.Keys.Read(h.Epochs)
	if !ok {
		return format.Entry{}, ErrEpoch
	}
	b, err := format.ParseBody(raw.Body)
	if err != nil {
		return format.Entry{}, err
	}
	p, err := o.Sealer.Open(read, o.position(id), b)
	if err != nil {
		return format.Entry{}, fmt.Errorf("record %s: %w", id, err)
	}
	return format.Entry{ID: id, Time: h.Time, Atomic: p.Atomic, Payload: p.Payload}, nil
}

// position is what binds a body to its place.
func (o *Opener) position(id clock.RecordID) format.Position {
	return format.Position{Thread: o.Thread, Log: id.Log, Seq: id.Seq}
}
