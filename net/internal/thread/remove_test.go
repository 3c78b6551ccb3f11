package thread

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// A club is devices of one thread, the owner first.
type club struct {
	nodes   []*testNode
	threads []*Thread
}

func newClub(t testing.TB, others int) *club {
	t.Helper()
	o := newMemoryNode(t)
	c := &club{nodes: []*testNode{o}, threads: []*Thread{o.create(t)}}
	for range others {
		n := newMemoryNode(t)
		c.nodes = append(c.nodes, n)
		c.threads = append(c.threads, n.join(t, c.threads[0], o.invite(t, c.threads[0], InviteOptions{})))
	}
	c.meet(t)
	return c
}

func (c *club) identity(i int) keys.PublicKey { return c.nodes[i].env.cert.Identity }
func (c *club) device(i int) keys.PublicKey   { return c.nodes[i].env.self() }

// meet gives some devices, or all, what the others of them have. What is refused is no fault.
func (c *club) meet(t testing.TB, some ...int) {
	t.Helper()
	if len(some) == 0 {
		for i := range c.threads {
			some = append(some, i)
		}
	}
	for range 2 {
		for _, to := range some {
			for _, from := range some {
				if to != from {
					tryPull(t, c.threads[to], c.threads[from])
				}
			}
		}
	}
}

func (c *club) write(t testing.TB, i int, payload string) {
	t.Helper()
	c.nodes[i].write(t, c.threads[i], payload)
	c.threads[i].Flushed(c.threads[i].lastArrival())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What a removed device wrote before counts, what it writes later counts nowhere, in
// whatever order that and the removal arrive; and it reads nothing that is written after.
func TestRemovedMember(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "before")
	c.meet(t)
	c.write(t, 1, "late") // knows of nothing
	c.meet(t, 1, 2)       // b has it before it hears of the removal
	wantCounted(t, b, "before", "late")
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.write(t, 0, "secret")
	if _, ok := o.Member(c.device(1)); ok {
		t.Fatal("the removed is a member")
	}
	c.meet(t, 0, 2)
	c.write(t, 2, "secret of b")
	c.write(t, 1, "later") // it still knows of nothing
	c.meet(t, 1, 2)
	c.meet(t, 0, 2)
	for _, th := range []*Thread{o, b} {
		wantCounted(t, th, "before", "secret", "secret of b")
	}
	wantPayloads(t, o, "before", "secret", "secret of b") // what cannot count is not taken
	// With all that others hold, the removed reads nothing of it.
	mustPull(t, x, o)
	wantPayloads(t, x, "before", "late", "later")
	if waits, err := x.Waiting(); err != nil || len(waits) != 2 {
		t.Fatalf("%v, %v", waits, err)
	}
	if _, err := appendAll(c.nodes[1].env, x, "told"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write after it heard", err)
	}
	// A device that comes later has the same, whomever it asks first.
	inv := c.nodes[0].invite(t, o, InviteOptions{Uses: -1})
	c.meet(t, 0, 2)
	for _, from := range []*Thread{o, b} {
		n := newMemoryNode(t)
		th := n.join(t, from, inv)
		mustPull(t, th, from)
		tryPull(t, th, x)
		th.Flushed(th.lastArrival())
		wantCounted(t, th, "before", "secret", "secret of b")
		c.meet(t, 0, 2)
	}
}

// The relay's disk and every URL that it knew give the removed no key.
func TestRemovedWithTheRelaysDisk(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	known := []format.Invite{c.nodes[0].invite(t, o, InviteOptions{Uses: -1, Expires: -1})}
	must(t, o.Rotate(t.Context()))
	known = append(known, c.nodes[0].invite(t, o, InviteOptions{Uses: -1, Expires: -1}))
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.device(1)))
	must(t, o.Rotate(t.Context()))
	c.write(t, 0, "secret")
	relay := newMemoryNode(t).adopt(t, o)
	mustPull(t, relay, o)
	mustPull(t, x, relay)
	now, err := o.readKeys()
	must(t, err)
	for _, inv := range known {
		id, err := format.InviteIdentity(inv)
		must(t, err)
		rec := x.graph.InvitesOf(inv.Key())[0]
		k, err := x.keysOfInvite(rec.ID.Hash, id, rec.Payload.Sealed)
		must(t, err)
		for _, e := range now.Epochs {
			if k.Has(e) {
				t.Fatalf("the URL of an invite gives the key of epoch %x", e[:4])
			}
		}
		if err := o.InviteOpen(inv.Key(), o.env.clock.Real()); !errors.Is(err, ErrInvite) {
			t.Errorf("got %v of an invite that the removed knew", err)
		}
	}
	for _, e := range now.Epochs {
		if x.keys.Has(e) {
			t.Fatal("the removed has the key")
		}
	}
	if len(payloads(t, c.threads[2])) != 0 {
		t.Fatal("too early")
	}
	mustPull(t, c.threads[2], relay)
	wantPayloads(t, c.threads[2], "secret")
}

// Two owners remove one device each, without knowing of each other: who has seen both writes
// what neither of the removed reads, though each has one of the keys.
func TestConcurrentRemovals(t *testing.T) {
	c := newClub(t, 4)
	o, p := c.threads[0], c.threads[1]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleOwner))
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.identity(3)))
	must(t, p.RemoveMember(t.Context(), c.identity(4)))
	c.meet(t, 3, 1) // each of the removed hears of the other's removal first
	c.meet(t, 4, 0)
	c.meet(t, 0, 1, 2)
	if n := len(c.threads[2].graph.State().Epochs()); n != 2 {
		t.Fatalf("%d epochs, want 2", n)
	}
	c.write(t, 2, "secret")
	blob, err := c.threads[2].PutBlob(t.Context(), []byte("blob"))
	must(t, err)
	sealed, err := c.threads[2].SealedBlob(blob)
	must(t, err)
	c.meet(t, 0, 1, 2)
	for i, th := range c.threads {
		must(t, th.PutSealedBlobs(t.Context(), [][]byte{sealed}))
		plain, err := th.Blob(t.Context(), blob)
		if removed := i > 2; removed != (err != nil) || !removed && string(plain) != "blob" {
			t.Errorf("device %d reads the blob: %q, %v", i, plain, err)
		}
	}
	for _, i := range []int{3, 4} {
		mustPull(t, c.threads[i], c.threads[0])
		if got := payloads(t, c.threads[i]); len(got) != 0 {
			t.Errorf("removed device %d reads %q", i, got)
		}
	}
	for _, th := range c.threads[:3] {
		wantPayloads(t, th, "secret")
	}
	// The most senior makes one epoch of the two.
	for _, i := range []int{2, 1, 0} {
		if did, err := c.threads[i].RotateIfDue(t.Context()); err != nil || did != (i == 0) {
			t.Fatalf("device %d rotates: %v, %v", i, did, err)
		}
	}
	c.meet(t, 0, 1, 2)
	if n := len(c.threads[2].graph.State().Epochs()); n != 1 {
		t.Fatalf("%d epochs, want 1", n)
	}
	n := newMemoryNode(t)
	th := n.join(t, o, c.nodes[0].invite(t, o, InviteOptions{}))
	mustPull(t, th, o)
	wantPayloads(t, th, "secret")
}

// What a member may do follows its role; what it did by the former one stays.
func TestRoles(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	c.write(t, 1, "as a writer")
	c.meet(t)
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleReader))
	c.write(t, 1, "not heard of") // void: concurrent with the change
	c.meet(t)
	if _, err := appendAll(c.nodes[1].env, x, "as a reader"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write by a reader", err)
	}
	for _, th := range c.threads {
		wantCounted(t, th, "as a writer")
	}
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleWriter))
	c.meet(t)
	c.write(t, 1, "again")
	c.meet(t)
	for _, th := range c.threads {
		if got := counted(t, th); !slices.Contains(got, "again") || !slices.Contains(got, "as a writer") {
			t.Fatalf("got %q", got)
		}
	}
	if !slices.Equal(counted(t, o), counted(t, x)) || !slices.Equal(counted(t, o), counted(t, c.threads[2])) {
		t.Fatalf("%q, %q, %q", counted(t, o), counted(t, x), counted(t, c.threads[2]))
	}
	if _, err := x.CreateInvite(t.Context(), InviteOptions{}); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of an invite by a writer", err)
	}
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	for what, err := range map[string]error{
		"an admin makes an admin":   x.SetRole(t.Context(), c.identity(2), format.RoleAdmin),
		"an admin removes an owner": x.RemoveMember(t.Context(), c.identity(0)),
		"an admin transfers":        x.Transfer(t.Context(), c.identity(2)),
		"a writer removes an admin": c.threads[2].RemoveMember(t.Context(), c.identity(1)),
		"a writer rotates":          c.threads[2].Rotate(t.Context()),
		"the last owner leaves":     o.Leave(t.Context()),
	} {
		if !errors.Is(err, ErrNotMember) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	n := newMemoryNode(t)
	n.join(t, x, c.nodes[1].invite(t, x, InviteOptions{Role: format.RoleReader}))
	must(t, x.RemoveMember(t.Context(), c.identity(2)))
	c.meet(t)
	if got := len(o.Members()); got != 2 {
		t.Fatalf("%d members", got)
	}
}

// An identity that was removed waits, whatever invite it has, until an owner lets it in; what
// was cut off stays so.
func TestBarred(t *testing.T) {
	c := newClub(t, 1)
	o := c.threads[0]
	c.write(t, 1, "before")
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.write(t, 1, "cut off")
	inv := c.nodes[0].invite(t, o, InviteOptions{})
	again := nodeOn(t, c.nodes[1].env.store, t.TempDir(), c.nodes[1].env.device, c.nodes[1].env.cert)
	must(t, c.threads[1].Remove(t.Context()))
	th := again.join(t, o, inv)
	tryPull(t, o, th)
	w := o.WaitingJoins()
	if len(w) != 1 || !w[0].Barred || len(o.Members()) != 1 {
		t.Fatalf("%+v, %d members", w, len(o.Members()))
	}
	if _, err := appendAll(again.env, th, "not yet"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v", err)
	}
	must(t, o.Admit(t.Context(), w[0].Join))
	if len(o.Members()) != 2 || len(o.WaitingJoins()) != 0 {
		t.Fatalf("%d members, %+v", len(o.Members()), o.WaitingJoins())
	}
	if did, err := o.RotateIfDue(t.Context()); err != nil || did {
		t.Fatalf("its invite gave the key: %v, %v", did, err)
	}
	mustPull(t, th, o)
	again.write(t, th, "back")
	th.Flushed(th.lastArrival())
	mustPull(t, o, th)
	wantCounted(t, o, "before", "back")
	wantCounted(t, th, "before", "back")
}

// A transfer makes another owner in the place of its author; a device that leaves keeps all
// that it wrote, and its log ends.
func TestTransferAndLeave(t *testing.T) {
	c := newClub(t, 3)
	o, p := c.threads[0], c.threads[1]
	c.write(t, 0, "of the first owner")
	c.write(t, 2, "of who leaves")
	c.meet(t)
	must(t, o.Transfer(t.Context(), c.identity(1)))
	must(t, c.threads[2].Leave(t.Context()))
	c.write(t, 1, "of the second")
	c.meet(t)
	if m, _ := p.Member(c.device(1)); m.Role != format.RoleOwner || len(p.Members()) != 2 {
		t.Fatalf("%+v", p.Members())
	}
	for i, th := range c.threads {
		if got, want := counted(t, th), []string{"of the first owner", "of the second", "of who leaves"}; !slices.Equal(got, want) {
			t.Errorf("device %d has %q", i, got)
		}
	}
	for _, i := range []int{0, 2} {
		if _, err := appendAll(c.nodes[i].env, c.threads[i], "after"); !errors.Is(err, ErrNotMember) {
			t.Errorf("device %d: got %v", i, err)
		}
	}
	if err := o.MayCheckpoint(); err == nil {
		t.Error("who transferred the database may cut its history")
	}
	must(t, p.MayCheckpoint())
	must(t, p.RemoveMember(t.Context(), c.identity(3)))
}

// Whatever some devices do about each other, and whoever hears of what first: in the end all
// who are members have the same members and the same data, and hold the key of the present
// epoch; and nobody holds a key of an epoch that began with its removal.
func TestMembershipConverges(t *testing.T) {
	for seed := range uint64(12) {
		membershipHistory(t, seed)
	}
}

func membershipHistory(t *testing.T, seed uint64) {
	t.Helper()
	const devices = 4
	c := newClub(t, devices-1)
	rng := rand.New(rand.NewPCG(seed, 1))
	given := map[int]bool{}         // who got a role
	removed := map[clock.Hash]int{} // by epoch
	for step := range 5 + rng.IntN(25) {
		i, j := rng.IntN(devices), rng.IntN(devices)
		th := c.threads[i]
		var err error
		switch rng.IntN(12) {
		case 0, 1, 2, 3:
			if th.mayWriteNow() == nil {
				c.write(t, i, fmt.Sprint(step))
			}
		case 4, 5, 6:
			c.meet(t, i, j)
		case 7:
			err = th.SetRole(t.Context(), c.identity(j), format.Role(1+rng.IntN(4)))
			given[j] = true
		case 8:
			if err = th.RemoveMember(t.Context(), c.identity(j)); err == nil {
				removed[th.ownControl.Top().Hash] = j
			}
		case 9:
			err = th.Rotate(t.Context())
		case 10:
			if rng.IntN(3) == 0 {
				err = th.Leave(t.Context())
			} else {
				err = th.Transfer(t.Context(), c.identity(j))
				given[j] = true
			}
		case 11:
			c.threads[i] = c.nodes[i].again(t, th)
		}
		if err != nil && !errors.Is(err, ErrNotMember) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoKeys) {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for range 2 {
		c.meet(t)
		for _, th := range c.threads {
			if _, err := th.RotateIfDue(t.Context()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	c.meet(t)
	var members []Member
	var data []string
	for i, th := range c.threads {
		for epoch, who := range removed {
			if who == i && !given[i] && th.keys.Has(epoch) {
				t.Errorf("seed %d: device %d holds the key of the epoch of its removal", seed, i)
			}
		}
		if _, ok := th.Member(c.device(i)); !ok {
			continue
		}
		k, err := th.readKeys()
		must(t, err)
		if _, ok := k.Read(k.Epochs); !ok {
			t.Errorf("seed %d: member %d lacks the key of the present epochs %v", seed, i, k.Epochs)
		}
		th.Flushed(th.lastArrival())
		now := th.Members()
		if members == nil {
			members, data = now, counted(t, th)
		}
		if fmt.Sprint(memberTexts(now)) != fmt.Sprint(memberTexts(members)) {
			t.Errorf("seed %d: device %d has members\n%v, another\n%v", seed, i, memberTexts(now), memberTexts(members))
		}
		if got := counted(t, th); !slices.Equal(got, data) {
			t.Errorf("seed %d: device %d has %q, another %q", seed, i, got, data)
		}
	}
}

func memberTexts(ms []Member) (out []string) {
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%x %s", m.Device[:4], m.Role))
	}
	return out
}

func (t *Thread) mayWriteNow() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.present()
	if _, ok := k.Read(k.Epochs); !ok {
		return verify.ErrEpoch
	}
	return t.mayWrite()
}

// again closes a thread and opens it.
func (n *testNode) again(t testing.TB, th *Thread) *Thread {
	t.Helper()
	th.Close()
	th, err := Open(t.Context(), n.env, th.id)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, th)
}

// A device that chose a sealing key to which nothing can be sealed keeps nobody from being
// removed, and makes nobody rotate for ever.
func TestAttackSealingKey(t *testing.T) {
	c := newClub(t, 1)
	o := c.threads[0]
	device := keys.NewDevice()
	pub := device.Public()
	pub.Seal = [32]byte{} // a point of low order
	cert, err := keys.NewIdentity().Certify(pub, keys.CertifyOptions{Issued: time.Now()})
	must(t, err)
	s := newMemoryNode(t)
	n := nodeOn(t, s.env.store, t.TempDir(), device, cert)
	th := n.join(t, o, c.nodes[0].invite(t, o, InviteOptions{}))
	mustPull(t, o, th)
	if len(o.Members()) != 3 {
		t.Fatalf("%d members", len(o.Members()))
	}
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	for range 3 {
		if did, err := o.RotateIfDue(t.Context()); err != nil || did {
			t.Fatalf("rotated: %v, %v", did, err)
		}
	}
	must(t, o.RemoveMember(t.Context(), n.env.self()))
	if len(o.Members()) != 1 {
		t.Fatalf("%d members", len(o.Members()))
	}
}

// More epochs at a time than a record can name: nobody writes until the most senior device
// has made one of them, which it does by itself.
func TestAttackManyEpochs(t *testing.T) {
	c := newClub(t, 10)
	o := c.threads[0]
	for i := 1; i <= 10; i++ {
		must(t, o.SetRole(t.Context(), c.identity(i), format.RoleAdmin))
	}
	c.meet(t)
	for i := 1; i <= 10; i++ {
		must(t, c.threads[i].Rotate(t.Context()))
	}
	for i := 1; i <= 10; i++ {
		mustPull(t, o, c.threads[i])
	}
	if n := len(o.graph.State().Epochs()); n != 10 {
		t.Fatalf("%d epochs", n)
	}
	if _, err := appendAll(c.nodes[0].env, o, "under ten"); !errors.Is(err, ErrNoKeys) {
		t.Fatalf("got %v", err)
	}
	if did, err := o.RotateIfDue(t.Context()); err != nil || !did {
		t.Fatalf("rotated: %v, %v", did, err)
	}
	c.write(t, 0, "under one")
	mustPull(t, c.threads[1], o)
	wantPayloads(t, c.threads[1], "under one")
}

// A writer's rotation is nothing: it costs nobody an opening, and nobody writes under it.
func TestAttackRotationByWriter(t *testing.T) {
	c := newClub(t, 2)
	x := c.threads[1]
	e, err := func() (*format.Epoch, error) {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.newEpoch(func(*Member) bool { return false }, false)
	}()
	must(t, err)
	_, err = x.appendControl(t.Context(), &format.Control{Op: format.OpRotate, Epoch: e})
	must(t, err)
	c.meet(t)
	for i, th := range c.threads {
		if got := th.graph.State().Epochs(); !slices.Equal(got, th.firstEpoch()) {
			t.Errorf("device %d writes under %v", i, got)
		}
		if th.keys.Len() != 1 && i != 1 {
			t.Errorf("device %d took the key", i)
		}
	}
	c.write(t, 1, "as before")
	c.meet(t)
	wantPayloads(t, c.threads[2], "as before")
}
