// Package apikeys keeps the rows of the API keys that others use at a node, in its store.
// A [Table] is the [keys.KeyStore] of the node's policy.
package apikeys

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/internal/addrs"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// A Table has the rows of all keys, each under a prefix and its public key. What was read of a
// row is kept decoded beside its bytes: a policy asks at each request, and the bytes tell whether
// the row is still the same.
type Table struct {
	store  store.Store
	prefix string
	mu     sync.Mutex // serialises changes
	read   sync.Map   // keys.PublicKey → row
}

type row struct {
	bytes []byte
	key   *keys.APIKey
}

// In returns the table below a prefix of the store's keys.
func In(s store.Store, prefix string) *Table { return &Table{store: s, prefix: prefix} }

func (t *Table) key(public keys.PublicKey) []byte { return append([]byte(t.prefix), public[:]...) }

// APIKey returns the row of a key, revoked ones too, or nil. It is not to be changed.
func (t *Table) APIKey(public keys.PublicKey) (*keys.APIKey, error) {
	snap := t.store.Snapshot()
	defer snap.Release()
	b, err := snap.Get(t.key(public))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("API key: %w", err)
	}
	if old, ok := t.read.Load(public); ok && bytes.Equal(old.(row).bytes, b) {
		return old.(row).key, nil
	}
	k, err := keys.DecodeAPIKey(b)
	if err == nil {
		t.read.Store(public, row{bytes.Clone(b), k})
	}
	return k, err
}

// All returns every key in the order of their public keys.
func (t *Table) All() ([]*keys.APIKey, error) {
	snap := t.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(t.prefix)))
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

// Put stores a key durably.
func (t *Table) Put(k *keys.APIKey) error {
	b, err := k.Encode()
	if err != nil {
		return err
	}
	tx := t.store.Begin()
	defer tx.Discard()
	if err := tx.Put(t.key(k.Public), b); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return t.store.Sync()
}

// Revoke marks a key as revoked at now and returns it, nil if there is no such key; revoking
// again changes nothing.
func (t *Table) Revoke(public keys.PublicKey, now time.Time) (*keys.APIKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.APIKey(public)
	if err != nil || k == nil || k.Revoked != 0 {
		return k, err
	}
	revoked := *k // others read k
	revoked.Revoked = keys.MillisOf(now)
	return &revoked, t.Put(&revoked)
}

// CheckScope refuses a scope that permits nothing.
func CheckScope(s keys.Scope) error {
	known := slices.DeleteFunc(keys.Actions(), func(a keys.Action) bool { return a == keys.ActionAdminister })
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
	return fault.Of(addrs.ErrInvalid, "unknown scope %.40q: the scopes are * and %s", string(s), strings.Join(words, ", "))
}
