package net

import (
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/strangers"
)

// A peer is a stranger until it is known: a package below says what that means for its
// streams ([strangers.Budget]). When it becomes known, it gets libp2p's limits of a known
// peer, and sessions.

// Trust says that whoever sends on s has proved enough: what it sends is no longer
// counted as a stranger's.
func Trust(s network.Stream) { strangers.Trust(s) }

// receive runs serve on a stream that a peer opened.
func (h *Host) receive(s network.Stream, serve func(network.Stream)) {
	p := s.Conn().RemotePeer()
	if h.Known(p) {
		serve(s)
		return
	}
	v, ok := h.strangers.Enter(s)
	if !ok {
		h.log.Debug("stream of an unknown peer refused: too many", "peer", p, "protocol", s.Protocol())
		_ = s.Reset()
		return
	}
	defer h.reap(p)
	defer v.Leave()
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
			l.SetLimit(h.limits.Known())
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
		if !m.Expired(h.now()) {
			now[m.Device] = true
		}
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
