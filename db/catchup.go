package db

import (
	"bytes"
	"context"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/past"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
)

// CatchUp queues changes from the journal, or ends being behind.
func (w *Watch) catchUp(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := w.db.fold.Acquire()
	if err != nil {
		return err
	}
	defer v.Release()
	if w.past == nil {
		w.past = &past.Past{Inexact: map[string]bool{}}
	}
	p := w.past
	p.Open(w.db.fold.Journal, v)
	if w.at.Gaps != v.Gaps {
		if err := w.queueGaps(v); err != nil {
			return err
		}
	}
	done, err := w.readRecords(v)
	if err != nil {
		return err
	}
	if done {
		w.pos, w.at, w.behind, w.past = v.Seq, v.Bookmark(), false, nil
		if k := len(w.queue); k > 0 {
			w.queue[k-1].upTo = w.at
		}
	}
	return nil
}

// queueGaps tells the gaps since the watch's bookmark.
func (w *Watch) queueGaps(v *view.View) error {
	colls, err := v.GapsSince(w.at.Gaps)
	if err != nil {
		return err
	}
	for _, c := range colls {
		w.past.Inexact[c] = true
		if c == "" || w.sub.Audience.Covers(c) {
			w.queue = append(w.queue, told{gap: c, upTo: w.at})
		}
	}
	w.at.Gaps = v.Gaps
	if k := len(w.queue); k > 0 {
		w.queue[k-1].upTo = w.at
	}
	return nil
}

// readRecords queues what the next records of the journal changed, as far as v
// has them, and reports whether these were the last.
func (w *Watch) readRecords(v *view.View) (done bool, err error) {
	from, last := w.at.At, v.N
	if w.at.At == v.N {
		from = max(w.at.At, w.at.Ahead)
	}
	if k := len(v.Ahead); k > 0 {
		last = max(last, v.Ahead[k-1].Last)
	}
	as, err := w.db.fold.Journal.Arrivals(from, change.MaxQueued/8)
	if err != nil {
		return false, err
	}
	if len(as) == 0 && from < last { // the rest was cut off; a gap is told
		w.at = view.Bookmark{At: max(w.at.At, v.N), Ahead: max(w.at.Ahead, last), Gaps: w.at.Gaps}
	}
	for i := range as {
		n := as[i].N
		if n > last {
			break
		}
		next := w.at
		if n <= v.N {
			next.At = n
		} else if n <= w.at.Ahead || !keyspace.IsAhead(v.Ahead, n) {
			continue // told already, or not folded: it comes when the cursor passes it
		} else {
			next.Ahead = n
		}
		cs, err := w.changes(v, journal.Decode(&as[i]))
		if err != nil {
			return false, err
		}
		w.queuePast(cs, next)
	}
	if len(as) > 0 && as[len(as)-1].N < last {
		return false, nil
	}
	if w.sub.Audience.Ops&change.OpOther != 0 {
		// What was noted when there was no record to note it with.
		cs, err := w.past.Noted(&w.sub.Audience.Criteria, v.N+1)
		if err != nil {
			return false, err
		}
		w.queuePast(cs, w.at)
	}
	return true, nil
}

// queuePast queues changes that were read from the journal; only the last of a record is
// told with the bookmark after it, so that who resumes in between is told all again.
func (w *Watch) queuePast(cs []change.Change, next view.Bookmark) {
	for i := range cs {
		t := told{Change: &cs[i], upTo: w.at}
		if i == len(cs)-1 {
			t.upTo = next
		}
		w.queue = append(w.queue, t)
	}
	w.at = next
}

// changes tells what the operations of a record did, as far as it is known now.
func (w *Watch) changes(v *view.View, rec *journal.Record) (out []change.Change, err error) {
	p, m := w.past, &w.sub.Audience.Criteria
	p.Keep(rec)
	seen := map[string]bool{}
	for i := range rec.Ops {
		if rec.Snapshot {
			break // it changes nothing that a gap does not tell
		}
		op := &rec.Ops[i]
		coll := v.Cat.Colls[op.Coll]
		k := op.Coll + "\x00" + string(op.Key)
		if coll == nil || seen[k] || !m.Covers(op.Coll) || m.Ops&change.OpDocs == 0 || m.IDKey != nil && !bytes.Equal(m.IDKey, op.Key) {
			continue
		}
		c := change.Change{
			Op: change.OpUpdate, Coll: op.Coll, IDKey: op.Key, ID: op.ID, By: rec.ID, Time: rec.Time, Remote: !v.Own[rec.ID.Log],
		}
		if op.Kind == payload.Replace {
			c.Op = change.OpReplace
		}
		known, did, err := p.Lookup(coll, op, rec.Ref(i), &c)
		if err != nil {
			return nil, err
		}
		if !known {
			seen[k] = true // it is told as it is now, so once
			f, err := v.Get(coll, op.Key)
			if err != nil {
				return nil, err
			}
			if c.Current, did = true, true; f != nil {
				c.After = f.State
			}
		}
		switch {
		case !did:
			continue
		case c.After.Doc == nil:
			c.Op = change.OpDelete
		case known && c.Before.Doc == nil:
			c.Op = change.OpInsert
		case !known && op.Kind == payload.Insert:
			c.Op = change.OpInsert
		}
		if m.Matches(&c) {
			out = append(out, c)
		}
	}
	if m.Ops&change.OpOther != 0 {
		cs, err := p.Noted(m, rec.N)
		return append(out, cs...), err
	}
	return out, nil
}
