package node

import (
	"context"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
)

// Who may take part in a database, as its members know it.
type (
	// A Member is a device that may take part.
	Member = net.Member
	// A WaitingJoin is a device whose invite was closed before its join was known.
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

// WaitingJoins returns the devices that wait until an owner admits them.
func (n *Node) WaitingJoins(name string) ([]WaitingJoin, error) {
	return asked(n, name, (*net.Thread).WaitingJoins)
}

// Invites returns the invites that were ever made to a database.
func (n *Node) Invites(name string) ([]InviteInfo, error) {
	return asked(n, name, (*net.Thread).Invites)
}

// RevokeInvite closes an invite: the devices that this one knows to have joined stay. Only
// an owner can.
func (n *Node) RevokeInvite(ctx context.Context, name string, invite keys.PublicKey) error {
	d, err := n.lookup(name)
	if err != nil {
		return err
	}
	return d.thread.RevokeInvite(ctx, invite)
}

// Admit lets devices in that wait, each by the record of its join. Only an owner can.
func (n *Node) Admit(ctx context.Context, name string, joins ...net.Hash) error {
	d, err := n.lookup(name)
	if err != nil {
		return err
	}
	return d.thread.Admit(ctx, joins...)
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
