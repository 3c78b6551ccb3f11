// Package thread holds threads in a store: how records are made, taken in, judged,
// kept, cut off and given out. It talks to no peer: package net moves what is given
// out here to where it is taken in.
//
//	founding, load, join      a thread begins: made, opened, joined by an invite, adopted
//	device, recover           and on a device that another has added, or by a recovery key
//	secrets, env              its keys, sealed to the device; what the threads of a host share
//	log, stored               logs and branches in memory; records that are held, opened
//	datalog, controllog       own writes: Append; control records of this device
//	verified, ingest, judge   others' writes: no state, then their place, then what becomes of them
//	waiting                   what cannot be judged yet
//	controlgraph, controlstate, member, grant    who may do what, and how that comes about
//	arrival, flush, attachment, tips             what a database folds, and what peers may hear of it
//	checkpoint, snapshotlog, cut                 history that is cut off
//	release, prune                               when it may be deleted, and how
//	check, reopen, refill     whether all is whole; begun again, with what is left of it
//	blobs                     sealed blocks, which package blobs keeps; what records name
//
// What each refuses is in rejection (before it is kept) and refusal (kept, without
// effect). How all of it lies in the store is package logstore, which has the keys and the
// rows and begins no transaction; locks, memory and commits are here. The package knows no
// socket and no engine, and builds for a browser.
package thread

import (
	"slices"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/blobs"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// Locks of a thread are taken in this order:
//
//	pruning → write → mu → the store's
//	notifyMu → mu
//
// No lock of blobs is taken with mu held; mu is taken while blobs hold the lock of their
// files. An Attachment is called with at most notifyMu held, so that Arrived and Voided may
// wait for an Append; State is called with none.

// A Thread is the part of a thread that this device holds. It is safe for
// concurrent use, but for [Thread.Append], which has one caller at a time.
type Thread struct {
	env     *Env
	id      format.ThreadID
	rows    logstore.Table // once there is a number
	signed  []byte         // genesis
	genesis *format.Genesis
	relay   bool
	blobs   *blobs.Store // once there is a number

	pruning sync.Mutex // one Prune at a time; before write

	write sync.Mutex // one writer at a time: held from Append to done, and by ingest

	notifyMu sync.Mutex // one notification at a time; guards lastCut and cutOf
	lastCut  Cut
	cutOf    cutVersion // of what lastCut was made

	mu         sync.Mutex // guards what follows; may be taken while write is held
	keys       format.Keys
	invite     *format.Invite // while joining
	entering   bool           // it recovers the thread and has not yet: what it reads with is not kept
	recovering *keys.Identity // the recovery key, while a recover is written
	logs       map[clock.LogID]*held.Log
	byNum      []*held.Log
	byID       []*held.Log // the same, sorted by ID
	ofData     []*held.Log // of them those that are no control logs
	ownControl *held.Log   // nil until there is one
	ownData    *held.Log   // nil: the next Append opens a new one
	graph      *control.Graph
	cuts       cuts
	noted      map[clock.Hash]logstore.Cut // of checkpoints in force
	ownChecked struct {
		log clock.LogID // that ownCovered found to go on
		n   int         // after so many checkpoints
	}
	arrivals   int64 // number of the last arrival
	flushedTo  int64 // -1 until the first Flushed or Attach
	pending    []arrivalRef
	cache      logstore.ArrivalCache
	parked     verify.Parked
	wanted     map[clock.Hash]bool                    // control records that members name and that are not held
	idled      bool                                   // a record of a device that waits was refused
	limits     map[clock.LogID]*limit                 // of data logs, as they were found last
	paths      map[clock.RecordID]map[clock.Hash]bool // of forked logs, by head: see Precedes
	limited    int                                    // records that came to logs that something limits
	expanded   map[clock.Hash]bool                    // epochs of which it is known what they give
	given      map[clock.Hash]bool                    // epochs that others give
	wantedMore bool                                   // since what is parked was looked at
	refused    []Refusal
	attached   *Attachment
	grew       bell.Bell // rung when tips, what is sendable or what is ackable change
	revived    bell.Bell // rung when what was refused of devices that waited is not any more
	dirty      bool      // something is committed that is not synced
	syncing    bool      // the goroutine that syncs runs
	wakeAt     clock.Time
	waker      *time.Timer
	closed     bool
	ended      chan struct{} // closed with the thread

	wg sync.WaitGroup // the goroutines that sync and wake
}

// Counts says how much a thread holds.
type Counts struct {
	Records   int64 // of control and data logs
	Bytes     int64 // of these records, as sent
	Blobs     int64
	BlobBytes int64 // sealed
	Logs      int64
	Arrivals  int64
}

// A Waiting is records that are held, or on hand, but cannot be judged yet.
type Waiting struct {
	First  clock.RecordID // the one that the others wait behind
	Count  int
	Reason string
}

// Revived returns a channel that is closed when devices that waited are let in: what
// peers sent of theirs before was refused, and is asked for again.
func (t *Thread) Revived() <-chan struct{} { return t.revived.Wait() }

// tellRevived rings revived if something was let in; mu is held.
func (t *Thread) tellRevived() {
	if t.graph.Revived() {
		t.revived.Ring()
	}
}

// ID returns the thread's ID.
func (t *Thread) ID() format.ThreadID { return t.id }

// Name returns the name that the thread was opened with; "" until that is known.
func (t *Thread) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph.State().Name
}

// Relay reports whether this node holds the thread as a relay, without the read
// key.
func (t *Thread) Relay() bool { return t.relay }

// Genesis returns the signed genesis, which the thread ID is the hash of.
func (t *Thread) Genesis() []byte { return slices.Clone(t.signed) }

// Owner returns the identity that made the thread.
func (t *Thread) Owner() keys.PublicKey { return t.genesis.Owner }

// ServiceKey returns the bytes of the present service key, with which control logs
// are sealed.
func (t *Thread) ServiceKey() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys.Service
	return k[:]
}

// ControlRecords returns how many control records are in the fold: it changes
// whenever the members may have.
func (t *Thread) ControlRecords() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph.Len()
}

// readKeys returns the thread's keys; ErrNoKeys says that they do not read.
func (t *Thread) readKeys() (format.Keys, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.keys.CanRead() {
		return format.Keys{}, ErrNoKeys
	}
	return t.present(), nil
}

// notClosed returns ErrClosed once Close was called.
func (t *Thread) notClosed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	return nil
}

// Heads returns the last position of every data log, for `info`; of a forked log
// the highest.
func (t *Thread) Heads() map[clock.LogID]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	heads := make(map[clock.LogID]uint64)
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if l.Desc.Kind == format.KindData {
				heads[l.ID] = max(heads[l.ID], b.Tip.Seq)
			}
		}
	}
	return heads
}

// Counts returns how much is held.
func (t *Thread) Counts() Counts {
	c := Counts{}
	c.Blobs, c.BlobBytes = t.blobs.Counts()
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Logs, c.Arrivals = int64(len(t.byNum)), t.arrivals
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			c.Records += b.Records
			c.Bytes += b.Bytes
		}
	}
	return c
}
