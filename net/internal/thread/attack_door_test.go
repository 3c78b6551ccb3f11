package thread

import (
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/net/internal/format"
)

// A junior owner closes the first owner's invite, in vain; the first
// owner cannot revoke it any more.
func TestAttackJuniorBlocksRevoke(t *testing.T) {
	o, j, x := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1, Expires: -1})
	tj := j.join(t, to, o.invite(t, to, InviteOptions{}))
	tx := x.join(t, to, inv)
	mustPull(t, to, tj)
	if err := to.SetRole(t.Context(), j.env.cert.Identity, format.RoleOwner); err != nil {
		t.Fatal(err)
	}
	mustPull(t, tj, to)
	if err := tj.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tj)
	n := to.graph.Len()
	if err := to.RevokeInvite(t.Context(), inv.Key()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tx) // a hostile member, or relay, brings it
	if _, ok := to.Member(x.env.self()); ok {
		t.Errorf("the owner revoked the invite (%d records written), and x came in by it after that", to.graph.Len()-n)
	}
}

// A join that is taken in, and stands, while RevokeInvite runs is left out.
func TestAttackRevokeRace(t *testing.T) {
	o, a := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	ta := a.join(t, to, inv)
	if err := ta.settleSync(); err != nil {
		t.Fatal(err)
	}
	var run format.Run
	for _, tip := range ta.Sendable() {
		if tip.Log == ta.ownControl.ID {
			run, _ = ta.ReadRun(tip, 0, 1<<20)
		}
	}
	v, rej := to.verify(t.Context(), run)
	if rej != nil {
		t.Fatal(rej)
	}
	to.write.Lock() // as Append or another Ingest does
	done := make(chan error)
	go func() { done <- to.RevokeInvite(t.Context(), inv.Key()) }()
	time.Sleep(100 * time.Millisecond)
	to.mu.Lock()
	_, _, err := to.ingestLocked(v)
	member := to.graph.State().Members[a.env.self()] != nil
	to.mu.Unlock()
	to.write.Unlock()
	if err != nil || !member {
		t.Fatal(err, member)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, ok := to.Member(a.env.self()); !ok {
		t.Error("a member that the author knew when it wrote the close is left out")
	}
}

// 16 heads with low hashes: data that comes before its writer's join (parked at the
// door) is refused for good, not parked.
func TestAttackSixteenHeads(t *testing.T) {
	var late time.Duration
	o, a, m := lateNode(t, &late), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Expires: time.Hour, Uses: -1})
	tm := m.join(t, to, inv)
	mustPull(t, to, tm)
	var xs []*Thread
	for range 40 {
		xs = append(xs, newMemoryNode(t).join(t, to, inv))
	}
	for _, tx := range xs {
		fromStranger(t, to, tx)
	}
	var ta *Thread
	for ta == nil || slices.Contains(ta.graph.Named(), ta.ownControl.Branches[0].Tip.Hash) {
		a = newMemoryNode(t)
		ta = a.join(t, to, inv)
	}
	a.write(t, ta, "of a")
	mustPull(t, tm, ta)
	late = 2 * time.Hour
	fromStranger(t, to, ta) // its join is parked, its data is dropped
	w, _ := to.Waiting()
	t.Logf("waits %+v", w)
	for _, tip := range tm.Sendable() { // the member brings the join alone
		if tip.Log == ta.ownControl.ID {
			if err := tm.settleSync(); err != nil {
				t.Fatal(err)
			}
			if err := pullLog(t.Context(), to, tm, tip, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, ok := to.Member(a.env.self()); !ok {
		t.Fatal("no member")
	}
	wantPayloads(t, to, "of a")
}
