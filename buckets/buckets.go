// Package buckets keeps folders of files in a database: one entry document a
// path, the bytes in sealed blobs of the thread, and a UnixFS DAG that every
// replica derives alike from the entries alone.
//
//	Bucket ── Entry ── version      documents: what replicas merge
//	  │         └───── Blobs        leaves and manifests: what they fetch
//	  └────── Root                  the derived DAG's root CID
//
// Devices that push different paths while apart merge by themselves. Two that
// change one path leave both versions in its entry: the later write is read, the
// other is listed as a conflict. Directory nodes are derived and never sent. The
// formats and the pinned UnixFS profile: docs/design/buckets.md.
package buckets

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
)

// Maxima of the format.
const (
	// MaxPath is the longest path, in bytes.
	MaxPath = 4 << 10
	// MaxDepth is the most segments of a path.
	MaxDepth = 100
	// MaxBlob is the most plaintext of a blob, in bytes.
	MaxBlob = 1 << 20
	// MaxFile is the largest file, in bytes: 1 TiB.
	MaxFile = maxManifests * leavesPerManifest * ChunkSize
)

// A BlobID names a sealed block of the thread: the hash of its sealed bytes.
type BlobID = [32]byte

// Blobs stores and finds the sealed blocks of the bucket's thread.
type Blobs interface {
	// Put seals and stores blocks of at most MaxBlob bytes each and returns
	// their IDs, in order; they are durable when it returns.
	Put(ctx context.Context, plain [][]byte) ([]BlobID, error)
	// Get returns one block, from this node or from peers, checked against its
	// ID and opened.
	Get(ctx context.Context, id BlobID) ([]byte, error)
	// GetOf is Get of a block by the SHA-256 hash of its bytes too: it refuses any
	// other bytes and checks no more. Of what it refuses, Get says what is wrong.
	GetOf(ctx context.Context, id BlobID, sum [32]byte) ([]byte, error)
	// Lacking reports whether blocks that were here are damaged and have not come back.
	Lacking() bool
	// Hold keeps the blocks that are put, or named by an entry that is read, from now
	// on until release, also where no entry names them yet or any more.
	Hold() (release func())
}

// A Bucket is one folder in a database. It is safe for concurrent use.
type Bucket struct {
	name    string
	entries entries
	blobs   Blobs
	cache   *rootCache
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// An Entry is one path of a bucket.
type Entry struct {
	Path  string // "a/b.txt"; an empty directory's ends in "/"
	CID   cid.Cid
	Size  int64  // bytes of the file
	Tsize uint64 // bytes of its DAG, as a UnixFS directory states it
	// Conflicts holds the versions that a later write, which had not seen them,
	// left behind; the entry shows the later write's.
	Conflicts []Version
}

// A Version is one content that an entry has or had.
type Version struct {
	CID  cid.Cid
	Size int64
}

// A Note names a path that was left out or needs a look, and says why.
type Note struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// A Report counts what a push or pull did, in files.
type Report struct {
	Root      cid.Cid // of the bucket, afterwards
	Added     int
	Changed   int
	Unchanged int
	Removed   int
	Bytes     int64  // bytes of the files that were added and changed
	Skipped   []Note // what was left out, each with its reason
	Kept      []Note // files that a pull did not replace but put beside, with their names now
}

// PushOptions tunes a push. The zero value suits production.
type PushOptions struct {
	// Remove removes the entries that the pushed folder does not have.
	Remove bool
	// Progress, if not nil, is called after each file, from one goroutine.
	Progress func(Progress)
}

// PullOptions tunes a pull. The zero value suits production.
type PullOptions struct {
	// Progress, if not nil, is called after each file, from one goroutine.
	Progress func(Progress)
	// Now gives the time by which leftovers of a killed pull are old; nil means
	// time.Now.
	Now func() time.Time
}

// Progress says how far a push or pull is.
type Progress struct {
	Path  string // the file just done
	Files int    // files done
	Bytes int64  // bytes of the files done
}

// A Range is a part of a file: Length bytes from Offset, or up to the end if
// Length is negative. It ends at the file's end at the latest.
type Range struct{ Offset, Length int64 }

// Whole is the range of a whole file.
var Whole = Range{Length: -1}

// An Overview is what deriving a bucket's DAG gives.
type Overview struct {
	Root  cid.Cid
	Files int
	Bytes int64 // of all files
	// Conflicts lists paths with more than one version, files hidden by a
	// directory of the same path, and entries that are not well formed (which
	// are left out of the DAG).
	Conflicts []Note
}
