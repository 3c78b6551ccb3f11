package net

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/mux"
	"github.com/weftdb/weft/net/internal/wire"
)

// A peer is disconnected after maxFaults faults, and refused for a while.
const (
	maxFaults = 3
	banTime   = 5 * time.Minute
)

// A remote is what a host knows of a peer. Its fields are guarded by host.mu.
type remote struct {
	id        peer.ID
	device    keys.PublicKey
	conn      context.Context //nolint:containedctx // while connected; nil otherwise
	hangUp    context.CancelFunc
	newest    network.Conn          // of its connections, over which all streams run
	since     time.Time             // of the present connectedness
	leaving   bool                  // it is a stranger, and makes room for another
	grants    map[ThreadID][]*grant // on a relay: what the peer may have kept; of a stream one, no list is empty
	refused   map[refusedKey]bool   // on a relay: what it was refused
	relay     *relayConf            // if the host was told to use it
	asking    context.Context       //nolint:containedctx // the connection on which the relay is asked
	failed    string                // why it could not be dialled last; "" if it could
	dialing   bool                  // it is to be kept connected
	dials     bool                  // a goroutine does so
	dial      chan struct{}         // dial now
	greet     chan struct{}         // send the tags again
	ask       chan struct{}         // look again at what to ask the relay
	hello     network.Stream        // on which it tells its tags
	again     bool                  // tell it the tags again, whether or not they changed
	record    []byte                // where it says that it is, signed; nil: it has not said
	shared    map[ThreadID]bool     // threads whose tags it told
	raised    bool                  // it has libp2p's limits of a known peer
	invited   int                   // streams on which it proved an open invite
	session   *mux.Session          // the one that exchanges are opened on; nil: none yet
	sessions  int                   // that it opened and that have not ended
	opening   chan struct{}         // holds one token while a session is opened
	shy       time.Time             // until when it is not asked for a session: it gave none, and has not greeted since
	greetings int                   // that it sent
	faults    int
	banned    time.Time // until when
}

// remote returns what is known of p, made if need be. The caller holds h.mu.
func (h *Host) remote(p peer.ID) *remote {
	r := h.peers[p]
	if r == nil {
		h.forgetStrangers()
		device, err := DeviceOf(p)
		if err != nil {
			h.log.Debug("peer without device key", "peer", p, "error", err)
		}
		r = &remote{
			id: p, device: device, since: h.now(), shared: map[ThreadID]bool{}, grants: map[ThreadID][]*grant{}, refused: map[refusedKey]bool{},
			opening: make(chan struct{}, 1), dial: make(chan struct{}, 1), greet: make(chan struct{}, 1), ask: make(chan struct{}, 1),
		}
		h.peers[p] = r
	}
	return r
}

// rememberedPeers is how many peers are known before those that came and went are
// forgotten: a new device key costs its maker nothing.
const rememberedPeers = 4096

// forgetStrangers forgets the peers that are not connected and that nothing is
// wanted of, once in a while. The caller holds h.mu.
func (h *Host) forgetStrangers() {
	if len(h.peers) < max(h.forgetAt, rememberedPeers) {
		return
	}
	for _, r := range h.peers {
		if r.conn == nil && !h.known(r) && !r.dialing && !r.dials { // banned or not: it can make other keys
			h.forget(r)
		}
	}
	h.forgetAt = 2 * len(h.peers)
}

// stranger reports whether nothing is wanted of a peer that is gone, and nothing held
// against it. The caller holds h.mu.
func (h *Host) stranger(r *remote) bool {
	return !h.known(r) && !r.dialing && !r.dials && r.faults == 0 && !h.now().Before(r.banned)
}

// forget forgets a peer that is not connected. The caller holds h.mu.
func (h *Host) forget(r *remote) {
	busy := false
	for _, s := range h.shares {
		switch l := s.links[r.id]; {
		case l == nil:
		case l.ended != nil && !closed(l.ended):
			busy = true // its pull is ending
		default:
			delete(s.links, r.id)
		}
	}
	if !busy {
		delete(h.peers, r.id)
		for _, s := range h.shares {
			s.status.Ring()
		}
	}
}

// reap forgets a peer if it is gone and nothing is wanted of it, now that a pull from
// it has ended.
func (h *Host) reap(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.peers[p]; r != nil && r.conn == nil && !h.closed && h.stranger(r) {
		h.forget(r)
	}
}

// closed reports whether c is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A peer may have several connections at once: both sides dialled, or an older one
// is dead and not known to be. All streams run over the newest, so that a peer that
// came back is served at once and not after the timeout of its former network.

// connection brings what is known of a peer in line with libp2p, after a
// connection came or went.
func (h *Host) connection(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	connected := h.lp.Network().Connectedness(p) == network.Connected
	r := h.remote(p)
	switch {
	case connected && h.now().Before(r.banned):
		h.run(func() { _ = h.lp.Network().ClosePeer(p) })
		return
	case connected && (r.conn == nil || r.newest != h.newest(p)):
		if r.conn == nil {
			r.since = h.now()
		} else {
			r.hangUp() // everything moves to the newest connection
			h.unlink(p)
		}
		r.conn, r.hangUp = context.WithCancel(h.ctx)
		r.newest = h.newest(p)
		r.session, r.shy, r.leaving = nil, time.Time{}, false
		h.raise(r)
		h.crowdOut(r)
		ctx := r.conn
		h.run(func() { h.sayHello(ctx, r) })
		h.startAsking(r)
	case !connected && r.conn != nil:
		r.hangUp()
		r.conn, r.session, r.leaving = nil, nil, false
		if r.raised {
			r.raised = false
			h.lp.ConnManager().Unprotect(p, "known")
		}
		r.since = h.now()
		clear(r.shared)
		clear(r.grants)
		poke(r.dial)
		if h.stranger(r) {
			h.forget(r)
			return
		}
	default:
		return
	}
	for _, s := range h.shares {
		if l := s.links[p]; l != nil {
			if r.conn == nil {
				l.shared, l.hosted = false, false
			}
			l.adjust()
		}
	}
}

// strangersShare is which part of the connections strangers may have.
const strangersShare = 4

// crowdOut keeps strangers from having more than their share of the connections: the one
// that has been here longest makes room. One that does already is not counted, nor chosen
// again: many may come before its connection has ended. The caller holds h.mu.
func (h *Host) crowdOut(r *remote) {
	if h.known(r) {
		return
	}
	n, oldest := 0, r
	for _, o := range h.peers {
		if o.conn != nil && !o.leaving && !h.known(o) {
			n++
			if o.since.Before(oldest.since) {
				oldest = o
			}
		}
	}
	if n <= max(h.limits.Conns/strangersShare, 1) {
		return
	}
	h.log.Debug("connection of an unknown peer ended: they have their share", "peer", oldest.id)
	oldest.leaving = true
	h.run(func() { _ = h.lp.Network().ClosePeer(oldest.id) })
}

// unlink ends the pulls from a peer; adjust starts them again over its next
// connection. The caller holds h.mu.
func (h *Host) unlink(p peer.ID) {
	for _, s := range h.shares {
		if l := s.links[p]; l != nil && l.stop != nil {
			l.stop()
			l.stop = nil
		}
	}
}

// keepConnected dials the peer whenever it is not connected, until the host
// closes. The caller holds h.mu.
func (h *Host) keepConnected(r *remote, addrs []multiaddr.Multiaddr) {
	if len(addrs) == 0 {
		addrs = h.lp.Peerstore().Addrs(r.id)
	}
	h.lp.Peerstore().AddAddrs(r.id, addrs, peerstore.PermanentAddrTTL)
	h.lp.ConnManager().Protect(r.id, "weft")
	poke(r.dial)
	r.dialing = true
	if r.dials {
		return
	}
	r.dials = true
	h.run(func() { h.redial(r) })
}

// A member that has not answered for triesOften pauses is dialled at longer ones: it
// may be gone for good, and dials too when it is back.
const (
	triesOften  = 24
	pauseAtRest = 10 * time.Minute
	steady      = 5 * time.Second // a connection that lasted is dialled again at once
)

// redial dials a peer while it is wanted and not connected, with pauses that grow; the
// end of a connection begins again without one. Who is neither a member nor a relay
// any more is not wanted.
func (h *Host) redial(r *remote) {
	for n := 0; ; {
		h.mu.Lock()
		if r.dialing && !h.known(r) {
			r.dialing = false
			h.lp.ConnManager().Unprotect(r.id, "weft")
		}
		conn, wanted, banned := r.conn, r.dialing, h.now().Before(r.banned)
		longest := pauseLongest
		if r.relay == nil && n > triesOften {
			longest = pauseAtRest
		}
		if r.dials = wanted; !wanted && r.conn == nil && !h.closed && h.stranger(r) {
			h.forget(r)
		}
		h.mu.Unlock()
		if !wanted {
			return
		}
		if conn != nil {
			began := time.Now()
			select {
			case <-conn.Done():
			case <-h.ctx.Done():
				return
			}
			if time.Since(began) > steady {
				n = 0
				continue
			}
			// It ended as it began: the peer may have no room. Again, with a pause.
			if !pauseUpTo(h.ctx, n, longest, r.dial) {
				return
			}
			n++
			continue
		}
		if !banned {
			ctx, cancel := context.WithTimeout(h.ctx, requestTimeout)
			err := h.lp.Connect(ctx, peer.AddrInfo{ID: r.id})
			cancel()
			if h.ctx.Err() != nil {
				return
			}
			h.dialled(r, err)
			h.connection(r.id)
		}
		if !pauseUpTo(h.ctx, n, longest, r.dial) {
			return
		}
		n++
	}
}

// DialReason says in a few words why a peer could not be dialled.
func DialReason(err error) string {
	err = dialCause(err)
	for _, c := range [...]struct {
		err  error
		text string
	}{
		{swarm.ErrDialBackoff, "it did not answer lately, and is tried again soon"},
		{swarm.ErrNoAddresses, "no address of it is known"},
		{swarm.ErrNoGoodAddresses, "none of its addresses can be reached from here"},
		{swarm.ErrDialToSelf, "it is this device"},
		{syscall.ECONNREFUSED, "connection refused: nothing listens at its address"},
		{syscall.ENETUNREACH, "no network leads to its address"},
		{syscall.EHOSTUNREACH, "no host has its address"},
		{os.ErrDeadlineExceeded, "no answer in time"},
		{context.DeadlineExceeded, "no answer in time"},
	} {
		if errors.Is(err, c.err) {
			return c.text
		}
	}
	return limitError(err).Error()
}

// dialCause returns the first cause of a failed dial, which says it best.
func dialCause(err error) error {
	if failed, ok := errors.AsType[*swarm.DialError](err); ok && len(failed.DialErrors) > 0 {
		return failed.DialErrors[0].Cause
	}
	return err
}

// dialled notes what came of dialling a peer, for the status of its threads.
func (h *Host) dialled(r *remote, err error) {
	why := ""
	if err != nil {
		h.log.Debug("peer is unreachable", "peer", r.id, "error", err)
		why = clip(DialReason(err), 256)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.failed == why || r.failed != "" && errors.Is(dialCause(err), swarm.ErrDialBackoff) { // what failed before says more
		return
	}
	r.failed = why
	for _, s := range h.shares {
		if s.links[r.id] != nil {
			s.status.Ring()
		}
	}
}

// fault counts something that an honest peer would not have sent, and
// disconnects the peer after a few.
func (h *Host) fault(p peer.ID, err error) {
	var rejection *Rejection
	if !errors.Is(err, wire.ErrFrame) && !(errors.As(err, &rejection) && rejection.Hostile()) {
		return // the stream broke, or rules differ; nobody lied
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.remote(p)
	r.faults++
	h.log.Warn("bad message from peer", "peer", p, "fault", r.faults, "error", err)
	if r.faults < maxFaults || h.closed {
		return
	}
	r.faults = 0
	r.banned = h.now().Add(banTime)
	h.log.Warn("peer disconnected for its faults", "peer", p, "until", r.banned)
	h.banned.Ring()
	h.run(func() { _ = h.lp.Network().ClosePeer(p) })
}

// Peers returns the IDs of the connected peers, sorted.
func (h *Host) Peers() []peer.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var peers []peer.ID
	for p, r := range h.peers {
		if r.conn != nil {
			peers = append(peers, p)
		}
	}
	slices.Sort(peers)
	return peers
}

// PeersChanged returns a channel that is closed when a peer comes or goes; take it
// before [Host.Peers].
func (h *Host) PeersChanged() <-chan struct{} { return h.met.Wait() }
