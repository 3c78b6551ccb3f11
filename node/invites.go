package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
)

// InviteOptions say what an invite gives. The zero value lets one device in as a
// writer, for a day.
type InviteOptions struct {
	Role    string        // writer or reader; "" means writer
	Expires time.Duration // 0 means 24 hours, negative never
	Uses    int           // how many may join; 0 means 1, negative any number
}

// maxInviteAddrs bounds the addresses in an invite. Relays come first, as they are most
// likely online.
const maxInviteAddrs = 8

// Invite makes an invite to a database and returns its URL, a bearer secret:
// whoever holds it may join. It names the database's relays and this node.
func (n *Node) Invite(ctx context.Context, name string, o InviteOptions) (string, error) {
	d, err := n.lookup(name)
	if err != nil {
		return "", err
	}
	role, err := parseRole(cmp.Or(o.Role, "writer"), "writer or reader")
	if err != nil {
		return "", fmt.Errorf("%w: nobody becomes more by an invite, but by weft db role afterwards", err)
	}
	addrs, err := n.foundAt(name)
	if err != nil {
		return "", err
	}
	invite, err := d.thread.CreateInvite(ctx, net.InviteOptions{Role: role, Expires: o.Expires, Uses: o.Uses, Addrs: addrs})
	if err != nil {
		return "", err
	}
	return invite.URL(), nil
}

// Join joins the database of an invite under a name of this node's, "" for the name that
// its owner gave it. It returns when this device is a member; the records follow in the
// background. naming is held while the network is asked, so that the name is still free
// when it is given; others who make or join a database wait as long. If the process ends
// after the join, nameThreads takes the thread up; one that gets no name here is removed.
func (n *Node) Join(ctx context.Context, url, name string) (DatabaseRef, error) {
	var ref DatabaseRef
	if name != "" {
		if err := checkName(name); err != nil {
			return ref, err
		}
	}
	invite, err := net.ParseInvite(strings.TrimSpace(url))
	if err != nil {
		return ref, err
	}
	n.naming.Lock()
	defer n.naming.Unlock()
	if name != "" {
		if err := n.free(name); err != nil {
			return ref, err
		}
	}
	// What is left of a removal would take the thread away again.
	if err := cmp.Or(n.absent(invite.Thread), n.finishRemovals(ctx)); err != nil {
		return ref, err
	}
	t, err := n.host.Join(ctx, invite)
	if err != nil {
		return ref, joinError(err)
	}
	if name == "" {
		if name, err = n.freeName(t.Name()); err != nil {
			return ref, errors.Join(err, n.host.Remove(context.WithoutCancel(ctx), t.ID()))
		}
	}
	if _, err := n.adopt(ctx, name, t); err != nil {
		return ref, err
	}
	return DatabaseRef{ID: t.ID(), Name: name}, nil
}

// absent returns an error if a thread is a database of this node, or what is left of one
// that is damaged: a join would write beside what its repair reads.
func (n *Node) absent(id net.ThreadID) error {
	for _, d := range n.all() {
		if d.thread.ID() == id {
			return fault.Of(ErrExists, "this database is already here, as %s", d.name)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.damaged {
		if d.id == id {
			return d.refuse()
		}
	}
	return nil
}

// joinError says what to do when an invite did not do.
func joinError(err error) error {
	if refused, ok := errors.AsType[*keys.Refusal](err); ok && refused.Code == net.CodeBadInvite {
		return fmt.Errorf("%w: ask for another invite", refused)
	}
	if !fault.Is(err, fault.Internal) {
		return err
	}
	return fault.Of(ErrUnreachable, "%v: try again when a relay or member that the invite names is online", err)
}

// freeName returns a name of this node for an owner's name: that name, or it
// with a number.
func (n *Node) freeName(name string) (string, error) {
	if checkName(name) != nil {
		name = "joined"
	}
	for i := 1; ; i++ {
		try := name
		if i > 1 {
			try = fmt.Sprintf("%.50s-%d", name, i)
		}
		if err := n.free(try); !errors.Is(err, ErrExists) {
			return try, err
		}
	}
}
