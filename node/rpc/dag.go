package rpc

import (
	"context"

	"connectrpc.com/connect"
	"github.com/ipfs/go-cid"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Node gives one node of the DAG below a CID. The walk to it is bounded by a budget,
// because the DAG is derived from the entries and a caller may ask for any CID; budgets of
// 0 are the defaults of [buckets.Budget].
func (s bucketService) Node(ctx context.Context, r *connect.Request[weftv1.BucketNodeRequest]) (*connect.Response[weftv1.BucketNodeResponse], error) {
	root, err := cid.Decode(r.Msg.GetCid())
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid CID %.100q", r.Msg.GetCid())
	}
	budget := buckets.Budget{Nodes: int(r.Msg.GetMaxNodes()), Bytes: r.Msg.GetMaxBytes()}
	text, at, err := space(ctx, s.n).DAGNode(ctx, r.Msg.GetBucket(), root, r.Msg.GetPath(), budget)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.BucketNodeResponse{Cid: at.String(), DagJson: text}), nil
}
