package replica

import (
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Journal keeps the transactions of one database: this device's own and those
// of other writers. net.Thread is one, by way of node; package dbtest holds an
// in-memory one that exchanges entries between databases directly.
type Journal = journal.Journal

// What a journal takes and gives.
type (
	// A Draft is a transaction, encoded, to be appended to this device's log:
	// Time, Atomic, Payload.
	Draft = journal.Draft
	// An Entry is a transaction as the journal gives it back: ID, Time, Atomic,
	// Payload, Snapshot, Writer, Role.
	Entry = journal.Entry
	// An Arrival is an Entry with its number N in the order in which this node
	// stored them, from 1.
	Arrival = journal.Arrival
)

// What a replica shares with the rest of the node.
type (
	// A Store keeps databases; [Options] has one.
	Store = store.Store
	// A Reader reads from a [Store], as of one moment.
	Reader = store.Reader
	// A Time is a time of a [Clock].
	Time = clock.Time
	// A Clock gives the times of transactions; [Options] has one.
	Clock = clock.Clock
)

// What of the records counts.
type (
	// A Cut says which records count as never written (Void) and which snapshots
	// stand in their place (Snapshots).
	Cut = fold.Cut
	// A CutSnapshot is a snapshot in force: Last, State, Whole.
	CutSnapshot = fold.CutSnapshot
	// A Checkpoint is the documents of a database at one moment, in the form that
	// stands for the records that gave them.
	Checkpoint = fold.Checkpoint
	// A Folded says up to which Arrival a database is folded, the Hash of that
	// state, and the Authority of the journal of then.
	Folded = fold.Folded
)

// ErrSnapshot reports a snapshot whose documents are not those that the records
// gave, or not those of its state hash.
var ErrSnapshot = fold.ErrSnapshot

// PeekState reads, without opening it, how far the database under prefix is
// folded. ok is false if only Open can tell, because a fold was interrupted.
func PeekState(r Reader, prefix []byte) (f Folded, ok bool, err error) {
	return keyspace.Peek(r, prefix)
}
