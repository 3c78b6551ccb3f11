// Package store is the ordered key-value store under a node: atomic
// transactions, snapshots that iterate from any key in both directions, and an
// explicit sync.
//
//	Store ── Snapshot            a consistent view
//	  └───── Tx                  a view with writes, applied all or none
//	Reader ── Iterator           what both can read
//	Engine                     what keeps it; New makes a Store of one
//	Damage                     a place on disk that is not what was written
//
// Several engines pass one suite (package storetest). They are packages of their
// own, so that this one builds where they do not; package engines opens by name.
// [Store.Datastore] shows a part of the key space as a go-datastore, for libp2p
// and boxo.
//
// A commit is atomic at once and durable after the next [Store.Sync] that
// begins after it; concurrent callers of Sync share one disk sync. After a
// commit or a sync has failed, what is on disk is not known: every later one
// returns the same error until the store is opened again. A full disk is met
// before that: commits are refused as [ErrDiskFull] until there is room. What was
// written and is not there, or has changed, is [ErrCorrupt] to whoever reads it,
// never missing. A Store is
// safe for concurrent use; a Snapshot may be read by several goroutines; a Tx
// and an Iterator belong to one goroutine.
package store

import (
	"context"

	"github.com/ipfs/go-datastore"
)

// MaxKey is the length in bytes of the longest key.
const MaxKey = 32 << 10

// Limits bounds one transaction. They are an engine's; formats that replicas
// exchange never depend on them. Whatever sums to no more than Limits fits; an
// engine may charge less for large values (badger charges a quarter of a value
// of 4 KiB or more), never more.
type Limits struct {
	Bytes int // keys and values, together
	Puts  int // writes
}

// A Store is an ordered map from byte keys to byte values.
type Store interface {
	// Snapshot returns a consistent view of all that was committed before the
	// call. The caller owes Release. On a closed store the view is ended:
	// its reads return ErrClosed. The same holds for Begin.
	Snapshot() Snapshot
	// Begin starts a transaction that sees what was committed before the call
	// and its own writes. The caller owes Commit or Discard.
	Begin() Tx
	// Sync returns when everything committed before the call is durable.
	Sync() error
	// Limits returns the bounds of one transaction, the same for the life of
	// the store.
	Limits() Limits
	// Full returns ErrDiskFull while writes are refused because the disk is full,
	// else nil. They are taken again when there is room.
	Full() error
	// Verify reads and checks every byte on disk, at most bytesPerSecond (0: as fast
	// as it can), and gives each damage to report.
	Verify(ctx context.Context, bytesPerSecond int64, report func(Damage)) error
	// Size returns the bytes that the store takes on disk.
	Size() (int64, error)
	// Compact gives disk space of deleted and overwritten values back. Values
	// that open views still see stay. Commits wait during part of it.
	Compact(ctx context.Context) error
	// Datastore returns the keys under prefix as a go-datastore, with batches
	// that are atomic within Limits and a Sync that is this store's. Closing it
	// does not close the store.
	Datastore(prefix []byte) datastore.Batching
	// Close syncs and closes the store, and ends the views that are still
	// open: what they are asked afterwards answers ErrClosed. It may be called
	// twice, also while views are in use.
	Close() error
}

// A Reader reads a consistent view. Keys and values that it returns are valid
// until the view ends (Release, Commit, Discard) and must not be changed.
type Reader interface {
	// Get returns the value under key, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// Iterate returns an iterator, at the first key of r in its direction. The
	// caller owes Close. Several may be open at once. Writes that a Tx makes
	// while its iterator is open are seen at the next Seek, maybe before.
	Iterate(r Range) Iterator
}

// A Range is the keys k with Lower <= k < Upper. A nil bound is open.
type Range struct {
	Lower, Upper []byte
	Reverse      bool // from the largest key down
	KeysOnly     bool // values are not read ahead; Value still works
}

// Prefix returns the range of the keys that begin with p.
func Prefix(p []byte) Range { return Range{Lower: p, Upper: PrefixEnd(p)} }

// PrefixEnd returns the smallest key greater than every key that begins with
// p, or nil if there is none.
func PrefixEnd(p []byte) []byte {
	end := append([]byte(nil), p...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// An Iterator walks the keys of a range.
//
//	it := r.Iterate(store.Prefix(p))
//	defer it.Close()
//	for ; it.Valid(); it.Next() { … it.Key() … it.Value() … }
//	if err := it.Err(); err != nil { … }
type Iterator interface {
	// Valid reports whether the iterator is at a key.
	Valid() bool
	// Next moves to the next key in the iterator's direction.
	Next()
	// Seek moves to the first key at or after key in the iterator's direction
	// (for a reverse iterator: the largest key <= key), within the range.
	Seek(key []byte)
	// Key returns the current key, valid until the next move.
	Key() []byte
	// Value returns the current value, valid until the next move.
	Value() ([]byte, error)
	// Err returns the error that ended the walk, or nil.
	Err() error
	// Close frees the iterator; it may be called twice.
	Close()
}

// A Snapshot is a Reader of one moment.
type Snapshot interface {
	Reader
	// Release ends the view; it may be called twice.
	Release()
}

// A Tx is a Reader whose writes are applied together at Commit.
type Tx interface {
	Reader
	// Put stores value under key; it keeps both slices until the transaction
	// ends. It returns ErrTooBig, and writes nothing, when over the limits.
	Put(key, value []byte) error
	// Delete removes key, if it is there. It returns ErrTooBig like Put.
	Delete(key []byte) error
	// Used returns how much of the store's Limits the transaction has used.
	Used() Limits
	// UseReserve lets the transaction commit on a full disk, from the reserve: it
	// gives space back, or ends something. One that only deletes may do so anyway.
	UseReserve()
	// Commit applies every write atomically, without a disk sync, and ends the
	// transaction, also when it fails. On a full disk it returns ErrDiskFull and has
	// written nothing.
	Commit() error
	// Discard ends the transaction without writing. After Commit it does
	// nothing.
	Discard()
}
