package net

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/memory"
)

// save remembers how this host came to the thread, durably.
func (s *share) save() error {
	o := memory.Origin{Invite: s.invite, Proof: s.proof}
	if s.relay {
		o.Account = append([]byte(nil), s.account[:]...)
	}
	return s.host.memory.SetOrigin(s.thread.ID(), o)
}

// load is the inverse of save.
func (s *share) load() error {
	o, err := s.host.memory.Origin(s.thread.ID())
	if err != nil {
		return fmt.Errorf("thread %s: %w", s.thread.ID(), err)
	}
	s.invite, s.proof = o.Invite, o.Proof
	if len(o.Account) == len(s.account) {
		s.relay, s.account = true, keys.PublicKey(o.Account)
	}
	if s.thread.LackingBlobs() > 0 { // peers are asked again at each start
		return s.host.memory.ForgetCursors(s.thread.ID())
	}
	return nil
}

// maxKeptAddrs is how many addresses of a peer are remembered.
const maxKeptAddrs = 16

// rememberPeer keeps the addresses of a peer that shares a thread, so that it
// is dialled after a restart.
func (h *Host) rememberPeer(p peer.ID) error {
	var addrs [][]byte
	for _, a := range h.lp.Peerstore().Addrs(p) {
		if len(addrs) < maxKeptAddrs {
			addrs = append(addrs, a.Bytes())
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	return h.memory.SetPeer(memory.Peer{ID: string(p), Addrs: addrs})
}

// Remembered returns the addresses of the peers that shared a thread with this host,
// each with the peer's ID.
func (h *Host) Remembered() ([]multiaddr.Multiaddr, error) {
	var out []multiaddr.Multiaddr
	err := h.eachPeer(func(p peer.ID, addrs []multiaddr.Multiaddr) {
		all, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p, Addrs: addrs})
		if err == nil {
			out = append(out, all...)
		}
	})
	return out, err
}

// Expect dials a peer at an address that ends in its ID, until it answers, as one
// that shared a thread with this host before.
func (h *Host) Expect(addr multiaddr.Multiaddr) error {
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return fault.Errorf(fault.InvalidArgument, "address %v: %w", addr, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || info.ID == h.ID() {
		return nil
	}
	h.keepConnected(h.remote(info.ID), info.Addrs)
	return nil
}

// wantPeers dials the members that shared a thread with this host before, and forgets
// who is no member any more. Where a thread does not tell its members, as the store
// has lost something, nobody is forgotten.
func (h *Host) wantPeers() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	forgets := !h.lost
	for _, s := range h.shares {
		forgets = forgets && (s.relay || len(s.thread.Members()) > 0)
	}
	var gone []string
	n := 0
	err := h.eachPeer(func(p peer.ID, addrs []multiaddr.Multiaddr) {
		device, err := DeviceOf(p)
		if forgets && (err != nil || h.members[device] == 0) {
			gone = append(gone, string(p))
			return
		}
		if n++; n <= maxKept {
			h.keepConnected(h.remote(p), addrs)
		}
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return h.memory.ForgetPeers(gone)
}

// eachPeer calls f with the remembered peers.
func (h *Host) eachPeer(f func(p peer.ID, addrs []multiaddr.Multiaddr)) error {
	for r, err := range h.memory.Peers() {
		if err != nil && r.ID == "" {
			return err
		}
		p, bad := peer.IDFromBytes([]byte(r.ID))
		if bad != nil {
			return fmt.Errorf("remembered peer: %w", bad)
		}
		if err != nil {
			return fmt.Errorf("remembered peer %s: %w", p, err)
		}
		var addrs []multiaddr.Multiaddr
		for _, b := range r.Addrs {
			if a, err := multiaddr.NewMultiaddrBytes(b); err == nil {
				addrs = append(addrs, a)
			}
		}
		f(p, addrs)
	}
	return nil
}
