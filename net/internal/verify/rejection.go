package verify

import (
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Rejection says which record was refused and why. Records before it in the
// same run are kept.
type Rejection struct {
	ID     clock.RecordID // as far as it is known
	Reason string         // a sentence
	Err    error          // the sentinel behind it, or nil

	kind   fault.Kind
	judged bool // by what is held here, which may differ elsewhere
}

// Kind returns the word for why the record was refused.
func (r *Rejection) Kind() fault.Kind { return r.kind }

// Error returns the record, the kind and the reason.
func (r *Rejection) Error() string {
	return fmt.Sprintf("record %s refused: %s: %s", r.ID, r.kind, r.Reason)
}

// Unwrap returns the sentinel behind the rejection.
func (r *Rejection) Unwrap() error { return r.Err }

// Hostile reports whether no honest peer would have sent the record: whoever has
// it could see what is wrong with it, whatever else it holds.
func (r *Rejection) Hostile() bool {
	if r.judged {
		return false
	}
	switch r.kind {
	case fault.NotMember, fault.Void, fault.UnknownVersion, fault.UnknownExtension, fault.UnknownOperation, fault.Gap, fault.WaitingFull:
		return false
	}
	return true
}

// Refuse returns the rejection of a record for a reason, a sentence; err is the sentinel
// behind it, or nil.
func Refuse(kind fault.Kind, id clock.RecordID, reason string, err error) *Rejection {
	return &Rejection{kind: kind, ID: id, Reason: reason, Err: err}
}

// Judged marks r as by what is held here, which may differ elsewhere, and returns it.
func Judged(r *Rejection) *Rejection {
	r.judged = true
	return r
}

// KindOf returns the kind that a refusal because of err has: malformed unless err
// has one that a record can be refused with.
func KindOf(err error) fault.Kind {
	switch k := fault.KindOf(err); k {
	case fault.UnknownVersion, fault.UnknownExtension, fault.UnknownOperation, fault.WrongKey, fault.Altered, fault.Bomb,
		fault.TooLarge, fault.NotMember, fault.BadClock:
		return k
	}
	return fault.Malformed
}

// Reject returns the rejection of a record because of err.
func Reject(id clock.RecordID, err error) *Rejection {
	return &Rejection{kind: KindOf(err), ID: id, Reason: err.Error(), Err: err}
}
