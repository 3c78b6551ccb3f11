package node

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/internal/addrs"
	"github.com/weftdb/weft/node/internal/archive"
	"github.com/weftdb/weft/node/internal/handle"
	"github.com/weftdb/weft/node/internal/homedir"
	"github.com/weftdb/weft/node/internal/homelock"
)

// Reported when a node opens.
var (
	// ErrHomeInUse reports a home that another process has open.
	ErrHomeInUse = homelock.ErrHeld
	// ErrInUse reports an address at which another process listens.
	ErrInUse = addrs.ErrInUse
	// ErrNewerHome reports a home that a newer release wrote.
	ErrNewerHome = homedir.ErrNewerHome
	// ErrInvalid reports a configuration or an argument that cannot be.
	ErrInvalid = addrs.ErrInvalid
	// ErrClosed reports use of a closed node.
	ErrClosed = handle.ErrClosed
)

// Reported by what a node keeps.
var (
	// ErrDamaged reports a database that is not served, because what is stored of it
	// is not what was written, or has not come back yet from where it is rebuilt.
	ErrDamaged = homedir.ErrDamaged
	// ErrNotFound reports that the node has no such database, key or relay.
	ErrNotFound = fault.New(fault.NotFound, "not found")
	// ErrExists reports a name or key that is taken.
	ErrExists = homedir.ErrExists
	// ErrName reports a database name that is not 1 to 63 letters, digits, dots,
	// dashes and underscores, beginning with a letter or digit.
	ErrName = fault.New(fault.InvalidName, "invalid database name")
	// ErrAmbiguous reports a bucket name that several databases have.
	ErrAmbiguous = fault.New(fault.Ambiguous, "several databases have a bucket of this name: write DATABASE/BUCKET")
	// ErrNoRoom reports that the disk has no room for what was asked.
	ErrNoRoom = homedir.ErrNoRoom
	// ErrUnreachable reports that no peer answers that could do what was asked.
	ErrUnreachable = fault.New(fault.Unreachable, "no peer in reach can do it")
	// ErrDenied reports a request without the administrator's token or a
	// credential that permits it, or from a place from which none is taken.
	ErrDenied = fault.New(fault.PermissionDenied, "permission denied")
)

// Reported by Restore.
var (
	// ErrBackup reports a backup that is cut short, was altered, or is none.
	ErrBackup = archive.ErrBackup
)
