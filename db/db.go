// Package db is the document database: collections of BSON documents whose
// state is the fold of operations in stamp order. It merges records and knows
// no sockets.
//
//	DB ── Collection ── Document        what callers see
//	 └─── Transaction ── Operation      what replicas exchange, by a Journal
//
// A document's state is what its operations give when applied in stamp order;
// nothing else defines it. An operation that is refused at its place is a no-op
// with a recorded reason. The rules, the formats and the keys in the store:
// docs/design/db.md.
package db

import (
	"log/slog"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// Options says where a database lives and what it works with.
type Options struct {
	// Store holds the database; required. The database does not close it.
	Store store.Store
	// Prefix begins every key of the database in Store; keep it short, it is
	// part of every key. No other user of Store may use keys that begin with it.
	Prefix []byte
	// Name is what replies to commands call the database; "" leaves it out.
	Name string
	// Journal keeps the transactions; required. It must use the same Store.
	Journal Journal
	// Clock gives the times of local transactions; nil means a new one. It
	// should be the clock that the rest of the node uses.
	Clock *clock.Clock
	// Identity is whose eyes the database is read with: read rules judge by it.
	// "" means the journal's writer. WithReader has it otherwise for one call.
	Identity string
	// Log receives what an operator may want to know; nil discards it.
	Log *slog.Logger
	// Loaded is called when a use has loaded the database again after Suspend;
	// it must not call the database.
	Loaded func()
}

// Info describes a database at one moment.
type Info struct {
	Arrival     int64      // the arrival up to which it is folded
	Hash        clock.Hash // the state hash
	Documents   int64      // documents of all collections but system collections
	Collections int        // collections that have a definition
	Refused     int64      // refused operations
	Conflicts   int64      // keys of unique indexes that several documents have; see DB.Conflicts
	Building    int        // indexes that do not cover all documents yet
	Refolds     int64      // documents re-folded since Open
}

// A Draft is a transaction, encoded, to be appended to this device's log.
type Draft struct {
	Time    clock.Time
	Atomic  bool
	Payload []byte
}

// An Entry is a transaction as the journal gives it back.
type Entry struct {
	ID      clock.RecordID
	Time    clock.Time
	Atomic  bool
	Payload []byte // must not be changed

	Snapshot bool // of a snapshot log: not a transaction, but documents of a [Checkpoint]

	// Writer is the identity of the log, a did:key; Role is what it is in the
	// database: "owner" or "writer". Both are functions of the log, the same on
	// every replica, because rules judge by them.
	Writer, Role string
}

// An Arrival is an entry in the order in which this node stored them, from 1.
type Arrival struct {
	N int64
	Entry
}

// A Journal keeps the transactions of one database: this device's own and those
// of other writers. net.Thread is one, by way of node; package dbtest holds an
// in-memory one that exchanges entries between databases directly.
type Journal interface {
	// Append seals drafts as the next records of this device's log and puts
	// them into tx, which the caller then commits; there is one caller at a
	// time. done must be called once, with the outcome of the commit, before
	// the next Append. first is the arrival number of the first record; the
	// others follow.
	Append(tx store.Tx, drafts []Draft) (ids []clock.RecordID, first int64, done func(committed bool), err error)
	// Writer returns what the Writer and Role of own records are.
	Writer() (identity, role string)
	// Flushed says that everything up to arrival n is folded and durable: own
	// records may be sent, other writers' acknowledged.
	Flushed(n int64)
	// Arrivals returns the records that arrived after n, in order, of at least
	// one and at most about maxBytes of payload; none if there are none. What a
	// cut left out may be missing.
	Arrivals(n int64, maxBytes int) ([]Arrival, error)
	// IDs calls f for the records that arrived after n, in order, until it
	// returns false. What a cut left out may be missing.
	IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error
}
