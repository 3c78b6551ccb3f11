package net

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/mux"
	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
)

// A pull is one stream on which this host subscribes to a thread at a peer: it says
// what it has, takes the runs that come, and says what is durable.
//
// Invariant: what was acknowledged is durable and folded here, and a pull can end at
// any frame and begin again from the tips: the subscription says all that the sender
// needs to know, so that no state is kept for a pull that broke.
//
//	subscribe ► tips a/6 b/2          accepted ◄ tips a/9 b/2
//	run a/7…9 ◄                       Ingest: a/7 a/8 stored, a/9 refused as a gap
//	the stream ends                   a pause, ended early by link.kick
//	subscribe ► tips a/8 b/2          run a/9 ◄, caught up ◄
//	ack ► a/9, digest, state hash     once the database has synced it
//
// Catch-up and live records are one: the stream stays, and what the sender appends
// next follows.

// Bounds of the pause before a failed exchange is tried again. A pause is
// doubled each time, up to the longest, and varied by half; an event that may
// have changed the outcome ends it.
const (
	pauseFirst   = 50 * time.Millisecond
	pauseLongest = 30 * time.Second
)

// pause waits before attempt n+1; it reports false when ctx ended.
func pause(ctx context.Context, n int, kick <-chan struct{}) bool {
	return pauseUpTo(ctx, n, pauseLongest, kick)
}

// pauseUpTo is pause with another longest one.
func pauseUpTo(ctx context.Context, n int, longest time.Duration, kick <-chan struct{}) bool {
	d := min(pauseFirst<<min(n, 16), longest)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-kick:
		return true
	case <-ctx.Done():
		return false
	}
}

// errAskAgain ends a subscription for another one: what was refused is not any more.
var errAskAgain = errors.New("what was refused is asked for again")

// follow keeps a subscription to the peer until ctx ends.
func (l *link) follow(ctx context.Context) {
	for n := 0; ; n++ {
		began := time.Now()
		err := l.subscribe(ctx)
		l.set(func() { l.pulling, l.caughtUp = false, false })
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAskAgain) {
			n = -1
			continue
		}
		switch {
		case errors.Is(err, wire.ErrFrame):
			l.share.host.fault(l.peer, err)
		case errors.Is(err, mux.ErrStranger):
			l.set(func() { l.pull = refusal{CodeNotMember, notMember} })
		case fault.Is(err, fault.LimitReached):
			l.set(func() { l.pull = refusal{CodeLimit, err.Error()} })
		}
		l.share.host.log.Debug("subscription ended", "thread", l.share.thread.ID(), "peer", l.peer, "error", err)
		if time.Since(began) > pauseLongest {
			n = 0
		}
		if !pause(ctx, n, l.kick) {
			return
		}
	}
}

// subscribe opens a stream and takes what comes until it ends.
func (l *link) subscribe(ctx context.Context) error {
	h, t := l.share.host, l.share.thread
	revived := t.Revived()
	s, err := h.openLane(ctx, l.peer, laneThread)
	if err != nil {
		return err
	}
	defer s.Reset() //nolint:errcheck // the exchange is over either way
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	w := wire.NewWriter(s)
	id := t.ID()
	// What one message does not hold is acknowledged at once: until then it may be sent again.
	tips := wire.Parts(t.Tips(), h.tipsPerFrame)[0]
	if err := w.Send(wire.Subscribe{Version: wire.Version, Thread: id[:], Tips: wire.FromTips(tips)}); err != nil {
		return err
	}
	in := make(chan incoming, 2) // decoding runs ahead of the disk by two frames, at most 8 MiB
	done := make(chan struct{}, 2)
	defer func() { cancel(); _ = s.Reset(); <-done; <-done }()
	h.run(func() { defer func() { done <- struct{}{} }(); defer close(in); l.receive(ctx, s, in) })
	h.run(func() { defer func() { done <- struct{}{} }(); l.acknowledge(ctx, w) })
	for {
		select {
		case m, ok := <-in:
			if !ok {
				return ctx.Err()
			}
			if err := l.take(ctx, m); err != nil {
				return err
			}
		case <-revived:
			return errAskAgain
		}
	}
}

// An incoming is one frame, decoded.
type incoming struct {
	run     *format.Run
	tips    []clock.RecordID // of an accepted subscription
	said    *statement
	refused *refusal
	members [][]byte // records of where they are
	err     error
}

// receive decodes frames ahead of what is being stored.
func (l *link) receive(ctx context.Context, s stream, in chan<- incoming) {
	r := bufio.NewReader(s)
	for {
		m := l.next(r)
		select {
		case in <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil {
			return
		}
	}
}

// next reads and decodes one frame.
func (l *link) next(r *bufio.Reader) (m incoming) {
	kind, body, err := wire.Read(r)
	if err != nil {
		return incoming{err: err}
	}
	switch kind {
	case wire.KindRun:
		got, err := format.DecodeRun(body)
		if err != nil {
			return incoming{err: fault.Of(wire.ErrFrame, "%w", err)}
		}
		return incoming{run: &got}
	case wire.KindAccepted:
		var a wire.Accepted
		if a, m.err = wire.As[wire.Accepted](kind, body); m.err == nil {
			m.tips, m.err = wire.Tips(a.Tips)
		}
		if m.tips == nil {
			m.tips = []clock.RecordID{}
		}
	case wire.KindCaughtUp:
		var c wire.Statement
		if c, m.err = wire.As[wire.Statement](kind, body); m.err == nil {
			var said statement
			said, m.err = stated(c)
			m.said = &said
		}
	case wire.KindMembers:
		var c wire.Members
		c, m.err = wire.As[wire.Members](kind, body)
		m.members = c.Records
	case wire.KindRefused:
		var c wire.Refused
		if c, m.err = wire.As[wire.Refused](kind, body); m.err == nil {
			why := refusalIn(c)
			m.refused = &why
		}
	default:
		m.err = fault.Of(wire.ErrFrame, "frame of type %d", kind)
	}
	return m
}

// take acts on one frame.
func (l *link) take(ctx context.Context, m incoming) error {
	switch {
	case m.err != nil:
		return m.err
	case m.run != nil:
		return l.ingest(ctx, *m.run)
	case m.members != nil:
		return l.share.meetMembers(m.members)
	case m.refused != nil:
		l.set(func() { l.pull, l.pulling = *m.refused, false })
	case m.said != nil:
		l.set(func() {
			if l.caughtUp = true; !l.acks {
				l.said = *m.said
			}
		})
		if int64(l.share.thread.ControlRecords()) != l.share.looked.Load() {
			poke(l.share.host.ending)
		}
	default:
		l.learn(m.tips...)
		l.set(func() { l.pull, l.pulling = refusal{}, true })
	}
	return nil
}

// SetFull says whether the disk is full: err says so, nil that there is room. Peers are
// told that nothing can be stored; when there is room, what they hold is asked for.
func (h *Host) SetFull(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if (h.full == nil) == (err == nil) {
		return
	}
	h.full = err
	for _, s := range h.shares {
		for _, l := range s.links {
			if err == nil && l.stop != nil {
				poke(l.kick)
			}
		}
		s.admission.Ring()
		s.status.Ring()
	}
}

// whyFull returns why this host can store nothing, the zero refusal if it can.
func (h *Host) whyFull() refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full == nil {
		return refusal{}
	}
	return refusal{CodeDiskFull, "The disk of the peer is full: what is sent is not stored until there is room."}
}

// ingest stores a run. A record that is refused counts against the peer, which
// is disconnected after a few; what came before it is kept.
func (l *link) ingest(ctx context.Context, r format.Run) error {
	t := l.share.thread
	ingest := t.Ingest
	if l.stranger() {
		ingest = t.IngestFromStranger
	}
	_, err := ingest(ctx, r)
	var rejection *Rejection
	if errors.As(err, &rejection) {
		l.share.host.fault(l.peer, rejection)
		l.set(func() { l.rejected = rejection.Error() })
		if rejection.Kind() == fault.Gap || rejection.Kind() == fault.WaitingFull {
			return rejection // ask again for what is missing
		}
		return nil
	}
	if err != nil {
		return err
	}
	last, err := r.Last(t.ID())
	if err != nil {
		return err
	}
	l.learn(last)
	return nil
}

// stranger reports whether what the peer brings has to pass the thread's door: it is no
// member here, and no relay in use.
func (l *link) stranger() bool {
	h := l.share.host
	h.mu.Lock()
	relay := l.share.usesRelay(l.peer)
	h.mu.Unlock()
	return !relay && !l.share.isMember(l.peer)
}

// acknowledge tells the peer what this host holds durably, as it grows.
func (l *link) acknowledge(ctx context.Context, w *wire.Writer) {
	var told tipset.Set
	var last statement
	for {
		changed := l.share.thread.Changed()
		now := l.share.statement()
		if !now.equal(last) {
			for _, part := range wire.Parts(told.Replace(now.tips), l.share.host.tipsPerFrame) {
				if err := w.Send(wire.Ack{Tips: wire.FromTips(part), State: now.wire()}); err != nil {
					return
				}
			}
			last = now
		}
		if !rest(ctx, len(now.tips)) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// rest pauses after n tips of a thread were looked through, if they are thousands, so that
// who makes many logs, a record each, does not have them all looked through at each record.
func rest(ctx context.Context, n int) bool { return n <= manyTips || sleep(ctx, restOf(n)) }

const manyTips = 1024

// restOf is some times as long as looking through n tips takes.
func restOf(n int) time.Duration {
	return min(time.Duration(n)*16*time.Microsecond, 200*time.Millisecond)
}
