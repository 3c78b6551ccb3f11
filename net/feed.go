package net

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/strangers"
	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
)

// runBytes is about how many bytes of records a frame carries; a larger record
// travels alone.
const runBytes = 1 << 20

// requestTimeout bounds how long a peer may take to say what it wants.
const requestTimeout = 15 * time.Second

// A right is what a peer may have of a thread.
type right uint8

const (
	rightNone    right = iota
	rightEnd           // control logs up to what ended a membership
	rightControl       // control logs: what an invited peer needs in order to join
	rightAll
)

// A feed serves one subscription: it sends what the subscriber lacks, and goes
// on as the thread grows.
//
// Invariant: only what is Sendable leaves (signed, durable, folded); control logs go
// before the data that names them; the right is decided again before each round and each
// request, so that a grant that ended ends the feed at the next record.
//
//	tips here a/9, c/3 (control)      the subscriber has a/6
//	drain: run c/1…3, run a/7…9       one run a log in turn, about 1 MiB each
//	position of a is now 9            by sent, or by what it acknowledged, if that is more
//	caught up ►                       then the feed waits for growth or another admission
type feed struct {
	link   *link
	device keys.PublicKey // the peer's
	guest  *remote        // the peer, while only an invite makes it known; nil: it is known
	w      *wire.Writer
	invite []byte // public key of the invite that the subscriber proved; nil: none
	right  right
	told   refusal
	full   refusal    // what was told last of the disk here
	sent   tipset.Set // what the subscriber had, and what was streamed
	stated statement
	looked int // tips that the last round looked through

	introduced map[peer.ID][]byte // the record of each member that it was told of
}

// serveThread answers a stream on which a peer subscribes to a thread.
func (h *Host) serveThread(p peer.ID, s stream) {
	defer s.Close()
	r := strangers.Reader(s)
	req, err := readRequest[wire.Subscribe](s, r, wire.MaxSubscribe)
	if err != nil {
		h.fault(p, err)
		_ = s.Reset()
		return
	}
	w := wire.NewWriter(s)
	f, refuse, err := h.newFeed(p, w, req)
	if err != nil {
		h.fault(p, err)
		_ = s.Reset()
		return
	}
	if refuse != (refusal{}) {
		if w.Send(refuse.message(req.Thread)) == nil {
			linger(s)
		}
		return
	}
	defer f.end()
	strangers.Answered(s)
	ctx, cancel := context.WithCancel(f.link.share.ctx)
	undo := context.AfterFunc(ctx, func() { _ = s.Reset() })
	read := make(chan struct{})
	h.run(func() {
		defer close(read)
		defer cancel()
		if err := f.readAcks(r); errors.Is(err, wire.ErrFrame) {
			h.fault(f.link.peer, err)
		}
	})
	err = f.serve(ctx)
	undo()
	if err == nil {
		_ = s.CloseWrite() // what was refused is read before the stream ends
		_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	} else {
		_ = s.Reset()
	}
	cancel()
	<-read
	f.link.set(func() { f.link.feeding, f.link.acks = false, false })
}

// linger ends a stream so that the peer reads what was written last: it waits for the
// peer to end its side, for a while.
func linger(s stream) {
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	_, _ = s.Read(make([]byte, 1))
}

// readRequest reads the first frame of a stream, within a time.
func readRequest[M wire.Message](s stream, r *bufio.Reader, limit int) (M, error) {
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	m, err := wire.Next[M](r, strangers.FrameLimit(s, limit))
	if err == nil {
		_ = s.SetReadDeadline(time.Time{})
	}
	return m, err
}

// newFeed checks a request. A refusal is not an error; an error is a fault. Nothing is
// remembered of a stranger that proves no open invite.
func (h *Host) newFeed(p peer.ID, w *wire.Writer, req wire.Subscribe) (*feed, refusal, error) {
	id, err := wire.ThreadOf(req.Thread)
	if err != nil {
		return nil, refusal{}, err
	}
	tips, err := wire.Tips(req.Tips)
	if err != nil {
		return nil, refusal{}, err
	}
	if req.Version != wire.Version {
		return nil, refusal{CodeVersion, fmt.Sprintf("messages of version %d are not understood", req.Version)}, nil
	}
	if len(req.Invite) != 0 {
		device, err := DeviceOf(p)
		if err == nil {
			err = format.CheckInviteProof(id, device, req.Invite, req.Proof)
		}
		if err != nil {
			return nil, refusal{CodeBadInvite, err.Error()}, nil
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	sh := h.shares[id]
	if sh == nil {
		return nil, refusal{CodeUnknownThread, "the peer does not hold this thread"}, nil
	}
	r := h.remote(p)
	f := &feed{w: w, device: r.device, invite: req.Invite, sent: tipset.Of(tips), introduced: map[peer.ID][]byte{}}
	if !h.known(r) {
		_, former := sh.thread.Former(r.device)
		if why := sh.refuseStranger(req.Invite, h.now()); why != (refusal{}) && (!former || sh.relay) {
			return nil, why, nil
		}
		r.invited++
		f.guest = r
		h.raise(r)
	}
	l := sh.link(p)
	if l.feedsOpen >= maxFeeds {
		return nil, refusal{CodeLimit, fmt.Sprintf("The device has %d subscriptions of this thread open, the limit.", l.feedsOpen)}, nil
	}
	l.feedsOpen++
	f.link = l
	l.set(func() { // what it said in an earlier exchange may be lost to it
		l.theirs = tipset.Of(tips)
		l.said = statement{}
	})
	return f, refusal{}, nil
}

// maxFeeds bounds the streams of a kind that a peer has for one thread: one, and
// those before it that have not ended yet.
const maxFeeds = 4

// end forgets a feed.
func (f *feed) end() {
	h := f.link.share.host
	h.mu.Lock()
	defer h.mu.Unlock()
	f.link.feedsOpen--
	if f.guest != nil {
		f.guest.invited--
	}
}

// refuseStranger says why a peer that is not known gets nothing of the thread; the zero
// refusal if it proved an open invite.
func (s *share) refuseStranger(invite []byte, now time.Time) refusal {
	switch {
	case len(invite) == len(keys.PublicKey{}):
		if err := s.thread.InviteOpen(keys.PublicKey(invite), clock.At(now)); err != nil {
			return uninvited(err)
		}
		return refusal{}
	case s.relay:
		return refusal{keys.CodeNoCredential, needsCredential}
	}
	return refusal{CodeNotMember, notMember}
}

// readAcks reads what the subscriber says that it holds durably, until the
// stream ends.
func (f *feed) readAcks(r *bufio.Reader) error {
	for {
		a, err := wire.Next[wire.Ack](r, wire.MaxSubscribe)
		if err != nil {
			return err
		}
		tips, err := wire.Tips(a.Tips)
		if err != nil {
			return err
		}
		said, err := stated(a.State)
		if err != nil {
			return err
		}
		f.link.note(tips)
		f.link.set(func() { f.link.said, f.link.acks = said, true })
	}
}

// serve sends until the stream or the thread ends. It returns nil when the peer
// was refused and has been told.
func (f *feed) serve(ctx context.Context) error {
	sh := f.link.share
	var told <-chan struct{} // the last meeting of which the subscriber was told
	for {
		changed, admission, meeting := sh.thread.Changed(), sh.admission.Wait(), sh.meeting.Wait()
		hold, err := f.admit()
		if err != nil {
			return err
		}
		if f.right != rightNone {
			if err = f.tellFull(); err == nil {
				err = f.drain(ctx)
			}
		} else if !hold {
			return nil
		}
		if err == nil && f.right == rightAll && meeting != told {
			told, err = meeting, f.introduce()
		}
		if err != nil {
			return err
		}
		if !rest(ctx, f.looked) {
			return ctx.Err()
		}
		select {
		case <-meeting:
		case <-changed:
		case <-admission:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// admit decides about the subscriber again and tells it what changed. hold reports
// that a refused subscriber may be admitted soon, on the same stream.
func (f *feed) admit() (hold bool, err error) {
	sh := f.link.share
	now, why, hold := sh.host.admit(f.link, f.invite)
	was := f.right
	f.right = now
	switch {
	case now == rightNone && why != f.told:
		f.told = why
		f.link.set(func() { f.link.feeding = false })
		id := sh.thread.ID()
		err = f.w.Send(why.message(id[:]))
	case now != rightNone && was == rightNone:
		f.told = refusal{}
		f.link.set(func() { f.link.feeding = now == rightAll })
		err = f.accept()
	case now == rightAll && was != rightAll:
		f.link.set(func() { f.link.feeding = true })
		f.stated = statement{}
	case was == rightAll && now != rightAll:
		f.link.set(func() { f.link.feeding = false })
	}
	return hold, err
}

// tellFull tells the subscriber whether this host can store what it sends.
func (f *feed) tellFull() error {
	sh := f.link.share
	why := sh.host.whyFull()
	if why == f.full {
		return nil
	}
	if f.full = why; why == (refusal{}) {
		return f.accept()
	}
	id := sh.thread.ID()
	return f.w.Send(why.message(id[:]))
}

// accept tells the subscriber that it gets the thread, and what there is of it.
func (f *feed) accept() error {
	sh := f.link.share
	for _, part := range wire.Parts(f.tips(), sh.host.tipsPerFrame) {
		if err := f.w.Send(wire.Accepted{Genesis: sh.thread.Genesis(), Tips: wire.FromTips(part)}); err != nil {
			return err
		}
	}
	return nil
}

// tips returns what the subscriber may have, control logs first; branches of a log are
// next to each other.
func (f *feed) tips() []clock.RecordID {
	t := f.link.share.thread
	if f.right == rightEnd {
		return t.UntilEnd(f.device)
	}
	all := t.Sendable()
	control := make([]clock.RecordID, 0, len(all))
	data := make([]clock.RecordID, 0, len(all))
	for _, tip := range all {
		if t.IsControl(tip.Log) {
			control = append(control, tip)
		} else if f.right == rightAll {
			data = append(data, tip)
		}
	}
	return append(control, data...)
}

// drain sends everything that the subscriber lacks, control logs before data
// logs, and these in turn; then it says so.
func (f *feed) drain(ctx context.Context) error {
	t := f.link.share.thread
	for more := true; more; {
		more = false
		tips := f.tips()
		f.looked = len(tips)
		for i, tip := range tips {
			after, lacks := f.position(tips, i)
			if !lacks {
				continue
			}
			if more && !t.IsControl(tip.Log) && t.IsControl(tips[0].Log) && f.lacksControl(tips) {
				break
			}
			more = true
			if err := f.sendRun(tip, after, f.forked(tips, i)); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if _, why, _ := f.link.share.host.admit(f.link, f.invite); why != (refusal{}) {
			return nil // serve tells it
		}
	}
	return f.state()
}

// lacksControl reports whether control records came since the round began: they go
// before more data.
func (f *feed) lacksControl(tips []clock.RecordID) bool {
	for i, tip := range tips {
		if !f.link.share.thread.IsControl(tip.Log) {
			return false
		}
		if _, lacks := f.position(tips, i); lacks {
			return true
		}
	}
	return false
}

// position returns after which record the subscriber needs the branch of
// tips[i], or that it lacks nothing of it.
func (f *feed) position(tips []clock.RecordID, i int) (after uint64, lacks bool) {
	tip, t := tips[i], f.link.share.thread
	forked := f.forked(tips, i)
	after = t.Start(tip.Log)
	for _, have := range [][]clock.RecordID{f.sent[tip.Log], f.link.knows(tip.Log)} {
		switch {
		case slices.Contains(have, tip):
			return 0, false
		case forked: // each may be on another branch
			after = max(after, t.Common(tip, have...))
			continue
		}
		for _, c := range have {
			switch {
			case c.Seq > tip.Seq && !t.Has(c):
				return 0, false // it is ahead of us
			case c.Seq > tip.Seq:
				return 0, false // it has what we may not send yet
			case c.Seq < tip.Seq && c.Seq > after && t.Has(c):
				after = c.Seq
			}
		}
	}
	return after, true
}

// forked reports whether what the subscriber has of the log of tips[i] may be on another branch.
func (f *feed) forked(tips []clock.RecordID, i int) bool {
	return tipset.Forked(tips, i) || f.link.share.thread.Forked(tips[i].Log)
}

// sendRun sends the next run of a branch, or, of a forked log, all of it.
func (f *feed) sendRun(tip clock.RecordID, after uint64, forked bool) error {
	for {
		r, err := f.link.share.thread.ReadRun(tip, after, runBytes)
		if err != nil {
			return fmt.Errorf("read %v after %d: %w", tip, after, err)
		}
		if len(r.Records) == 0 {
			return fmt.Errorf("nothing signed after %d of %v", after, tip)
		}
		last, err := r.Last(f.link.share.thread.ID())
		if err != nil {
			return err
		}
		if err := f.w.SendRun(r); err != nil {
			return err
		}
		if !forked {
			f.sent[tip.Log] = []clock.RecordID{last}
			return nil
		}
		if last == tip {
			f.sent[tip.Log] = append(slices.Clone(f.sent[tip.Log]), tip)
			return nil
		}
		after = last.Seq
	}
}

// state tells the subscriber that it was sent everything, with what this host
// holds durably. Later statements travel as acks where this host subscribes to
// the peer too.
func (f *feed) state() error {
	f.link.mu.Lock()
	pulling := f.link.pulling
	f.link.mu.Unlock()
	if f.stated.ok && pulling {
		return nil
	}
	now := f.link.share.statement()
	if f.stated.equal(now) {
		return nil
	}
	f.stated = now
	return f.w.Send(now.wire())
}
