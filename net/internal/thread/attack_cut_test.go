package thread

import (
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A run that a removal cuts, at a member: it passes on what counts.
func TestAttackCutRunAtMember(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "counts 1")
	c.write(t, 1, "counts 2")
	c.meet(t, 0, 1)
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.write(t, 1, "late")
	must(t, o.settleSync())
	for _, tip := range o.Sendable() {
		if o.IsControl(tip.Log) && !b.Has(tip) {
			must(t, pullLog(t.Context(), b, o, tip, 1<<20))
		}
	}
	tryPull(t, b, x)
	tryPull(t, b, o)
	must(t, b.settleSync())
	found := false
	for _, tip := range b.Sendable() {
		found = found || tip.Log == x.ownData.ID
	}
	if !found {
		t.Error("b holds what counts of x, and offers it to nobody")
	}
	// and if b then cuts or changes the role of x's identity, it names nothing that it has of x
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.viewOf([]clock.LogID{x.ownData.ID}); len(v) == 0 {
		t.Error("a role change by b would void all of x: its view is empty")
	}
}

// An identity that joined more often than a record may list: its role can be changed, or that
// is refused, and nothing is written that nobody can decode.
func TestAttackTooManyJoinsOfOne(t *testing.T) {
	c := newClub(t, 1)
	o, x := c.threads[0], c.threads[1]
	inv := c.nodes[0].invite(t, o, InviteOptions{Uses: -1})
	x.mu.Lock()
	x.invite = &inv
	x.mu.Unlock()
	must(t, o.settleSync())
	mustPull(t, x, o)
	cert, err := x.env.cert.Encode()
	must(t, err)
	rec := o.graph.InvitesOf(inv.Key())[0]
	for range format.MaxJoins + 10 {
		d := format.NewDescriptor(x.env.self(), format.KindControl, clock.LogID{})
		f := &forger{th: x, device: x.env.device, desc: d, time: rec.Time}
		data := format.NewDescriptor(x.env.self(), format.KindData, d.LogID(x.id))
		p := &format.Control{Op: format.OpJoin, Invite: rec.ID.Hash, Certificate: cert, Data: data.Encode()}
		p.Signature = x.inviteSignature(d.LogID(x.id), p)
		r := f.control(t, p, func(h *format.Header) { h.Control = []clock.Hash{rec.ID.Hash} })
		if _, err := o.Ingest(t.Context(), f.run(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.SetRole(t.Context(), c.identity(1), format.RoleReader); err != nil {
		t.Logf("refused: %v", err)
	}
	o.Close()
	if _, err := Open(t.Context(), c.nodes[0].env, o.id); err != nil {
		t.Errorf("the owner's thread does not open: %v", err)
	}
}

// The top owner holds records of a removed device that are void, and cuts history: who has
// not taken them has the same data.
func TestAttackCheckpointOverVoid(t *testing.T) {
	c := newClub(t, 3)
	o, q, x, b := c.threads[0], c.threads[1], c.threads[2], c.threads[3]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.write(t, 2, "before")
	c.meet(t)
	c.write(t, 2, "late")
	mustPull(t, o, x)
	must(t, q.RemoveMember(t.Context(), c.identity(2)))
	mustPull(t, b, q)
	mustPull(t, o, q)
	wantCounted(t, o, "before")
	cutHistory(t, o, "S")
	c.write(t, 0, "after")
	for range 2 {
		c.meet(t, 0, 1, 3)
	}
	for i, th := range []*Thread{o, q, b} {
		wantCounted(t, th, "S", "after")
		th.mu.Lock()
		cut := th.cut()
		th.mu.Unlock()
		for _, s := range cut.Snapshots {
			t.Logf("%d: %+v", i, s)
		}
	}
	_ = x
}
