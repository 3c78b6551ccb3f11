// Package db is the document database: collections of BSON documents whose
// state is the fold of operations in stamp order. It merges records and knows
// no sockets.
//
//	DB ── Collection ── Document        what callers see
//	 ├─── CollectionOf[T]               documents as structs or maps, and loops over them
//	 └─── Tx, Cursor, Watch, Live       several writes, many documents, changes, results kept up to date
//
// A document's state is what its operations give when applied in stamp order;
// nothing else defines it. An operation that is refused at its place is a no-op
// with a recorded reason: [DB.Refused].
//
// A node opens databases ([github.com/weftdb/weft/node.Node.CreateDatabase]) and
// feeds them what other devices write; package replica is its side of this one.
// MongoDB command documents are run by package command. What is below:
//
//	db ─► feed, past                   changes as they come, and as they were
//	 ├──► search ─► plan               where a query looks, and what it finds
//	 └──► fold ─► change, view         the committer: judges, writes, folds again; what readers see
//	              └─► journal ─► judge ─► keyspace      records; verdicts; keys and heads in the store
//
// The words, rules, formats and keys: docs/design/db.md.
package db

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/feed"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
)

// A DB is an open database. It is safe for concurrent use. Methods that change
// something return when the change is durable.
type DB struct {
	name    string
	fold    *fold.Fold
	feed    *feed.Feed
	lives   lives
	life    context.Context //nolint:containedctx // of what the database does by itself; Close ends it
	endLife func()
	wg      sync.WaitGroup // of sweeps

	mu      sync.Mutex // guards the fields below; fold.mu may be held before it, never after
	closed  bool
	watches map[*feed.Subscription]struct{}
	sweeper *time.Timer // of the next sweep; nil for none
}

// A Collection reads and writes one collection. It is safe for concurrent use.
type Collection struct {
	db   *DB
	name string
}

// Collection returns the named collection, which need not exist: its first
// insert creates it, without a schema.
func (db *DB) Collection(name string) *Collection { return &Collection{db: db, name: name} }

// Name returns the collection's name.
func (c *Collection) Name() string { return c.name }

// A Document is a document with its metadata.
type Document struct {
	Raw bson.Raw
	Mod Time // of the last operation that changed it; filters see it as _mod
}

// TxOptions tunes a transaction.
type TxOptions struct {
	// Atomic makes every replica refuse all of the transaction if it refuses
	// any operation of it; at most 256 documents.
	Atomic bool
}

// A Tx reads one moment and its own writes. It belongs to one goroutine. One
// that [DB.Begin] gave ends by Commit or Abort, one of [DB.Transaction] with the function.
type Tx struct {
	ctx   context.Context //nolint:containedctx // the transaction lives in one call
	db    *DB
	v     *view.View
	o     TxOptions
	now   Time
	judge judge.Judge
	held  keyspace.HeldKeys // of unique indexes, by what is written
	ops   []payload.Op
	size  int
	docs  map[docKey]*txDoc
	preds []fold.Predicate
	ended bool
}

// Info describes a database at one moment.
type Info struct {
	Arrival     int64 // the arrival up to which it is folded
	Hash        Hash  // the state hash
	Documents   int64 // documents of all collections but system collections
	Collections int   // collections that have a definition
	Refused     int64 // refused operations
	Conflicts   int64 // keys of unique indexes that several documents have; see DB.Conflicts
	Building    int   // indexes that do not cover all documents yet
	Refolds     int64 // documents re-folded since Open
}

// What names operations and states, as package clock of this module has it.
type (
	// A Time is a hybrid logical clock's: 48 bits of milliseconds since 1970, then
	// 16 bits of count. Wall gives the date.
	Time = clock.Time
	// A Hash is the SHA-256 or BLAKE3 hash of a record or a state; its text is
	// hexadecimal.
	Hash = clock.Hash
	// A LogID names the log of one device in one database.
	LogID = clock.LogID
	// A Stamp is the place of an operation in the order of all: Time, Log, Hash of
	// the record, Index in it. [StampText] and [ParseStamp] give it a text form.
	Stamp = clock.Stamp
)
