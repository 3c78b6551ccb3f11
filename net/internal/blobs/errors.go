package blobs

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// Reported by blob stores, and by threads under the same names.
var (
	// ErrNotFound reports a blob that is not held here.
	ErrNotFound = format.ErrNotFound
	// ErrDamagedBlob reports a blob whose bytes are not there as they were written.
	ErrDamagedBlob = fault.New(fault.Corrupt, "the blob is damaged")
	// ErrBlobsHeld reports that blobs cannot be collected now, as they are being stored or
	// read, or as one that may list others is missing.
	ErrBlobsHeld = fault.New(fault.Conflict, "files are being pushed or read")
)
