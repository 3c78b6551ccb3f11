package thread

import (
	"testing"

	"github.com/weftdb/weft/net/internal/format"
)

// A writer's rotations, without effect, stay in memory as a whole.
func TestAttackGRotationsInMemory(t *testing.T) {
	c := newClub(t, 1)
	o, x := c.threads[0], c.threads[1]
	before := heap()
	size := 0
	for range 50 {
		_, err := x.appendControl(t.Context(), &format.Control{Op: format.OpRotate, Epoch: &format.Epoch{Devices: make([]format.DeviceSeal, 3000), Previous: make([]byte, 60<<10)}})
		must(t, err)
	}
	r, err := x.ReadRun(x.ownControl.top(), 1, 100<<20)
	must(t, err)
	size = len(format.EncodeRun(r))
	mustPull(t, o, x)
	t.Logf("%d KB sent, compressed as zeros; heap of both grew by %d KB", size>>10, (heap()-before)>>10)
	_ = o
}

// Nine rotations on as many branches of one admin's log: nobody writes.
func TestAttackGNineBranches(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleAdmin))
	c.meet(t)
	tip := x.ownControl.branches[0].Tip
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
		r := f.take2(t, &format.Control{Op: format.OpRotate, Epoch: e}, func(h *format.Header) { h.Control = named })
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
