package thread

import (
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A rotation gives the key of an epoch that turned out void before the record of that epoch is
// here: the key is taken once it is.
func TestAttackKeyBeforeItsRecord(t *testing.T) {
	c := newClub(t, 2)
	o, y, b := c.threads[0], c.threads[1], c.threads[2]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	must(t, y.Rotate(t.Context()))
	mustPull(t, b, y)
	c.write(t, 2, "under the void epoch")
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleWriter))
	must(t, o.settleSync())
	c.meet(t)
	wantCounted(t, o, "under the void epoch")
	if did, err := o.RotateIfDue(t.Context()); err != nil || !did {
		t.Fatalf("rotated: %v, %v", did, err)
	}
	inv := c.nodes[0].invite(t, o, InviteOptions{})
	n := newMemoryNode(t)
	th, err := Join(t.Context(), n.env, inv, o.Genesis())
	must(t, err)
	opened(t, th)
	must(t, o.settleSync())
	for _, tip := range o.Sendable() {
		if o.IsControl(tip.Log) {
			if tip.Log == y.ownControl.ID { // its rotation comes by another way, later
				tip = clock.RecordID{}
				if err := func() error {
					y.mu.Lock()
					defer y.mu.Unlock()
					snap := y.env.store.Snapshot()
					defer snap.Release()
					return y.rows.Walk(snap, &y.ownControl.Log, false, y.ownControl.Branches[0].Tip, 0, func(id clock.RecordID, _ format.Stored) (bool, error) {
						tip = id
						return false, nil
					})
				}(); err != nil {
					t.Fatal(err)
				}
			}
			if err := pullLog(t.Context(), th, o, tip, 1<<20); err != nil {
				t.Logf("%v", err)
			}
		}
	}
	for _, tip := range o.Sendable() {
		if o.IsControl(tip.Log) && tip.Log != y.ownControl.ID {
			_ = pullLog(t.Context(), th, o, tip, 1<<20)
		}
	}
	if err := th.FinishJoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, o, th)
	mustPull(t, th, o)
	mustPull(t, th, o)
	w, _ := th.Waiting()
	t.Logf("%+v", w)
	if got := payloads(t, th); len(got) != 1 {
		t.Errorf("before a restart: %q", got)
	}
	th = n.again(t, th)
	must(t, th.recheck())
	wantPayloads(t, th, "under the void epoch")
}

// control makes the next control record.
func (f *forger) control(t testing.TB, p *format.Control, change func(*format.Header)) format.Record {
	t.Helper()
	h := f.header()
	change(h)
	body, root, err := f.th.env.sealer.Seal(f.th.keys.Service, format.Position{Thread: f.th.id, Log: h.Log, Seq: h.Seq}, &format.Plaintext{Payload: p.Encode()})
	must(t, err)
	h.Root = root
	return f.take(format.Record{Header: h.Encode(), Body: body}, h)
}

// secondForger continues the log of the second device of a club, once all have its first record.
func secondForger(t testing.TB, c *club) *forger {
	c.write(t, 1, "first")
	c.meet(t)
	return forgerOf(c.threads[1])
}

// Nine rotations on as many branches of one admin's log, more than a record can name: the most
// senior device makes one epoch of them, and others write again.
func TestAttackNineBranches(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	tip := x.ownControl.Branches[0].Tip
	at := x.graph.Time(x.graph.Named()[0])
	for _, h := range x.graph.Named() {
		at = max(at, x.graph.Time(h))
	}
	named := x.graph.Named()
	for range 9 {
		x.mu.Lock()
		e, err := x.newEpoch(func(*Member) bool { return false }, false)
		x.mu.Unlock()
		must(t, err)
		f := &forger{th: x, device: x.env.device, desc: x.ownControl.Desc, seq: tip.Seq, prev: tip.Hash, time: at}
		r := f.control(t, &format.Control{Op: format.OpRotate, Epoch: e}, func(h *format.Header) { h.Control = named })
		if _, err := b.Ingest(t.Context(), f.run(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.mayWriteNow(); err != nil {
		t.Logf("until the most senior device is online and rotates: %v", err)
	}
	must(t, o.settleSync())
	mustPull(t, o, b)
	if did, err := o.RotateIfDue(t.Context()); err != nil || !did {
		t.Errorf("%v %v", did, err)
	}
	mustPull(t, b, o)
	must(t, b.mayWriteNow())
}
