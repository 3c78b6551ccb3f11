package control

import (
	"slices"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// What begins a control log without an invite. What may be part of the graph is a matter of
// what a record has seen, so that every replica keeps the same:
//
//	start     by the device that a record before it adds, with the certificate in that
//	recover   by the key of the genesis, or of a recover before it
//	revoke    by an identity of which it has seen the device that it revokes

// checkDevice verifies the certificate of a device that is added, or its delegation.
func (c *Record) checkDevice() error {
	cert, err := decodeClaim(c.Payload)
	if err == nil {
		err = cert.verifySignature()
	}
	if err != nil {
		return fault.Of(format.ErrMalformed, "device: %w", err)
	}
	c.adds = cert
	return nil
}

func (g *Graph) fitsStart(c *Record) error {
	if !slices.Contains(c.Parents, c.Payload.Added) {
		return fault.Of(ErrNotMember, "start by a record that is none of its parents")
	}
	by := g.index[c.Payload.Added]
	if by.Payload.Op != format.OpDevice || by.Payload.Subject != c.Device {
		return fault.Of(ErrNotMember, "start by a record that does not add the log's device")
	}
	c.invite = by
	return nil
}

func (g *Graph) fitsRecover(c *Record) error {
	key := c.Payload.Key
	known := g.genesis.Recovery == key || slices.ContainsFunc(g.recovers, func(r *Record) bool {
		return r.Payload.Next == key && g.Reaches(c.Parents, r)
	})
	if key.IsZero() || !known {
		return fault.Of(ErrNotMember, "recover by a key that the thread does not commit to")
	}
	if c.Time <= g.genesis.Time {
		return fault.Of(ErrClock, "recover is not later than the genesis")
	}
	return nil
}

// checkRecover verifies that whoever holds the recovery key made this device the owner's.
// Whether the key was used before is a question for the fold.
func (g *Graph) checkRecover(c *Record) error {
	cert, err := keys.DecodeCertificate(c.Payload.Certificate)
	if err != nil {
		return fault.Of(format.ErrMalformed, "recover: %w", err)
	}
	if err := cert.VerifySignature(); err != nil || cert.Sign != c.Device {
		return fault.Of(ErrNotMember, "recover: the certificate is not for the log's device")
	}
	if next := c.Payload.Next; !next.IsZero() {
		if err := next.Check(); err != nil {
			return fault.Of(format.ErrMalformed, "recover: the next recovery key: %w", err)
		}
	}
	if !c.Payload.CheckRecover(g.thread, c.ID.Log) {
		return fault.Of(ErrNotMember, "recover is not signed with the recovery key")
	}
	c.cert = claimOf(cert)
	return nil
}

func (g *Graph) fitsRevoke(c *Record) error {
	device := c.Payload.Subject
	seen := func(r *Record) bool { return g.Reaches(c.Parents, r) }
	if slices.ContainsFunc(g.devices[device], func(f *Record) bool { return f.of(c.Device) && seen(f) }) {
		return nil
	}
	if slices.ContainsFunc(g.added[device], func(a *Record) bool { return a.adds != nil && a.adds.Identity == c.Device && seen(a) }) {
		return nil
	}
	return fault.Of(ErrNotMember, "revocation of a device that is not the identity's")
}

// A Recovery is what the thread commits to.
type Recovery struct {
	Key    keys.PublicKey // the present recovery key; zero: there is none
	Owner  keys.PublicKey // the identity that a recovery replaces
	Used   []Recovered    // keys that were used, the first one first
	Frozen []Recovered    // uses of one key that did not know of each other: none counts
}

// Opens says of a key that the thread commits to, or did, whether it makes an owner; known is
// false of any other.
func (r *Recovery) Opens(key keys.PublicKey) (known bool, err error) {
	for _, u := range slices.Concat(r.Used, r.Frozen) {
		if u.Key == key {
			return true, fault.Of(ErrRecovery, "the recovery key was used on %s by %s, device %s: if that was not you, whoever holds the next key, or an owner, decides", u.Time.Wall().UTC().Format(time.DateOnly), u.Identity.DID(), u.Device.DID())
		}
	}
	return r.Key == key && !key.IsZero(), nil
}

// Check says why a recovery key does not do, or nil.
func (r *Recovery) Check(key keys.PublicKey) error {
	known, err := r.Opens(key)
	switch {
	case err != nil:
		return err
	case len(r.Frozen) > 0:
		return ErrFrozen
	case known:
		return nil
	case r.Key.IsZero():
		return fault.Of(ErrRecovery, "the database has no recovery key: it was made, or recovered, without one")
	}
	return fault.Of(ErrRecovery, "the recovery key is not the one of this database")
}

// A Recovered is one use of a recovery key.
type Recovered struct {
	Key      keys.PublicKey // the one that was used
	Device   keys.PublicKey
	Identity keys.PublicKey
	Name     string // of the device, from its certificate
	Time     clock.Time
	Record   clock.Hash
}

// recovered says of a recover who used which key.
func (c *Record) recovered() Recovered {
	return Recovered{Key: c.Payload.Key, Device: c.Device, Identity: c.cert.Identity, Name: c.cert.Name, Time: c.Time, Record: c.ID.Hash}
}

// recover follows the commitments from the genesis on: before the open, the last first. Of
// two uses of one key that have not seen each other neither counts, nor does what none of
// them has seen, but for departures.
func (s *State) recover() {
	g := s.g
	done := map[keys.PublicKey]bool{{}: true}
	for n := uint64(1); !done[s.Recovery.Key]; n++ {
		key := s.Recovery.Key
		var all, uses []*Record
		for _, r := range g.recovers {
			if r.Payload.Key == key && r.cert != nil {
				all = append(all, r)
			}
		}
		for _, r := range all { // who has seen another use is no use
			if !slices.ContainsFunc(all, func(u *Record) bool { return u != r && g.saw(r, u) }) {
				uses = append(uses, r)
			}
		}
		if len(uses) > 1 {
			s.freeze(uses)
			return
		}
		if len(uses) == 0 {
			return
		}
		use := uses[0]
		e := &entry{role: format.RoleOwner, first: use, grant: use}
		s.cut(&cut{rec: use, by: e, role: format.RoleOwner, subject: s.Recovery.Owner})
		s.unkeyed = append(s.unkeyed, use)
		s.push(e, step{n: opened - n})
		done[key] = true
		s.Recovery.Used = append(s.Recovery.Used, use.recovered())
		s.Recovery.Key, s.Recovery.Owner = use.Payload.Next, use.cert.Identity
	}
}

// freeze leaves out what none of the uses of a key has seen.
func (s *State) freeze(uses []*Record) {
	s.uses = uses
	for _, u := range uses {
		s.Recovery.Frozen = append(s.Recovery.Frozen, u.recovered())
	}
	slices.SortFunc(s.Recovery.Frozen, func(a, b Recovered) int { return format.CompareHashes(a.Record, b.Record) })
	for _, r := range s.g.records {
		if !r.departs() && !slices.ContainsFunc(uses, func(u *Record) bool { return u != r && s.g.saw(u, r) }) {
			s.verdicts[r.at] = frozen
		}
	}
}

// revoke makes the cuts of identities that sign without a device.
func (s *State) revoke() {
	for _, r := range s.g.revokes {
		if s.verdict(r) == frozen {
			continue
		}
		if s.firstCut(r.Payload.Subject) {
			s.unkeyed = append(s.unkeyed, r)
		}
		s.cut(&cut{rec: r, role: format.RoleRelay, own: true, of: r.Device, subject: r.Payload.Subject})
		s.verdicts[r.at] = ok
	}
}

// start gives the first record of an added device an entry.
func (s *State) start(by *entry, device, start *Record) {
	if device.adds == nil || device.adds.Identity != by.identity() {
		return
	}
	s.push(&entry{role: by.role, first: start, grant: device, by: by}, step{device.ID.Seq, device.ID.Hash}, step{})
}

// speakAdded says of a device that was added, and has not begun its log, that it may.
func (s *State) speakAdded(r *Record) {
	by := s.author[r.at]
	if r.adds == nil || s.verdict(r) != ok || r.adds.Identity != by.identity() || len(s.g.starts[r.ID.Hash]) > 0 {
		return
	}
	device := r.adds.Sign
	if was := s.Members[device]; was != nil && !was.Added {
		return
	}
	e := &entry{role: by.role, first: &Record{Device: device, cert: r.adds, Payload: r.Payload, Time: r.Time}, grant: r, by: by}
	e.seat(step{r.ID.Seq, r.ID.Hash}, step{})
	if was := s.Members[device]; !s.alive(e) || was != nil && was.entry.before(e) {
		return
	}
	s.Members[device] = &Member{
		Device: device, Identity: r.adds.Identity, Seal: r.adds.Seal, Name: r.adds.Name, Role: e.role, Since: r.Time, Added: true, entry: e,
	}
	s.Members[device].delegate(s)
}

// AddedBy returns the record by which a device may begin a log, and the keys that it seals. One
// that has begun, and has lost what it held, begins another.
func (g *Graph) AddedBy(device keys.PublicKey) (record clock.Hash, sealed []byte, ok bool) {
	m := g.State().Members[device]
	if m == nil || m.entry.grant.Payload.Op != format.OpDevice {
		return record, nil, false
	}
	return m.entry.grant.ID.Hash, m.entry.grant.Payload.Sealed, true
}

// Recovers returns how many recovers and revocations the graph has, with effect or not.
func (g *Graph) Recovers() int { return len(g.recovers) + len(g.revokes) }
