package thread

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// An announcedLog is a data log that a member may write.
type announcedLog struct {
	device   keys.PublicKey
	identity keys.PublicKey
	at       clock.Time // of the record that announced it: the log's clocks exceed it
}

// A controlState is the fold of the control records of a thread.
//
// Who is a member is decided by rank, from the owner's logs down, before anything else:
// a join stands if its invite's author may invite, and no close of a lower rank ends the
// invite, or a close or admit of a lower rank lists the join. What is decided of a rank
// rests on lower ranks only, so that it is well founded, and no order plays a part.
//
//	rank 0  the owner's open; its invites i, closes and admits
//	rank 1  joins by i: closed by a close of rank 0, listed by one of rank 0
//	        a close of i by one of them shuts doors, but removes none of rank 1
//	rank 2  joins by invites that those of rank 1 made
type controlState struct {
	name    string
	logs    map[clock.LogID]announcedLog
	void    map[clock.LogID]bool // data logs that nobody with the right to it announced
	twofold map[clock.LogID]bool // data logs that a device announced under two identities
	refused []Refusal
	waiting []WaitingJoin

	standing map[clock.LogID]*Member    // by control log, of those that count
	members  map[keys.PublicKey]*Member // by device: the one that may do most of its logs
	invites  map[clock.Hash]*InviteInfo // by record
	closed   map[clock.Hash]int         // by invite: the lowest rank of who closed it
	listed   map[clock.Hash]int         // by join: the lowest rank of who listed it

	checkpoints []*format.Checkpoint
}

// A WaitingJoin is a join by an invite that was closed, which no close or admit lists.
type WaitingJoin struct {
	Join     clock.Hash // the record
	Device   keys.PublicKey
	Identity keys.PublicKey
	Name     string         // of the device, from its certificate
	Invite   keys.PublicKey // its public key
	Time     clock.Time     // by the clock of the device
}

func newControlState() *controlState {
	return &controlState{
		logs: map[clock.LogID]announcedLog{}, void: map[clock.LogID]bool{}, twofold: map[clock.LogID]bool{},
		standing: map[clock.LogID]*Member{}, members: map[keys.PublicKey]*Member{},
		invites: map[clock.Hash]*InviteInfo{}, closed: map[clock.Hash]int{}, listed: map[clock.Hash]int{},
	}
}

// rank decides which control logs count, from the most senior rank down.
func (s *controlState) rank(records []*controlRecord) {
	var decide []*controlRecord // what begins a log, closes and admits
	for _, c := range records {
		if c.id.Seq == 1 || c.payload.Op == format.OpClose || c.payload.Op == format.OpAdmit {
			decide = append(decide, c)
		}
	}
	// Of a rank first who counts, as what they close and list is for the ranks after.
	slices.SortStableFunc(decide, func(a, b *controlRecord) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(min(a.id.Seq, 2), min(b.id.Seq, 2)))
	})
	for _, c := range decide {
		if c.id.Seq == 1 {
			s.stand(c)
		} else {
			s.note(c)
		}
	}
}

// note takes down what a close or an admit says of joins of higher ranks.
func (s *controlState) note(c *controlRecord) {
	if m := s.standing[c.id.Log]; m == nil || m.Role != format.RoleOwner {
		return
	}
	lower := func(of map[clock.Hash]int, h clock.Hash) {
		if r, ok := of[h]; !ok || c.rank < r {
			of[h] = c.rank
		}
	}
	if c.payload.Op == format.OpClose {
		lower(s.closed, c.payload.Invite)
	}
	for _, j := range c.payload.Joins {
		lower(s.listed, j)
	}
}

// stand gives the log that c begins its standing, if c has effect.
func (s *controlState) stand(c *controlRecord) {
	m := &Member{Since: c.time}
	switch c.payload.Op {
	case format.OpOpen:
		m.Role = format.RoleOwner
	case format.OpJoin:
		if c.cert == nil || c.invite == nil || !s.grants(c.invite) || !s.admits(c) {
			return
		}
		m.Role = c.invite.payload.Role
	}
	if c.cert == nil {
		return
	}
	m.Device, m.Identity, m.Name = c.device, c.cert.Identity, c.cert.Name
	s.standing[c.id.Log] = m
	if was := s.members[m.Device]; was == nil || m.before(was) {
		s.members[m.Device] = m
	}
}

// before tells which of the standings of a device speaks for it: the one that may do
// more. A device with two identities is shown under one; each of its logs has its own.
func (m *Member) before(o *Member) bool {
	return cmp.Or(cmp.Compare(m.Role, o.Role), cmp.Compare(m.Since, o.Since), bytes.Compare(m.Identity[:], o.Identity[:])) < 0
}

// grants reports whether the author of an invite may make one.
func (s *controlState) grants(invite *controlRecord) bool {
	m := s.standing[invite.id.Log]
	return m != nil && m.Role == format.RoleOwner
}

// admits reports whether a join stands: its invite is not closed, or it is listed.
func (s *controlState) admits(join *controlRecord) bool {
	if r, closed := s.closed[join.payload.Invite]; !closed || r >= join.rank {
		return true
	}
	r, listed := s.listed[join.id.Hash]
	return listed && r < join.rank
}

// apply folds one record; one that is refused at its place changes nothing but
// the list of refusals.
func (s *controlState) apply(g *controlGraph, c *controlRecord) {
	if c.id.Seq == 1 && s.standing[c.id.Log] == nil {
		s.stand(c) // on top of what was ranked
	}
	if err := s.try(c); err != nil {
		kind := fault.NotMember
		if c.payload.Op == format.OpJoin {
			kind = fault.Void
		}
		s.refused = append(s.refused, Refusal{ID: c.id, Kind: kind, Reason: c.payload.Op.String() + ": " + err.Error()})
		if c.data != nil {
			if _, ok := s.logs[c.log]; !ok {
				s.void[c.log] = true
			}
		}
	}
}

// try folds one record. It returns an error before it has changed anything.
func (s *controlState) try(c *controlRecord) error {
	p := c.payload
	author := s.standing[c.id.Log]
	if p.Op == format.OpJoin {
		return s.join(c, author)
	}
	if author == nil {
		return ErrNotMember
	}
	switch p.Op {
	case format.OpOpen:
		if s.name == "" {
			s.name = p.Name
		}
	case format.OpInvite:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner invites")
		}
		_, closed := s.closed[c.id.Hash]
		s.invites[c.id.Hash] = &InviteInfo{Key: p.Key, Role: p.Role, Expires: p.Expires, Uses: p.Uses, Closed: closed, Creator: c.device}
	case format.OpClose:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner revokes invites")
		}
	case format.OpAdmit:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner admits devices")
		}
	case format.OpCheckpoint:
		s.checkpoints = append(s.checkpoints, p.Checkpoint)
	case format.OpLog:
		if !author.Role.CanWrite() {
			return fault.Of(ErrNotMember, "role %s does not write", author.Role)
		}
		return s.announce(c, author)
	}
	return nil
}

// join counts a join that stands, and lists one that waits.
func (s *controlState) join(c *controlRecord, m *Member) error {
	switch {
	case m != nil:
		if err := s.announce(c, m); err != nil {
			return err
		}
		if inv := s.invites[c.payload.Invite]; inv != nil {
			inv.Used++
		}
		return nil
	case c.cert == nil || c.invite == nil:
		return fault.Of(format.ErrMalformed, "the certificate cannot be read")
	case !s.grants(c.invite):
		return fault.Of(ErrInvite, "the invite is by a device that may not invite")
	}
	s.waiting = append(s.waiting, WaitingJoin{
		Join: c.id.Hash, Device: c.device, Identity: c.cert.Identity, Name: c.cert.Name,
		Invite: c.invite.payload.Key, Time: c.time,
	})
	return fault.Of(ErrInvite, "the invite is closed: the device waits until an owner admits it")
}

// announce lets a device write a data log. A log that was void is not any more: a
// later record of its device may announce it again.
func (s *controlState) announce(c *controlRecord, by *Member) error {
	if c.data == nil {
		_, err := format.DecodeDescriptor(c.payload.Data)
		return err
	}
	ok := c.data.Kind == format.KindData || c.data.Kind == format.KindSnapshot && c.payload.Op == format.OpLog
	if !ok || c.data.Device != c.device {
		return fault.Of(ErrNotMember, "announces a log that is not a data log of its device")
	}
	if was, ok := s.logs[c.log]; ok && was.identity != by.Identity {
		s.twofold[c.log] = true
	}
	if s.twofold[c.log] {
		// Whose it is would depend on which announcement came first: it is nobody's.
		delete(s.logs, c.log)
		return fault.Of(ErrNotMember, "announces a log of its device that another of its identities announced")
	}
	if was, ok := s.logs[c.log]; !ok || c.time < was.at {
		s.logs[c.log] = announcedLog{device: c.device, identity: by.Identity, at: c.time}
	}
	delete(s.void, c.log)
	return nil
}
