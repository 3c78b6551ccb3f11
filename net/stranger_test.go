package net

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/memory"
	"github.com/weftdb/weft/net/internal/strangers"
	"github.com/weftdb/weft/net/internal/wire"
)

// What a process of the test binary floods, and with frames of what size.
const (
	floodAddr = "WEFT_TEST_FLOOD"
	floodSize = "WEFT_TEST_FLOOD_SIZE"
)

// Peers and streams of a flood.
const (
	flooders     = 8
	floodStreams = 20 // a protocol
)

// served are the protocols that a host answers.
var served = []protocol.ID{
	protoThread, protoHello, protoHost, protoSession,
	"/meshsub/1.2.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0",
	"", // a stream on which no protocol is agreed
}

// TestFlooder is no test: it is what TestStrangersFlood runs in another process, whose
// memory is not this one's. It takes from a host all that strangers can get.
func TestFlooder(t *testing.T) {
	addr := os.Getenv(floodAddr)
	if addr == "" {
		t.Skip("run by TestStrangersFlood")
	}
	size, err := strconv.Atoi(os.Getenv(floodSize))
	if err != nil {
		t.Fatal(err)
	}
	a, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	info, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	var all sync.WaitGroup
	for range flooders {
		h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay())
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := h.Connect(t.Context(), *info); err != nil {
			t.Fatal(err)
		}
		for _, p := range served {
			for range floodStreams {
				all.Go(func() { sent.Add(flood(t.Context(), h.Network(), info.ID, p, size)) })
			}
		}
	}
	all.Wait()
	t.Logf("sent %d bytes", sent.Load())
	_, _ = os.Stdout.WriteString("holding\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // hold until the other process has measured
}

// flood opens a stream and sends a frame of a size but for its last byte; it returns
// how much the host took.
func flood(ctx context.Context, n network.Network, to peer.ID, p protocol.ID, size int) (took int64) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := n.NewStream(ctx, to)
	if err != nil {
		return 0
	}
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	if p != "" && multistream.SelectProtoOrFail(p, s) != nil {
		return 0
	}
	m, _ := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, size-1)...))
	return int64(m)
}

// Whoever has only a device key, of which it makes as many as it likes, holds no more
// of a host than its share.
func TestStrangersFlood(t *testing.T) {
	for _, c := range []struct {
		transport string
		size      int
	}{{"tcp", wire.MaxSubscribe}, {"udp", wire.MaxSubscribe}, {"udp", 8 << 10}, {"tcp", 900}} {
		t.Run(fmt.Sprintf("%s/%d", c.transport, c.size), func(t *testing.T) {
			w := newWorld()
			r := newLightParty(t, onlyBy(t, c.transport), func(o *Options) { o.Relay, o.Gate = true, w.policy() })
			r.create(t)
			before := heapBytes()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFlooder$", "-test.v")
			cmd.Env = append(os.Environ(), floodAddr+"="+r.addr(t).String(), fmt.Sprintf("%s=%d", floodSize, c.size))
			in, inErr := cmd.StdinPipe()
			out, outErr := cmd.StdoutPipe()
			if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "holding"; {
				said.WriteString(lines.Text() + "\n")
			}
			held := heapBytes() - before
			stat := r.resources.(rcmgr.ResourceManagerState).Stat()
			streams := 0
			for p, s := range stat.Peers {
				if streams += s.NumStreamsInbound; s.NumStreamsInbound > strangers.Streams {
					t.Errorf("peer %s has %d streams", p, s.NumStreamsInbound)
				}
			}
			all, each := r.strangers.Shares()
			for p, one := range each {
				if one.Bytes > strangers.Bytes || one.Streams > strangers.Streams {
					t.Errorf("peer %s holds %+v", p, one)
				}
			}
			t.Logf("%d KiB live, %d KiB of requests, %d streams, %d KiB set aside by libp2p; %s",
				held>>10, all.Bytes>>10, streams, stat.System.Memory>>10, strings.TrimSpace(said.String()))
			if held > strangers.AllBytes {
				t.Errorf("%d strangers hold %d KiB", flooders, held>>10)
			}
			// Who comes with a key is served meanwhile.
			a := newLightParty(t, func(o *Options) { o.Listen = []multiaddr.Multiaddr{} })
			th := a.create(t)
			a.use(t, r, a.credential(t, w.newKey(t, w.developer)))
			identical(t, th, r.ID())
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// newStranger connects a libp2p host that says nothing by itself.
func newStranger(t *testing.T, to *party) host.Host {
	t.Helper()
	s, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(within(t), peer.AddrInfo{ID: to.ID(), Addrs: to.lp.Addrs()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// A stranger that comes and goes is forgotten when it is gone.
func TestStrangersLeaveNothing(t *testing.T) {
	a := newLightParty(t)
	th := a.create(t)
	gone := make(chan struct{}, 64)
	a.lp.Network().Notify(&network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) { gone <- struct{}{} }})
	for range 20 {
		s := newStranger(t, a)
		// It knows the service key, so that its tag is the thread's.
		h, err := s.NewStream(within(t), a.ID(), protoHello)
		if err != nil {
			t.Fatal(err)
		}
		tag := wire.TagOf(th.held().ServiceKey(), th.ID(), s.ID(), a.ID())
		if err := wire.NewWriter(h).Send(wire.Hello{Tags: tag[:]}); err != nil {
			t.Fatal(err)
		}
		st, err := s.NewStream(within(t), a.ID(), protoThread)
		if err != nil {
			t.Fatal(err)
		}
		id := th.ID()
		if err := wire.NewWriter(st).Send(wire.Subscribe{Version: wire.Version, Thread: id[:]}); err != nil {
			t.Fatal(err)
		}
		if kind, _, err := wire.Read(bufio.NewReader(st)); err != nil || kind != wire.KindRefused {
			t.Fatalf("a stranger got frame %d, %v", kind, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		case <-within(t).Done():
			t.Fatal("the stranger stays")
		}
	}
	waitPeers(t, a, th, 0)
	if n := countRemembered(t, a); n != 0 {
		t.Errorf("%d strangers are remembered on the disk", n)
	}
}

// Strangers that come faster than connections end have no more than their share: each makes
// another one leave.
func TestStrangersInABurst(t *testing.T) {
	p := newLightParty(t, func(o *Options) { o.limits.Conns = 16 })
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := 0
	for i := range 12 {
		id, err := PeerOf(keys.NewDevice().Public().Sign)
		if err != nil {
			t.Fatal(err)
		}
		r := p.remote(id)
		r.conn, r.since = p.ctx, time.Unix(int64(i), 0)
		p.crowdOut(r)
	}
	for _, r := range p.peers {
		if !r.leaving {
			stay++
		}
		r.conn = nil
	}
	if stay != 16/strangersShare {
		t.Errorf("%d strangers stay, want %d", stay, 16/strangersShare)
	}
}

// A stranger is told nothing of the threads of a host, whatever it subscribes to: no tag,
// no topic, not even how many there are. What it names itself it is told.
func TestStrangersLearnNothing(t *testing.T) {
	a, member := newParty(t), newLightParty(t)
	th, other := a.create(t), a.create(t)
	member.connect(t, a)
	member.join(t, th)
	identical(t, th, member.ID())

	s, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	heard := make(chan []byte, 16)
	s.SetStreamHandler(protoHello, func(st network.Stream) {
		r := bufio.NewReader(st)
		for {
			m, err := wire.Next[wire.Hello](r, 1<<20)
			if err != nil {
				return
			}
			heard <- m.Tags
		}
	})
	if err := s.Connect(within(t), peer.AddrInfo{ID: a.ID(), Addrs: a.lp.Addrs()}); err != nil {
		t.Fatal(err)
	}
	next := func() []byte {
		select {
		case tags := <-heard:
			return tags
		case <-within(t).Done():
			t.Fatal("no hello came")
			return nil
		}
	}
	if tags := next(); len(tags) != 0 {
		t.Errorf("a stranger was told %d tags", len(tags)/wire.TagSize)
	}
	protocols, err := s.Peerstore().GetProtocols(a.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		if strings.Contains(string(p), "meshsub") || strings.Contains(string(p), "floodsub") {
			t.Errorf("a host speaks %s, which tells every peer all topics", p)
		}
	}
	// Who has a service key, as a member did that was removed, names what it knows.
	st, err := s.NewStream(within(t), a.ID(), protoHello)
	if err != nil {
		t.Fatal(err)
	}
	mine := wire.TagOf(th.held().ServiceKey(), th.ID(), s.ID(), a.ID())
	if err := wire.NewWriter(st).Send(wire.Hello{Tags: mine[:]}); err != nil {
		t.Fatal(err)
	}
	if tags := next(); !bytes.Equal(tags, mine[:]) {
		t.Errorf("who named one thread was told %d tags; %s is not its concern", len(tags)/wire.TagSize, other.ID())
	}
}

// Who was remembered and is no member is not dialled after a restart, and forgotten.
func TestOnlyMembersAreRemembered(t *testing.T) {
	a, member := newParty(t), newLightParty(t)
	th := a.create(t)
	member.connect(t, a)
	member.join(t, th)
	identical(t, th, member.ID())
	until(t, th, "the member is remembered", func() bool { return countRemembered(t, a) == 1 })
	id, err := PeerOf(keys.NewDevice().Public().Sign)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Host.memory.SetPeer(memory.Peer{ID: string(id), Addrs: [][]byte{member.lp.Addrs()[0].Bytes()}}); err != nil {
		t.Fatal(err)
	}
	a.halt(t)
	a.start(t)
	a.mu.Lock()
	stranger, kept := a.peers[id], a.peers[member.ID()]
	a.mu.Unlock()
	if stranger != nil || kept == nil || !kept.dialing {
		t.Errorf("dialled: the stranger %v, the member %v", stranger, kept)
	}
	if n := countRemembered(t, a); n != 1 {
		t.Errorf("%d peers are remembered, want the member", n)
	}
	identical(t, a.open(t, th.ID()), member.ID())
}

// waitPeers waits until a host knows n peers, by what it notices of one thread.
func waitPeers(t *testing.T, p *party, th *Thread, n int) {
	t.Helper()
	ctx := within(t)
	for {
		changed := th.StatusChanged()
		p.mu.Lock()
		peers, links := len(p.peers), len(th.share.links)
		p.mu.Unlock()
		if peers == n && links == n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d peers and %d links are known, want %d", peers, links, n)
		}
	}
}

func countRemembered(t *testing.T, p *party) (n int) {
	t.Helper()
	for _, err := range p.Host.memory.Peers() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func countPrefix(t *testing.T, p *party, prefix string) (n int) {
	t.Helper()
	snap := p.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(prefix)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		n++
	}
	return n
}
