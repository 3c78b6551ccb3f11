package thread

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/blobs"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// Reported by threads.
var (
	// ErrNotFound reports a thread, record or blob that is not held here.
	ErrNotFound = format.ErrNotFound
	// ErrNotMember reports an operation for which this device, or the device of a
	// record, has no right in the thread.
	ErrNotMember = control.ErrNotMember
	// ErrInvite reports an invite that is unknown, expired, used up or revoked.
	ErrInvite = control.ErrInvite
	// ErrNoInvite reports that the record of an invite has not arrived yet.
	ErrNoInvite = control.ErrNoInvite
	// ErrNoKeys reports an operation that needs the read key, on a node that does
	// not have it: a relay, or a joiner that has not joined yet.
	ErrNoKeys = verify.ErrNoKeys
	// ErrClock reports a time that is not later than the log's last.
	ErrClock = control.ErrClock
	// ErrDamagedBlob reports a blob whose bytes are not there as they were written.
	ErrDamagedBlob = blobs.ErrDamagedBlob
	// ErrBlobsHeld reports that blobs cannot be collected now, as they are being stored
	// or read, or as one that may list others is missing.
	ErrBlobsHeld = blobs.ErrBlobsHeld
	// ErrClosed reports use of a closed thread.
	ErrClosed = fault.New(fault.Closed, "the thread is closed")
)

// errFrozen is what is told whose control operations would have no effect any more.
var errFrozen = control.ErrFrozen

// errSelfBarred is what a device is told whose identity had been removed before it joined.
var errSelfBarred = fault.Of(ErrNotMember, "the identity of this device was removed, or had left, before it joined: it waits until an owner or admin admits it with weft db admit")

// errSelfWaits is what a device is told whose join waits.
var errSelfWaits = fault.Of(ErrNotMember, "the invite of this device was closed before who closed it knew of its join: it waits until an owner or admin admits it with weft db admit")
