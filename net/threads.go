package net

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/thread"
	"github.com/weftdb/weft/net/internal/wire"
)

// maxJoinBytes bounds the control logs that a joiner takes before it can check
// them against the state that they give.
const maxJoinBytes = 64 << 20

// loadThreads opens the threads that the store holds.
func (h *Host) loadThreads(ctx context.Context) error {
	ids, err := thread.Stored(h.opt.Store)
	if err != nil && h.opt.Damaged != nil {
		h.lost = true
		h.opt.Damaged(ThreadID{}, fault.Errorf(fault.Corrupt, "the list of threads cannot be read: %w", err))
	} else if err != nil {
		return err
	}
	for _, id := range ids {
		err := h.loadThread(ctx, id)
		if err != nil && h.opt.Damaged != nil && ctx.Err() == nil {
			h.lost = true
			h.opt.Damaged(id, fault.Errorf(fault.Corrupt, "thread %s cannot be read: %w", id, err))
		} else if err != nil {
			return fmt.Errorf("open thread %s: %w", id, err)
		}
	}
	return nil
}

// loadThread opens a thread that the store holds.
func (h *Host) loadThread(ctx context.Context, id ThreadID) error {
	t, err := thread.Open(ctx, h.env, id)
	if err != nil {
		return err
	}
	if !t.Relay() && !t.Joined() { // the join was interrupted; it can be begun again
		h.log.Warn("join was not finished: join again", "thread", id)
		return t.Remove(ctx)
	}
	s := h.newShare(t)
	if err := s.load(); err != nil {
		t.Close()
		return err
	}
	if t.Relay() && !s.relay { // the adoption was interrupted; the device asks again
		return t.Remove(ctx)
	}
	h.shares[id] = s
	s.refreshMembers()
	return nil
}

// add starts to exchange a thread. It returns the one that is there already.
func (h *Host) add(s *share) (*share, error) {
	s.refreshMembers()
	h.mu.Lock()
	defer h.mu.Unlock()
	id := s.thread.ID()
	old := h.shares[id]
	if h.closed || old != nil {
		s.uncount()
		s.thread.Close()
	}
	if h.closed {
		return nil, ErrClosed
	}
	if old != nil {
		return old, nil
	}
	h.shares[id] = s
	h.begin(s)
	h.announceThreads()
	return s, nil
}

// begin starts what a share does by itself, and meets the peers that are there.
// The caller holds h.mu.
func (h *Host) begin(s *share) {
	h.run(s.watch)
	for _, r := range h.peers {
		s.meet(r)
	}
}

// watch tells feeds and status that the thread changed.
func (s *share) watch() {
	for known := -1; ; {
		changed := s.thread.Changed()
		if n := s.thread.ControlRecords(); n != known {
			known = n
			s.refreshMembers()
			poke(s.host.ending)
			if s.relay { // who was refused may be a member, or invited, now
				id := s.thread.ID()
				s.host.tellAgain(func(x ThreadID) bool { return x == id })
			}
		}
		s.status.Ring()
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}

// Create makes a thread whose first member and owner is this device's identity.
func (h *Host) Create(ctx context.Context, name string) (*Thread, error) {
	return h.create(ctx, name, keys.PublicKey{})
}

func (h *Host) create(ctx context.Context, name string, recovery keys.PublicKey) (*Thread, error) {
	t, err := thread.Create(ctx, h.env, name, recovery)
	if err != nil {
		return nil, err
	}
	s, err := h.add(h.newShare(t))
	if err != nil {
		return nil, err
	}
	return s.face, nil
}

// Thread returns a thread of the host, or [ErrUnknownThread].
func (h *Host) Thread(id ThreadID) (*Thread, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.shares[id]
	if s == nil {
		return nil, fault.Of(ErrUnknownThread, "this host does not hold thread %s", id)
	}
	return s.face, nil
}

// Threads returns the threads of the host, sorted by ID; a relay's include those
// that it keeps for others.
func (h *Host) Threads() []*Thread {
	h.mu.Lock()
	defer h.mu.Unlock()
	threads := make([]*Thread, 0, len(h.shares))
	for _, s := range h.shares {
		threads = append(threads, s.face)
	}
	slices.SortFunc(threads, func(a, b *Thread) int { x, y := a.ID(), b.ID(); return slices.Compare(x[:], y[:]) })
	return threads
}

// Remove stops to exchange a thread and deletes it from this host. What other
// peers hold stays there.
func (h *Host) Remove(ctx context.Context, id ThreadID) error {
	s, err := h.part(id)
	if err != nil {
		return err
	}
	return errors.Join(h.memory.Forget(id), s.thread.Remove(ctx))
}

// Discard is Remove, also of a thread that this host does not hold or could not open.
func (h *Host) Discard(ctx context.Context, id ThreadID) error {
	if err := h.Remove(ctx, id); !errors.Is(err, ErrUnknownThread) {
		return err
	}
	return thread.Discard(ctx, h.env, id)
}

// Withdraw stops to exchange a thread and closes it: what this host holds of it is
// damaged. It deletes nothing. Devices for which a relay kept it are told.
func (h *Host) Withdraw(id ThreadID) error {
	h.mu.Lock()
	for p, r := range h.peers {
		for _, g := range r.grants[id] {
			if !h.closed {
				h.run(func() { h.revoke(p, id, g.out, damagedThread); g.tell(id, damagedThread) })
			}
		}
	}
	h.mu.Unlock()
	s, err := h.part(id)
	if err != nil {
		return err
	}
	s.thread.Close()
	return nil
}

// part ends all exchange of a thread and waits for that.
func (h *Host) part(id ThreadID) (*share, error) {
	h.mu.Lock()
	s := h.shares[id]
	if s == nil {
		h.mu.Unlock()
		return nil, fault.Of(ErrUnknownThread, "this host does not hold thread %s", id)
	}
	delete(h.shares, id)
	s.cancel()
	var ends []chan struct{}
	for _, l := range s.links {
		l.adjust()
		if l.ended != nil {
			ends = append(ends, l.ended)
		}
	}
	for _, r := range h.peers {
		delete(r.grants, id)
	}
	s.uncount()
	h.announceThreads()
	h.mu.Unlock()
	for _, end := range ends {
		<-end
	}
	return s, nil
}

// Reopen begins a thread of which the store has lost something: empty but for what
// of the old copy still holds, as [Refilled] says. Its peers give the rest.
func (h *Host) Reopen(ctx context.Context, e Essence) (*Thread, Refilled, error) {
	t, got, err := thread.Rebuild(ctx, h.env, e)
	if err != nil {
		return nil, got, err
	}
	s := h.newShare(t)
	err = s.load()
	if err == nil { // what peers listed before is not all here
		err = h.memory.ForgetCursors(t.ID())
	}
	if err != nil {
		t.Close()
		return nil, got, err
	}
	if s, err = h.add(s); err != nil {
		return nil, got, err
	}
	return s.face, got, nil
}

// Join makes this device a member by an invite. It needs one connected peer, or
// one reachable at an address of the invite, that holds the thread; a relay
// will do.
func (h *Host) Join(ctx context.Context, inv Invite) (*Thread, error) {
	if t, err := h.Thread(inv.Thread); err == nil {
		return t, nil
	}
	invite, proof, err := format.ProveInvite(inv, h.self)
	if err != nil {
		return nil, err
	}
	return fromAny(ctx, h, inv.Addrs, errNoHolder, func(p peer.ID) (*Thread, error) {
		return h.joinFrom(ctx, p, inv, invite, proof)
	})
}

var errNoHolder = fault.New(fault.Unreachable, "no reachable peer holds the database")

// fromAny returns what the first peer gives that gives it; none is the error if there is no
// such peer, and what those that were asked said comes before it.
func fromAny[T any](ctx context.Context, h *Host, addrs []multiaddr.Multiaddr, none error, get func(p peer.ID) (T, error)) (T, error) {
	var failed []error
	dialling, stop := context.WithCancel(ctx)
	defer stop()
	for p := range h.reach(dialling, addrs) {
		t, err := get(p)
		if err == nil {
			return t, nil
		}
		failed = append(failed, fmt.Errorf("peer %s: %w", p, err))
	}
	var nothing T
	return nothing, errors.Join(append(failed, ctx.Err(), none)...)
}

// reach yields the connected peers, then those that answer at addrs, as they
// answer: an address where nobody is costs no time if another one does.
func (h *Host) reach(ctx context.Context, addrs []multiaddr.Multiaddr) iter.Seq[peer.ID] {
	return func(yield func(peer.ID) bool) {
		seen := map[peer.ID]bool{}
		for _, p := range h.lp.Network().Peers() {
			if seen[p] = true; !yield(p) {
				return
			}
		}
		answered := make(chan peer.ID, len(addrs))
		var dials sync.WaitGroup
		for _, addr := range addrs {
			dials.Go(func() {
				info, err := peer.AddrInfoFromP2pAddr(addr)
				if err == nil {
					err = h.lp.Connect(ctx, *info)
				}
				if err != nil {
					h.log.Debug("address of invite", "addr", addr, "error", err)
					return
				}
				answered <- info.ID
			})
		}
		h.run(func() { dials.Wait(); close(answered) })
		for p := range answered {
			if !seen[p] {
				if seen[p] = true; !yield(p) {
					return
				}
			}
		}
	}
}

// joinFrom joins by what one peer holds of the thread.
func (h *Host) joinFrom(ctx context.Context, p peer.ID, inv Invite, invite, proof []byte) (*Thread, error) {
	genesis, runs, err := h.fetchControl(ctx, p, controlRequest{inv.Thread, invite, proof, maxJoinBytes})
	if err != nil {
		return nil, err
	}
	t, err := h.finishJoin(ctx, inv, genesis, runs)
	if err != nil {
		return nil, err
	}
	return h.entered(t, invite, proof)
}

// entered begins to exchange a thread of which this device has become a member, by what it
// proved, if anything. A thread that cannot be exchanged is removed: nobody has heard of what
// this device wrote, and it can enter again.
func (h *Host) entered(t *thread.Thread, invite, proof []byte) (*Thread, error) {
	s := h.newShare(t)
	s.invite, s.proof = invite, proof
	if err := s.save(); err != nil {
		return nil, h.undo(t, err)
	}
	s, err := h.add(s)
	if err != nil {
		return nil, err
	}
	return s.face, nil
}

// finishJoin makes this device a member of a thread whose control logs it got.
func (h *Host) finishJoin(ctx context.Context, inv Invite, genesis []byte, runs []format.Run) (*thread.Thread, error) {
	if err := h.clear(ctx, inv.Thread); err != nil {
		return nil, err
	}
	t, err := thread.Join(ctx, h.env, inv, genesis)
	if err != nil {
		return nil, err
	}
	return h.finish(ctx, t, runs, t.FinishJoin)
}

// finish takes control logs into a thread that begins here, and ends its beginning; or the
// thread is removed. What is refused of others, as the peer may be anybody, comes again from
// members.
func (h *Host) finish(ctx context.Context, t *thread.Thread, runs []format.Run, end func(context.Context) error) (*thread.Thread, error) {
	if err := takeRuns(ctx, t, runs, end); err != nil {
		return nil, h.undo(t, err)
	}
	return t, nil
}

// undo removes a thread that this device could not enter. What a full disk keeps of it goes
// before the next try, or at the next start.
func (h *Host) undo(t *thread.Thread, err error) error {
	h.mu.Lock()
	h.halves[t.ID()] = true
	h.mu.Unlock()
	return errors.Join(err, t.Remove(context.Background()))
}

// clear removes what undo left of a thread.
func (h *Host) clear(ctx context.Context, id ThreadID) error {
	h.mu.Lock()
	half := h.halves[id]
	h.mu.Unlock()
	if !half {
		return nil
	}
	err := thread.Discard(ctx, h.env, id)
	if err == nil {
		h.mu.Lock()
		delete(h.halves, id)
		h.mu.Unlock()
	}
	return err
}

// takeRuns takes control logs in, and then calls end.
func takeRuns(ctx context.Context, t *thread.Thread, runs []format.Run, end func(context.Context) error) error {
	for _, r := range runs {
		if err := takeRun(ctx, t, r); err != nil {
			return err
		}
	}
	return end(ctx)
}

func takeRun(ctx context.Context, t *thread.Thread, r format.Run) error {
	_, err := t.IngestFromStranger(ctx, r)
	if rejection, ok := errors.AsType[*Rejection](err); ok && !rejection.Hostile() {
		return nil
	}
	return err
}

// A controlRequest asks for the control logs of a thread.
type controlRequest struct {
	id            ThreadID
	invite, proof []byte // by which this host is invited; none: as a relay in use
	limit         int    // bytes
}

// fetchControl gets the genesis and the control logs of a thread, of which this host
// holds nothing.
func (h *Host) fetchControl(ctx context.Context, p peer.ID, q controlRequest) (genesis []byte, runs []format.Run, err error) {
	size := 0
	err = h.fetch(ctx, p, q, func(b []byte) { genesis = b }, func(r format.Run, n int) (more bool, err error) {
		if size += n; size > q.limit {
			return false, fault.Errorf(fault.TooLarge, "control logs of more than %d bytes", q.limit)
		}
		d, err := format.DecodeDescriptor(r.Descriptor)
		if err != nil || d.Kind != format.KindControl {
			return false, err // control logs come first
		}
		runs = append(runs, r)
		return true, nil
	})
	return genesis, runs, err
}

// fetch subscribes to a thread of which this host holds nothing, and gives what comes to
// begins and take, control logs first, until all has come or take wants no more.
func (h *Host) fetch(ctx context.Context, p peer.ID, q controlRequest, begins func(genesis []byte), take func(r format.Run, size int) (more bool, err error)) error {
	s, err := h.OpenStream(ctx, p, protoThread)
	if err != nil {
		return err
	}
	defer s.Reset() //nolint:errcheck // the exchange is over either way
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	w := wire.NewWriter(s)
	req := wire.Subscribe{Version: wire.Version, Thread: q.id[:], Invite: q.invite, Proof: q.proof}
	if err := w.Send(req); err != nil {
		return err
	}
	r := bufio.NewReader(s)
	for {
		_ = s.SetReadDeadline(time.Now().Add(4 * requestTimeout))
		kind, body, err := wire.Read(r)
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindRefused:
			m, err := wire.As[wire.Refused](kind, body)
			if err != nil {
				return err
			}
			why := refusalIn(m)
			return &keys.Refusal{Code: why.code, Message: why.text}
		case wire.KindAccepted:
			m, err := wire.As[wire.Accepted](kind, body)
			if err != nil {
				return err
			}
			begins(m.Genesis)
		case wire.KindRun:
			got, err := format.DecodeRun(body)
			if err != nil {
				return err
			}
			if more, err := take(got, len(body)); err != nil || !more {
				return err
			}
		case wire.KindMembers: // where they are: it is told again
		case wire.KindCaughtUp:
			return nil
		default:
			return fault.Of(wire.ErrFrame, "frame of type %d", kind)
		}
	}
}

// An adoption is a thread that a relay is to keep, and on whose word.
type adoption struct {
	id         ThreadID
	genesis    []byte
	serviceKey []byte
	account    keys.PublicKey // that it is counted against
	user       keys.PublicKey
	device     keys.PublicKey
	shown      []format.Run // control logs by which user and device are a member's; none: the owner's
}

// adopt makes the relay keep a thread. The caller holds h.deciding.
func (h *Host) adopt(a adoption) (*share, error) {
	if len(a.serviceKey) != len(format.SecretKey{}) {
		return nil, fault.Of(wire.ErrFrame, "service key of %d bytes", len(a.serviceKey))
	}
	t, err := thread.Adopt(h.ctx, h.env, a.genesis, format.SecretKey(a.serviceKey))
	if errors.Is(err, ErrWrongKey) {
		return nil, fault.Of(wire.ErrFrame, "adopt thread: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("adopt thread: %w", err)
	}
	if err := a.check(h.ctx, t); err != nil {
		return nil, errors.Join(err, t.Remove(h.ctx))
	}
	s := h.newShare(t)
	s.relay, s.account = true, a.account
	if err := s.save(); err != nil {
		return nil, errors.Join(err, t.Remove(h.ctx))
	}
	return h.add(s)
}

// check takes in the control logs that were shown and sees whether they make the device
// a member.
func (a adoption) check(ctx context.Context, t *thread.Thread) error {
	if len(a.shown) == 0 {
		return nil
	}
	for _, r := range a.shown {
		if _, err := t.IngestFromStranger(ctx, r); err != nil {
			return fault.Of(wire.ErrFrame, "control log: %w", err)
		}
	}
	if m, ok := t.Member(a.device); !ok || m.Identity != a.user {
		return &keys.Refusal{Code: CodeNotMember, Message: "The control logs that the device showed do not make it a member of the thread."}
	}
	return nil
}

// Kept returns the threads that the relay keeps for others, with the account
// that each is counted against.
func (h *Host) Kept() map[ThreadID]keys.PublicKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := map[ThreadID]keys.PublicKey{}
	for id, s := range h.shares {
		if s.relay {
			kept[id] = s.account
		}
	}
	return kept
}
