package node

import (
	"context"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
)

// DAGNode returns a node of a bucket's DAG as DAG-JSON, and its CID: the one below
// root at a path of names. For bucket "" every bucket is asked, each within the
// budget, and the first that has the node counts.
func (s *Space) DAGNode(ctx context.Context, bucket string, root cid.Cid, path string, budget buckets.Budget) ([]byte, cid.Cid, error) {
	if bucket != "" {
		b, err := s.Bucket(ctx, bucket)
		if err != nil {
			return nil, cid.Undef, err
		}
		return b.Node(ctx, root, path, budget)
	}
	all, err := s.Buckets(ctx)
	if err != nil {
		return nil, cid.Undef, err
	}
	missing := fault.Of(ErrNotFound, "no bucket knows node %s", root)
	for _, ref := range all {
		b, err := s.bucketIn(ctx, ref)
		if err != nil {
			return nil, cid.Undef, err
		}
		text, at, err := b.Node(ctx, root, path, budget)
		switch {
		case err == nil:
			return text, at, nil
		case at.Defined(): // it has root
			return nil, cid.Undef, err
		case !errors.Is(err, buckets.ErrNotFound):
			missing = err
		}
	}
	return nil, cid.Undef, missing
}
