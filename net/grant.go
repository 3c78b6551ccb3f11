package net

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// An InviteInfo is what members know of an invite: not its secret.
type InviteInfo struct {
	Key     keys.PublicKey
	Role    Role
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
		return fmt.Errorf("%w: revoked", ErrInvite)
	case i.Expires != 0 && now >= i.Expires:
		return fmt.Errorf("%w: expired", ErrInvite)
	case i.Uses != 0 && i.Used >= i.Uses:
		return fmt.Errorf("%w: used up", ErrInvite)
	}
	return nil
}

// inviteOpen returns nil if the invite lets somebody in at time now, ErrNoInvite
// if it is unknown here, and else an ErrInvite that says why not.
func (t *replica) inviteOpen(key keys.PublicKey, now clock.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.graph.state.invites[key]
	if i == nil {
		return ErrNoInvite
	}
	return i.open(now)
}

// Invites returns the invites that members know of, by key.
func (t *replica) Invites() []InviteInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]InviteInfo, 0, len(t.graph.state.invites))
	for _, i := range t.graph.state.invites {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b InviteInfo) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return all
}

// InviteOptions say what an invite lets people do. The zero value lets one device
// in as a writer, for a day.
type InviteOptions struct {
	Role    Role          // 0 means RoleWriter; only RoleOwner and RoleWriter exist yet
	Expires time.Duration // 0 means 24 hours, negative never
	Uses    int           // 0 means 1, negative any number
	Addrs   []multiaddr.Multiaddr
}

// CreateInvite lets whoever holds the invite join, also while only a relay is
// online. Only an owner can. It is durable on return; the invite is kept nowhere.
func (t *replica) CreateInvite(ctx context.Context, o InviteOptions) (Invite, error) {
	if o.Role == 0 {
		o.Role = RoleWriter
	}
	if err := o.Role.check(); err != nil {
		return Invite{}, err
	}
	if len(o.Addrs) > maxInviteAddrs {
		return Invite{}, fmt.Errorf("%w: an invite has at most %d addresses", ErrTooLarge, maxInviteAddrs)
	}
	p := &controlPayload{Op: opInvite, Role: o.Role, Uses: uint64(max(o.Uses, 0))}
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
		return Invite{}, err
	}
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	inv, err := newInvite(t.id, k.Service, o.Addrs)
	if err != nil {
		return Invite{}, err
	}
	id, err := inviteIdentity(inv)
	if err != nil {
		return Invite{}, err
	}
	p.Key = id.Public()
	if p.Sealed, err = sealForInvite(t.id, id, &k); err != nil {
		return Invite{}, err
	}
	if _, err = t.appendControl(ctx, p); err != nil {
		return Invite{}, err
	}
	return inv, nil
}

// RevokeInvite ends an invite: a join that has not seen this is void, unless it is
// ordered before. Only an owner can. It is durable on return.
func (t *replica) RevokeInvite(ctx context.Context, key keys.PublicKey) error {
	if err := t.mayGrant(); err != nil {
		return err
	}
	if err := t.inviteOpen(key, 0); errors.Is(err, ErrNoInvite) {
		return err
	}
	_, err := t.appendControl(ctx, &controlPayload{Op: opRevokeInvite, Key: key})
	return err
}

func (t *replica) mayGrant() error {
	if m, ok := t.member(t.env.self()); !ok || m.Role != RoleOwner {
		return fmt.Errorf("%w: only an owner can", ErrNotMember)
	}
	if !t.joined() {
		return ErrNoKeys
	}
	return nil
}
