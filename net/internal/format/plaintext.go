package format

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Plaintext is what a body seals.
type Plaintext struct {
	Atomic  bool
	Heads   []clock.RecordID // of other logs, changed since this log's last record
	Payload []byte
	Padding []byte
}

type (
	plainWire struct {
		_       struct{} `cbor:",toarray"`
		Flags   uint64
		Heads   []headWire
		Payload []byte
		Padding []byte
	}
	headWire struct {
		_    struct{} `cbor:",toarray"`
		Log  clock.LogID
		Seq  uint64
		Hash clock.Hash
	}
)

func (p *Plaintext) wire() *plainWire {
	w := &plainWire{Heads: make([]headWire, len(p.Heads)), Payload: p.Payload, Padding: p.Padding}
	if p.Atomic {
		w.Flags = flagAtomic
	}
	for i, h := range p.Heads {
		w.Heads[i] = headWire{Log: h.Log, Seq: h.Seq, Hash: h.Hash}
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
	t := &Plaintext{Atomic: w.Flags == flagAtomic, Payload: w.Payload, Padding: w.Padding}
	for _, h := range w.Heads {
		t.Heads = append(t.Heads, clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: h.Hash})
	}
	return t, nil
}
