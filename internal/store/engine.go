package store

import "context"

// An Engine keeps the map; [New] makes a Store of it. The packages below this one
// are engines: whoever imports the interface links none of them.
type Engine interface {
	// Limits returns the bounds of one transaction, always the same.
	Limits() Limits
	// Charge returns what a write of value under key costs of Limits.Bytes.
	Charge(key, value []byte) int
	// Snapshot returns a view of all that was applied.
	Snapshot() (EngineView, error)
	// Apply writes all of w or nothing. Calls never overlap. After ErrDiskFull nothing
	// was written, and it may be tried again; any other error is final.
	Apply(w *Writes) error
	// Sync returns when everything applied before the call is durable. After
	// ErrDiskFull it is not yet, and still can be; any other error is final.
	Sync() error
	// Full returns ErrDiskFull while Apply would for a want of room of the engine's own, as
	// of one file for all that is in memory; how full the disk is, a Space tells.
	Full() error
	// Position rises with every Apply. After opening it is at least that of all that
	// was durable, unless some of that is gone.
	Position() uint64
	// Verify reads every byte on disk that the engine may read later, and gives each
	// damage to report. It tells pace how many bytes it has just read; an error of
	// pace ends it.
	Verify(pace func(n int) error, report func(Damage)) error
	// Size returns the bytes on disk.
	Size() (int64, error)
	// Compact gives space back; it may call exclusive around steps that no Apply
	// may overlap.
	Compact(ctx context.Context, exclusive func(func() error) error) error
	// Close ends the engine. No view is open, and no call comes after it.
	Close() error
}

// An EngineView is a consistent view; its values are the caller's to keep.
type EngineView interface {
	// Get returns a value, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// Iterate returns an iterator that is not at a key yet.
	Iterate(r Range) (EngineIterator, error)
	// Release ends the view, after its iterators.
	Release()
}

// An EngineIterator walks the keys of a range.
type EngineIterator interface {
	// Seek moves to the first key at or after key in the iterator's direction; nil
	// is the first key. It is never asked for a key before the range.
	Seek(key []byte)
	// Next moves to the next key in the iterator's direction.
	Next()
	// Valid reports whether the iterator is at a key.
	Valid() bool
	// Key returns the current key, valid until the next move.
	Key() []byte
	// Value appends the current value to buf[:0].
	Value(buf []byte) ([]byte, error)
	// Err returns the error that ended the walk, or nil.
	Err() error
	// Close frees the iterator.
	Close()
}
