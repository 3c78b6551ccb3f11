package db

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/feed"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/past"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// An Image says on which document of a change a filter is tested.
type Image uint8

// The images.
const (
	ImageAfter  Image = iota // the document after the change; before it, if the change deletes it
	ImageBefore              // the document before the change
	ImageEither              // either of them
)

// ParseImage reads after, before or either; "" means after.
func ParseImage(s string) (Image, error) {
	if s == "" {
		return ImageAfter, nil
	}
	i := slices.Index([]string{"after", "before", "either"}, s)
	if i < 0 {
		return 0, fault.Errorf(fault.BadValue, "invalid image %.40q: want after, before or either", s)
	}
	return Image(i), nil
}

// WatchOptions selects changes. The zero value selects those of all documents
// of all collections but system collections, from now on.
type WatchOptions struct {
	Collections []string
	ID          any // of the one document to watch; nil for all
	// Operations are insert, update, replace, delete (these four if it is
	// empty), refused, cleared, conflict and resolved. Gaps are always told.
	Operations  []string
	Filter      any    // on a document of the change; refusals are not filtered
	Image       Image  // which one
	ResumeAfter string // the token of the last change seen; "" starts now
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
	Remote bool      // caused by another device
	Log    LogID     // of the writer that caused it; zero if no record did
	Seq    uint64    // of the record in that log
	Time   time.Time // of the last operation that changed the document, or of the refused one
	// Of refused, an operation that does nothing at its place, and of cleared,
	// one that was refused and is not any more:
	Refusal *Refusal
	// Of conflict, a key of a unique index that several documents have now, and of
	// resolved, where one has it again; as it is when the change is told.
	Conflict *Conflict
	Token    string // resumes after this change; some before may be told again
}

// criteria checks the options and makes of them what the feed files the watch by.
func (o *WatchOptions) criteria() (m change.Criteria, err error) {
	if m.Ops, err = change.ParseOps(o.Operations); err != nil {
		return m, err
	}
	for _, c := range o.Collections {
		if err := payload.CheckName(c); err != nil {
			return m, err
		}
	}
	if len(o.Collections) > 0 {
		m.Colls = slices.Clone(o.Collections)
		slices.Sort(m.Colls)
		m.Colls = slices.Compact(m.Colls)
	}
	if raw, is := o.ID.(bson.RawValue); o.ID != nil && (!is || raw.Type != 0) {
		id, err := encodedID(o.ID)
		if err != nil {
			return m, err
		}
		if m.IDKey, err = payload.CheckID(id); err != nil {
			return m, err
		}
	}
	if o.Image > ImageEither {
		return m, fault.Errorf(fault.BadValue, "there is no image %d", o.Image)
	}
	m.Image = change.Side(o.Image)
	f, err := encoded("filter", o.Filter)
	if err != nil {
		return m, err
	}
	return m, m.Compile(f)
}

// A Watch is a stream of changes in the order of this replica's commits. It
// belongs to one goroutine, but for Close; the caller owes Close.
type Watch struct {
	db     *DB
	sub    *feed.Subscription
	eyes   view.Eyes
	queue  []told
	told   view.Bookmark // after the last change that Next returned
	pos    uint64        // the commit up to which changes are queued
	at     view.Bookmark // after it
	behind bool          // changes are to be read from the journal first
	past   *past.Past    // while it is behind
}

// A told change waits in a watch, with the bookmark after it.
type told struct {
	*change.Change
	gap  string // collection, if change is nil
	upTo view.Bookmark
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
	defer v.Release()
	w := &Watch{db: db, sub: sub, eyes: view.EyesOf(ctx), pos: v.Seq, at: v.Bookmark()}
	if o.ResumeAfter != "" {
		if w.at, err = db.feed.BookmarkOf(o.ResumeAfter, v); err != nil {
			db.unsubscribe(sub)
			return nil, err
		}
		w.behind = true
	}
	w.told = w.at
	return w, nil
}

// subscribe joins the feed, and returns the state from which on the subscription
// is told everything.
func (db *DB) subscribe(m change.Criteria) (*feed.Subscription, *view.View, error) {
	sub := db.feed.Join(m)
	v, err := db.fold.Acquire()
	if err != nil {
		sub.Leave()
		return nil, nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.watches == nil {
		sub.Leave()
		v.Release()
		return nil, nil, ErrClosed
	}
	db.watches[sub] = struct{}{}
	return sub, v, nil
}

func (db *DB) unsubscribe(s *feed.Subscription) {
	db.mu.Lock()
	delete(db.watches, s)
	db.mu.Unlock()
	s.Leave()
}

// Close ends the watch; it may be called twice.
func (w *Watch) Close() { w.db.unsubscribe(w.sub) }

// Token returns a token that resumes after what Next has returned, and after the
// changes since that are not for this watch.
func (w *Watch) Token() (string, error) {
	if len(w.queue) == 0 && !w.behind {
		return w.db.feed.Token(w.at)
	}
	return w.db.feed.Token(w.told)
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
		case <-w.sub.Ended:
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
		case <-w.sub.Ended:
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
		hits, next, at, wait, behind := w.sub.Pull(w.pos)
		if behind {
			w.behind, w.past = true, nil
			continue
		}
		w.take(hits)
		if next > w.pos {
			w.pos, w.at = next, at
		}
		if len(hits) == 0 {
			return c, wait, nil
		}
	}
}

// take queues hits; only the last of a commit is told with the bookmark after it.
func (w *Watch) take(hits []feed.Hit) {
	upTo := w.at
	for i, h := range hits {
		if i == len(hits)-1 || hits[i+1].Seq != h.Seq {
			upTo = h.News.Bookmark
		}
		w.queue = append(w.queue, told{Change: &h.News.Changes[h.I], upTo: upTo})
	}
}

// hand makes of a queued change what the caller may see. It is the one place
// where a watch hands documents out; ok is false if this one is not for it.
func (w *Watch) hand(t told) (out Change, ok bool, err error) {
	w.told = t.upTo
	token, err := w.db.feed.Token(t.upTo)
	if err != nil {
		return out, false, err
	}
	if t.Change == nil {
		return Change{Operation: "gap", Collection: t.gap, Token: token}, true, nil
	}
	c, op, err := w.look(t.Change)
	if err != nil || op == 0 {
		return out, false, err
	}
	out = Change{
		Operation: change.OpNames[op], Collection: c.Coll, After: c.After.Doc, Before: c.Before.Doc, Current: c.Current,
		Late: c.Late, Remote: c.Remote, Log: c.By.Log, Seq: c.By.Seq, Time: c.Time.Wall(), Token: token,
	}
	if c.ID.Exists() {
		out.ID = c.ID.Raw()
	}
	if op == change.OpConflict || op == change.OpResolved {
		v, err := w.db.fold.Acquire()
		if err != nil {
			return out, false, err
		}
		defer v.Release()
		cf, err := past.NewHistorian(w.db.fold.Journal, v).ConflictOf(w.eyes.Ctx, &c)
		if err != nil {
			return out, false, err
		}
		told := publicConflict(&cf)
		out.Conflict = &told

	}
	if r := c.Verdict; r != nil {
		out.Refusal = &Refusal{
			Stamp: r.Stamp, Seq: r.Seq, Operation: r.Kind, Collection: c.Coll, ID: out.ID, Reason: r.Code.Reason(), Message: r.Message,
		}
	}
	return out, true, nil
}

// look returns what of a change the reader is shown: a document that begins or
// ceases to be shown is inserted or deleted. The operation is 0 if it is none.
func (w *Watch) look(c *change.Change) (change.Change, change.OpSet, error) {
	out, op := *c, c.Op
	if op&change.OpOther != 0 {
		return out, op, nil
	}
	v, err := w.db.fold.Acquire()
	if err != nil {
		return out, 0, err
	}
	defer v.Release()
	sight, err := w.eyes.Sight(v, c.Coll)
	if err != nil {
		return out, 0, err
	}
	for _, s := range []*keyspace.State{&out.Before, &out.After} {
		if !sight.Shows(s.Doc) {
			*s = keyspace.State{}
		}
	}
	switch {
	case out.After.Doc != nil && out.Before.Doc == nil && c.Before.Doc != nil:
		op = change.OpInsert
	case out.After.Doc == nil && c.After.Doc != nil:
		if op = change.OpDelete; out.Before.Doc == nil && !c.Current {
			op = 0
		}
	case out.After.Doc == nil && out.Before.Doc == nil && c.Before.Doc != nil:
		op = 0
	}
	return out, op, nil
}
