package db

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A mode says what a refused operation means for the rest of its request.
type mode int

const (
	each    mode = iota // the others are written
	ordered             // those before it are written
	whole               // nothing is written
)

// A request is one local transaction on its way through the committer.
type request struct {
	ctx        context.Context //nolint:containedctx // of the one call that the request is
	ops        []payload.Op
	payload    []byte
	seeds      []lthash.Seed
	mode       mode
	atomic     bool
	guards     []guard
	view       *view // that predicates were seen in
	predicates []predicate
	after      *request             // if it stopped early, this one is not written
	do         func() error         // instead of a write: work for the committer
	n          int64                // arrival to wait for, instead of a write
	until      func() (bool, error) // to be called until it is done, instead of a write
	results    []error              // by operation; nil if it was written
	changed    []bool               // by operation: the document differs
	keep       bool                 // keep the document before and after the one operation
	was, now   state
	err        error         // of the request as a whole
	done       chan struct{} // closed when the rest is set
}

// A guard is a document that must not have changed since a transaction read it.
type guard struct {
	coll  string
	idKey []byte
	last  ref
	count uint64
}

func (r *request) stopped() bool {
	return r.err != nil || r.mode == ordered && slices.ContainsFunc(r.results, func(e error) bool { return e != nil })
}

// submit hands requests to the committer and waits for their outcome.
func (db *DB) submit(reqs ...*request) error {
	if err := db.enqueue(reqs...); err != nil {
		return err
	}
	for _, r := range reqs {
		<-r.done
	}
	return nil
}

// enqueue hands requests to the committer.
func (db *DB) enqueue(reqs ...*request) error {
	db.mu.Lock()
	if err := db.use(); err != nil {
		db.mu.Unlock()
		return err
	}
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	for _, r := range reqs {
		r.done = make(chan struct{})
	}
	db.queue = append(db.queue, reqs...)
	db.start()
	db.mu.Unlock()
	db.Wake()
	return nil
}

// start starts the committer if it does not run; db.mu is held.
func (db *DB) start() {
	if !db.running {
		db.running = true
		db.wg.Go(db.committer)
	}
}

func (db *DB) committer() {
	for {
		db.mu.Lock()
		group, closed := db.take(), db.closed
		db.mu.Unlock()
		if closed {
			db.fail(append(group, db.queue...), ErrClosed)
			return
		}
		if db.broken != nil {
			db.fail(group, db.broken)
			<-db.wake
			continue
		}
		db.serve(group)
		if db.resting() {
			return
		}
		more, err := db.applyArrivals()
		building := db.buildSome()
		if err != nil {
			db.logf("fold: %v", err)
			db.answerWaiting(err)
		}
		if err == nil && !more {
			db.answerWaiting(nil)
		}
		if !more || err != nil {
			db.mu.Lock()
			idle := len(db.queue) == 0 && !db.closed
			db.mu.Unlock()
			if idle && !building {
				<-db.wake
			}
		}
	}
}

// take takes the next group off the queue: writes within the budget, or one
// piece of other work. db.mu is held.
func (db *DB) take() []*request {
	bytes, ops := 0, 0
	n := 0
	for _, r := range db.queue {
		if r.do != nil || r.n > 0 || r.until != nil {
			if n == 0 {
				n = 1
			}
			break
		}
		bytes, ops = bytes+len(r.payload), ops+len(r.ops)
		if n > 0 && (bytes > db.budgetBytes || ops > db.budgetOps) {
			break
		}
		n++
	}
	group := db.queue[:n:n]
	db.queue = db.queue[n:]
	return group
}

func (db *DB) serve(group []*request) {
	for len(group) > 0 {
		r := group[0]
		switch {
		case r.n > 0, r.until != nil:
			db.waiting = append(db.waiting, r)
			return
		case r.do != nil:
			r.err = r.do()
			close(r.done)
			return
		}
		n := db.commitGroup(group)
		for _, r := range group[:n] {
			close(r.done)
		}
		group = group[n:]
	}
}

// breaks makes an error final that comes between steps or after a commit: what
// is in memory and in the store may differ, and only Open can go on.
func (db *DB) breaks(err error) error {
	if err != nil {
		db.broken = fmt.Errorf("interrupted while writing; open it again: %w", err)
	}
	return err
}

func (db *DB) fail(reqs []*request, err error) {
	for _, r := range append(reqs, db.waiting...) {
		r.err = err
		close(r.done)
	}
	db.waiting = nil
}

// answerWaiting answers those who wait for arrivals that are folded now.
func (db *DB) answerWaiting(err error) {
	db.waiting = slices.DeleteFunc(db.waiting, func(r *request) bool {
		if err == nil && r.n <= 0 {
			return false
		}
		r.err = err
		close(r.done)
		return true
	})
}

// A plan is a request that is judged and will be written.
type plan struct {
	req     *request
	rec     *record
	entries []*entry
	vs      []verdict
	slow    bool // some document has later operations: the fold decides
}

// commitGroup writes as many of the requests as fit in one transaction, at
// least one, and returns how many.
func (db *DB) commitGroup(group []*request) int {
	for n := len(group); ; n = max(1, n/2) {
		took, err := db.tryGroup(group[:n], false)
		if errors.Is(err, store.ErrTooBig) {
			if n > 1 {
				continue
			}
			took, err = db.tryGroup(group[:1], true)
		}
		if err != nil {
			took = max(took, 1)
			for _, r := range group[:took] {
				r.err = err
			}
		}
		return took
	}
}

// tryGroup judges and writes requests. With logOnly the record is logged, and
// folded afterwards in steps.
func (db *DB) tryGroup(group []*request, logOnly bool) (took int, err error) {
	b := db.newBatch()
	defer b.discard()
	plans, took, err := b.plan(group)
	if err != nil || len(plans) == 0 {
		return took, err
	}
	own := db.own
	drafts := make([]Draft, len(plans))
	for i, p := range plans {
		drafts[i] = Draft{Time: p.rec.time, Atomic: p.rec.atomic, Payload: p.req.payload}
		if len(p.rec.ops) != len(p.req.ops) {
			drafts[i].Payload = payload.Encode(p.rec.ops)
		}
	}
	ids, first, done, err := db.journal.Append(b.tx, drafts)
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
		err = db.breaks(db.store.Sync())
	}
	done(err == nil)
	if err != nil {
		db.own = own // what was not stored is to be stored by the next
		return took, err
	}
	if logOnly {
		db.meta, db.cat = b.meta, b.cat
		_, err = db.applyArrivals()
		return took, err
	}
	return took, db.finish(b)
}

// plan judges requests in order against the states that the ones before leave.
func (b *batch) plan(group []*request) (plans []*plan, took int, err error) {
	for i, r := range group {
		r.results, r.changed, r.err = make([]error, len(r.ops)), make([]bool, len(r.ops)), nil
		if err := r.ctx.Err(); err != nil {
			r.err = err
			continue
		}
		if r.after != nil && r.after.stopped() {
			r.err = errStopped
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

var errStopped = errors.New("not written, because an earlier operation was refused")

// judgeRequest judges one request; nil if nothing of it is to be written.
func (b *batch) judgeRequest(r *request) (*plan, error) {
	for _, g := range r.guards {
		e, err := b.entry(g.coll, g.idKey, valueNone)
		if err != nil {
			return nil, err
		}
		if e.spec != nil || e.last != g.last || e.count != g.count {
			r.err = ErrConflict
			return nil, nil
		}
	}
	if same, err := b.holds(r); err != nil || !same {
		r.err = ErrConflict
		return nil, err
	}
	p := &plan{req: r, rec: b.db.ownRecord(b.db.clock.Now(), r.atomic, nil)}
	var undo []state
	for i := range r.ops {
		op := &r.ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return nil, err
		}
		if e.id.Type == 0 {
			e.id = op.ID
		}
		if e.count > 0 && e.last.time >= p.rec.time {
			b.undo(p, undo)
			r.was = e.current()
			return &plan{req: r, rec: b.db.ownRecord(p.rec.time, r.atomic, r.ops), slow: true}, nil
		}
		def, err := b.specDefinition(op.Coll)
		if err != nil {
			return nil, err
		}
		cur := e.current()
		v := b.judge.decide(op, cur, p.rec.author(), def)
		if v.code == codeOK {
			if v.err, err = b.violation(e, cur.doc, v.next.doc); err != nil {
				return nil, err
			}
			if v.err != nil {
				v.code = codeDuplicate
			}
		}
		r.results[i] = v.err
		if v.code != codeOK {
			if r.mode == whole {
				b.undo(p, undo)
				r.err = v.err
				return nil, nil
			}
			if r.mode == ordered {
				break
			}
			continue
		}
		r.changed[i] = !sameState(cur, v.next)
		if r.keep {
			r.was, r.now = cur, v.next
		}
		undo = append(undo, cur)
		b.speculate(e, &v.next)
		p.entries, p.vs = append(p.entries, e), append(p.vs, v)
		p.rec.ops = append(p.rec.ops, *op)
		if r.seeds != nil {
			p.rec.seeds = append(p.rec.seeds, r.seeds[i])
		}
	}
	if len(p.rec.ops) == 0 {
		return nil, nil
	}
	return p, nil
}

func (b *batch) undo(p *plan, old []state) {
	for i := len(old) - 1; i >= 0; i-- {
		b.speculate(p.entries[i], &old[i])
	}
}

// current returns the state that the requests judged so far leave.
func (e *entry) current() state {
	if e.spec != nil {
		return *e.spec
	}
	return e.state
}

func (b *batch) specDefinition(name string) (*definition, error) {
	if name == systemCollection {
		return nil, nil
	}
	d, err := b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	return b.db.parse(d.e.current().doc)
}

// ownLog notes that a log is this replica's own.
func (b *batch) ownLog(id clock.LogID) error {
	if b.db.own[id] {
		return nil
	}
	own := maps.Clone(b.db.own)
	own[id] = true
	b.db.own = own
	return b.tx.Put(b.db.key(tagOwn, id[:]), []byte{1})
}

// foldPlans makes the judged requests operations of their documents.
func (b *batch) foldPlans(plans []*plan, ids []clock.RecordID, first int64) error {
	for k, p := range plans {
		rec := p.rec
		rec.n, rec.id = first+int64(k), ids[k]
		b.records[rec.n], b.folding = rec, rec
		if p.slow {
			if err := b.fold(rec); err != nil {
				return err
			}
			if err := b.answer(p); err != nil {
				return err
			}
			continue
		}
		for i, e := range p.entries {
			before := e.doc
			if err := b.advance(e, rec.ref(i), rec, &rec.ops[i], p.vs[i]); err != nil {
				return err
			}
			if rec.seeds != nil && rec.ops[i].Kind == payload.Insert {
				e.seed = &rec.seeds[i]
			}
			if err := b.defined(e, rec.ref(i), p.vs[i], before); err != nil {
				return err
			}
		}
	}
	b.meta.folded(span{first, first + int64(len(plans)) - 1})
	return nil
}

// answer tells a request that the fold has judged how its operations fared.
func (b *batch) answer(p *plan) error {
	for i := range p.rec.ops {
		c, err := b.refusedCode(b.db.key(tagRefused, p.rec.ref(i).append(nil)))
		if err != nil {
			return err
		}
		p.req.changed[i] = c == codeOK
		if op := &p.rec.ops[i]; p.req.keep {
			e, err := b.entry(op.Coll, op.Key, op.ID)
			if err != nil {
				return err
			}
			p.req.now = e.state
		}
		if c != codeOK {
			p.req.results[i] = fault.Errorf(c.reason(), "the operation was refused at its place: %s", c.reason())
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
	if b.arrived.last > 0 {
		b.meta.folded(b.arrived)
	}
	if b.stepping || b.redo {
		if err := b.tx.Delete(b.db.key(tagRedo)); err != nil {
			return err
		}
	}
	if err := b.save(); err != nil {
		return err
	}
	return b.tx.Commit()
}

// finish takes a committed and synced batch over and shows it to readers.
func (db *DB) finish(b *batch) error {
	db.meta, db.cat = b.meta, b.cat
	for m := range b.multi {
		m.Store(true)
	}
	db.building = db.building || b.builds
	db.rememberChanges(b)
	db.publish(b.news())
	db.journal.Flushed(db.meta.cursor)
	return nil
}

// A redoMarker is the durable note of steps under way.
type redoMarker struct {
	Rescans []redoRescan `bson:"rescans"`
	Void    [][]byte     `bson:"void"` // b.voiding
}

type redoRescan struct {
	Coll  string `bson:"coll"`
	Time  int64  `bson:"time"`
	N     int64  `bson:"n"`
	Index int64  `bson:"index"`
}

// step commits what is written so far, with the marker, and begins the next
// transaction. Readers keep the view from before the first step.
func (b *batch) step() error {
	mk := redoMarker{Void: encodeVoidMarks(b.voiding)}
	todo := slices.Clone(b.rescans)
	for name, from := range b.foreseen {
		todo = append(todo, rescan{name, from})
	}
	for _, s := range todo {
		mk.Rescans = append(mk.Rescans, redoRescan{s.coll, int64(s.from.time), s.from.n, int64(s.from.index)})
	}
	if err := b.mark(mk); err != nil {
		return err
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	b.db.meta = b.meta
	b.meta = b.db.meta.copy()
	b.stats = map[uint32]collStats{}
	b.holders.close()
	b.tx = b.db.store.Begin()
	return nil
}
