package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/addrs"
)

// A mail is the node's side of messages: its identity's inbox, which opens when
// there is a mailbox, and, on a relay, the post that keeps others' mail.
type mail struct {
	n *Node

	opening sync.Mutex // held while the mailbox is made or opened

	mu      sync.Mutex // guards what follows
	inbox   *inbox.Inbox
	follows map[network.Stream]context.CancelFunc // streams served to others
}

// startMail opens the mailbox, if the identity has one here, and the post.
func (n *Node) startMail(ctx context.Context) error {
	n.mail = &mail{n: n, follows: map[network.Stream]context.CancelFunc{}}
	if n.cfg.Relay {
		n.mail.servePost()
	}
	if _, err := n.lookup(mailboxName); errors.Is(err, ErrNotFound) {
		return nil
	}
	_, err := n.mail.open(ctx)
	if isDamage(err) {
		return nil // it is known, and told to whoever asks for the inbox
	}
	return err
}

// Inbox returns the inbox of the node's identity, making its mailbox if there
// is none.
func (n *Node) Inbox(ctx context.Context) (*inbox.Inbox, error) { return n.mail.open(ctx) }

// current returns the inbox if it is open.
func (m *mail) current() *inbox.Inbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inbox
}

func (m *mail) wake() {
	if b := m.current(); b != nil {
		b.Wake()
	}
}

// open makes the mailbox once, however many ask: opening is held for all of it. mu is held
// for the field only, so that current never waits for a mailbox that is being made.
func (m *mail) open(ctx context.Context) (*inbox.Inbox, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	if b := m.current(); b != nil {
		return b, nil
	}
	if m.n.self.Identity == nil {
		return nil, fault.Of(ErrInvalid, "this home has no identity key, which opens mail: read and send mail in the home that has it")
	}
	d, err := m.n.Database(ctx, mailboxName)
	if errors.Is(err, ErrNotFound) {
		d, err = m.n.createDatabase(ctx, mailboxName)
	}
	if err != nil {
		return nil, err
	}
	box, err := inbox.OpenMailbox(ctx, d)
	if err != nil {
		return nil, err
	}
	b, err := inbox.Open(ctx, inbox.Config{
		Mailbox: box, Identity: m.n.Identity(), SealingKey: m.n.self.Identity.SealingKey(),
		Device: m.n.self.Device, Certificate: m.n.self.Certificate, Transport: transport{m.n},
		Credential: m.n.mailCredential, Relays: m.n.relayAddrs,
		Logf: func(format string, args ...any) { m.n.log.Warn(fmt.Sprintf(format, args...)) },
	})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.inbox = b
	m.mu.Unlock()
	return b, nil
}

// close takes no more streams, tells those that are served to end, and ends the inbox.
func (m *mail) close() error {
	m.n.host.Unhandle(inbox.Protocol)
	m.mu.Lock()
	b := m.inbox
	for _, cancel := range m.follows {
		cancel()
	}
	m.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.Close()
}

// mailCredential makes what is shown to a peer that keeps mail.
func (n *Node) mailCredential(addr string, device keys.PublicKey) (*keys.Credential, error) {
	_, id, err := addrs.Peer(addr)
	if err != nil {
		return nil, err
	}
	return n.credential(id, device)
}

// relayAddrs returns the addresses of the node's relays.
func (n *Node) relayAddrs() []string {
	relays, err := n.Relays()
	if err != nil {
		n.log.Error("read relays", "error", err)
	}
	var out []string
	for _, r := range relays {
		out = append(out, r.Addr.String())
	}
	return out
}

// A transport opens streams to peers that keep mail.
type transport struct{ n *Node }

// Open returns a stream to the peer at a multiaddr, and its device: the address has the
// peer ID, which stands for the device's key and which the connection has proved.
func (t transport) Open(ctx context.Context, to string) (io.ReadWriteCloser, keys.PublicKey, error) {
	addr, id, err := addrs.Peer(to)
	if err != nil {
		return nil, keys.PublicKey{}, err
	}
	h := t.n.host
	if err := h.Connect(ctx, addr); err != nil {
		return nil, keys.PublicKey{}, fault.Of(ErrUnreachable, "cannot reach %s: %s", to, net.DialReason(err))
	}
	s, err := h.OpenStream(ctx, id, inbox.Protocol)
	if err != nil {
		return nil, keys.PublicKey{}, fmt.Errorf("%s does not take mail: %w", to, err)
	}
	device, err := net.DeviceOf(id)
	if err != nil {
		_ = s.Reset()
		return nil, keys.PublicKey{}, err
	}
	return mailStream{s}, device, nil
}

// A mailStream is a libp2p stream whose Close ends reads too.
type mailStream struct{ network.Stream }

// Trust says that the peer has shown a credential.
func (s mailStream) Trust() { net.Trust(s.Stream) }

func (s mailStream) Close() error {
	return errors.Join(s.CloseWrite(), s.CloseRead())
}

// servePost keeps mail for those who show an API key.
func (m *mail) servePost() {
	server := &inbox.Server{
		Post: inbox.NewPost(m.n.store, []byte(prefixMail), inbox.PostOptions{}), Gate: m.n.policy, Self: m.n.self.Device.Public().Sign,
	}
	m.n.background(func(ctx context.Context) { m.expire(ctx, server.Post) })
	m.n.host.Handle(inbox.Protocol, func(s network.Stream) {
		device, err := net.DeviceOf(s.Conn().RemotePeer())
		if err != nil {
			_ = s.Reset()
			return
		}
		m.serve(m.n.life, server, s, device)
	})
}

// serve answers one stream. It is among follows while it lasts, by which close ends it.
func (m *mail) serve(ctx context.Context, server *inbox.Server, s network.Stream, device keys.PublicKey) {
	ctx, cancel := context.WithCancel(ctx)
	m.mu.Lock()
	m.follows[s] = cancel
	m.mu.Unlock()
	defer func() {
		cancel()
		m.mu.Lock()
		delete(m.follows, s)
		m.mu.Unlock()
	}()
	if err := server.Serve(ctx, mailStream{s}, device); err != nil && ctx.Err() == nil {
		m.n.log.Info("mail stream ended", "peer", s.Conn().RemotePeer(), "error", err)
		_ = s.Reset()
	}
}

// expire forgets mail that nobody fetched.
func (m *mail) expire(ctx context.Context, p *inbox.Post) {
	now := time.NewTicker(time.Hour)
	defer now.Stop()
	for {
		if _, err := p.Expire(); err != nil && ctx.Err() == nil {
			m.n.log.Error("expire mail", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-now.C:
		}
	}
}

// SetupInbox has the node's relays keep mail for its identity, and returns the
// address at which others reach it.
func (n *Node) SetupInbox(ctx context.Context) (inbox.Address, error) {
	a := inbox.Address{Identity: n.Identity()}
	b, err := n.Inbox(ctx)
	if err != nil {
		return a, err
	}
	var errs []error
	for _, addr := range n.relayAddrs() {
		if err := b.Setup(ctx, addr); err != nil {
			errs = append(errs, err)
		} else if a.At == "" {
			a.At = addr
		}
	}
	if a.At == "" && len(errs) == 0 {
		return a, fault.Of(ErrInvalid, "add a relay first: a mailbox needs one")
	}
	if a.At == "" {
		return a, errors.Join(errs...)
	}
	for _, err := range errs {
		n.log.Warn("set up mailbox", "error", err)
	}
	return a, nil
}

// Messages returns the messages of the inbox when there are at least min. The watch is
// opened before the first look, so a message that comes in between ends the wait.
func (n *Node) Messages(ctx context.Context, min int) ([]inbox.Received, error) {
	b, err := n.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	d, err := n.Database(ctx, mailboxName)
	if err != nil {
		return nil, err
	}
	w, err := d.Watch(ctx, db.WatchOptions{})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for {
		list, err := b.Mailbox().List(ctx, inbox.ListOptions{})
		if err != nil || len(list) >= min {
			slices.SortFunc(list, func(x, y inbox.Received) int { return strings.Compare(x.ID.String(), y.ID.String()) })
			return list, err
		}
		if _, err := w.Next(ctx); err != nil {
			return nil, fmt.Errorf("%d of %d messages arrived: %w", len(list), min, errors.Join(ctx.Err(), err))
		}
	}
}

// WatchMessages calls f with each message of the inbox, in the order of their IDs, and then
// with each as it comes, until ctx ends or f fails. A message is told once in a call: what
// was told is remembered by ID and sender, as others choose the IDs.
func (n *Node) WatchMessages(ctx context.Context, f func(inbox.Received) error) error {
	b, err := n.Inbox(ctx)
	if err != nil {
		return err
	}
	d, err := n.Database(ctx, mailboxName)
	if err != nil {
		return err
	}
	w, err := d.Watch(ctx, db.WatchOptions{})
	if err != nil {
		return err
	}
	defer w.Close()
	type name struct {
		id   inbox.ID
		from keys.PublicKey
	}
	told := map[name]bool{}
	for {
		list, err := b.Mailbox().List(ctx, inbox.ListOptions{})
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(x, y inbox.Received) int { return strings.Compare(x.ID.String(), y.ID.String()) })
		for _, x := range list {
			if k := (name{x.ID, x.From}); !told[k] {
				told[k] = true
				if err := f(x); err != nil {
					return err
				}
			}
		}
		if _, err := w.Next(ctx); err != nil {
			return err
		}
	}
}
