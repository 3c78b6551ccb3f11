package thread

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// Each test is what somebody tried that knows the protocol and has every secret that it
// could have: forged records are made as an honest device makes its own, with clocks and
// hashes of the attacker's choice.

// lateNode returns a node whose wall clock is ahead by what late says.
func lateNode(t testing.TB, late *time.Duration) *testNode {
	t.Helper()
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	n := nodeOn(t, s, t.TempDir(), keys.NewDevice(), nil)
	n.env.clock = &clock.Clock{Wall: func() time.Time { return time.Now().Add(*late) }}
	return n
}

// fromStranger pulls what from has as from a peer that is no member and no relay.
func fromStranger(t testing.TB, to, from *Thread) {
	t.Helper()
	if err := errors.Join(from.settleSync(), to.settleSync()); err != nil {
		t.Fatal(err)
	}
	for _, control := range []bool{true, false} {
		for _, tip := range from.Sendable() {
			if from.IsControl(tip.Log) != control || to.Has(tip) {
				continue
			}
			r, err := from.ReadRun(tip, from.Start(tip.Log), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var rejected *Rejection
			if _, err := to.IngestFromStranger(t.Context(), r); err != nil && !errors.As(err, &rejected) {
				t.Fatal(err)
			}
		}
	}
}

// A stranger with the URL of an expired invite dates its join to the invite and lets the
// owner pull it: it gets nothing, and nothing of it is kept.
func TestAttackExpiredInvite(t *testing.T) {
	var late time.Duration
	o, x, m := lateNode(t, &late), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	o.write(t, to, "one")
	inv := o.invite(t, to, InviteOptions{Expires: time.Hour, Uses: -1})
	tm := m.join(t, to, inv)
	mustPull(t, to, tm)
	tx := x.join(t, tm, inv) // by its own clock in time, as far as anybody can tell
	x.write(t, tx, "of a stranger")
	late = 2 * time.Hour
	before := to.Counts()
	fromStranger(t, to, tx)
	if len(to.Members()) != 2 || to.Counts() != before {
		t.Fatalf("members %v; %+v, before %+v", to.Members(), to.Counts(), before)
	}
	// A member lets it in: as long as the invite is not closed, its word counts.
	mustPull(t, tm, tx)
	m.write(t, tm, "after the stranger's join")
	if _, err := tm.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: newData(m, tm.ownControl.ID)}); err != nil {
		t.Fatal(err)
	}
	mustPull(t, to, tm)
	if len(to.Members()) != 3 {
		t.Fatalf("%d members, want the one that a member names", len(to.Members()))
	}
}

func newData(n *testNode, control clock.LogID) []byte {
	d := format.NewDescriptor(n.env.self(), format.KindData, control)
	return d.Encode()
}

// An expired device certificate passes no door.
func TestAttackExpiredCertificate(t *testing.T) {
	var late time.Duration
	o := lateNode(t, &late)
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	device := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(device.Public(), keys.CertifyOptions{Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	x := nodeOn(t, s, t.TempDir(), device, cert)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Expires: -1})
	tx := x.join(t, to, inv)
	late = 2 * time.Hour
	fromStranger(t, to, tx)
	if len(to.Members()) != 1 {
		t.Fatalf("members %v", to.Members())
	}
	late = 0
	fromStranger(t, to, tx)
	if len(to.Members()) != 2 {
		t.Fatalf("members %v, want it while the certificate is valid", to.Members())
	}
}

// A used-up invite is closed by the device that made it; who comes later waits until an
// owner admits it, and then counts with all that it wrote, on every replica.
func TestLateJoinIsAdmitted(t *testing.T) {
	o, a, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{})
	ta, tb := a.join(t, to, inv), b.join(t, to, inv)
	a.write(t, ta, "of a")
	b.write(t, tb, "of b")
	mustPull(t, to, ta)
	if err := to.CloseEnded(); err != nil {
		t.Fatal(err)
	}
	if i := to.Invites(); len(i) != 1 || !i[0].Closed || i[0].Used != 1 {
		t.Fatalf("invites %+v, want it closed", i)
	}
	if err := pull(t.Context(), to, tb, 1<<20); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of the data of a device that waits", err)
	}
	w := to.WaitingJoins()
	if len(w) != 1 || w[0].Device != b.env.self() {
		t.Fatalf("got %+v", w)
	}
	mustPull(t, ta, to)
	mustPull(t, tb, to)
	if _, err := appendAll(b.env, tb, "while it waits"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write of a device that waits", err)
	}
	revived := to.Revived()
	if err := ta.Admit(t.Context(), w[0].Join); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v: only owners admit", err)
	}
	if err := to.Admit(t.Context(), clock.Hash{1}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v of a join that nobody made", err)
	}
	if err := to.Admit(t.Context(), w[0].Join); err != nil {
		t.Fatal(err)
	}
	select {
	case <-revived:
	default:
		t.Error("nobody is told that what was refused is not any more")
	}
	for _, p := range [][2]*Thread{{to, tb}, {ta, to}, {tb, to}, {ta, tb}, {to, ta}, {tb, ta}} {
		mustPull(t, p[0], p[1])
	}
	b.write(t, tb, "at last")
	mustPull(t, to, tb)
	mustPull(t, ta, tb)
	for _, th := range []*Thread{to, ta, tb} {
		if len(th.Members()) != 3 || len(th.WaitingJoins()) != 0 || len(th.Refused()) != 0 {
			t.Errorf("members %v, waiting %v, refused %v", th.Members(), th.WaitingJoins(), th.Refused())
		}
		wantCounted(t, th, "of a", "of b", "at last")
	}
}

// An invite that expired is closed a day later by its maker, two days later by another
// owner: a member cannot bring anybody in by it any more.
func TestExpiredInvitesAreClosed(t *testing.T) {
	var late time.Duration
	o, a, x := lateNode(t, &late), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Expires: time.Hour, Uses: -1})
	ta := a.join(t, to, inv)
	mustPull(t, to, ta)
	for _, step := range []struct {
		late   time.Duration
		closed bool
	}{{2 * time.Hour, false}, {24 * time.Hour, false}, {25*time.Hour + time.Minute, true}} {
		late = step.late
		if err := to.CloseEnded(); err != nil {
			t.Fatal(err)
		}
		if i := to.Invites()[0]; i.Closed != step.closed || i.Used != 1 {
			t.Fatalf("after %s: %+v", step.late, i)
		}
	}
	tx := x.join(t, ta, inv) // its clock and the member's are wrong, or it lies
	mustPull(t, ta, tx)
	mustPull(t, to, tx) // even from a member
	if len(to.Members()) != 2 || len(to.WaitingJoins()) != 1 {
		t.Fatalf("members %v, waiting %v", to.Members(), to.WaitingJoins())
	}
	var r *Rejection
	x.write(t, tx, "more")
	if err := pull(t.Context(), to, tx, 1<<20); !errors.As(err, &r) || r.Kind() != fault.Void || r.Hostile() {
		t.Fatalf("got %v of what a device that waits writes", err)
	}
}
