package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/addrs"
)

// grantLifetime is how long a grant holds that the node makes with its own
// secret; it makes a new one at each use.
const grantLifetime = 24 * time.Hour

// A Relay is a peer that keeps this node's threads.
type Relay struct {
	Peer      peer.ID             `json:"-"`
	Addr      multiaddr.Multiaddr `json:"-"`         // with the peer's ID
	Key       string              `json:"key"`       // API key; "" for none
	Databases []string            `json:"databases"` // none: all of the node's
	Connected bool                `json:"-"`         // now
}

// A relayRow is what the store keeps of a relay, under its peer ID. The
// key's secret is in a key file.
type relayRow struct {
	Addr      string   `json:"addr"`
	Key       string   `json:"key"`
	Databases []string `json:"databases"`
}

// RelayOptions say how to use a relay. The zero value shows it no API key.
type RelayOptions struct {
	Key       string   // API key
	Secret    string   // of the key; "" for a non-signing key
	Databases []string // names; none means all of the node's, later ones too
}

// AddRelay has a relay keep this node's databases; addr is its multiaddr, which ends in /p2p
// and its ID. The relay need not be reachable; what it
// says to the key is in each database's status. Adding it again replaces its key and
// databases. The secret is written first and the note last. A crash between leaves a secret
// that nothing uses, or a relay that the note lacks; a relay that only the note had would
// be taken for lost.
func (n *Node) AddRelay(ctx context.Context, addr string, o RelayOptions) (Relay, error) {
	a, id, err := addrs.Peer(addr)
	if err != nil {
		return Relay{}, err
	}
	if id == n.host.ID() {
		return Relay{}, fault.Of(ErrInvalid, "this node cannot be its own relay")
	}
	secret, err := checkKey(o)
	if err != nil {
		return Relay{}, err
	}
	for _, name := range o.Databases {
		if _, err := n.find(name); err != nil {
			return Relay{}, err
		}
	}
	if err := n.home.KeepSecret(id.String(), n.cfg.Passphrase, secret); err != nil {
		return Relay{}, err
	}
	r := relayRow{Addr: a.String(), Key: o.Key, Databases: slices.Clone(o.Databases)}
	tx := n.store.Begin()
	defer tx.Discard()
	if err := rows.Put(tx, prefixRelay+id.String(), r); err != nil {
		return Relay{}, err
	}
	if err := rows.Commit(n.store, tx); err != nil {
		return Relay{}, err
	}
	if err := errors.Join(n.noteRelays(""), n.useRelay(ctx, id, r)); err != nil {
		return Relay{}, err
	}
	return n.relayOf(id.String(), r)
}

// checkKey checks that key and secret are a key and its secret.
func checkKey(o RelayOptions) (*keys.APISecret, error) {
	if o.Key == "" {
		if o.Secret != "" {
			return nil, fault.Of(ErrInvalid, "a secret without its key: give both")
		}
		return nil, nil
	}
	kind, public, err := keys.ParseKey(o.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if o.Secret == "" {
		return nil, nil // a non-signing key has no secret
	}
	secret, err := keys.ParseAPISecret(o.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if secret.Public() != public || secret.Kind() != kind {
		return nil, fault.Of(ErrInvalid, "the secret belongs to another key")
	}
	return secret, nil
}

// openRelays connects to the relays of the store.
func (n *Node) openRelays(ctx context.Context) error {
	err := n.openRelaysOf(ctx)
	if isDamage(err) {
		n.suffer(fmt.Errorf("the list of relays: %w", err))
		return nil
	}
	return errors.Join(err, n.compareRelays())
}

// openRelaysOf ends at the first relay that cannot be used: an address or a secret that
// does not parse is damage or somebody's change, and to go on without that relay would give
// it nothing without a word.
func (n *Node) openRelaysOf(ctx context.Context) error {
	return rows.Each(n.store, prefixRelay, func(id string, r relayRow) error {
		p, err := peer.Decode(id)
		if err != nil {
			return fmt.Errorf("relay %s: %w", id, err)
		}
		return n.useRelay(ctx, p, r)
	})
}

// useRelay gives a relay to the host and to the databases it is for. It is called at the
// open and by AddRelay; calling it again replaces the key that is shown.
func (n *Node) useRelay(ctx context.Context, id peer.ID, r relayRow) error {
	addr, err := multiaddr.NewMultiaddr(r.Addr)
	if err != nil {
		return fmt.Errorf("relay %s: %w", id, err)
	}
	secret, err := n.home.Secret(id.String(), n.cfg.Passphrase)
	if err != nil {
		return fmt.Errorf("relay %s: %w", id, err)
	}
	n.mu.Lock()
	n.relayKeys[id] = relayKey{key: r.Key, secret: secret}
	n.mu.Unlock()
	credential := func(audience keys.PublicKey) (*keys.Credential, error) { return n.credential(id, audience) }
	// First which threads are for it, or it would be asked to keep them all.
	for _, d := range n.all() {
		if err := n.selectRelays(d); err != nil {
			return err
		}
	}
	if err := n.host.AddRelay(ctx, addr, credential); err != nil {
		return err
	}
	if n.mail != nil {
		n.mail.wake()
	}
	return nil
}

// A relayKey is what the node shows to a relay.
type relayKey struct {
	key    string
	secret *keys.APISecret
}

// credential makes what this node presents to a relay, nil if it has no API key for it. It
// is made anew each time and holds for a day, so that one which leaks is of no use for
// long.
func (n *Node) credential(id peer.ID, audience keys.PublicKey) (*keys.Credential, error) {
	n.mu.Lock()
	k, ok := n.relayKeys[id]
	n.mu.Unlock()
	if !ok || k.key == "" {
		return nil, nil
	}
	now := time.Now()
	o := keys.GrantOptions{User: n.Identity(), Audience: audience, Issued: now, Expires: now.Add(grantLifetime)}
	var grant *keys.Grant
	_, public, err := keys.ParseKey(k.key)
	if err == nil && k.secret != nil {
		grant, err = k.secret.Grant(o)
	} else if err == nil {
		grant, err = keys.UnsignedGrant(public, o)
	}
	if err != nil {
		return nil, err
	}
	return &keys.Credential{Grant: grant, Certificate: n.self.Certificate}, nil
}

// selectRelays tells a database's thread which relays keep it. It replaces what the thread
// was told before, so it is also called when a relay is removed.
func (n *Node) selectRelays(d *database) error {
	if d.hosted() { // a hub's device has no certificate to show to one
		return d.thread.SetRelays([]peer.ID{})
	}
	relays, err := n.relaysOf(d.name)
	if err != nil {
		return err
	}
	ids := make([]peer.ID, len(relays))
	for i, r := range relays {
		ids[i] = r.Peer
	}
	return d.thread.SetRelays(ids)
}

// relaysOf returns the relays that keep a database.
func (n *Node) relaysOf(name string) ([]Relay, error) {
	relays, err := n.Relays()
	return slices.DeleteFunc(relays, func(r Relay) bool {
		return len(r.Databases) > 0 && !slices.Contains(r.Databases, name)
	}), err
}

// relayOf makes a relay of its row, which was checked when it was written and is parsed
// again.
func (n *Node) relayOf(id string, r relayRow) (Relay, error) {
	p, err := peer.Decode(id)
	if err != nil {
		return Relay{}, fmt.Errorf("relay %s: %w", id, err)
	}
	addr, err := multiaddr.NewMultiaddr(r.Addr)
	if err != nil {
		return Relay{}, fmt.Errorf("relay %s: %w", id, err)
	}
	return Relay{Peer: p, Addr: addr, Key: r.Key, Databases: r.Databases, Connected: n.host.Connected(p)}, nil
}

// Relays returns the relays of this node.
func (n *Node) Relays() ([]Relay, error) {
	var out []Relay
	err := rows.Each(n.store, prefixRelay, func(id string, r relayRow) error {
		relay, err := n.relayOf(id, r)
		out = append(out, relay)
		return err
	})
	return out, err
}

// RemoveRelay stops giving anything to a relay, named by its peer ID or its
// address. The relay keeps what it has.
func (n *Node) RemoveRelay(ctx context.Context, which string) error {
	relays, err := n.Relays()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(relays, func(r Relay) bool { return r.Peer.String() == which || r.Addr.String() == which })
	if i < 0 {
		return fault.Of(ErrNotFound, "this node has no relay %.120q", which)
	}
	id := relays[i].Peer
	// The note first: a relay that only the note has is taken for lost.
	if err := n.noteRelays(relays[i].Addr.String()); err != nil {
		return err
	}
	tx := n.store.Begin()
	defer tx.Discard()
	if err := tx.Delete([]byte(prefixRelay + id.String())); err != nil {
		return err
	}
	if err := rows.Commit(n.store, tx); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.relayKeys, id)
	n.mu.Unlock()
	if err := errors.Join(n.host.RemoveRelay(id), n.home.KeepSecret(id.String(), n.cfg.Passphrase, nil)); err != nil {
		return err
	}
	for _, d := range n.all() {
		if err := n.selectRelays(d); err != nil {
			return err
		}
	}
	return nil
}
