package control

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
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
		whose := func(g *Graph, log clock.LogID) (ids []keys.PublicKey) {
			for _, r := range g.Rights(log) {
				ids = append(ids, r.Identity)
			}
			return ids
		}
		if got := whose(g, before); !slices.Equal(got, []keys.PublicKey{first}) {
			t.Fatalf("the first log is written by %v", got)
		}
		if got := whose(g, again); !slices.Equal(got, []keys.PublicKey{w.certified(2).Identity}) || len(g.State().Refused) != 0 {
			t.Fatalf("the second log is written by %v; %v", got, g.State().Refused)
		}
		// Announced under the other, too, the first log is what it was: it names the control
		// log that it belongs to.
		w.add(2, all(), &format.Control{Op: format.OpLog, Data: w.records[2].Payload.Data})
		w.add(1, g, &format.Control{Op: format.OpLog, Data: w.records[2].Payload.Data})
		if got := whose(all(), before); !slices.Equal(got, []keys.PublicKey{first}) {
			t.Fatalf("announced twice, the first log is written by %v", got)
		}
	})
}

func indexes(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}
