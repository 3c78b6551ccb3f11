package control

import (
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A claim is what an identity signed of a device: a certificate of its own, or a delegation
// to another's.
type claim struct {
	Identity keys.PublicKey
	Sign     keys.PublicKey
	Seal     [32]byte
	Name     string

	certificate *keys.Certificate
	delegation  *keys.Delegation // nil: it is the identity's own, a full device
}

func claimOf(c *keys.Certificate) *claim {
	return &claim{Identity: c.Identity, Sign: c.Sign, Seal: c.Seal, Name: c.Name, certificate: c}
}

func delegated(d *keys.Delegation) *claim {
	return &claim{Identity: d.Identity, Sign: d.Sign, Seal: d.Seal, Name: d.Name, delegation: d}
}

// firstClaim is that of the device of a genesis.
func firstClaim(g *format.Genesis) *claim {
	if g.Delegation != nil {
		return delegated(g.Delegation)
	}
	return claimOf(g.Certificate)
}

// decodeClaim is that of the device that a device record adds; its signature is not looked
// at.
func decodeClaim(p *format.Control) (*claim, error) {
	if p.Delegated {
		d, err := keys.DecodeDelegation(p.Certificate)
		if err != nil {
			return nil, err
		}
		return delegated(d), nil
	}
	c, err := keys.DecodeCertificate(p.Certificate)
	if err != nil {
		return nil, err
	}
	return claimOf(c), nil
}

func (c *claim) verifySignature() error {
	if c.delegation != nil {
		return c.delegation.VerifySignature()
	}
	return c.certificate.VerifySignature()
}

// Valid says whether the certificate of a join which [Graph.Check] has passed is valid at a
// time: for doors.
func (c *Record) Valid(now time.Time) error { return c.cert.certificate.Verify(now) }

// A delegated device writes, and adds devices that its identity has certified; nothing else:
//
//	seniority   it comes after all whom it let in, and so after every full device of its
//	            identity: the owner's own device, which a hub let in, removes the hub
//	one pass    it is visited before them all the same, as they are there by it. So what
//	            they cut of it is looked at again before it grants: of two devices that it
//	            let in on two branches the senior stays
//
// It is delegated by its first record, whatever role its identity is given later.

// limited reports whether the device is delegated.
func (e *entry) limited() bool { return e.first.cert.delegation != nil }

// lone reports whether the device is delegated and adds none.
func (e *entry) lone() bool {
	return e.limited() && !e.first.cert.delegation.Rights.Has(keys.RightAdmit)
}

// recut looks again at what delegated devices did, after all entries were visited: whom they
// let in may have cut them. What let in somebody who stands has effect.
func (s *State) recut() {
	for log, all := range s.byLog {
		for _, e := range all {
			if !e.limited() {
				continue
			}
			for _, r := range s.g.logs[log] {
				if s.author[r.at] == e && s.verdict(r) == ok && !s.stood[r] {
					s.verdicts[r.at] = s.covers(e, r)
				}
			}
		}
	}
}

// refolds reports whether what a delegated device adds, or what such a device begins, has all
// folded anew: the device is cut, perhaps by whom it let in, and which of these is visited
// first decides what has effect.
func (s *State) refolds(by clock.LogID) bool {
	for _, e := range s.byLog[by] {
		if e.limited() && !s.alive(e) {
			return true
		}
	}
	return false
}

// until is when doors take no more from a delegated device: the latest end of the delegations
// that let it in, 0 if one has none. Of a full device it is 0.
func (s *State) until(e *entry) keys.Millis {
	if !e.limited() {
		return 0
	}
	last := e.first.cert.delegation.Expires
	for _, r := range s.g.added[e.device()] {
		if s.verdict(r) != ok || r.adds == nil || r.adds.delegation == nil || r.adds.Identity != e.identity() {
			continue
		}
		if end := r.adds.delegation.Expires; last != 0 && (end == 0 || end > last) {
			last = end
		}
	}
	return last
}
