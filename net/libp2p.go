package net

import (
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/net/internal/stack"
	"github.com/weftdb/weft/net/internal/strangers"
)

// Protocols of this package.
const (
	protoThread  protocol.ID = "/weft/thread/1"  // records: subscribe, runs, acks; between hosts of which one does not know the other
	protoSession protocol.ID = "/weft/session/1" // records and blobs of all threads, between hosts that know each other
	protoHello   protocol.ID = "/weft/hello/1"   // tags of the threads of a host
	protoHost    protocol.ID = "/weft/host/1"    // requests to a relay to keep threads
)

// limits bounds what the network may take of the machine. They are fixed
// numbers, not shares of what the machine has.
type limits struct {
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

// withDefaults fills in what is zero.
func (l limits) withDefaults() limits {
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

// limiter returns the limits as libp2p wants them. A peer has those of a stranger
// until the host knows it ([Host.raise]); connections that have not finished their
// handshake are few.
func (l limits) limiter() rcmgr.Limiter {
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
	stranger.Streams, stranger.StreamsInbound, stranger.StreamsOutbound = 2*strangers.Streams, strangers.Streams, strangers.Streams
	stranger.Memory = 2 * strangers.Streams * windowBytes
	return rcmgr.NewFixedLimiter(rcmgr.PartialLimitConfig{
		System: all, Transient: transient, AllowlistedSystem: all, AllowlistedTransient: transient,
		ServiceDefault: all, ServicePeerDefault: known, ProtocolDefault: all, ProtocolPeerDefault: known, PeerDefault: stranger,
		Conn:   rcmgr.ResourceLimits{Streams: 2 * peerStreams, Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: memory / 4},
		Stream: rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: memory / 4},
	}.Build(rcmgr.DefaultLimits.Scale(0, 0)))
}

// known returns the limits of a peer that is no stranger.
func (l limits) known() rcmgr.Limit {
	return &rcmgr.BaseLimit{
		Streams: 2 * peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
		Conns: l.ConnsPerPeer, ConnsInbound: l.ConnsPerPeer, ConnsOutbound: l.ConnsPerPeer, FD: l.ConnsPerPeer,
		Memory: l.Memory / 4,
	}
}

// perAddress returns how many connections come from one address, or from one
// network of IPv6: many devices share the address of an office.
func (l limits) perAddress() rcmgr.Option {
	return rcmgr.WithLimitPerSubnet(
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: max(l.Conns/2, 1)}},
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: max(l.Conns/2, 1)}},
	)
}

// newLibp2p starts a host within bounds; one that is alone speaks with nobody.
func newLibp2p(key crypto.PrivKey, listen []multiaddr.Multiaddr, bounds limits, alone bool) (host.Host, network.ResourceManager, error) {
	return stack.New(stack.Options{
		Key: key, Listen: listen, Alone: alone, Limiter: bounds.limiter(), PerAddress: bounds.perAddress(), Conns: bounds.Conns,
	})
}

// fullAddrs returns the addresses of h, each with its peer ID.
func fullAddrs(h host.Host) []multiaddr.Multiaddr {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		return nil
	}
	return addrs
}
