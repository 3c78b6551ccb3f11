package db

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/feed"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

const (
	maxLiveBytes = 16 << 20  // of one result
	maxLiveTotal = 256 << 20 // of all results of a database
	maxLiveLog   = 1 << 20   // of events that wait for the slowest
	maxLiveCount = 1 << 24   // of skip and limit
	minReserve   = 16
	maxReserve   = 256
	// maxReserveBytes is how large a result may be that has a reserve.
	maxReserveBytes = 4 << 20

	liveAdded   = "added"
	liveRemoved = "removed"
	liveChanged = "changed"
	liveMoved   = "moved"
)

// lives are the results that live queries share.
type lives struct {
	mu    sync.Mutex // guards sets and their entered; taken after a set's mu
	sets  map[string]*liveSet
	bytes atomic.Int64 // of all
}

// A liveDoc is a document of a result; immutable.
type liveDoc struct {
	keyspace.State
	idKey, sortKey []byte
}

// size is about how many bytes the document takes.
func (d *liveDoc) size() int { return 160 + len(d.Doc) + len(d.idKey) + len(d.sortKey) }

// compare orders documents as a Find does.
func (d *liveDoc) compare(o *liveDoc) int {
	return cmp.Or(bytes.Compare(d.sortKey, o.sortKey), bytes.Compare(d.idKey, o.idKey))
}

func payloadID(d *liveDoc) bson.RawValue { return payload.DocID(d.Doc).Raw() }

// A liveNote is an event as the log keeps it.
type liveNote struct {
	op          string
	doc         *liveDoc
	index, from int
	more        bool
}

// A liveSet is the result of one query, for all that ask the same. It holds the
// documents that come first, skip + limit of them and a reserve; items end where
// nothing is known of what follows, unless complete.
//
//	items  [0, skip) before · [skip, skip+limit) the result · the reserve
//
// Invariant: items are the first len(items) documents of what a Find without skip and
// limit gives at commit pos, in its order; and the events in the log, applied to the
// result that a member was given, give the result at pos. A document that sorts behind
// the last item is not taken in, because others that were never read may come before
// it; when deletions eat the reserve up, the items are read again and members are told
// a reset.
//
//	limit 2, reserve 1:  items a b | c         result a b
//	delete a:            items b c |           events: removed a (from 0), added c (at 1)
//	insert d:            behind c: not taken in, for what came after c was never read
//	delete b:            items c: fewer than the limit, not complete: read again, reset
type liveSet struct {
	db      *DB
	key     string
	coll    string
	o       search.Options
	m       change.Criteria
	sort    *query.Sort
	mod     bool // the sort reads _mod
	lo, hi  int  // the places of items that are the result
	eyes    view.Eyes
	ruled   bool // the collection had a read rule, and all members are one reader
	sub     *feed.Subscription
	entered int // by lives.mu

	mu       sync.Mutex // guards the rest
	members  map[*Live]bool
	sight    *view.Sight     // as of the last load
	wait     <-chan struct{} // closed when there may be changes; nil if that is not known
	pos      uint64          // the commit up to which items are folded
	stale    bool            // items are to be read
	items    []*liveDoc
	ids      map[string]*liveDoc
	complete bool
	bytes    int
	log      []liveNote
	first    int64 // the number of log[0]
	logBytes int
	err      error // why it is over
}

// liveSet returns the set of a query, entered.
func (db *DB) liveSet(ctx context.Context, coll string, o search.Options) (*liveSet, error) {
	s := &liveSet{db: db, coll: coll, eyes: view.EyesOf(ctx), members: map[*Live]bool{}, stale: true, ids: map[string]*liveDoc{}}
	s.o = search.Options{Filter: slices.Clone(o.Filter), Sort: slices.Clone(o.Sort), Skip: o.Skip, Limit: o.Limit}
	if len(s.o.Sort) <= 5 {
		s.o.Sort = bson.Raw{14, 0, 0, 0, byte(bson.TypeInt32), '_', 'i', 'd', 0, 1, 0, 0, 0, 0}
	}
	var err error
	if s.sort, err = query.CompileSort(s.o.Sort); err != nil {
		return nil, err
	}
	s.mod = s.sort.Names("_mod")
	s.m = change.Criteria{Colls: []string{coll}, Ops: change.OpDocs, Image: change.SideEither}
	if err := payload.CheckName(coll); err != nil {
		return nil, err
	}
	if err := s.m.Compile(s.o.Filter); err != nil {
		return nil, err
	}
	if coll != judge.SystemCollection {
		s.m.Law = value.AppendKey(nil, value.String(coll), false)
	}
	s.lo, s.hi = int(o.Skip), math.MaxInt
	if o.Limit > 0 {
		s.hi = s.lo + int(o.Limit)
	}
	k := binary.AppendUvarint([]byte(s.m.Key()), uint64(len(s.o.Sort)))
	k = keyspace.Uvarints(append(k, s.o.Sort...), uint64(o.Skip), uint64(o.Limit))
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	sight, err := s.eyes.Sight(v, coll)
	v.Release()
	if err != nil {
		return nil, err
	}
	s.ruled, s.key = sight != nil, string(k)+sight.Reader()

	db.lives.mu.Lock()
	defer db.lives.mu.Unlock()
	if had := db.lives.sets[s.key]; had != nil {
		had.entered++
		return had, nil
	}
	sub, v, err := db.subscribe(s.m)
	if err != nil {
		return nil, err
	}
	v.Release()
	s.sub, s.entered = sub, 1
	if db.lives.sets == nil {
		db.lives.sets = map[string]*liveSet{}
	}
	db.lives.sets[s.key] = s
	return s, nil
}

// enter makes l a member and gives it the result.
func (s *liveSet) enter(ctx context.Context, l *Live) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.advance(ctx); err != nil {
		return err
	}
	s.members[l] = true
	l.pos, l.result = s.end(), l.documents()
	return nil
}

// leaveLive ends l, and its set with the last member.
func (db *DB) leaveLive(l *Live) {
	s := l.set
	s.mu.Lock()
	left := l.left
	l.left = true
	delete(s.members, l)
	s.mu.Unlock()
	if left {
		return
	}
	db.lives.mu.Lock()
	s.entered--
	last := s.entered == 0
	if last && db.lives.sets[s.key] == s {
		delete(db.lives.sets, s.key)
	}
	db.lives.mu.Unlock()
	if last {
		db.unsubscribe(s.sub)
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

// fail ends the set: its members are told err, and who asks the same begins
// another one.
func (s *liveSet) fail(err error) error {
	s.err = err
	s.clear()
	s.db.lives.mu.Lock()
	defer s.db.lives.mu.Unlock()
	if s.db.lives.sets[s.key] == s {
		delete(s.db.lives.sets, s.key)
	}
	return err
}

func (s *liveSet) clear() {
	s.db.lives.bytes.Add(-int64(s.bytes))
	s.first = s.end()
	s.items, s.bytes, s.log, s.logBytes = nil, 0, nil, 0
	clear(s.ids)
}

func (s *liveSet) end() int64 { return s.first + int64(len(s.log)) }

// shown returns the result.
func (s *liveSet) shown() []*liveDoc {
	n := len(s.items)
	return s.items[min(s.lo, n):min(s.hi, n)]
}

// advance folds the commits since the last call into items, or reads them again.
// It returns what is closed when there are more, nil if something was noted.
func (s *liveSet) advance(ctx context.Context) (wait <-chan struct{}, err error) {
	for began := s.end(); ; {
		// Before wait is looked at: the feed closes that before a commit ceases to
		// be queued, so that none can slip between the two.
		queued := s.db.feed.Queued.Load()
		select {
		case <-s.sub.Ended:
			return nil, ErrClosed
		case <-s.wait:
		default:
			// Nothing since another member looked; this one need not.
			if s.wait != nil && !s.stale && s.err == nil && queued == 0 {
				return s.wait, nil
			}
		}
		s.wait = nil
		if s.err != nil {
			return nil, s.err
		}
		if s.stale {
			if err := s.load(ctx); err != nil {
				return nil, err
			}
		}
		end := s.end()
		hits, next, _, wait, behind := s.sub.Pull(s.pos)
		if behind {
			s.stale = true
			continue
		}
		for i, h := range hits {
			c := &h.News.Changes[h.I]
			if c.Coll == s.coll {
				s.apply(c)
			} else if judge.ReadRule(c.Before.Doc) != judge.ReadRule(c.After.Doc) {
				return nil, s.fail(errReadRule)
			}
			if i == len(hits)-1 || hits[i+1].Seq != h.Seq {
				s.settle(end)
				end = s.end()
			}
		}
		s.pos = next
		switch {
		case s.bytes > maxLiveBytes || s.db.lives.bytes.Load() > maxLiveTotal:
			return nil, s.fail(errLiveSize)
		case !s.complete && len(s.items) < s.hi:
			s.stale = true // the window has run out
		case len(hits) == 0 || s.end() != began:
			s.wait = wait
			return wait, nil
		}
	}
}

var errLiveSize = fault.Of(ErrTooLarge, "the result of a live query is too large; use a filter or a limit")

// reserve returns how many documents after the result are held.
func (s *liveSet) reserve() int { return min(max(int(s.o.Limit), minReserve), maxReserve) }

// load reads items; the members are told a reset.
func (s *liveSet) load(ctx context.Context) error {
	o := s.o
	o.Skip, o.Limit = 0, 0
	if s.o.Limit > 0 {
		o.Limit = int64(s.hi + s.reserve())
	}
	reader, cancel := context.WithCancel(s.eyes.Ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	cur, err := s.db.find(reader, s.coll, o)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	defer cur.Close()
	if s.sight, err = s.eyes.Sight(cur.View(), s.coll); err != nil {
		return err
	}
	if s.ruled != (s.sight != nil) {
		return s.fail(errReadRule)
	}
	s.pos = max(s.pos, cur.View().Seq)
	s.clear()
	for cur.Next() {
		if len(s.items) >= s.hi && s.bytes > maxReserveBytes {
			o.Limit = int64(len(s.items)) // there are more
			break
		}
		s.put(len(s.items), s.doc(cur.Found().State))
		if s.bytes > maxLiveBytes || s.db.lives.bytes.Load() > maxLiveTotal {
			return s.fail(errLiveSize)
		}
	}
	if err := cur.Err(); err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	s.complete = o.Limit == 0 || int64(len(s.items)) < o.Limit
	s.stale = false
	for l := range s.members {
		l.reset = true
	}
	return nil
}

// doc makes an item of a state, with its sort key.
func (s *liveSet) doc(st keyspace.State) *liveDoc {
	d := &liveDoc{State: st}
	id := payload.DocID(st.Doc)
	d.idKey, _ = payload.CheckID(id)
	if s.mod {
		d.sortKey = s.sort.Key(nil, keyspace.WithMod(st))
	} else {
		d.sortKey = s.sort.Key(nil, st.Doc)
	}
	return d
}

func (s *liveSet) put(i int, d *liveDoc) {
	s.items = slices.Insert(s.items, i, d)
	s.ids[string(d.idKey)] = d
	s.grow(d.size())
}

func (s *liveSet) take(i int) {
	d := s.items[i]
	s.items = slices.Delete(s.items, i, i+1)
	delete(s.ids, string(d.idKey))
	s.grow(-d.size())
}

// grow counts what the set holds, and with it what all hold.
func (s *liveSet) grow(n int) {
	s.bytes += n
	s.db.lives.bytes.Add(int64(n))
}

// rankOf returns where d is in items, or would be.
func (s *liveSet) rankOf(d *liveDoc) int {
	return sort.Search(len(s.items), func(i int) bool { return s.items[i].compare(d) >= 0 })
}

// apply folds one change of a document into items.
func (s *liveSet) apply(c *change.Change) {
	old := s.ids[string(c.IDKey)]
	var d *liveDoc
	if c.After.Doc != nil && (s.m.Filter == nil || s.m.Fits(&c.After)) && s.sight.Shows(c.After.Doc) {
		d = s.doc(c.After)
		// Behind the last that is held, others may come first.
		if n := len(s.items); !s.complete && (n == 0 || d.compare(s.items[n-1]) > 0) {
			d = nil
		}
	}
	var notes []liveNote
	if old != nil {
		i := s.rankOf(old)
		notes = s.noteOut(notes, i)
		s.take(i)
	}
	if d != nil {
		i := s.rankOf(d)
		notes = s.noteIn(notes, i, d)
		s.put(i, d)
	}
	s.trim()
	for _, n := range merge(notes) {
		s.log = append(s.log, n)
		s.logBytes += n.size()
	}
}

// trim takes out of the reserve what is too much of it.
func (s *liveSet) trim() {
	if s.o.Limit == 0 || len(s.items) <= s.hi+2*s.reserve() && s.bytes <= 2*maxReserveBytes {
		return
	}
	for n := len(s.items); n > s.hi && (n > s.hi+s.reserve() || s.bytes > maxReserveBytes); n-- {
		s.take(n - 1)
		s.complete = false
	}
}

// noteOut notes what the result loses and gains when item i is taken out.
func (s *liveSet) noteOut(notes []liveNote, i int) []liveNote {
	n := len(s.items)
	if out := max(i, s.lo); out < min(n, s.hi) {
		notes = append(notes, liveNote{op: liveRemoved, doc: s.items[out], index: -1, from: out - s.lo})
		if s.hi < n {
			notes = append(notes, liveNote{op: liveAdded, doc: s.items[s.hi], index: s.hi - 1 - s.lo, from: -1})
		}
	}
	return notes
}

// noteIn notes what the result loses and gains when d is put in at i.
func (s *liveSet) noteIn(notes []liveNote, i int, d *liveDoc) []liveNote {
	n := len(s.items)
	if i >= s.hi || n < s.lo {
		return notes
	}
	if n >= s.hi {
		notes = append(notes, liveNote{op: liveRemoved, doc: s.items[s.hi-1], index: -1, from: s.hi - 1 - s.lo})
	}
	if i < s.lo {
		d = s.items[s.lo-1]
	}
	return append(notes, liveNote{op: liveAdded, doc: d, index: max(i, s.lo) - s.lo, from: -1})
}

// merge makes of a document that leaves and comes back one that is changed or
// moved, or that nothing happened to.
func merge(ns []liveNote) []liveNote {
	for i := 0; i+1 < len(ns); {
		a, b := &ns[i], &ns[i+1]
		again := bytes.Equal(a.doc.idKey, b.doc.idKey) && a.op != b.op
		same := again && keyspace.SameState(a.doc.State, b.doc.State)
		switch {
		case again && a.op == liveAdded, same && a.from == b.index:
			ns = slices.Delete(ns, i, i+2)
		case again:
			b.op, b.from = liveMoved, a.from
			if b.from == b.index {
				b.op = liveChanged
			}
			ns = slices.Delete(ns, i, i+1)
		default:
			i++
			continue
		}
		i = 0
	}
	return ns
}

func (n *liveNote) size() int {
	if n.op == liveRemoved {
		return 96
	}
	return 96 + n.doc.size()
}

// settle ends a commit's notes, of which the first has the given number, and
// keeps the log within its bound.
func (s *liveSet) settle(from int64) {
	for i := from; i < s.end()-1; i++ {
		s.log[i-s.first].more = true
	}
	if s.logBytes < maxLiveLog/4 {
		return
	}
	least := s.end()
	for l := range s.members {
		least = min(least, l.pos)
	}
	for len(s.log) > 0 && (s.first < least || s.logBytes > maxLiveLog) {
		s.logBytes -= s.log[0].size()
		s.log = s.log[1:]
		s.first++
	}
}

// errReadRule ends a live query whose collection has another read rule now.
var errReadRule = fault.New(fault.Conflict, "the read rule of the collection was changed; run the live query again")
