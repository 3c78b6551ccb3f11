package thread

import (
	"errors"
	"testing"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// createRecoverable makes a thread with a recovery key.
func (n *testNode) createRecoverable(t testing.TB) (*Thread, format.Recovery) {
	t.Helper()
	key := keys.NewIdentity()
	th, err := Create(t.Context(), n.env, "test", key.Public())
	must(t, err)
	return opened(t, th), recoveryOf(t, th, key)
}

func recoveryOf(t testing.TB, th *Thread, key *keys.Identity) format.Recovery {
	t.Helper()
	r, err := format.NewRecovery(th.ID(), format.SecretKey(th.ServiceKey()), key, nil)
	must(t, err)
	return r
}

// reclaim takes all of the thread in from another, and recovers it.
func (n *testNode) reclaim(t testing.TB, from *Thread, r format.Recovery, next keys.PublicKey) *Thread {
	t.Helper()
	th, err := Reclaim(t.Context(), n.env, r, from.Genesis())
	must(t, err)
	opened(t, th)
	tryPull(t, th, from)
	must(t, th.OpenReclaimed(r))
	mustPull(t, th, from)
	must(t, th.Recover(t.Context(), r, next))
	return th
}

// newRecoverable is newClub with a recovery key.
func newRecoverable(t testing.TB, others int) (*club, format.Recovery) {
	t.Helper()
	o := newMemoryNode(t)
	th, r := o.createRecoverable(t)
	c := &club{nodes: []*testNode{o}, threads: []*Thread{th}}
	for range others {
		n := newMemoryNode(t)
		c.nodes = append(c.nodes, n)
		c.threads = append(c.threads, n.join(t, th, o.invite(t, th, InviteOptions{})))
	}
	c.meet(t)
	return c, r
}

// The owner's only device is lost. With the recovery key and a relay's copy, of several
// epochs, a new device owns the thread, reads all of it, and the lost one counts no more.
func TestRecoverFromARelay(t *testing.T) {
	c, r := newRecoverable(t, 1)
	c.write(t, 0, "of the owner")
	must(t, c.threads[0].Rotate(t.Context()))
	c.write(t, 0, "under another key")
	c.meet(t)
	c.write(t, 1, "of the member")
	c.meet(t)
	relay := newMemoryNode(t).adopt(t, c.threads[0])
	mustPull(t, relay, c.threads[0])
	c.write(t, 0, "late") // nobody has it

	n := newMemoryNode(t)
	next := keys.NewIdentity()
	th := n.reclaim(t, relay, r, next.Public())
	wantCounted(t, th, "of the owner", "under another key", "of the member")
	if m, ok := th.Member(n.env.self()); !ok || m.Role != format.RoleOwner {
		t.Fatalf("got %+v, %v, want an owner", m, ok)
	}
	if _, ok := th.Member(c.device(0)); ok {
		t.Error("the lost device is a member")
	}
	c.nodes, c.threads = append(c.nodes, n), append(c.threads, th)
	c.write(t, 2, "of the new owner")
	c.meet(t, 1, 2)
	wantCounted(t, c.threads[1], "of the owner", "under another key", "of the member", "of the new owner")
	must(t, th.RemoveMember(t.Context(), c.identity(1)))

	// What the lost device writes from then on counts nowhere, and it reads nothing new.
	c.write(t, 0, "stolen")
	c.meet(t)
	wantCounted(t, th, "of the owner", "under another key", "of the member", "of the new owner")
	wantPayloads(t, c.threads[0], "of the owner", "under another key", "of the member", "late", "stolen")

	// A restart changes nothing, and the next key does it again.
	th.Close()
	th = n.reopen(t, th)
	if m, ok := th.Member(n.env.self()); !ok || m.Role != format.RoleOwner {
		t.Fatalf("after a restart: got %+v, %v, want an owner", m, ok)
	}
	must(t, th.Rotate(t.Context()))
	late := newMemoryNode(t)
	again := late.reclaim(t, th, recoveryOf(t, th, next), keys.PublicKey{})
	wantCounted(t, again, "of the owner", "under another key", "of the member", "of the new owner")
	if got := again.Recovery(); !got.Key.IsZero() || len(got.Used) != 2 || got.Used[1].Identity != late.env.cert.Identity {
		t.Errorf("got %+v", got)
	}
}

// A lost device hears from a relay how its membership ended, also where what ended it was
// followed at once by more that one signature covers.
func TestFormerMemberHearsOfARecovery(t *testing.T) {
	c, r := newRecoverable(t, 1)
	relay := newMemoryNode(t).adopt(t, c.threads[0])
	mustPull(t, relay, c.threads[0])
	n := newMemoryNode(t)
	th := n.reclaim(t, relay, r, keys.PublicKey{})
	for range 3 { // all in one run
		must(t, th.Rotate(t.Context()))
	}
	mustPull(t, relay, th)
	for _, tip := range relay.UntilEnd(c.device(0)) {
		run, err := relay.ReadRun(tip, 0, 1<<20)
		must(t, err)
		if len(run.Records) == 0 {
			t.Fatalf("nothing can be sent up to %v", tip)
		}
		if !c.threads[0].Has(tip) {
			_, err = c.threads[0].Ingest(t.Context(), run)
			must(t, err)
		}
	}
	if _, err := appendAll(c.nodes[0].env, c.threads[0], "stolen"); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v of a write by the lost device, want ErrNotMember", err)
	}
}

// A member that has the thread recovers it by one record, and keeps its own documents; a
// recovery that was not finished is none.
func TestRecoverOnAMember(t *testing.T) {
	c, r := newRecoverable(t, 2)
	c.write(t, 1, "of the member")
	c.meet(t)
	must(t, c.threads[1].Recover(t.Context(), r, keys.PublicKey{}))
	c.write(t, 1, "of the owner")
	c.meet(t)
	if m, ok := c.threads[2].Member(c.device(1)); !ok || m.Role != format.RoleOwner {
		t.Errorf("got %+v, %v, want an owner", m, ok)
	}
	wantCounted(t, c.threads[2], "of the member", "of the owner")
	if _, ok := c.threads[2].Member(c.device(0)); ok {
		t.Error("the owner of before is a member")
	}

	n := newMemoryNode(t)
	th, err := Reclaim(t.Context(), n.env, r, c.threads[1].Genesis())
	must(t, err)
	opened(t, th)
	tryPull(t, th, c.threads[1])
	if err := th.OpenReclaimed(r); !errors.Is(err, ErrRecovery) || th.Joined() {
		t.Errorf("got %v of a key that was used, want ErrRecovery", err)
	}
}

// While a thread is reclaimed the keys that it reads with are not kept: after a crash it is
// nobody's, and begins again.
func TestRecoveryThatWasCutShort(t *testing.T) {
	c, r := newRecoverable(t, 0)
	must(t, c.threads[0].Rotate(t.Context()))
	n := newMemoryNode(t)
	th, err := Reclaim(t.Context(), n.env, r, c.threads[0].Genesis())
	must(t, err)
	opened(t, th)
	tryPull(t, th, c.threads[0])
	must(t, th.OpenReclaimed(r))
	mustPull(t, th, c.threads[0])
	if th.Joined() {
		t.Error("a thread that is not recovered yet can be used")
	}
	th.Close()
	if back := n.reopen(t, th); back.Joined() {
		t.Error("a recovery that was cut short can be used after a restart")
	}
}

// A key that is not the thread's, another thread's, and one that was used are refused by a
// sentence, and write nothing.
func TestRecoverIsRefused(t *testing.T) {
	c, r := newRecoverable(t, 1)
	_, otherKey := newRecoverable(t, 0)
	none := newClub(t, 0)
	before := c.threads[1].ControlRecords()
	for what, err := range map[string]error{
		"of another database": c.threads[1].Recover(t.Context(), otherKey, keys.PublicKey{}),
		"not the one":         c.threads[1].Recover(t.Context(), recoveryOf(t, c.threads[1], keys.NewIdentity()), keys.PublicKey{}),
		"has no recovery key": none.threads[0].Recover(t.Context(), recoveryOf(t, none.threads[0], keys.NewIdentity()), keys.PublicKey{}),
	} {
		if !errors.Is(err, ErrRecovery) {
			t.Errorf("%s: got %v, want ErrRecovery", what, err)
		}
	}
	if n := c.threads[1].ControlRecords(); n != before {
		t.Errorf("%d control records were written", n-before)
	}
	must(t, c.threads[1].Recover(t.Context(), r, keys.PublicKey{}))
	c.meet(t)
	if err := c.threads[0].Recover(t.Context(), r, keys.PublicKey{}); !errors.Is(err, ErrRecovery) {
		t.Errorf("got %v of a key that was used, want ErrRecovery", err)
	}
}

// A stolen key that was used before, by a device that had not heard of it, stops control
// operations, and everybody sees who used it; documents are still written and read, also
// after a restart.
func TestRecoveryKeyUsedTwice(t *testing.T) {
	c, r := newRecoverable(t, 2)
	o, thief, b := c.threads[0], c.threads[1], c.threads[2]
	must(t, o.Recover(t.Context(), r, keys.PublicKey{}))
	must(t, thief.Recover(t.Context(), r, keys.PublicKey{}))
	must(t, thief.RemoveMember(t.Context(), c.identity(2)))
	c.meet(t)
	for i, th := range c.threads {
		got := th.Recovery()
		if len(got.Used) != 0 || len(got.Frozen) != 2 {
			t.Fatalf("device %d: got %+v, want two uses", i, got)
		}
		if m, ok := th.Member(c.device(2)); !ok || m.Role != format.RoleWriter {
			t.Errorf("device %d: got %+v, %v, want a writer that nobody removed", i, m, ok)
		}
		if m, ok := th.Member(c.device(1)); !ok || m.Role != format.RoleWriter {
			t.Errorf("device %d: got %+v, %v, want a thief that is a writer", i, m, ok)
		}
		if due := func() bool { th.mu.Lock(); defer th.mu.Unlock(); return th.rotationDue() }(); due {
			t.Errorf("device %d: a rotation is due, which would have no effect", i)
		}
	}
	for _, err := range []error{
		o.RemoveMember(t.Context(), c.identity(1)), o.Rotate(t.Context()),
		o.SetRole(t.Context(), c.identity(2), format.RoleAdmin), thief.Recover(t.Context(), r, keys.PublicKey{}),
	} {
		if err == nil {
			t.Error("a control operation was taken, which has no effect")
		}
	}
	for i, text := range []string{"of the owner", "of the thief", "of b"} {
		c.nodes[i].env.clock.Now() // leaves room for the record that announces another log
		c.write(t, i, text)
	}
	c.meet(t)
	wantCounted(t, b, "of the owner", "of the thief", "of b")
	b.Close()
	b = c.nodes[2].reopen(t, b)
	wantCounted(t, b, "of the owner", "of the thief", "of b")
	if len(b.Recovery().Frozen) != 2 {
		t.Errorf("after a restart: got %+v", b.Recovery())
	}
	must(t, b.Leave(t.Context()))
}

// A second use of a key is heard of whoever brings it, also a stranger: or the members that
// heard of one use first, and those of the other, would each have an owner.
func TestSecondUseByAStranger(t *testing.T) {
	c, r := newRecoverable(t, 1)
	o, b := c.threads[0], c.threads[1]
	thief := newMemoryNode(t).reclaim(t, o, r, keys.PublicKey{})
	must(t, o.Recover(t.Context(), r, keys.PublicKey{}))
	c.meet(t)
	if got := b.Recovery(); len(got.Used) != 1 || len(got.Frozen) != 0 {
		t.Fatalf("got %+v, want one use", got)
	}
	for _, tip := range thief.Sendable() {
		if thief.IsControl(tip.Log) && !b.Has(tip) {
			run, err := thief.ReadRun(tip, 0, 1<<20)
			must(t, err)
			_, _ = b.IngestFromStranger(t.Context(), run)
		}
	}
	if got := b.Recovery(); len(got.Frozen) != 2 {
		t.Errorf("got %+v, want both known", got)
	}
}

// Who made the recovery key and is no owner any more reads nothing new with it, and a relay's
// disk: it would have to use it, which everybody sees.
func TestRecoveryKeyOfAFormerOwner(t *testing.T) {
	c, r := newRecoverable(t, 1)
	must(t, c.threads[0].Transfer(t.Context(), c.identity(1)))
	c.meet(t)
	rotated, err := c.threads[1].RotateIfDue(t.Context())
	must(t, err)
	if !rotated {
		must(t, c.threads[1].Rotate(t.Context()))
	}
	c.write(t, 1, "secret")
	relay := newMemoryNode(t).adopt(t, c.threads[1])
	mustPull(t, relay, c.threads[1])
	th, err := Reclaim(t.Context(), newMemoryNode(t).env, r, relay.Genesis())
	must(t, err)
	opened(t, th)
	tryPull(t, th, relay)
	must(t, th.OpenReclaimed(r))
	tryPull(t, th, relay)
	wantPayloads(t, th)
}

// A recovery that begins no epoch, as its device ended too early, is followed by one of the
// next device that may; and a thread whose present key the recovery key lacks gets one.
func TestEpochsAreSealedToTheRecoveryKey(t *testing.T) {
	c, r := newRecoverable(t, 1)
	o := c.threads[0]
	due := func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.rotationDue() }
	if due() {
		t.Error("a rotation is due in a new thread")
	}
	key := keys.NewIdentity()
	must(t, o.Recover(t.Context(), r, key.Public()))
	if due() {
		t.Error("a rotation is due after a recovery, which makes one")
	}
	lacking, heir := func() (map[keys.PublicKey]bool, bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.graph.Unsealed(o.graph.State().Epochs()[0])
	}()
	if len(lacking) > 0 || heir {
		t.Errorf("got %v, %v, want all to have the key", lacking, heir)
	}
}
