package thread

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// InviteOptions say what an invite lets people do. The zero value lets one device
// in as a writer, for a day.
type InviteOptions struct {
	Role    format.Role   // 0 means RoleWriter; RoleReader is the other that an invite gives
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
	if o.Role < format.RoleWriter {
		return format.Invite{}, fault.Of(format.ErrOperation, "nobody becomes an %s by an invite: invite a writer, and then change the role of who came", o.Role)
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
		p.Expires = t.env.clock.Real() + clock.Time(o.Expires.Milliseconds())<<16
	}
	if err := t.mayGrant(); err != nil {
		return format.Invite{}, err
	}
	t.mu.Lock()
	k := t.present()
	t.mu.Unlock()
	if _, ok := k.Read(k.Epochs); !ok {
		return format.Invite{}, verify.ErrEpoch
	}
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
	made, err := t.appendControl(ctx, p)
	if err == nil {
		err = t.hasEffect(made)
	}
	if err != nil {
		return format.Invite{}, err
	}
	return inv, nil
}

// RevokeInvite closes an invite: the joins that this device knows stand, one that it does
// not know waits until an owner admits it. Only an owner can. It is durable on return.
func (t *Thread) RevokeInvite(ctx context.Context, key keys.PublicKey) error {
	if err := t.mayGrant(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	known := len(t.graph.InvitesOf(key)) > 0
	var ends []clock.Hash
	if t.ownControl != nil {
		ends = t.graph.Endings(t.ownControl.ID, func(i *InviteInfo) bool { return i.Key == key })
	}
	t.mu.Unlock()
	if !known {
		return ErrNoInvite
	}
	for _, invite := range ends {
		if err := t.closeInvite(invite); err != nil {
			return err
		}
	}
	if err := t.syncNow(); err != nil {
		return err
	}
	t.notify()
	return nil
}

// closeInvite commits the close of an invite, which lists the joins that stand when it is
// written. What is too much for one record goes into admits before it.
func (t *Thread) closeInvite(invite clock.Hash) error {
	for listed, done := 0, false; !done; {
		_, err := t.commitControl(func() (*format.Control, error) {
			joins := t.graph.Joins(invite)
			slices.SortFunc(joins, format.CompareHashes)
			joins = joins[min(listed, len(joins)):]
			if len(joins) > format.MaxJoins {
				listed += format.MaxJoins
				return &format.Control{Op: format.OpAdmit, Joins: joins[:format.MaxJoins]}, nil
			}
			done = true
			return &format.Control{Op: format.OpClose, Invite: invite, Joins: joins}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Admit lets devices in that wait, by their join's record. Only an owner can. It is
// durable on return.
func (t *Thread) Admit(ctx context.Context, joins ...clock.Hash) error {
	if err := t.mayGrant(); err != nil {
		return err
	}
	waiting := t.WaitingJoins()
	var barred []WaitingJoin
	for _, j := range joins {
		i := slices.IndexFunc(waiting, func(w WaitingJoin) bool { return w.Join == j })
		if i < 0 {
			return fault.Of(ErrNotFound, "no join %x waits", j[:4])
		}
		if waiting[i].Barred {
			barred = append(barred, waiting[i])
		}
	}
	joins = slices.Clone(joins)
	slices.SortFunc(joins, format.CompareHashes)
	for chunk := range slices.Chunk(slices.Compact(joins), format.MaxJoins) {
		if _, err := t.appendControl(ctx, &format.Control{Op: format.OpAdmit, Joins: chunk}); err != nil {
			return err
		}
	}
	for _, w := range barred {
		if err := t.readmit(ctx, w); err != nil {
			return err
		}
	}
	return t.recheck() // what stood at the door
}

// WaitingJoins returns the joins that wait until an owner admits them, in the order of
// their clocks: those that no close lists, and those that this device did not let in.
func (t *Thread) WaitingJoins() []WaitingJoin {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(slices.Clone(t.graph.State().Waiting), t.atTheDoor()...)
	slices.SortFunc(all, func(a, b WaitingJoin) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), format.CompareHashes(a.Join, b.Join))
	})
	return all
}

// WaitingJoin returns the join of a device that waits, and is no member by another.
func (t *Thread) WaitingJoin(device keys.PublicKey) (WaitingJoin, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.graph.State()
	i := slices.IndexFunc(s.Waiting, func(w WaitingJoin) bool { return w.Device == device })
	if i < 0 || s.Members[device] != nil {
		return WaitingJoin{}, false
	}
	return s.Waiting[i], true
}

// mayGrant returns nil if this device may make and revoke invites now.
func (t *Thread) mayGrant() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.mayDecide()
	return err
}

// InviteOpen returns nil if the invite lets somebody in at time now, ErrNoInvite
// if it is unknown here, and else an ErrInvite that says why not. The present recovery key
// is as good.
func (t *Thread) InviteOpen(key keys.PublicKey, now clock.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, err := t.graph.State().Recovery.Opens(key); known {
		return err
	}
	_, err := t.graph.OpenInvite(key, now)
	return err
}

// openInvite returns the record of the invite by which its holder can join now, and
// the keys that it seals.
func (t *Thread) openInvite(key keys.PublicKey) (record clock.Hash, sealed []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.graph.OpenInvite(key, t.env.clock.Real())
	if err != nil {
		return record, nil, err
	}
	return c.ID.Hash, c.Payload.Sealed, nil
}

// Invites returns the invites that members know of, by key.
func (t *Thread) Invites() []InviteInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]InviteInfo, 0, len(t.graph.State().Invites))
	for _, i := range t.graph.State().Invites {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b InviteInfo) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return all
}
