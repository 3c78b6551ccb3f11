package control

import (
	"slices"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// checkVouch checks that what a vouch is about is a checkpoint that its author had seen.
func (g *Graph) checkVouch(c *Record) error {
	q := g.index[c.Payload.Vouched]
	if q == nil || q.Payload.Op != format.OpCheckpoint || !g.Reaches(c.Parents, q) {
		return fault.Of(format.ErrMalformed, "vouch for what is no checkpoint that its author has seen")
	}
	return nil
}

// A Vouch is what the device of an owner or admin says of another's checkpoint.
type Vouch struct {
	By    *Record
	Agree bool // its own history gave the same state
	Stays bool // it still is the device of an owner or admin
}

// VouchesFor returns what devices other than its own said of a checkpoint, in the order of the
// graph. Of a device that says both, its objection holds.
func (s *State) VouchesFor(c *Checkpoint) (all []Vouch) {
	for _, r := range s.vouches {
		if r.Payload.Vouched != c.ID.Hash || r.Device == c.by.Device {
			continue
		}
		m := s.Members[r.Device]
		all = append(all, Vouch{By: r, Agree: r.Payload.State == c.State, Stays: m != nil && m.May(format.RoleAdmin)})
	}
	return all
}

// Device returns the device that wrote the checkpoint.
func (c *Checkpoint) Device() keys.PublicKey { return c.by.Device }

// Time returns when it was written, by its writer's clock.
func (c *Checkpoint) Time() clock.Time { return c.by.Time }

// A Kept says what is cut off and is still to be kept.
type Kept struct {
	Until      time.Time // of the checkpoint that came last; zero: there is none
	Objections []Objection
}

// An Objection is what the device of an owner or admin said of a checkpoint: its own history
// gives another state.
type Objection struct {
	Device     keys.PublicKey
	Checkpoint clock.Hash
}

// Free returns the checkpoints in force of which what they cover may be deleted: now, as another
// device of an owner or admin got the same state, or the time has come until which it is kept, or
// they are of this device, which had compared the two. Nothing may be while somebody objects, to
// whichever, until that is cleared: by a later checkpoint that has seen the objection and that
// its author vouches for, or does not object to until that one's time has come.
func (s *State) Free(now time.Time, in map[clock.RecordID]bool, until func(*Checkpoint) time.Time, own func(*Checkpoint) bool) (free []*Checkpoint, kept Kept) {
	late := func(c *Checkpoint) bool { return in[c.ID] && !now.Before(until(c)) }
	for _, o := range s.objections() {
		one := Objection{o.Device, o.Payload.Vouched}
		if !s.cleared(o, late) && !slices.Contains(kept.Objections, one) {
			kept.Objections = append(kept.Objections, one)
		}
	}
	for _, c := range s.Checkpoints {
		switch {
		case !in[c.ID]:
		case len(kept.Objections) == 0 && (own(c) || late(c) || slices.ContainsFunc(s.VouchesFor(c), func(v Vouch) bool { return v.Agree })):
			free = append(free, c)
		case until(c).After(kept.Until):
			kept.Until = until(c)
		}
	}
	return free, kept
}

// objections returns those of who still may object.
func (s *State) objections() (all []*Record) {
	for _, c := range s.Checkpoints {
		for _, v := range s.VouchesFor(c) {
			if !v.Agree && v.Stays {
				all = append(all, v.By)
			}
		}
	}
	return all
}

// cleared reports whether a later checkpoint settles an objection.
func (s *State) cleared(o *Record, late func(*Checkpoint) bool) bool {
	return slices.ContainsFunc(s.Checkpoints, func(c *Checkpoint) bool {
		if !s.g.saw(c.by, o) {
			return false
		}
		agrees, objects := false, false
		for _, v := range s.VouchesFor(c) {
			if v.By.Device == o.Device {
				agrees, objects = agrees || v.Agree, objects || !v.Agree
			}
		}
		return !objects && (agrees || late(c))
	})
}
