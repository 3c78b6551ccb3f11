package control

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A device that joins again by another identity voids nothing: each of its logs is written
// by the identity that it was announced under.
func TestADeviceOfTwoIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 3)
		all := func() *Graph { return w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order")) }
		w.add(0, New(w.thread, w.genesis), &format.Control{Op: format.OpOpen})
		w.invites = []*keys.Identity{keys.NewIdentity()}
		w.add(0, all(), &format.Control{Op: format.OpInvite, Key: w.invites[0].Public(), Role: format.RoleWriter})
		w.join(1, all(), w.inviteOf(0))
		first := all().State().Members[w.devices[1].Public().Sign].Identity
		cert, err := keys.NewIdentity().Certify(w.devices[1].Public(), keys.CertifyOptions{Issued: time.Unix(2, 0)})
		if err != nil {
			t.Fatal(err)
		}
		w.devices[2] = w.devices[1] // by another control log
		if w.certs[2], err = cert.Encode(); err != nil {
			t.Fatal(err)
		}
		w.join(2, all(), w.inviteOf(0))
		g := all()
		again := format.LogIDOf(w.thread, w.records[len(w.records)-1].Payload.Data)
		before := format.LogIDOf(w.thread, w.records[2].Payload.Data)
		s := g.State()
		if len(s.Refused) != 0 || len(s.Void) != 0 || s.Logs[before].Identity != first || s.Logs[again].Identity != w.identity(2) {
			t.Fatalf("got %s, %v", describe(g), s.Refused)
		}
		// Under both identities the first log is nobody's, in whatever order they come.
		w.add(2, all(), &format.Control{Op: format.OpLog, Data: w.records[2].Payload.Data})
		w.add(1, g, &format.Control{Op: format.OpLog, Data: w.records[2].Payload.Data})
		if s = all().State(); !s.Void[before] || s.Logs[before].Identity != (keys.PublicKey{}) || s.Void[again] {
			t.Fatalf("got %s, %v", describe(all()), s.Refused)
		}
	})
}

func indexes(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// identity is the one that a device is certified by.
func (w *controlWorld) identity(device int) keys.PublicKey {
	c, err := keys.DecodeCertificate(w.certs[device])
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Identity
}
