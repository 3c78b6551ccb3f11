package net

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// Domain strings of what is hashed and signed here.
const (
	domainGenesis   = "weft/1/genesis"
	domainThread    = "weft/1/thread"
	domainKeyCommit = "weft/1/key-commit"
	domainLog       = "weft/1/log"
	domainRecord    = "weft/1/record"
	domainHead      = "weft/1/head"
	domainBody      = "weft/1/body"
	domainSeal      = "weft/1/seal"
	domainJoin      = "weft/1/join"
	domainInvite    = "weft/1/invite"
)

const (
	formatVersion = 1
	formatSuite   = 1 // SHA-256, Ed25519, HKDF-SHA256, ChaCha20-Poly1305

	maxControlHeads = 16
	maxExtensions   = 16
)

// digest is h of docs/design.md: SHA-256 over the domain, a zero byte and the parts.
func digest(domain string, parts ...[]byte) clock.Hash {
	h := sha256.New()
	var buf [32]byte
	h.Write(append(append(buf[:0], domain...), 0))
	for _, p := range parts {
		h.Write(p)
	}
	var sum clock.Hash
	h.Sum(sum[:0])
	return sum
}

// An extension is a part of a header that a later version of the format may
// define.
type extension struct {
	_        struct{} `cbor:",toarray"`
	ID       uint64
	Critical bool
	Data     []byte
}

// A header is what is hashed, chained and signed of a record.
type header struct {
	Log        clock.LogID
	Seq        uint64     // from 1
	Prev       clock.Hash // zero for seq 1
	Time       clock.Time
	Control    []clock.Hash // heads of the control graph, sorted; parents in a control record
	Epoch      clock.Hash
	Root       clock.Hash // of the body
	Extensions []extension
}

// headerWire is a header as it is hashed and sent.
type headerWire struct {
	_          struct{} `cbor:",toarray"`
	Version    uint64
	Suite      uint64
	Log        clock.LogID
	Seq        uint64
	Prev       []byte // empty for seq 1
	Time       clock.Time
	Control    []clock.Hash
	Epoch      clock.Hash
	Root       clock.Hash
	Extensions []extension
}

func (h *header) encode() []byte {
	w := headerWire{
		Version: formatVersion, Suite: formatSuite, Log: h.Log, Seq: h.Seq, Time: h.Time,
		Control: h.Control, Epoch: h.Epoch, Root: h.Root, Extensions: h.Extensions,
	}
	if h.Seq != 1 {
		w.Prev = h.Prev[:]
	}
	return encode(&w)
}

// decodeHeader parses a header strictly. A version or suite that is not known is
// ErrVersion; an unknown critical extension is returned with ErrExtension, so that
// the chain through it can be checked.
func decodeHeader(p []byte) (*header, error) {
	var w headerWire
	if err := decodeFormat(p, MaxHeader, "record", &w); err != nil {
		return nil, err
	}
	if err := checkSuite(w.Suite, "record"); err != nil {
		return nil, err
	}
	h := &header{Log: w.Log, Seq: w.Seq, Time: w.Time, Control: w.Control, Epoch: w.Epoch, Root: w.Root, Extensions: w.Extensions}
	switch {
	case w.Seq > 1 && len(w.Prev) == 32:
		h.Prev = clock.Hash(w.Prev)
	case w.Seq != 1 || len(w.Prev) != 0:
		return nil, fmt.Errorf("%w: record %d with a previous hash of %d bytes", ErrMalformed, w.Seq, len(w.Prev))
	}
	if len(h.Control) > maxControlHeads || len(h.Extensions) > maxExtensions {
		return nil, fmt.Errorf("%w: %d control heads and %d extensions", ErrMalformed, len(h.Control), len(h.Extensions))
	}
	for i := 1; i < len(h.Control); i++ {
		if compareHash(h.Control[i-1], h.Control[i]) >= 0 {
			return nil, fmt.Errorf("%w: control heads are not sorted", ErrMalformed)
		}
	}
	for i := 1; i < len(h.Extensions); i++ {
		if h.Extensions[i-1].ID >= h.Extensions[i].ID {
			return nil, fmt.Errorf("%w: extensions are not sorted", ErrMalformed)
		}
	}
	for _, e := range h.Extensions { // none is known yet
		if e.Critical {
			return h, fmt.Errorf("%w: number %d", ErrExtension, e.ID)
		}
	}
	return h, nil
}

// A rawRecord is a record as it is hashed and sent.
type rawRecord struct{ Header, Body []byte }

func (r *rawRecord) size() int { return len(r.Header) + len(r.Body) }

func recordHash(thread ThreadID, header []byte) clock.Hash {
	return digest(domainRecord, thread[:], header)
}

// A run is consecutive records of one log, on one branch, signed at the last.
type run struct {
	Descriptor []byte         // of the log
	Records    []rawRecord    // at least one
	Signature  keys.Signature // the head signature over the last record
}

// encodeRun returns
//
//	descriptor length u16be ‖ descriptor ‖ signature bytes64 ‖ count u32be
//	‖ (header length u16be ‖ body length u32be ‖ header ‖ body)…
func encodeRun(r run) []byte {
	n := 2 + len(r.Descriptor) + 64 + 4
	for i := range r.Records {
		n += 6 + r.Records[i].size()
	}
	b := make([]byte, 0, n)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Descriptor)))
	b = append(b, r.Descriptor...)
	b = append(b, r.Signature[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Records)))
	for _, rec := range r.Records {
		b = binary.BigEndian.AppendUint16(b, uint16(len(rec.Header)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(rec.Body)))
		b = append(append(b, rec.Header...), rec.Body...)
	}
	return b
}

// decodeRun parses what encodeRun gives, and nothing else. The run aliases p. It
// checks sizes; ingest checks all else.
func decodeRun(p []byte) (run, error) {
	var r run
	bad := func(what string) (run, error) { return run{}, fmt.Errorf("%w: run: %s", ErrMalformed, what) }
	if len(p) > MaxFrame {
		return run{}, fmt.Errorf("%w: run of %d bytes", ErrTooLarge, len(p))
	}
	if len(p) < 2 {
		return bad("truncated")
	}
	n := int(binary.BigEndian.Uint16(p))
	if p = p[2:]; n > maxDescriptor || len(p) < n+64+4 {
		return bad("descriptor")
	}
	r.Descriptor, p = p[:n:n], p[n:]
	r.Signature, p = keys.Signature(p[:64]), p[64:]
	count := int(binary.BigEndian.Uint32(p))
	if p = p[4:]; count < 1 || count > len(p)/6 {
		return bad("count of records")
	}
	r.Records = make([]rawRecord, 0, min(count, 1<<14))
	for range count {
		if len(p) < 6 {
			return bad("truncated")
		}
		h, b := int(binary.BigEndian.Uint16(p)), int(binary.BigEndian.Uint32(p[2:]))
		if p = p[6:]; h > MaxHeader || b > maxBody || len(p) < h+b {
			return bad("size of a record")
		}
		r.Records = append(r.Records, rawRecord{p[:h:h], p[h : h+b : h+b]})
		p = p[h+b:]
	}
	if len(p) != 0 {
		return bad("bytes too many")
	}
	return r, nil
}
