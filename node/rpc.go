package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/types/known/timestamppb"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/keys"
)

// The services of the API. They translate; what is done is done elsewhere.
type (
	nodeService     struct{ n *Node }
	keyService      struct{ n *Node }
	relayService    struct{ n *Node }
	databaseService struct{ n *Node }
	documentService struct{ n *Node }
	bucketService   struct{ n *Node }
	inboxService    struct{ n *Node }
)

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// after returns the time in as many seconds, the zero time for 0.
func after(seconds int64) (time.Time, error) {
	const century = 100 * 365 * 24 * 3600
	if seconds < 0 || seconds > century {
		return time.Time{}, fmt.Errorf("%w: an expiry of %d seconds", ErrInvalid, seconds)
	}
	if seconds == 0 {
		return time.Time{}, nil
	}
	return time.Now().Add(time.Duration(seconds) * time.Second), nil
}

// rawDocument checks BSON bytes from outside; none give nil.
func rawDocument(what string, b []byte) (bson.Raw, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := bson.Raw(b).Validate(); err != nil {
		return nil, fmt.Errorf("%w: %s is not BSON: %v", ErrInvalid, what, err)
	}
	return bson.Raw(b), nil
}

// orEmpty returns d, or the empty document, which matches all, for nil.
func orEmpty(d bson.Raw) bson.Raw {
	if d == nil {
		return bson.Raw{5, 0, 0, 0, 0}
	}
	return d
}

// idDocument returns {_id: v} for an _id; nil for none.
func idDocument(v bson.RawValue) ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	b, err := bson.Marshal(bson.D{{Key: "_id", Value: v}})
	if err != nil {
		return nil, fmt.Errorf("node: _id: %w", err)
	}
	return b, nil
}

func (s nodeService) Identify(context.Context, *connect.Request[weftv1.IdentifyRequest]) (*connect.Response[weftv1.IdentifyResponse], error) {
	return connect.NewResponse(&weftv1.IdentifyResponse{
		Identity: s.n.Identity().DID(), Device: s.n.self.device.Public().Sign.DID(), Peer: s.n.host.ID().String(),
	}), nil
}

func (s nodeService) Status(context.Context, *connect.Request[weftv1.StatusRequest]) (*connect.Response[weftv1.StatusResponse], error) {
	n := s.n
	bytes, err := n.store.Size()
	if err != nil {
		return nil, err
	}
	relays, err := n.Relays()
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.StatusResponse{
		Identity: n.Identity().DID(), Peer: n.host.ID().String(), Addrs: n.Addrs(), Api: n.API(),
		Relay: n.cfg.Relay, Version: Version(), Home: n.Home(), Databases: uint32(len(n.Databases())),
		Threads: uint32(len(n.host.Threads())), Peers: uint32(len(n.host.Peers())), Relays: uint32(len(relays)), Bytes: bytes,
		Loaded: uint32(n.Loaded()),
	}), nil
}

func (s nodeService) Peers(context.Context, *connect.Request[weftv1.PeersRequest]) (*connect.Response[weftv1.PeersResponse], error) {
	var out weftv1.PeersResponse
	for _, id := range s.n.host.Peers() {
		p := &weftv1.Peer{Id: id.String()}
		for _, addr := range s.n.host.Routes(id) {
			p.Addrs = append(p.Addrs, addr.String())
		}
		out.Peers = append(out.Peers, p)
	}
	return connect.NewResponse(&out), nil
}

// Backup sends the bytes of a backup, and then its manifest.
func (s nodeService) Backup(ctx context.Context, _ *connect.Request[weftv1.BackupRequest], out *connect.ServerStream[weftv1.BackupResponse]) error {
	m, err := s.n.Backup(ctx, sender(func(p []byte) error { return out.Send(&weftv1.BackupResponse{Data: p}) }))
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return out.Send(&weftv1.BackupResponse{Manifest: text})
}

func keyMessage(k *keys.APIKey) *weftv1.Key {
	m := &weftv1.Key{
		Id: k.Text(), Type: k.Kind.String(), Name: k.Name, Owner: k.Owner.DID(), Signing: k.Signing,
		Created: stamp(k.Created.Time()), Expires: stamp(k.Expires.Time()), Revoked: stamp(k.Revoked.Time()),
	}
	for _, s := range k.Scopes {
		m.Scopes = append(m.Scopes, string(s))
	}
	return m
}

func (s keyService) Create(_ context.Context, r *connect.Request[weftv1.CreateKeyRequest]) (*connect.Response[weftv1.CreateKeyResponse], error) {
	o := KeyOptions{Name: r.Msg.GetName(), NonSigning: r.Msg.GetNoSign()}
	switch t := r.Msg.GetType(); t {
	case "account":
		o.Kind = keys.KindAccount
	case "user":
		o.Kind = keys.KindUser
	default:
		return nil, fmt.Errorf("%w: a key's type is account or user, not %.40q", ErrInvalid, t)
	}
	for _, scope := range r.Msg.GetScopes() {
		o.Scopes = append(o.Scopes, keys.Scope(scope))
	}
	var err error
	if o.Expires, err = after(r.Msg.GetExpiresSeconds()); err != nil {
		return nil, err
	}
	k, secret, err := s.n.CreateKey(o)
	if err != nil {
		return nil, err
	}
	out := &weftv1.CreateKeyResponse{Key: keyMessage(k)}
	if secret != nil {
		out.Secret = secret.Text()
	}
	return connect.NewResponse(out), nil
}

func (s keyService) List(context.Context, *connect.Request[weftv1.ListKeysRequest]) (*connect.Response[weftv1.ListKeysResponse], error) {
	all, err := s.n.Keys()
	if err != nil {
		return nil, err
	}
	var out weftv1.ListKeysResponse
	for _, k := range all {
		out.Keys = append(out.Keys, keyMessage(k))
	}
	return connect.NewResponse(&out), nil
}

func (s keyService) Show(_ context.Context, r *connect.Request[weftv1.ShowKeyRequest]) (*connect.Response[weftv1.ShowKeyResponse], error) {
	_, public, err := keys.ParseKey(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	k, err := s.n.Key(public)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.ShowKeyResponse{Key: keyMessage(k)}), nil
}

func (s keyService) Revoke(_ context.Context, r *connect.Request[weftv1.RevokeKeyRequest]) (*connect.Response[weftv1.RevokeKeyResponse], error) {
	_, public, err := keys.ParseKey(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	k, err := s.n.RevokeKey(public)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RevokeKeyResponse{Key: keyMessage(k)}), nil
}
