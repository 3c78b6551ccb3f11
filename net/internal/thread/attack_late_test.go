package thread

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

func tryPull(t testing.TB, to, from *Thread) {
	t.Helper()
	var r *Rejection
	if err := pull(t.Context(), to, from, 1<<20); err != nil && (!errors.As(err, &r) || r.Hostile()) {
		t.Fatal(err)
	}
}

// The maker of an invite was away; two honest devices joined by a relay and wrote. A
// stranger with the URL brings two joins of its own to the maker first.
func TestAttackStrangerVoidsHonestMembers(t *testing.T) {
	o, r, a, b, m := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	x, y := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: 2, Expires: -1})
	inv2 := o.invite(t, to, InviteOptions{})
	tm := m.join(t, to, inv2)
	mustPull(t, to, tm)
	tr := r.adopt(t, to)
	mustPull(t, tr, to)
	tx, ty := x.join(t, tr, inv), y.join(t, tr, inv) // x, y keep it to themselves
	ta, tb := a.join(t, tr, inv), b.join(t, tr, inv)
	a.write(t, ta, "a1")
	b.write(t, tb, "b1")
	fromStranger(t, tr, ta)
	fromStranger(t, tr, tb)
	mustPull(t, tr, ta)
	mustPull(t, tr, tb)
	mustPull(t, tm, tr)
	if len(tm.Members()) != 4 {
		t.Fatalf("members at m: %d", len(tm.Members()))
	}
	fromStranger(t, to, tx)
	fromStranger(t, to, ty)
	tryPull(t, to, tr)
	tryPull(t, tm, to)
	for _, n := range []*testNode{a, b} {
		if _, ok := tm.Member(n.env.self()); !ok {
			t.Errorf("an honest member is void at m; %d wait", len(tm.WaitingJoins()))
		}
	}
	for _, l := range tm.byNum {
		if n := tm.limitOf(l); !n.void.Empty() || n.top != control.Unlimited {
			t.Errorf("data log %s of an honest member is limited", l.ID)
		}
	}
}

// A record of a device that waits, which an honest member named in time, is refused
// elsewhere: the member is cut off.
func TestAttackWaitingRecordCutsMemberOff(t *testing.T) {
	o, m, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tm := m.join(t, to, inv)
	mustPull(t, to, tm)
	tb := b.join(t, tm, inv)
	mustPull(t, tm, tb)
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil { // knows m, not b
		t.Fatal(err)
	}
	tryPull(t, to, tm) // b's join waits
	if len(to.WaitingJoins()) != 1 {
		t.Fatal("b does not wait")
	}
	if _, err := tb.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: newData(b, tb.ownControl.ID)}); err != nil {
		t.Fatal(err)
	}
	mustPull(t, tm, tb) // m has not heard of the close
	m.write(t, tm, "of m")
	tryPull(t, to, tm) // refused: nobody has named it yet
	tryPull(t, to, tm)
	if got := payloads(t, to); len(got) != 1 {
		t.Errorf("got %q of m", got)
	}
	tryPull(t, tm, to)
	m.write(t, tm, "of m, knowing the close")
	for range 3 {
		tryPull(t, to, tm)
	}
	w, _ := to.Waiting()
	t.Logf("waits: %+v", w)
	wantPayloads(t, to, "of m", "of m, knowing the close")
}

// A writer's useless admit ends every pull of everybody.
func TestAttackUselessAdmitRevives(t *testing.T) {
	o, m, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tm, tb := m.join(t, to, inv), b.join(t, to, inv)
	mustPull(t, to, tm)
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tb)
	mustPull(t, tm, to)
	for i := range 3 {
		revived := to.Revived()
		if _, err := tm.appendControl(t.Context(), &format.Control{Op: format.OpAdmit, Joins: []clock.Hash{to.WaitingJoins()[0].Join}}); err != nil {
			t.Fatal(err)
		}
		mustPull(t, to, tm)
		select {
		case <-revived:
			t.Errorf("%d: all pulls end by a writer's admit without effect", i)
		default:
		}
	}
}

// The door is not asked for a second first record of a log that is known.
func TestAttackDoorByForkedFirst(t *testing.T) {
	var late time.Duration
	o := lateNode(t, &late)
	s := newMemoryNode(t)
	to := o.create(t)
	closed := o.invite(t, to, InviteOptions{Uses: -1})
	expired := o.invite(t, to, InviteOptions{Expires: time.Hour, Uses: -1})
	ts := s.join(t, to, closed)
	if err := to.RevokeInvite(t.Context(), closed.Key()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, ts) // waits
	late = 2 * time.Hour
	if _, ok := to.Member(s.env.self()); ok {
		t.Fatal("a member already")
	}
	// another first record of the same log, by the expired invite
	id, err := format.InviteIdentity(expired)
	if err != nil {
		t.Fatal(err)
	}
	log := ts.ownControl
	cert, _ := s.env.cert.Encode()
	rec := to.graph.InvitesOf(expired.Key())[0]
	p := &format.Control{Op: format.OpJoin, Invite: rec.ID.Hash, Certificate: cert, Data: newData(s, log.ID)}
	p.Signature = id.Sign(format.DomainJoin, to.id[:], log.ID[:], cert, p.Data)
	h := &format.Header{Log: log.ID, Seq: 1, Epochs: to.firstEpoch(), Control: []clock.Hash{rec.ID.Hash}, Time: rec.Time + 1}
	sealed, err := ts.sealRecord(ts.keys.Service, h, &format.Plaintext{Payload: p.Encode()}, true)
	if err != nil {
		t.Fatal(err)
	}
	st, err := format.DecodeStored(sealed.value)
	if err != nil {
		t.Fatal(err)
	}
	run := format.Run{Descriptor: log.Raw, Records: []format.Record{st.Record}, Signature: s.env.device.Sign(format.DomainHead, to.id[:], sealed.id.Hash[:])}
	_, err = to.IngestFromStranger(t.Context(), run)
	if mm, ok := to.Member(s.env.self()); ok {
		t.Errorf("a stranger is %s by an invite that expired (%v)", mm.Role, err)
	}
}

// A join that only its own device can bring neither waits nor can be admitted.
func TestAttackStrangerCannotBeAdmitted(t *testing.T) {
	o, b := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tb := b.join(t, to, inv)
	b.write(t, tb, "a week offline")
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	fromStranger(t, to, tb)
	if len(to.WaitingJoins()) != 1 {
		w, _ := to.Waiting()
		t.Errorf("not listed as waiting: parked in memory: %+v", w)
	}
	if err := to.Admit(t.Context(), tb.graph.Joins(to.graph.InvitesOf(inv.Key())[0].ID.Hash)...); err != nil {
		t.Errorf("cannot be admitted: %v", err)
	}
}

// An owner who is junior to who closed the invite admits: the device comes in everywhere.
func TestAttackAdmitByJuniorOwner(t *testing.T) {
	o, j, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tj := j.join(t, to, o.invite(t, to, InviteOptions{}))
	mustPull(t, to, tj)
	if err := to.SetRole(t.Context(), j.env.cert.Identity, format.RoleOwner); err != nil {
		t.Fatal(err)
	}
	tb := b.join(t, to, inv)
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tb)
	mustPull(t, tj, to)
	if err := tj.Admit(t.Context(), tj.WaitingJoins()[0].Join); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tj)
	for _, th := range []*Thread{to, tj} {
		if len(th.WaitingJoins()) != 0 || len(th.Members()) != 3 {
			t.Errorf("%d members, %d wait", len(th.Members()), len(th.WaitingJoins()))
		}
	}
}

// What a member names is forgotten by a restart.
func TestAttackWantedAfterRestart(t *testing.T) {
	var late time.Duration
	o, a, x := lateNode(t, &late), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Expires: time.Hour, Uses: -1})
	ta := a.join(t, to, inv)
	mustPull(t, to, ta)
	tx := x.join(t, ta, inv)
	mustPull(t, ta, tx)
	a.write(t, ta, "names x's join")
	// only a's data comes
	if err := ta.settleSync(); err != nil {
		t.Fatal(err)
	}
	for _, tip := range ta.Sendable() {
		if tip.Log == ta.ownData.ID {
			if err := pullLog(t.Context(), to, ta, tip, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	late = 2 * time.Hour
	if len(to.wanted) != 1 {
		t.Fatal("not wanted")
	}
	to.Close()
	to, err := Open(t.Context(), o.env, to.id)
	if err != nil {
		t.Fatal(err)
	}
	opened(t, to)
	fromStranger(t, to, tx)
	if len(to.Members()) != 3 {
		w, _ := to.Waiting()
		t.Errorf("after a restart the join that a member names is parked: %+v", w)
	}
}

// A maker restored from a copy closes by itself, with whom it has heard of since.
func TestAttackRestoredMakerCloses(t *testing.T) {
	o, a := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Expires: -1})
	if err := to.settleSync(); err != nil {
		t.Fatal(err)
	}
	ta := a.join(t, to, inv)
	to.Close()
	if err := Restored(o.env.store); err != nil {
		t.Fatal(err)
	}
	to, err := Open(t.Context(), o.env, to.id)
	if err != nil {
		t.Fatal(err)
	}
	opened(t, to)
	fromStranger(t, to, ta)
	if i := to.Invites()[0]; i.Closed {
		t.Errorf("a restored device closed an invite by itself, before it heard of anybody: %+v", i)
	}
}
