package thread

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

func TestSurplusJoinIsVoid(t *testing.T) {
	o, a, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: 1})
	ta, tb := a.join(t, to, inv), b.join(t, to, inv) // neither knows of the other
	a.write(t, ta, "of a")
	b.write(t, tb, "of b")
	var void [][]clock.LogID
	for _, th := range []*Thread{to, ta, tb} {
		th.Attach(&Attachment{Voided: func(c Cut) { void = append(void, slices.Collect(maps.Keys(c.Void))) }}) // where it is held
	}
	mustPull(t, to, ta)
	if err := to.CloseEnded(); err != nil { // knowing of one of them
		t.Fatal(err)
	}
	for _, pair := range [][2]*Thread{{to, tb}, {ta, tb}, {tb, ta}, {ta, to}, {tb, to}} {
		err := pull(t.Context(), pair[0], pair[1], 1<<20)
		var r *Rejection
		if err != nil && (!errors.As(err, &r) || r.Hostile()) {
			t.Fatal(err)
		}
	}
	for _, v := range void {
		if len(v) != 1 || v[0] != void[0][0] {
			t.Fatalf("got void logs %v, want the same one", void)
		}
	}
	if len(void) == 0 {
		t.Fatal("no log is void, not even at its device")
	}
	for _, th := range []*Thread{to, ta, tb} {
		if got := len(th.Members()); got != 2 {
			t.Fatalf("got %d members, want 2", got)
		}
		if got := th.Refused(); len(got) != 1 || got[0].Kind != fault.Void {
			t.Fatalf("got %+v", got)
		}
	}
	loser, node := ta, a
	if void[0][0] == tb.ownData.ID {
		loser, node = tb, b
	}
	if _, err := appendAll(node.env, loser, "late"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write of who is no member", err)
	}
}

func TestInvitesAreRefusedByName(t *testing.T) {
	o, a, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	ctx := t.Context()
	if _, err := to.CreateInvite(ctx, InviteOptions{Role: format.RoleRelay}); !errors.Is(err, format.ErrOperation) {
		t.Fatalf("got %v, want ErrOperation", err)
	}
	revoked := o.invite(t, to, InviteOptions{Uses: -1})
	ta := a.join(t, to, revoked)
	if err := to.RevokeInvite(ctx, revoked.Key()); err != nil {
		t.Fatal(err)
	}
	expired := o.invite(t, to, InviteOptions{Expires: time.Nanosecond})
	for _, inv := range []format.Invite{revoked, expired} {
		tb, err := Join(ctx, newMemoryNode(t).env, inv, to.Genesis())
		if err != nil {
			t.Fatal(err)
		}
		opened(t, tb)
		if err := tb.FinishJoin(ctx); !errors.Is(err, ErrNoInvite) {
			t.Fatalf("got %v before anything came, want ErrNoInvite", err)
		}
		mustPull(t, tb, to)
		if err := tb.FinishJoin(ctx); !errors.Is(err, ErrInvite) {
			t.Fatalf("got %v, want ErrInvite", err)
		}
	}
	if _, err := ta.CreateInvite(ctx, InviteOptions{}); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a writer's invite, want ErrNotMember", err)
	}
	if _, err := Join(ctx, b.env, revoked, anotherGenesis(t)); !errors.Is(err, format.ErrMalformed) {
		t.Fatalf("got %v of another thread's genesis, want ErrMalformed", err)
	}
}

// A join under way survives a restart.
func TestJoinResumes(t *testing.T) {
	o, a := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	o.write(t, to, "one")
	inv := o.invite(t, to, InviteOptions{})
	ta, err := Join(t.Context(), a.env, inv, to.Genesis())
	if err != nil {
		t.Fatal(err)
	}
	mustPull(t, ta, to)
	if ws, err := ta.Waiting(); err != nil || len(ws) != 1 {
		t.Fatalf("got %v, %v, want the data log to wait for the read key", ws, err)
	}
	ta.Close()
	if ta, err = Open(t.Context(), a.env, to.ID()); err != nil {
		t.Fatal(err)
	}
	opened(t, ta)
	if _, ok := ta.pendingInvite(); !ok || ta.Joined() {
		t.Fatal("the join under way was forgotten")
	}
	if err := ta.FinishJoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, ta, "one")
	a.write(t, ta, "two")
	mustPull(t, to, ta)
	wantPayloads(t, to, "one", "two")
}

// anotherGenesis returns the signed genesis of some other thread.
func anotherGenesis(t testing.TB) []byte {
	t.Helper()
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := format.NewGenesis(d, cert, keys.PublicKey{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
