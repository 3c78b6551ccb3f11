package payload

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Horizon says what its author had when it wrote it: what is not among it, and dates
// itself up to T, is placed after T.
type Horizon struct {
	T    clock.Time
	View []clock.RecordID // heads of logs, in the order of CompareHeads; not nil
}

// horizonHead is what the payload of a horizon begins with: no collection and no operation,
// which no other record has.
var horizonHead = []byte{version, 0, 0}

// IsHorizon reports whether a payload can be of nothing but a horizon.
func IsHorizon(b []byte) bool { return len(b) >= 3 && [3]byte(b) == [3]byte(horizonHead) }

// EncodeHorizon returns the payload of a horizon:
//
//	version, 00, 00   a record of no collection and no operation
//	t                 u64be
//	view              as of a definition
func EncodeHorizon(h *Horizon) []byte {
	return appendView(binary.BigEndian.AppendUint64(append([]byte{}, horizonHead...), uint64(h.T)), h.View)
}

// DecodeHorizon decodes what EncodeHorizon gives; any other bytes are ErrMalformed.
func DecodeHorizon(b []byte) (*Horizon, error) {
	if len(b) > MaxBytes || len(b) < 12 || !IsHorizon(b) {
		return nil, fault.Of(ErrMalformed, "malformed horizon: %d bytes", len(b))
	}
	d := decoder{rest: b[11:]}
	view, err := d.view(1)
	if err != nil {
		return nil, fault.Of(ErrMalformed, "malformed horizon: %w at byte %d", err, len(b)-len(d.rest))
	}
	return &Horizon{T: clock.Time(binary.BigEndian.Uint64(b[3:])), View: view}, nil
}
