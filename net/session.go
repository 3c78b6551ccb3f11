package net

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/mux"
	"github.com/weftdb/weft/net/internal/wire"
)

// A stream is what an exchange runs over: one of libp2p's, or one of a session.
type stream interface {
	io.ReadWriter
	Close() error
	CloseWrite() error
	Reset() error
	SetReadDeadline(time.Time) error
}

// The exchanges of many threads between two hosts run over one stream of their
// connection, protocol session, in a [mux.Session]. A host gives sessions only to peers
// that it knows ([Host.Known]), and greets a peer that it gets to know, which then asks
// again.

// What a stream of a session is for: its first byte.
const (
	laneThread = 1 // records, as on protocol thread
	laneBlobs  = 2 // blobs of a thread
)

// maxSessions bounds the sessions that a peer opens: one, and those of connections that
// are not known for dead yet.
const maxSessions = 4

// openLane opens a stream to a peer for an exchange, over their session, which is
// opened if need be. It returns [mux.ErrStranger] if the peer does not know this device.
func (h *Host) openLane(ctx context.Context, p peer.ID, lane byte) (stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for range 2 { // the session at hand may have ended unnoticed
		ses, fresh, err := h.session(ctx, p)
		if err != nil {
			return nil, err
		}
		if n := ses.Streams(); n >= h.limits.PeerStreams {
			return nil, fault.Errorf(fault.LimitReached, "This device has %d streams open with the peer, the limit: exchange fewer databases with it.", n)
		}
		s, err := ses.Open(ctx, lane)
		if err == nil {
			return s, nil
		}
		h.dropSession(p, ses)
		if fresh {
			return nil, err
		}
	}
	return nil, network.ErrReset
}

// session returns the session with a peer, opened if need be; fresh reports that it
// was.
func (h *Host) session(ctx context.Context, p peer.ID) (ses *mux.Session, fresh bool, err error) {
	h.mu.Lock()
	r := h.remote(p)
	h.mu.Unlock()
	select { // one opens it, the others wait
	case r.opening <- struct{}{}:
		defer func() { <-r.opening }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	h.mu.Lock()
	ses, shy, greetings := r.session, h.now().Before(r.shy), r.greetings
	h.mu.Unlock()
	if ses != nil && !ses.Ended() {
		return ses, false, nil
	}
	if shy {
		return nil, false, mux.ErrStranger
	}
	s, err := h.OpenStream(ctx, p, protoSession)
	if err != nil {
		return nil, false, err
	}
	ses, err = mux.Ask(s, requestTimeout)
	if errors.Is(err, mux.ErrStranger) {
		h.mu.Lock()
		if r.greetings == greetings { // else it may have got to know us meanwhile
			r.shy = h.now().Add(pauseLongest)
		}
		h.mu.Unlock()
	}
	if err != nil {
		return nil, false, err
	}
	if !h.enter() {
		_ = ses.Close()
		return nil, false, ErrClosed
	}
	go func() {
		defer h.wg.Done()
		h.serveLanes(r, ses)
	}()
	return ses, true, nil
}

// serveSession answers a peer that opens a session.
func (h *Host) serveSession(s network.Stream) {
	p := s.Conn().RemotePeer()
	h.mu.Lock()
	r := h.remote(p)
	known := h.known(r)
	many := r.sessions >= maxSessions
	if known && !many {
		r.sessions++
		defer func() {
			h.mu.Lock()
			r.sessions--
			h.mu.Unlock()
		}()
	}
	h.mu.Unlock()
	if many {
		_ = s.Reset()
		return
	}
	if !known {
		mux.Refuse(s)
		return
	}
	if ses, err := mux.Accept(s); err == nil {
		h.serveLanes(r, ses)
	}
}

// serveLanes answers the peer's streams of a session until it ends. Either side
// opens its own over the same session, so that a peer that gave one gets one.
func (h *Host) serveLanes(r *remote, ses *mux.Session) {
	h.mu.Lock()
	if r.session == nil || r.session.Ended() {
		r.session = ses
	}
	h.mu.Unlock()
	h.kickPulls(r.id) // what was refused to a stranger may be asked for again
	defer context.AfterFunc(h.ctx, func() { _ = ses.Close() })()
	defer h.dropSession(r.id, ses)
	for {
		s, err := ses.Next()
		if err != nil {
			return
		}
		h.run(func() { h.serveLane(r, s, ses.Streams()) })
	}
}

// serveLane answers one stream of a session, of which there are n.
func (h *Host) serveLane(r *remote, s *mux.Stream, n int) {
	lane, err := mux.ReadLane(s, requestTimeout)
	if err != nil {
		_ = s.Reset()
		return
	}
	h.mu.Lock()
	serve := h.lanes[lane]
	h.mu.Unlock()
	if serve == nil || n > h.limits.PeerStreams {
		if serve != nil {
			h.tellLimit(s, lane, n)
		}
		_ = s.Reset()
		return
	}
	serve(r.id, s)
}

// tellLimit tells who asks for records or blobs that there are too many streams with it.
func (h *Host) tellLimit(s stream, lane byte, n int) {
	var thread []byte
	var err error
	if lane == laneThread {
		var req wire.Subscribe
		req, err = readRequest[wire.Subscribe](s, bufio.NewReader(s), wire.MaxSubscribe)
		thread = req.Thread
	} else {
		var req wire.Follow
		req, err = readRequest[wire.Follow](s, bufio.NewReader(s), wire.MaxRequest)
		thread = req.Thread
	}
	if err != nil {
		return
	}
	w := wire.NewWriter(s)
	why := fmt.Sprintf("The peer has %d streams open with this device, its limit: exchange fewer databases with it.", n)
	if w.Send(refusal{CodeLimit, why}.message(thread)) == nil {
		linger(s)
	}
}

// dropSession forgets a session that has ended or does not work.
func (h *Host) dropSession(p peer.ID, ses *mux.Session) {
	h.mu.Lock()
	if r := h.peers[p]; r != nil && r.session == ses {
		r.session = nil
	}
	h.mu.Unlock()
	_ = ses.Close()
}

// kickPulls has every pull from a peer that waits try again now.
func (h *Host) kickPulls(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.shares {
		if l := s.links[p]; l != nil {
			poke(l.kick)
			poke(l.kickBlobs)
		}
	}
}

// limitError returns err as one that names the limit, if it reports one of libp2p's.
func limitError(err error) error {
	if !errors.Is(err, network.ErrResourceLimitExceeded) {
		return err
	}
	return fault.Errorf(fault.LimitReached, "This device has reached a limit of its network (%w).", err)
}
