package db

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

const (
	// maxQueued bounds the bytes of changes that wait for subscribers, of all
	// together; whoever has not taken what is dropped goes on from the journal.
	maxQueued = 4 << 20
	// maxEvents bounds the changes of one commit that are kept.
	maxEvents = 10_000
	// hitSize is what a change costs for each group that it is kept for.
	hitSize = 16
)

// A change is one change of one document, or of a refusal, as the committer
// notes it. It is immutable.
type change struct {
	op            opSet // one
	coll          string
	idKey         []byte
	id            value.Value
	before, after state
	by            clock.RecordID // whose folding made the change; zero for a void set
	time          clock.Time     // of that record, or of the document's last change
	remote        bool
	late          bool     // the document was folded again
	current       bool     // after is today's, and before is unknown
	refusal       *refusal // of opRefused and opCleared
	index         uint32   // of opConflict and opResolved: the unique index,
	key           []byte   // and the key in it
}

func (c *change) size() int {
	n := 160 + len(c.before.doc) + len(c.after.doc) + len(c.idKey) + len(c.id.Data) + len(c.key)
	if c.refusal != nil {
		n += len(c.refusal.message) + 128
	}
	return n
}

// A refusal is what a change says of a refused operation.
type refusal struct {
	stamp   clock.Stamp
	seq     uint64
	kind    string
	code    code // codeOK: it is not refused any more
	message string
}

// A place says what of the journal a subscriber has: everything up to at, and
// what was folded ahead of it, up to ahead; and how many gaps there were.
type place struct{ at, ahead, gaps int64 }

func (v *view) place() place {
	p := place{at: v.n, gaps: v.gaps}
	if k := len(v.ahead); k > 0 {
		p.ahead = v.ahead[k-1].last
	}
	return p
}

// news is what a published commit tells the feed.
type news struct {
	seq     uint64
	changes []change
	blind   bool // changes are not all of them
	place   place
	tip     clock.Hash // of the record at place.at; zero if it is not at hand
	size    int
	groups  []*group // one for each hit
}

// A hit is a change that a group matches.
type hit struct {
	seq  uint64
	news *news
	i    int
}

// A group is all subscriptions with the same criteria: a change is judged once
// for them. Its fields are guarded by the feed's mu.
type group struct {
	criteria
	key     string
	members int
	hits    []hit  // those that wait, in order
	evicted uint64 // hits up to this commit are gone
	filed   []filing
	mark    uint64 // of the last change that was judged
	wake    chan struct{}
	waited  bool // somebody waits for wake
}

// A feed takes commits from the committer and keeps the last of them for the
// subscriptions, by group. Its goroutine runs while there are subscriptions.
type feed struct {
	active atomic.Int64 // subscriptions
	queued atomic.Int64 // commits that are offered and not taken
	poked  chan struct{}
	wg     sync.WaitGroup

	inMu    sync.Mutex // guards in and inBytes; held shortly, the committer waits for it
	in      []*news
	inBytes int

	mu      sync.Mutex // guards the rest; taken before inMu
	running bool
	closed  bool
	window  []*news // the commits that have hits
	bytes   int
	last    uint64 // the last commit that was taken
	place   place  // after it
	lost    uint64 // of commits up to this one changes are unknown
	groups  map[string]*group
	routes  map[string]*route // by collection
	all     route             // of those for all collections
	marks   uint64
	scratch scratch

	tipMu sync.Mutex // guards tips
	tips  map[int64]clock.Hash
}

func newFeed() *feed {
	return &feed{poked: make(chan struct{}, 1), groups: map[string]*group{}, routes: map[string]*route{}, tips: map[int64]clock.Hash{}}
}

// A subscription is a membership in a group.
type subscription struct {
	f     *feed
	g     *group
	ended chan struct{}
	once  sync.Once
}

// join makes a subscription; every commit that is published after it returns
// and that it matches will be among its group's hits.
func (f *feed) join(c criteria) *subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := c.key()
	g := f.groups[key]
	if g == nil {
		g = &group{criteria: c, key: key, wake: make(chan struct{})}
		f.groups[key] = g
		f.address(g, (*route).add)
	}
	g.members++
	f.active.Add(1)
	if !f.running && !f.closed {
		f.running = true
		f.wg.Go(f.run)
	}
	return &subscription{f: f, g: g, ended: make(chan struct{})}
}

// leave ends the subscription; it may be called twice, by several goroutines.
func (s *subscription) leave() {
	s.once.Do(func() {
		close(s.ended)
		f := s.f
		f.mu.Lock()
		if s.g.members--; s.g.members == 0 {
			f.address(s.g, (*route).remove)
			delete(f.groups, s.g.key)
			s.g.hits = nil
		}
		f.active.Add(-1)
		f.mu.Unlock()
		f.poke()
	})
}

func (f *feed) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// offer hands a commit over; it never waits for subscribers.
func (f *feed) offer(n *news) {
	if f.active.Load() == 0 {
		return
	}
	for i := range n.changes {
		n.size += n.changes[i].size()
	}
	f.inMu.Lock()
	if f.inBytes += n.size; f.inBytes > 2*maxQueued {
		n.changes, n.blind, n.size = nil, true, 0
		f.in, f.inBytes = f.in[:0], 0
	}
	f.in = append(f.in, n)
	f.queued.Store(int64(len(f.in)))
	f.inMu.Unlock()
	f.poke()
}

// run gives commits to the groups until nobody is subscribed.
func (f *feed) run() {
	for {
		f.mu.Lock()
		f.drain()
		if len(f.groups) == 0 {
			f.running, f.window, f.bytes = false, nil, 0
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-f.poked
	}
}

// drain takes the commits that were offered; mu is held.
func (f *feed) drain() {
	for {
		f.inMu.Lock()
		f.queued.Store(int64(len(f.in))) // only now: what was popped is taken
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

// take finds the groups that a commit is for.
func (f *feed) take(n *news) {
	f.last, f.place = n.seq, n.place
	if n.blind {
		f.lost, f.window, f.bytes = n.seq, nil, 0
		for _, g := range f.groups {
			g.hits = nil
			g.poke()
		}
		return
	}
	if !n.tip.IsZero() {
		f.keepTip(n.place.at, n.tip)
	}
	for i := range n.changes {
		f.route(&n.changes[i], func(g *group) {
			g.hits = append(g.hits, hit{n.seq, n, i})
			n.groups = append(n.groups, g)
		})
	}
	if len(n.groups) == 0 {
		return
	}
	n.size += hitSize * len(n.groups)
	f.window = append(f.window, n)
	for f.bytes += n.size; f.bytes > maxQueued; {
		f.evict(f.window[0])
		f.window = f.window[1:]
	}
	for _, g := range n.groups {
		g.poke()
	}
}

func (f *feed) evict(n *news) {
	f.bytes -= n.size
	for _, g := range n.groups {
		for len(g.hits) > 0 && g.hits[0].seq <= n.seq {
			g.hits = g.hits[1:]
		}
		g.evicted = n.seq
	}
}

// poke wakes those who wait for the group.
func (g *group) poke() {
	if g.waited {
		close(g.wake)
		g.wake, g.waited = make(chan struct{}), false
	}
}

// pull returns the hits of the commits after pos, and where it has got to. With
// none, wait is closed when there may be some. behind says that some are gone.
func (s *subscription) pull(pos uint64) (hits []hit, next uint64, at place, wait <-chan struct{}, behind bool) {
	f, g := s.f, s.g
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drain() // so that a write is seen by whoever asks after it
	if pos < max(f.lost, g.evicted) {
		return nil, pos, place{}, nil, true
	}
	i := sort.Search(len(g.hits), func(i int) bool { return g.hits[i].seq > pos })
	if i < len(g.hits) {
		hits = slices.Clone(g.hits[i:])
		last := hits[len(hits)-1]
		return hits, last.seq, last.news.place, nil, false
	}
	g.waited = true
	return nil, max(pos, f.last), f.place, g.wake, false
}

// close ends the feed after its subscriptions have left.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.poke()
	f.wg.Wait()
}

func (f *feed) keepTip(n int64, h clock.Hash) {
	f.tipMu.Lock()
	defer f.tipMu.Unlock()
	if len(f.tips) >= 64 {
		clear(f.tips)
	}
	f.tips[n] = h
}

// tip returns the hash of the record at arrival n; zero for 0.
func (db *DB) tip(n int64) (clock.Hash, error) {
	if n == 0 {
		return clock.Hash{}, nil
	}
	db.feed.tipMu.Lock()
	h, ok := db.feed.tips[n]
	db.feed.tipMu.Unlock()
	if ok {
		return h, nil
	}
	as, err := db.journal.Arrivals(n-1, 1)
	if err != nil {
		return h, err
	}
	if len(as) == 0 || as[0].N != n {
		return h, nil // it was cut off: nothing goes on from there
	}
	db.feed.keepTip(n, as[0].ID.Hash)
	return as[0].ID.Hash, nil
}

// changed notes that e, which is next already, was before; op is what did it.
func (b *batch) changed(e *entry, before state, op *payload.Op, rec *record) {
	again := rec == nil
	if again {
		rec = b.folding
	}
	if b.unnamed || len(b.voiding) > 0 {
		b.gap(e.coll)
	}
	if before.doc == nil && e.doc == nil || b.unheard() {
		return
	}
	c := change{op: opUpdate, coll: e.coll.name, idKey: e.idKey, before: before, after: e.state, late: again, time: e.mod}
	if op != nil && op.Kind == payload.Replace {
		c.op = opReplace
	}
	switch {
	case e.doc == nil:
		c.op = opDelete
	case before.doc == nil:
		c.op = opInsert
	}
	if rec != nil {
		c.by, c.remote = rec.id, !b.db.own[rec.id.Log]
	}
	if op != nil && sameSlice(e.doc, op.Doc) {
		c.after.doc = slices.Clone(e.doc) // the caller of Insert may reuse its bytes
	}
	if c.id = payload.DocID(c.after.doc); !c.id.Exists() {
		c.id = payload.DocID(before.doc)
	}
	b.tell(c)
}

// unheard reports whether nobody is to be told of a change: there is nobody, and
// who comes before the commit goes on from the journal; or they are too many.
func (b *batch) unheard() bool {
	if b.db.feed.active.Load() == 0 {
		b.blind, b.changes = true, nil
	}
	return b.blind
}

// tell keeps a change for the feed.
func (b *batch) tell(c change) {
	b.toldBytes += c.size()
	if len(b.changes) == maxEvents || b.toldBytes > maxQueued {
		b.blind, b.changes = true, nil
		return
	}
	b.changes = append(b.changes, c)
}

// news returns what the committed batch tells.
func (b *batch) news() *news {
	n := &news{changes: b.changes, blind: b.blind}
	if rec := b.records[b.meta.cursor]; rec != nil {
		n.tip = rec.id.Hash
	}
	return n
}
