package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// An apiKeys keeps the rows of API keys that others use at this node, in the
// store. It is the [keys.KeyStore] of the node's policy.
type apiKeys struct {
	store store.Store
	mu    sync.Mutex // serialises changes
}

func apiKeyKey(public keys.PublicKey) []byte {
	return append([]byte(prefixAPIKey), public[:]...)
}

// APIKey returns the row of a key, revoked ones too, or nil.
func (a *apiKeys) APIKey(public keys.PublicKey) (*keys.APIKey, error) {
	snap := a.store.Snapshot()
	defer snap.Release()
	b, err := snap.Get(apiKeyKey(public))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("API key: %w", err)
	}
	return keys.DecodeAPIKey(b)
}

// list returns every key in the order of their public keys.
func (a *apiKeys) list() ([]*keys.APIKey, error) {
	snap := a.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(prefixAPIKey)))
	defer it.Close()
	var all []*keys.APIKey
	for ; it.Valid(); it.Next() {
		b, err := it.Value()
		if err != nil {
			return nil, fmt.Errorf("API keys: %w", err)
		}
		k, err := keys.DecodeAPIKey(b)
		if err != nil {
			return nil, fmt.Errorf("API keys: %w", err)
		}
		all = append(all, k)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	return all, nil
}

// put stores a key durably.
func (a *apiKeys) put(k *keys.APIKey) error {
	b, err := k.Encode()
	if err != nil {
		return err
	}
	return putSync(a.store, apiKeyKey(k.Public), b)
}

// revoke marks a key as revoked at now; revoking again changes nothing.
func (a *apiKeys) revoke(public keys.PublicKey, now time.Time) (*keys.APIKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, err := a.APIKey(public)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, fault.Of(ErrNotFound, "this node has no such API key")
	}
	if k.Revoked != 0 {
		return k, nil
	}
	k.Revoked = keys.MillisOf(now)
	return k, a.put(k)
}

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
		if err := checkScope(s); err != nil {
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
	if err := n.apiKeys.put(k); err != nil {
		return nil, nil, err
	}
	return k, secret, nil
}

// checkScope refuses a scope that permits nothing.
func checkScope(s keys.Scope) error {
	known := []keys.Action{
		keys.ActionReplicate, keys.ActionReadThread, keys.ActionSendMessage, keys.ActionFetchMessages,
		keys.ActionPin, keys.ActionReadBlocks, keys.ActionManageKeys, keys.ActionReadUsage,
	}
	if slices.ContainsFunc(known, s.Permits) {
		return nil
	}
	var words []string
	for _, a := range known {
		group, _, _ := strings.Cut(string(a), ".")
		if !slices.Contains(words, group) {
			words = append(words, group)
		}
		words = append(words, string(a))
	}
	return fault.Of(ErrInvalid, "unknown scope %.40q: the scopes are * and %s", string(s), strings.Join(words, ", "))
}

// Keys returns the API keys that this node knows, revoked ones too.
func (n *Node) Keys() ([]*keys.APIKey, error) { return n.apiKeys.list() }

// Key returns one API key by its public key, or ErrNotFound.
func (n *Node) Key(public keys.PublicKey) (*keys.APIKey, error) {
	k, err := n.apiKeys.APIKey(public)
	if err == nil && k == nil {
		err = fault.Of(ErrNotFound, "this node has no such API key")
	}
	return k, err
}

// RevokeKey revokes an API key for good and ends what peers are doing by it.
func (n *Node) RevokeKey(public keys.PublicKey) (*keys.APIKey, error) {
	k, err := n.apiKeys.revoke(public, time.Now())
	if err == nil {
		n.host.Recheck()
	}
	return k, err
}
