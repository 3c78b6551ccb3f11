package thread

import (
	"slices"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
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
	if !v.stranger || c.payload.Op != format.OpJoin || v.desc.Device == t.env.self() {
		return nil
	}
	s := t.graph.state()
	if _, listed := s.listed[c.id.Hash]; listed || t.wanted[c.id.Hash] {
		return nil
	}
	inv := s.invites[c.payload.Invite]
	if inv == nil {
		return ErrNoInvite
	}
	now := t.env.clock.Real()
	if err := inv.open(now); err != nil {
		return err
	}
	cert, err := keys.DecodeCertificate(c.payload.Certificate)
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
	return t.closeEach(func(c *controlRecord, i *InviteInfo) bool {
		return i.Creator == t.env.self() && i.Uses != 0 && i.Used >= i.Uses
	})
}

// CloseExpired closes the invites that expired a day ago, of this device's making, or
// two days ago, of another's to whom it is not junior. It is called by a device that is
// caught up: one that is not would leave out who came in time.
func (t *Thread) CloseExpired() error {
	now := t.env.clock.Real()
	return t.closeEach(func(c *controlRecord, i *InviteInfo) bool {
		after := expiredFor
		if i.Creator != t.env.self() {
			after += expiredFor
		}
		return i.Expires != 0 && now >= i.Expires+clock.Time(after.Milliseconds())<<16
	})
}

// closeEach closes the invites that are due, if this device may.
func (t *Thread) closeEach(due func(*controlRecord, *InviteInfo) bool) error {
	type ending struct {
		invite clock.Hash
		joins  []clock.Hash
	}
	t.mu.Lock()
	var ends []ending
	s := t.graph.state()
	if t.ownControl != nil && t.keys.CanRead() && !t.closed {
		own, rank := s.standing[t.ownControl.id], t.graph.ranks[t.ownControl.id]
		for _, made := range t.graph.invites {
			for _, c := range made {
				i := s.invites[c.id.Hash]
				by, closed := s.closed[c.id.Hash]
				if own == nil || own.Role != format.RoleOwner || i == nil || closed && by <= c.rank || rank > c.rank || !due(c, i) {
					continue
				}
				joins := t.graph.joins(c.id.Hash)
				if i.Uses != 0 {
					joins = joins[:min(uint64(len(joins)), i.Uses)]
				}
				ends = append(ends, ending{c.id.Hash, joins})
			}
		}
	}
	t.mu.Unlock()
	slices.SortFunc(ends, func(a, b ending) int { return format.CompareHashes(a.invite, b.invite) })
	for _, e := range ends {
		if err := t.closeInvite(e.invite, e.joins); err != nil {
			return err
		}
	}
	if len(ends) > 0 {
		t.notify()
	}
	return nil
}
