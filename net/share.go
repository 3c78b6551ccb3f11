package net

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/thread"
)

// A share is a thread as a host exchanges it with its peers.
//
//	share ── link ── pull      what this host receives from one peer
//	           └──── feed      what it sends to it
type share struct {
	host    *Host
	thread  *thread.Thread
	face    *Thread         // what an embedder sees of it
	relay   bool            // adopted: this host has only the service key
	account keys.PublicKey  // that a relay's thread is counted against
	invite  []byte          // public key of the invite by which this device joined
	proof   []byte          // that it held the invite's secret
	ctx     context.Context //nolint:containedctx // the life of the share
	cancel  context.CancelFunc

	cursors sync.Mutex // held while cursors of blobs are written; guards losses
	losses  int        // how often blobs were dropped: a cursor of before is void

	rotated   atomic.Int64 // control records when it was last seen whether a rotation is due
	looked    atomic.Int64 // control records when it was last seen whether invites have ended
	counting  sync.Mutex   // one count of the members at a time; before host.mu
	status    bell.Bell    // what Status returns may have changed
	meeting   bell.Bell    // where members are may have changed
	admission bell.Bell    // who may have what may have changed

	// Guarded by host.mu.
	links   map[peer.ID]*link
	members map[keys.PublicKey]bool // devices, as last counted in host.members
	gone    bool                    // removed
	chosen  map[peer.ID]bool        // relays of this thread; nil: all of the host
}

// newShare returns a share of a thread that nobody exchanges yet.
func (h *Host) newShare(t *thread.Thread) *share {
	s := &share{host: h, thread: t, links: map[peer.ID]*link{}}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	s.face = &Thread{share: s}
	if h.opt.ChosenRelays {
		s.chosen = map[peer.ID]bool{}
	}
	return s
}

// poke puts a token into a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isMember reports whether a peer is another member's device.
func (s *share) isMember(p peer.ID) bool {
	device, err := DeviceOf(p)
	if err != nil || p == s.host.ID() {
		return false
	}
	m, member := s.thread.Member(device)
	return member && !m.Expired(s.host.now())
}
