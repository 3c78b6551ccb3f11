package format

import (
	"errors"
)

// Reported by decoders.
var (
	// ErrMalformed reports bytes that are not in the form of their type.
	ErrMalformed = errors.New("net: malformed")
	// ErrTooLarge reports bytes above the maximum of their type.
	ErrTooLarge = errors.New("net: too large")
	// ErrVersion reports a version or suite that this release does not know.
	ErrVersion = errors.New("net: unknown version")
	// ErrExtension reports a critical extension that this release does not know.
	ErrExtension = errors.New("net: unknown critical extension")
	// ErrOperation reports a control operation or role that this release does
	// not carry out.
	ErrOperation = errors.New("net: control operation does not exist yet")
)

// Reported when a body or a blob is opened.
var (
	// ErrWrongKey reports a body that commits to another key than the epoch's.
	ErrWrongKey = errors.New("net: sealed with another key")
	// ErrSealed reports a body or a blob that its key does not open.
	ErrSealed = errors.New("net: altered: does not open")
	// ErrBomb reports a piece that expands to more than it says.
	ErrBomb = errors.New("net: piece expands to more than it says")
)
