package control

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// An Announced is a data log that a member may write.
type Announced struct {
	Device   keys.PublicKey
	Identity keys.PublicKey
	At       clock.Time // of the record that announced it: the log's clocks exceed it
}

// A State is the fold of the control records of a thread.
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
type State struct {
	Name    string
	Logs    map[clock.LogID]Announced
	Void    map[clock.LogID]bool // data logs that nobody with the right to it announced
	twofold map[clock.LogID]bool // data logs that a device announced under two identities
	firsts  map[clock.LogID]int  // records that begin a control log: one, or the log is nobody's
	Refused []Refusal
	Waiting []WaitingJoin
	Idle    int // joins without effect, those that wait among them

	Standing map[clock.LogID]*Member    // by control log, of those that count
	Members  map[keys.PublicKey]*Member // by device: the one that may do most of its logs
	Invites  map[clock.Hash]*InviteInfo // by record
	closed   map[clock.Hash]int         // by invite: the lowest rank of who closed it
	listed   map[clock.Hash]int         // by join: the lowest rank of who listed it

	Checkpoints []*format.Checkpoint
}

// A WaitingJoin is a join by an invite that was closed, which no close or admit lists.
type WaitingJoin struct {
	Join     clock.Hash // the record
	Device   keys.PublicKey
	Identity keys.PublicKey
	Name     string         // of the device, from its certificate
	Invite   keys.PublicKey // its public key
	Time     clock.Time     // by the clock of the device

	rank int
}

func newState() *State {
	return &State{
		Logs: map[clock.LogID]Announced{}, Void: map[clock.LogID]bool{}, twofold: map[clock.LogID]bool{}, firsts: map[clock.LogID]int{},
		Standing: map[clock.LogID]*Member{}, Members: map[keys.PublicKey]*Member{},
		Invites: map[clock.Hash]*InviteInfo{}, closed: map[clock.Hash]int{}, listed: map[clock.Hash]int{},
	}
}

// rank decides which control logs count, from the most senior rank down.
func (s *State) rank(records []*Record) {
	var decide []*Record // what begins a log, closes and admits
	for _, c := range records {
		if c.ID.Seq == 1 {
			s.firsts[c.ID.Log]++
		}
		if c.ID.Seq == 1 || c.Payload.Op == format.OpClose || c.Payload.Op == format.OpAdmit {
			decide = append(decide, c)
		}
	}
	// Of a rank first who counts, as what they close and list is for the ranks after.
	slices.SortStableFunc(decide, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(min(a.ID.Seq, 2), min(b.ID.Seq, 2)))
	})
	for _, c := range decide {
		if c.ID.Seq == 1 {
			s.stand(c)
		} else {
			s.note(c)
		}
	}
}

// owns reports whether a control log is an owner's.
func (s *State) owns(log clock.LogID) bool {
	m := s.Standing[log]
	return m != nil && m.Role == format.RoleOwner
}

// note takes down what a close or an admit says of joins of higher ranks.
func (s *State) note(c *Record) {
	if !s.owns(c.ID.Log) {
		return
	}
	lower := func(of map[clock.Hash]int, h clock.Hash) {
		if r, ok := of[h]; !ok || c.rank < r {
			of[h] = c.rank
		}
	}
	if c.Payload.Op == format.OpClose {
		lower(s.closed, c.Payload.Invite)
	}
	for _, j := range c.Payload.Joins {
		lower(s.listed, j)
	}
}

// stand gives the log that c begins its standing, if c has effect.
func (s *State) stand(c *Record) {
	if s.firsts[c.ID.Log] > 1 {
		return // whose log it is would depend on which of its first records came first
	}
	m := &Member{Since: c.Time}
	switch c.Payload.Op {
	case format.OpOpen:
		m.Role = format.RoleOwner
	case format.OpJoin:
		if c.cert == nil || c.invite == nil || !s.owns(c.invite.ID.Log) || !s.Admits(c) {
			return
		}
		m.Role = c.invite.Payload.Role
	}
	if c.cert == nil {
		return
	}
	m.Device, m.Identity, m.Name = c.Device, c.cert.Identity, c.cert.Name
	s.Standing[c.ID.Log] = m
	if was := s.Members[m.Device]; was == nil || m.before(was) {
		s.Members[m.Device] = m
	}
}

// before tells which of the standings of a device speaks for it: the one that may do
// more. A device with two identities is shown under one; each of its logs has its own.
func (m *Member) before(o *Member) bool {
	return cmp.Or(cmp.Compare(m.Role, o.Role), cmp.Compare(m.Since, o.Since), bytes.Compare(m.Identity[:], o.Identity[:])) < 0
}

// Admits reports whether a join stands: its invite is not closed, or it is listed.
func (s *State) Admits(join *Record) bool {
	if r, closed := s.closed[join.Payload.Invite]; !closed || r >= join.rank {
		return true
	}
	r, listed := s.listed[join.ID.Hash]
	return listed && r < join.rank
}

// Stands reports whether a join that is not part of the graph would stand if it were.
func (s *State) Stands(join *Record) bool { return s.owns(join.invite.ID.Log) && s.Admits(join) }

// apply folds one record; one that is refused at its place changes nothing but
// the list of refusals.
func (s *State) apply(c *Record) {
	if c.ID.Seq == 1 && s.Standing[c.ID.Log] == nil {
		s.stand(c) // on top of what was ranked
	}
	if err := s.try(c); err != nil {
		kind := fault.NotMember
		if c.Payload.Op == format.OpJoin {
			kind = fault.Void
			s.Idle++
		}
		s.Refused = append(s.Refused, Refusal{ID: c.ID, Kind: kind, Reason: c.Payload.Op.String() + ": " + err.Error()})
		if c.data != nil {
			if _, ok := s.Logs[c.log]; !ok {
				s.Void[c.log] = true
			}
		}
	}
}

// try folds one record. It returns an error before it has changed anything.
func (s *State) try(c *Record) error {
	p := c.Payload
	author := s.Standing[c.ID.Log]
	if p.Op == format.OpJoin {
		return s.join(c, author)
	}
	if author == nil {
		return ErrNotMember
	}
	switch p.Op {
	case format.OpOpen:
		if s.Name == "" {
			s.Name = p.Name
		}
	case format.OpInvite:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner invites")
		}
		_, closed := s.closed[c.ID.Hash]
		s.Invites[c.ID.Hash] = &InviteInfo{Key: p.Key, Role: p.Role, Expires: p.Expires, Uses: p.Uses, Closed: closed, Creator: c.Device}
	case format.OpClose:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner revokes invites")
		}
	case format.OpAdmit:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner admits devices")
		}
	case format.OpCheckpoint:
		s.Checkpoints = append(s.Checkpoints, p.Checkpoint)
	case format.OpLog:
		if !author.Role.CanWrite() {
			return fault.Of(ErrNotMember, "role %s does not write", author.Role)
		}
		return s.announce(c, author)
	}
	return nil
}

// join counts a join that stands, and lists one that waits.
func (s *State) join(c *Record, m *Member) error {
	switch {
	case m != nil:
		if inv := s.Invites[c.Payload.Invite]; inv != nil {
			inv.Used++
		}
		return s.announce(c, m)
	case s.firsts[c.ID.Log] > 1:
		return fault.Of(ErrNotMember, "the control log has two first records")
	case c.cert == nil || c.invite == nil:
		return fault.Of(format.ErrMalformed, "the certificate cannot be read")
	case !s.owns(c.invite.ID.Log):
		return fault.Of(ErrInvite, "the invite is by a device that may not invite")
	}
	s.Waiting = append(s.Waiting, c.Describe())
	return fault.Of(ErrInvite, "the invite is closed: the device waits until an owner admits it")
}

// Describe says of a join which [Graph.Check] has passed, or that is part of the graph,
// what an owner wants to know who may admit it.
func (c *Record) Describe() WaitingJoin {
	return WaitingJoin{
		Join: c.ID.Hash, Device: c.Device, Identity: c.cert.Identity, Name: c.cert.Name,
		Invite: c.invite.Payload.Key, Time: c.Time, rank: c.rank,
	}
}

// announce lets a device write a data log. A log that was void is not any more: a
// later record of its device may announce it again.
func (s *State) announce(c *Record, by *Member) error {
	if c.data == nil {
		_, err := format.DecodeDescriptor(c.Payload.Data)
		return err
	}
	ok := c.data.Kind == format.KindData || c.data.Kind == format.KindSnapshot && c.Payload.Op == format.OpLog
	if !ok || c.data.Device != c.Device {
		return fault.Of(ErrNotMember, "announces a log that is not a data log of its device")
	}
	if was, ok := s.Logs[c.log]; ok && was.Identity != by.Identity {
		s.twofold[c.log] = true
	}
	if s.twofold[c.log] {
		// Whose it is would depend on which announcement came first: it is nobody's.
		delete(s.Logs, c.log)
		return fault.Of(ErrNotMember, "announces a log of its device that another of its identities announced")
	}
	if was, ok := s.Logs[c.log]; !ok || c.Time < was.At {
		s.Logs[c.log] = Announced{Device: c.Device, Identity: by.Identity, At: c.Time}
	}
	delete(s.Void, c.log)
	return nil
}

// Lists reports whether a close or an admit lists a join.
func (s *State) Lists(join clock.Hash) bool { _, ok := s.listed[join]; return ok }
