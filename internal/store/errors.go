package store

import "errors"

var (
	// ErrNotFound reports that no value is stored under a key.
	ErrNotFound = errors.New("store: key not found")
	// ErrTooBig reports that a write would take a transaction over its
	// [Limits]; the transaction keeps what it held before and can still commit.
	ErrTooBig = errors.New("store: transaction is full")
	// ErrConflict reports that a key that the transaction read was written by
	// another transaction; the caller retries with a new one.
	ErrConflict = errors.New("store: transaction conflict")
	// ErrKey reports a key that no store can hold: empty, longer than
	// [MaxKey], or in the engines' own space, which begins with "!badger".
	ErrKey = errors.New("store: invalid key")
	// ErrClosed reports use of a closed store, snapshot or transaction.
	ErrClosed = errors.New("store: closed")
	// ErrLocked reports that another process has the store open.
	ErrLocked = errors.New("store: in use by another process")
)
