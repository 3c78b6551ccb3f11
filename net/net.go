// Package net replicates threads: sets of signed, sealed, single-writer logs.
// It moves authenticated bytes and knows no documents.
//
// # Words
//
// A thread is the unit that is replicated; it is named by the hash of its signed
// genesis. Each device writes two logs in it: a control log (who may do what) and
// a data log (what was done). A record is one transaction of a log; a run is
// consecutive records under one signature. An arrival is the position of a data
// record in the order in which this node stored them. A tip is the last record of
// a log, or of one branch of a log that its device forked.
//
// # Packages
//
//	net               Host ─┬─ peer             connections, faults, what a relay granted
//	                        └─ share ── link ─┬─ pull   what this host receives
//	                           (a thread)     └─ feed   what it sends
//	  ├─ internal/wire        messages, frames, tags: what is said
//	  ├─ internal/tipset      how far two sides have a thread
//	  ├─ internal/mux         many streams over one
//	  ├─ internal/strangers   what unknown peers may have
//	  ├─ internal/memory      what is remembered across restarts
//	  │
//	internal/thread   Thread ─┬─ log ── branch ── record    what is held, in a store
//	                          ├─ arrivals, marks              what a database folds
//	                          └─ control graph, blobs
//	  │
//	internal/control  Graph ── State: who may do what
//	internal/blobs    Store: sealed blocks, in the store and in files
//	  │
//	internal/format   header, body, genesis, control payload, invite: bytes ⇄ values
//
// Each imports only what is below it. The last four, wire and tipset know no socket and no
// engine, and build for a browser.
//
// # The life of a received record
//
//	feed of the sender      a run of at most about 1 MiB is read from its store and framed
//	pull, take              the frame is decoded, two ahead of what is being stored
//	thread.Ingest: verify   no state: form, chain, signature, body root; bodies opened, on two cores
//	               hold     the branch that it goes on; a gap is asked for again, a fork is a new branch
//	               judge    control: into the graph, folded. data: a number among the arrivals,
//	                        or a refusal that is kept, or it waits for what it names
//	               commit   one transaction for the run; nobody is told before
//	Attachment.Arrived      the database reads [Thread.Arrivals], folds, syncs
//	[Thread.Flushed]        the marks move: the record may be acknowledged, and sent on
//	acknowledge             the sender hears which tips are durable here: [Thread.Status]
//
// Every transfer of records is a pull that follows: the receiver subscribes with
// the tips that it has, and the sender streams runs from there on, live ones
// included.
//
// Formats to the byte: docs/design.md. Threads: docs/design/net.md, the exchange:
// docs/design/sync.md.
package net

import (
	"errors"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/memory"
	"github.com/weftdb/weft/net/internal/thread"
)

// Names and values of the format.
type (
	// A ThreadID names a thread: the hash of its signed genesis. It can be checked
	// against the genesis and is never a permission.
	ThreadID = format.ThreadID
	// A BlobID names a blob: the SHA-256 hash of its sealed bytes.
	BlobID = format.BlobID
	// A Role says what a member may do in a thread.
	Role = format.Role
	// An Invite lets whoever holds it join a thread. Its URL is a bearer secret.
	Invite = format.Invite
	// A Recovery makes whoever holds it the owner of a thread, once. Its text is a bearer
	// secret.
	Recovery = format.Recovery
)

// Roles, the one that may do most first. Nobody is given that of a relay yet.
const (
	RoleOwner  = format.RoleOwner
	RoleAdmin  = format.RoleAdmin
	RoleWriter = format.RoleWriter
	RoleReader = format.RoleReader
	RoleRelay  = format.RoleRelay
)

// Maxima of the format (docs/design.md), in bytes.
const (
	MaxPayload = format.MaxPayload // of a record
	MaxBlob    = format.MaxBlob    // of a blob's plaintext
)

// What is written to and read from a thread.
type (
	// A Draft is a transaction to append to this device's data log.
	Draft = thread.Draft
	// An Entry is a data record, opened.
	Entry = thread.Entry
	// An Arrival is a data record in the order in which this node stored the
	// records of a thread, from 1. Own records arrive too.
	Arrival = thread.Arrival
	// An Attachment is what folds a thread's data.
	Attachment = thread.Attachment
	// A Cut says which data records count as never written, and which snapshots
	// stand in their place.
	Cut = thread.Cut
	// A Snapshot is what stands for the records that a checkpoint covers.
	Snapshot = thread.Snapshot
	// A Lack is a blob that was held and is not: what was on disk was not what was
	// written.
	Lack = thread.Lack
	// A Coverage is the records that a checkpoint is to cover.
	Coverage = thread.Coverage
)

// What is known of a thread.
type (
	// A Member is a device that may take part in a thread.
	Member = thread.Member
	// An InviteInfo is what members know of an invite: not its secret.
	InviteInfo = thread.InviteInfo
	// A Commitment is the recovery key that a thread commits to, and who used one.
	Commitment = thread.Recovery
	// A Recovered is one use of a recovery key.
	Recovered = thread.Recovered
	// A WaitingJoin is a join by an invite that was closed, which no close or admit lists.
	WaitingJoin = thread.WaitingJoin
	// InviteOptions say what an invite lets people do. The zero value lets one
	// device in as a writer, for a day.
	InviteOptions = thread.InviteOptions
	// Counts says how much a thread holds.
	Counts = thread.Counts
	// An Essence is what a thread can be opened with when nothing else is left of it.
	Essence = thread.Essence
	// A Refilled says what of a damaged copy of a thread still held.
	Refilled = thread.Refilled
	// A Checked says what [Thread.Check] has read.
	Checked = thread.Checked
	// A Waiting is records that are held, or on hand, but cannot be judged yet.
	Waiting = thread.Waiting
	// A Fork is two records that a device wrote at one position of its log.
	Fork = thread.Fork
	// A SignedHead is a device's signature of a record and of all before it.
	SignedHead = thread.SignedHead
	// A Refusal is a record that is kept and has no effect, and why.
	Refusal = thread.Refusal
	// A Rejection says which record of a run was not taken, and why. Records before
	// it in the same run are kept.
	Rejection = thread.Rejection
	// A Kind is the stable word for why something was refused.
	Kind = fault.Kind
)

// Public names for what is shared with other packages.
type (
	// A Store keeps the threads of a host; [Options] has one.
	Store = store.Store
	// A Reader reads from a [Store], as of one moment.
	Reader = store.Reader
	// A Tx is a transaction of a [Store].
	Tx = store.Tx
	// A Time is a hybrid logical clock reading.
	Time = clock.Time
	// A Clock gives the times of records; [Options] has one.
	Clock = clock.Clock
	// A LogID names a log: the hash of its descriptor.
	LogID = clock.LogID
	// A RecordID names one record: its log, its position and its hash.
	RecordID = clock.RecordID
	// A Hash is the SHA-256 hash of a record or another signed object.
	Hash = clock.Hash
)

// ParseThreadID is the inverse of [ThreadID.String].
func ParseThreadID(s string) (ThreadID, error) { return format.ParseThreadID(s) }

// ParseInvite parses what [Invite.URL] returns, and nothing else. Errors repeat
// none of the text.
func ParseInvite(url string) (Invite, error) { return format.ParseInvite(url) }

// ParseRecovery parses what [Recovery.Text] returns, and nothing else. Errors repeat none
// of the text.
func ParseRecovery(text string) (Recovery, error) { return format.ParseRecovery(text) }

// ParseRole returns the role with a name. A role that cannot be given yet is
// [ErrOperation].
func ParseRole(name string) (Role, error) { return format.ParseRole(name) }

// EssenceIn reads from the store what a thread can be opened with, without opening
// it.
func EssenceIn(r Reader, id ThreadID) (Essence, error) { return thread.EssenceIn(r, id) }

// Restored says that a store is a copy of what it was at another time: each
// thread's next record begins a new data log, as the device may have written more
// in its present one, and every peer is asked for all its blobs again. No host may have
// the store open. Calling it again changes nothing.
func Restored(st Store) error {
	return errors.Join(thread.Restored(st), memory.Of(st).ForgetAllCursors())
}
