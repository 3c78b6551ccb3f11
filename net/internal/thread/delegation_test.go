package thread

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// delegate signs a delegation of an identity to the device of a node.
func delegate(t testing.TB, id *keys.Identity, n *testNode, r keys.Rights, expires time.Time) *keys.Delegation {
	t.Helper()
	d, err := id.Delegate(n.env.device.Public(), keys.DelegateOptions{Rights: r, Name: "hub", Issued: time.Now(), Expires: expires})
	must(t, err)
	return d
}

// hosted is a thread that a hub opened for an identity, with a laptop of that and a member that
// the laptop invited.
func hosted(t testing.TB) (c *club, id *keys.Identity) {
	t.Helper()
	id = keys.NewIdentity()
	hub := newMemoryNode(t)
	th, err := CreateFor(t.Context(), hub.env, "test", delegate(t, id, hub, keys.RightCreate|keys.RightAdmit, time.Time{}), keys.PublicKey{})
	must(t, err)
	c = &club{nodes: []*testNode{hub}, threads: []*Thread{opened(t, th)}}
	c.write(t, 0, "of the hub")
	c.add(t, 0, newDevice(t, id, "laptop"))
	bob := newMemoryNode(t)
	c.nodes = append(c.nodes, bob)
	c.threads = append(c.threads, bob.join(t, c.threads[1], c.nodes[1].invite(t, c.threads[1], InviteOptions{})))
	c.meet(t)
	return c, id
}

// A hub opens a thread for an identity and writes. The identity's own device comes, is senior
// to the hub, and decides; the hub decides nothing. Without a device the identity revokes it:
// what the hub writes then, and who it lets in, is nowhere, and it reads nothing new.
func TestHubWritesForAnIdentity(t *testing.T) {
	c, id := hosted(t)
	hub, laptop, bob := c.threads[0], c.threads[1], c.threads[2]
	wantCounted(t, bob, "of the hub")
	c.write(t, 0, "more")
	c.meet(t)
	if w, ok := bob.Writer(hub.ownData.Branches[0].Tip); !ok || w != id.Public() {
		t.Errorf("the hub writes as %s, %v", w, ok)
	}
	h, _ := bob.Member(c.device(0))
	l, _ := bob.Member(c.device(1))
	if !h.Delegated || h.Identity != id.Public() || h.Role != format.RoleOwner || l.Delegated || !l.SeniorTo(&h) || h.SeniorTo(&l) {
		t.Errorf("got the hub %+v and the laptop %+v", h, l)
	}
	if _, err := hub.CreateInvite(t.Context(), InviteOptions{}); !errors.Is(err, ErrNotMember) {
		t.Errorf("the hub invites: got %v", err)
	}
	for what, err := range map[string]error{
		"removes":      hub.RemoveMember(t.Context(), c.device(1)),
		"removes bob":  hub.RemoveMember(t.Context(), c.device(2)),
		"gives a role": hub.SetRole(t.Context(), id.Public(), format.RoleWriter),
		"transfers":    hub.Transfer(t.Context(), bob.Self()),
		"rotates":      hub.Rotate(t.Context()),
		"compacts":     hub.MayCheckpoint(),
	} {
		if err == nil {
			t.Errorf("the hub %s", what)
		}
	}
	c.write(t, 0, "a definition")
	if role, _, err := hub.RightOf(hub.ownData.Branches[0].Tip); role != 0 || err != nil {
		t.Errorf("the hub defines as %s, %v", role, err)
	}
	must(t, laptop.MayCheckpoint())
	c.meet(t)
	must(t, laptop.RevokeDevice(t.Context(), id, c.device(0)))
	c.write(t, 0, "late") // it has not heard
	pad := newDevice(t, id, "pad")
	c.add(t, 0, pad)
	c.write(t, 3, "of whom the hub let in")
	c.meet(t, 1, 2)
	c.write(t, 2, "secret")
	c.meet(t)
	for i, th := range []*Thread{laptop, bob} {
		wantCounted(t, th, "of the hub", "more", "a definition", "secret")
		if _, ok := th.Member(c.device(0)); ok {
			t.Errorf("%d: the hub is a member", i)
		}
		if _, ok := th.Member(c.device(3)); ok {
			t.Errorf("%d: whom the hub let in is a member", i)
		}
	}
	for _, p := range counted(t, hub) {
		if p == "secret" {
			t.Error("the hub reads what was written after it was revoked")
		}
	}
}

// The laptop that a hub let in takes the hub out like any of its identity's devices.
func TestLaptopTakesTheHubOut(t *testing.T) {
	c, _ := hosted(t)
	must(t, c.threads[1].RemoveMember(t.Context(), c.device(0)))
	c.write(t, 0, "late")
	c.meet(t)
	c.write(t, 1, "secret")
	c.meet(t)
	wantCounted(t, c.threads[1], "of the hub", "secret")
	wantCounted(t, c.threads[2], "of the hub", "secret")
	wantCounted(t, c.threads[0], "of the hub")
}

// A hub that leaves takes nobody with it, and the thread stays the identity's; while no other
// device is there it does not leave.
func TestHubLeaves(t *testing.T) {
	c, id := hosted(t)
	must(t, c.threads[0].Leave(t.Context()))
	c.meet(t)
	if m, ok := c.threads[2].Member(c.device(1)); !ok || m.Identity != id.Public() {
		t.Errorf("got %+v, %v of the laptop", m, ok)
	}
	if _, ok := c.threads[2].Member(c.device(0)); ok {
		t.Error("the hub is a member")
	}
	hub := newMemoryNode(t)
	th, err := CreateFor(t.Context(), hub.env, "test", delegate(t, id, hub, keys.RightCreate, time.Time{}), keys.PublicKey{})
	must(t, err)
	opened(t, th)
	if err := th.Leave(t.Context()); !errors.Is(err, ErrNotMember) {
		t.Errorf("the only device leaves: got %v", err)
	}
	if err := th.AddDevice(t.Context(), newDevice(t, id, "laptop").cert); !errors.Is(err, ErrNotMember) {
		t.Errorf("a hub without the right adds a device: got %v", err)
	}
}

// A delegation is good for what it says and nothing else: not for another device, another
// identity, a thread without the right, or in the place of a certificate.
func TestDelegationIsNoCertificate(t *testing.T) {
	c, id := family(t)
	hub := newMemoryNode(t)
	d := delegate(t, id, hub, 0, time.Time{})
	if _, err := CreateFor(t.Context(), newMemoryNode(t).env, "test", d, keys.PublicKey{}); !errors.Is(err, ErrNotMember) {
		t.Errorf("another device: got %v", err)
	}
	if _, err := CreateFor(t.Context(), hub.env, "test", d, keys.PublicKey{}); err == nil {
		t.Error("a thread is made without the right to")
	}
	if err := c.threads[0].Delegate(t.Context(), d); !errors.Is(err, ErrNotMember) {
		t.Errorf("another identity: got %v", err)
	}
	forged := *d
	forged.Rights |= keys.RightAdmit
	if err := c.threads[1].Delegate(t.Context(), &forged); err == nil {
		t.Error("an altered delegation is taken")
	}
	b, err := d.Encode()
	must(t, err)
	inv := c.nodes[0].invite(t, c.threads[0], InviteOptions{})
	th, err := Join(t.Context(), hub.env, inv, c.threads[0].Genesis())
	must(t, err)
	opened(t, th)
	mustPull(t, th, c.threads[0])
	key, err := format.InviteIdentity(inv)
	must(t, err)
	record, _, err := th.openInvite(key.Public())
	must(t, err)
	err = th.enter(t.Context(), func() (*format.Control, format.Keys, error) {
		return &format.Control{Op: format.OpJoin, Invite: record, Certificate: b}, th.keys, nil
	})
	if !errors.Is(err, format.ErrMalformed) {
		t.Errorf("a join by a delegation: got %v", err)
	}
}

// Doors take nothing that a delegated device brings once its time is over; what they had
// taken stays, and others bring it. A delegation that ends later has it go on.
func TestDelegationEndsAtDoors(t *testing.T) {
	late := time.Duration(0)
	o := lateNode(t, &late)
	id := keys.NewIdentity()
	c := &club{nodes: []*testNode{o}, threads: []*Thread{o.create(t)}}
	laptop := newDevice(t, id, "laptop")
	c.nodes = append(c.nodes, laptop.testNode)
	c.threads = append(c.threads, laptop.join(t, c.threads[0], o.invite(t, c.threads[0], InviteOptions{})))
	c.meet(t)
	hub, second := newMemoryNode(t), newMemoryNode(t)
	begin := func(n *testNode) *Thread {
		t.Helper()
		must(t, c.threads[1].Delegate(t.Context(), delegate(t, id, n, 0, time.Now().Add(time.Hour))))
		return secondDevice{n, nil}.begin(t, c.threads[1])
	}
	c.nodes, c.threads = append(c.nodes, hub, second), append(c.threads, begin(hub), begin(second))
	c.write(t, 2, "in time")
	mustPull(t, c.threads[1], c.threads[2])
	mustPull(t, c.threads[0], c.threads[1])
	wantCounted(t, c.threads[0], "in time")
	c.write(t, 2, "handed on")
	mustPull(t, c.threads[1], c.threads[2])
	c.write(t, 2, "late")

	late = 2 * time.Hour
	if m, ok := c.threads[0].Member(c.device(2)); !ok || !m.Expired(o.env.clock.Real().Wall()) {
		t.Fatalf("got %+v, %v", m, ok)
	}
	fromStranger(t, c.threads[0], c.threads[2])
	fromStranger(t, c.threads[0], c.threads[3]) // it begins too late
	wantCounted(t, c.threads[0], "in time")
	if m, ok := c.threads[0].Member(c.device(3)); ok && !m.Added {
		t.Errorf("a device began whose delegation had ended: %+v", m)
	}
	mustPull(t, c.threads[0], c.threads[1])
	wantCounted(t, c.threads[0], "in time", "handed on")

	revived := c.threads[0].Revived()
	must(t, c.threads[1].Delegate(t.Context(), delegate(t, id, hub, 0, time.Now().Add(24*time.Hour))))
	if before := c.threads[1].ControlRecords(); true {
		must(t, c.threads[1].Delegate(t.Context(), delegate(t, id, hub, 0, time.Now().Add(time.Hour))))
		if c.threads[1].ControlRecords() != before {
			t.Error("a delegation that ends sooner is written")
		}
	}
	mustPull(t, c.threads[0], c.threads[1])
	select {
	case <-revived:
	default:
		t.Error("what was refused is not asked for again")
	}
	fromStranger(t, c.threads[0], c.threads[2])
	wantCounted(t, c.threads[0], "in time", "handed on", "late")
	again := o.reopen(t, c.threads[0])
	if m, ok := again.Member(c.device(2)); !ok || m.Expired(o.env.clock.Real().Wall()) {
		t.Errorf("got %+v, %v after a restart", m, ok)
	}
}

// A hub whose time is over by its own clock writes nothing that nobody would take.
func TestHubKnowsThatItsTimeIsOver(t *testing.T) {
	late, id := time.Duration(0), keys.NewIdentity()
	hub := lateNode(t, &late)
	th, err := CreateFor(t.Context(), hub.env, "test", delegate(t, id, hub, keys.RightCreate, time.Now().Add(time.Hour)), keys.PublicKey{})
	must(t, err)
	opened(t, th)
	hub.write(t, th, "in time")
	late = 2 * time.Hour
	tx := hub.env.store.Begin()
	defer tx.Discard()
	if _, _, _, err := th.Append(tx, []Draft{{Time: hub.env.clock.Now(), Payload: []byte("late")}}); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v", err)
	}
}
