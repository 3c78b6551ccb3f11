package control

import (
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

// A device forks the first record of its control log, by two identities: each of its records
// is by that whose first record it has seen, in whatever order they come.
func TestAttackForkedFirstRecord(t *testing.T) {
	c := newCrowd(t, 0, false)
	d := keys.NewDevice()
	desc := format.NewDescriptor(d.Public().Sign, format.KindControl, clock.LogID{})
	own := desc.LogID(c.thread)
	data := format.NewDescriptor(d.Public().Sign, format.KindData, own)
	inv := c.owner[1].ID.Hash
	a := c.joinAs(t, d, desc, 1, data.Encode(), c.invite, inv)
	b := c.joinAs(t, d, desc, 2, data.Encode(), c.invite, inv)
	log := data.LogID(c.thread)
	var got []string
	for _, order := range [][]Record{{a, b}, {b, a}} {
		g := c.graph(t)
		for _, r := range order {
			add(t, g, r)
		}
		g.State()
		got = append(got, describe(g))
		if again := describe(anew(g)); again != got[len(got)-1] {
			t.Errorf("applied on top\n%sfolded anew\n%s", got[len(got)-1], again)
		}
		rights := g.Rights(log)
		if len(rights) != 2 || !g.Split(log) {
			t.Fatalf("%d rights, split %v", len(rights), g.Split(log))
		}
		for _, r := range []Record{a, b} {
			for i := range rights {
				if rights[i].first.ID == r.ID && (!rights[i].Of([]clock.Hash{r.ID.Hash}) || rights[i].Identity != g.index[r.ID.Hash].cert.Identity) {
					t.Errorf("a record under %s is not of its identity", r.ID)
				}
				if rights[i].first.ID != r.ID && rights[i].Of([]clock.Hash{r.ID.Hash}) {
					t.Errorf("a record under %s is of the other identity", r.ID)
				}
			}
		}
	}
	if got[0] != got[1] {
		t.Errorf("one order\n%sthe other\n%s", got[0], got[1])
	}
}
