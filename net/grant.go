package net

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/strangers"
	"github.com/weftdb/weft/net/internal/wire"
)

// A grant is a device's permission to have a thread kept here. It lasts as long
// as the stream on which it was asked for, the decision and the key. A device may have
// one on each of several streams: it has two connections for a while, or runs twice.
type grant struct {
	credential *keys.Credential
	invite     []byte // proven invite, or nil
	until      time.Time
	out        *wire.Writer
}

// tell says why the permission ended to who asked for it.
func (g *grant) tell(id ThreadID, why refusal) { _ = g.out.Send(why.message(id[:])) }

// A refusedKey is a thread that was refused on a stream.
type refusedKey struct {
	thread ThreadID
	out    *wire.Writer
}

// serveHost answers a device's requests to keep threads, until its stream ends.
func (h *Host) serveHost(s network.Stream) {
	p := s.Conn().RemotePeer()
	defer context.AfterFunc(h.ctx, func() { _ = s.Reset() })()
	defer s.Reset() //nolint:errcheck // nothing is owed to the peer
	w := wire.NewWriter(s)
	defer h.revokeAll(p, w)
	r := strangers.Reader(s)
	for {
		req, err := wire.Next[wire.HostRequest](r, strangers.FrameLimit(s, wire.MaxRequest))
		if err != nil {
			h.fault(p, err)
			return
		}
		if err := h.answerRequest(p, req, w); err != nil {
			h.fault(p, err)
			return
		}
	}
}

// answerRequest keeps the thread or says why not. An error is a fault of the peer,
// or ends the stream.
func (h *Host) answerRequest(p peer.ID, req wire.HostRequest, w *wire.Writer) error {
	id, err := wire.ThreadOf(req.Thread)
	if err != nil {
		return err
	}
	h.noteAsked(p, id, w)
	until, err := h.keep(p, id, req, w)
	var no *keys.Refusal
	if errors.As(err, &no) {
		h.log.Info("thread refused", "thread", id, "peer", p, "code", no.Code)
		why := refusal{no.Code, no.Message}
		h.revoke(p, id, w, why)
		return w.Send(why.message(id[:]))
	}
	if err != nil {
		return err
	}
	return w.Send(wire.Hosted{Thread: id[:], Until: uint64(keys.MillisOf(until))})
}

// damagedThread is what devices are told of a thread that was withdrawn or did not open.
var damagedThread = refusal{fault.Corrupt, "What the relay keeps of the thread is damaged: its operator can run weft doctor --repair."}

// keep decides a request and, if it is permitted, keeps the thread from now on.
// Nothing is stored for a request that is refused.
func (h *Host) keep(p peer.ID, id ThreadID, req wire.HostRequest, w *wire.Writer) (until time.Time, err error) {
	if req.Version != wire.Version {
		return until, &keys.Refusal{Code: CodeVersion, Message: fmt.Sprintf("The relay does not know messages of version %d.", req.Version)}
	}
	g := &grant{out: w}
	if len(req.Credential) != 0 {
		if g.credential, err = keys.DecodeCredential(req.Credential); err != nil {
			return until, fault.Of(wire.ErrFrame, "credential: %w", err)
		}
	}
	device, err := DeviceOf(p)
	if err != nil {
		return until, err
	}
	if len(req.Invite) != 0 {
		if err := format.CheckInviteProof(id, device, req.Invite, req.Proof); err != nil {
			return until, &keys.Refusal{Code: CodeBadInvite, Message: "The proof of the invite does not hold: " + err.Error()}
		}
		g.invite = req.Invite
	}
	shown, err := h.fetchMembership(p, device, g, id, req)
	if err != nil {
		return until, err
	}
	h.deciding.Lock()
	defer h.deciding.Unlock()
	h.mu.Lock()
	s := h.shares[id]
	h.mu.Unlock()
	decision, err := h.decide(device, s, g, id, req.Genesis, len(shown) > 0)
	if err != nil {
		return until, err
	}
	if s == nil {
		s, err = h.adopt(adoption{id, req.Genesis, req.ServiceKey, decision.Account, decision.User, device, shown})
		if fault.Is(err, fault.AlreadyExists) { // it was withdrawn, or never opened
			return until, &keys.Refusal{Code: damagedThread.code, Message: damagedThread.text}
		}
		if err != nil {
			return until, err
		}
	}
	g.until = decision.Expires.Time()
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.remote(p)
	if r.conn == nil || h.closed {
		return until, ErrClosed
	}
	r.grants[id] = append(without(r.grants[id], w), g)
	delete(r.refused, refusedKey{id, w})
	h.raise(r)
	h.greetAgain(r)
	l := s.link(p)
	l.denied = refusal{}
	l.adjust()
	h.grants.Ring()
	return g.until, nil
}

// fetchMembership gets the control logs of a thread that is not kept yet from a device
// that is not its owner's, if all that speaks against keeping it is that the device may
// be no member; adopt checks that it is. They are none in every other case.
func (h *Host) fetchMembership(p peer.ID, device keys.PublicKey, g *grant, id ThreadID, req wire.HostRequest) ([]format.Run, error) {
	if _, err := h.Thread(id); err == nil {
		return nil, nil
	}
	if _, err := h.decide(device, nil, g, id, req.Genesis, false); err == nil {
		return nil, nil
	}
	if _, err := h.decide(device, nil, g, id, req.Genesis, true); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.ctx, requestTimeout)
	defer cancel()
	_, runs, err := h.fetchControl(ctx, p, controlRequest{id: id, limit: maxShownBytes})
	if err != nil {
		return nil, &keys.Refusal{Code: CodeNotMember, Message: "The relay does not hold the thread and could not see that the device is a member of it: " + err.Error()}
	}
	return runs, nil
}

// maxShownBytes bounds the control logs that a relay takes to see who is a member.
const maxShownBytes = 8 << 20

// decide asks the gate. s is nil for a thread that is not kept yet; member says that the
// device is to show that it is one.
func (h *Host) decide(device keys.PublicKey, s *share, g *grant, id ThreadID, genesis []byte, member bool) (keys.Decision, error) {
	if h.opt.Gate == nil {
		return keys.Decision{}, &keys.Refusal{Code: keys.CodePermissionDenied, Message: "The relay accepts no threads: it has no keys."}
	}
	req := keys.Request{
		Now: h.now(), Audience: h.self, Peer: device, Credential: g.credential, Action: keys.ActionReplicate,
	}
	if s == nil {
		g, err := format.DecodeGenesis(genesis)
		if err == nil && format.ThreadIDOf(genesis) != id {
			err = errors.New("of another thread")
		}
		if err != nil {
			return keys.Decision{}, fault.Of(wire.ErrFrame, "genesis: %w", err)
		}
		req.Resource.Owner, req.Resource.Member = g.Owner, member
	} else {
		if !s.relay {
			return keys.Decision{}, &keys.Refusal{Code: keys.CodePermissionDenied, Message: "The thread is the relay's own: exchange it as a member."}
		}
		req.Resource.Owner, req.Resource.Account = s.thread.Owner(), s.account
		if m, ok := s.thread.Member(device); ok {
			req.Resource.Member = g.of(m.Identity)
		} else if w, ok := s.thread.WaitingJoin(device); ok { // it hears that it waits, and when it does no more
			req.Resource.Member = g.of(w.Identity)
		} else if identity, ok := s.thread.Former(device); ok { // it hears what ended its membership
			req.Resource.Member = g.of(identity)
		} else if len(g.invite) == len(keys.PublicKey{}) {
			req.Resource.Member = s.thread.InviteOpen(keys.PublicKey(g.invite), clock.At(h.now())) == nil
		}
	}
	return h.opt.Gate.Decide(req)
}

// of reports whether what is shown is an identity's.
func (g *grant) of(identity keys.PublicKey) bool {
	return g.credential != nil && g.credential.Certificate != nil && g.credential.Certificate.Identity == identity
}

// without returns grants without that of a stream.
func without(grants []*grant, out *wire.Writer) []*grant {
	return slices.DeleteFunc(grants, func(g *grant) bool { return g.out == out })
}

// revoke ends the permission that a peer has by a stream, if it has one. The caller must
// not hold h.mu.
func (h *Host) revoke(p peer.ID, id ThreadID, out *wire.Writer, why refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.peers[p]; r != nil {
		h.withdraw(r, id, out, why)
	}
}

// withdraw is revoke for who holds h.mu. While the peer has another permission it goes on
// by that.
func (h *Host) withdraw(r *remote, id ThreadID, out *wire.Writer, why refusal) {
	s := h.shares[id]
	if s == nil {
		return
	}
	if rest := without(r.grants[id], out); len(rest) > 0 {
		r.grants[id] = rest
		return
	}
	delete(r.grants, id)
	if l := s.links[r.id]; l != nil || h.known(r) { // of a stranger nothing is remembered
		l = s.link(r.id)
		l.denied = why
		l.adjust()
	}
}

// revokeAll ends the permissions that were asked for on a stream.
func (h *Host) revokeAll(p peer.ID, w *wire.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.peers[p]
	if r == nil {
		return
	}
	maps.DeleteFunc(r.refused, func(k refusedKey, _ bool) bool { return k.out == w })
	for id, all := range r.grants {
		if slices.ContainsFunc(all, func(g *grant) bool { return g.out == w }) {
			h.withdraw(r, id, w, refusal{keys.CodeNoCredential, "The relay has no credential of this device: present one."})
		}
	}
}

// maxRefused bounds the refused threads that are remembered of a device; of a
// stranger fewer are.
const maxRefused = 256

// noteAsked remembers that a device asks for a thread, to tell it if it is refused and
// that may have changed. It is noted before the request is decided: what changes in
// between is not missed.
func (h *Host) noteAsked(p peer.ID, id ThreadID, w *wire.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.remote(p)
	most := maxRefused
	if !h.known(r) {
		most = maxRefused / 8
	}
	if r.conn != nil && len(r.refused) < most {
		r.refused[refusedKey{id, w}] = true
	}
}

// tellAgain tells devices whose requests which picks were refused to ask again.
func (h *Host) tellAgain(which func(ThreadID) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	due := map[*wire.Writer][]ThreadID{}
	for _, r := range h.peers {
		for k := range r.refused {
			if which(k.thread) {
				delete(r.refused, k)
				due[k.out] = append(due[k.out], k.thread)
			}
		}
	}
	for w, ids := range due {
		h.run(func() { // a device that does not read must not hold up the others
			for _, id := range ids {
				if w.Send(wire.Again{Thread: id[:]}) != nil {
					return
				}
			}
		})
	}
}

// Recheck decides every permission that the relay gave again, now, and ends those that
// no longer hold; whoever was refused is told to ask again. Call it when a key was made
// or revoked.
func (h *Host) Recheck() {
	h.recheck(func(*grant) bool { return true })
	h.tellAgain(func(ThreadID) bool { return true })
}

// A held is a grant with what it is decided by.
type held struct {
	peer   peer.ID
	device keys.PublicKey
	share  *share
	grant  *grant
}

// recheck decides the permissions that which picks again. The gate is asked without
// h.mu: it may read a disk.
func (h *Host) recheck(which func(*grant) bool) {
	h.deciding.Lock()
	defer h.deciding.Unlock()
	var all []held
	h.mu.Lock()
	for p, r := range h.peers {
		for id, grants := range r.grants {
			for _, g := range grants {
				if s := h.shares[id]; s != nil && which(g) {
					all = append(all, held{p, r.device, s, g})
				}
			}
		}
	}
	h.mu.Unlock()
	for _, x := range all {
		decision, err := h.decide(x.device, x.share, x.grant, x.share.thread.ID(), nil, false)
		if err == nil {
			h.mu.Lock()
			x.grant.until = decision.Expires.Time()
			h.mu.Unlock()
			continue
		}
		why := refusal{keys.CodePermissionDenied, "The relay could not check the credential."}
		if no, ok := errors.AsType[*keys.Refusal](err); ok {
			why = refusal{no.Code, no.Message}
		}
		id := x.share.thread.ID()
		h.log.Info("permission ended", "thread", id, "peer", x.peer, "code", why.code)
		h.revoke(x.peer, id, x.grant.out, why)
		if h.enter() {
			go func() { // a peer that does not read must not hold up the others
				defer h.wg.Done()
				x.grant.tell(id, why)
			}()
		}
	}
}

// expireGrants decides permissions again when they end.
func (h *Host) expireGrants() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := h.grants.Wait()
		if next, ok := h.nextExpiry(); ok {
			// A credential ends when its maker says: what is further is slept for in parts.
			timer.Reset(min(max(next.Sub(h.now()), 0), time.Hour) + time.Millisecond)
		} else {
			timer.Stop()
		}
		select {
		case <-changed:
		case <-timer.C:
			now := h.now()
			h.recheck(func(g *grant) bool { return !g.until.IsZero() && !now.Before(g.until) })
		case <-h.ctx.Done():
			return
		}
	}
}

// nextExpiry returns when the first permission ends.
func (h *Host) nextExpiry() (next time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.peers {
		for _, grants := range r.grants {
			for _, g := range grants {
				if !g.until.IsZero() && (!ok || g.until.Before(next)) {
					next, ok = g.until, true
				}
			}
		}
	}
	return next, ok
}

// Sentences of refusals that are said in several places.
const (
	needsCredential = "The relay gives a thread only to devices with a credential: add the relay with a key."
	notMember       = "The device is not a member of the thread, as far as the peer knows."
	formerMember    = "The membership of this device has ended."
)

// uninvited says why an invite does not do.
func uninvited(err error) refusal {
	return refusal{CodeBadInvite, "The invite lets nobody in, as far as the peer knows: " + err.Error()}
}

// admit says what a peer may have of a thread, or why it may have nothing.
// hold reports that this may change while the peer waits.
func (h *Host) admit(l *link, invite []byte) (a right, why refusal, hold bool) {
	s := l.share
	h.mu.Lock()
	r := h.remote(l.peer)
	granted, asked, denied := len(r.grants[s.thread.ID()]) > 0, s.usesRelay(l.peer), l.denied
	h.mu.Unlock()
	if s.ctx.Err() != nil {
		return rightNone, refusal{CodeUnknownThread, "The peer no longer holds the thread."}, false
	}
	m, member := s.thread.Member(r.device)
	if m.Expired(h.now()) {
		return rightNone, refusal{CodeNotMember, "The delegation of this device has ended: its identity delegates again, by a device of its own."}, true
	}
	_, waits := s.thread.WaitingJoin(r.device)
	_, former := s.thread.Former(r.device)
	var err error
	proved := !member && len(invite) == len(keys.PublicKey{})
	if proved {
		err = s.thread.InviteOpen(keys.PublicKey(invite), clock.At(h.now()))
	}
	switch {
	case s.relay && granted && member, !s.relay && (member || asked):
		return rightAll, refusal{}, true
	case m.Added: // it begins with what it is given
		return rightControl, refusal{}, true
	case waits && (granted || !s.relay): // it passed a door: it hears who admits it
		return rightControl, refusal{}, true
	case former && !proved && (granted || !s.relay):
		return rightEnd, refusal{}, true
	case proved && err == nil && s.thread.Recoverable(keys.PublicKey(invite)):
		return rightAll, refusal{}, true
	case proved && err == nil:
		return rightControl, refusal{}, true
	case proved:
		return rightNone, uninvited(err), false
	case s.relay && !granted:
		if denied == (refusal{}) {
			denied = refusal{keys.CodeNoCredential, needsCredential}
		}
		return rightNone, denied, false
	default:
		return rightNone, refusal{CodeNotMember, notMember}, true
	}
}
