package net

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/wire"
)

// wantBytes is about how much is asked for at once.
const wantBytes = 8 << 20

// Blobs are fetched ahead, so that a file is here when its record is. The receiver
// keeps a cursor for each peer: up to there it holds all that the peer listed.
//
// Invariant: the cursor moves only after the blobs before it are durable.
//
//	follow ► after 7        references ◄ 8 9 10, last 10
//	want ► 9 10             8 is held already
//	blob 9 ◄ blob 10 ◄      each checked against its name and its listed size, then stored
//	cursor 10               want ► have 10: the sender's status counts on it
//
// A blob that turns out to be damaged here is held no more. As a cursor cannot go back by
// one blob, all cursors of the thread begin again, and every peer lists all that it has.

// serveBlobs tells a peer which blobs of a thread are here, as they come, and
// sends those that it asks for.
func (h *Host) serveBlobs(p peer.ID, s stream) {
	defer s.Reset() //nolint:errcheck // the exchange is over either way
	r := bufio.NewReader(s)
	req, err := readRequest[wire.Follow](s, r, wire.MaxRequest)
	if err != nil {
		h.fault(p, err)
		return
	}
	id, err := wire.ThreadOf(req.Thread)
	if err != nil {
		h.fault(p, err)
		return
	}
	h.mu.Lock()
	sh := h.shares[id]
	if sh == nil {
		h.mu.Unlock()
		return
	}
	l := sh.link(p)
	if l.blobsOpen >= maxFeeds {
		h.mu.Unlock()
		return
	}
	l.blobsOpen++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		l.blobsOpen--
		h.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(sh.ctx)
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	w := wire.NewWriter(s)
	wants, done := make(chan wire.Want), make(chan struct{})
	h.run(func() {
		defer close(done)
		defer cancel()
		h.fault(p, h.readWants(ctx, r, wants))
	})
	if err := l.sendBlobs(ctx, w, req, wants); err != nil {
		h.log.Debug("blob stream ended", "peer", p, "error", err)
	}
	cancel()
	_ = s.Reset()
	<-done
}

// readWants reads what the peer asks for until the stream ends.
func (h *Host) readWants(ctx context.Context, r *bufio.Reader, wants chan<- wire.Want) error {
	for {
		want, err := wire.Next[wire.Want](r, wire.MaxRequest)
		if err != nil {
			return err
		}
		select {
		case wants <- want:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendBlobs serves one stream. A peer that may not have the whole thread gets nothing, for as
// long as that is so: a former member is told. To whom is being let in, and to whom the records
// are refused too, there is nothing to say.
func (l *link) sendBlobs(ctx context.Context, w *wire.Writer, req wire.Follow, wants <-chan wire.Want) error {
	t, cursor := l.share.thread, int64(min(req.After, 1<<62))
	if last := t.LastBlob(); cursor > last {
		cursor = 0 // this host has fewer than the peer saw here: it was restored
	}
	number := l.followBegins(req.Follow)
	defer l.followEnds(number)
	told := false
	for first := true; ; {
		changed, admission := t.Changed(), l.share.admission.Wait()
		allowed, _, _ := l.share.host.admit(l, nil)
		told = told && allowed == rightEnd
		if allowed == rightEnd && !told {
			if err := w.Send(refusal{CodeNotMember, formerMember}.message(req.Thread)); err != nil {
				return err
			}
			told, first = true, true // what it is listed next says that this is over
		}
		if allowed == rightAll && req.Follow {
			var err error
			if cursor, err = l.sendRefs(w, cursor, first); err != nil {
				return err
			}
			first = false
		}
		select {
		case want := <-wants:
			l.followHas(number, want.Have)
			allowed, _, _ = l.share.host.admit(l, nil) // it may have ended since
			if err := l.sendWanted(ctx, w, want, allowed); err != nil {
				return err
			}
		case <-changed:
		case <-admission:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// followBegins notes a stream on which the peer follows our blobs. What it says
// that it holds counts until the stream ends or another takes its place.
func (l *link) followBegins(follow bool) (number int) {
	if !follow {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follows++
	l.blobsTo = -1
	return l.follows
}

// followEnds forgets what was said on a stream, unless another took its place.
func (l *link) followEnds(number int) {
	l.set(func() {
		if number == l.follows {
			l.blobsTo = -1
		}
	})
}

// followHas notes up to where the peer holds our blobs.
func (l *link) followHas(number int, have uint64) {
	l.set(func() {
		if number > 0 && number == l.follows {
			l.blobsTo = max(l.blobsTo, int64(min(have, 1<<62)))
		}
	})
}

// sendRefs lists the blobs after the cursor; the first list is sent even if it is
// empty, as the peer's status waits for it, and so is one that only moves the cursor over
// blobs that were deleted.
func (l *link) sendRefs(w *wire.Writer, cursor int64, first bool) (int64, error) {
	for {
		refs, upTo, err := l.share.thread.BlobsAfter(cursor, wire.RefsPerFrame)
		if err != nil || upTo == cursor && !first {
			return cursor, err
		}
		m := wire.BlobRefs{Last: uint64(upTo)}
		for _, b := range refs {
			m.Blobs = append(m.Blobs, wire.BlobRef{ID: append([]byte(nil), b.ID[:]...), Size: uint64(b.Size)})
		}
		if err := w.Send(m); err != nil {
			return cursor, err
		}
		cursor, first = upTo, false
	}
}

// sendWanted answers a request in its order: a blob that is not held, damaged here, or not
// permitted any more, is a name without bytes.
func (l *link) sendWanted(ctx context.Context, w *wire.Writer, want wire.Want, allowed right) error {
	for i := 0; i < len(want.IDs); i += 32 {
		id := want.IDs[i : i+32]
		var sealed []byte
		if allowed == rightAll {
			b, err := l.share.thread.SealedBlob(format.BlobID(id))
			if errors.Is(err, ErrDamagedBlob) {
				_, err = l.share.dropBlobs(ctx, format.BlobID(id))
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			sealed = b
		}
		if err := w.SendBlob(id, sealed); err != nil {
			return err
		}
	}
	return nil
}

// followBlobs fetches the blobs that the peer has and this host lacks, as they
// come, until ctx ends.
func (l *link) followBlobs(ctx context.Context) {
	for n := 0; ; n++ {
		began := time.Now()
		err := l.pullBlobs(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRelist) {
			n = 0 // several that are dropped one after the other are one list
		}
		l.share.host.fault(l.peer, err)
		if fault.Is(err, fault.LimitReached) {
			l.set(func() { l.noBlobs = refusal{CodeLimit, err.Error()} })
		}
		l.share.host.log.Debug("blob stream ended", "thread", l.share.thread.ID(), "peer", l.peer, "error", err)
		if time.Since(began) > pauseLongest {
			n = 0
		}
		if !pause(ctx, n, l.kickBlobs) {
			return
		}
	}
}

// A blobStream is the asking side of a blob exchange.
type blobStream struct {
	link *link
	s    stream
	r    *bufio.Reader
	w    *wire.Writer

	refused refusal // by the peer
}

// openBlobs opens a blob stream: to follow, or to fetch some.
func (l *link) openBlobs(ctx context.Context, after int64, follow bool) (*blobStream, error) {
	h := l.share.host
	s, err := h.openLane(ctx, l.peer, laneBlobs)
	if err != nil {
		return nil, err
	}
	b := &blobStream{link: l, s: s, r: bufio.NewReader(s), w: wire.NewWriter(s)}
	id := l.share.thread.ID()
	err = b.w.Send(wire.Follow{Version: wire.Version, Thread: id[:], After: uint64(after), Follow: follow})
	if err != nil {
		_ = s.Reset()
		return nil, err
	}
	return b, nil
}

// read reads the next frame. A refusal is an error, and noted.
func (b *blobStream) read() (wire.Kind, []byte, error) {
	kind, body, err := wire.Read(b.r)
	if err != nil || kind != wire.KindRefused {
		return kind, body, err
	}
	m, err := wire.As[wire.Refused](kind, body)
	if err != nil {
		return 0, nil, err
	}
	b.refused = refusalIn(m)
	return 0, nil, fault.Of(ErrNoBlob, "the peer sends no blobs: %s", b.refused.text)
}

// errRelist ends a stream of blobs for another one, on which the peer lists all again.
var errRelist = errors.New("blobs were dropped")

// dropBlobs takes blobs that are damaged here off what is held, and has every peer list
// its blobs again. It returns how many they were.
func (s *share) dropBlobs(ctx context.Context, ids ...BlobID) (int, error) {
	s.cursors.Lock()
	defer s.cursors.Unlock()
	n, err := s.thread.DropBlobs(ctx, ids...)
	if n == 0 {
		return 0, err
	}
	s.host.log.Warn("blobs are damaged: peers are asked for them", "thread", s.thread.ID(), "blobs", n)
	s.losses++
	err = errors.Join(err, s.host.memory.ForgetCursors(s.thread.ID()))
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	for _, l := range s.links {
		l.set(func() {
			if l.relist != nil {
				l.relist()
			}
		})
	}
	return n, err
}

// cursor returns up to where the blobs of a peer are held, and of which count of losses
// that is.
func (s *share) cursor(p peer.ID) (cursor int64, losses int, err error) {
	s.cursors.Lock()
	defer s.cursors.Unlock()
	cursor, err = s.host.memory.Cursor(s.thread.ID(), string(p))
	return cursor, s.losses, err
}

// setCursor remembers up to where the blobs of a peer are held, unless some were dropped
// since.
func (s *share) setCursor(p peer.ID, n int64, losses int) error {
	s.cursors.Lock()
	defer s.cursors.Unlock()
	if losses != s.losses {
		return errRelist
	}
	return s.host.memory.SetCursor(s.thread.ID(), string(p), n)
}

// pullBlobs follows the peer's blobs on one stream until it ends.
func (l *link) pullBlobs(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.set(func() { l.relist = func() { cancel(errRelist) } })
	defer func() {
		l.set(func() { l.relist = nil })
		if errors.Is(context.Cause(ctx), errRelist) {
			err = errRelist
		}
	}()
	cursor, losses, err := l.share.cursor(l.peer)
	if err != nil {
		return err
	}
	b, err := l.openBlobs(ctx, cursor, true)
	if err != nil {
		return err
	}
	defer b.s.Reset() //nolint:errcheck // the exchange is over either way
	defer context.AfterFunc(ctx, func() { _ = b.s.Reset() })()
	defer l.set(func() {
		l.blobs = false
		if b.refused != (refusal{}) {
			l.noBlobs = b.refused
		}
	})
	var queued []wire.BlobRefs // refs that came while blobs were awaited
	for {
		var refs wire.BlobRefs
		if len(queued) > 0 {
			refs, queued = queued[0], queued[1:]
		} else {
			kind, body, err := b.read()
			if err != nil && b.refused.code == CodeNotMember { // it may be one again
				l.set(func() { l.noBlobs, l.blobs = b.refused, false })
				b.refused = refusal{}
				continue
			}
			if err != nil {
				return err
			}
			if refs, err = wire.As[wire.BlobRefs](kind, body); err != nil {
				return err
			}
			l.set(func() { l.noBlobs = refusal{} })
		}
		more, err := b.fetchMissing(ctx, refs)
		if err != nil {
			return err
		}
		queued = append(queued, more...)
		if len(queued) > 64 {
			return fault.Of(wire.ErrFrame, "blob references instead of the blobs asked for")
		}
		if err := l.share.setCursor(l.peer, int64(refs.Last), losses); err != nil {
			return err
		}
		if err := b.w.Send(wire.Want{Have: refs.Last}); err != nil {
			return err
		}
		l.set(func() { l.blobs = len(queued) == 0 && len(refs.Blobs) < wire.RefsPerFrame })
	}
}

// fetchMissing gets the referenced blobs that are not here, some at a time. It
// returns the references that came in between.
func (b *blobStream) fetchMissing(ctx context.Context, refs wire.BlobRefs) (more []wire.BlobRefs, err error) {
	t := b.link.share.thread
	for i := 0; i < len(refs.Blobs); {
		var want []wire.BlobRef
		size := uint64(0)
		for ; i < len(refs.Blobs) && len(want) < wire.WantPerFrame && size < wantBytes; i++ {
			if ref := refs.Blobs[i]; !t.HasBlob(format.BlobID(ref.ID)) {
				want = append(want, ref)
				size += ref.Size
			}
		}
		if len(want) == 0 {
			continue
		}
		blobs, between, err := b.fetch(want)
		more = append(more, between...)
		if err != nil {
			return more, err
		}
		if err := t.PutSealedBlobs(ctx, blobs); err != nil {
			return more, err
		}
	}
	return more, nil
}

// fetch asks for blobs and verifies what comes: name and size, which bounds what
// is held in memory; a size of 0 is one not known. Blobs that the peer no longer has
// are left out.
func (b *blobStream) fetch(want []wire.BlobRef) (blobs [][]byte, more []wire.BlobRefs, err error) {
	var ids []byte
	for _, ref := range want {
		ids = append(ids, ref.ID...)
	}
	if err := b.w.Send(wire.Want{IDs: ids}); err != nil {
		return nil, nil, err
	}
	for n := 0; n < len(want); {
		kind, body, err := b.read()
		if err != nil {
			return nil, more, err
		}
		if kind == wire.KindBlobRefs && len(more) < 64 {
			refs, err := wire.As[wire.BlobRefs](kind, body)
			if err != nil {
				return nil, more, err
			}
			more = append(more, refs)
			continue
		}
		if kind != wire.KindBlob || len(body) < 32 || len(body) > 32+format.MaxSealedBlob || !bytes.Equal(body[:32], want[n].ID) {
			return nil, more, fault.Of(wire.ErrFrame, "frame of type %d, want blob %x", kind, want[n].ID[:4])
		}
		if sealed := body[32:]; len(sealed) > 0 {
			if id := format.BlobIDOf(sealed); !bytes.Equal(id[:], want[n].ID) {
				return nil, more, fault.Of(wire.ErrFrame, "blob %x has other bytes than its name says", want[n].ID[:4])
			}
			if size := want[n].Size; size != 0 && size != uint64(len(sealed)) {
				return nil, more, fault.Of(wire.ErrFrame, "blob %x has %d bytes, not %d", want[n].ID[:4], len(sealed), size)
			}
			blobs = append(blobs, sealed)
		}
		n++
	}
	return blobs, more, nil
}

// FetchBlob returns the plaintext of a blob: from here, else from the first
// connected peer of the thread that has it, verified and kept. It returns
// [ErrNoBlob] if there is none, [ErrLostBlob] if it was held here and was damaged.
func (t *Thread) FetchBlob(ctx context.Context, id BlobID) ([]byte, error) {
	return t.fetch(ctx, id, func() ([]byte, error) { return t.share.thread.Blob(ctx, id) })
}

// FetchBlobOf is FetchBlob of one whose plaintext has a known SHA-256 hash, and
// costs less: that hash alone decides. Of one that it refuses, FetchBlob says what
// is wrong.
func (t *Thread) FetchBlobOf(ctx context.Context, id BlobID, sum [32]byte) ([]byte, error) {
	return t.fetch(ctx, id, func() ([]byte, error) { return t.share.thread.BlobOf(ctx, id, sum) })
}

// fetch opens a blob once it is here. One that is damaged here is as one that is not.
func (t *Thread) fetch(ctx context.Context, id BlobID, open func() ([]byte, error)) ([]byte, error) {
	if t.share.thread.HasBlob(id) {
		plain, err := open()
		if err == nil || ctx.Err() != nil {
			return plain, err
		}
		if n, derr := t.share.dropBlobs(ctx, id); n == 0 || derr != nil {
			return nil, errors.Join(err, derr)
		}
	}
	failed := fault.Of(ErrNoBlob, "no connected peer holds blob %x", id[:])
	switch missed, err := t.share.thread.MissedBlob(ctx, id); {
	case err != nil:
		return nil, err
	case missed:
		failed = fault.Of(ErrLostBlob, "blob %x was damaged here, and no connected peer holds it", id[:])
	case t.share.thread.HasBlob(id):
		return open()
	}
	for _, l := range t.share.connectedLinks() {
		err := l.fetchBlob(ctx, id)
		if err == nil {
			return open()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = fmt.Errorf("%w; peer %s: %w", failed, l.peer, err)
	}
	return nil, failed
}

// fetchBlob gets one blob from a peer and keeps it.
func (l *link) fetchBlob(ctx context.Context, id BlobID) error {
	b, err := l.openBlobs(ctx, 0, false)
	if err != nil {
		return err
	}
	defer b.s.Reset() //nolint:errcheck // the exchange is over either way
	defer context.AfterFunc(ctx, func() { _ = b.s.Reset() })()
	blobs, _, err := b.fetch([]wire.BlobRef{{ID: id[:]}})
	if err != nil {
		l.share.host.fault(l.peer, err)
		return err
	}
	if len(blobs) == 0 {
		return fault.Of(ErrNoBlob, "no connected peer holds blob %x", id[:])
	}
	return l.share.thread.PutSealedBlobs(ctx, blobs)
}

// connectedLinks returns the links over which the thread is exchanged now.
func (s *share) connectedLinks() []*link {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	var links []*link
	for p, l := range s.links {
		if r := s.host.peers[p]; r != nil && r.conn != nil && l.stop != nil {
			links = append(links, l)
		}
	}
	return links
}
