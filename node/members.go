package node

import (
	"context"
	"strings"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
)

// Who may take part in a database, as its members know it.
type (
	// A Member is a device that may take part.
	Member = net.Member
	// A WaitingJoin is a device whose invite was closed before its join was known, or whose
	// identity was removed or left before.
	WaitingJoin = net.WaitingJoin
	// An InviteInfo is what members know of an invite: not its secret.
	InviteInfo = net.InviteInfo
)

// asked returns what the thread of a database says, also of one that is being rebuilt.
func asked[T any](n *Node, name string, what func(*net.Thread) []T) ([]T, error) {
	d, err := n.find(name)
	if err != nil {
		return nil, err
	}
	return what(d.thread), nil
}

// Members returns the members of a database, oldest first.
func (n *Node) Members(name string) ([]Member, error) { return asked(n, name, (*net.Thread).Members) }

// WaitingJoins returns the devices that wait until an owner or admin admits them.
func (n *Node) WaitingJoins(name string) ([]WaitingJoin, error) {
	return asked(n, name, (*net.Thread).WaitingJoins)
}

// Invites returns the invites that were ever made to a database.
func (n *Node) Invites(name string) ([]InviteInfo, error) {
	return asked(n, name, (*net.Thread).Invites)
}

// decided has the thread of a database that is served do something.
func (n *Node) decided(name string, what func(*net.Thread) error) error {
	d, err := n.lookup(name)
	if err != nil {
		return err
	}
	return what(d.thread)
}

// RevokeInvite closes an invite: the devices that this one knows to have joined stay. An
// owner or admin can.
func (n *Node) RevokeInvite(ctx context.Context, name string, invite keys.PublicKey) error {
	return n.decided(name, func(t *net.Thread) error { return t.RevokeInvite(ctx, invite) })
}

// Admit lets devices in that wait, each by the record of its join. An owner or admin can.
func (n *Node) Admit(ctx context.Context, name string, joins ...net.Hash) error {
	return n.decided(name, func(t *net.Thread) error { return t.Admit(ctx, joins...) })
}

// SetRole gives an identity a role on all its devices: owner, admin, writer or reader. See
// [net.Thread.SetRole], and for those below the methods of the same name.
func (n *Node) SetRole(ctx context.Context, name string, identity keys.PublicKey, role string) error {
	r, err := parseRole(role, "owner, admin, writer or reader")
	if err != nil {
		return err
	}
	return n.decided(name, func(t *net.Thread) error { return t.SetRole(ctx, identity, r) })
}

// RemoveMember ends the membership of an identity or of one device, and closes all invites.
func (n *Node) RemoveMember(ctx context.Context, name string, subject keys.PublicKey) error {
	return n.decided(name, func(t *net.Thread) error { return t.RemoveMember(ctx, subject) })
}

// Leave ends the membership of this device. Its copy stays, and what it wrote at the others.
func (n *Node) Leave(ctx context.Context, name string) error {
	return n.decided(name, func(t *net.Thread) error { return t.Leave(ctx) })
}

// Transfer makes another identity owner in the place of this one, which is out.
func (n *Node) Transfer(ctx context.Context, name string, to keys.PublicKey) error {
	return n.decided(name, func(t *net.Thread) error { return t.Transfer(ctx, to) })
}

// Rotate changes the key that seals what is written from now on.
func (n *Node) Rotate(ctx context.Context, name string) error {
	return n.decided(name, func(t *net.Thread) error { return t.Rotate(ctx) })
}

// parseRole returns the role with a name; those lists what may be given.
func parseRole(name, those string) (net.Role, error) {
	r, err := net.ParseRole(name)
	if err != nil || !strings.Contains(those, name) {
		return 0, fault.Of(ErrInvalid, "role %.40q: give %s", name, those)
	}
	return r, nil
}

// InviteKey returns the public key that names the invite of a URL.
func InviteKey(url string) (keys.PublicKey, error) {
	i, err := net.ParseInvite(url)
	if err != nil {
		return keys.PublicKey{}, err
	}
	return i.Key(), nil
}

// PeerOf returns the peer ID of a device, "" for what is no device's key.
func PeerOf(device keys.PublicKey) string {
	p, err := net.PeerOf(device)
	if err != nil {
		return ""
	}
	return p.String()
}
