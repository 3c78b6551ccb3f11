package thread

import (
	"runtime"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A rotation gives the key of an epoch that turned out void before the record of that epoch is
// here: the key is dropped, and asked for never again.
func TestAttackGKeyBeforeItsRecord(t *testing.T) {
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
					return y.rows.Walk(snap, &y.ownControl.Log, false, y.ownControl.branches[0].Tip, 0, func(id clock.RecordID, _ format.Stored) (bool, error) {
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

// A control log with many branches of one record costs memory by the square.
func TestAttackGForkedControlMemory(t *testing.T) {
	for _, n := range []int{1000, 2000, 4000} {
		c := newClub(t, 1)
		o, x := c.threads[0], c.threads[1]
		join := x.ownControl.branches[0].Tip
		f := &forger{th: x, device: x.env.device, desc: x.ownControl.Desc}
		base, size := x.graph.Time(join.Hash), 0
		at := func(p *format.Control, i int) format.Run {
			f.seq, f.prev, f.time = join.Seq, join.Hash, base
			r := f.take2(t, p, func(h *format.Header) { h.Control, h.Time = []clock.Hash{join.Hash}, base+1+clock.Time(i) })
			run := f.run(r)
			size += len(format.EncodeRun(run))
			return run
		}
		start := time.Now()
		for i := range n {
			if _, err := o.Ingest(t.Context(), at(&format.Control{Op: format.OpAdmit}, i)); err != nil {
				t.Fatal(err)
			}
		}
		took := time.Since(start)
		before := heap()
		start = time.Now()
		if _, err := o.Ingest(t.Context(), at(&format.Control{Op: format.OpTransfer}, n)); err != nil {
			t.Fatal(err)
		}
		o.Members()
		t.Logf("%d branches, %d KB sent, %v; then one leave: %d MB, %v", n, size>>10, took, (heap()-before)>>20, time.Since(start))
		runtime.KeepAlive(o)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// take2 makes the next control record.
func (f *forger) take2(t testing.TB, p *format.Control, change func(*format.Header)) format.Record {
	t.Helper()
	h := f.header()
	change(h)
	body, root, err := f.th.env.sealer.Seal(f.th.keys.Service, format.Position{Thread: f.th.id, Log: h.Log, Seq: h.Seq}, &format.Plaintext{Payload: p.Encode()})
	must(t, err)
	h.Root = root
	return f.take(format.Record{Header: h.Encode(), Body: body}, h)
}

// A writer's removals with a key, which are nothing, have all folded again, each.
func TestAttackGRefold(t *testing.T) {
	for _, n := range []int{500, 1000, 2000, 4000} {
		c := newClub(t, 1)
		o, x := c.threads[0], c.threads[1]
		join := x.ownControl.branches[0].Tip
		f := &forger{th: x, device: x.env.device, desc: x.ownControl.Desc, seq: join.Seq, prev: join.Hash, time: x.graph.Time(join.Hash)}
		var records []format.Record
		for range n {
			records = append(records, f.take2(t, &format.Control{Op: format.OpRemove, Epoch: &format.Epoch{}}, func(h *format.Header) { h.Control = nil }))
		}
		run := f.run(records...)
		start := time.Now()
		_, err := o.Ingest(t.Context(), run)
		t.Logf("%d records, %d KB: %v, %v", n, len(format.EncodeRun(run))>>10, time.Since(start), err)
	}
}

// A forked data log of which a role change limits something is read again, branch by branch
// from its start, at each control record.
func TestAttackGForkedDataLog(t *testing.T) {
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	f := forgerOf2(t, c)
	key := readKey(t, x)
	var records []format.Record
	for range 1000 {
		records = append(records, f.record(t, key, "x", nil))
	}
	run := f.run(records...)
	size := len(format.EncodeRun(run))
	if _, err := o.Ingest(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	seq, prev, at := f.seq, f.prev, f.time
	for i := range 200 {
		f.seq, f.prev, f.time = seq, prev, at+clock.Time(i)
		r := f.run(f.record(t, key, "y", nil))
		size += len(format.EncodeRun(r))
		if _, err := o.Ingest(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	o.Flushed(o.lastArrival())
	start := time.Now()
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	o.Tips()
	t.Logf("%d KB: removal and its limit took %v", size>>10, time.Since(start))
	start = time.Now()
	must(t, o.Rotate(t.Context()))
	o.Tips()
	t.Logf("each control record after: %v", time.Since(start))
}

func forgerOf2(t *testing.T, c *club) *forger {
	c.write(t, 1, "first")
	c.meet(t)
	return forgerOf(c.threads[1])
}
