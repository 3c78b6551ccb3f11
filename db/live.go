package db

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/internal/fault"
)

// A LiveEvent is one change from the result of a live query to its next result.
// Applied in order to the result that [Live.Result] gives, the events give what a
// Find gives at the end of each commit.
type LiveEvent struct {
	// Operation is
	//
	//	added    Document is in the result now, at Index
	//	removed  the document with ID, which was at From, is not any more
	//	changed  Document, at Index, is another version of the one there
	//	moved    Document, which was at From, is at Index once it is taken out there
	//	reset    what was told before is void: Result is the result now
	Operation   string
	ID          bson.RawValue // of the document; zero in a reset
	Document    Document      // as it is now, projected; zero in removed and reset
	Index, From int           // positions in the result, from 0; -1 where there is none
	Result      []Document    // of a reset
	More        bool          // others of the same commit follow
}

// A Live is the result of a query that is kept up to date. It belongs to one
// goroutine, but for Close; the caller owes Close.
type Live struct {
	set    *liveSet
	proj   *query.Projection
	modOut bool // the projection reads _mod
	result []Document
	pos    int64 // in the set's log
	reset  bool  // what is told next is a reset
	left   bool  // by Close
}

// Live runs a query and keeps its result up to date; a nil filter matches all. Without a sort the result
// is in the order of _id. Of this call ctx bounds the start only.
//
// The result is held in memory, once for all live queries that are the same but
// for their projection: with a limit, the documents up to it and some more. One
// of over 16 MiB, and more than 256 MiB in all results of the database, fails
// with ErrTooLarge. A read rule that changes ends the query. A subscriber that falls behind, or a result that had to be
// read again, is told a reset.
func (c *Collection) Live(ctx context.Context, filter any, o FindOptions) (*Live, error) {
	l := &Live{}
	so, err := o.search(filter)
	if err != nil {
		return nil, err
	}
	if len(so.Projection) > 5 {
		if l.proj, err = query.CompileProjection(slices.Clone(so.Projection)); err != nil {
			return nil, err
		}
		if l.proj.NeedsContext() {
			return nil, fault.Errorf(fault.CommandNotSupported, "a live query's projection takes no positional operator and no expressions")
		}
		l.modOut = l.proj.Names("_mod")
	}
	if o.Skip < 0 || o.Limit < 0 || o.Skip > maxLiveCount || o.Limit > maxLiveCount {
		return nil, fault.Errorf(fault.BadValue, "skip and limit of a live query are 0 to %d", maxLiveCount)
	}
	set, err := c.db.liveSet(ctx, c.name, so)
	if err != nil {
		return nil, err
	}
	l.set = set
	if err := set.enter(ctx, l); err != nil {
		c.db.leaveLive(l)
		return nil, err
	}
	return l, nil
}

// Result returns the documents at the start, in order.
func (l *Live) Result() []Document { return l.result }

// Close ends the live query; it may be called twice.
func (l *Live) Close() { l.set.db.leaveLive(l) }

// Next waits for the next event. It fails when ctx ends, the database closes, or
// the result becomes too large; then the live query is over.
func (l *Live) Next(ctx context.Context) (LiveEvent, error) {
	for {
		e, wait, err := l.next(ctx)
		if wait == nil {
			return e, err
		}
		select {
		case <-wait:
		case <-l.set.sub.Ended:
		case <-ctx.Done():
			return LiveEvent{}, ctx.Err()
		}
	}
}

// TryNext returns the next event if there is one already.
func (l *Live) TryNext(ctx context.Context) (e LiveEvent, ok bool, err error) {
	e, wait, err := l.next(ctx)
	return e, wait == nil && err == nil, err
}

// next returns the next event, or an error, or what is closed when there may be
// one.
func (l *Live) next(ctx context.Context) (e LiveEvent, wait <-chan struct{}, err error) {
	s := l.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.members[l] {
		return e, nil, ErrClosed
	}
	if l.pos == s.end() && !l.reset {
		if wait, err = s.advance(ctx); err != nil || wait != nil && l.pos == s.end() && !l.reset {
			return e, wait, err
		}
	}
	if l.reset || l.pos < s.first {
		l.reset, l.pos = false, s.end()
		return LiveEvent{Operation: "reset", Index: -1, From: -1, Result: l.documents()}, nil, nil
	}
	n := s.log[l.pos-s.first]
	l.pos++
	return l.event(&n), nil, nil
}

func (l *Live) event(n *liveNote) LiveEvent {
	e := LiveEvent{Operation: n.op, ID: payloadID(n.doc), Index: n.index, From: n.from, More: n.more}
	if n.op != liveRemoved {
		e.Document = l.hand(n.doc)
	}
	return e
}

// documents returns what the result holds; the set's mu is held.
func (l *Live) documents() []Document {
	shown := l.set.shown()
	out := make([]Document, len(shown))
	for i, d := range shown {
		out[i] = l.hand(d)
	}
	return out
}

// hand makes of a document what the caller may see. It is the one place where a
// live query hands documents out.
func (l *Live) hand(d *liveDoc) Document {
	out := Document{Raw: d.Doc, Mod: d.Mod}
	switch {
	case l.proj != nil && l.modOut:
		out.Raw = l.proj.Apply(nil, keyspace.WithMod(d.State))
	case l.proj != nil:
		out.Raw = l.proj.Apply(nil, d.Doc)
	}
	return out
}
