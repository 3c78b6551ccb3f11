// Package mux carries many streams between two hosts over one: libp2p's transports
// take no more than 256 streams of a peer (QUIC), or set 256 KiB aside for each (yamux
// over TCP).
//
//	Ask ► a stream of the two hosts      the other side knows the peer: byte 1 ◄ Accept
//	                                     it does not: byte 0 ◄ Refuse, and the stream ends
//	yamux within it, both ways           each stream begins with a byte, its lane: what
//	                                     it is for
//
// Who is known, what lanes there are and how many streams may be is the host's.
package mux

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-yamux/v5"

	"github.com/weftdb/weft/internal/fault"
)

// ErrStranger reports that the peer gives this host no session.
var ErrStranger = fault.New(fault.NotMember, "the peer does not know this device yet")

// A Carrier is the stream that a session runs over: one of libp2p's.
type Carrier interface {
	io.ReadWriteCloser
	Reset() error
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// A Session is many streams over one. It owns the carrier.
type Session struct{ mux *yamux.Session }

// A Stream is one of a session's.
type Stream = yamux.Stream

// Ask begins a session on a stream that was opened for one, once the other side has
// said, within patience, that it gives one; [ErrStranger] is that it does not.
func Ask(c Carrier, patience time.Duration) (*Session, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		_ = c.Reset()
		return nil, err
	}
	_ = c.SetReadDeadline(time.Time{})
	if answer[0] != 1 {
		_ = c.Reset()
		return nil, ErrStranger
	}
	return begin(c, yamux.Client)
}

// Accept answers Ask with a session.
func Accept(c Carrier) (*Session, error) {
	if _, err := c.Write([]byte{1}); err != nil {
		_ = c.Reset()
		return nil, err
	}
	return begin(c, yamux.Server)
}

// Refuse answers Ask with none.
func Refuse(c Carrier) {
	_, _ = c.Write([]byte{0})
	_ = c.Close()
}

// begin starts one side of the multiplexer.
func begin(c Carrier, side func(net.Conn, *yamux.Config, func() (yamux.MemoryManager, error)) (*yamux.Session, error)) (*Session, error) {
	m, err := side(conn{c}, config(), new(budget).share)
	if err != nil {
		_ = c.Reset()
		return nil, err
	}
	return &Session{mux: m}, nil
}

// Open opens a stream for a lane.
func (s *Session) Open(ctx context.Context, lane byte) (*Stream, error) {
	st, err := s.mux.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := st.Write([]byte{lane}); err != nil {
		return nil, err
	}
	return st, nil
}

// Next waits for a stream that the other side opens; it is to be read by [ReadLane]
// first. An error says that the session has ended.
func (s *Session) Next() (*Stream, error) { return s.mux.AcceptStream() }

// ReadLane reads what a stream is for, within patience.
func ReadLane(s *Stream, patience time.Duration) (byte, error) {
	_ = s.SetReadDeadline(time.Now().Add(patience))
	var lane [1]byte
	_, err := io.ReadFull(s, lane[:])
	_ = s.SetReadDeadline(time.Time{})
	return lane[0], err
}

// Streams returns how many streams are open, of both sides.
func (s *Session) Streams() int { return s.mux.NumStreams() }

// Ended reports whether the session has ended.
func (s *Session) Ended() bool { return s.mux.IsClosed() }

// Close ends the session, its streams and its carrier. It may be called twice.
func (s *Session) Close() error { return s.mux.Close() }

// config returns the settings of the multiplexer. The connection below notices by
// itself when the peer is gone.
func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.MaxIncomingStreams = 1 << 20 // the host counts them, and says what the limit is
	c.AcceptBacklog = 1024
	c.MaxStreamWindowSize = 4 << 20
	c.ConnectionWriteTimeout = 2 * time.Minute // a slow link is not a dead one
	c.LogOutput = io.Discard
	return c
}

// A conn is a carrier as the multiplexer wants it.
type conn struct{ Carrier }

type nowhere struct{}

func (nowhere) Network() string { return "libp2p" }
func (nowhere) String() string  { return "libp2p" }

// Close ends the stream at once, both ways.
func (c conn) Close() error       { return c.Reset() }
func (conn) LocalAddr() net.Addr  { return nowhere{} }
func (conn) RemoteAddr() net.Addr { return nowhere{} }
