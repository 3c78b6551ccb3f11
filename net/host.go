package net

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/memory"
	"github.com/weftdb/weft/net/internal/stack"
	"github.com/weftdb/weft/net/internal/strangers"
	"github.com/weftdb/weft/net/internal/thread"
	"github.com/weftdb/weft/net/internal/wire"
)

// A Gate decides whether a device may have a relay keep a thread.
// [keys.Policy] is one.
type Gate interface {
	// Decide permits or refuses one request; a refusal is a [keys.Refusal].
	Decide(keys.Request) (keys.Decision, error)
}

// Options configures a [Host]. Store, Dir, Device and Certificate are needed.
type Options struct {
	Store       Store
	Dir         string // folder of the blob files; made if need be
	Device      *keys.Device
	Certificate *keys.Certificate // of Device, by its identity
	Clock       *Clock            // nil means a new one

	// Hub makes the host a hub, which has a device of its own for each identity: it gives that of an
	// identity and a generation, always the same, or nil. It may be asked at any time.
	Hub func(identity keys.PublicKey, generation uint64) (*keys.Device, error)

	// Listen holds the addresses to listen on; nil means loopback, QUIC and
	// TCP, at ports that the system chooses. An empty slice listens nowhere.
	Listen []multiaddr.Multiaddr
	// Relay makes the host keep threads for devices that Gate admits. Without a
	// Gate it refuses all.
	Relay bool
	Gate  Gate
	// ChosenRelays makes a thread use no relay of the host until
	// [Thread.SetRelays] lists some; else it uses all until then.
	ChosenRelays bool
	// Damaged is told of threads that the store cannot give, which are left out; ID
	// zero says that some are not known by their ID. Without it Open fails.
	Damaged func(id ThreadID, err error)
	// Offline makes the host listen nowhere and connect to nobody.
	Offline bool
	// MDNS announces the host on the local network and finds others there.
	MDNS   bool
	Log    *slog.Logger // nil discards
	limits stack.Limits // zero but in tests
}

// Locks of a host are taken in this order, none held while a
// disk is synced or the network waited for, but deciding and the lock of a [wire.Writer]:
//
//	deciding → mu → link.mu → bell.Bell, the locks of a thread
//	share.counting → mu → the locks of a thread, see [Thread]
//
// Those of a [strangers.Budget] and of a [mux.Session] are taken last.
// No callback of an [Attachment] and no Gate runs under mu; a Gate runs under deciding.

// A Host is one libp2p host with the threads of one device. It is safe for
// concurrent use.
type Host struct {
	opt    Options
	log    *slog.Logger
	clock  *clock.Clock
	lp     host.Host
	self   keys.PublicKey
	env    *thread.Env
	ctx    context.Context //nolint:containedctx // the life of the host
	cancel context.CancelFunc
	mdns   interface{ Close() error }

	tipsPerFrame int // that it sends

	limits    stack.Limits
	resources network.ResourceManager
	strangers *strangers.Budget
	memory    memory.Memory
	lanes     map[byte]func(peer.ID, stream) // what answers the streams of sessions

	deciding sync.Mutex    // one decision of a relay at a time
	ending   chan struct{} // invites may have ended
	banned   bell.Bell     // a peer was disconnected for its faults
	grants   bell.Bell     // what a relay permits may end at another time
	met      bell.Bell     // a peer came or went

	mu     sync.Mutex // guards the fields below, and what says so of links
	closed bool
	lost   bool  // the store could not give some threads
	full   error // why nothing can be stored; nil while it can
	shares map[ThreadID]*share
	halves map[ThreadID]bool // entries that failed, and may have left something
	peers  map[peer.ID]*remote
	// members counts the threads that a device is a member of.
	members map[keys.PublicKey]int
	// forgetAt is the number of peers at which strangers are forgotten next.
	forgetAt int
	wg       sync.WaitGroup // every goroutine of the host
}

// Open starts a host with the threads that its store holds. The caller owes
// Close, and closes the store after it.
func Open(ctx context.Context, opt Options) (*Host, error) {
	if opt.Store == nil || opt.Device == nil || opt.Certificate == nil || opt.Dir == "" {
		return nil, fault.Errorf(fault.InvalidArgument, "missing store, folder, device or certificate of the host")
	}
	if opt.Certificate.Sign != opt.Device.Public().Sign {
		return nil, fault.Errorf(fault.InvalidArgument, "the certificate is of another device")
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(opt.Device.PrivateKey())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	h := &Host{
		ending: make(chan struct{}, 1), opt: opt, log: opt.Log, clock: opt.Clock, self: opt.Device.Public().Sign,
		shares: map[ThreadID]*share{}, halves: map[ThreadID]bool{}, peers: map[peer.ID]*remote{}, members: map[keys.PublicKey]int{},
		limits: opt.limits.WithDefaults(), tipsPerFrame: wire.TipsPerFrame, memory: memory.Of(opt.Store),
	}
	h.strangers = strangers.New(h.Known, requestTimeout)
	h.lanes = map[byte]func(peer.ID, stream){laneThread: h.serveThread, laneBlobs: h.serveBlobs}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.clock == nil {
		h.clock = &clock.Clock{}
	}
	h.env, err = thread.NewEnv(opt.Store, opt.Dir, opt.Device, opt.Certificate, h.clock, h.log)
	if err != nil {
		return nil, err
	}
	h.env.Hub = opt.Hub
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.start(ctx, key); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// start opens the threads before the network: a peer that connects at once finds them.
func (h *Host) start(ctx context.Context, key crypto.PrivKey) (err error) {
	if err := h.loadThreads(ctx); err != nil {
		return err
	}
	if h.lp, h.resources, err = newLibp2p(key, h.opt.Listen, h.limits, h.opt.Offline); err != nil {
		return err
	}
	h.Handle(protoHello, h.serveHello)
	h.Handle(protoThread, func(s network.Stream) { h.serveThread(s.Conn().RemotePeer(), s) })
	h.Handle(protoSession, h.serveSession)
	if h.opt.Relay {
		h.Handle(protoHost, h.serveHost)
		h.run(h.expireGrants)
	}
	h.lp.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { h.connection(c.RemotePeer()); h.met.Ring() },
		DisconnectedF: func(_ network.Network, c network.Conn) { h.connection(c.RemotePeer()); h.met.Ring() },
	})
	identities, err := h.lp.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("follow identities: %w", err)
	}
	h.run(func() { h.watchIdentities(identities) })
	h.run(h.closeEnded)
	h.mu.Lock()
	for _, s := range h.shares {
		h.begin(s)
	}
	h.mu.Unlock()
	if err := h.wantPeers(); err != nil && h.opt.Damaged == nil {
		return err
	} else if err != nil {
		h.opt.Damaged(ThreadID{}, fault.Errorf(fault.Corrupt, "the addresses of peers cannot be read: %w", err))
	}
	if h.opt.MDNS {
		return h.startMDNS()
	}
	return nil
}

// Handle answers a protocol: serve owns each stream, in a goroutine that Close
// waits for; Close ends the streams. A second call replaces serve. A peer that this
// host does not know has at most 16 streams, and sends at most 16 KiB before it is
// answered, until serve calls [Trust].
func (h *Host) Handle(p protocol.ID, serve func(network.Stream)) {
	h.lp.SetStreamHandler(p, func(s network.Stream) {
		if !h.enter() {
			_ = s.Reset()
			return
		}
		defer h.wg.Done()
		h.receive(s, serve)
	})
}

// Unhandle answers a protocol no longer. Streams that are open stay.
func (h *Host) Unhandle(p protocol.ID) { h.lp.RemoveStreamHandler(p) }

// enter counts the calling goroutine as the host's, unless the host is closed.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

// run starts a goroutine of the host. It may be called with or without h.mu by
// a goroutine that is itself counted, or under h.mu while h is not closed.
func (h *Host) run(f func()) {
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		f()
	}()
}

// Close stops all exchange, waits for it to end and closes the threads. It may
// be called twice.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	shares := make([]*share, 0, len(h.shares))
	for _, s := range h.shares {
		shares = append(shares, s)
	}
	h.mu.Unlock()
	h.cancel()
	var err error
	if h.mdns != nil {
		err = h.mdns.Close()
	}
	if h.lp != nil {
		err = errors.Join(err, h.lp.Close())
	}
	h.wg.Wait()
	for _, s := range shares {
		s.thread.Close()
	}
	h.env.Close()
	return err
}

// ID returns the peer ID of the host, which is its device's public key.
func (h *Host) ID() peer.ID { return h.lp.ID() }

// Addrs returns the addresses at which the host can be dialled, each with its
// peer ID.
func (h *Host) Addrs() []multiaddr.Multiaddr { return fullAddrs(h.lp) }

// Connect dials an address that ends in a peer ID. Threads that both sides hold
// are found and exchanged.
func (h *Host) Connect(ctx context.Context, addr multiaddr.Multiaddr) error {
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return fault.Errorf(fault.InvalidArgument, "address %v: %w", addr, err)
	}
	switch err := h.lp.Connect(ctx, *info); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("connect: %w", err)
	default:
		return fault.Errorf(fault.Unreachable, "the peer is not reached: %s", DialReason(err))
	}
}

// Connected reports whether there is a connection to a peer.
func (h *Host) Connected(p peer.ID) bool { return h.lp.Network().Connectedness(p) == network.Connected }

// Routes returns the remote addresses of the connections to a peer, the newest
// first.
func (h *Host) Routes(p peer.ID) []multiaddr.Multiaddr {
	var addrs []multiaddr.Multiaddr
	for _, c := range h.connections(p) {
		addrs = append(addrs, c.RemoteMultiaddr())
	}
	return addrs
}

// OpenStream opens a stream to a connected peer, over the newest connection that
// works: when a peer's network broke, an older one may take a minute to be known
// for dead. It dials nobody; [Host.Connect] does.
func (h *Host) OpenStream(ctx context.Context, p peer.ID, id protocol.ID) (network.Stream, error) {
	err := network.ErrNoConn
	for _, c := range h.connections(p) {
		var s network.Stream
		if s, err = openOn(ctx, c, id); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("open %s to %s: %w", id, p, err)
}

// connections returns the connections to a peer, the newest first.
func (h *Host) connections(p peer.ID) []network.Conn {
	conns := h.lp.Network().ConnsToPeer(p)
	slices.SortStableFunc(conns, func(a, b network.Conn) int { return b.Stat().Opened.Compare(a.Stat().Opened) })
	return conns
}

// newest returns the newest connection to a peer, nil if there is none.
func (h *Host) newest(p peer.ID) network.Conn {
	for _, c := range h.connections(p) {
		return c
	}
	return nil
}

// openOn opens a stream on one connection. A dead one does not answer, so that the
// protocol is agreed on before the stream is returned, within a time.
func openOn(ctx context.Context, c network.Conn, id protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, limitError(err)
	}
	undo := context.AfterFunc(ctx, func() { _ = s.Reset() })
	err = errors.Join(multistream.SelectProtoOrFail(id, s), s.SetProtocol(id))
	if !undo() || err != nil {
		_ = s.Reset()
		return nil, cmp.Or(err, ctx.Err())
	}
	return s, nil
}

func (h *Host) now() time.Time {
	if h.clock.Wall != nil {
		return h.clock.Wall()
	}
	return time.Now()
}

// DeviceOf returns the device key of a peer, which its ID holds. It refuses what is
// no key of ours: another algorithm, or a point that anybody could sign for.
func DeviceOf(p peer.ID) (keys.PublicKey, error) {
	pub, err := p.ExtractPublicKey()
	if err != nil {
		return keys.PublicKey{}, fault.Errorf(fault.InvalidArgument, "peer %s: %w", p, err)
	}
	raw, err := pub.Raw()
	if err != nil || pub.Type() != crypto.Ed25519 || len(raw) != len(keys.PublicKey{}) {
		return keys.PublicKey{}, fault.Errorf(fault.InvalidArgument, "peer %s has no Ed25519 key", p)
	}
	k := keys.PublicKey(raw)
	if err := k.Check(); err != nil {
		return keys.PublicKey{}, fmt.Errorf("peer %s: %w", p, err)
	}
	return k, nil
}

// PeerOf is the inverse of [DeviceOf].
func PeerOf(k keys.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", fmt.Errorf("device %s: %w", k, err)
	}
	return peer.IDFromPublicKey(pub)
}
