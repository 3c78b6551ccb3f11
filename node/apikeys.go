package node

import (
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/apikeys"
)

// KeyOptions say what API key to make.
type KeyOptions struct {
	Kind       keys.KeyKind // required
	Name       string       // for people
	NonSigning bool         // development only: no secret, expires
	Scopes     []keys.Scope // nil means keys.DefaultScopes
	Expires    time.Time    // zero means never, or 24 hours for a non-signing key
}

// CreateKey makes an API key under which this node serves others as a relay, in the name of
// the node's identity. The secret, nil for a non-signing key, is kept nowhere. It is
// durable when it is returned; a secret that gets lost is replaced by another key.
func (n *Node) CreateKey(o KeyOptions) (*keys.APIKey, *keys.APISecret, error) {
	for _, s := range o.Scopes {
		if err := apikeys.CheckScope(s); err != nil {
			return nil, nil, err
		}
	}
	k, secret, err := keys.NewAPIKey(time.Now(), keys.APIKeyOptions{
		Kind: o.Kind, NonSigning: o.NonSigning, Owner: n.Identity(), Name: o.Name,
		Scopes: o.Scopes, Expires: o.Expires,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := n.apiKeys.Put(k); err != nil {
		return nil, nil, err
	}
	return k, secret, nil
}

// Keys returns the API keys that this node knows, revoked ones too.
func (n *Node) Keys() ([]*keys.APIKey, error) { return n.apiKeys.All() }

// Key returns one API key by its public key, or ErrNotFound.
func (n *Node) Key(public keys.PublicKey) (*keys.APIKey, error) {
	k, err := n.apiKeys.APIKey(public)
	if err == nil && k == nil {
		err = fault.Of(ErrNotFound, "this node has no such API key")
	}
	return k, err
}

// RevokeKey revokes an API key for good and ends what peers and remote callers are doing by it.
func (n *Node) RevokeKey(public keys.PublicKey) (*keys.APIKey, error) {
	k, err := n.apiKeys.Revoke(public, time.Now())
	if err == nil && k == nil {
		err = fault.Of(ErrNotFound, "this node has no such API key")
	}
	if err == nil {
		n.host.Recheck()
		n.sessions.EndKey(public, &keys.Refusal{Code: keys.CodeKeyRevoked, Message: "The API key was revoked at " + k.Revoked.String() + ": ask its owner for another; your data stays yours."})
	}
	return k, err
}
