package net

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
)

// late gives a host a wall clock that is ahead by what by says.
func late(by *atomic.Int64) func(*Options) {
	return func(o *Options) {
		o.Clock = &clock.Clock{Wall: func() time.Time { return time.Now().Add(time.Duration(by.Load())) }}
	}
}

// A stranger with the URL of an expired invite, who got in touch with a member whose
// clock it could set back, offers its join to the owner: it gets nothing.
func TestAttackExpiredInviteAtTheOwner(t *testing.T) {
	var by atomic.Int64
	o, m, x := newLightParty(t, late(&by)), newParty(t), newLightParty(t)
	to := o.create(t)
	inv, err := to.CreateInvite(t.Context(), InviteOptions{Role: RoleWriter, Uses: -1, Expires: time.Hour, Addrs: o.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	m.connect(t, o)
	tm := m.joinBy(t, inv)
	identical(t, tm, o.ID())
	identical(t, to, m.ID())
	if err := o.lp.Network().ClosePeer(m.ID()); err != nil {
		t.Fatal(err)
	}
	by.Store(int64(2 * time.Hour))
	inv.Addrs = m.Addrs()
	m.halt(t)
	m.start(t) // without connections of before
	m.attach(m.open(t, tm.ID()))
	x.connect(t, m)
	tx := x.joinBy(t, inv)
	writeOne(t, x, tx, []byte("of a stranger"))
	m.halt(t)

	before := to.held().Counts()
	x.connect(t, o)
	waitRefused(t, tx, o.ID(), CodeNotMember)
	if got := to.held().Counts(); got != before || len(to.Members()) != 2 {
		t.Fatalf("got %+v and members %v, before %+v", got, to.Members(), before)
	}
}

// A device closes an invite that expired for a day if it is caught up with the others.
func TestExpiredInvitesAreClosed(t *testing.T) {
	var by atomic.Int64
	o, m := newLightParty(t, late(&by)), newParty(t)
	to := o.create(t)
	inv, err := to.CreateInvite(t.Context(), InviteOptions{Role: RoleWriter, Uses: -1, Expires: time.Hour, Addrs: o.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	m.connect(t, o)
	tm := m.joinBy(t, inv)
	identical(t, to, m.ID())
	identical(t, tm, o.ID())
	closed := func() bool { return to.Invites()[0].Closed }
	if o.closeDue(true); closed() {
		t.Fatal("an open invite was closed")
	}
	id := m.ID()
	m.halt(t)
	waitState(t, to, id, StateUnreachable)
	by.Store(int64(26 * time.Hour))
	if o.closeDue(true); closed() {
		t.Fatal("a device that has not heard of the others closed an invite")
	}
	m.start(t)
	m.attach(m.open(t, to.ID()))
	m.connect(t, o)
	identical(t, to, id)
	until(t, to, "the owner has all that the member has", func() bool { o.closeDue(true); return closed() })
	if len(to.Members()) != 2 {
		t.Fatalf("invites %+v, members %v", to.Invites(), to.Members())
	}
}
