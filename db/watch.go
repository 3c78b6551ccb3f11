package db

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// WatchOptions selects changes.
type WatchOptions struct {
	Collection  string   // "" watches all but system collections
	Filter      bson.Raw // on the document after the change, or before a delete
	ResumeAfter string   // the token of the last change seen; "" starts now
}

// A Change is one change of one document, or a gap.
//
// A live change has the document before and after. One that is told again
// after a pause comes from the journal: After is the document as it is now,
// and Before is unknown. A gap says that changes may be missing and that the
// collection ("" for any) is to be read again.
type Change struct {
	Operation     string // insert, update, replace, delete, gap
	Collection    string
	ID            bson.RawValue
	After, Before bson.Raw
	Remote        bool // written by another device
	Time          time.Time
	Token         string // resumes after this change; changes before may be told again
}

// maxQueued bounds the bytes that wait for a slow watch; beyond it the watch
// goes on from the journal.
const maxQueued = 4 << 20

// A Watch is a stream of changes in the order of this replica's commits. It
// belongs to one goroutine; the caller owes Close.
type Watch struct {
	db     *DB
	o      WatchOptions
	filter *query.Filter
	signal chan struct{}

	mu     sync.Mutex // guards the fields below
	queue  []Change
	bytes  int
	behind bool // changes were dropped: read on from the journal after place
	place
	gaps   int64
	closed bool
}

// A place says what of the journal a watch has told or queued: everything up to
// at, and what was folded ahead of it, up to ahead.
type place struct{ at, ahead int64 }

// Watch opens a stream of changes.
func (db *DB) Watch(ctx context.Context, o WatchOptions) (*Watch, error) {
	w := &Watch{db: db, o: o, signal: make(chan struct{}, 1)}
	var err error
	if len(o.Filter) > 5 {
		if w.filter, err = query.Compile(o.Filter); err != nil {
			return nil, err
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.use(); err != nil {
		return nil, err
	}
	if db.closed {
		return nil, ErrClosed
	}
	w.at, w.gaps = db.view.n, db.view.gaps
	if o.ResumeAfter != "" {
		if _, err := fmt.Sscanf(o.ResumeAfter, "%d-%d", &w.at, &w.gaps); err != nil || w.at < 0 || w.at > db.view.n {
			return nil, value.Errorf(260, "the resume token is not one of this database: %q", o.ResumeAfter)
		}
		w.behind = true
	}
	db.watches[w] = struct{}{}
	return w, nil
}

// Close ends the watch; it may be called twice.
func (w *Watch) Close() {
	w.db.mu.Lock()
	delete(w.db.watches, w)
	w.db.mu.Unlock()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
}

func (w *Watch) poke() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// Next waits for the next change. It fails when ctx ends, or the watch or the
// database closes.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	for {
		w.mu.Lock()
		switch {
		case w.closed:
			w.mu.Unlock()
			return Change{}, ErrClosed
		case len(w.queue) > 0:
			c := w.queue[0]
			w.queue = w.queue[1:]
			w.bytes -= c.size()
			w.mu.Unlock()
			return c, nil
		}
		behind := w.behind
		w.mu.Unlock()
		if behind {
			if err := w.catchUp(); err != nil {
				return Change{}, err
			}
			continue
		}
		select {
		case <-w.signal:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (c *Change) size() int { return 128 + len(c.After) + len(c.Before) + len(c.ID.Value) }

// catchUp queues changes from the journal, or ends being behind.
func (w *Watch) catchUp() error {
	v, err := w.db.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	w.mu.Lock()
	p := place{w.at, w.ahead}
	var out []Change
	if w.gaps != v.gaps {
		out = append(out, Change{Operation: "gap", Token: token(p.at, v.gaps)})
	}
	w.mu.Unlock()
	cs, p, done, err := w.read(v, p)
	if err != nil {
		return err
	}
	out = append(out, cs...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue, w.place, w.gaps = append(w.queue, out...), p, v.gaps
	for i := range out {
		w.bytes += out[i].size()
	}
	// A commit since v was acquired left us behind still.
	w.behind = !done || !w.db.current(v)
	return nil
}

// read tells what the next records of the journal changed, as far as v has them,
// and whether these were the last.
func (w *Watch) read(v *view, p place) (out []Change, next place, done bool, err error) {
	from, last := p.at, v.n
	if p.at == v.n {
		from = max(p.at, p.ahead)
	}
	if k := len(v.ahead); k > 0 {
		last = v.ahead[k-1].last
	}
	as, err := w.db.journal.Arrivals(from, maxQueued/8)
	if err != nil {
		return nil, p, false, err
	}
	if len(as) == 0 && from < last {
		return nil, p, false, errLost
	}
	for i := range as {
		n := as[i].N
		if n > last {
			return out, p, true, nil
		}
		before := p.at
		if n <= v.n {
			p.at = n
		} else if n <= p.ahead || !isAhead(v.ahead, n) {
			continue // told already, or not folded: it comes when the cursor passes it
		} else {
			p.ahead = n
		}
		cs, err := w.changes(v, decode(&as[i]))
		if err != nil {
			return nil, p, false, err
		}
		for k := range cs {
			cs[k].Token = token(before, v.gaps)
		}
		if k := len(cs); k > 0 {
			cs[k-1].Token = token(p.at, v.gaps)
		}
		out = append(out, cs...)
	}
	return out, p, len(as) == 0 || as[len(as)-1].N >= last, nil
}

func (db *DB) current(v *view) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.view == v
}

// changes tells what the operations of a record did, as far as it is known now.
func (w *Watch) changes(v *view, rec *record) (out []Change, err error) {
	seen := map[string]bool{}
	for i := range rec.ops {
		op := &rec.ops[i]
		c := v.cat.colls[op.Coll]
		if k := op.Coll + "\x00" + string(op.Key); seen[k] || c == nil || !w.covers(op.Coll) {
			continue
		} else {
			seen[k] = true
		}
		f, err := v.get(w.db, c, op.Key)
		if err != nil {
			return nil, err
		}
		ch := Change{
			Operation: op.Kind.String(), Collection: op.Coll, ID: op.ID.Raw(), Time: rec.time.Wall(),
			Remote: !v.own[rec.id.Log],
		}
		if f != nil {
			ch.After = f.doc
			if op.Kind == payload.Delete {
				ch.Operation = payload.Update.String()
			}
		} else {
			ch.Operation = payload.Delete.String()
		}
		if w.filter == nil || f == nil || w.filter.Match(withMod(f.state)) {
			out = append(out, ch)
		}
	}
	return out, nil
}

func (w *Watch) covers(coll string) bool {
	if w.o.Collection == "" {
		return !strings.HasPrefix(coll, "system.")
	}
	return w.o.Collection == coll
}

func token(n, gaps int64) string { return fmt.Sprintf("%d-%d", n, gaps) }

// watching reports whether anybody watches; the committer asks.
func (db *DB) watching() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.watches) > 0
}

// maxEvents bounds the changes of one commit that are kept for watches.
const maxEvents = 10_000

// event notes a change of the batch for watches.
func (b *batch) event(e *entry) {
	if !b.db.watching() {
		b.blind = true // a watch that opens before the commit goes on from the journal
		return
	}
	if len(b.events) > maxEvents {
		return // watches go on from the journal
	}
	c := Change{
		Operation: e.kind.String(), Collection: e.coll.name, ID: e.id.Raw(), After: e.doc, Before: e.was.doc,
		Remote: e.remote, Time: e.mod.Wall(),
	}
	switch {
	case e.doc == nil && e.was.doc == nil:
		return
	case e.doc == nil:
		c.Operation = payload.Delete.String()
	case e.was.doc == nil:
		c.Operation = payload.Insert.String()
	}
	if c.ID.Type == 0 {
		c.ID = payload.DocID(slices.Concat(e.doc, e.was.doc)).Raw()
	}
	b.events = append(b.events, c)
}

// gap notes that the fold changes more than its records name.
func (b *batch) gap() { b.meta.gaps++ }

// tell queues a commit's changes; db.mu is held.
func (db *DB) tell(events []Change, v *view, blind bool) {
	for w := range db.watches {
		w.mu.Lock()
		w.behind = w.behind || blind
		if !w.behind {
			w.tell(events, v)
		}
		w.mu.Unlock()
		w.poke()
	}
}

func (w *Watch) tell(events []Change, v *view) {
	from := w.bytes
	queue := w.queue
	for _, c := range events {
		if !w.covers(c.Collection) || !w.matches(&c) {
			continue
		}
		// Only the last one's token is after the commit.
		c.Token = token(w.at, w.gaps)
		queue = append(queue, c)
		w.bytes += c.size()
	}
	if w.bytes > maxQueued || len(events) > maxEvents {
		w.bytes, w.behind = from, true
		return
	}
	if k := len(queue); k > len(w.queue) {
		queue[k-1].Token = token(v.n, v.gaps)
	}
	w.queue, w.at, w.gaps = queue, v.n, v.gaps
}

func (w *Watch) matches(c *Change) bool {
	if w.filter == nil {
		return true
	}
	doc := c.After
	if doc == nil {
		doc = c.Before
	}
	return w.filter.Match(withMod(state{doc: doc, mod: clock.At(c.Time)}))
}
