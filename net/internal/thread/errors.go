package thread

import "errors"

// Reported by threads.
var (
	// ErrNotFound reports a thread, record or blob that is not held here.
	ErrNotFound = errors.New("net: not found")
	// ErrNotMember reports an operation for which this device, or the device of a
	// record, has no right in the thread.
	ErrNotMember = errors.New("net: not a member with that right")
	// ErrInvite reports an invite that is unknown, expired, used up or revoked.
	ErrInvite = errors.New("net: invite is not valid")
	// ErrNoInvite reports that the record of an invite has not arrived yet.
	ErrNoInvite = errors.New("net: invite has not arrived yet")
	// ErrNoKeys reports an operation that needs the read key, on a node that does
	// not have it: a relay, or a joiner that has not joined yet.
	ErrNoKeys = errors.New("net: this node cannot read the thread")
	// ErrClock reports a time that is not later than the log's last.
	ErrClock = errors.New("net: time is not later than the log's last record")
	// ErrClosed reports use of a closed thread.
	ErrClosed = errors.New("net: thread is closed")
)
