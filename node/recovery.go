package node

import (
	"cmp"
	"context"
	"errors"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net"
)

// A Commitment is the recovery key that a database commits to, and who used one.
type Commitment = net.Commitment

// A Recovered is one use of a recovery key.
type Recovered = net.Recovered

// CreateRecoverable is [Node.CreateDatabase] with a recovery key, whose text it returns: a
// bearer secret, which this node does not keep. Whoever has it makes itself the owner, once.
func (n *Node) CreateRecoverable(ctx context.Context, name string) (d *db.DB, recovery string, err error) {
	if err := checkName(name); err != nil {
		return nil, "", err
	}
	n.naming.Lock()
	defer n.naming.Unlock()
	if err := n.free(name); err != nil {
		return nil, "", err
	}
	addrs, err := n.foundAt(name)
	if err != nil {
		return nil, "", err
	}
	t, r, err := n.host.CreateRecoverable(ctx, name, addrs)
	if err != nil {
		return nil, "", err
	}
	if d, err = n.made(ctx, name, t); err != nil {
		return nil, "", err
	}
	return d, r.Text(), nil
}

// foundAt returns where a database is found: at its relays, and here.
func (n *Node) foundAt(name string) ([]multiaddr.Multiaddr, error) {
	relays, err := n.relaysOf(name)
	if err != nil {
		return nil, err
	}
	var addrs []multiaddr.Multiaddr
	for _, r := range relays {
		addrs = append(addrs, r.Addr)
	}
	addrs = append(addrs, n.host.Addrs()...)
	return addrs[:min(len(addrs), maxInviteAddrs)], nil
}

// Recover makes this node's identity the owner of a database by the text of its recovery
// key, in the place of the identity that had it, which is no member any more. A database
// that this node has is recovered as it is here; another one is fetched whole from a peer or
// a relay in reach, and gets the name. The key is used up. next, if wanted, is the text of
// the one that takes its place.
func (n *Node) Recover(ctx context.Context, name, recovery string, wanted bool) (ref DatabaseRef, next string, err error) {
	r, err := net.ParseRecovery(recovery)
	if err != nil {
		return ref, "", err
	}
	if err := checkName(name); err != nil {
		return ref, "", err
	}
	n.naming.Lock()
	defer n.naming.Unlock()
	have, err := n.has(ctx, r.Thread, name)
	if err != nil {
		return ref, "", err
	}
	addrs, err := n.foundAt(name)
	if err != nil {
		return ref, "", err
	}
	t, after, err := n.host.Recover(ctx, r, wanted)
	if err != nil {
		return ref, "", enterError(err)
	}
	if wanted {
		next = after.At(addrs).Text()
	}
	if !have {
		_, err = n.adopt(ctx, name, t) // else it is the owner's all the same, and named at the next start
	}
	return DatabaseRef{ID: t.ID(), Name: name}, next, err
}

// has reports whether the database of a thread is here, under the name.
func (n *Node) has(ctx context.Context, id net.ThreadID, name string) (bool, error) {
	d, err := n.lookup(name)
	switch {
	case err == nil && d.thread.ID() == id:
		return true, nil
	case err == nil:
		return false, fault.Of(ErrExists, "database %s is not the one of the recovery key: give the name of that one here, or a new one", name)
	case !errors.Is(err, ErrNotFound):
		return false, err
	}
	return false, cmp.Or(n.absent(id), n.finishRemovals(ctx))
}

// Commitment returns what a database commits to.
func (n *Node) Commitment(name string) (Commitment, error) {
	d, err := n.find(name)
	if err != nil {
		return Commitment{}, err
	}
	return d.thread.Commitment(), nil
}
