// Package node is one Weft node: what an app embeds and what the daemon runs.
// It joins the packages that do not know each other.
//
//	Node ── databases     a thread (net) and the fold of its records (db)
//	  ├──── buckets       collections and blobs of a database
//	  ├──── mail          the node's mailbox; as a relay, others' mail
//	  ├──── relays        who keeps its threads, and the API keys shown to them
//	  ├──── apiKeys       as a relay: who may use it
//	  └──── surfaces      ways in from outside, such as node/rpc; each request is
//	                      one question to Authorize
//
// [Open] reads as the list of its parts in start order; [Node.Close] ends them
// in the reverse order. The layout of a home, who may call the node from outside
// and what errors mean outward: docs/design/node.md.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/addrs"
	"github.com/weftdb/weft/node/internal/apikeys"
	"github.com/weftdb/weft/node/internal/check"
	"github.com/weftdb/weft/node/internal/homedir"
	"github.com/weftdb/weft/node/internal/homenote"
	"github.com/weftdb/weft/node/internal/hosting"
	"github.com/weftdb/weft/node/internal/sessions"
	"github.com/weftdb/weft/node/internal/sizes"
)

// Config says where a node lives and what it offers. With only Home set, it
// suits embedding: nothing listens but p2p on loopback.
type Config struct {
	// Home is the node's data folder, made if there is none; required without Memory.
	Home string
	// Memory keeps everything only until Close, for tests: the store is in memory, keys and
	// large files are in a temporary folder, which takes the place of Home.
	Memory bool
	// Listen holds the p2p addresses, such as "/ip4/0.0.0.0/tcp/4600"; nil means QUIC and
	// TCP on loopback, at ports that the system chooses.
	Listen []string
	// Surfaces are the ways in from outside; none suits embedding.
	Surfaces []Surface
	// Relay lets others that show an API key of this node keep threads and mail
	// here.
	Relay bool
	// MDNS finds peers on the local network.
	MDNS bool
	// Passphrase opens the key files, which a new home seals with it; nil means
	// they are not sealed. A home that was made without one does not use it.
	Passphrase []byte
	// MaxLoaded is how many databases are held in memory at once; beyond it the
	// longest unused are closed until they are used again. What is in use stays, so
	// more may be held for a while. 0 means 64, negative any number.
	MaxLoaded int
	// SpaceBytes is how much a hub keeps for one user of an account, in bytes; 0 means 1 GiB.
	SpaceBytes int64
	// Idle is how long a database stays in memory unused; 0 means a minute,
	// negative for ever.
	Idle time.Duration
	// ScrubEvery is how often everything on disk is read and checked in the background;
	// 0 means once a day, negative never.
	ScrubEvery time.Duration
	// ScrubRate is how many bytes that may read in a second; 0 means 4 MiB.
	ScrubRate int64
	// LockWait is how long to wait for another process to close the home; 0
	// means not at all.
	LockWait time.Duration
	home     *homedir.Home                 // that is open already; its owner closes it
	offline  bool                          // a home that is checked listens nowhere and connects to nobody
	storeDir string                        // in the home, of a copy that is being repaired; "" is the store
	overlay  func(store.Store) store.Store // in tests, laid over the store; nil is none

	// Engine is the store's engine, "badger" or "pebble"; "" means the one that
	// the home has, or pebble. It is fixed when the home is made.
	Engine string
	// Log receives what an operator may want to know; nil discards it.
	Log *slog.Logger
}

// A Node is an open node. It is safe for concurrent use.
type Node struct {
	cfg  Config
	log  *slog.Logger
	home *homedir.Home
	self homedir.Self

	token    keys.Secret
	store    store.Store
	note     *homenote.Note
	apiKeys  *apikeys.Table
	policy   *keys.Policy
	sessions *sessions.Table
	hosting  *hosting.Table
	clock    *clock.Clock
	host     *net.Host
	mail     *mail

	life   context.Context //nolint:containedctx // ends with Close; background work runs under it
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything that runs in the background

	loading slots         // databases that load in the background
	crowd   chan struct{} // holds one signal: a database was loaded

	naming sync.Mutex // held while a database is made, joined or removed

	blobSize sizes.Folder

	mu        sync.Mutex // guards what follows
	databases map[string]*database
	damaged   map[string]*damaged    // databases that are not served
	lost      map[net.ThreadID]error // threads that the store cannot give
	harm      []error                // damage in what no database owns
	checked   *Diagnosis             // the last check
	relayKeys map[peer.ID]relayKey
	servers   []served
	closed    bool
}

// Open opens the node that lives in c.Home. ctx bounds Open only; the node lives until
// Close, which the caller owes. Each part may use those before it in the list. If one
// fails, Close ends those that began, which is why it copes with parts that are not there;
// a home that was made stays.
func Open(ctx context.Context, c Config) (*Node, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		cfg: c, log: c.Log, clock: new(clock.Clock),
		databases: map[string]*database{}, damaged: map[string]*damaged{}, lost: map[net.ThreadID]error{},
		relayKeys: map[peer.ID]relayKey{},
		loading:   make(slots, loadAtOnce), crowd: make(chan struct{}, 1),
	}
	n.life, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := checkEngine(c.Engine); err != nil { // before anything is made
		return nil, err
	}
	for _, start := range []func(context.Context) error{
		n.startHome,
		n.startStore,
		n.startNote,
		n.startPolicy,
		n.startHost,
		n.startIdle,
		n.openDatabases,
		n.nameThreads,
		n.openRelays,
		n.startNoting,
		n.startRebuilding,
		n.startScrub,
		n.startPruning,
		n.startRoom,
		n.startMail,
		n.startSurfaces,
	} {
		if err := start(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// startHome locks the home and reads who the node is.
func (n *Node) startHome(ctx context.Context) (err error) {
	if n.home = n.cfg.home; n.home == nil {
		if n.cfg.Memory {
			if n.cfg.Home, err = memoryHome(n.cfg); err != nil {
				return err
			}
		}
		if n.home, err = homedir.Open(ctx, n.cfg.Home, n.cfg.LockWait); err != nil {
			return err
		}
	}
	if n.home.Unsealed() {
		n.cfg.Passphrase = nil // an open home stays open: it would need both
	}
	if n.self, err = n.home.Self(n.cfg.Passphrase, time.Now()); err != nil {
		return err
	}
	n.checked = check.Read(n.home.Path(homedir.FileCheck))
	n.token, err = n.home.Token()
	return err
}

// startStore opens the store, which tells metKey of every key whose value it finds damaged.
func (n *Node) startStore(context.Context) (err error) {
	if n.cfg.Memory {
		n.store, err = engines.OpenMemory()
		return err
	}
	n.store, err = engines.Open(n.home.Path(cmp.Or(n.cfg.storeDir, homedir.DirStore)), &engines.Options{
		Engine: n.cfg.Engine, Damaged: n.metKey,
		Logf: func(format string, args ...any) { n.log.Warn(fmt.Sprintf(format, args...)) },
	})
	if err == nil && n.cfg.overlay != nil {
		n.store = n.cfg.overlay(n.store)
	}
	if n.home.Fell != 0 && len(n.cfg.Surfaces) > 0 {
		n.log.Warn("the last daemon was ended from outside, or by an error that its last lines tell: what it acknowledged is in the store; weft doctor checks it", "process", n.home.Fell)
	}
	return err
}

// startPolicy makes the one decision that every way in asks for.
func (n *Node) startPolicy(context.Context) error {
	n.apiKeys = apikeys.In(n.store, prefixAPIKey)
	n.policy = &keys.Policy{Keys: n.apiKeys, Admin: n.Identity()}
	n.sessions = sessions.New(sessions.Options{Policy: n.policy, Audience: n.self.Device.Public().Sign})
	n.hosting = hosting.In(n.store, prefixHub, func(may bool) (keys.Secret, bool, error) {
		return n.home.HubKey(n.cfg.Passphrase, may)
	})
	return nil
}

// startHost opens the network. Only a relay has a gate: without Relay nobody's threads are
// taken.
func (n *Node) startHost(ctx context.Context) (err error) {
	listen, err := addrs.Listen(ctx, n.cfg.Listen)
	if err != nil {
		return err
	}
	o := net.Options{
		Store: n.store, Dir: n.home.Path(homedir.DirBlobs), Device: n.self.Device, Certificate: n.self.Certificate,
		Clock: n.clock, Listen: listen, MDNS: n.cfg.MDNS, Log: n.log,
		Hub:          n.hosting.Device,
		Offline:      n.cfg.offline,
		Damaged:      n.lose,
		ChosenRelays: true, // a new thread is offered to no relay that is not for it
	}
	if n.cfg.Relay {
		o.Relay, o.Gate = true, n.policy
	}
	n.host, err = net.Open(ctx, o)
	return err
}

// Close ends every part of the node and waits for it; it may be called twice. First nobody
// comes in any more, then the background is told to end; the databases end before the host,
// as folds write through threads, and the store after all that writes to it. The note says
// that it is complete up to the end of the store only of a store that was closed well, with
// nothing damaged: a repair takes it at its word. An error of one part does not keep the
// others from ending. A second call returns at once, also while the first is still waiting.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	servers := n.servers
	n.mu.Unlock()

	var errs []error
	if len(n.cfg.Surfaces) > 0 && n.home != nil {
		errs = append(errs, n.home.Retract())
	}
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	if n.mail != nil {
		errs = append(errs, n.mail.close())
	}
	n.cancel()
	whole := len(n.Damages()) == 0
	for _, d := range n.all() {
		errs = append(errs, d.Close())
		whole = whole && !d.rebuilding.Load()
	}
	noted := n.note != nil && n.host != nil
	if noted {
		err := n.noteProgress()
		if err != nil { // it is of the next open, not of what was done
			n.log.Warn("the home's note is not written", "error", err)
		}
		whole = whole && err == nil
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	n.wg.Wait()
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if noted && whole && errors.Join(errs...) == nil && len(n.Damages()) == 0 {
		if err := n.noteEnd(); err != nil {
			n.log.Warn("the home's note is not written", "error", err)
		}
	}
	if n.note != nil {
		errs = append(errs, n.note.Close())
	}
	if n.home != nil && n.cfg.home == nil {
		errs = append(errs, n.home.Close())
	}
	if n.cfg.Memory {
		errs = append(errs, os.RemoveAll(n.cfg.Home))
	}
	return errors.Join(errs...)
}

// background runs f unless the node is closed; Close cancels its context and waits for it.
// The lock orders it with Close: what begins is known to the wait group before Close waits.
func (n *Node) background(f func(ctx context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.wg.Go(func() { f(n.life) })
	}
}

// Err returns nil, or ErrClosed once the node ends: it tells a stream whose
// context has ended who ended it.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	return nil
}

// Log returns where the node says what an operator may want to know.
func (n *Node) Log() *slog.Logger { return n.log }

// Home returns the node's data folder.
func (n *Node) Home() string { return n.home.Dir() }

// Identity returns the identity whose node this is.
func (n *Node) Identity() keys.PublicKey { return n.self.Certificate.Identity }

// Peer returns the libp2p peer ID of this device.
func (n *Node) Peer() peer.ID { return n.host.ID() }

// Kept returns how many threads this node keeps for others, as a relay.
func (n *Node) Kept() int { return len(n.host.Kept()) }

// Created reports whether Open made the identity or the device.
func (n *Node) Created() bool { return n.self.Created }

// Sealed reports whether a passphrase seals the home's key files.
func (n *Node) Sealed() bool { return n.cfg.Passphrase != nil }

// Addrs returns the multiaddrs at which peers reach this node, each with its
// peer ID.
func (n *Node) Addrs() []string {
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.String())
	}
	return out
}

// Connect connects to a peer, whose multiaddr ends in /p2p and its ID, as [Node.Addrs] gives
// it; what both have is exchanged from then on.
func (n *Node) Connect(ctx context.Context, addr string) error {
	a, _, err := addrs.Peer(addr)
	if err != nil {
		return err
	}
	return n.host.Connect(ctx, a)
}

// Token returns the administrator's token, which a request carries.
func (n *Node) Token() keys.Secret { return n.token }

// release is the version of a program that is given to people; the linker sets it.
var release string

// Version returns the release that this program is built from.
func Version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
