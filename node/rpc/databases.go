package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

func databaseMessage(r node.DatabaseRef) *weftv1.Database {
	return &weftv1.Database{Id: r.ID.String(), Name: r.Name, Damage: r.Damage, Lost: r.Lost}
}

// Create answers with the database as the node lists it. The lookup after the creation is
// apart: another caller who removes the database in between has this one see
// not_found.
func (s databaseService) Create(ctx context.Context, r *connect.Request[weftv1.CreateDatabaseRequest]) (*connect.Response[weftv1.CreateDatabaseResponse], error) {
	recovery, err := "", error(nil)
	if r.Msg.GetRecoverable() {
		if callerOf(ctx) != nil { // a key that ends would leave with a secret that does not
			return nil, fault.Of(node.ErrDenied, "a recovery key is made and kept where the identity is, not at a hub: create the database without one, with --no-recovery")
		}
		_, recovery, err = s.n.CreateRecoverable(ctx, r.Msg.GetName())
	} else {
		_, err = space(ctx, s.n).Create(ctx, r.Msg.GetName())
	}
	if err != nil {
		return nil, err
	}
	ref, err := space(ctx, s.n).Ref(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CreateDatabaseResponse{Database: databaseMessage(ref), Recovery: recovery}), nil
}

// Recover returns when this node's identity is the owner. Of a database that was not here
// all that a peer or a relay held is here then.
func (s databaseService) Recover(ctx context.Context, r *connect.Request[weftv1.RecoverRequest]) (*connect.Response[weftv1.RecoverResponse], error) {
	ref, next, err := s.n.Recover(ctx, r.Msg.GetName(), r.Msg.GetRecovery(), r.Msg.GetRecoverable())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RecoverResponse{Database: databaseMessage(ref), Recovery: next}), nil
}

// List names those that are not served as well, with the reason. The mailbox is not among
// them: what it holds is told by the inbox service.
func (s databaseService) List(ctx context.Context, _ *connect.Request[weftv1.ListDatabasesRequest]) (*connect.Response[weftv1.ListDatabasesResponse], error) {
	var out weftv1.ListDatabasesResponse
	for _, d := range space(ctx, s.n).Databases() {
		out.Databases = append(out.Databases, databaseMessage(d))
	}
	return connect.NewResponse(&out), nil
}

// Info waits until what has arrived is folded, so that two replicas which hold the same
// records answer with the same hash. It is the call for comparing; Status does not wait.
func (s databaseService) Info(ctx context.Context, r *connect.Request[weftv1.DatabaseInfoRequest]) (*connect.Response[weftv1.DatabaseInfoResponse], error) {
	i, err := space(ctx, s.n).Info(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.DatabaseInfoResponse{
		Id: i.ID.String(), Name: i.Name, Hash: i.Hash[:], Documents: i.Documents, Records: i.Records, Bytes: i.Bytes, Heads: i.Heads,
	}), nil
}

// unixOrZero is 0 for the zero time.
func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// statusMessage has the state hash as 32 bytes, not as text: it is compared, not read.
func (s databaseService) statusMessage(ctx context.Context, st node.DatabaseStatus) (*weftv1.DatabaseStatusResponse, error) {
	out := &weftv1.DatabaseStatusResponse{Id: st.ID.String(), Hash: st.Hash[:], KeptUntil: unixOrZero(st.Kept), Objection: st.Objection}
	for _, p := range st.Peers {
		out.Peers = append(out.Peers, &weftv1.PeerStatus{
			Peer: p.Peer.String(), Role: p.Role, State: string(p.State), Behind: p.Behind, Ahead: p.Ahead,
			Code: string(p.Code), Reason: p.Reason, Since: stamp(p.Since),
		})
	}
	if callerOf(ctx) != nil {
		return out, nil // who waits is for those who let in, and they call here
	}
	return out, s.tellWaiting(st.Name, out)
}

// Status is also given of a database that is being rebuilt, as it is the way to see what
// that waits for.
func (s databaseService) Status(ctx context.Context, r *connect.Request[weftv1.DatabaseStatusRequest]) (*connect.Response[weftv1.DatabaseStatusResponse], error) {
	st, _, err := space(ctx, s.n).Status(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	m, err := s.statusMessage(ctx, st)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// WatchStatus sends a status at once and after each change. Changes that come while one is
// sent are told as one: the channel was made before the status was read, so none is missed.
// When the node is closed the call ends with closed; when the caller leaves, nobody reads
// what is returned.
func (s databaseService) WatchStatus(ctx context.Context, r *connect.Request[weftv1.DatabaseStatusRequest], out *connect.ServerStream[weftv1.DatabaseStatusResponse]) error {
	for {
		st, changed, err := space(ctx, s.n).Status(ctx, r.Msg.GetName())
		if err != nil {
			return err
		}
		m, err := s.statusMessage(ctx, st)
		if err != nil {
			return err
		}
		if err := out.Send(m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return s.n.Err()
		case <-changed:
		}
	}
}

// Invite reads the time as the node has it: 0 for its default of a day, below 0 for never.
// Which negative number does not matter, and the bound of [after] keeps the product from
// overflowing.
func (s databaseService) Invite(ctx context.Context, r *connect.Request[weftv1.InviteRequest]) (*connect.Response[weftv1.InviteResponse], error) {
	o := node.InviteOptions{Role: r.Msg.GetRole(), Uses: int(r.Msg.GetUses())}
	if seconds := r.Msg.GetExpiresSeconds(); seconds < 0 {
		o.Expires = -1
	} else if _, err := after(seconds); err != nil {
		return nil, err
	} else {
		o.Expires = time.Duration(seconds) * time.Second
	}
	url, err := s.n.Invite(ctx, r.Msg.GetName(), o)
	if err != nil {
		return nil, err
	}
	key, err := node.InviteKey(url)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.InviteResponse{Url: url, Id: key.DID()}), nil
}

// Join returns when this device is a member. The records follow in the background, so a
// Find that is sent next may see none of them; Status says how far it is.
func (s databaseService) Join(ctx context.Context, r *connect.Request[weftv1.JoinRequest]) (*connect.Response[weftv1.JoinResponse], error) {
	ref, err := s.n.Join(ctx, r.Msg.GetUrl(), r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.JoinResponse{Database: databaseMessage(ref)}), nil
}

// Remove deletes what this node has. It also removes a database that is damaged, which
// calls that use one refuse.
func (s databaseService) Remove(ctx context.Context, r *connect.Request[weftv1.RemoveDatabaseRequest]) (*connect.Response[weftv1.RemoveDatabaseResponse], error) {
	if err := space(ctx, s.n).Remove(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RemoveDatabaseResponse{}), nil
}

// Compact holds the call open for as long as it takes, which can be minutes. A caller's
// deadline may end it: the database stays usable, and what it did not get to is left for
// the next call.
func (s databaseService) Compact(ctx context.Context, r *connect.Request[weftv1.CompactDatabaseRequest]) (*connect.Response[weftv1.CompactDatabaseResponse], error) {
	c, err := s.n.Compact(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CompactDatabaseResponse{
		Cut: c.Cut, Reason: c.Reason, Records: c.Records, Refused: c.Refused, Before: c.Before, After: c.After,
		Blobs: c.Blobs, BlobBytes: c.BlobBytes, BlobsKept: c.BlobsKept, KeptUntil: unixOrZero(c.Kept), Objection: c.Objection,
	}), nil
}
