package thread

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A RejectCode is a stable word for the reason of a [Rejection].
type RejectCode string

// Codes of rejections and refusals.
const (
	RejectMalformed  RejectCode = "malformed"         // not in the form of the format
	RejectVersion    RejectCode = "unknown_version"   // version or suite
	RejectExtension  RejectCode = "unknown_extension" // critical
	RejectOperation  RejectCode = "unknown_operation" // control operation or role
	RejectSignature  RejectCode = "bad_signature"     // head not signed by the log's device
	RejectChain      RejectCode = "broken_chain"      // order, previous hash or log
	RejectClock      RejectCode = "bad_clock"         // does not increase
	RejectBody       RejectCode = "wrong_body"        // body is not the one the header commits to
	RejectGap        RejectCode = "gap"               // records before it are not held
	RejectNotMember  RejectCode = "not_member"        // device has no write right, or the log is not announced
	RejectVoid       RejectCode = "void"              // its join was surplus, revoked or expired
	RejectKey        RejectCode = "wrong_key"         // sealed with another key than the epoch's
	RejectSealed     RejectCode = "altered"           // does not open
	RejectBomb       RejectCode = "bomb"              // expands to more than it says
	RejectTooLarge   RejectCode = "too_large"
	RejectParkedFull RejectCode = "waiting_full" // too much waits for control records; ask again
)

// A Rejection says which record was refused and why. Records before it in the
// same run are kept.
type Rejection struct {
	Code   RejectCode
	ID     clock.RecordID // as far as it is known
	Reason string         // a sentence
	Err    error          // the sentinel behind it, or nil

	judged bool // by what is held here, which may differ elsewhere
}

// Error returns the record, the code and the reason.
func (r *Rejection) Error() string {
	return fmt.Sprintf("net: record %s refused: %s: %s", r.ID, r.Code, r.Reason)
}

// Unwrap returns the sentinel behind the rejection.
func (r *Rejection) Unwrap() error { return r.Err }

// Hostile reports whether no honest peer would have sent the record: whoever has
// it could see what is wrong with it, whatever else it holds.
func (r *Rejection) Hostile() bool {
	if r.judged {
		return false
	}
	switch r.Code {
	case RejectNotMember, RejectVoid, RejectVersion, RejectExtension, RejectOperation, RejectGap, RejectParkedFull:
		return false
	}
	return true
}

// codeOf returns the code that stands for the sentinel in err.
func codeOf(err error) RejectCode {
	for _, c := range []struct {
		err  error
		code RejectCode
	}{
		{format.ErrVersion, RejectVersion},
		{format.ErrExtension, RejectExtension},
		{format.ErrOperation, RejectOperation},
		{format.ErrWrongKey, RejectKey},
		{format.ErrSealed, RejectSealed},
		{format.ErrBomb, RejectBomb},
		{format.ErrTooLarge, RejectTooLarge},
		{ErrNotMember, RejectNotMember},
		{ErrClock, RejectClock},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return RejectMalformed
}

func reject(id clock.RecordID, err error) *Rejection {
	return &Rejection{Code: codeOf(err), ID: id, Reason: err.Error(), Err: err}
}
