package thread

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// InviteOptions say what an invite lets people do. The zero value lets one device
// in as a writer, for a day.
type InviteOptions struct {
	Role    format.Role   // 0 means RoleWriter; only RoleOwner and RoleWriter exist yet
	Expires time.Duration // 0 means 24 hours, negative never
	Uses    int           // 0 means 1, negative any number
	Addrs   []multiaddr.Multiaddr
}

// CreateInvite lets whoever holds the invite join, also while only a relay is
// online. Only an owner can. It is durable on return; the invite is kept nowhere.
func (t *Thread) CreateInvite(ctx context.Context, o InviteOptions) (format.Invite, error) {
	if o.Role == 0 {
		o.Role = format.RoleWriter
	}
	if err := o.Role.Check(); err != nil {
		return format.Invite{}, err
	}
	if len(o.Addrs) > format.MaxInviteAddrs {
		return format.Invite{}, fault.Of(format.ErrTooLarge, "an invite has at most %d addresses", format.MaxInviteAddrs)
	}
	p := &format.Control{Op: format.OpInvite, Role: o.Role, Uses: uint64(max(o.Uses, 0))}
	if o.Uses == 0 {
		p.Uses = 1
	}
	if o.Expires == 0 {
		o.Expires = 24 * time.Hour
	}
	if o.Expires > 0 {
		p.Expires = t.env.clock.Now() + clock.Time(o.Expires.Milliseconds())<<16
	}
	if err := t.mayGrant(); err != nil {
		return format.Invite{}, err
	}
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	inv, err := format.NewInvite(t.id, k.Service, o.Addrs)
	if err != nil {
		return format.Invite{}, err
	}
	id, err := format.InviteIdentity(inv)
	if err != nil {
		return format.Invite{}, err
	}
	p.Key = id.Public()
	if p.Sealed, err = format.SealForInvite(t.id, id, &k); err != nil {
		return format.Invite{}, err
	}
	if _, err = t.appendControl(ctx, p); err != nil {
		return format.Invite{}, err
	}
	return inv, nil
}

// RevokeInvite ends an invite: a join that has not seen this is void, unless it is
// ordered before. Only an owner can. It is durable on return.
func (t *Thread) RevokeInvite(ctx context.Context, key keys.PublicKey) error {
	if err := t.mayGrant(); err != nil {
		return err
	}
	if err := t.InviteOpen(key, 0); errors.Is(err, ErrNoInvite) {
		return err
	}
	_, err := t.appendControl(ctx, &format.Control{Op: format.OpRevokeInvite, Key: key})
	return err
}

// mayGrant returns nil if this device may make and revoke invites now.
func (t *Thread) mayGrant() error {
	if m, ok := t.Member(t.env.self()); !ok || m.Role != format.RoleOwner {
		return fault.Of(ErrNotMember, "only an owner gives and revokes invites")
	}
	if !t.Joined() {
		return ErrNoKeys
	}
	return nil
}

// An InviteInfo is what members know of an invite: not its secret.
type InviteInfo struct {
	Key     keys.PublicKey
	Role    format.Role
	Expires clock.Time // 0 means never
	Uses    uint64     // 0 means any number
	Used    uint64
	Revoked bool
	Creator keys.PublicKey // device
}

// open reports why the invite lets nobody in at time now, or nil.
func (i *InviteInfo) open(now clock.Time) error {
	switch {
	case i.Revoked:
		return fault.Of(ErrInvite, "the invite was revoked")
	case i.Expires != 0 && now >= i.Expires:
		return fault.Of(ErrInvite, "the invite has expired")
	case i.Uses != 0 && i.Used >= i.Uses:
		return fault.Of(ErrInvite, "the invite is used up")
	}
	return nil
}

// InviteOpen returns nil if the invite lets somebody in at time now, ErrNoInvite
// if it is unknown here, and else an ErrInvite that says why not.
func (t *Thread) InviteOpen(key keys.PublicKey, now clock.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.graph.state().invites[key]
	if i == nil {
		return ErrNoInvite
	}
	return i.open(now)
}

// Invites returns the invites that members know of, by key.
func (t *Thread) Invites() []InviteInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]InviteInfo, 0, len(t.graph.state().invites))
	for _, i := range t.graph.state().invites {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b InviteInfo) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return all
}
