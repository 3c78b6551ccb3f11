package net

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// found dials the peers that mDNS finds.
type found struct{ h *Host }

// HandlePeerFound is called by the mDNS service.
func (f found) HandlePeerFound(info peer.AddrInfo) {
	if info.ID == f.h.ID() || !f.h.enter() {
		return
	}
	defer f.h.wg.Done()
	ctx, cancel := context.WithTimeout(f.h.ctx, requestTimeout)
	defer cancel()
	if err := f.h.lp.Connect(ctx, info); err != nil {
		f.h.log.Debug("peer on the local network is unreachable", "peer", info.ID, "error", err)
	}
}

// startMDNS announces the host on the local network and dials whom it finds there.
func (h *Host) startMDNS() error {
	s := mdns.NewMdnsService(h.lp, mdnsService, found{h})
	h.mdns = s
	if err := s.Start(); err != nil {
		h.log.Warn("mDNS is off", "error", err) // no multicast here: not a reason not to start
	}
	return nil
}
