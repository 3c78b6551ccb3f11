package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A DB is an open database. It is safe for concurrent use. Methods that change
// something return when the change is durable.
type DB struct {
	store    store.Store
	name     string
	prefix   []byte
	journal  Journal
	identity string // of who reads, unless a call says otherwise
	clock    *clock.Clock
	log      *slog.Logger

	budgetBytes, budgetOps int // of one group
	baseEvery              uint64

	refolds atomic.Int64
	feed    *feed
	lives   lives
	feeds   feeds
	feedID  feedID
	wake    chan struct{} // holds one signal
	wg      sync.WaitGroup
	ended   atomic.Bool     // by Close
	life    context.Context //nolint:containedctx // of what the database does by itself; Close ends it
	endLife func()

	// The committer's own, and Open's before there is one.
	cat      *catalog
	meta     meta
	own      map[clock.LogID]bool
	cut      Cut
	recent   map[int64]*record
	waiting  []*request
	broken   error // why nothing can be written until the next Open
	building bool  // indexes may wait for buildSome

	defMu    sync.Mutex // guards defCache
	defCache map[string]*definition

	mu         sync.Mutex // guards the fields below
	queue      []*request
	running    bool
	closed     bool
	view       *view
	recentDocs recentChanges
	seq        uint64 // of view, which is never used again
	watches    map[*subscription]struct{}
	cursors    cursors
	sessions   sessions
	uses       uint64      // see Uses
	sweeper    *time.Timer // of the next sweep; nil for none
	asleep     bool        // by Suspend; what load reads is not there, and view is nil
	slept      Info        // when it fell asleep

	waking sync.Mutex // held while the database is suspended or loaded again; before mu
	loaded func()     // Options.Loaded
}

var valueNone value.Value

// Open opens the database under o.Prefix, creating it if there is none. It
// finishes an interrupted fold first; arrivals that are not folded yet are
// folded in the background.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Store == nil || o.Journal == nil {
		return nil, fault.New(fault.InvalidArgument, "Open needs a Store and a Journal")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := o.Store.Limits()
	db := &DB{
		store: o.Store, name: o.Name, prefix: slices.Clone(o.Prefix), journal: o.Journal, identity: o.Identity, clock: o.Clock, log: o.Log,
		budgetBytes: l.Bytes / 3, budgetOps: l.Puts / 4, baseEvery: baseEvery, wake: make(chan struct{}, 1),
		own: map[clock.LogID]bool{}, recent: map[int64]*record{},
		defCache: map[string]*definition{}, watches: map[*subscription]struct{}{}, feed: newFeed(), loaded: o.Loaded,
	}
	if db.clock == nil {
		db.clock = &clock.Clock{}
	}
	db.life, db.endLife = context.WithCancel(context.Background())
	if err := db.load(); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	db.mu.Lock()
	db.start()
	db.mu.Unlock()
	return db, nil
}

func (db *DB) load() (err error) {
	snap := db.store.Snapshot()
	defer snap.Release()
	if db.cat, err = loadCatalog(db, snap); err != nil {
		return err
	}
	if db.meta, err = loadMeta(db, snap); err != nil {
		return err
	}
	if err = db.loadLogs(snap, tagOwn, db.own); err != nil {
		return err
	}
	if db.cut, err = db.loadCut(snap); err != nil {
		return err
	}
	if err = db.loadFeedID(snap); err != nil {
		return err
	}
	v, err := snap.Get(db.key(tagRedo))
	if err == nil {
		if err = db.redoSteps(v); err != nil {
			return err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err = db.dropShadows(); err != nil {
		return err
	}
	db.building = true // indexes may wait to be filled, or to be deleted
	db.publish(&news{})
	return nil
}

func (db *DB) loadLogs(r store.Reader, tag byte, into map[clock.LogID]bool) error {
	p := db.key(tag)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if id := it.Key()[len(p):]; len(id) == 32 {
			into[clock.LogID(id)] = true
		}
	}
	return it.Err()
}

// redoSteps finishes steps that a crash interrupted.
func (db *DB) redoSteps(marker []byte) error {
	var mk redoMarker
	if err := bson.Unmarshal(marker, &mk); err != nil {
		return fault.Of(errCorrupt, "corrupt value in the store: %w", err)
	}
	var rescans []rescan
	for _, s := range mk.Rescans {
		rescans = append(rescans, rescan{s.Coll, ref{clock.Time(s.Time), s.N, uint32(s.Index)}})
	}
	if len(mk.Void) > 0 {
		changed, err := parseVoidMarks(mk.Void)
		if err != nil {
			return err
		}
		return db.voidSteps(changed, true, rescans)
	}
	as, err := db.journal.Arrivals(db.meta.cursor, 1)
	if err != nil {
		return err
	}
	b := db.newBatch()
	defer b.discard()
	b.stepping, b.redo = true, true
	b.rescans = rescans
	if len(as) > 0 {
		rec := decode(&as[0])
		if !b.meta.isAhead(rec.n) {
			if err := b.fold(rec); err != nil {
				return err
			}
		}
		b.arrived = span{rec.n, rec.n}
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := db.store.Sync(); err != nil {
		return err
	}
	db.meta, db.cat = b.meta, b.cat
	for m := range b.multi {
		m.Store(true)
	}
	return nil
}

// Close ends the committer and every cursor and watch. It does not close the
// store. It may be called twice.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	if db.sweeper != nil {
		db.sweeper.Stop()
	}
	ws := db.watches
	db.watches = nil
	db.mu.Unlock()
	db.ended.Store(true)
	for s := range ws {
		s.leave()
	}
	db.feed.close()
	db.endLife()
	db.Wake()
	db.wg.Wait()
	db.closeSessions()
	db.closeCursors()
	db.mu.Lock()
	v := db.view
	db.view = nil
	db.mu.Unlock()
	if v != nil {
		v.release()
	}
	return nil
}

// Wake says that the journal has new arrivals; it never blocks.
func (db *DB) Wake() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

// Settle returns when everything that had arrived in the journal before the
// call is folded and durable.
func (db *DB) Settle(ctx context.Context) error {
	r := &request{ctx: ctx, n: 1}
	if err := db.submit(r); err != nil {
		return err
	}
	return r.err
}

// StateHash returns the arrival up to which the database is folded and the
// hash of that state. Two replicas that folded the same records have the same
// hash.
func (db *DB) StateHash() (n int64, h clock.Hash) {
	v, i, err := db.look()
	if v == nil || err != nil {
		return i.Arrival, i.Hash
	}
	defer v.release()
	return v.n, v.stateHash()
}

// Info describes the database.
func (db *DB) Info() Info {
	v, i, err := db.look()
	if v == nil || err != nil {
		return i
	}
	defer v.release()
	return db.infoOf(v)
}

func (db *DB) infoOf(v *view) Info {
	i := Info{Arrival: v.n, Hash: v.stateHash(), Refused: v.refused, Refolds: db.refolds.Load()}
	for name, c := range v.cat.colls {
		if name == systemCollection {
			i.Collections = int(v.stats[c.num].docs)
		} else {
			i.Documents += v.stats[c.num].docs
		}
		for _, x := range c.indexes {
			if x.shadow || !x.filled {
				i.Building++
			} else {
				i.Conflicts += v.stats[x.num].docs
			}
		}
	}
	return i
}

func (db *DB) logf(format string, args ...any) {
	if db.log != nil {
		db.log.Warn(fmt.Sprintf(format, args...))
	}
}

// A view is what readers see: the state after some commit, synced. It is
// released when nobody reads it and a later one exists.
type view struct {
	snap    store.Snapshot
	cat     *catalog
	stats   map[uint32]collStats // immutable
	gen     uint64               // of the commit
	seq     uint64               // of the publication
	n       int64
	refused int64
	gaps    int64
	ahead   []span               // immutable
	own     map[clock.LogID]bool // immutable
	hash    *lthash.State
	pending []lthash.Delta
	once    sync.Once
	sum     clock.Hash
	refs    atomic.Int64
	defs    sync.Map // *definition by collection, nil for none
}

// publish makes the committed state what readers see, and tells the feed of its
// changes.
func (db *DB) publish(n *news) {
	v := &view{
		snap: db.store.Snapshot(), gen: db.meta.gen, cat: db.cat, stats: db.meta.stats, n: db.meta.cursor, refused: db.meta.refused,
		gaps: db.meta.gaps, ahead: slices.Clone(db.meta.ahead), own: db.own, hash: db.meta.hash, pending: db.meta.pending,
	}
	v.refs.Store(1)
	db.mu.Lock()
	old := db.view
	db.view = v
	db.seq++
	v.seq = db.seq
	n.seq, n.place = v.seq, v.place()
	db.feed.offer(n)
	if old == nil || old.cat != v.cat {
		db.scheduleSweep()
	}
	db.mu.Unlock()
	if old != nil {
		old.release()
	}
}

func (db *DB) acquire() (*view, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.use(); err != nil {
		return nil, err
	}
	if db.view == nil || db.closed {
		return nil, ErrClosed
	}
	db.view.refs.Add(1)
	return db.view, nil
}

func (v *view) release() {
	if v.refs.Add(-1) == 0 {
		v.snap.Release()
	}
}

func (v *view) stateHash() clock.Hash {
	v.once.Do(func() {
		h := *v.hash
		h.Apply(v.pending)
		v.sum = h.Sum()
	})
	return v.sum
}
