// Package journal is how the transactions of all writers reach a database: the
// journal, which a thread is, and its records, decoded.
package journal

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

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
	// Right returns the role by which a record counts that changes a definition:
	// "owner", "admin", or anything else for somebody who only writes; and its author's
	// seniority: of two the one whose rank is less, byte by byte, is the senior. The
	// zero ID is the next own record. The answer is a function of the control records
	// that the journal has.
	Right(id clock.RecordID) (role string, rank []byte, err error)
	// View returns the heads of the logs that are held, in the order of
	// payload.CompareHeads, at most max: what a definition has seen that is written
	// now.
	View(max int) []clock.RecordID
	// Held returns when a record that is held was written.
	Held(id clock.RecordID) (at clock.Time, held bool, err error)
	// Precedes reports whether a record is head, or comes before it in its log. Of a
	// log that is not forked their positions say it.
	Precedes(id, head clock.RecordID) (bool, error)
	// Unseen returns a time that no record is earlier than which is held and which
	// none of heads is, or follows; ok is false if there is no such record.
	Unseen(heads []clock.RecordID) (at clock.Time, ok bool, err error)
	// Authority returns a hash of what the answers of Right follow from: while it is
	// the same, they are. Whoever changes it calls SetCut afterwards.
	Authority() clock.Hash
	// Flushed says that everything up to arrival n is folded and durable: own
	// records may be sent, other writers' acknowledged.
	Flushed(n int64)
	// Arrivals returns the records that arrived after n, in order, of at least
	// one and at most about maxBytes, where a record counts as its payload and
	// 1 KiB, the work that it is besides; none if there are none. What a cut left out may be
	// missing.
	Arrivals(n int64, maxBytes int) ([]Arrival, error)
	// Read returns the records that arrived as the numbers ns, in that order, of at
	// least one and at most about maxBytes of payload. What a cut left out may be
	// missing.
	Read(ns []int64, maxBytes int) ([]Arrival, error)
	// IDs calls f for the records that arrived after n, in order, until it
	// returns false. What a cut left out may be missing.
	IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error
}
