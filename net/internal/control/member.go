package control

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A Member is a device that may take part in a thread.
type Member struct {
	Device   keys.PublicKey
	Identity keys.PublicKey
	Name     string // of the device, from its certificate
	Role     format.Role
	Since    clock.Time // of the record that let it in
}

// An InviteInfo is what members know of an invite: not its secret.
type InviteInfo struct {
	Key     keys.PublicKey
	Role    format.Role
	Expires clock.Time     // 0 means never
	Uses    uint64         // 0 means any number
	Used    uint64         // joins that stand
	Closed  bool           // it lets nobody in any more
	Creator keys.PublicKey // device
}

// Open reports why the invite lets nobody in at time now, or nil.
func (i *InviteInfo) Open(now clock.Time) error {
	switch {
	case i.Closed && (i.Uses == 0 || i.Used < i.Uses) && (i.Expires == 0 || now < i.Expires):
		return fault.Of(ErrInvite, "the invite was revoked")
	case i.Expires != 0 && now >= i.Expires:
		return fault.Of(ErrInvite, "the invite has expired")
	case i.Uses != 0 && i.Used >= i.Uses:
		return fault.Of(ErrInvite, "the invite is used up")
	case i.Closed:
		return fault.Of(ErrInvite, "the invite is closed")
	}
	return nil
}

// A Refusal is a record that is kept and has no effect, and why.
type Refusal struct {
	ID     clock.RecordID
	Kind   fault.Kind // why, as a word
	Reason string
}

// OpenInvite returns the invite with a key that lets somebody in at time now. There is
// more than one only if an owner published one twice.
func (g *Graph) OpenInvite(key keys.PublicKey, now clock.Time) (*Record, error) {
	err := error(ErrNoInvite)
	for _, c := range g.invites[key] {
		i := g.State().Invites[c.ID.Hash]
		if i == nil {
			continue // by a device that may not invite
		}
		if err = i.Open(now); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Joins returns the joins by an invite that stand.
func (g *Graph) Joins(invite clock.Hash) (hs []clock.Hash) {
	s := g.State()
	for _, c := range g.records {
		if c.Payload.Op == format.OpJoin && c.Payload.Invite == invite && s.Standing[c.ID.Log] != nil {
			hs = append(hs, c.ID.Hash)
		}
	}
	return hs
}

// Endings returns the invites that are due and that a control log may close for good: it
// is an owner's, who is not junior to who made the invite, and nobody like that has closed
// it.
func (g *Graph) Endings(own clock.LogID, due func(*InviteInfo) bool) (ends []clock.Hash) {
	s, rank := g.State(), g.ranks[own]
	if !s.owns(own) {
		return nil
	}
	for _, made := range g.invites {
		for _, c := range made {
			i := s.Invites[c.ID.Hash]
			by, closed := s.closed[c.ID.Hash]
			if i != nil && rank <= c.rank && (!closed || by > c.rank) && due(i) {
				ends = append(ends, c.ID.Hash)
			}
		}
	}
	slices.SortFunc(ends, format.CompareHashes)
	return ends
}

// Revocable returns the invites with a key that a close by a control log would change
// something of: [Graph.Endings], and of its seniors those that nobody has closed.
func (g *Graph) Revocable(own clock.LogID, key keys.PublicKey) (ends []clock.Hash) {
	ends = g.Endings(own, func(i *InviteInfo) bool { return i.Key == key })
	for _, c := range g.invites[key] {
		if i := g.State().Invites[c.ID.Hash]; i != nil && !i.Closed && g.ranks[own] > c.rank {
			ends = append(ends, c.ID.Hash)
		}
	}
	return ends
}

// MayAdmit reports whether an admit by a control log lets a join in that waits.
func (g *Graph) MayAdmit(own clock.LogID, w WaitingJoin) bool { return g.ranks[own] < w.rank }
