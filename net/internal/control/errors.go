package control

import "github.com/weftdb/weft/internal/fault"

// Reported of control records and invites.
var (
	// ErrNotMember reports an operation for which this device, or the device of a
	// record, has no right in the thread.
	ErrNotMember = fault.New(fault.NotMember, "the device is no member with that right")
	// ErrInvite reports an invite that is unknown, expired, used up or revoked.
	ErrInvite = fault.New(fault.BadInvite, "the invite lets nobody in")
	// ErrNoInvite reports that the record of an invite has not arrived yet.
	ErrNoInvite = fault.New(fault.BadInvite, "the invite has not arrived yet")
	// ErrRecovery reports a recovery key that does not make an owner.
	ErrRecovery = fault.New(fault.BadInvite, "the recovery key makes nobody an owner")
	// ErrFrozen reports that control operations have stopped.
	ErrFrozen = fault.New(fault.NotMember, "the recovery key was used twice, by devices that did not know of each other: nobody's rights change any more, and documents are still written: weft db members shows who used it; make a new database and import an export of this one")
	// ErrClock reports a time that is not later than the log's last.
	ErrClock = fault.New(fault.BadClock, "the time is not later than the log's last record")
)
