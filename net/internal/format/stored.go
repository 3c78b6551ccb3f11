package format

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Stored is a record as a store keeps it:
//
//	1 ‖ head signature bytes64, or 0 if the position is not signed
//	‖ header length u16be ‖ header ‖ body
type Stored struct {
	Record
	Signed    bool
	Signature keys.Signature
}

// Encode returns the record as it is kept.
func (s *Stored) Encode() []byte {
	b := make([]byte, 0, 1+64+2+s.Size())
	if s.Signed {
		b = append(append(b, 1), s.Signature[:]...)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Header)))
	return append(append(b, s.Header...), s.Body...)
}

// DecodeStored takes a stored record apart. What it returns aliases v.
func DecodeStored(v []byte) (Stored, error) {
	var s Stored
	bad := fault.Of(ErrMalformed, "a stored record is cut short")
	if len(v) > 65 && v[0] == 1 {
		s.Signed, s.Signature, v = true, keys.Signature(v[1:65]), v[65:]
	} else if len(v) > 1 && v[0] == 0 {
		v = v[1:]
	} else {
		return s, bad
	}
	if len(v) < 2 {
		return s, bad
	}
	n := int(binary.BigEndian.Uint16(v))
	if v = v[2:]; len(v) < n {
		return s, bad
	}
	s.Header, s.Body = v[:n:n], v[n:]
	return s, nil
}
