// Package stack puts a libp2p host together that speaks QUIC and TCP. libp2p.New
// does the same by a framework, and links transports that are not used, of which
// WebRTC is the largest.
package stack

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
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	quicgo "github.com/quic-go/quic-go"
)

// Options say what a host is.
type Options struct {
	Key        crypto.PrivKey
	Listen     []multiaddr.Multiaddr // nil means loopback, at ports that are free
	Alone      bool                  // it listens nowhere, and nobody is let in or out
	Limiter    rcmgr.Limiter
	PerAddress rcmgr.Option
	Conns      int // at three quarters of it and more, connections of little use are ended
}

// New starts a host that dials nobody by itself and reports metrics nowhere.
func New(o Options) (_ host.Host, _ network.ResourceManager, err error) {
	listen := o.Listen
	if listen == nil && !o.Alone {
		if listen, err = Loopback(); err != nil {
			return nil, nil, err
		}
	}
	resources, err := rcmgr.NewResourceManager(o.Limiter, o.PerAddress, rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, nil, fmt.Errorf("resource limits: %w", err)
	}
	s := &stack{key: o.Key, resources: resources}
	s.closes(resources)
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("start libp2p: %w", err)
		}
	}()
	if o.Alone {
		s.gater = offline{}
	}
	if err := s.makeSwarm(); err != nil {
		return nil, nil, err
	}
	if err := s.addTransports(); err != nil {
		return nil, nil, err
	}
	conns, err := connmgr.NewConnManager(o.Conns*3/4, o.Conns*7/8, connmgr.WithGracePeriod(20*time.Second))
	if err != nil {
		return nil, nil, fmt.Errorf("connection manager: %w", err)
	}
	s.closes(conns)
	h, err := basichost.NewHost(s.swarm, &basichost.HostOpts{EventBus: s.events, ConnManager: conns, UserAgent: "weft"})
	if err != nil {
		return nil, nil, err
	}
	s.closes(h)
	if !o.Alone {
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

// Loopback returns the listen addresses that are used when none are given.
func Loopback() ([]multiaddr.Multiaddr, error) {
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

// offline is a libp2p connection gater that lets nobody in or out.
type offline struct{}

func (offline) InterceptPeerDial(peer.ID) bool { return false }

func (offline) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return false }

func (offline) InterceptAccept(network.ConnMultiaddrs) bool { return false }

func (offline) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return false
}

func (offline) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return false, 0 }
