package buckets

import "context"

// An entry is the decoded document of a path.
type entry struct {
	path     string
	current  string             // CID of the version that is read
	versions map[string]version // by CID
}

// A version is one content of a path and where its bytes are.
type version struct {
	size      int64
	tsize     uint64
	blob      *BlobID  // of a file of one leaf
	manifests []BlobID // of a larger file, in order
}

// A change is one write on one entry.
type change struct {
	path     string
	cid      string   // the new version's; empty: the path is removed
	version  version  // the new version
	replaces []string // CIDs of the versions that the writer saw
}

// entries is the collection under a bucket.
type entries interface {
	// get returns one entry, or ErrNotFound.
	get(ctx context.Context, path string) (entry, error)
	// scan calls fn with each entry from a path on, in byte order of paths,
	// below a prefix; notes holds what could not be decoded.
	scan(ctx context.Context, prefix string, fn func(entry) error) (bad []Note, err error)
	// apply writes changes, durably.
	apply(ctx context.Context, changes []change) error
}
