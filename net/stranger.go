package net

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// What peers that this host does not know may have of it, each and all together:
// bytes that they sent and that were not answered yet, and streams.
const (
	strangerBytes  = 16 << 10
	strangersBytes = 8 << 20
	strangersAll   = 512 // streams
)

// A stranger is a peer that has proved nothing to this host but its device key,
// which costs it nothing: no member of a thread that is held here, no relay in
// use, without a grant, an open invite or an API key shown.
//
//	a stream of a stranger     counted; the 17th of one peer, or one above what all may
//	                           have, is reset
//	bytes that it sends        counted as they are read, until they are answered or
//	                           done with; above its 16 KiB the stream is reset
//	it becomes known           its streams count no longer; it gets libp2p's limits of a
//	                           known peer, and sessions
type strangers struct {
	mu    sync.Mutex // guards the fields below; taken last
	bytes int
	total int // streams
	peers map[peer.ID]*guest
}

// A guest is what one stranger has.
type guest struct{ bytes, streams int }

// errCrowded reports that strangers have what they may have.
var errCrowded = fault.New(fault.LimitReached, "the peer is unknown here and has sent more than an unknown peer may, 16 KiB without an answer")

// enter counts a stream of a stranger; false refuses it.
func (g *strangers) enter(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.peers[p]
	if g.total >= strangersAll || one != nil && one.streams >= strangerStreams {
		return false
	}
	if one == nil {
		one = &guest{}
		g.peers[p] = one
	}
	one.streams++
	g.total++
	return true
}

// leave ends a stream that was counted.
func (g *strangers) leave(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.peers[p]
	g.total--
	if one.streams--; one.streams == 0 {
		delete(g.peers, p)
	}
}

// take counts bytes that a stranger sent; false says that they are too many.
func (g *strangers) take(p peer.ID, n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.peers[p]
	if one == nil || one.bytes+n > strangerBytes || g.bytes+n > strangersBytes {
		return false
	}
	one.bytes += n
	g.bytes += n
	return true
}

// give ends the count of bytes.
func (g *strangers) give(p peer.ID, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one := g.peers[p]; one != nil {
		one.bytes -= n
	}
	g.bytes -= n
}

// A visit is a stream of a peer that was a stranger when it came.
type visit struct {
	network.Stream
	host    *Host
	peer    peer.ID
	held    atomic.Int64 // bytes that are counted
	trusted atomic.Bool  // no longer a stranger's
}

// Read reads and counts.
func (v *visit) Read(b []byte) (int, error) {
	n, err := v.Stream.Read(b)
	if n > 0 && !v.trusted.Load() {
		if !v.host.strangers.take(v.peer, n) {
			if v.host.Known(v.peer) {
				v.trust()
				return n, err
			}
			_ = v.Stream.Reset()
			return 0, errCrowded
		}
		v.held.Add(int64(n))
	}
	return n, err
}

// Write answers what was read. A stranger that does not read does not keep its stream.
func (v *visit) Write(b []byte) (int, error) {
	v.answered()
	if !v.trusted.Load() {
		_ = v.Stream.SetWriteDeadline(time.Now().Add(requestTimeout))
	}
	return v.Stream.Write(b)
}

// answered ends the count of what was read so far.
func (v *visit) answered() {
	if n := v.held.Swap(0); n > 0 {
		v.host.strangers.give(v.peer, int(n))
	}
}

func (v *visit) trust() {
	v.trusted.Store(true)
	_ = v.Stream.SetWriteDeadline(time.Time{})
	v.answered()
}

// Trust says that whoever sends on s has proved enough: what it sends is no longer
// counted as a stranger's.
func Trust(s network.Stream) {
	if v, ok := s.(*visit); ok {
		v.trust()
	}
}

// answered says that what was read from s is done with.
func answered(s any) {
	if v, ok := s.(*visit); ok {
		v.answered()
	}
}

// frameLimit returns how long a frame from s may be: limit, or a stranger's less,
// which leaves room for what is read ahead.
func frameLimit(s any, limit int) int {
	if v, ok := s.(*visit); ok && !v.trusted.Load() {
		return min(limit, strangerBytes-2*visitBuffer)
	}
	return limit
}

// visitBuffer is how far a stranger's stream is read ahead.
const visitBuffer = 512

// reader returns s, read ahead by a little.
func reader(s io.Reader) *bufio.Reader {
	if v, ok := s.(*visit); ok && !v.trusted.Load() {
		return bufio.NewReaderSize(s, visitBuffer)
	}
	return bufio.NewReader(s)
}

// receive runs serve on a stream that a peer opened.
func (h *Host) receive(s network.Stream, serve func(network.Stream)) {
	p := s.Conn().RemotePeer()
	if h.Known(p) {
		serve(s)
		return
	}
	if !h.strangers.enter(p) {
		h.log.Debug("stream of an unknown peer refused: too many", "peer", p, "protocol", s.Protocol())
		_ = s.Reset()
		return
	}
	v := &visit{Stream: s, host: h, peer: p}
	defer h.reap(p)
	defer h.strangers.leave(p)
	defer v.answered()
	serve(v)
}

// Known reports whether a peer is no stranger: a device of a member of a thread that
// is held here, a relay in use, or a device that this relay keeps threads for.
func (h *Host) Known(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.peers[p]
	return r != nil && h.known(r)
}

// known is Known; the caller holds h.mu.
func (h *Host) known(r *remote) bool {
	return r.relay != nil || len(r.grants) > 0 || r.invited > 0 || h.members[r.device] > 0
}

// raise gives a peer that has become known what strangers do not have. The caller holds
// h.mu.
func (h *Host) raise(r *remote) {
	if r.raised || r.conn == nil || !h.known(r) {
		return
	}
	r.raised = true
	err := h.resources.ViewPeer(r.id, func(s network.PeerScope) error {
		if l, ok := s.(rcmgr.ResourceScopeLimiter); ok {
			l.SetLimit(h.limits.known())
		}
		return nil
	})
	if err != nil {
		h.log.Warn("limits of a peer are not raised", "peer", r.id, "error", err)
	}
	h.lp.ConnManager().Protect(r.id, "known")
}

// greetAgain tells a peer that has got rights here the tags again, so that it asks for
// what it was refused. The caller holds h.mu.
func (h *Host) greetAgain(r *remote) {
	r.again = true
	poke(r.greet)
}

// refreshMembers counts the members that a thread has now. The caller does not hold
// host.mu.
func (s *share) refreshMembers() {
	h := s.host
	s.counting.Lock()
	defer s.counting.Unlock()
	now := map[keys.PublicKey]bool{}
	for _, m := range s.thread.Members() {
		now[m.Device] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.gone {
		return
	}
	before := s.members
	s.count(now)
	if h.closed {
		return
	}
	for _, r := range h.peers {
		if r.conn != nil && now[r.device] && !before[r.device] {
			h.raise(r)
			h.greetAgain(r)
			s.meet(r)
			s.meeting.Ring()
		}
	}
}

// count replaces the members that are counted for the thread. The caller holds
// host.mu.
func (s *share) count(now map[keys.PublicKey]bool) {
	m := s.host.members
	for d := range s.members {
		if m[d]--; m[d] == 0 {
			delete(m, d)
		}
	}
	for d := range now {
		m[d]++
	}
	s.members = now
}

// uncount forgets the members of a thread that is no longer held. The caller holds
// host.mu.
func (s *share) uncount() {
	s.count(nil)
	s.gone = true
}
