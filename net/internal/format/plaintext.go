package format

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Plaintext is what a body seals.
type Plaintext struct {
	Atomic  bool
	Payload []byte
}

// An Entry is a data record, opened.
type Entry struct {
	ID      clock.RecordID
	Time    clock.Time
	Atomic  bool
	Payload []byte // must not be changed

	Snapshot bool // of a snapshot log
}

type plainWire struct {
	_       struct{} `cbor:",toarray"`
	Flags   uint64
	Payload []byte
}

func (p *Plaintext) wire() *plainWire {
	w := &plainWire{Payload: p.Payload}
	if p.Atomic {
		w.Flags = flagAtomic
	}
	return w
}

// decodePlaintext parses a plaintext strictly. It does not alias p.
func decodePlaintext(p []byte) (*Plaintext, error) {
	if len(p) > MaxPlain {
		return nil, fault.Of(ErrTooLarge, "plaintext of %d bytes", len(p))
	}
	var w plainWire
	if err := codec.Decode(p, "plaintext", &w); err != nil {
		return nil, err
	}
	if w.Flags > flagAtomic {
		return nil, fault.Of(ErrMalformed, "plaintext with flags %d", w.Flags)
	}
	return &Plaintext{Atomic: w.Flags == flagAtomic, Payload: w.Payload}, nil
}
