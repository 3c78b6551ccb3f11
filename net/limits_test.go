package net

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/net/internal/stack"
)

// onlyBy returns an option that makes a party listen by one transport.
func onlyBy(t testing.TB, transport string) func(*Options) {
	t.Helper()
	all, err := stack.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	listen := slices.DeleteFunc(all, func(a multiaddr.Multiaddr) bool { return !strings.Contains(a.String(), "/"+transport+"/") })
	return func(o *Options) { o.Listen = listen }
}

// heapBytes returns the bytes of live objects and of stacks.
func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// manyThreads has two hosts share n threads over one transport.
func manyThreads(t *testing.T, transport string, n int) {
	a, b := newLightParty(t, onlyBy(t, transport)), newLightParty(t, onlyBy(t, transport))
	b.connect(t, a)
	before := heapBytes()
	at, bt := make([]*Thread, n), make([]*Thread, n)
	for i := range at {
		at[i] = a.create(t)
		bt[i] = b.join(t, at[i])
	}
	for i := range at {
		write(t, a, at[i], 1)
		write(t, b, bt[i], 1)
	}
	for i := range at {
		identical(t, at[i], b.ID())
		identical(t, bt[i], a.ID())
		same(t, at[i], bt[i])
	}
	t.Logf("%d threads over %s: %d KiB of heap and stacks a thread and host", n, transport, (heapBytes()-before)/int64(2*n)>>10)
}

func TestManyThreadsOfAPair(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { manyThreads(t, transport, 64) })
	}
}

// manyDevices has n devices leave a thread each with a relay over one transport.
func manyDevices(t *testing.T, transport string, n int) {
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r := newLightParty(t, onlyBy(t, transport), func(o *Options) { o.Relay, o.Gate = true, w.policy() })
	before := heapBytes()
	devices, threads := make([]*party, n), make([]*Thread, n)
	for i := range devices {
		d := newLightParty(t, func(o *Options) { o.Listen = []multiaddr.Multiaddr{} })
		devices[i], threads[i] = d, d.create(t)
		d.use(t, r, d.credential(t, secret))
	}
	for i, d := range devices {
		writeOne(t, d, threads[i], []byte("kept"))
	}
	for _, th := range threads {
		identical(t, th, r.ID())
	}
	t.Logf("%d devices over %s: %d KiB of heap and stacks a device, its host and the relay's part", n, transport, (heapBytes()-before)/int64(n)>>10)
}

func TestManyDevicesOfARelay(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { manyDevices(t, transport, 16) })
	}
}

// Whoever reaches a limit of streams is told so, on both sides, and which it is; what
// is below it goes on.
func TestStreamLimitIsTold(t *testing.T) {
	for name, c := range map[string]struct{ a, b int }{"of the other side": {0, 6}, "of one's own": {6, 0}} {
		t.Run(name, func(t *testing.T) {
			a := newLightParty(t, func(o *Options) { o.limits.PeerStreams = c.a })
			b := newLightParty(t, func(o *Options) { o.limits.PeerStreams = c.b })
			b.connect(t, a)
			ctx := within(t)
			var threads []*Thread
			for range 4 {
				th := a.create(t)
				b.join(t, th)
				threads = append(threads, th)
			}
			for {
				var changed []<-chan struct{}
				for _, th := range threads {
					changed = append(changed, th.StatusChanged())
				}
				for _, th := range threads {
					for _, ps := range th.Status() {
						if ps.State == StateRefused && ps.Code == CodeLimit && strings.Contains(ps.Reason, "limit") && strings.Contains(ps.Reason, "streams") {
							return
						}
					}
				}
				select {
				case <-changed[0]:
				case <-changed[1]:
				case <-changed[2]:
				case <-changed[3]:
				case <-ctx.Done():
					t.Fatalf("nobody was told: %+v", threads[3].Status())
				}
			}
		})
	}
}
