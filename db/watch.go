package db

import (
	"bytes"
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// An Image says on which document of a change a filter is judged.
type Image uint8

// The images.
const (
	ImageAfter  Image = iota // the document after the change; before it, if the change deletes it
	ImageBefore              // the document before the change
	ImageEither              // either of them
)

// WatchOptions selects changes. The zero value selects those of all documents
// of all collections but system collections, from now on.
type WatchOptions struct {
	Collections []string
	ID          bson.RawValue // of the one document to watch; zero for all
	// Operations are insert, update, replace, delete (these four if it is
	// empty), refused, cleared, conflict and resolved. Gaps are always told.
	Operations  []string
	Filter      bson.Raw // on a document of the change; refusals are not filtered
	Image       Image    // which one
	ResumeAfter string   // the token of the last change seen; "" starts now
}

// A Change is one change of one document, a refusal, or a gap.
//
// A change that is told as it happens, or again soon after, has the documents
// before and after. One that is told after a long pause comes from the journal;
// if the history does not give them any more, Current is set, After is the
// document as it is now, and Before is unknown. A gap says that changes may be
// missing and that Collection ("" for any) is to be read again.
type Change struct {
	Operation     string // one of WatchOptions.Operations, or gap
	Collection    string
	ID            bson.RawValue
	After, Before bson.Raw
	Current       bool
	// Late says that an operation that came late, or a change of definition or
	// of the void logs, had the document folded again.
	Late   bool
	Remote bool        // caused by another device
	Log    clock.LogID // of the writer that caused it; zero if no record did
	Seq    uint64      // of the record in that log
	Time   time.Time   // of the last operation that changed the document, or of the refused one
	// Of refused, an operation that does nothing at its place, and of cleared,
	// one that was refused and is not any more:
	Refusal *Refusal
	// Of conflict, a key of a unique index that several documents have now, and of
	// resolved, where one has it again; as it is when the change is told.
	Conflict *Conflict
	Token    string // resumes after this change; some before may be told again
}

func (o *WatchOptions) criteria() (m criteria, err error) {
	if m.ops, err = parseOps(o.Operations); err != nil {
		return m, err
	}
	for _, c := range o.Collections {
		if err := payload.CheckName(c); err != nil {
			return m, err
		}
	}
	if len(o.Collections) > 0 {
		m.colls = slices.Clone(o.Collections)
		slices.Sort(m.colls)
		m.colls = slices.Compact(m.colls)
	}
	if o.ID.Type != 0 {
		if m.idKey, err = payload.CheckID(value.Of(o.ID)); err != nil {
			return m, err
		}
	}
	if o.Image > ImageEither {
		return m, fault.Errorf(fault.BadValue, "there is no image %d", o.Image)
	}
	m.image = o.Image
	return m, m.compile(o.Filter)
}

func (m *criteria) compile(filter bson.Raw) (err error) {
	if len(filter) > 5 {
		m.raw, m.mod = slices.Clone(filter), bytes.Contains(filter, []byte("_mod\x00"))
		m.filter, err = query.Compile(m.raw)
	}
	return err
}

// A Watch is a stream of changes in the order of this replica's commits. It
// belongs to one goroutine, but for Close; the caller owes Close.
type Watch struct {
	db     *DB
	sub    *subscription
	eyes   eyes
	queue  []told
	told   place  // after the last change that Next returned
	pos    uint64 // the commit up to which changes are queued
	place         // after it
	behind bool   // changes are to be read from the journal first
	past   *past  // while it is behind
}

// A told change waits in a watch, with the place after it.
type told struct {
	*change
	gap  string // collection, if change is nil
	upTo place
}

// Watch opens a stream of changes. Of this call ctx bounds the start only.
func (db *DB) Watch(ctx context.Context, o WatchOptions) (*Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := o.criteria()
	if err != nil {
		return nil, err
	}
	sub, v, err := db.subscribe(m)
	if err != nil {
		return nil, err
	}
	defer v.release()
	w := &Watch{db: db, sub: sub, eyes: db.eyes(ctx), pos: v.seq, place: v.place()}
	if o.ResumeAfter != "" {
		if w.place, err = db.placeOf(o.ResumeAfter, v); err != nil {
			db.unsubscribe(sub)
			return nil, err
		}
		w.behind = true
	}
	w.told = w.place
	return w, nil
}

// subscribe joins the feed, and returns the state from which on the subscription
// is told everything.
func (db *DB) subscribe(m criteria) (*subscription, *view, error) {
	sub := db.feed.join(m)
	db.mu.Lock()
	err := db.use()
	if err == nil && (db.closed || db.view == nil) {
		err = ErrClosed
	}
	if err != nil {
		db.mu.Unlock()
		sub.leave()
		return nil, nil, err
	}
	v := db.view
	v.refs.Add(1)
	db.watches[sub] = struct{}{}
	db.mu.Unlock()
	return sub, v, nil
}

func (db *DB) unsubscribe(s *subscription) {
	db.mu.Lock()
	delete(db.watches, s)
	db.mu.Unlock()
	s.leave()
}

// Close ends the watch; it may be called twice.
func (w *Watch) Close() { w.db.unsubscribe(w.sub) }

// Token returns a token that resumes after what Next has returned, and after the
// changes since that are not for this watch.
func (w *Watch) Token() (string, error) {
	if len(w.queue) == 0 && !w.behind {
		return w.db.token(w.place)
	}
	return w.db.token(w.told)
}

// Next waits for the next change. It fails when ctx ends, or the watch or the
// database closes.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	for {
		c, wait, err := w.next(ctx)
		if wait == nil {
			return c, err
		}
		select {
		case <-wait:
		case <-w.sub.ended:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

// TryNext returns the next change if there is one already.
func (w *Watch) TryNext(ctx context.Context) (c Change, ok bool, err error) {
	c, wait, err := w.next(ctx)
	return c, wait == nil && err == nil, err
}

// next returns the next change, or an error, or what is closed when there may be
// one.
func (w *Watch) next(ctx context.Context) (c Change, wait <-chan struct{}, err error) {
	for {
		select {
		case <-w.sub.ended:
			return c, nil, ErrClosed
		default:
		}
		if len(w.queue) > 0 {
			t := w.queue[0]
			w.queue = w.queue[1:]
			if c, ok, err := w.hand(t); ok || err != nil {
				return c, nil, err
			}
			continue
		}
		if w.behind {
			if err := w.catchUp(ctx); err != nil {
				return c, nil, err
			}
			continue
		}
		hits, next, at, wait, behind := w.sub.pull(w.pos)
		if behind {
			w.behind, w.past = true, nil
			continue
		}
		w.take(hits)
		if next > w.pos {
			w.pos, w.place = next, at
		}
		if len(hits) == 0 {
			return c, wait, nil
		}
	}
}

// take queues hits; only the last of a commit is told with the place after it.
func (w *Watch) take(hits []hit) {
	upTo := w.place
	for i, h := range hits {
		if i == len(hits)-1 || hits[i+1].seq != h.seq {
			upTo = h.news.place
		}
		w.queue = append(w.queue, told{change: &h.news.changes[h.i], upTo: upTo})
	}
}

// hand makes of a queued change what the caller may see. It is the one place
// where a watch hands documents out; ok is false if this one is not for it.
func (w *Watch) hand(t told) (out Change, ok bool, err error) {
	w.told = t.upTo
	token, err := w.db.token(t.upTo)
	if err != nil {
		return out, false, err
	}
	if t.change == nil {
		return Change{Operation: "gap", Collection: t.gap, Token: token}, true, nil
	}
	c, op, err := w.look(t.change)
	if err != nil || op == 0 {
		return out, false, err
	}
	out = Change{
		Operation: opNames[op], Collection: c.coll, After: c.after.doc, Before: c.before.doc, Current: c.current,
		Late: c.late, Remote: c.remote, Log: c.by.Log, Seq: c.by.Seq, Time: c.time.Wall(), Token: token,
	}
	if c.id.Exists() {
		out.ID = c.id.Raw()
	}
	if op == opConflict || op == opResolved {
		v, err := w.db.acquire()
		if err != nil {
			return out, false, err
		}
		defer v.release()
		if out.Conflict, err = v.conflictOf(w.eyes.ctx, w.db, &c); err != nil {
			return out, false, err
		}
	}
	if r := c.refusal; r != nil {
		out.Refusal = &Refusal{
			Stamp: r.stamp, Seq: r.seq, Operation: r.kind, Collection: c.coll, ID: out.ID, Reason: r.code.reason(), Message: r.message,
		}
	}
	return out, true, nil
}

// look returns what of a change the reader is shown: a document that begins or
// ceases to be shown is inserted or deleted. The operation is 0 if it is none.
func (w *Watch) look(c *change) (change, opSet, error) {
	out, op := *c, c.op
	if op&opOther != 0 {
		return out, op, nil
	}
	v, err := w.db.acquire()
	if err != nil {
		return out, 0, err
	}
	defer v.release()
	sight, err := w.eyes.sight(v, c.coll)
	if err != nil {
		return out, 0, err
	}
	for _, s := range []*state{&out.before, &out.after} {
		if !sight.shows(s.doc) {
			*s = state{}
		}
	}
	switch {
	case out.after.doc != nil && out.before.doc == nil && c.before.doc != nil:
		op = opInsert
	case out.after.doc == nil && c.after.doc != nil:
		if op = opDelete; out.before.doc == nil && !c.current {
			op = 0
		}
	case out.after.doc == nil && out.before.doc == nil && c.before.doc != nil:
		op = 0
	}
	return out, op, nil
}
