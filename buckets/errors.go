package buckets

import "errors"

var (
	// ErrNotFound reports that the bucket, or the path in it, does not exist.
	ErrNotFound = errors.New("buckets: not found")
	// ErrExists reports that a bucket of that name exists.
	ErrExists = errors.New("buckets: bucket exists")
	// ErrName reports a bucket name that is not 1 to 63 lower-case letters,
	// digits, dots, dashes and underscores, beginning with a letter or digit.
	ErrName = errors.New("buckets: invalid bucket name")
	// ErrPath reports a path that the path rules refuse.
	ErrPath = errors.New("buckets: invalid path")
	// ErrTooBig reports a file of more than MaxFile bytes.
	ErrTooBig = errors.New("buckets: file is too big")
	// ErrMalformed reports an entry or a manifest that is not well formed.
	ErrMalformed = errors.New("buckets: malformed")
	// ErrCorrupt reports content that does not match its CID.
	ErrCorrupt = errors.New("buckets: content does not match its CID")
	// ErrRange reports a range that begins after the end of its file.
	ErrRange = errors.New("buckets: range is outside the file")
	// ErrConflict reports that a path was changed while it was being removed.
	ErrConflict = errors.New("buckets: path was changed meanwhile")
)

// errStop ends a walk whose caller has seen enough.
var errStop = errors.New("buckets: stop")
