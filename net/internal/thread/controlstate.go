package thread

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// An announcedLog is a data log that a member may write.
type announcedLog struct {
	device keys.PublicKey
	at     clock.Time // of the record that announced it: the log's clocks exceed it
}

// A controlState is the fold of the control records of a thread.
type controlState struct {
	name    string
	members map[keys.PublicKey]*Member // by device
	invites map[keys.PublicKey]*InviteInfo
	sealed  map[keys.PublicKey][]byte // keys sealed to each invite
	logs    map[clock.LogID]announcedLog
	void    map[clock.LogID]bool // data logs of joins that did not hold
	refused []Refusal

	checkpoints []*format.Checkpoint
}

func newControlState() *controlState {
	return &controlState{
		members: map[keys.PublicKey]*Member{}, invites: map[keys.PublicKey]*InviteInfo{},
		sealed: map[keys.PublicKey][]byte{},
		logs:   map[clock.LogID]announcedLog{}, void: map[clock.LogID]bool{},
	}
}

// apply folds one record; one that is refused at its place changes nothing but
// the list of refusals.
func (s *controlState) apply(g *controlGraph, c *controlRecord) {
	if err := s.try(g, c); err != nil {
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

// try folds one record. It returns an error before it has changed anything, but for a
// join of a device with two identities, whose log is void either way.
func (s *controlState) try(g *controlGraph, c *controlRecord) error {
	p := c.payload
	switch p.Op {
	case format.OpOpen:
		cert := g.genesis.Certificate
		s.admit(cert, format.RoleOwner, c.time)
		if s.name == "" {
			s.name = p.Name
		}
		return nil
	case format.OpJoin:
		return s.join(c)
	}
	author, ok := s.members[c.device]
	if !ok {
		return ErrNotMember
	}
	switch p.Op {
	case format.OpInvite:
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner invites")
		}
		if s.invites[p.Key] != nil {
			return fault.Of(format.ErrMalformed, "there is an invite with that key")
		}
		s.invites[p.Key] = &InviteInfo{Key: p.Key, Role: p.Role, Expires: p.Expires, Uses: p.Uses, Creator: c.device}
		s.sealed[p.Key] = p.Sealed
	case format.OpRevokeInvite:
		inv := s.invites[p.Key]
		if inv == nil {
			return fault.Of(ErrInvite, "the invite is unknown")
		}
		if author.Role != format.RoleOwner {
			return fault.Of(ErrNotMember, "only an owner revokes invites")
		}
		inv.Revoked = true
	case format.OpCheckpoint:
		s.checkpoints = append(s.checkpoints, p.Checkpoint)
	case format.OpLog:
		if !author.Role.CanWrite() {
			return fault.Of(ErrNotMember, "role %s does not write", author.Role)
		}
		return s.announce(c)
	}
	return nil
}

// join makes a device a member if the invite lets it in at its place in the order:
// who came too late, or after a revocation, is refused here, on every replica.
func (s *controlState) join(c *controlRecord) error {
	inv := s.invites[c.payload.Key]
	if inv == nil {
		return fault.Of(ErrInvite, "the invite is unknown")
	}
	if err := inv.open(c.time); err != nil {
		return err
	}
	cert := c.cert
	if cert == nil {
		_, err := keys.DecodeCertificate(c.payload.Certificate)
		return fault.Of(format.ErrMalformed, "certificate: %w", err)
	}
	if m := s.members[cert.Sign]; m != nil && m.Identity != cert.Identity {
		// Its logs would have another writer on replicas that have not met the
		// other record: none of them counts.
		if c.data != nil {
			s.void[c.log] = true
		}
		return fault.Of(ErrNotMember, "the device is certified for another identity")
	}
	if err := s.announce(c); err != nil {
		return err
	}
	inv.Used++
	s.admit(cert, inv.Role, c.time)
	return nil
}

// admit makes the certified device a member; one that is a member already keeps
// the higher of its roles.
func (s *controlState) admit(cert *keys.Certificate, role format.Role, at clock.Time) {
	if m := s.members[cert.Sign]; m != nil {
		m.Role = min(m.Role, role)
		return
	}
	s.members[cert.Sign] = &Member{Device: cert.Sign, Identity: cert.Identity, Name: cert.Name, Role: role, Since: at}
}

// announce lets a device write a data log. A log that was void is not any more: a
// later record of its device may announce it again.
func (s *controlState) announce(c *controlRecord) error {
	if c.data == nil {
		_, err := format.DecodeDescriptor(c.payload.Data)
		return err
	}
	ok := c.data.Kind == format.KindData || c.data.Kind == format.KindSnapshot && c.payload.Op == format.OpLog
	if !ok || c.data.Device != c.device {
		return fault.Of(ErrNotMember, "announces a log that is not a data log of its device")
	}
	if _, ok := s.logs[c.log]; !ok {
		s.logs[c.log] = announcedLog{device: c.device, at: c.time}
	}
	delete(s.void, c.log)
	return nil
}
