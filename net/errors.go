package net

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/thread"
)

// Reported by decoders.
var (
	// ErrMalformed reports bytes that are not in the form of their type.
	ErrMalformed = format.ErrMalformed
	// ErrTooLarge reports bytes above the maximum of their type.
	ErrTooLarge = format.ErrTooLarge
	// ErrVersion reports a version or suite that this release does not know.
	ErrVersion = format.ErrVersion
	// ErrExtension reports a critical extension that this release does not know.
	ErrExtension = format.ErrExtension
	// ErrOperation reports a control operation or role that this release does not
	// carry out.
	ErrOperation = format.ErrOperation
)

// Reported when a body or a blob is opened.
var (
	// ErrWrongKey reports a body that commits to another key than the epoch's.
	ErrWrongKey = format.ErrWrongKey
	// ErrSealed reports a body or a blob that its key does not open.
	ErrSealed = format.ErrSealed
	// ErrBomb reports a piece that expands to more than it says.
	ErrBomb = format.ErrBomb
)

// Reported by threads.
var (
	// ErrNotFound reports a thread, record or blob that is not held here.
	ErrNotFound = thread.ErrNotFound
	// ErrNotMember reports an operation for which this device, or the device of a
	// record, has no right in the thread.
	ErrNotMember = thread.ErrNotMember
	// ErrInvite reports an invite that is unknown, expired, used up or revoked.
	ErrInvite = thread.ErrInvite
	// ErrRecovery reports a recovery key that makes nobody an owner.
	ErrRecovery = thread.ErrRecovery
	// ErrNoInvite reports that the record of an invite has not arrived yet.
	ErrNoInvite = thread.ErrNoInvite
	// ErrNoKeys reports an operation that needs the read key, on a node that does
	// not have it: a relay, or a joiner that has not joined yet.
	ErrNoKeys = thread.ErrNoKeys
	// ErrClock reports a time that is not later than the log's last.
	ErrClock = thread.ErrClock
	// ErrDamagedBlob reports a blob whose bytes are not there as they were written.
	ErrDamagedBlob = thread.ErrDamagedBlob
	// ErrBlobsHeld reports that blobs cannot be collected now, as they are being stored
	// or read, or as one that may list others is missing.
	ErrBlobsHeld = thread.ErrBlobsHeld
	// ErrClosed reports use of a closed thread or host.
	ErrClosed = thread.ErrClosed
	// ErrCheckpoint reports that the thread's history cannot be cut here and now;
	// the text says why.
	ErrCheckpoint = thread.ErrCheckpoint
)

// Reported by hosts.
var (
	// ErrUnknownThread reports a thread that the host does not hold.
	ErrUnknownThread = fault.New(fault.NotFound, "this host does not hold the thread")
	// ErrLostBlob reports a blob that was damaged here, and that no connected peer of the
	// thread holds.
	ErrLostBlob = fault.New(fault.Altered, "the blob was damaged here, and no connected peer holds it")
	// ErrNoBlob reports a blob that neither this host nor a connected peer of the
	// thread holds.
	ErrNoBlob = fault.New(fault.BlobUnavailable, "no connected peer holds the blob")
)
