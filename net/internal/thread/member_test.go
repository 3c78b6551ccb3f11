package thread

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
		all := func() *controlGraph { return w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order")) }
		w.add(0, newControlGraph(w.thread, w.genesis), &format.Control{Op: format.OpOpen})
		w.invites = []*keys.Identity{keys.NewIdentity()}
		w.add(0, all(), &format.Control{Op: format.OpInvite, Key: w.invites[0].Public(), Role: format.RoleWriter})
		w.join(1, all(), w.inviteOf(0))
		first := all().state().members[w.devices[1].Public().Sign].Identity
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
		again := format.LogIDOf(w.thread, w.records[len(w.records)-1].payload.Data)
		before := format.LogIDOf(w.thread, w.records[2].payload.Data)
		s := g.state()
		if len(s.refused) != 0 || len(s.void) != 0 || s.logs[before].identity != first || s.logs[again].identity != w.identity(2) {
			t.Fatalf("got %s, %v", describe(g), s.refused)
		}
		// Under both identities the first log is nobody's, in whatever order they come.
		w.add(2, all(), &format.Control{Op: format.OpLog, Data: w.records[2].payload.Data})
		w.add(1, g, &format.Control{Op: format.OpLog, Data: w.records[2].payload.Data})
		if s = all().state(); !s.void[before] || s.logs[before].identity != (keys.PublicKey{}) || s.void[again] {
			t.Fatalf("got %s, %v", describe(all()), s.refused)
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
