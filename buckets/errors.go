package buckets

import (
	"errors"

	"github.com/weftdb/weft/internal/fault"
)

var (
	// ErrNotFound reports that the bucket, or the path in it, does not exist.
	ErrNotFound = fault.New(fault.NotFound, "no such bucket or path")
	// ErrExists reports that a bucket of that name exists.
	ErrExists = fault.New(fault.AlreadyExists, "the bucket already exists")
	// ErrName reports a bucket name that is not 1 to 63 lower-case letters,
	// digits, dots, dashes and underscores, beginning with a letter or digit.
	ErrName = fault.New(fault.InvalidName, "invalid bucket name")
	// ErrPath reports a path that the path rules refuse.
	ErrPath = fault.New(fault.InvalidPath, "no file can have this path")
	// ErrTooBig reports a file of more than MaxFile bytes, or a node that cannot be
	// found within its budget.
	ErrTooBig = fault.New(fault.TooLarge, "the file is too big")
	// ErrMalformed reports an entry or a manifest that is not well formed.
	ErrMalformed = fault.New(fault.Malformed, "the entry or manifest is not in the form it should be")
	// ErrCorrupt reports content that does not match its CID.
	ErrCorrupt = fault.New(fault.Corrupt, "the content does not match its CID")
	// ErrRange reports a range that begins after the end of its file.
	ErrRange = fault.New(fault.OutOfRange, "the range is outside the file")
	// ErrConflict reports that a path was changed while it was being removed.
	ErrConflict = fault.New(fault.Conflict, "the path was changed meanwhile")
)

// errStop ends a walk whose caller has seen enough.
var errStop = errors.New("stop")
