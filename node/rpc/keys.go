package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/keys"
)

// keyMessage has what is kept of a key. The secret is not: it is told once, by Create.
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

// Create makes a key under which this node serves others as a relay. The secret of a
// signing key is in this answer and nowhere else; a non-signing key has none.
func (s keyService) Create(_ context.Context, r *connect.Request[weftv1.CreateKeyRequest]) (*connect.Response[weftv1.CreateKeyResponse], error) {
	o := node.KeyOptions{Name: r.Msg.GetName(), NonSigning: r.Msg.GetNoSign()}
	switch t := r.Msg.GetType(); t {
	case "account":
		o.Kind = keys.KindAccount
	case "user":
		o.Kind = keys.KindUser
	default:
		return nil, fault.Of(node.ErrInvalid, "invalid type of key %.40q: want account or user", t)
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

// List gives revoked and expired keys as well: what a peer was once allowed to do should
// stay visible.
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

// Show, like Revoke, takes the key's public text, as List gives it.
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

// Revoke is for good, and ends the streams of peers that use the key. To revoke again
// changes nothing and answers with the time of the first.
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
