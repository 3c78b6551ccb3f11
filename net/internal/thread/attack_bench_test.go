package thread

import (
	"runtime"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// What some attacks cost: figures, with `go test -bench Attack -benchtime 1x`.

// A control log with many branches of one record costs memory by the square.
func BenchmarkAttackForkedControlMemory(b *testing.B) {
	for b.Loop() {
		forkedControlMemory(b)
	}
}

func forkedControlMemory(t testing.TB) {
	t.Helper()
	for _, n := range []int{1000, 2000, 4000} {
		c := newClub(t, 1)
		o, x := c.threads[0], c.threads[1]
		join := x.ownControl.Branches[0].Tip
		f := &forger{th: x, device: x.env.device, desc: x.ownControl.Desc}
		base, size := x.graph.Time(join.Hash), 0
		at := func(p *format.Control, i int) format.Run {
			f.seq, f.prev, f.time = join.Seq, join.Hash, base
			r := f.control(t, p, func(h *format.Header) { h.Control, h.Time = []clock.Hash{join.Hash}, base+1+clock.Time(i) })
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

// A writer's removals with a key, which are nothing, have all folded again, each.
func BenchmarkAttackRefold(b *testing.B) {
	for b.Loop() {
		refold(b)
	}
}

func refold(t testing.TB) {
	t.Helper()
	for _, n := range []int{500, 1000, 2000, 4000} {
		c := newClub(t, 1)
		o, x := c.threads[0], c.threads[1]
		join := x.ownControl.Branches[0].Tip
		f := &forger{th: x, device: x.env.device, desc: x.ownControl.Desc, seq: join.Seq, prev: join.Hash, time: x.graph.Time(join.Hash)}
		var records []format.Record
		for range n {
			records = append(records, f.control(t, &format.Control{Op: format.OpRemove, Epoch: &format.Epoch{}}, func(h *format.Header) { h.Control = nil }))
		}
		run := f.run(records...)
		start := time.Now()
		if _, err := o.Ingest(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d records, %d KB: %v", n, len(format.EncodeRun(run))>>10, time.Since(start))
	}
}

// A forked data log of which a role change limits something is read again, branch by branch
// from its start, at each control record.
func BenchmarkAttackForkedDataLog(b *testing.B) {
	for b.Loop() {
		forkedDataLog(b)
	}
}

func forkedDataLog(t testing.TB) {
	t.Helper()
	c := newClub(t, 2)
	o, x := c.threads[0], c.threads[1]
	f := secondForger(t, c)
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

// A writer's rotations, without effect, stay in memory as a whole.
func BenchmarkAttackRotationsInMemory(b *testing.B) {
	for b.Loop() {
		rotationsInMemory(b)
	}
}

func rotationsInMemory(t testing.TB) {
	t.Helper()
	c := newClub(t, 1)
	o, x := c.threads[0], c.threads[1]
	before := heap()
	size := 0
	for range 50 {
		_, err := x.appendControl(t.Context(), &format.Control{Op: format.OpRotate, Epoch: &format.Epoch{Devices: make([]format.DeviceSeal, 3000), Previous: make([]byte, 60<<10)}})
		must(t, err)
	}
	r, err := x.ReadRun(x.ownControl.Top(), 1, 100<<20)
	must(t, err)
	size = len(format.EncodeRun(r))
	mustPull(t, o, x)
	t.Logf("%d KB sent, compressed as zeros; heap of both grew by %d KB", size>>10, (heap()-before)>>10)
	runtime.KeepAlive(o)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
