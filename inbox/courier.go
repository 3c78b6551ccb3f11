package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// Config is what an Inbox works with. All but the last three are required.
type Config struct {
	Mailbox     *Mailbox
	Identity    keys.PublicKey    // whose inbox it is
	SealingKey  keys.SealingKey   // of the identity
	Device      *keys.Device      // this device
	Certificate *keys.Certificate // of this device
	Transport   Transport
	// Credential returns what to present to a peer, or nil if there is no API
	// key for it.
	Credential func(addr string, peer keys.PublicKey) (*keys.Credential, error)
	// Relays returns the multiaddrs of this node's relays: where messages go
	// whose address names no peer.
	Relays func() []string
	// OnMessage, if not nil, is called with each message once it is filed.
	OnMessage func(Message)
	// Logf takes what nobody waits for, one line each; nil discards it.
	Logf func(format string, args ...any)
	// Now is the time; nil means time.Now.
	Now func() time.Time
}

// Times between attempts when a peer cannot be reached, and between looks for
// receipts of accepted messages.
const (
	retryMin = time.Second
	retryMax = time.Minute
)

// An Inbox sends what is queued in a mailbox and files what its peers hold, in
// the background until Close. It is safe for concurrent use.
type Inbox struct {
	c      Config
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // to the sender
	turn   chan struct{} // held while messages are sent: one pass at a time

	mu      sync.Mutex               // guards what follows
	kicks   map[string]chan struct{} // to each follower: try again now
	peers   map[string]PeerStatus
	changed bell.Bell // rung when peers changes
	closed  bool
}

// A PeerStatus says how a peer that keeps this person's messages is doing.
type PeerStatus struct {
	Addr   string
	State  string // "following", "caught up", "refused", "unreachable"
	Reason string // of refused and unreachable
	Since  time.Time
}

// Open starts an inbox. ctx bounds Open only; the caller owes Close.
func Open(ctx context.Context, c Config) (*Inbox, error) {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	peers, err := c.Mailbox.Peers(ctx)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &Inbox{
		c: c, cancel: cancel, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		kicks: map[string]chan struct{}{}, peers: map[string]PeerStatus{},
	}
	b.wg.Go(func() { b.run(life) })
	for _, p := range peers {
		b.follow(life, p)
	}
	return b, nil
}

// Close ends the background work and waits for it; it may be called twice.
func (b *Inbox) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
	return nil
}

func (b *Inbox) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Mailbox returns the mailbox that messages are filed in.
func (b *Inbox) Mailbox() *Mailbox { return b.c.Mailbox }

// Wake has the inbox try now what it would retry later: call it when a peer
// became reachable or a key was added.
func (b *Inbox) Wake() {
	kick(b.wake)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.kicks {
		kick(c)
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Setup has the peer at a multiaddr keep this person's messages, and follows it
// from now on.
func (b *Inbox) Setup(ctx context.Context, addr string) error {
	if b.isClosed() {
		return ErrClosed
	}
	client, cred, err := b.open(ctx, addr)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Register(ctx, cred); err != nil {
		return fmt.Errorf("set up at %s: %w", addr, err)
	}
	if err := b.c.Mailbox.AddPeer(ctx, addr); err != nil {
		return err
	}
	kick(b.wake) // the run loop starts the follower
	return nil
}

// Send seals a message, queues it durably and returns it; delivery goes on in
// the background, and [Inbox.Flush] tries it at once.
func (b *Inbox) Send(ctx context.Context, to Address, body []byte) (Message, error) {
	if b.isClosed() {
		return Message{}, ErrClosed
	}
	now := time.UnixMilli(b.c.Now().UnixMilli()).UTC()
	m := Message{ID: ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()), From: b.c.Identity, To: to.Identity, Time: now, Body: body}
	e, err := Seal(m, b.c.Device, b.c.Certificate)
	if err != nil {
		return m, err
	}
	p, err := e.Encode()
	if err != nil {
		return m, err
	}
	if err := b.c.Mailbox.queue(ctx, m, to.At, p); err != nil {
		return m, err
	}
	kick(b.wake)
	return m, nil
}

// run sends what is queued when woken and now and then, and follows new peers.
func (b *Inbox) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := retryMin; ; {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			wait = retryMin
		case <-timer.C:
		}
		peers, err := b.c.Mailbox.Peers(ctx)
		for _, p := range peers {
			b.follow(ctx, p)
		}
		rest, ferr := b.flush(ctx)
		if err = errors.Join(err, ferr); err != nil && ctx.Err() == nil {
			b.c.Logf("inbox: %v", err)
		}
		if rest == 0 && err == nil {
			wait = retryMax // somebody else's device may have queued one
		}
		timer.Reset(wait)
		wait = min(2*wait, retryMax)
	}
}

// Flush makes one attempt at every message that is queued, and looks for
// receipts of those that are accepted. Attempts that fail are no error: the
// messages stay queued, with the reason.
func (b *Inbox) Flush(ctx context.Context) error {
	_, err := b.flush(ctx)
	return err
}

// flush returns how many messages are still queued or accepted.
func (b *Inbox) flush(ctx context.Context) (int, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := b.c.Mailbox.Sweep(ctx, b.c.Now()); err != nil {
		return 0, err
	}
	pending, err := b.c.Mailbox.pending(ctx)
	if err != nil {
		return 0, err
	}
	pass := &pass{b: b, clients: map[string]*peerClient{}}
	defer pass.close()
	rest := 0
	for _, s := range pending {
		state, relay, reason := pass.attempt(ctx, s)
		if err := ctx.Err(); err != nil {
			return len(pending), err
		}
		if state == Queued || state == Accepted {
			rest++
		}
		if state == s.State && reason == s.Reason {
			continue
		}
		if err := b.c.Mailbox.progress(ctx, s.ID, state, relay, reason); err != nil {
			return rest, err
		}
	}
	return rest, nil
}

// open opens a stream to a peer and finds what to present to it.
func (b *Inbox) open(ctx context.Context, addr string) (*Client, *keys.Credential, error) {
	stream, peer, err := b.c.Transport.Open(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("reach %s: %w", addr, err)
	}
	client := NewClient(stream)
	cred, err := b.c.Credential(addr, peer)
	if err != nil {
		_ = client.Close()
		return nil, nil, fmt.Errorf("credential for %s: %w", addr, err)
	}
	return client, cred, nil
}

// A pass is one attempt at the pending messages, over one stream a peer.
type pass struct {
	b       *Inbox
	clients map[string]*peerClient
}

type peerClient struct {
	*Client
	cred *keys.Credential
	err  error
}

func (p *pass) close() {
	for _, c := range p.clients {
		if c.Client != nil {
			_ = c.Close()
		}
	}
}

func (p *pass) client(ctx context.Context, addr string) *peerClient {
	c := p.clients[addr]
	if c == nil {
		c = new(peerClient)
		c.Client, c.cred, c.err = p.b.open(ctx, addr)
		p.clients[addr] = c
	}
	return c
}

// attempt takes one message further, to its relay or recipient, and returns where it is.
func (p *pass) attempt(ctx context.Context, s Sent) (state State, relay, reason string) {
	if !s.Time.After(p.b.c.Now().Add(-Expiry)) {
		return Expired, s.Relay, "nobody fetched it in time"
	}
	if s.State == Accepted {
		return p.look(ctx, s)
	}
	return p.deposit(ctx, s)
}

// deposit offers a message to the peers that may keep it, until one takes it.
func (p *pass) deposit(ctx context.Context, s Sent) (State, string, string) {
	targets := []string{s.At}
	if s.At == "" {
		targets = p.b.c.Relays()
	}
	reason := "this node has no relay: add one, or name the recipient's peer"
	for _, addr := range targets {
		c := p.client(ctx, addr)
		err := c.err
		if err == nil {
			err = c.Deposit(ctx, c.cred, s.Envelope)
		}
		if err == nil {
			return Accepted, addr, ""
		}
		reason = addr + ": " + err.Error()
		p.broken(c, err)
	}
	return Queued, "", reason
}

// broken keeps a stream that failed from being used again; one whose peer
// refused is fine.
func (p *pass) broken(c *peerClient, err error) {
	if keys.CodeOf(err) == "" {
		c.err = err
	}
}

// look asks the peer that took a message for the recipient's receipt.
func (p *pass) look(ctx context.Context, s Sent) (State, string, string) {
	c := p.client(ctx, s.Relay)
	if c.err != nil {
		return Accepted, s.Relay, s.Reason
	}
	digest := digestOf(s.Envelope)
	held, err := c.Status(ctx, s.To, []Digest{digest})
	if err != nil {
		p.broken(c, err)
		return Accepted, s.Relay, s.Reason
	}
	if !held[0].Known {
		return Queued, s.Relay, s.Relay + " has it no more"
	}
	if held[0].Receipt == nil {
		return Accepted, s.Relay, ""
	}
	r, err := DecodeReceipt(held[0].Receipt)
	if err == nil && (r.Digest != digest || r.Certificate.Identity != s.To) {
		err = fault.Of(ErrForged, "the receipt is for another message")
	}
	if err != nil {
		return Accepted, s.Relay, s.Relay + " shows a bad receipt: " + err.Error()
	}
	if r.Outcome == OutcomeRefused {
		return Refused, s.Relay, "the recipient's device could not open it"
	}
	return Delivered, s.Relay, ""
}

// Peers returns how the peers that keep this person's messages are doing.
func (b *Inbox) Peers() []PeerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]PeerStatus, 0, len(b.peers))
	for _, s := range b.peers {
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y PeerStatus) int {
		if x.Addr < y.Addr {
			return -1
		}
		return 1
	})
	return out
}

// Changed returns a channel that is closed when Peers changes after the call.
func (b *Inbox) Changed() <-chan struct{} { return b.changed.Wait() }
