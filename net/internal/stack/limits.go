package stack

import (
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// Limits bound what the network may take of the machine. They are fixed numbers,
// not shares of what the machine has.
type Limits struct {
	Conns        int   // connections of all peers, half of them from one address; 0 means 256
	ConnsPerPeer int   // 0 means 4
	Streams      int   // libp2p's streams of all peers; 0 means 4096
	PeerStreams  int   // exchanges with one peer, of which a database takes four; 0 means 4096
	Memory       int64 // bytes that libp2p may set aside for buffers; 0 means 256 MiB
}

// Streams of libp2p that one peer may have: one each for the tags, the session,
// requests to a relay, and some for mail and what an embedder adds.
const peerStreams = 64

// windowBytes is what the multiplexer over TCP sets aside for each stream.
const windowBytes = 256 << 10

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Conns, 256)
	def(&l.ConnsPerPeer, 4)
	def(&l.Streams, 4096)
	def(&l.PeerStreams, 4096)
	if l.Memory == 0 {
		l.Memory = 256 << 20
	}
	return l
}

// Limiter returns the limits as libp2p wants them. A peer has those of a stranger, with so many
// streams, until the host knows it; connections that have not finished their
// handshake are few.
func (l Limits) Limiter(strangers int) rcmgr.Limiter {
	conns, streams := rcmgr.LimitVal(l.Conns), rcmgr.LimitVal(l.Streams)
	perPeer, memory := rcmgr.LimitVal(l.ConnsPerPeer), rcmgr.LimitVal64(l.Memory)
	all := rcmgr.ResourceLimits{
		Streams: streams, StreamsInbound: streams, StreamsOutbound: streams,
		Conns: conns, ConnsInbound: conns, ConnsOutbound: conns, FD: conns, Memory: memory,
	}
	transient := rcmgr.ResourceLimits{
		Streams: streams / 4, StreamsInbound: streams / 4, StreamsOutbound: streams / 4,
		Conns: conns / 4, ConnsInbound: conns / 4, ConnsOutbound: conns / 4, FD: conns / 4, Memory: memory / 4,
	}
	known := rcmgr.ResourceLimits{
		Streams: 2 * peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
		Conns: perPeer, ConnsInbound: perPeer, ConnsOutbound: perPeer, FD: perPeer, Memory: memory / 4,
	}
	stranger := known
	few := rcmgr.LimitVal(strangers)
	stranger.Streams, stranger.StreamsInbound, stranger.StreamsOutbound = 2*few, few, few
	stranger.Memory = 2 * rcmgr.LimitVal64(strangers) * windowBytes
	return rcmgr.NewFixedLimiter(rcmgr.PartialLimitConfig{
		System: all, Transient: transient, AllowlistedSystem: all, AllowlistedTransient: transient,
		ServiceDefault: all, ServicePeerDefault: known, ProtocolDefault: all, ProtocolPeerDefault: known, PeerDefault: stranger,
		Conn:   rcmgr.ResourceLimits{Streams: 2 * peerStreams, Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: memory / 4},
		Stream: rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: memory / 4},
	}.Build(rcmgr.DefaultLimits.Scale(0, 0)))
}

// Known returns the limits of a peer that is no stranger.
func (l Limits) Known() rcmgr.Limit {
	return &rcmgr.BaseLimit{
		Streams: 2 * peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
		Conns: l.ConnsPerPeer, ConnsInbound: l.ConnsPerPeer, ConnsOutbound: l.ConnsPerPeer, FD: l.ConnsPerPeer,
		Memory: l.Memory / 4,
	}
}

// PerAddress returns how many connections come from one address, or from one
// network of IPv6: many devices share the address of an office.
func (l Limits) PerAddress() rcmgr.Option {
	return rcmgr.WithLimitPerSubnet(
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: max(l.Conns/2, 1)}},
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: max(l.Conns/2, 1)}},
	)
}
