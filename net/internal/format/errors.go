package format

import "github.com/weftdb/weft/internal/fault"

// Reported by decoders.
var (
	// ErrMalformed reports bytes that are not in the form of their type.
	ErrMalformed = fault.New(fault.Malformed, "the bytes are not in the form of their type")
	// ErrTooLarge reports bytes above the maximum of their type.
	ErrTooLarge = fault.New(fault.TooLarge, "more bytes than the type may have")
	// ErrVersion reports a version or suite that this release does not know.
	ErrVersion = fault.New(fault.UnknownVersion, "a version that this release does not know")
	// ErrExtension reports a critical extension that this release does not know.
	ErrExtension = fault.New(fault.UnknownExtension, "a critical extension that this release does not know")
	// ErrOperation reports a control operation or role that this release does
	// not carry out.
	ErrOperation = fault.New(fault.UnknownOperation, "the control operation does not exist yet")
)

// ErrNotFound reports a thread, record or blob that is not held here, to whoever keeps such.
var ErrNotFound = fault.New(fault.NotFound, "not held here")

// Reported when a body or a blob is opened.
var (
	// ErrWrongKey reports a body that commits to another key than the epoch's.
	ErrWrongKey = fault.New(fault.WrongKey, "sealed with another key")
	// ErrSealed reports a body or a blob that its key does not open.
	ErrSealed = fault.New(fault.Altered, "the key does not open it")
	// ErrBomb reports a piece that expands to more than it says.
	ErrBomb = fault.New(fault.Bomb, "a piece expands to more than it says")
)
