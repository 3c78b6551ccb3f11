package db

import "errors"

var (
	// ErrNotFound reports that there is no such document, collection or index.
	ErrNotFound = errors.New("db: not found")
	// ErrExists reports that a collection or an index of that name exists.
	ErrExists = errors.New("db: already exists")
	// ErrClosed reports use of a closed database, cursor or watch.
	ErrClosed = errors.New("db: closed")
	// ErrConflict reports that a document that a transaction read or wrote was
	// changed meanwhile; the caller may run the transaction again.
	ErrConflict = errors.New("db: transaction conflict")
	// ErrTooLarge reports a document, transaction or result over its limit;
	// nothing was written.
	ErrTooLarge = errors.New("db: too large")
	// ErrSchema reports a document that the schema of its collection refuses.
	ErrSchema = errors.New("the document does not fit the schema")
	// ErrRule reports an operation that the write rule of its collection denies.
	ErrRule = errors.New("a rule denies it")
)
