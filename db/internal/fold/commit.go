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

const (
	Each    Mode = iota // the others are written
	Ordered             // those before it are written
	Whole               // nothing is written
)

// A Request is one local transaction on its way through the committer.
type Request struct {
	Ctx        context.Context //nolint:containedctx // of the one call that the request is
	Ops        []payload.Op
	Payload    []byte
	Seeds      []lthash.Seed
	Mode       Mode
	Atomic     bool
	Guards     []Guard
	View       *view.View // that predicates were seen in
	Predicates []Predicate
	After      *Request             // if it stopped early, this one is not written
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

func (r *Request) stopped() bool {
	return r.Err != nil || r.Mode == Ordered && slices.ContainsFunc(r.Results, func(e error) bool { return e != nil })
}

// Submit hands requests to the committer and waits for their outcome.
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

func (f *Fold) committer() {
	for {
		f.mu.Lock()
		group, closed := f.take(), f.closed
		f.mu.Unlock()
		if closed {
			f.fail(append(group, f.queue...), keyspace.ErrClosed)
			return
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

func (f *Fold) serve(group []*Request) {
	for len(group) > 0 {
		r := group[0]
		switch {
		case r.n > 0, r.until != nil:
			f.waiting = append(f.waiting, r)
			return
		case r.Do != nil:
			r.Err = r.Do()
			close(r.done)
			return
		}
		n := f.commitGroup(group)
		for _, r := range group[:n] {
			close(r.done)
		}
		group = group[n:]
	}
}

// breaks makes an error final that comes between steps or after a commit: what
// is in memory and in the store may differ, and only Open can go on.
func (f *Fold) breaks(err error) error {
	if err != nil {
		f.broken = fmt.Errorf("interrupted while writing; open it again: %w", err)
	}
	return err
}

func (f *Fold) fail(reqs []*Request, err error) {
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

// A plan is a request that is judged and will be written.
type plan struct {
	req     *Request
	rec     *journal.Record
	entries []*entry
	vs      []judge.Verdict
	slow    bool // some document has later operations: the fold decides
}

// commitGroup writes as many of the requests as fit in one transaction, at
// least one, and returns how many.
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

// tryGroup judges and writes requests. With logOnly the record is logged, and
// folded afterwards in steps.
func (f *Fold) tryGroup(group []*Request, logOnly bool) (took int, err error) {
	b := f.newBatch()
	defer b.discard()
	plans, took, err := b.plan(group)
	if err != nil || len(plans) == 0 {
		return took, err
	}
	own := f.own
	drafts := make([]journal.Draft, len(plans))
	for i, p := range plans {
		drafts[i] = journal.Draft{Time: p.rec.Time, Atomic: p.rec.Atomic, Payload: p.req.Payload}
		if len(p.rec.Ops) != len(p.req.Ops) {
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
		err = b.foldPlans(plans, ids, first)
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
		_, err = f.applyArrivals()
		return took, err
	}
	return took, f.finish(b)
}

// plan judges requests in order against the states that the ones before leave.
func (b *batch) plan(group []*Request) (plans []*plan, took int, err error) {
	for i, r := range group {
		r.Results, r.Changed, r.Err = make([]error, len(r.Ops)), make([]bool, len(r.Ops)), nil
		if err := r.Ctx.Err(); err != nil {
			r.Err = err
			continue
		}
		if r.After != nil && r.After.stopped() {
			r.Err = ErrStopped
			continue
		}
		p, err := b.judgeRequest(r)
		if err != nil {
			return nil, i, err
		}
		if p == nil {
			continue
		}
		if p.slow && len(plans) > 0 {
			return plans, i, nil
		}
		plans = append(plans, p)
		if p.slow {
			return plans, i + 1, nil
		}
	}
	return plans, len(group), nil
}

var ErrStopped = fault.New(fault.Atomic, "not written, because an earlier operation was refused")

// judgeRequest judges one request; nil if nothing of it is to be written.
func (b *batch) judgeRequest(r *Request) (*plan, error) {
	for _, g := range r.Guards {
		e, err := b.entry(g.Coll, g.IDKey, keyspace.ValueNone)
		if err != nil {
			return nil, err
		}
		if e.spec != nil || e.Last != g.Last || e.Count != g.Count {
			r.Err = keyspace.ErrConflict
			return nil, nil
		}
	}
	if same, err := b.holds(r); err != nil || !same {
		r.Err = keyspace.ErrConflict
		return nil, err
	}
	p := &plan{req: r, rec: b.fold.ownRecord(b.fold.Clock.Now(), r.Atomic, nil)}
	var undo []keyspace.State
	for i := range r.Ops {
		op := &r.Ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return nil, err
		}
		if e.id.Type == 0 {
			e.id = op.ID
		}
		if e.Count > 0 && e.Last.Time >= p.rec.Time {
			b.undo(p, undo)
			r.Was = e.current()
			return &plan{req: r, rec: b.fold.ownRecord(p.rec.Time, r.Atomic, r.Ops), slow: true}, nil
		}
		def, err := b.specDefinition(op.Coll)
		if err != nil {
			return nil, err
		}
		cur := e.current()
		v := b.judge.Decide(op, cur, p.rec.Author(), def)
		if v.Code == keyspace.CodeOK {
			if v.Err, err = b.violation(e, cur.Doc, v.Next.Doc); err != nil {
				return nil, err
			}
			if v.Err != nil {
				v.Code = keyspace.CodeDuplicate
			}
		}
		r.Results[i] = v.Err
		if v.Code != keyspace.CodeOK {
			if r.Mode == Whole {
				b.undo(p, undo)
				r.Err = v.Err
				return nil, nil
			}
			if r.Mode == Ordered {
				break
			}
			continue
		}
		r.Changed[i] = !keyspace.SameState(cur, v.Next)
		if r.Keep {
			r.Was, r.Now = cur, v.Next
		}
		undo = append(undo, cur)
		b.speculate(e, &v.Next)
		p.entries, p.vs = append(p.entries, e), append(p.vs, v)
		p.rec.Ops = append(p.rec.Ops, *op)
		if r.Seeds != nil {
			p.rec.Seeds = append(p.rec.Seeds, r.Seeds[i])
		}
	}
	if len(p.rec.Ops) == 0 {
		return nil, nil
	}
	return p, nil
}

func (b *batch) undo(p *plan, old []keyspace.State) {
	for i := len(old) - 1; i >= 0; i-- {
		b.speculate(p.entries[i], &old[i])
	}
}

// current returns the state that the requests judged so far leave.
func (e *entry) current() keyspace.State {
	if e.spec != nil {
		return *e.spec
	}
	return e.State
}

func (b *batch) specDefinition(name string) (*judge.Definition, error) {
	if name == judge.SystemCollection {
		return nil, nil
	}
	d, err := b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	return b.fold.defs.Parse(d.e.current().Doc)
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

// foldPlans makes the judged requests operations of their documents.
func (b *batch) foldPlans(plans []*plan, ids []clock.RecordID, first int64) error {
	for k, p := range plans {
		rec := p.rec
		rec.N, rec.ID = first+int64(k), ids[k]
		b.records[rec.N], b.folding = rec, rec
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
			if err := b.defined(e, rec.Ref(i), p.vs[i], before); err != nil {
				return err
			}
		}
	}
	b.meta.Folded(keyspace.Span{First: first, Last: first + int64(len(plans)) - 1})
	return nil
}

// answer tells a request that the fold has judged how its operations fared.
func (b *batch) answer(p *plan) error {
	for i := range p.rec.Ops {
		c, err := b.refusedCode(b.fold.Space.Key(keyspace.TagRefused, p.rec.Ref(i).Append(nil)))
		if err != nil {
			return err
		}
		p.req.Changed[i] = c == keyspace.CodeOK
		if op := &p.rec.Ops[i]; p.req.Keep {
			e, err := b.entry(op.Coll, op.Key, op.ID)
			if err != nil {
				return err
			}
			p.req.Now = e.State
		}
		if c != keyspace.CodeOK {
			p.req.Results[i] = fault.Errorf(c.Reason(), "the operation was refused at its place: %s", c.Reason())
		}
	}
	return nil
}

// commit finishes what the records caused and commits the transaction.
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

// finish takes a committed and synced batch over and shows it to readers.
func (f *Fold) finish(b *batch) error {
	f.meta, f.Cat = b.meta, b.cat
	for m := range b.multi {
		m.Store(true)
	}
	f.building = f.building || b.builds
	f.rememberChanges(b)
	f.publish(b.news())
	f.Journal.Flushed(f.meta.Cursor)
	return nil
}
