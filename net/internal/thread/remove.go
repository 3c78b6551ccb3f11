package thread

import (
	"bytes"
	"context"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// What one member does about others: a role, a removal, a transfer, a rotation. Each is one
// control record, which says what this device had of the data that it limits. Whether this
// device may is asked first, so that nobody writes what has no effect.

// SetRole gives an identity another role, on all its devices; one that was removed is a
// member again. What it wrote before that this device has stands by its former role.
// An owner gives any, an admin that of a writer or reader. It is durable on return.
func (t *Thread) SetRole(ctx context.Context, identity keys.PublicKey, role format.Role) error {
	if err := role.Check(); err != nil {
		return err
	}
	_, err := t.decide(ctx, func() (*format.Control, error) {
		self, err := t.mayDecide()
		if err != nil {
			return nil, err
		}
		if self.Role == format.RoleAdmin && role < format.RoleWriter {
			return nil, fault.Of(ErrNotMember, "only an owner makes an identity %s", role)
		}
		firsts, logs := t.graph.LogsOf(identity), t.graph.DataOf(identity)
		if len(firsts) == 0 {
			return nil, fault.Of(ErrNotFound, "no device of %s has joined", identity.DID())
		}
		if err := t.graph.State().Junior(self, identity); err != nil {
			return nil, err
		}
		if devices := t.graph.State().DevicesOf(identity); len(devices) > 0 && !slices.ContainsFunc(devices, func(m *Member) bool { return m.Role != role }) {
			return nil, nil // it has that role
		}
		return &format.Control{Op: format.OpRole, Subject: identity, Role: role, Joins: firsts, View: t.viewOf(logs)}, nil
	})
	return err
}

// readmit lets the join of an identity in that was removed: by a role for that log alone, so
// that what was cut off stays so.
func (t *Thread) readmit(ctx context.Context, w WaitingJoin) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		if _, err := t.mayDecide(); err != nil {
			return nil, err
		}
		role := t.graph.RoleOfJoin(w.Join)
		return &format.Control{
			Op: format.OpRole, Subject: w.Identity, Role: role, Joins: []clock.Hash{w.Join}, View: t.viewOf(t.graph.DataOf(w.Identity)),
		}, nil
	})
	return err
}

// RemoveMember ends the membership of an identity, or of one device: what it writes from then on
// counts nowhere, and it cannot read what is written by who knows of it. All open invites
// are closed, as it may know them. Who is no owner or admin removes own devices only. It is
// durable on return.
func (t *Thread) RemoveMember(ctx context.Context, subject keys.PublicKey) error {
	for listed, done := 0, false; !done; {
		_, err := t.decide(ctx, func() (*format.Control, error) {
			self, err := t.me()
			if err != nil {
				return nil, err
			}
			if t.graph.State().Stopped() {
				return nil, errFrozen
			}
			gone := func(m *Member) bool { return m.Device == subject || m.Identity == subject }
			if gone(self) {
				return nil, fault.Of(ErrNotMember, "a device does not remove itself: it leaves, with weft db leave")
			}
			if err := t.graph.State().MayRemove(self, subject, gone); err != nil {
				return nil, err
			}
			p := &format.Control{Op: format.OpRemove, Subject: subject, View: t.viewOf(t.graph.DataOf(subject))}
			if !self.May(format.RoleAdmin) {
				done = true
				return p, nil
			}
			joins := t.graph.AllJoins()
			joins = joins[min(listed, len(joins)):]
			if len(joins) > format.MaxJoins { // what is too much for one record goes before it
				listed += format.MaxJoins
				return &format.Control{Op: format.OpAdmit, Joins: joins[:format.MaxJoins]}, nil
			}
			done, p.Joins = true, joins
			p.Epoch, err = t.newEpoch(gone, false)
			return p, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Leave ends the membership of this device: nothing that it wrote is lost. The last owner
// cannot leave. It is durable on return.
func (t *Thread) Leave(ctx context.Context) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		self, err := t.me()
		if err != nil {
			return nil, err
		}
		others := false
		for _, m := range t.graph.State().Members {
			others = others || m.Role == format.RoleOwner && (m.Identity != self.Identity || self.Delegated && m != self)
		}
		if self.Role == format.RoleOwner && !others {
			return nil, fault.Of(ErrNotMember, "the last owner does not leave: transfer the database first")
		}
		return &format.Control{Op: format.OpTransfer, View: t.viewOf(t.graph.DataOf(self.Identity))}, nil
	})
	return err
}

// Transfer makes another identity owner in the place of this one, which is no member any
// more. Only an owner can. It is durable on return.
func (t *Thread) Transfer(ctx context.Context, to keys.PublicKey) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		self, ok := t.graph.State().Members[t.env.self()]
		if !ok || !self.May(format.RoleOwner) {
			return nil, fault.Of(ErrNotMember, "only an owner transfers a database")
		}
		if t.graph.State().Stopped() {
			return nil, errFrozen
		}
		if to == self.Identity {
			return nil, fault.Of(ErrNotMember, "the database is this identity's already")
		}
		if len(t.graph.State().DevicesOf(to)) == 0 {
			return nil, fault.Of(ErrNotFound, "%s is no member: invite it first", to.DID())
		}
		return &format.Control{Op: format.OpTransfer, Subject: to, Joins: t.graph.LogsOf(to), View: t.viewOf(t.graph.DataOf(self.Identity))}, nil
	})
	return err
}

// Rotate begins a new epoch, whose key all members and the holders of open invites get. An
// owner's or admin's device can. It is durable on return.
func (t *Thread) Rotate(ctx context.Context) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		if _, err := t.mayDecide(); err != nil {
			return nil, err
		}
		e, err := t.newEpoch(func(*Member) bool { return false }, true)
		return &format.Control{Op: format.OpRotate, Epoch: e}, err
	})
	return err
}

// RotateIfDue is Rotate if members lack the key of the present epoch, or if there are
// several, by the device that is first to: the most senior one. It reports whether it did.
func (t *Thread) RotateIfDue(ctx context.Context) (bool, error) {
	t.mu.Lock()
	due := !t.closed && !t.relay && t.rotationDue()
	t.mu.Unlock()
	if !due {
		return false, nil
	}
	return true, t.Rotate(ctx)
}

// rotationDue reports whether a rotation is due, by this device.
func (t *Thread) rotationDue() bool {
	return t.ownControl != nil && t.graph.RotationDue(t.env.self(), t.keys.Has, t.unlinked)
}

// me returns this device as a member; mu is held.
func (t *Thread) me() (*Member, error) {
	m := t.graph.State().Members[t.env.self()]
	if m == nil {
		return nil, fault.Of(ErrNotMember, "this device is no member")
	}
	if m.Added {
		return nil, fault.Of(ErrNotMember, "this device was added and has not begun: accept what the device that added it gave")
	}
	return m, nil
}

// decide appends the control record that say gives, asked with the locks held; none if it
// gives none.
func (t *Thread) decide(ctx context.Context, say func() (*format.Control, error)) (clock.RecordID, error) {
	if err := ctx.Err(); err != nil {
		return clock.RecordID{}, err
	}
	id, err := t.commitControl(say)
	if err != nil || id.Seq == 0 {
		return id, err
	}
	if err := t.syncNow(); err != nil {
		return id, err
	}
	if err := t.recheck(); err != nil { // what it lets in or cuts off
		return id, err
	}
	return id, t.hasEffect(id)
}

// hasEffect returns why a control record of ours has none, or nil: something may have come
// between, and nobody is told of an effect that is not there.
func (t *Thread) hasEffect(id clock.RecordID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.graph.State().Refused {
		if r.ID == id {
			return fault.Of(ErrNotMember, "what was written has no effect: %s", r.Reason)
		}
	}
	return nil
}

// mayDecide returns this device as a member if it is an owner or admin; mu is held.
func (t *Thread) mayDecide() (*Member, error) {
	m := t.graph.State().Members[t.env.self()]
	switch {
	case m == nil || !m.May(format.RoleAdmin):
		return nil, fault.Of(ErrNotMember, "only an owner or admin decides who is a member")
	case t.graph.State().Stopped():
		return nil, errFrozen
	case !t.keys.CanRead():
		return nil, ErrNoKeys
	}
	return m, nil
}

// viewOf returns the last signed positions of data logs that are held, of each branch; mu
// is held. Records can be sent up to these, and no further.
func (t *Thread) viewOf(logs []clock.LogID) (heads []clock.RecordID) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, id := range logs {
		l := t.logs[id]
		if l == nil || l.Desc.Kind != format.KindData {
			continue
		}
		for _, b := range l.Branches {
			at, err := t.rows.SignedBefore(snap, l.Num, &b.Branch, b.Done)
			if err != nil {
				t.env.log.Error("reading what is signed of a log", "thread", t.id.String(), "log", id.Short(), "err", err)
			}
			if at.Seq > 0 {
				heads = append(heads, at)
			}
		}
	}
	slices.SortFunc(heads, format.CompareHeads)
	heads = slices.Compact(heads)
	return heads[:min(len(heads), format.MaxView)]
}

// newEpoch returns an epoch for all who read but some, and if wanted for the holders of
// open invites, with its key; mu is held.
func (t *Thread) newEpoch(but func(*Member) bool, invites bool) (*format.Epoch, error) {
	now := t.graph.State().Epochs()
	before := slices.Concat(now, slices.DeleteFunc(t.unlinked(), func(e clock.Hash) bool { return slices.Contains(now, e) }))
	var to []format.Recipient
	for _, m := range t.graph.State().Readers() {
		if !but(m) {
			to = append(to, format.Recipient{Sign: m.Device, Seal: m.Seal})
		}
	}
	open := map[clock.Hash]keys.PublicKey{}
	if invites {
		for h, i := range t.graph.State().Invites {
			if i.Open(t.env.clock.Real()) == nil {
				open[h] = i.Key
			}
		}
	}
	// Of more members than one record has room for, the others read nothing new until some
	// have left: many joins keep nobody from being removed.
	slices.SortFunc(to, func(a, b format.Recipient) int { return bytes.Compare(a.Sign[:], b.Sign[:]) })
	to = to[:min(len(to), format.MaxDevices)]
	for h := range open {
		if len(open) >= format.MaxSealedTo {
			delete(open, h)
		}
	}
	if heir := t.graph.State().Heir(); !heir.IsZero() {
		open[clock.Hash(heir)] = heir
	}
	return format.NewEpoch(t.id, &t.keys, before, to, open)
}
