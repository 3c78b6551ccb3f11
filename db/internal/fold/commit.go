package fold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Mode says what a refused operation means for the rest of its request.
type Mode int

// The modes, from the most lenient: what is refused is left out, ends the request, or
// undoes it.
const (
	Each    Mode = iota // the others are written
	Ordered             // those before it are written
	Whole               // nothing is written
)

// A Request is one local transaction on its way through the committer, or other work that
// is to be done between two of them. The committer owns it from Submit until done is
// closed; then the caller reads Results, Changed, Was, Now and Err.
type Request struct {
	Ctx        context.Context //nolint:containedctx // of the one call that the request is
	Ops        []payload.Op    // those that are written become one record
	Payload    []byte          // Ops, encoded; encoded again if some are refused
	Seeds      []lthash.Seed   // of inserted documents, by operation; nil if not known
	Mode       Mode
	Atomic     bool       // every replica writes all or nothing
	Guards     []Guard    // documents that a transaction read
	View       *view.View // that Predicates were seen in
	Predicates []Predicate
	After      *Request             // if it stopped early, this one is not written
	Horizon    bool                 // instead of Ops: a horizon
	Do         func() error         // instead of a write: work for the committer
	n          int64                // arrival to wait for, instead of a write
	until      func() (bool, error) // to be called until it is done, instead of a write
	Results    []error              // by operation; nil if it was written
	Changed    []bool               // by operation: the document differs
	Keep       bool                 // keep the document before and after the one operation
	Was, Now   keyspace.State
	Err        error         // of the request as a whole
	done       chan struct{} // closed when the rest is set
}

// A Guard is a document that must not have changed since a transaction read it.
type Guard struct {
	Coll  string
	IDKey []byte
	Last  keyspace.Ref
	Count uint64
}

// stopped reports whether the rest of the request is not to be judged: it has failed as a
// whole, or is ordered and one of its operations was refused.
func (r *Request) stopped() bool {
	return r.Err != nil || r.Mode == Ordered && slices.ContainsFunc(r.Results, func(e error) bool { return e != nil })
}

// Submit hands requests to the committer and waits for their outcome. It does not end
// with their contexts: what was handed over may be written, and its caller has to know.
func (f *Fold) Submit(reqs ...*Request) error {
	if err := f.enqueue(reqs...); err != nil {
		return err
	}
	for _, r := range reqs {
		<-r.done
	}
	return nil
}

// enqueue hands requests to the committer.
func (f *Fold) enqueue(reqs ...*Request) error {
	f.mu.Lock()
	if err := f.use(); err != nil {
		f.mu.Unlock()
		return err
	}
	if f.closed {
		f.mu.Unlock()
		return keyspace.ErrClosed
	}
	for _, r := range reqs {
		r.done = make(chan struct{})
	}
	f.queue = append(f.queue, reqs...)
	f.start()
	f.mu.Unlock()
	f.Wake()
	return nil
}

// start starts the committer if it does not run; f.mu is held.
func (f *Fold) start() {
	if !f.running {
		f.running = true
		f.wg.Go(f.committer)
	}
}

// committer is the one goroutine that writes. Local requests come first, so that a device
// that catches up with others still answers its own user; one group of them, one bunch
// of arrivals and one piece of an index build take turns.
//
//	take ─► serve ─► commitGroup            requests of this device
//	     └► applyArrivals ─► applySome      what others wrote
//	     └► buildSome                       entries for an index that is new
func (f *Fold) committer() {
	for {
		f.mu.Lock()
		group, closed := f.take(), f.closed
		f.mu.Unlock()
		if closed {
			f.fail(append(group, f.queue...), keyspace.ErrClosed)
			return
		}
		if f.broken != nil && fault.Is(f.broken, fault.DiskFull) && f.Store.Full() == nil {
			f.mend()
		}
		if f.broken != nil {
			f.fail(group, f.broken)
			<-f.wake
			continue
		}
		f.serve(group)
		if f.resting() {
			return
		}
		more, err := f.applyArrivals()
		if !more && err == nil {
			err = f.awaken()
		}
		if !more && err == nil {
			more, err = f.weighSome()
		}
		building := f.buildSome()
		if err != nil {
			f.Logf("fold: %v", err)
			f.answerWaiting(err)
		}
		if err == nil && !more {
			f.answerWaiting(nil)
		}
		if !more || err != nil {
			f.mu.Lock()
			idle := len(f.queue) == 0 && !f.closed
			f.mu.Unlock()
			if idle && !building {
				<-f.wake
			}
		}
	}
}

// take takes the next group off the queue: writes within the budget, or one
// piece of other work. f.mu is held.
func (f *Fold) take() []*Request {
	bytes, ops := 0, 0
	n := 0
	for _, r := range f.queue {
		if r.Do != nil || r.n > 0 || r.until != nil {
			if n == 0 {
				n = 1
			}
			break
		}
		bytes, ops = bytes+len(r.Payload), ops+len(r.Ops)
		if n > 0 && (bytes > f.BudgetBytes || ops > f.BudgetOps) {
			break
		}
		n++
	}
	group := f.queue[:n:n]
	f.queue = f.queue[n:]
	return group
}

// serve does what a group asks for. Groups of writes are committed piece by piece, as
// much as fits in a transaction each.
func (f *Fold) serve(group []*Request) {
	for len(group) > 0 {
		r := group[0]
		switch {
		case r.n > 0, r.until != nil:
			f.waiting = append(f.waiting, r)
			return
		case r.Do != nil:
			if r.Err = f.paceAll(); r.Err == nil && f.plan != nil {
				r.Err = f.weighAll()
			}
			if r.Err == nil {
				r.Err = r.Do()
			}
			if f.pacing == nil || r.Err != nil {
				close(r.done)
			}
			return
		}
		f.asked = fewBunches
		n := f.commitGroup(group)
		for _, r := range group[:n] {
			close(r.done)
		}
		group = group[n:]
	}
}

// breaks makes an error final that comes between steps or after a commit: what
// is in memory and in the store may differ. Open goes on, and mend after a full disk.
func (f *Fold) breaks(err error) error {
	if err != nil {
		f.broken = fmt.Errorf("a write of the database was interrupted; it goes on when it is opened again: %w", err)
	}
	return err
}

// mend reads again what the store has, once there is room for what a full disk
// interrupted between steps, and finishes that as Open does.
func (f *Fold) mend() {
	f.dropPaced(f.broken)
	f.forget()
	if err := f.load(); err != nil {
		f.broken = err
	}
}

// fail answers requests with an error, and those who wait for arrivals or for a cut.
func (f *Fold) fail(reqs []*Request, err error) {
	f.dropPaced(err)
	for _, r := range append(reqs, f.waiting...) {
		r.Err = err
		close(r.done)
	}
	f.waiting = nil
}

// answerWaiting answers those who wait for arrivals that are folded now.
func (f *Fold) answerWaiting(err error) {
	f.waiting = slices.DeleteFunc(f.waiting, func(r *Request) bool {
		if err == nil && r.n <= 0 {
			return false
		}
		r.Err = err
		close(r.done)
		return true
	})
}

// A judged is a request that was judged and will be written, as one record.
type judged struct {
	req     *Request
	rec     *journal.Record
	entries []*entry
	vs      []judge.Verdict // all of them accept; by operation of rec
	from    int             // of req's operations, where rec begins
	slow    bool            // some document has later operations: the fold decides
}

// commitGroup writes as many of the requests as fit in one transaction, at
// least one, and returns how many. What is too big as a group is tried by halves; what is
// too big alone is logged first, whole, and folded afterwards like an arrival, in steps.
func (f *Fold) commitGroup(group []*Request) int {
	for n := len(group); ; n = max(1, n/2) {
		took, err := f.tryGroup(group[:n], false)
		if errors.Is(err, store.ErrTooBig) {
			if n > 1 {
				continue
			}
			took, err = f.tryGroup(group[:1], true)
		}
		if err != nil {
			took = max(took, 1)
			for _, r := range group[:took] {
				r.Err = err
			}
		}
		return took
	}
}

// tryGroup judges and writes requests: judge, append to the journal, fold, commit, sync,
// publish. Journal and documents are in one transaction, so no crash leaves a record
// without its effect or an effect without its record; and nobody is answered, shown or
// sent what is not synced. With logOnly the record is logged, and folded afterwards in
// steps.
func (f *Fold) tryGroup(group []*Request, logOnly bool) (took int, err error) {
	b := f.newBatch()
	defer b.discard()
	accepted, took, err := b.judgeGroup(group)
	if err != nil || len(accepted) == 0 {
		return took, err
	}
	if f.pacing.hinders(accepted) {
		if err := f.paceAll(); err != nil {
			return took, err
		}
		return f.tryGroup(group, logOnly)
	}
	own := f.own
	drafts := make([]journal.Draft, len(accepted))
	for i, p := range accepted {
		drafts[i] = journal.Draft{Time: p.rec.Time, Atomic: p.rec.Atomic, Payload: p.req.Payload}
		switch {
		case p.rec.View != nil:
			drafts[i].Payload = payload.EncodeView(&p.rec.Ops[0], p.rec.View)
		case len(p.rec.Ops) != len(p.req.Ops):
			drafts[i].Payload = payload.Encode(p.rec.Ops)
		}
	}
	ids, first, done, err := f.Journal.Append(b.tx, drafts)
	if err != nil {
		if done != nil {
			done(false)
		}
		return took, err
	}
	for _, id := range ids {
		if err == nil {
			err = b.ownLog(id.Log)
		}
	}
	if err == nil && !logOnly {
		err = b.foldJudged(accepted, ids, first)
	}
	if err == nil {
		err = b.commit()
	}
	if err == nil {
		err = f.breaks(f.Store.Sync())
	}
	done(err == nil)
	if err != nil {
		f.own = own // what was not stored is to be stored by the next
		return took, err
	}
	if logOnly {
		f.meta, f.Cat = b.meta, b.cat
		return took, f.applyUpTo(first + int64(len(ids)) - 1)
	}
	return took, f.finish(b)
}

// applyUpTo folds arrivals until number n is.
func (f *Fold) applyUpTo(n int64) error {
	for more := true; more && f.meta.Cursor < n && !f.meta.IsAhead(n); {
		var err error
		if more, err = f.applyArrivals(); err != nil {
			return err
		}
	}
	return nil
}

// ownLog notes that a log is this replica's own.
func (b *batch) ownLog(id clock.LogID) error {
	if b.fold.own[id] {
		return nil
	}
	own := maps.Clone(b.fold.own)
	own[id] = true
	b.fold.own = own
	return b.tx.Put(b.fold.Space.Key(keyspace.TagOwn, id[:]), []byte{1})
}

// foldJudged makes the judged requests operations of their documents. The verdicts stand:
// nothing was folded since they were given. The arrival numbers that the journal gave
// may lie behind others that are not folded yet: then they are ahead of the cursor.
func (b *batch) foldJudged(accepted []*judged, ids []clock.RecordID, first int64) error {
	for k, p := range accepted {
		rec := p.rec
		rec.N, rec.ID = first+int64(k), ids[k]
		b.records[rec.N], b.folding = rec, rec
		if rec.Horizon != nil {
			if err := b.noteHorizon(rec); err != nil {
				return err
			}
			continue
		}
		if p.slow {
			if err := b.apply(rec); err != nil {
				return err
			}
			if err := b.answer(p); err != nil {
				return err
			}
			continue
		}
		for i, e := range p.entries {
			before := e.Doc
			if err := b.advance(e, rec.Ref(i), rec, &rec.Ops[i], p.vs[i]); err != nil {
				return err
			}
			if rec.Seeds != nil && rec.Ops[i].Kind == payload.Insert {
				e.seed = &rec.Seeds[i]
			}
			if err := b.defined(e, rec, p.vs[i], before); err != nil {
				return err
			}
		}
	}
	b.meta.Folded(keyspace.Span{First: first, Last: first + int64(len(accepted)) - 1})
	return nil
}

// answer tells a request that the fold has judged how its operations fared.
func (b *batch) answer(p *judged) error {
	for i := range p.rec.Ops {
		c, _, err := b.refusal(b.fold.Space.Key(keyspace.TagRefused, p.rec.Ref(i).Append(nil)))
		if err != nil {
			return err
		}
		p.req.Changed[p.from+i] = c == keyspace.CodeOK
		if op := &p.rec.Ops[i]; p.req.Keep {
			e, err := b.entry(op.Coll, op.Key, op.ID)
			if err != nil {
				return err
			}
			p.req.Now = e.State
		}
		if c != keyspace.CodeOK {
			p.req.Results[p.from+i] = fault.Errorf(c.Reason(), "the operation was refused at its place: %s", c.Reason())
		}
	}
	return nil
}

// commit finishes what the records caused and commits the transaction. Rescans may cause
// others, if definitions come to differ; documents go last, because each is written once
// with its final state.
func (b *batch) commit() error {
	for len(b.rescans) > 0 {
		s := b.rescans[0] // in the marker until it is done
		if err := b.rescan(s); err != nil {
			return err
		}
		b.rescans = b.rescans[1:]
	}
	if err := b.emit(); err != nil {
		return err
	}
	// Only now: a step must not hold the cursor of what is not written yet.
	if b.arrived.Last > 0 {
		b.meta.Folded(b.arrived)
	}
	if b.stepping || b.redo {
		if err := b.tx.Delete(b.fold.Space.Key(keyspace.TagRedo)); err != nil {
			return err
		}
	}
	if err := b.save(); err != nil {
		return err
	}
	return b.tx.Commit()
}

// finish takes a committed and synced batch over and shows it to readers. Flushed comes
// after publish: what is sent to others, its own readers can see.
func (f *Fold) finish(b *batch) error {
	f.takeOver(b)
	f.building = f.building || b.builds
	f.rememberChanges(b)
	f.publish(b.news())
	f.Journal.Flushed(f.meta.Cursor)
	return nil
}

// takeOver makes what a committed batch knows what the fold knows.
func (f *Fold) takeOver(b *batch) {
	f.meta, f.Cat = b.meta, b.cat
	for _, k := range b.noted {
		f.laws.Awaited[k] = true
	}
	for m := range b.multi {
		m.Store(true)
	}
	for _, rec := range b.horizons {
		f.places.Take(rec)
	}
	for _, k := range b.unmarked {
		delete(f.prepared, k)
	}
}
