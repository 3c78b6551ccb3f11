package net

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	libp2pconnmgr "github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	quicgo "github.com/quic-go/quic-go"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"

	tls "github.com/libp2p/go-libp2p/p2p/security/tls"

	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"

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

// loopback returns the listen addresses that are used when none are given.
func loopback() ([]multiaddr.Multiaddr, error) {
	var addrs []multiaddr.Multiaddr
	for _, s := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// newLibp2p starts a libp2p host that speaks QUIC and TCP, dials nobody by
// itself and reports metrics nowhere.
//
// It is put together here: libp2p.New does the same by a framework, and links
// transports that are not used, of which WebRTC is the largest.
func newLibp2p(key crypto.PrivKey, listen []multiaddr.Multiaddr, bounds limits, alone bool) (_ host.Host, _ network.ResourceManager, err error) {
	if listen == nil && !alone {
		if listen, err = loopback(); err != nil {
			return nil, nil, err
		}
	}
	resources, err := rcmgr.NewResourceManager(bounds.limiter(), bounds.perAddress(), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, nil, fmt.Errorf("resource limits: %w", err)
	}
	s := &stack{key: key, resources: resources}
	s.closes(resources)
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("start libp2p: %w", err)
		}
	}()
	if alone {
		s.gater = offline{}
	}
	if err := s.makeSwarm(); err != nil {
		return nil, nil, err
	}
	if err := s.addTransports(); err != nil {
		return nil, nil, err
	}
	conns, err := connmgr.NewConnManager(bounds.Conns*3/4, bounds.Conns*7/8, connmgr.WithGracePeriod(20*time.Second))
	if err != nil {
		return nil, nil, fmt.Errorf("connection manager: %w", err)
	}
	s.closes(conns)
	h, err := basichost.NewHost(s.swarm, &basichost.HostOpts{EventBus: s.events, ConnManager: conns, UserAgent: "weft"})
	if err != nil {
		return nil, nil, err
	}
	s.closes(h)
	if !alone {
		if err := s.swarm.Listen(listen...); err != nil {
			return nil, nil, err
		}
	}
	h.Start()
	return &wholeHost{BasicHost: h, stack: s}, resources, nil
}

// A stack is what a host stands on, in the order in which it is made.
type stack struct {
	key       crypto.PrivKey
	resources network.ResourceManager
	gater     libp2pconnmgr.ConnectionGater // nil lets everybody in and out
	events    event.Bus
	swarm     *swarm.Swarm
	made      []io.Closer
}

// closes notes what is closed with the stack; what was made last is closed first.
func (s *stack) closes(c io.Closer) { s.made = append(s.made, c) }

func (s *stack) close() error {
	var err error
	for _, c := range slices.Backward(s.made) {
		err = errors.Join(err, c.Close())
	}
	s.made = nil
	return err
}

// makeSwarm makes what dials and listens.
func (s *stack) makeSwarm() error {
	id, err := peer.IDFromPublicKey(s.key.GetPublic())
	if err != nil {
		return err
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return err
	}
	s.closes(peers)
	if err := errors.Join(peers.AddPrivKey(id, s.key), peers.AddPubKey(id, s.key.GetPublic())); err != nil {
		return err
	}
	s.events = eventbus.NewBus()
	options := []swarm.Option{swarm.WithDialTimeout(15 * time.Second), swarm.WithResourceManager(s.resources)}
	if s.gater != nil {
		options = append(options, swarm.WithConnectionGater(s.gater))
	}
	s.swarm, err = swarm.NewSwarm(id, peers, s.events, options...)
	return err
}

// addTransports adds QUIC, and TCP under TLS 1.3 or Noise. A connection counts
// from its first packet, before it is anybody's.
func (s *stack) addTransports() error {
	reset, err := s.derive("libp2p quic stateless reset key")
	if err != nil {
		return err
	}
	token, err := s.derive("libp2p quic token generator key")
	if err != nil {
		return err
	}
	sockets, err := quicreuse.NewConnManager(quicgo.StatelessResetKey(reset), quicgo.TokenGeneratorKey(token),
		quicreuse.ConnContext(func(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
			addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quicgo.Version1)
			if err != nil {
				addr = nil // the limits decide without it
			}
			scope, err := s.resources.OpenConnection(network.DirInbound, false, addr)
			if err != nil {
				return ctx, err
			}
			ctx = network.WithConnManagementScope(ctx, scope)
			context.AfterFunc(ctx, scope.Done)
			return ctx, nil
		}),
		quicreuse.VerifySourceAddress(s.resources.VerifySourceAddress))
	if err != nil {
		return err
	}
	s.closes(sockets)
	s.closes(s.swarm) // before its sockets
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	secureTLS, err := tls.New(tls.ID, s.key, muxers)
	if err != nil {
		return err
	}
	secureNoise, err := noise.New(noise.ID, s.key, muxers)
	if err != nil {
		return err
	}
	up, err := upgrader.New([]sec.SecureTransport{secureTLS, secureNoise}, muxers, nil, s.resources, s.gater)
	if err != nil {
		return err
	}
	overQUIC, err := quic.NewTransport(s.key, sockets, nil, s.gater, s.resources)
	if err != nil {
		return err
	}
	overTCP, err := tcp.NewTCPTransport(up, s.resources, nil)
	if err != nil {
		return err
	}
	return errors.Join(s.swarm.AddTransport(overQUIC), s.swarm.AddTransport(overTCP))
}

// derive derives a key of QUIC from the host's, so that a host that restarts
// can end what it has forgotten: RFC 9000, section 10.3.
func (s *stack) derive(info string) (key [32]byte, err error) {
	raw, err := s.key.Raw()
	if err != nil {
		return key, err
	}
	out, err := hkdf.Key(sha256.New, raw, nil, info, len(key))
	copy(key[:], out)
	return key, err
}

// A wholeHost closes all that it stands on.
type wholeHost struct {
	*basichost.BasicHost

	stack *stack
}

func (h *wholeHost) Close() error { return h.stack.close() }

// fullAddrs returns the addresses of h, each with its peer ID.
func fullAddrs(h host.Host) []multiaddr.Multiaddr {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		return nil
	}
	return addrs
}

// offline is a libp2p connection gater that lets nobody in or out.
type offline struct{}

func (offline) InterceptPeerDial(peer.ID) bool { return false }

func (offline) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return false }

func (offline) InterceptAccept(network.ConnMultiaddrs) bool { return false }

func (offline) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return false
}

func (offline) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return false, 0 }
