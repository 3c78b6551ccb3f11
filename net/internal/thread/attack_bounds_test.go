package thread

import (
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// One join more than may wait cuts off an honest member that named it, and everything
// that comes after it in a pull.
func TestAttackWaitingBoundCutsMemberOff(t *testing.T) {
	defer func(n int) { maxIdleJoins = n }(maxIdleJoins)
	maxIdleJoins = 3
	o, m := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tm := m.join(t, to, inv)
	mustPull(t, to, tm)
	for range 4 { // they come to m by its door, while the invite is open
		x := newMemoryNode(t)
		fromStranger(t, tm, x.join(t, to, inv))
	}
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	m.write(t, tm, "of m")
	tryPull(t, to, tm) // refused: nobody has named it yet
	tryPull(t, to, tm)
	if got := payloads(t, to); len(got) != 1 {
		w, _ := to.Waiting()
		t.Errorf("data of an honest member: %q, waits %+v", got, w)
	}
}

// C3: joins by an invite of a device that may not invite are bounded by nothing.
func TestAttackUnboundedVoid(t *testing.T) {
	defer func(n int) { maxIdleJoins = n }(maxIdleJoins)
	maxIdleJoins = 3
	o, m := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	tm := m.join(t, to, o.invite(t, to, InviteOptions{}))
	mustPull(t, to, tm)
	id := keys.NewIdentity()
	rid, err := tm.appendControl(t.Context(), &format.Control{Op: format.OpInvite, Key: id.Public(), Role: format.RoleWriter})
	if err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tm)
	x := newMemoryNode(t)
	cert, _ := x.env.cert.Encode()
	kept := 0
	for range 20 {
		l := tm.newLocalLog(format.NewDescriptor(x.env.self(), format.KindControl, clock.LogID{}), 0)
		h := &format.Header{Log: l.ID, Seq: 1, Epochs: to.firstEpoch(), Control: []clock.Hash{rid.Hash}, Time: tm.graph.Time(rid.Hash) + 1}
		p := &format.Control{Op: format.OpJoin, Invite: rid.Hash, Certificate: cert, Data: newData(x, l.ID)}
		p.Signature = id.Sign(format.DomainJoin, to.id[:], l.ID[:], cert, p.Data)
		sealed, err := to.sealRecord(to.keys.Service, h, &format.Plaintext{Payload: p.Encode()}, true)
		if err != nil {
			t.Fatal(err)
		}
		st, _ := format.DecodeStored(sealed.value)
		r := format.Run{Descriptor: l.Raw, Records: []format.Record{st.Record}, Signature: x.env.device.Sign(format.DomainHead, to.id[:], sealed.id.Hash[:])}
		if res, err := to.Ingest(t.Context(), r); err == nil {
			kept += res.Stored
		}
	}
	if kept > 3 {
		t.Errorf("%d joins without effect are kept, the bound is 3; listed as waiting: %d", kept, len(to.WaitingJoins()))
	}
}
