package thread

import (
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// The fold does not judge how often an invite was used, nor when: clocks and the order of
// joins are their writers' choice. Honest devices enforce both, each by its own clock:
//
//	the door    a join that a stranger brings is taken in while its invite is open, or
//	            once a record of a member names it; else it is parked
//	the close   ends an invite for everybody, and lists who came in: by the device
//	            that made the invite when it is used up, and a day after it expired
//
// What members and relays bring passes: a door is passed once.

// door returns why a join that a stranger brings is not taken in now, or nil; mu is held.
func (t *Thread) door(v *verifiedRun) error {
	c := v.records[0].control
	if !v.stranger || c.Payload.Op != format.OpJoin || v.desc.Device == t.env.self() {
		return nil
	}
	s := t.graph.State()
	if s.Lists(c.ID.Hash) || t.wanted[c.ID.Hash] {
		return nil
	}
	inv := s.Invites[c.Payload.Invite]
	if inv == nil {
		return ErrNoInvite
	}
	now := t.env.clock.Real()
	if err := inv.Open(now); err != nil {
		return err
	}
	cert, err := keys.DecodeCertificate(c.Payload.Certificate)
	if err != nil {
		return fault.Of(format.ErrMalformed, "join: %w", err)
	}
	if err := cert.Verify(now.Wall()); err != nil {
		return fault.Of(ErrNotMember, "join: %w", err)
	}
	return nil
}

// maxWanted bounds the control records that members name and that are not held.
const maxWanted = 4096

// want notes that a record of a member names a control record that is not held: its
// author has let it in.
func (t *Thread) want(h clock.Hash) {
	if !t.wanted[h] && len(t.wanted) < maxWanted {
		t.wanted[h] = true
		t.wantedMore = true
	}
}

// expiredFor is how long after its end an expired invite is closed: until then those
// who came in time are heard of.
const expiredFor = 24 * time.Hour

// closeUsedUp closes the invites that this device made and that are used up. It lists the
// joins that came first.
func (t *Thread) closeUsedUp() error {
	return t.closeEach(func(i *InviteInfo) bool {
		return i.Creator == t.env.self() && i.Uses != 0 && i.Used >= i.Uses
	})
}

// CloseExpired closes the invites that expired a day ago, of this device's making, or
// two days ago, of another's to whom it is not junior. It is called by a device that is
// caught up: one that is not would leave out who came in time.
func (t *Thread) CloseExpired() error {
	now := t.env.clock.Real()
	return t.closeEach(func(i *InviteInfo) bool {
		after := expiredFor
		if i.Creator != t.env.self() {
			after += expiredFor
		}
		return i.Expires != 0 && now >= i.Expires+clock.Time(after.Milliseconds())<<16
	})
}

// closeEach closes the invites that are due, if this device may.
func (t *Thread) closeEach(due func(*InviteInfo) bool) error {
	t.mu.Lock()
	var ends []control.Ending
	if t.ownControl != nil && t.keys.CanRead() && !t.closed {
		ends = t.graph.Endings(t.ownControl.id, due)
	}
	t.mu.Unlock()
	for _, e := range ends {
		if err := t.closeInvite(e.Invite, e.Joins); err != nil {
			return err
		}
	}
	if len(ends) > 0 {
		t.notify()
	}
	return nil
}
