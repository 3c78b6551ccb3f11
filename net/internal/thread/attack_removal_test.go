package thread

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A device joins by an open invite and, at the same time, the owner rotates. The epoch is
// sealed to the invite, whose secret the joined device has thrown away: it gets the key all
// the same.
func TestAttackJoinBesideRotation(t *testing.T) {
	c := newClub(t, 1)
	o := c.threads[0]
	inv := c.nodes[0].invite(t, o, InviteOptions{Uses: -1})
	n := newMemoryNode(t)
	th := n.join(t, o, inv)
	must(t, o.Rotate(t.Context())) // has not heard of the join
	mustPull(t, o, th)
	for range 3 {
		if _, err := o.RotateIfDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustPull(t, th, o)
		mustPull(t, o, th)
	}
	c.write(t, 0, "for all members")
	tryPull(t, th, o)
	if err := th.mayWriteNow(); err != nil {
		t.Errorf("the member cannot write: %v", err)
	}
	wantPayloads(t, th, "for all members")
}

// One of more than sixteen who joined at once gets a role, and is not thrown out by it.
func TestAttackRoleBeyondSixteenHeads(t *testing.T) {
	c := newClub(t, 24)
	o := c.threads[0]
	i := beyond(t, c)
	must(t, o.SetRole(t.Context(), c.identity(i), format.RoleAdmin))
	if m, ok := o.Member(c.device(i)); !ok || m.Role != format.RoleAdmin {
		t.Fatalf("the new admin is %v, member %v", m.Role, ok)
	}
}

// And the owner can transfer the database to it.
func TestAttackTransferBeyondSixteenHeads(t *testing.T) {
	c := newClub(t, 24)
	o := c.threads[0]
	i := beyond(t, c)
	must(t, o.Transfer(t.Context(), c.identity(i)))
	if m, _ := o.Member(c.device(i)); m.Role != format.RoleOwner {
		t.Fatalf("the successor is %v; the database has no owner", m.Role)
	}
}

// beyond returns a device whose join the owner's next record does not name.
func beyond(t *testing.T, c *club) int {
	t.Helper()
	for i := 1; i < len(c.threads); i++ {
		join := c.threads[i].ownControl.Branches[0].Tip.Hash
		if r := c.threads[0].graph; r.Has(join) && !slices.Contains(r.Named(), join) {
			return i
		}
	}
	t.Fatal("all are named")
	return 0
}

// The removal of an admin, of which the owner has all, leaves what it did before, also where
// there are more than sixteen heads: whom it let in stays.
func TestAttackRemovalBeyondSixteenHeads(t *testing.T) {
	c := newClub(t, 24)
	o := c.threads[0]
	for range 3 { // each names sixteen heads more
		must(t, o.Rotate(t.Context()))
	}
	for i := 1; i < len(c.threads); i++ {
		must(t, o.SetRole(t.Context(), c.identity(i), format.RoleAdmin))
		mustPull(t, c.threads[i], o)
	}
	for i := 1; i < len(c.threads); i++ {
		c.nodes[i].invite(t, c.threads[i], InviteOptions{Uses: -1})
	}
	for i := 1; i < len(c.threads); i++ {
		mustPull(t, o, c.threads[i])
	}
	i := beyond(t, c)
	n := newMemoryNode(t)
	th := n.join(t, c.threads[i], c.nodes[i].invite(t, c.threads[i], InviteOptions{}))
	mustPull(t, o, th)
	n.write(t, th, "of the guest")
	mustPull(t, o, th)
	if _, ok := o.Member(n.env.self()); !ok {
		t.Fatal("not let in")
	}
	// others write so that the guest's join is no low head
	must(t, o.RemoveMember(t.Context(), c.identity(i)))
	if _, ok := o.Member(n.env.self()); !ok {
		t.Error("who was let in before by the removed, which the owner knew, is no member")
	}
	wantCounted(t, o, "of the guest")
}

// One record that waits, as its clock is six minutes fast: a change of the role of its
// writer leaves what it wrote before.
func TestAttackWaitingRecordVoidsAll(t *testing.T) {
	for _, how := range []string{"role", "remove"} {
		c := newClub(t, 2)
		o, x := c.threads[0], c.threads[1]
		c.write(t, 1, "old 1")
		c.write(t, 1, "old 2")
		c.meet(t)
		wantCounted(t, o, "old 1", "old 2")
		f := forgerOf(x)
		r := f.record(t, readKey(t, x), "fast clock", func(h *format.Header) {
			h.Time = clock.At(time.Now().Add(6 * time.Minute))
		})
		if _, err := o.Ingest(t.Context(), f.run(r)); err != nil {
			t.Fatal(err)
		}
		if how == "role" {
			must(t, o.SetRole(t.Context(), c.identity(1), format.RoleReader))
		} else {
			must(t, o.RemoveMember(t.Context(), c.identity(1)))
		}
		if got := counted(t, o); !slices.Equal(got, []string{"old 1", "old 2"}) {
			t.Errorf("%s: counts %q", how, got)
		}
	}
}

// An admin that rotates often can be removed all the same.
func TestAttackRotationsKeepFromRemoval(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	var to []format.Recipient
	for _, m := range x.Members() {
		to = append(to, format.Recipient{Sign: m.Device, Seal: m.Seal})
	}
	for range 1000 {
		e, err := format.NewEpoch(x.id, &x.keys, nil, to, nil) // gives no key before it
		must(t, err)
		_, err = x.appendControl(t.Context(), &format.Control{Op: format.OpRotate, Epoch: e})
		must(t, err)
	}
	start := time.Now()
	mustPull(t, o, x)
	t.Logf("taken in %v, %d keys", time.Since(start), o.keys.Len())
	if err := o.RemoveMember(t.Context(), c.identity(1)); err != nil {
		t.Errorf("the owner cannot remove the admin: %v", err)
	}
	if _, err := o.RotateIfDue(t.Context()); err != nil {
		t.Errorf("nor rotate: %v", err)
	}
}

// A snapshot log that a writer announced does not go on after its removal.
func TestAttackSnapshotLogAfterRemoval(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	d := format.NewDescriptor(x.env.self(), format.KindSnapshot, x.ownControl.ID)
	at, err := x.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: d.Encode()})
	must(t, err)
	c.meet(t)
	f := &forger{th: x, device: x.env.device, desc: d, time: x.graph.Time(at.Hash)}
	next := func() format.Run {
		return f.run(f.record(t, readKey(t, x), "junk", func(h *format.Header) { h.Control = []clock.Hash{at.Hash} }))
	}
	if _, err := o.Ingest(t.Context(), next()); err != nil {
		t.Fatal(err)
	}
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	for range 3 {
		if got, err := o.Ingest(t.Context(), next()); err == nil {
			t.Errorf("the removed stores %d records more; it is named to others: %v", got.Stored, slices.ContainsFunc(o.Tips(), func(id clock.RecordID) bool { return id.Seq == f.seq && id.Log == d.LogID(x.id) }))
		}
	}
}

// A writer "removes" its own device, which has no effect on itself, and names heads of its own
// log that nobody has: what the owner's removal has seen is not its choice.
func TestAttackOwnViewOutlivesRemoval(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "before")
	c.meet(t)
	f := forgerOf(x)
	key := readKey(t, x)
	var hidden []format.Record
	for i := range 5 {
		hidden = append(hidden, f.record(t, key, fmt.Sprint("hidden ", i), nil))
	}
	far := clock.RecordID{Log: x.ownData.ID, Seq: f.seq, Hash: f.prev}
	_, err := x.appendControl(t.Context(), &format.Control{Op: format.OpRemove, Subject: x.env.self(), View: []clock.RecordID{far}})
	must(t, err)
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.meet(t, 0, 2)
	wantCounted(t, b, "before")
	got, err := b.Ingest(t.Context(), f.run(hidden...)) // long after
	t.Logf("%+v %v", got, err)
	wantCounted(t, b, "before")
}

// The same, with a head that nobody will ever have, far up: what the removed writes is not
// taken.
func TestAttackOwnViewFarAway(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "before")
	c.meet(t)
	_, err := x.appendControl(t.Context(), &format.Control{Op: format.OpRemove, Subject: x.env.self(), View: []clock.RecordID{{Log: x.ownData.ID, Seq: 1 << 40}}})
	must(t, err)
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.meet(t, 0, 2)
	for i := range 10 {
		c.write(t, 1, fmt.Sprint("later ", i))
	}
	tryPull(t, b, x)
	if got := payloads(t, b); len(got) != 1 {
		t.Errorf("stored of the removed: %q", got)
	}
}

// An admin who lacks the key of the present epoch makes no invite that would let nobody in.
func TestAttackInviteWithoutKey(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	x.mu.Lock()
	e, err := x.newEpoch(func(m *Member) bool { return m.Device == c.device(0) }, false) // an admin leaves the owner out
	x.mu.Unlock()
	must(t, err)
	_, err = x.appendControl(t.Context(), &format.Control{Op: format.OpRotate, Epoch: e})
	must(t, err)
	mustPull(t, o, x)
	if o.mayWriteNow() == nil {
		t.Fatal("the owner has the key")
	}
	inv, err := o.CreateInvite(t.Context(), InviteOptions{})
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	th, err := Join(t.Context(), newMemoryNode(t).env, inv, o.Genesis())
	must(t, err)
	opened(t, th)
	mustPull(t, th, o)
	if err := th.FinishJoin(t.Context()); err != nil {
		t.Errorf("the invite lets nobody in: %v", err)
	}
}

// An epoch that takes effect by a later record, which carries none, is opened.
func TestAttackEpochRevived(t *testing.T) {
	c := newClub(t, 4)
	o, p, q, y, b := c.threads[0], c.threads[1], c.threads[2], c.threads[3], c.threads[4]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleOwner))
	must(t, o.SetRole(t.Context(), c.identity(2), format.RoleOwner))
	c.meet(t)
	must(t, q.SetRole(t.Context(), c.identity(3), format.RoleAdmin))
	mustPull(t, y, q)
	must(t, y.Rotate(t.Context()))
	must(t, p.RemoveMember(t.Context(), c.identity(2)))               // has not heard of the admin
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleReader)) // nor o of the removal
	mustPull(t, b, q)
	mustPull(t, b, p)
	mustPull(t, b, y)
	mustPull(t, b, o)
	if err := b.mayWriteNow(); err != nil {
		t.Errorf("b cannot write: %v, epochs %v, has %d", err, b.graph.State().Epochs(), b.keys.Len())
	}
	b = c.nodes[4].again(t, b)
	if err := b.mayWriteNow(); err != nil {
		t.Errorf("b cannot write after a restart either: %v", err)
	}
}

var _ = keys.PublicKey{}
