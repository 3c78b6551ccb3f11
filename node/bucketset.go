package node

import (
	"context"
	"errors"
	"strings"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net"
)

// blobs is a thread's blobs as buckets see them. Package buckets knows no threads: the IDs
// are the same bytes under its own type.
type blobs struct{ t *net.Thread }

func (b blobs) Put(ctx context.Context, plain [][]byte) ([]buckets.BlobID, error) {
	ids, err := b.t.PutBlobs(ctx, plain)
	out := make([]buckets.BlobID, len(ids))
	for i, id := range ids {
		out[i] = buckets.BlobID(id)
	}
	return out, err
}

func (b blobs) Get(ctx context.Context, id buckets.BlobID) ([]byte, error) {
	return b.t.FetchBlob(ctx, net.BlobID(id))
}

func (b blobs) GetOf(ctx context.Context, id buckets.BlobID, sum [32]byte) ([]byte, error) {
	return b.t.FetchBlobOf(ctx, net.BlobID(id), sum)
}

func (b blobs) Lacking() bool { return b.t.LackingBlobs() > 0 }

func (b blobs) Hold() func() { return b.t.HoldBlobs() }

// blobNames are those that records and manifests of buckets name.
var blobNames = net.BlobNames{
	Payload: func(p []byte, named func(id net.BlobID, list bool)) {
		buckets.Names(p, func(id buckets.BlobID, manifest bool) { named(net.BlobID(id), manifest) })
	},
	List: func(plain []byte) (ids []net.BlobID) {
		for _, id := range buckets.ManifestBlobs(plain) {
			ids = append(ids, net.BlobID(id))
		}
		return ids
	},
}

// A BucketRef names a bucket of the node.
type BucketRef struct {
	Name     string
	Database string
}

// The buckets of this node's own space.

// CreateBucket is [Space.CreateBucket] in the node's own space.
func (n *Node) CreateBucket(ctx context.Context, name, database string) (*buckets.Bucket, BucketRef, error) {
	return n.Own().CreateBucket(ctx, name, database)
}

// Buckets is [Space.Buckets] of the node's own space.
func (n *Node) Buckets(ctx context.Context) ([]BucketRef, error) { return n.Own().Buckets(ctx) }

// Bucket is [Space.Bucket] of the node's own space.
func (n *Node) Bucket(ctx context.Context, name string) (*buckets.Bucket, error) {
	return n.Own().Bucket(ctx, name)
}

// DropBucket is [Space.DropBucket] in the node's own space.
func (n *Node) DropBucket(ctx context.Context, name string) error {
	return n.Own().DropBucket(ctx, name)
}

// CreateBucket makes a bucket in a database; for database "" in one of the bucket's own,
// which is made if there is none of its name. That database stays if the bucket cannot be
// made.
func (s *Space) CreateBucket(ctx context.Context, name, database string) (*buckets.Bucket, BucketRef, error) {
	ref := BucketRef{Name: name, Database: database}
	if err := buckets.CheckName(name); err != nil {
		return nil, ref, err // before a database is made for it
	}
	if database == "" {
		ref.Database = name
		if _, err := s.Create(ctx, name); err != nil && !errors.Is(err, ErrExists) {
			return nil, ref, err
		}
	}
	d, fold, err := s.opened(ctx, ref.Database)
	if err != nil {
		return nil, ref, err
	}
	b, err := buckets.Create(ctx, fold, blobs{d.thread}, name)
	return b, ref, err
}

// Buckets returns the buckets of every database of the space. Databases that are not served
// are passed over; all others are opened.
func (s *Space) Buckets(ctx context.Context) ([]BucketRef, error) {
	var out []BucketRef
	for _, d := range s.Databases() {
		if d.Damage != "" {
			continue
		}
		fold, err := s.Database(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		names, err := buckets.List(ctx, fold)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			out = append(out, BucketRef{Name: name, Database: d.Name})
		}
	}
	return out, nil
}

// Bucket returns a bucket by its name, or by DATABASE/NAME. To look for the name alone
// opens all databases; DATABASE/NAME opens that one.
func (s *Space) Bucket(ctx context.Context, name string) (*buckets.Bucket, error) {
	ref, err := s.findBucket(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.bucketIn(ctx, ref)
}

// DropBucket removes a bucket with its files, for everybody who has its database. It is named
// as for Bucket. Its database stays.
func (s *Space) DropBucket(ctx context.Context, name string) error {
	ref, err := s.findBucket(ctx, name)
	if err != nil {
		return err
	}
	fold, err := s.Database(ctx, ref.Database)
	if err != nil {
		return err
	}
	return buckets.Drop(ctx, fold, ref.Name)
}

// findBucket returns the bucket that a name stands for.
func (s *Space) findBucket(ctx context.Context, name string) (BucketRef, error) {
	if database, bucket, ok := strings.Cut(name, "/"); ok {
		return BucketRef{Name: bucket, Database: database}, nil
	}
	all, err := s.Buckets(ctx)
	if err != nil {
		return BucketRef{}, err
	}
	var found []BucketRef
	for _, ref := range all {
		if ref.Name == name {
			found = append(found, ref)
		}
	}
	switch len(found) {
	case 0:
		return BucketRef{}, fault.Of(ErrNotFound, "no bucket is named %.80q", name)
	case 1:
		return found[0], nil
	}
	return BucketRef{}, fault.Of(ErrAmbiguous, "several databases have a bucket %[1]s: write %[2]s/%[1]s or %[3]s/%[1]s", name, found[0].Database, found[1].Database)
}

func (s *Space) bucketIn(ctx context.Context, ref BucketRef) (*buckets.Bucket, error) {
	d, fold, err := s.opened(ctx, ref.Database)
	if err != nil {
		return nil, err
	}
	return buckets.Open(ctx, fold, blobs{d.thread}, ref.Name)
}

// opened returns a database of the space with its fold.
func (s *Space) opened(ctx context.Context, name string) (*database, *db.DB, error) {
	full, err := s.full(name)
	if err != nil {
		return nil, nil, err
	}
	d, err := s.n.lookup(full)
	if err != nil {
		return nil, nil, s.told(err)
	}
	fold, err := d.open(ctx)
	if err != nil {
		return nil, nil, s.told(err)
	}
	return d, fold.DB, nil
}
