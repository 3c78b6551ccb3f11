package db

import (
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/fault"
)

// An Error has a kind, which programs match, and a sentence for people. Filters,
// updates, documents and definitions that are refused give one.
type Error = fault.Error

// A DuplicateKeyError is a write, or a new index, that would give two documents
// one key of a unique index: Collection, Index, Pattern (the keys of the index, as
// {email: 1}), Value (the key, as {email: "a@example.org"}), and the ID of the
// document that was refused.
type DuplicateKeyError = keyspace.DuplicateKeyError

// What the methods of a database report, besides errors of a kind of their own.
var (
	// ErrNotFound reports that there is no such document, collection or index.
	ErrNotFound = keyspace.ErrNotFound
	// ErrExists reports that a collection or an index of that name exists.
	ErrExists = keyspace.ErrExists
	// ErrClosed reports use of a closed database, cursor or watch.
	ErrClosed = keyspace.ErrClosed
	// ErrConflict reports that a document that a transaction read or wrote was
	// changed meanwhile; the caller may run the transaction again.
	ErrConflict = keyspace.ErrConflict
	// ErrTooLarge reports a document, transaction or result over its limit;
	// nothing was written.
	ErrTooLarge = keyspace.ErrTooLarge
	// ErrSchema reports a document that the schema of its collection refuses.
	ErrSchema = keyspace.ErrSchema
	// ErrRule reports an operation that the write rule of its collection denies.
	ErrRule = keyspace.ErrRule
	// ErrRole reports a change of a definition by who may not define: no owner, no
	// admin, and nobody whom the define rule lets.
	ErrRole = keyspace.ErrRole
	// ErrTooCostly reports an operation that takes more work than its record may
	// cause.
	ErrTooCostly = judge.ErrWork
)

// IsDuplicateKeyError reports whether a write was refused because another document has the
// _id, or a key of a unique index; of the latter the error is a [*DuplicateKeyError], too.
func IsDuplicateKeyError(err error) bool { return keyspace.IsDuplicate(err) }
