// Package fold keeps the documents of a database what the operations in its journal
// give when they are applied in stamp order.
//
//	Fold ── committer     one goroutine: takes requests and arrivals in groups, writes, publishes
//	         └── batch    one store transaction, or several steps behind a redo marker
//	              ├── apply    a record's operations, in place where they are the latest
//	              ├── refold   documents again, from the place of a late operation
//	              ├── merge    the late operations of all that arrived, in pieces
//	              ├── rescan   a collection again, where its schema or rules changed
//	              └── void     what the cut leaves out, or counts again
//
// Invariant: after each commit every document is what the reference fold (every
// operation in stamp order from nothing) gives of the records up to the cursor and
// of those folded ahead of it; its index entries, counts, refusals and the state hash
// agree with it. Whatever is written in several transactions is written so that the
// fold that Open finishes comes to the same.
package fold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/define"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Listener is told what commits changed.
type Listener interface {
	// Active reports whether anybody listens; if not, changes need not be kept.
	Active() bool
	// Offer hands a published commit over. The fold's mutex is held: it must not
	// block, and not call the fold.
	Offer(n *change.News)
}

// OpenDB opens a fold and the database on it, a *db.DB, whose package sets it: so that it
// is in the sight of package replica and not of an embedder. end closes both.
var OpenDB func(ctx context.Context, name string, o Options) (db any, f *Fold, end func(), err error)

// Options says where a fold lives and what it works with.
type Options struct {
	Store     store.Store // required; Close leaves it open
	Prefix    []byte      // of every key; nobody else may write under it
	Journal   journal.Journal
	Clock     *clock.Clock                    // nil means a new one
	Identity  string                          // of who reads; "" means the journal's writer
	Log       *slog.Logger                    // nil discards
	Loaded    func()                          // a use has loaded it again after Suspend; it must not call the fold
	Listener  func(f *Fold) (Listener, error) // called once, before anything is loaded
	Published func(*keyspace.Catalog)         // a catalogue came into sight; the fold's mutex is held
}

// A Fold keeps the documents of a database what the operations in its journal
// give. One goroutine, the committer, writes; readers see views.
type Fold struct {
	Store    store.Store
	Space    keyspace.Space
	Journal  journal.Journal
	identity string
	Clock    *clock.Clock
	log      *slog.Logger
	defs     *judge.Definitions

	listener  Listener
	published func(*keyspace.Catalog)
	loaded    func() // nil, or Options.Loaded

	BudgetBytes, BudgetOps int    // of one group
	BaseEvery              uint64 // a document's operations between cached states
	Piece                  int    // work between two groups, see maxPiece
	asked                  int    // how many bunches of arrivals are to be small yet, see bunch

	made atomic.Pointer[madeCheckpoint]

	compared atomic.Pointer[clock.LogID] // see Compared
	refolds  atomic.Int64
	paced    atomic.Int64  // cuts that were taken in pieces
	judged   atomic.Int64  // operations, also those that are judged again
	wake     chan struct{} // holds one signal
	wg       sync.WaitGroup
	Ended    atomic.Bool // by Stop; cursors look at it between documents

	// The committer's own, and load's before there is one: no lock guards them, because
	// the committer is one goroutine and load runs while there is none. Readers get
	// what they need in a view.
	Cat       *keyspace.Catalog // as committed, maybe not yet published
	meta      keyspace.Meta
	own       map[clock.LogID]bool
	cut       Cut
	laws      define.Laws      // see chainOf
	authority clock.Hash       // by which definitions were judged, see heed
	recent    journal.Cache    // for folding again: the documents of a set take turns
	prepared  map[docKey]int64 // see prepare; the last arrival by document
	merge     *merge           // what is folded in pieces; nil for nothing
	pacing    *pacedCut        // what is cut in pieces; nil for nothing
	waiting   []*Request       // for arrivals to be folded, or for indexes to be filled
	broken    error            // why nothing can be written until the next open
	building  bool             // indexes may wait for buildSome

	mu         sync.Mutex // guards the fields below
	queue      []*Request
	running    bool
	closed     bool
	view       *view.View
	recentDocs recentChanges
	seq        uint64     // of view, which is never used again
	uses       uint64     // see Uses
	asleep     bool       // by Suspend; what load reads is not there, and view is nil
	slept      view.Facts // when it fell asleep

	waking sync.Mutex // held while the fold is suspended or loaded again; before mu
}

// Open opens the fold under o.Prefix and finishes what was interrupted.
func Open(ctx context.Context, o Options) (*Fold, error) {
	if o.Store == nil || o.Journal == nil {
		return nil, fault.New(fault.InvalidArgument, "Open needs a Store and a Journal")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := o.Store.Limits()
	f := &Fold{
		Store: o.Store, Space: slices.Clone(o.Prefix), Journal: o.Journal, identity: o.Identity, Clock: o.Clock, log: o.Log,
		BudgetBytes: l.Bytes / 3, BudgetOps: l.Puts / 4, BaseEvery: baseEvery, Piece: maxPiece, wake: make(chan struct{}, 1),
		own:  map[clock.LogID]bool{},
		defs: &judge.Definitions{}, published: o.Published, loaded: o.Loaded,
	}
	f.laws.Journal, f.laws.Voids = f.Journal, func(id clock.RecordID) bool { return f.cut.Voids(id, false) }
	f.laws.Below = func(id clock.RecordID) bool { return f.cut.Void[id.Log].Below(id) }
	if f.Clock == nil {
		f.Clock = &clock.Clock{}
	}
	var err error
	if f.listener, err = o.Listener(f); err == nil {
		err = f.load()
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	f.mu.Lock()
	f.start()
	f.mu.Unlock()
	return f, nil
}

// Stop refuses what is asked from now on. Who waits for the committer is answered with
// ErrClosed when it ends, in Close.
func (f *Fold) Stop() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.Ended.Store(true)
}

// Close waits for the committer to end, after Stop, and gives the last view back.
func (f *Fold) Close() {
	f.Wake()
	f.wg.Wait()
	f.mu.Lock()
	v := f.view
	f.view = nil
	f.mu.Unlock()
	if v != nil {
		v.Release()
	}
}

// Facts returns what it knows of itself now; when it fell asleep, if it is suspended.
func (f *Fold) Facts() view.Facts {
	v, i, err := f.Look()
	if v == nil || err != nil {
		return i
	}
	defer v.Release()
	return f.factsOf(v)
}

// Judged returns how many operations were judged since Open, those judged again included.
func (f *Fold) Judged() int64 { return f.judged.Load() }

// Wall returns real time, as the clock has it.
func (f *Fold) Wall() time.Time {
	if f.Clock.Wall != nil {
		return f.Clock.Wall()
	}
	return time.Now()
}

// inCommitter runs work in the committer, between two groups, and returns its error.
func (f *Fold) inCommitter(ctx context.Context, work func() error) error {
	r := &Request{Ctx: ctx, Do: work}
	if err := f.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// Await waits until done, which the committer calls between groups, says that it
// is done, or ctx ends.
func (f *Fold) Await(ctx context.Context, done func() (bool, error)) error {
	r := &Request{Ctx: ctx, until: done}
	if err := f.enqueue(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.Err
	case <-ctx.Done():
		f.Wake() // which takes r off the list
		return ctx.Err()
	}
}

// answerBuilt answers those who wait for what is so now.
func (f *Fold) answerBuilt() {
	f.waiting = slices.DeleteFunc(f.waiting, func(r *Request) bool {
		if r.until == nil {
			return false
		}
		done, err := r.until()
		if done = done || err != nil || r.Ctx.Err() != nil; done {
			r.Err = err
			close(r.done)
		}
		return done
	})
}

// load reads what the committer works with, and finishes what was interrupted before it
// publishes the first view, so that no reader sees a state between steps.
func (f *Fold) load() (err error) {
	snap := f.Store.Snapshot()
	defer snap.Release()
	if f.Cat, err = keyspace.LoadCatalog(snap, f.Space); err != nil {
		return err
	}
	if f.meta, err = keyspace.LoadMeta(snap, f.Space); err != nil {
		return err
	}
	own, err := keyspace.Keys(snap, f.Space.Key(keyspace.TagOwn))
	if err != nil {
		return err
	}
	for _, id := range own {
		if len(id) == len(clock.LogID{}) {
			f.own[clock.LogID(id)] = true
		}
	}
	if f.cut, err = cut.Load(snap, f.Space); err != nil {
		return err
	}
	f.laws.Renew()
	clear(f.laws.Awaited)
	if err = f.loadAwaited(snap); err != nil {
		return err
	}
	if f.authority, err = keyspace.LoadAuthority(snap, f.Space); err != nil {
		return err
	}
	if err = f.loadPrepared(snap); err != nil {
		return err
	}
	v, err := snap.Get(f.Space.Key(keyspace.TagRedo))
	if err == nil {
		if err = f.redoSteps(v); err != nil {
			return err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err = f.dropShadows(); err != nil {
		return err
	}
	f.building = true // indexes may wait to be filled, or to be deleted
	f.publish(&change.News{})
	return nil
}

// Wake says that the journal has new arrivals; it never blocks.
func (f *Fold) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Settle returns when everything that had arrived in the journal before the
// call is folded and durable.
func (f *Fold) Settle(ctx context.Context) error {
	r := &Request{Ctx: ctx, n: 1}
	if err := f.Submit(r); err != nil {
		return err
	}
	return r.Err
}

func (f *Fold) factsOf(v *view.View) view.Facts {
	i := v.Facts()
	i.Refolds = f.refolds.Load()
	return i
}

// Logf tells the operator, by way of the node's log.
func (f *Fold) Logf(format string, args ...any) {
	if f.log != nil {
		f.log.Warn(fmt.Sprintf(format, args...))
	}
}

// publish makes the committed state, which is synced, what readers see, and tells the feed
// of its changes; both with mu held, so that who subscribes and then takes a view misses
// nothing: what he is told twice has a number that is not above the view's.
func (f *Fold) publish(n *change.News) {
	v := &view.View{
		Space: f.Space, Defs: f.defs, Identity: f.identity, Writer: f.Journal.Writer, Wall: f.Wall, Ended: &f.Ended,
		Snap: f.Store.Snapshot(), Gen: f.meta.Gen, Cat: f.Cat, Stats: f.meta.Stats, N: f.meta.Cursor, Refused: f.meta.Refused,
		Gaps: f.meta.Gaps, Ahead: slices.Clone(f.meta.Ahead), Own: f.own, Hash: f.meta.Hash, Pending: f.meta.Pending,
	}
	v.Refs.Store(1)
	f.mu.Lock()
	old := f.view
	f.view = v
	f.seq++
	v.Seq = f.seq
	n.Seq, n.Bookmark = v.Seq, v.Bookmark()
	f.listener.Offer(n)
	if old == nil || old.Cat != v.Cat {
		f.published(v.Cat)
	}
	f.mu.Unlock()
	if old != nil {
		old.Release()
	}
}

// Acquire returns the latest view, which the caller releases. It loads a suspended fold.
func (f *Fold) Acquire() (*view.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest()
}

// latest is Acquire, with f.mu held.
func (f *Fold) latest() (*view.View, error) {
	if err := f.use(); err != nil {
		return nil, err
	}
	if f.view == nil || f.closed {
		return nil, keyspace.ErrClosed
	}
	f.view.Refs.Add(1)
	return f.view, nil
}

// Author returns this device as the author of what it writes at t to a collection.
func (f *Fold) Author(t clock.Time, coll string) (by judge.Author, err error) {
	by.Time = t
	by.Writer, by.Role = f.Journal.Writer()
	if coll == judge.SystemCollection {
		by.Right, _, err = f.Journal.Right(clock.RecordID{})
	}
	return by, err
}

// ownRecord is the record that this device is about to write; the journal gives it its
// number and ID.
func (f *Fold) ownRecord(t clock.Time, atomic bool, ops []payload.Op) *journal.Record {
	w, role := f.Journal.Writer()
	return &journal.Record{Time: t, Atomic: atomic, Ops: ops, Writer: w, Role: role}
}
