package store

import "github.com/weftdb/weft/internal/fault"

var (
	// ErrNotFound reports that no value is stored under a key.
	ErrNotFound = fault.New(fault.NotFound, "the key is not stored")
	// ErrTooBig reports that a write would take a transaction over its
	// [Limits]; the transaction keeps what it held before and can still commit.
	ErrTooBig = fault.New(fault.TooLarge, "the transaction is full")
	// ErrConflict reports that a key that the transaction read was written by
	// another transaction; the caller retries with a new one.
	ErrConflict = fault.New(fault.Conflict, "another transaction wrote what this one read: try again")
	// ErrKey reports a key that no store can hold: empty, longer than
	// [MaxKey], or in the engines' own space, which begins with "!badger".
	ErrKey = fault.New(fault.InvalidArgument, "no store can hold the key")
	// ErrClosed reports use of a closed store, snapshot or transaction.
	ErrClosed = fault.New(fault.Closed, "the store is closed")
	// ErrCorrupt reports bytes on disk that are not what was written, or are gone. Its
	// sentence names the file.
	ErrCorrupt = fault.New(fault.Corrupt, "what is on disk is not what was written")
	// ErrDiskFull reports a disk without room for what is to be written; nothing was.
	ErrDiskFull = fault.New(fault.DiskFull, "the disk is full: free some space")
	// ErrLocked reports that another process has the store open.
	ErrLocked = fault.New(fault.HomeInUse, "another process has the store open")
)

// DiskFull is an ErrDiskFull of the disk that holds dir.
func DiskFull(dir string) error {
	return fault.Of(ErrDiskFull, "the disk that holds %s is full: free some space (no space left on device)", dir)
}
