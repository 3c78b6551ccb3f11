package keyspace

import (
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

var (
	// ErrNotFound reports that there is no such document, collection or index.
	ErrNotFound = fault.New(fault.NotFound, "not found")
	// ErrExists reports that a collection or an index of that name exists.
	ErrExists = fault.New(fault.AlreadyExists, "already exists")
	// ErrClosed reports use of a closed database, cursor or watch.
	ErrClosed = fault.New(fault.Closed, "the database, cursor or watch is closed")
	// ErrConflict reports that a document that a transaction read or wrote was
	// changed meanwhile; the caller may run the transaction again.
	ErrConflict = fault.New(fault.Conflict, "a document of the transaction was changed meanwhile: run it again")
	// ErrTooLarge reports a document, transaction or result over its limit;
	// nothing was written.
	ErrTooLarge = value.ErrTooLarge
	// ErrSchema reports a document that the schema of its collection refuses.
	ErrSchema = fault.New(fault.Schema, "the document does not fit the schema")
	// ErrRule reports an operation that the write rule of its collection denies.
	ErrRule = fault.New(fault.Rule, "denied by a rule")
	// ErrRole reports a change of a definition by who may not define.
	ErrRole = fault.New(fault.Role, "only an owner or an admin may define a collection")
)

// Sentinels of a narrower kind than the one that they are to errors.Is.
var (
	ErrNoIndex      = fault.Errorf(fault.IndexNotFound, "index %w", ErrNotFound)
	ErrIndexExists  = fault.Errorf(fault.IndexKeySpecsConflict, "index %w with other keys or options", ErrExists)
	ErrIndexOptions = fault.Errorf(fault.IndexOptionsConflict, "index %w under another name", ErrExists)
	ErrMemory       = fault.Errorf(fault.QueryMemoryExceeded, "the result is %w to be held in memory", ErrTooLarge)
)
