package net

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	stdnet "net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-yamux/v5"

	"github.com/weftdb/weft/internal/fault"
)

// A stream is what an exchange runs over: one of libp2p's, or one of a session.
type stream interface {
	io.ReadWriter
	Close() error
	CloseWrite() error
	Reset() error
	SetReadDeadline(time.Time) error
}

// A session carries the exchanges of many threads between two hosts over one
// stream of their connection: libp2p's transports take no more than 256 streams
// of a peer (QUIC), or set 256 KiB aside for each (yamux over TCP).
//
//	dialler ► /weft/session/1            the other side knows the peer: byte 1 ◄
//	                                     it does not: byte 0 ◄, and the stream ends
//	yamux within it, both ways           each stream begins with a byte: what it is for
//
// A host gives sessions only to peers that it knows ([Host.Known]), and greets a peer
// that it gets to know, which then asks again.
type session struct{ mux *yamux.Session }

// What a stream of a session is for: its first byte.
const (
	laneThread = 1 // records, as on protocol thread
	laneBlobs  = 2 // blobs of a thread
)

// maxSessions bounds the sessions that a peer opens: one, and those of connections that
// are not known for dead yet.
const maxSessions = 4

// errStranger reports that the peer gives this host no session.
var errStranger = fault.New(fault.NotMember, "the peer does not know this device yet")

// sessionWindows bounds what the windows of one session's streams may grow by,
// beyond the 256 KiB that each begins with.
const sessionWindows = 16 << 20

// muxConfig returns the settings of the multiplexer within a session. The
// connection below notices by itself when the peer is gone.
func muxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.MaxIncomingStreams = 1 << 20 // serveLane counts them, and says what the limit is
	c.AcceptBacklog = 1024
	c.MaxStreamWindowSize = 4 << 20
	c.ConnectionWriteTimeout = 2 * time.Minute // a slow link is not a dead one
	c.LogOutput = io.Discard
	return c
}

// A windowBudget lets the windows of a session grow while there is room.
type windowBudget struct {
	mu   sync.Mutex // guards used
	used int
}

// A windowShare is what one stream has of a budget.
type windowShare struct {
	budget *windowBudget
	mine   int
	opened bool
}

func (b *windowBudget) share() (yamux.MemoryManager, error) { return &windowShare{budget: b}, nil }

// ReserveMemory takes the window that a stream opens with as it is, and grants more
// while there is room.
func (s *windowShare) ReserveMemory(size int, _ uint8) error {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if !s.opened {
		s.opened = true
		return nil
	}
	if s.budget.used+size > sessionWindows {
		return fault.Errorf(fault.LimitReached, "the windows of the session are at their limit")
	}
	s.budget.used += size
	s.mine += size
	return nil
}

// ReleaseMemory gives back a part.
func (s *windowShare) ReleaseMemory(size int) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	size = min(size, s.mine)
	s.budget.used -= size
	s.mine -= size
}

// Done gives back the rest.
func (s *windowShare) Done() { s.ReleaseMemory(1 << 30) }

// A carrier is the stream that a session runs over, as the multiplexer wants it.
type carrier struct{ network.Stream }

type nowhere struct{}

func (nowhere) Network() string { return "libp2p" }
func (nowhere) String() string  { return "libp2p" }

// Close ends the stream at once, both ways.
func (c carrier) Close() error          { return c.Reset() }
func (carrier) LocalAddr() stdnet.Addr  { return nowhere{} }
func (carrier) RemoteAddr() stdnet.Addr { return nowhere{} }

// openLane opens a stream to a peer for an exchange, over their session, which is
// opened if need be. It returns errStranger if the peer does not know this device.
func (h *Host) openLane(ctx context.Context, p peer.ID, lane byte) (stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for range 2 { // the session at hand may have ended unnoticed
		ses, fresh, err := h.session(ctx, p)
		if err != nil {
			return nil, err
		}
		if n := ses.mux.NumStreams(); n >= h.limits.PeerStreams {
			return nil, fault.Errorf(fault.LimitReached, "This device has %d streams open with the peer, the limit: exchange fewer databases with it.", n)
		}
		s, err := ses.mux.OpenStream(ctx)
		if err == nil {
			_, err = s.Write([]byte{lane})
		}
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
func (h *Host) session(ctx context.Context, p peer.ID) (ses *session, fresh bool, err error) {
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
	if ses != nil && !ses.mux.IsClosed() {
		return ses, false, nil
	}
	if shy {
		return nil, false, errStranger
	}
	s, err := h.OpenStream(ctx, p, protoSession)
	if err != nil {
		return nil, false, err
	}
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	var answer [1]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil {
		_ = s.Reset()
		return nil, false, err
	}
	_ = s.SetReadDeadline(time.Time{})
	if answer[0] != 1 {
		_ = s.Reset()
		h.mu.Lock()
		if r.greetings == greetings { // else it may have got to know us meanwhile
			r.shy = h.now().Add(pauseLongest)
		}
		h.mu.Unlock()
		return nil, false, errStranger
	}
	mux, err := yamux.Client(carrier{s}, muxConfig(), new(windowBudget).share)
	if err != nil {
		_ = s.Reset()
		return nil, false, err
	}
	ses = &session{mux: mux}
	if !h.enter() {
		_ = mux.Close()
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
		_, _ = s.Write([]byte{0})
		_ = s.Close()
		return
	}
	if _, err := s.Write([]byte{1}); err != nil {
		_ = s.Reset()
		return
	}
	mux, err := yamux.Server(carrier{s}, muxConfig(), new(windowBudget).share)
	if err != nil {
		_ = s.Reset()
		return
	}
	h.serveLanes(r, &session{mux: mux})
}

// serveLanes answers the peer's streams of a session until it ends. Either side
// opens its own over the same session, so that a peer that gave one gets one.
func (h *Host) serveLanes(r *remote, ses *session) {
	h.mu.Lock()
	if r.session == nil || r.session.mux.IsClosed() {
		r.session = ses
	}
	h.mu.Unlock()
	h.kickPulls(r.id) // what was refused to a stranger may be asked for again
	defer context.AfterFunc(h.ctx, func() { _ = ses.mux.Close() })()
	defer h.dropSession(r.id, ses)
	for {
		s, err := ses.mux.AcceptStream()
		if err != nil {
			return
		}
		h.run(func() { h.serveLane(r, s, ses.mux.NumStreams()) })
	}
}

// serveLane answers one stream of a session, of which there are n.
func (h *Host) serveLane(r *remote, s *yamux.Stream, n int) {
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	var lane [1]byte
	if _, err := io.ReadFull(s, lane[:]); err != nil {
		_ = s.Reset()
		return
	}
	h.mu.Lock()
	serve := h.lanes[lane[0]]
	h.mu.Unlock()
	if serve == nil || n > h.limits.PeerStreams {
		if serve != nil && lane[0] == laneThread {
			h.tellLimit(s, n)
		}
		_ = s.Reset()
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	serve(r.id, s)
}

// tellLimit tells a subscriber that there are too many streams with it.
func (h *Host) tellLimit(s stream, n int) {
	var req subscribe
	if h.readRequest(s, bufio.NewReader(s), frameSubscribe, maxSubscribe, &req) != nil {
		return
	}
	w := &frameWriter{s: s}
	why := fmt.Sprintf("The peer has %d streams open with this device, its limit: exchange fewer databases with it.", n)
	if w.send(frameRefused, refused{Thread: req.Thread, Code: string(CodeLimit), Message: why}) == nil {
		linger(s)
	}
}

// dropSession forgets a session that has ended or does not work.
func (h *Host) dropSession(p peer.ID, ses *session) {
	h.mu.Lock()
	if r := h.peers[p]; r != nil && r.session == ses {
		r.session = nil
	}
	h.mu.Unlock()
	_ = ses.mux.Close()
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
