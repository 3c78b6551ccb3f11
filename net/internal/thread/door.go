package thread

import (
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// The fold does not look at how often an invite was used, nor when: clocks and the order of
// joins are their writers' choice. Honest devices enforce both, each by its own clock:
//
//	the door    a join that a stranger brings is taken in while its invite is open, or
//	            once a record of a member names it; else it is parked
//	the close   ends an invite for everybody, and lists all who came in: by the device
//	            that made the invite when it is used up, and a day after it expired
//
// The end of a delegation is a door's matter too, for all that the device brings itself.
//
// What members and relays bring passes: a door is passed once. So does a recover, whoever
// brings it: a second use of a key is heard of everywhere, or two owners would each have a
// part of the members.

// door returns why a join that a stranger brings, and that Check has passed, is not taken in
// now, or nil; mu is held.
func (t *Thread) door(v *verify.Run) error {
	c := v.Records[0].Control
	if !v.Stranger || c.Payload.Op != format.OpJoin || v.Desc.Device == t.env.self() {
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
	if err := c.Valid(now.Wall()); err != nil {
		return fault.Of(ErrNotMember, "join: %w", err)
	}
	return nil
}

// lapsed returns why nothing more of a delegated device is taken from a stranger, as which it
// counts itself once its time is over by the clock here; or nil. mu is held.
func (t *Thread) lapsed(v *verify.Run) *Rejection {
	m := t.graph.State().Members[v.Desc.Device]
	last := v.Records[len(v.Records)-1].ID
	if !v.Stranger || m == nil || !m.Expired(t.env.clock.Real().Wall()) || t.wanted[last.Hash] {
		return nil
	}
	return verify.Refuse(fault.NotMember, last, "the delegation of the device expired at "+m.Expires.String()+": its identity delegates again", ErrNotMember)
}

// atTheDoor returns the joins that strangers brought and that were not let in; mu is held.
func (t *Thread) atTheDoor() (all []WaitingJoin) {
	for _, v := range t.parked.Runs {
		c := v.Records[0].Control
		if c == nil || c.Payload.Op != format.OpJoin {
			continue
		}
		if _, lacks := t.graph.Lacks(c); lacks || t.graph.Check(c) != nil || t.door(v) == nil {
			continue
		}
		all = append(all, c.Describe())
	}
	return all
}

// maxWanted bounds the control records that members name and that are not held.
const maxWanted = 4096

// want notes that a record of a member names a control record that is not held: its
// author has let it in.
func (t *Thread) want(h clock.Hash) {
	if !t.wanted[h] && len(t.wanted) < maxWanted {
		t.wanted[h] = true
		t.wantedMore = true
		if t.idled {
			t.idled = false
			t.revived.Ring() // it may be what was refused
		}
	}
}

// expiredFor is how long after its end an expired invite is closed: until then those
// who came in time are heard of.
const expiredFor = 24 * time.Hour

// CloseEnded closes the invites of this device's making that are used up, or expired a day
// ago, and another's, to whom it is not junior, that expired two days ago. It is called by
// a device that is caught up: one that is not would leave out who came in time.
func (t *Thread) CloseEnded() error {
	now := t.env.clock.Real()
	t.mu.Lock()
	var ends []clock.Hash
	if t.ownControl != nil && t.keys.CanRead() && !t.closed {
		ends = t.graph.Endings(t.ownControl.ID, func(i *InviteInfo) bool {
			own, after := i.Creator == t.env.self(), expiredFor
			if !own {
				after += expiredFor
			}
			return own && i.Uses != 0 && i.Used >= i.Uses || i.Expires != 0 && now >= i.Expires+clock.Time(after.Milliseconds())<<16
		})
	}
	t.mu.Unlock()
	for _, invite := range ends {
		if err := t.closeInvite(invite); err != nil {
			return err
		}
	}
	if len(ends) > 0 {
		t.notify()
	}
	return nil
}
