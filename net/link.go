package net

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
)

// A link is one thread with one peer.
type link struct {
	share *share
	peer  peer.ID

	// Guarded by host.mu.
	shared               bool               // the peer announced the thread's tag
	hosted               bool               // the peer, a relay, keeps the thread for us
	denied               refusal            // on a relay: why the peer has no grant
	feedsOpen, blobsOpen int                // streams of the peer that are served
	stop                 context.CancelFunc // ends the pull; nil: none runs
	ended                chan struct{}      // closed when the pull has ended

	kick, kickBlobs chan struct{} // retry the pull, or that of blobs, now

	mu       sync.Mutex // guards the fields below
	theirs   tipset.Set // tips that the peer said it holds, or sent
	said     statement  // the peer's last statement
	acks     bool       // said comes from acks, which are newer than what else it says
	host     refusal    // of our request to keep the thread
	pull     refusal    // of our subscription
	noBlobs  refusal    // of our stream of blobs
	pulling  bool       // subscription accepted
	feeding  bool       // we accepted the peer's subscription
	caughtUp bool       // the peer sent all that it had
	rejected string     // the last record of the peer that was refused
	blobs    bool       // we hold every blob that the peer listed, and it listed all
	blobsTo  int64      // the peer holds our blobs up to this; -1: it has not said
	follows  int        // blob streams of the peer, counted; the last one's word counts
	relist   func()     // ends our stream of blobs for another one; nil: there is none
	state    State      // last computed
	since    time.Time  // of state
}

// A refusal is why a peer will not do something; the zero value is none.
type refusal struct {
	code keys.Code
	text string
}

// message returns what the peer is told.
func (r refusal) message(thread []byte) wire.Refused {
	return wire.Refused{Thread: thread, Code: string(r.code), Message: r.text}
}

// refusalIn returns what a message says; it is never the zero refusal.
func refusalIn(m wire.Refused) refusal {
	code := keys.Code(clip(m.Code, 64))
	return refusal{cmp.Or(code, "refused"), clip(m.Message, 512)}
}

// clip bounds text that a peer chose.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// link returns the link to a peer, made if need be. The caller holds host.mu.
func (s *share) link(p peer.ID) *link {
	l := s.links[p]
	if l == nil {
		l = &link{share: s, peer: p, kick: make(chan struct{}, 1), kickBlobs: make(chan struct{}, 1), theirs: tipset.Set{}, since: s.host.now(), blobsTo: -1}
		s.links[p] = l
	}
	return l
}

// wanted reports whether this host should pull from the peer. The caller holds
// host.mu.
func (l *link) wanted() bool {
	r := l.share.host.peers[l.peer]
	if r == nil || r.conn == nil || l.share.ctx.Err() != nil {
		return false
	}
	if l.share.relay {
		return len(r.grants[l.share.thread.ID()]) > 0
	}
	return l.shared || l.hosted && l.share.usesRelay(l.peer)
}

// adjust starts or ends the pull as wanted. The caller holds host.mu.
func (l *link) adjust() {
	switch want := l.wanted(); {
	case want && l.stop == nil:
		r := l.share.host.peers[l.peer]
		ctx, stop := context.WithCancel(r.conn)
		undo := context.AfterFunc(l.share.ctx, stop)
		l.stop = func() { undo(); stop() }
		before, ended := l.ended, make(chan struct{})
		l.ended = ended
		l.share.host.run(func() {
			defer l.share.host.reap(l.peer)
			defer close(ended)
			defer undo()
			if before != nil {
				<-before
			}
			blobs := make(chan struct{})
			l.share.host.run(func() { defer close(blobs); l.followBlobs(ctx) })
			l.follow(ctx)
			<-blobs
		})
	case !want && l.stop != nil:
		l.stop()
		l.stop = nil
	case want:
		poke(l.kick)
		poke(l.kickBlobs)
	}
	l.share.admission.Ring()
	l.share.status.Ring()
}

// maxTheirs bounds the logs of a thread that a peer may name.
const maxTheirs = 1 << 16

// note sets what the peer holds, as it acknowledges, of the logs of tips.
func (l *link) note(tips []clock.RecordID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.theirs.Note(tips, maxTheirs)
}

// learn adds tips that the peer has sent, or said before it began to send: they
// may be older than its acks, which travel on another stream.
func (l *link) learn(tips ...clock.RecordID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.theirs.Learn(tips...)
}

// knows returns the tips of a log that the peer holds, as far as it said.
func (l *link) knows(log clock.LogID) []clock.RecordID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.theirs[log]
}

// set changes the link under its lock and tells whoever waits for its status.
func (l *link) set(change func()) {
	l.mu.Lock()
	change()
	l.mu.Unlock()
	l.share.status.Ring()
}
