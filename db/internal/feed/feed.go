// Package feed gives changes to those who subscribed, in audiences of equal criteria: a
// change is tested once for an audience, and routed to the audiences that may match it by
// _id or by the value of a field.
//
//	committer ─► Offer ─► [queue] ─► take ─► route ─► hits of audiences ─► Pull
//
// The committer never waits. What nobody has taken is bounded in bytes; who falls
// behind is told so, and goes on from the journal by a resume token.
package feed

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

const (

	// hitSize is what a change costs for each audience that it is kept for.
	hitSize = 16
)

// A commit is a news that waits in the feed's window.
type commit struct {
	*change.News
	size      int
	audiences []*audience // one for each hit
}

// A Hit is a change that an audience matches.
type Hit struct {
	Seq  uint64  // of the commit's publication
	News *commit // which has the change, and the bookmark after it
	I    int     // of the change in News.Changes
}

// An audience is all subscriptions with the same criteria: a change is tested once
// for them. Its fields are guarded by the feed's mu.
type audience struct {
	change.Criteria
	key     string
	members int
	hits    []Hit  // those that wait, in order
	evicted uint64 // hits up to this commit are gone
	filed   []filing
	mark    uint64    // of the last change that was tested
	more    bell.Bell // rung when there are hits, or some are lost
}

// A Feed takes commits from the committer and keeps the last of them for the
// subscriptions, by audience. Its goroutine runs while there are subscriptions.
type Feed struct {
	journal journal.Journal
	id      feedID

	active atomic.Int64 // subscriptions
	Queued atomic.Int64 // commits that are offered and not taken
	poked  chan struct{}
	wg     sync.WaitGroup

	inMu    sync.Mutex // guards in and inBytes; held shortly, the committer waits for it
	in      []*commit
	inBytes int

	mu        sync.Mutex // guards the rest; taken before inMu
	running   bool
	closed    bool
	window    []*commit // the commits that have hits
	bytes     int
	last      uint64        // the last commit that was taken
	bookmark  view.Bookmark // after it
	lost      uint64        // of commits up to this one changes are unknown
	audiences map[string]*audience
	routes    map[string]*route // by collection
	all       route             // of those for all collections
	marks     uint64
	scratch   scratch

	tipMu sync.Mutex // guards tips
	tips  map[int64]clock.Hash
}

// New returns the feed of the database under sp, and makes its ID if it has none.
func New(st store.Store, sp keyspace.Space, j journal.Journal) (*Feed, error) {
	id, err := loadFeedID(st, sp)
	return &Feed{journal: j, id: id, poked: make(chan struct{}, 1), audiences: map[string]*audience{}, routes: map[string]*route{}, tips: map[int64]clock.Hash{}}, err
}

// A Subscription is a membership in an audience.
type Subscription struct {
	f        *Feed
	Audience *audience
	Ended    chan struct{}
	once     sync.Once
}

// Join makes a subscription; every commit that is published after it returns
// and that it matches will be among its audience's hits.
func (f *Feed) Join(c change.Criteria) *Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := c.Key()
	g := f.audiences[key]
	if g == nil {
		g = &audience{Criteria: c, key: key}
		f.audiences[key] = g
		f.address(g, (*route).add)
	}
	g.members++
	f.active.Add(1)
	if !f.running && !f.closed {
		f.running = true
		f.wg.Go(f.run)
	}
	return &Subscription{f: f, Audience: g, Ended: make(chan struct{})}
}

// Leave ends the subscription; it may be called twice, by several goroutines.
func (s *Subscription) Leave() {
	s.once.Do(func() {
		close(s.Ended)
		f := s.f
		f.mu.Lock()
		if s.Audience.members--; s.Audience.members == 0 {
			f.address(s.Audience, (*route).remove)
			delete(f.audiences, s.Audience.key)
			s.Audience.hits = nil
		}
		f.active.Add(-1)
		f.mu.Unlock()
		f.poke()
	})
}

// poke has run look for commits.
func (f *Feed) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// Active reports whether there are subscriptions.
func (f *Feed) Active() bool { return f.active.Load() > 0 }

// Offer hands a commit over; it never waits for subscribers. If too much waits, all of it
// is dropped and the commit says that changes are missing (Blind): who subscribed goes on
// from the journal.
func (f *Feed) Offer(n *change.News) {
	if f.active.Load() == 0 {
		return
	}
	c := &commit{News: n}
	for i := range n.Changes {
		c.size += n.Changes[i].Size()
	}
	f.inMu.Lock()
	if f.inBytes += c.size; f.inBytes > 2*change.MaxQueued {
		n.Changes, n.Blind, c.size = nil, true, 0
		f.in, f.inBytes = f.in[:0], 0
	}
	f.in = append(f.in, c)
	f.Queued.Store(int64(len(f.in)))
	f.inMu.Unlock()
	f.poke()
}

// run gives commits to the audiences until nobody is subscribed.
func (f *Feed) run() {
	for {
		f.mu.Lock()
		f.drain()
		if len(f.audiences) == 0 {
			f.running, f.window, f.bytes = false, nil, 0
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-f.poked
	}
}

// drain takes the commits that were offered; mu is held.
func (f *Feed) drain() {
	for {
		f.inMu.Lock()
		f.Queued.Store(int64(len(f.in))) // only now: what was popped is taken
		if len(f.in) == 0 {
			f.in = nil
			f.inMu.Unlock()
			return
		}
		n := f.in[0]
		f.in = f.in[1:]
		f.inBytes -= n.size
		f.inMu.Unlock()
		f.take(n)
	}
}

// take finds the audiences that a commit is for. mu is held. A blind commit empties
// everything: whoever asks for what came before it is behind.
func (f *Feed) take(n *commit) {
	f.last, f.bookmark = n.Seq, n.Bookmark
	if n.Blind {
		f.lost, f.window, f.bytes = n.Seq, nil, 0
		for _, g := range f.audiences {
			g.hits = nil
			g.more.Ring()
		}
		return
	}
	if !n.Tip.IsZero() {
		f.keepTip(n.Bookmark.At, n.Tip)
	}
	for i := range n.Changes {
		f.route(&n.Changes[i], func(g *audience) {
			g.hits = append(g.hits, Hit{n.Seq, n, i})
			n.audiences = append(n.audiences, g)
		})
	}
	if len(n.audiences) == 0 {
		return
	}
	n.size += hitSize * len(n.audiences)
	f.window = append(f.window, n)
	for f.bytes += n.size; f.bytes > change.MaxQueued; {
		f.evict(f.window[0])
		f.window = f.window[1:]
	}
	for _, g := range n.audiences {
		g.more.Ring()
	}
}

// evict drops the oldest commit of the window; audiences that had hits in it are behind.
func (f *Feed) evict(n *commit) {
	f.bytes -= n.size
	for _, g := range n.audiences {
		for len(g.hits) > 0 && g.hits[0].Seq <= n.Seq {
			g.hits = g.hits[1:]
		}
		g.evicted = n.Seq
	}
}

// Pull returns the hits of the commits after pos, and where it has got to. With
// none, wait is closed when there may be some. behind says that some are gone.
func (s *Subscription) Pull(pos uint64) (hits []Hit, next uint64, at view.Bookmark, wait <-chan struct{}, behind bool) {
	f, g := s.f, s.Audience
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drain() // so that a write is seen by whoever asks after it
	if pos < max(f.lost, g.evicted) {
		return nil, pos, view.Bookmark{}, nil, true
	}
	i := sort.Search(len(g.hits), func(i int) bool { return g.hits[i].Seq > pos })
	if i < len(g.hits) {
		hits = slices.Clone(g.hits[i:])
		last := hits[len(hits)-1]
		return hits, last.Seq, last.News.Bookmark, nil, false
	}
	return nil, max(pos, f.last), f.bookmark, g.more.Wait(), false
}

// Close ends the feed after its subscriptions have left. Until they have it waits, because
// run ends with the last of them.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.poke()
	f.wg.Wait()
}

// keepTip remembers the hash of the record at arrival n, for tokens.
func (f *Feed) keepTip(n int64, h clock.Hash) {
	f.tipMu.Lock()
	defer f.tipMu.Unlock()
	if len(f.tips) >= 64 {
		clear(f.tips)
	}
	f.tips[n] = h
}

// tip returns the hash of the record at arrival n; zero for 0.
func (f *Feed) tip(n int64) (clock.Hash, error) {
	if n == 0 {
		return clock.Hash{}, nil
	}
	f.tipMu.Lock()
	h, ok := f.tips[n]
	f.tipMu.Unlock()
	if ok {
		return h, nil
	}
	as, err := f.journal.Arrivals(n-1, 1)
	if err != nil {
		return h, err
	}
	if len(as) == 0 || as[0].N != n {
		return h, nil // it was cut off: nothing goes on from there
	}
	f.keepTip(n, as[0].ID.Hash)
	return as[0].ID.Hash, nil
}
