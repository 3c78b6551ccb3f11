package control

import (
	"slices"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A Member is a device that may take part in a thread.
type Member struct {
	Device   keys.PublicKey
	Identity keys.PublicKey
	Seal     [32]byte // its sealing key, from its certificate
	Name     string   // of the device, from its certificate
	Role     format.Role
	Since    clock.Time  // of the record that let it in
	Log      clock.LogID // its control log; zero while it is only added
	Added    bool        // by a device of its identity, and it has not begun yet

	Delegated bool        // it is somebody else's device that writes for the identity, whose role Role is
	Rights    keys.Rights // of a delegated one
	Expires   keys.Millis // when doors take no more from a delegated one; 0: never

	entry *entry
}

// May reports whether m has a role, or a higher one, in its own right: a delegated device
// decides nothing.
func (m *Member) May(r format.Role) bool { return m.Role <= r && !m.Delegated }

// Expired reports whether the delegation of the device has ended.
func (m *Member) Expired(now time.Time) bool {
	return m.Expires != 0 && !now.Before(m.Expires.Time())
}

// delegate sets what a delegated device has.
func (m *Member) delegate(s *State) {
	if d := m.entry.first.cert.delegation; d != nil {
		m.Delegated, m.Rights, m.Expires = true, d.Rights, s.until(m.entry)
	}
}

// SeniorTo reports whether m may limit what o may do: by seniority, role first.
func (m *Member) SeniorTo(o *Member) bool { return m.entry.compare(o.entry) < 0 }

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

// A WaitingJoin is a join by an invite that was closed, which nothing lists.
type WaitingJoin struct {
	Join     clock.Hash // the record
	Device   keys.PublicKey
	Identity keys.PublicKey
	Name     string         // of the device, from its certificate
	Invite   keys.PublicKey // its public key
	Time     clock.Time     // by the clock of the device
	Barred   bool           // the identity was removed: a role lets it in
}

// Describe says of a join which [Graph.Check] has passed, or that is part of the graph,
// what an owner wants to know who may admit it.
func (c *Record) Describe() WaitingJoin {
	return WaitingJoin{
		Join: c.ID.Hash, Device: c.Device, Identity: c.cert.Identity, Name: c.cert.Name,
		Invite: c.invite.Payload.Key, Time: c.Time,
	}
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
	for _, c := range g.joins[invite] {
		if s.stands(c) {
			hs = append(hs, c.ID.Hash)
		}
	}
	return hs
}

// Endings returns the invites that are due and that a device with a control log may close:
// an owner's or admin's.
func (g *Graph) Endings(own clock.LogID, due func(*InviteInfo) bool) (ends []clock.Hash) {
	s := g.State()
	if !s.may(own, format.RoleAdmin) || s.Stopped() {
		return nil
	}
	for h, i := range s.Invites {
		if !i.Closed && due(i) {
			ends = append(ends, h)
		}
	}
	slices.SortFunc(ends, format.CompareHashes)
	return ends
}

// may reports whether a control log has a role, or a higher one, that nothing limits.
func (s *State) may(log clock.LogID, r format.Role) bool {
	return slices.ContainsFunc(s.byLog[log], func(e *entry) bool { return e.full(r) && s.alive(e) })
}

// MayCheckpoint reports whether a control log may cut history. Every device of the first
// owner could; two that do it without knowing of each other would be in each other's way,
// so that it is left to the most senior.
func (g *Graph) MayCheckpoint(own clock.LogID) bool {
	s := g.State()
	return s.top != nil && s.top.full(format.RoleOwner) && s.top.first.ID.Log == own && s.alive(s.top)
}

// Former returns the identity of a device that was a member and is none any more.
func (g *Graph) Former(device keys.PublicKey) (identity keys.PublicKey, ok bool) {
	s := g.State()
	if s.Members[device] != nil {
		return identity, false
	}
	for _, f := range g.devices[device] {
		if s.stands(f) {
			return f.cert.Identity, true
		}
	}
	return identity, false
}

// UntilEnd returns the last control records that a former member is to have: those that
// ended its membership, and of each log what these have seen.
func (g *Graph) UntilEnd(device keys.PublicKey) (tips []clock.RecordID) {
	s := g.State()
	var ends []clock.Hash
	for _, f := range g.devices[device] {
		for _, e := range s.byLog[f.ID.Log] {
			if e.first != f {
				continue
			}
			s.cutsOf(e, func(c *cut) bool {
				ends = append(ends, c.rec.ID.Hash)
				return false
			})
			for _, t := range e.ends {
				ends = append(ends, t.ID.Hash)
			}
		}
	}
	all := g.ancestors(ends)
	in, followed := map[*Record]bool{}, map[*Record]bool{}
	for _, r := range all {
		in[r] = true
	}
	for _, r := range all {
		for _, p := range r.up {
			if p.ID.Log == r.ID.Log && p.ID.Seq == r.ID.Seq-1 && in[p] {
				followed[p] = true
			}
		}
	}
	for _, r := range all {
		if !followed[r] {
			tips = append(tips, r.ID)
		}
	}
	slices.SortFunc(tips, format.CompareIDs)
	return tips
}

// DataOf returns the data logs of an identity, or of a device.
func (g *Graph) DataOf(subject keys.PublicKey) (data []clock.LogID) {
	for log, a := range g.announced {
		if a.Device == subject || slices.ContainsFunc(g.firsts[a.ID.Log], func(f *Record) bool { return f.of(subject) }) {
			data = append(data, log)
		}
	}
	return data
}

// DataOfRulers returns the data logs of all who are, or were, owners or admins.
func (g *Graph) DataOfRulers() (data []clock.LogID) {
	s := g.State()
	for log, a := range g.announced {
		if slices.ContainsFunc(s.byLog[a.ID.Log], func(e *entry) bool { return e.role <= format.RoleAdmin }) {
			data = append(data, log)
		}
	}
	return data
}

// RoleOfJoin returns the role that the invite of a join gives.
func (g *Graph) RoleOfJoin(join clock.Hash) format.Role {
	if r := g.index[join]; r != nil && r.invite != nil {
		return r.invite.Payload.Role
	}
	return 0
}

// stands reports whether a join has effect, or had until its device was removed, or its
// device is a member by a role since.
func (s *State) stands(join *Record) bool { return s.verdict(join) == ok || s.Live(join.ID.Log) }

// AllJoins returns the joins that stand, sorted.
func (g *Graph) AllJoins() (hs []clock.Hash) {
	for _, joins := range g.joins {
		for _, j := range joins {
			if g.State().stands(j) {
				hs = append(hs, j.ID.Hash)
			}
		}
	}
	slices.SortFunc(hs, format.CompareHashes)
	return hs
}

// LogsOf returns the first records of the control logs of an identity, sorted: of those
// that may do something, or if there is none of all.
func (g *Graph) LogsOf(identity keys.PublicKey) []clock.Hash {
	var live, all []clock.Hash
	for _, of := range g.devices {
		for _, f := range of {
			if !f.of(identity) {
				continue
			}
			all = append(all, f.ID.Hash)
			if g.State().Live(f.ID.Log) {
				live = append(live, f.ID.Hash)
			}
		}
	}
	if len(live) > 0 {
		all = live
	}
	slices.SortFunc(all, format.CompareHashes)
	return all[:min(len(all), format.MaxControlHeads)] // a record has to reach all that it lists
}

// MayRemove returns nil if a device may remove a subject, whose devices gone tells.
func (s *State) MayRemove(self *Member, subject keys.PublicKey, gone func(*Member) bool) error {
	if self.Delegated {
		return fault.Of(ErrNotMember, "a delegated device removes nobody: a device of the identity does")
	}
	found := false
	for _, m := range s.Members {
		if !gone(m) {
			continue
		}
		found = true
		if self.Role > format.RoleAdmin && m.Identity != self.Identity {
			return fault.Of(ErrNotMember, "only an owner or admin removes others")
		}
		if !self.SeniorTo(m) {
			return fault.Of(ErrNotMember, "%s is not junior to this device: who is senior to it, an owner, say, ends its membership, or it leaves", subject.DID())
		}
	}
	if !found {
		return fault.Of(format.ErrNotFound, "%s is no member", subject.DID())
	}
	return nil
}

// DevicesOf returns the devices of an identity that are members.
func (s *State) DevicesOf(identity keys.PublicKey) (all []*Member) {
	for _, m := range s.Members {
		if m.Identity == identity {
			all = append(all, m)
		}
	}
	return all
}

// Junior returns nil if a device is senior to every device of an identity.
func (s *State) Junior(self *Member, identity keys.PublicKey) error {
	for _, m := range s.DevicesOf(identity) {
		switch {
		case self.SeniorTo(m):
		case identity == self.Identity:
			return fault.Of(ErrNotMember, "an identity does not change its own role: another owner does, or it transfers the database")
		default:
			return fault.Of(ErrNotMember, "%s is not junior to this device, which cannot change its role", identity.DID())
		}
	}
	return nil
}

// MayAdd returns nil if a device may add another one, of an identity that may have most; more
// is false if that is in already. until is the end of the delegation by which it comes, the
// most there is if it has none, 0 of a full device: one that ends later is added again.
func (s *State) MayAdd(self *Member, identity, device keys.PublicKey, until keys.Millis, most int) (more bool, err error) {
	was := s.Members[device]
	switch {
	case identity != self.Identity:
		return false, fault.Of(ErrNotMember, "the device is of %s, and this one takes part as %s: invite it", identity.DID(), self.Identity.DID())
	case s.Stopped():
		return false, ErrFrozen
	case self.Delegated && !self.Rights.Has(keys.RightAdmit):
		return false, fault.Of(ErrNotMember, "the identity did not let this device add others: add it on a device of the identity")
	case was != nil:
		return was.Identity == identity && was.Expires != 0 && until > was.Expires, nil
	case len(s.DevicesOf(identity)) >= most:
		return false, fault.Of(format.ErrTooLarge, "the identity has %d devices in the database, as many as can be: remove one with weft device rm", most)
	}
	return true, nil
}
