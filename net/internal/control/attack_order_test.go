package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// joinAs is another first record of the control log and device of `like`, by another identity.
func (c *crowd) joinAs(t *testing.T, d *keys.Device, desc format.Descriptor, n int, data []byte, invite *keys.Identity, rec clock.Hash) Record {
	t.Helper()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := cert.Encode()
	log := desc.LogID(c.thread)
	p := &format.Control{Op: format.OpJoin, Invite: rec, Certificate: b, Data: data}
	p.Signature = invite.Sign(format.DomainJoin, c.thread[:], log[:], b, data)
	return Record{ID: c.recordID(log, 1, n), Time: clock.Time(1000 + n), Device: d.Public().Sign, Parents: []clock.Hash{rec}, Payload: p}
}

// One device forks the first record of its control log: two identities. Replicas disagree on who wrote.
func TestAttackForkedFirstRecord(t *testing.T) {
	c := newCrowd(t, 0, false)
	d := keys.NewDevice()
	desc := format.NewDescriptor(d.Public().Sign, format.KindControl)
	d1, d2 := format.NewDescriptor(d.Public().Sign, format.KindData), format.NewDescriptor(d.Public().Sign, format.KindData)
	inv := c.owner[1].ID.Hash
	a := c.joinAs(t, d, desc, 1, d1.Encode(), c.invite, inv)
	b := c.joinAs(t, d, desc, 2, d2.Encode(), c.invite, inv)
	var got []string
	for _, order := range [][]Record{{a, b}, {b, a}} {
		g := c.graph(t)
		for _, r := range order {
			add(t, g, r)
		}
		g.State()
		got = append(got, describe(g))
		again := newState()
		again.rank(g.records)
		for _, i := range g.order() {
			again.apply(g.records[i])
		}
		h := *g
		h.folded = again
		if describe(&h) != describe(g) {
			t.Errorf("applied on top\n%sfolded anew\n%s", describe(g), describe(&h))
		}
	}
	if got[0] != got[1] {
		t.Errorf("one order\n%sthe other\n%s", got[0], got[1])
	}
}

// The same with two invites of different rank: what a close of that log decides depends on the order.
func TestAttackForkedFirstRecordRank(t *testing.T) {
	c := newCrowd(t, 1, false)
	c.owner[1].Payload.Role = format.RoleOwner // x joins as owner, rank 1
	x := c.joins[0]
	k2 := keys.NewIdentity()
	inv2 := Record{ID: c.recordID(x.ID.Log, 2, 7), Time: 2000, Device: x.Device, Parents: []clock.Hash{x.ID.Hash}, Payload: &format.Control{Op: format.OpInvite, Key: k2.Public(), Role: format.RoleOwner}}
	d := keys.NewDevice()
	desc := format.NewDescriptor(d.Public().Sign, format.KindControl)
	d1, d2 := format.NewDescriptor(d.Public().Sign, format.KindData), format.NewDescriptor(d.Public().Sign, format.KindData)
	a := c.joinAs(t, d, desc, 11, d1.Encode(), c.invite, c.owner[1].ID.Hash) // rank 1
	b := c.joinAs(t, d, desc, 12, d2.Encode(), k2, inv2.ID.Hash)             // rank 2
	b.Time = 3000
	// an honest device joins by x's invite: rank 2
	hd := keys.NewDevice()
	hdesc := format.NewDescriptor(hd.Public().Sign, format.KindControl)
	hdata := format.NewDescriptor(hd.Public().Sign, format.KindData)
	h := c.joinAs(t, hd, hdesc, 13, hdata.Encode(), k2, inv2.ID.Hash)
	h.Time = 3001
	cl := Record{ID: c.recordID(desc.LogID(c.thread), 2, 14), Time: 4000, Device: d.Public().Sign, Parents: []clock.Hash{a.ID.Hash, inv2.ID.Hash}, Payload: &format.Control{Op: format.OpClose, Invite: inv2.ID.Hash}}
	var got []string
	for _, order := range [][]Record{{x, inv2, a, b, h, cl}, {x, inv2, b, a, h, cl}} {
		g := c.graph(t)
		for _, r := range order {
			add(t, g, r)
		}
		got = append(got, fmt.Sprintf("honest member stands: %v, %d members, %d wait\n", g.State().Members[h.Device] != nil, len(g.State().Members), len(g.State().Waiting)))
	}
	if got[0] != got[1] {
		t.Errorf("one order: %sthe other: %s", got[0], got[1])
	}
}

// A third announcement of a data log that two identities of a device announced.
func TestAttackTwofoldThird(t *testing.T) {
	c := newCrowd(t, 0, false)
	d := keys.NewDevice()
	data := format.NewDescriptor(d.Public().Sign, format.KindData)
	inv := c.owner[1].ID.Hash
	var js []Record
	for i := range 2 {
		desc := format.NewDescriptor(d.Public().Sign, format.KindControl)
		js = append(js, c.joinAs(t, d, desc, 10+i, data.Encode(), c.invite, inv))
	}
	third := Record{ID: c.recordID(js[0].ID.Log, 2, 12), Time: 5000, Device: d.Public().Sign, Parents: []clock.Hash{js[0].ID.Hash}, Payload: &format.Control{Op: format.OpLog, Data: data.Encode()}}
	other := Record{ID: c.recordID(js[1].ID.Log, 2, 1), Time: 5000, Device: d.Public().Sign, Parents: []clock.Hash{js[1].ID.Hash}, Payload: &format.Control{Op: format.OpLog, Data: data.Encode()}}
	all := []Record{js[0], js[1], third, other}
	var got []string
	for _, order := range [][]int{{0, 1, 2, 3}, {1, 0, 3, 2}, {0, 2, 1, 3}, {1, 3, 0, 2}} {
		g := c.graph(t)
		for _, i := range order {
			add(t, g, all[i])
			g.State()
		}
		out := ""
		for _, i := range g.State().Invites {
			out += fmt.Sprint(" used ", i.Used)
		}
		var rs []string
		for _, r := range g.State().Refused {
			rs = append(rs, fmt.Sprintf("%x", r.ID.Hash[:2]))
		}
		slices.Sort(rs)
		got = append(got, out+fmt.Sprint(rs))
	}
	for i := range got {
		if got[i] != got[0] {
			t.Errorf("got %v", got)
			break
		}
	}
}
