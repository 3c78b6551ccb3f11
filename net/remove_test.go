package net

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// A connected member that is removed hears of it, is given nothing that came after, and
// nobody takes what it writes; others go on. It hears it too if it was away, from a member
// and from a relay.
func TestRemovalBetweenHosts(t *testing.T) {
	w := newWorld()
	r := newRelay(t, w)
	o, a, x := newParty(t), newParty(t), newParty(t)
	secret := w.newKey(t, r.identity)
	to := o.create(t)
	a.connect(t, o)
	x.connect(t, o)
	ta, tx := a.join(t, to), x.join(t, to)
	for _, p := range []*party{o, a, x} {
		p.use(t, r, p.credential(t, secret))
	}
	first := writeOne(t, x, tx, []byte("before"))
	for _, th := range []*Thread{to, ta} {
		until(t, th, "it has what was written before", func() bool { return th.Has(first[0]) })
	}
	heard := func(th *Thread, p *party) func() bool {
		return func() bool { _, member := th.held().Member(p.self); return !member }
	}
	began := time.Now()
	if err := to.RemoveMember(t.Context(), x.identity.Public()); err != nil {
		t.Fatal(err)
	}
	until(t, ta, "the other member hears of the removal", heard(ta, x))
	until(t, tx, "the removed hears of it", heard(tx, x))
	t.Logf("after %v all have heard", time.Since(began))
	ids := writeOne(t, o, to, []byte("after"))
	until(t, ta, "the other member has what was written after", func() bool { return ta.Has(ids[0]) })
	if tx.Has(ids[0]) {
		t.Fatal("the removed got what was written after")
	}
	tx1 := x.store.Begin()
	defer tx1.Discard()
	if _, _, _, err := tx.Append(tx1, []Draft{{Time: x.clock.Now(), Payload: []byte("late")}}); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write by the removed", err)
	}
	until(t, tx, "its status says that all whom it is connected to refuse it", func() bool {
		all := slices.DeleteFunc(tx.Status(), func(ps PeerStatus) bool { return ps.State == StateUnreachable })
		return len(all) > 1 && !slices.ContainsFunc(all, func(ps PeerStatus) bool {
			return ps.State != StateRefused || ps.Code != CodeNotMember
		})
	})
	// Control records that came after its end are not for it.
	n := tx.held().ControlRecords()
	if err := to.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, ta, "the other member hears of the rotation", func() bool { return ta.held().ControlRecords() == to.held().ControlRecords() })
	if got := tx.held().ControlRecords(); got != n {
		t.Fatalf("the removed has %d control records, and had %d when it was removed", got, n)
	}
}
