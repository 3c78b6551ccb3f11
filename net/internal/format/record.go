package format

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// An Extension is a part of a header that a later version of the format may
// define.
type Extension struct {
	_        struct{} `cbor:",toarray"`
	ID       uint64
	Critical bool
	Data     []byte
}

// A Header is what is hashed, chained and signed of a record.
type Header struct {
	Log        clock.LogID
	Seq        uint64     // from 1
	Prev       clock.Hash // zero for seq 1
	Time       clock.Time
	Control    []clock.Hash // heads of the control graph, sorted; parents in a control record
	Epochs     []clock.Hash // that the body is sealed under, sorted; of a control record the first
	Root       clock.Hash   // of the body
	Extensions []Extension
}

// headerWire is a header as it is hashed and sent.
type headerWire struct {
	_          struct{} `cbor:",toarray"`
	Version    uint64
	Suite      canonical.Suite
	Log        clock.LogID
	Seq        uint64
	Prev       []byte // empty for seq 1
	Time       clock.Time
	Control    []clock.Hash
	Epochs     []clock.Hash
	Root       clock.Hash
	Extensions []Extension
}

// Encode returns the bytes that are hashed and signed.
func (h *Header) Encode() []byte {
	w := headerWire{
		Version: thisVersion, Suite: thisSuite, Log: h.Log, Seq: h.Seq, Time: h.Time,
		Control: h.Control, Epochs: h.Epochs, Root: h.Root, Extensions: h.Extensions,
	}
	if h.Seq != 1 {
		w.Prev = h.Prev[:]
	}
	return codec.Encode(&w)
}

// DecodeHeader parses a header strictly. A version or suite that is not known is
// ErrVersion; an unknown critical extension is returned with ErrExtension, so that
// the chain through it can be checked.
func DecodeHeader(p []byte) (*Header, error) {
	var w headerWire
	if err := codec.DecodeVersioned(p, MaxHeader, "record", &w); err != nil {
		return nil, err
	}
	if err := codec.CheckSuite(w.Suite, "record"); err != nil {
		return nil, err
	}
	h := &Header{Log: w.Log, Seq: w.Seq, Time: w.Time, Control: w.Control, Epochs: w.Epochs, Root: w.Root, Extensions: w.Extensions}
	switch {
	case w.Seq > 1 && len(w.Prev) == 32:
		h.Prev = clock.Hash(w.Prev)
	case w.Seq != 1 || len(w.Prev) != 0:
		return nil, fault.Of(ErrMalformed, "record %d with a previous hash of %d bytes", w.Seq, len(w.Prev))
	}
	if len(h.Control) > MaxControlHeads || len(h.Extensions) > maxExtensions {
		return nil, fault.Of(ErrMalformed, "%d control heads and %d extensions", len(h.Control), len(h.Extensions))
	}
	if len(h.Epochs) == 0 || len(h.Epochs) > MaxEpochs {
		return nil, fault.Of(ErrMalformed, "record under %d epochs", len(h.Epochs))
	}
	if !sortedHashes(h.Control) || !sortedHashes(h.Epochs) {
		return nil, fault.Of(ErrMalformed, "control heads or epochs are not sorted")
	}
	for i := 1; i < len(h.Extensions); i++ {
		if h.Extensions[i-1].ID >= h.Extensions[i].ID {
			return nil, fault.Of(ErrMalformed, "extensions are not sorted")
		}
	}
	for _, e := range h.Extensions { // none is known yet
		if e.Critical {
			return h, fault.Of(ErrExtension, "critical extension %d is unknown to this release", e.ID)
		}
	}
	return h, nil
}

// sortedHashes reports whether each is there once, in order.
func sortedHashes(hs []clock.Hash) bool {
	for i := 1; i < len(hs); i++ {
		if CompareHashes(hs[i-1], hs[i]) >= 0 {
			return false
		}
	}
	return true
}

// A Record is a record as it is hashed and sent.
type Record struct{ Header, Body []byte }

// Size returns the bytes of header and body.
func (r *Record) Size() int { return len(r.Header) + len(r.Body) }

// RecordHash returns the hash of an encoded header: the thread is in it, so that a
// record cannot be moved to another thread, without being sent.
func RecordHash(thread ThreadID, header []byte) clock.Hash {
	return digest(domainRecord, thread[:], header)
}
