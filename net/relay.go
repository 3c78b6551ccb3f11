package net

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/wire"
)

// retryRefused is how long a device waits before it asks a relay again that refused a
// thread; a new credential or connection, and the relay's word that it may be granted
// now, end the wait.
const retryRefused = time.Minute

// A CredentialFunc returns what a device presents to the relay with the given
// device key: fresh at each call, or nil if it has none.
type CredentialFunc func(audience keys.PublicKey) (*keys.Credential, error)

type relayConf struct {
	credential CredentialFunc
	renewed    bool // the configuration is new: ask for every thread again
}

// AddRelay makes the host keep a connection to the relay at addr, which ends in
// its peer ID, and ask it to keep the host's threads. It returns once it has
// begun; [Thread.Status] says what comes of it. A second call for one relay
// replaces the credential. Relays are not remembered across Open.
func (h *Host) AddRelay(ctx context.Context, addr multiaddr.Multiaddr, credential CredentialFunc) error {
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return fault.Errorf(fault.InvalidArgument, "relay address %v: %w", addr, err)
	}
	if _, err := DeviceOf(info.ID); err != nil {
		return err
	}
	if info.ID == h.ID() {
		return fault.Errorf(fault.InvalidArgument, "this node cannot be its own relay")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := h.remote(info.ID)
	r.relay = &relayConf{credential: credential, renewed: true}
	h.greetAgain(r)
	for _, s := range h.shares {
		if !s.relay && s.usesRelay(r.id) {
			s.link(r.id)
			s.status.Ring()
		}
	}
	h.keepConnected(r, info.Addrs)
	h.startAsking(r)
	poke(r.ask)
	return nil
}

// RemoveRelay stops using a relay; what it keeps stays there. It returns
// [ErrNotFound] if the relay is not used.
func (h *Host) RemoveRelay(p peer.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.peers[p]
	if r == nil || r.relay == nil {
		return fault.Of(ErrNotFound, "this node has no relay %q", p)
	}
	r.relay, r.dialing = nil, false
	h.lp.ConnManager().Unprotect(p, "weft")
	poke(r.ask)
	poke(r.dial)
	for _, s := range h.shares {
		if l := s.links[p]; l != nil {
			l.hosted = false
			l.set(func() { l.host = refusal{} })
			l.adjust()
		}
	}
	return nil
}

// usesRelay reports whether the thread is to be kept by relay p. The caller
// holds host.mu.
func (s *share) usesRelay(p peer.ID) bool {
	r := s.host.peers[p]
	return r != nil && r.relay != nil && (s.chosen == nil || s.chosen[p])
}

// SetRelays makes the thread use just the listed relays of its host; until it
// is called, the thread uses all, or none with [Options].ChosenRelays. What an
// unlisted relay keeps stays there. It returns [ErrClosed] once the host is closed.
func (t *Thread) SetRelays(relays []peer.ID) error {
	s := t.share
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	s.chosen = map[peer.ID]bool{}
	for _, p := range relays {
		s.chosen[p] = true
	}
	for p, r := range h.peers {
		if r.relay == nil {
			continue
		}
		if l := s.link(p); !s.usesRelay(p) {
			l.hosted = false
			l.set(func() { l.host = refusal{} })
			l.adjust()
		}
		poke(r.ask)
	}
	return nil
}

// startAsking asks the relay on its present connection, if there is one and
// nobody asks on it yet. The caller holds h.mu.
func (h *Host) startAsking(r *remote) {
	if r.relay == nil || r.conn == nil || r.asking == r.conn {
		return
	}
	ctx := r.conn
	r.asking = ctx
	h.run(func() {
		for n := 0; ; n++ {
			err := h.askRelay(ctx, r)
			if ctx.Err() != nil {
				return
			}
			h.mu.Lock()
			unused := r.relay == nil
			if unused {
				r.asking = nil
			}
			h.mu.Unlock()
			if unused {
				return
			}
			h.notARelay(r, err)
			if !pause(ctx, n, r.ask) {
				return
			}
		}
	})
}

// notARelay notes that a connected peer does not answer as a relay.
func (h *Host) notARelay(r *remote, err error) {
	h.fault(r.id, err)
	h.log.Debug("relay stream ended", "peer", r.id, "error", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.shares {
		if l := s.links[r.id]; l != nil && s.usesRelay(r.id) && !l.hosted {
			l.set(func() {
				if l.host == (refusal{}) {
					l.host = refusal{CodeNotRelay, "The peer does not answer as a relay: check the address."}
				}
			})
		}
	}
}

// An asked is a thread that a relay was asked to keep.
type asked struct {
	next    time.Time // when to ask again; zero: not by time
	refused bool
	again   bool // the relay said so since it was asked
}

// askRelay asks the relay to keep the host's threads, and again when they or
// the credentials change, until the stream ends.
func (h *Host) askRelay(ctx context.Context, r *remote) error {
	s, err := h.OpenStream(ctx, r.id, protoHost)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	answers, done := make(chan answer), make(chan struct{})
	var readErr error
	h.run(func() { defer close(done); readErr = h.readAnswers(ctx, s, answers) })
	defer func() { _ = s.Reset(); <-done }()
	w := wire.NewWriter(s)
	state := map[ThreadID]*asked{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := h.askDue(w, r, state); err != nil {
			return err
		}
		if wait, ok := nextAsk(state, h.now()); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case a := <-answers:
			h.answer(r, a, state)
		case <-r.ask:
		case <-timer.C:
		case <-done:
			return readErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nextAsk returns how long until the first thread is to be asked for again.
func nextAsk(state map[ThreadID]*asked, now time.Time) (wait time.Duration, ok bool) {
	for _, a := range state {
		if a.next.IsZero() {
			continue
		}
		if d := max(a.next.Sub(now), 0); !ok || d < wait {
			wait, ok = d, true
		}
	}
	return wait, ok
}

// askDue sends the requests that are due.
func (h *Host) askDue(w *wire.Writer, r *remote, state map[ThreadID]*asked) error {
	h.mu.Lock()
	conf := r.relay
	if conf == nil {
		h.mu.Unlock()
		return errors.New("the relay is no longer used")
	}
	if conf.renewed {
		conf.renewed = false
		clear(state)
	}
	var due []*share
	for id, s := range h.shares {
		if s.relay || !s.usesRelay(r.id) {
			delete(state, id)
			continue
		}
		a := state[id]
		if a == nil || !a.next.IsZero() && !h.now().Before(a.next) {
			state[id] = &asked{}
			s.link(r.id)
			due = append(due, s)
		}
	}
	h.mu.Unlock()
	for _, s := range due {
		req, err := h.hostRequest(s, r.device, conf.credential)
		if err != nil {
			state[s.thread.ID()].next = h.now().Add(retryRefused)
			h.refusedBy(r, s, credentialRefusal(err))
			continue
		}
		if err := w.Send(req); err != nil {
			return err
		}
	}
	return nil
}

// credentialRefusal says why there is no credential to present.
func credentialRefusal(err error) refusal {
	if r, ok := errors.AsType[*keys.Refusal](err); ok {
		return refusal{r.Code, r.Message}
	}
	return refusal{keys.CodeNoCredential, "No credential could be made for the relay: " + err.Error()}
}

// hostRequest makes what the relay is asked: the thread, how it begins, and by what
// right.
func (h *Host) hostRequest(s *share, audience keys.PublicKey, credential CredentialFunc) (wire.HostRequest, error) {
	id, t := s.thread.ID(), s.thread
	req := wire.HostRequest{Version: wire.Version, Thread: id[:], Genesis: t.Genesis(), ServiceKey: t.ServiceKey()}
	req.Invite, req.Proof = s.invite, s.proof
	if credential == nil {
		return req, nil
	}
	c, err := credential(audience)
	if err != nil || c == nil {
		return req, err
	}
	req.Credential, err = c.Encode()
	return req, err
}

// An answer is a relay's, to a request or of its own accord.
type answer struct {
	thread  ThreadID
	until   time.Time // zero: no end
	refusal refusal
	again   bool // what was refused may be asked for again
}

// readAnswers reads what the relay says until the stream ends.
func (h *Host) readAnswers(ctx context.Context, s network.Stream, out chan<- answer) error {
	r := bufio.NewReader(s)
	for {
		kind, body, err := wire.Read(r)
		if err != nil {
			return err
		}
		a, err := decodeAnswer(kind, body)
		if err != nil {
			return err
		}
		select {
		case out <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func decodeAnswer(kind wire.Kind, body []byte) (a answer, err error) {
	var thread []byte
	switch kind {
	case wire.KindHosted:
		var m wire.Hosted
		m, err = wire.As[wire.Hosted](kind, body)
		thread = m.Thread
		if m.Until != 0 {
			a.until = keys.Millis(min(m.Until, 1<<48-1)).Time()
		}
	case wire.KindRefused:
		var m wire.Refused
		m, err = wire.As[wire.Refused](kind, body)
		thread, a.refusal = m.Thread, refusalIn(m)
	case wire.KindAgain:
		var m wire.Again
		m, err = wire.As[wire.Again](kind, body)
		thread, a.again = m.Thread, true
	default:
		err = fault.Of(wire.ErrFrame, "frame of type %d, want an answer", kind)
	}
	if err == nil {
		a.thread, err = wire.ThreadOf(thread)
	}
	return a, err
}

// answer takes a relay's answer.
func (h *Host) answer(r *remote, a answer, state map[ThreadID]*asked) {
	was := state[a.thread]
	if was == nil {
		return // no longer wanted
	}
	h.mu.Lock()
	s := h.shares[a.thread]
	h.mu.Unlock()
	if s == nil {
		return
	}
	now := h.now()
	if a.again {
		if was.again = true; was.refused {
			was.next = now
		}
		return
	}
	if was.refused = a.refusal != (refusal{}); was.refused && was.again { // said while it decided
		was.next, was.again = now, false
		h.refusedBy(r, s, a.refusal)
		return
	}
	if was.refused {
		was.next = now.Add(retryRefused)
		h.refusedBy(r, s, a.refusal)
		return
	}
	was.next = time.Time{}
	if !a.until.IsZero() { // renew when a quarter of the time is left
		was.next = now.Add(max(a.until.Sub(now)/4*3, time.Second))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := s.link(r.id)
	l.hosted = s.usesRelay(r.id)
	l.set(func() { l.host = refusal{} })
	l.adjust()
}

// refusedBy notes that a relay will not keep a thread, for its status.
func (h *Host) refusedBy(r *remote, s *share, why refusal) {
	h.log.Info("relay refused a thread", "relay", r.id, "thread", s.thread.ID(), "code", why.code, "reason", why.text)
	h.mu.Lock()
	defer h.mu.Unlock()
	l := s.link(r.id)
	l.hosted = false
	l.set(func() { l.host = why })
	l.adjust()
}
