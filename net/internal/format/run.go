package format

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Run is consecutive records of one log, on one branch, signed at the last.
type Run struct {
	Descriptor []byte         // of the log
	Records    []Record       // at least one
	Signature  keys.Signature // the head signature over the last record
}

// Last returns the ID of the last record of a run.
func (r Run) Last(thread ThreadID) (clock.RecordID, error) {
	if len(r.Records) == 0 {
		return clock.RecordID{}, fault.Of(ErrMalformed, "run without records")
	}
	raw := r.Records[len(r.Records)-1].Header
	h, err := DecodeHeader(raw)
	if err != nil {
		return clock.RecordID{}, err
	}
	return clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: RecordHash(thread, raw)}, nil
}

// EncodeRun returns
//
//	suite byte ‖ descriptor length u16be ‖ descriptor ‖ signature bytes64 ‖ count u32be
//	‖ (header length u16be ‖ body length u32be ‖ header ‖ body)…
func EncodeRun(r Run) []byte {
	n := 3 + len(r.Descriptor) + 64 + 4
	for i := range r.Records {
		n += 6 + r.Records[i].Size()
	}
	b := append(make([]byte, 0, n), byte(thisSuite)) // it says how long a signature is
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

// DecodeRun parses what [EncodeRun] gives, and nothing else. The run aliases p.
// It checks sizes; whoever takes the run in checks all else.
func DecodeRun(p []byte) (Run, error) {
	var r Run
	bad := func(what string) (Run, error) { return Run{}, fault.Of(ErrMalformed, "run: %s", what) }
	if len(p) > MaxFrame {
		return Run{}, fault.Of(ErrTooLarge, "run of %d bytes", len(p))
	}
	if len(p) < 3 {
		return bad("truncated")
	}
	if err := codec.CheckSuite(canonical.Suite(p[0]), "run"); err != nil {
		return Run{}, err
	}
	p = p[1:]
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
	r.Records = make([]Record, 0, min(count, 1<<14))
	for range count {
		if len(p) < 6 {
			return bad("truncated")
		}
		h, b := int(binary.BigEndian.Uint16(p)), int(binary.BigEndian.Uint32(p[2:]))
		if p = p[6:]; h > MaxHeader || b > maxBody || len(p) < h+b {
			return bad("size of a record")
		}
		r.Records = append(r.Records, Record{p[:h:h], p[h : h+b : h+b]})
		p = p[h+b:]
	}
	if len(p) != 0 {
		return bad("bytes too many")
	}
	return r, nil
}

// VerifyHead reports whether a device signed a record, and with it all before it.
func VerifyHead(thread ThreadID, device keys.PublicKey, hash clock.Hash, s keys.Signature) bool {
	return keys.Verify(device, DomainHead, s, thread[:], hash[:])
}
