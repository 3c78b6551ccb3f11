package net

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/wire"
)

// throughRelay returns n members that have met only a relay, which they use; none of
// them has said to another where it is.
func throughRelay(t *testing.T, n int) (r *party, all []*party, threads []*Thread) {
	t.Helper()
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r = newLightParty(t, func(o *Options) { o.Relay, o.Gate = true, w.policy() })
	a := newLightParty(t)
	ta := a.create(t)
	a.use(t, r, a.credential(t, secret))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	all, threads = []*party{a}, []*Thread{ta}
	for range n - 1 {
		b := newLightParty(t)
		b.connect(t, r)
		th := b.joinBy(t, inv)
		b.use(t, r, b.credential(t, secret))
		all, threads = append(all, b), append(threads, th)
	}
	return r, all, threads
}

// Members that met only through a relay go on without it.
func TestMembersGoOnWithoutTheirRelay(t *testing.T) {
	r, all, threads := throughRelay(t, 5)
	var ids []peer.ID
	for _, p := range all {
		ids = append(ids, p.ID())
	}
	for i, th := range threads {
		for j, id := range ids {
			if i != j {
				identical(t, th, id) // every pair is connected
			}
		}
	}
	r.halt(t)
	for i, p := range all {
		write(t, p, threads[i], 1)
	}
	for i, th := range threads {
		for j, id := range ids {
			if i != j {
				identical(t, th, id)
			}
		}
		same(t, threads[0], th)
	}
}

// Records of where members are go to members only, and are believed of members only.
func TestOnlyMembersAreIntroduced(t *testing.T) {
	r, all, threads := throughRelay(t, 2)
	identical(t, threads[1], all[0].ID())
	kept, err := r.Thread(threads[0].ID())
	if err != nil {
		t.Fatal(err)
	}
	stranger := newLightParty(t)
	stranger.connect(t, all[0])
	for _, of := range append(all, stranger) {
		for _, p := range kept.share.neighbours(of.ID()) {
			if p.peer == stranger.ID() || p.peer == of.ID() {
				t.Errorf("%s would be told of %s", of.ID(), p.peer)
			}
		}
	}
	before := len(all[0].Peers())
	s := threads[0].share
	forged := recordOf(t, stranger)
	forged[len(forged)-1] ^= 1
	if err := s.meetMembers([][]byte{forged}); err == nil {
		t.Error("a forged record was taken")
	}
	far := newLightParty(t)
	if err := s.meetMembers([][]byte{recordOf(t, far)}); err != nil {
		t.Error("the record of one who is no member, as far as is known:", err)
	}
	all[0].mu.Lock()
	dialled := all[0].peers[far.ID()]
	all[0].mu.Unlock()
	if dialled != nil || len(all[0].Peers()) != before {
		t.Error("somebody who is no member is dialled")
	}
}

// A device that a relay refused before it knew it as a member asks again when it does.
func TestRefusedAreToldToAskAgain(t *testing.T) {
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	ta := a.create(t)
	a.use(t, r, a.credential(t, secret))
	identical(t, ta, r.ID())
	if err := a.RemoveRelay(r.ID()); err != nil {
		t.Fatal(err)
	}
	b.connect(t, a)
	tb := b.join(t, ta)
	identical(t, ta, b.ID())
	b.use(t, r, b.credential(t, secret))
	waitRefused(t, tb, r.ID(), keys.CodePermissionDenied)
	a.use(t, r, a.credential(t, secret)) // the join comes to the relay
	identical(t, tb, r.ID())
}

// A relay that only a member uses keeps the thread; it is shown that it is a member.
func TestRelayOfAMember(t *testing.T) {
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	ta := a.create(t)
	write(t, a, ta, 3)
	b.connect(t, a)
	tb := b.join(t, ta)
	write(t, b, tb, 3)
	identical(t, ta, b.ID())
	b.use(t, r, b.credential(t, secret))
	identical(t, tb, r.ID())
	kept, err := r.Thread(tb.ID())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tb, kept)
}

// Whoever has what a relay is told of a thread, and is no member, does not make one
// keep it.
func TestRelayOfNoMember(t *testing.T) {
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r, a, c := newRelay(t, w), newParty(t), newParty(t)
	ta := a.create(t)
	c.connect(t, r)
	// c shows the relay the control logs that a's device wrote, as if it were in them.
	c.Handle(protoThread, c.showsOf(ta))
	s, err := c.OpenStream(within(t), r.ID(), protoHost)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := c.credential(t, secret)(r.cert.Sign)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := cred.Encode()
	if err != nil {
		t.Fatal(err)
	}
	id := ta.ID()
	if err := wire.NewWriter(s).Send(wire.HostRequest{
		Version: wire.Version, Thread: id[:], Credential: shown, Genesis: ta.Genesis(), ServiceKey: ta.held().ServiceKey(),
	}); err != nil {
		t.Fatal(err)
	}
	no, err := wire.Next[wire.Refused](s, wire.MaxRequest)
	if err != nil || keys.Code(no.Code) != CodeNotMember {
		t.Fatalf("got %+v, %v", no, err)
	}
	if n := len(r.Threads()); n != 0 || countPrefix(t, r, "nt") != 0 {
		t.Errorf("the relay keeps %d threads, %d keys of them", n, countPrefix(t, r, "nt"))
	}
}

// Who waits for peers is told of each that comes, and of each that goes.
func TestPeersChanged(t *testing.T) {
	a, b := newLightParty(t), newLightParty(t)
	until := func(want int) {
		t.Helper()
		ctx := within(t)
		for {
			changed := a.PeersChanged()
			if len(a.Peers()) == want {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("got %v, want %d peers", a.Peers(), want)
			}
		}
	}
	b.connect(t, a)
	until(1)
	b.halt(t)
	until(0)
}
