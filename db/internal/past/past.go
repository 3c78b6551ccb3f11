// Package past reads the histories of documents: what a document was when an
// operation came (for who watches late), and since when it has what it has (for
// conflicts of unique indexes).
package past

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/store"
)

const (
	// maxPastEvents bounds the history that is read to know what a document was.
	maxPastEvents = 512
	maxPastBytes  = 16 << 20 // of records that are kept decoded
	maxPastDocs   = 4096
)

// Invariant: what Past tells of a document is what its readers saw, or it says that
// it cannot tell. A history holds operations in stamp order, but readers saw them in
// the order of arrival; the two agree up to an operation only if all before it in the
// history also arrived before all after it (inOrder), and if no verdict was changed
// since (inexact).
//
//	history by stamp:  10 (arrived 1)   20 (arrived 3)   30 (arrived 2)
//	asked for 10:      {} → after 10                 exact: it arrived before the others
//	asked for 30:      20 was not there when 30 came, so its fold now is not what it was: not known
//	asked for 20:      30 came before it: not known; the document is told as it is now
//	a gap in the collection: nothing of it is known exactly until the gap is told

// A Past tells what documents were, from their histories, by the standing
// verdicts.
type Past struct {
	journal journal.Journal
	v       *view.View
	judge   judge.Judge
	docs    map[string]*pastDoc
	recs    map[int64]*journal.Record
	bytes   int
	Inexact map[string]bool // collections where verdicts may have changed; "" is all
}

// A pastDoc is a document's history, and its state after some of it.
type pastDoc struct {
	events []fold.Event // in the order of the keys, which is that of stamps but for equal times
	exact  bool
	at     int // cur is the state after events[:at]; -1 before any is known
	cur    keyspace.State
}

// Open sets the view whose histories are read. Records that are decoded are kept: they do
// not change from view to view, documents do.
func (p *Past) Open(j journal.Journal, v *view.View) {
	p.journal, p.v, p.docs = j, v, map[string]*pastDoc{}
	if p.recs == nil {
		p.recs = map[int64]*journal.Record{}
	}
}

// Keep keeps a decoded record that may be asked for again, within a bound.
func (p *Past) Keep(rec *journal.Record) {
	if p.bytes > maxPastBytes {
		clear(p.recs)
		p.bytes = 0
	}
	p.recs[rec.N] = rec
	p.bytes += 256
	for i := range rec.Ops {
		p.bytes += rec.Ops[i].Size()
	}
}

// record returns the record that arrived as number n, maybe a kept one.
func (p *Past) record(n int64) (*journal.Record, error) {
	if r := p.recs[n]; r != nil {
		return r, nil
	}
	r, err := journal.Read(p.journal, n)
	if err != nil {
		return nil, err
	}
	p.Keep(r)
	return r, nil
}

// Lookup sets c's documents before and after the operation at r. known is false
// if the history cannot tell; did is false if the operation changed nothing.
func (p *Past) Lookup(coll *keyspace.Coll, op *payload.Op, r keyspace.Ref, c *change.Change) (known, did bool, err error) {
	// After a gap the standing verdicts may not be those of when the operation came.
	if p.Inexact[""] || p.Inexact[coll.Name] {
		return false, false, nil
	}
	d, err := p.doc(coll, op.Key)
	if err != nil || !d.exact {
		return false, false, err
	}
	i := slices.IndexFunc(d.events, func(ev fold.Event) bool { return ev.Ref.N == r.N && ev.Ref.Index == r.Index })
	if i < 0 {
		return true, false, nil // of a log that is void now
	}
	if !d.inOrder(i) {
		return false, false, nil
	}
	if d.events[i].Code != keyspace.CodeOK {
		return true, false, nil
	}
	if err := p.advance(coll, op.Key, d, i); err != nil {
		return false, false, err
	}
	c.Before = d.cur
	if err := p.advance(coll, op.Key, d, i+1); err != nil {
		return false, false, err
	}
	c.After = d.cur
	return true, !keyspace.SameState(c.Before, c.After) && (c.Before.Doc != nil || c.After.Doc != nil), nil
}

// inOrder reports whether the events up to i arrived before all after it, and
// their order is known without their stamps: then their fold is what the
// document was.
func (d *pastDoc) inOrder(i int) bool {
	at := d.events[i].Ref
	for k, ev := range d.events {
		sameRecord := ev.Ref.N == at.N
		switch {
		case k < i && ev.Ref.N > at.N, k > i && ev.Ref.N < at.N:
			return false
		case k > 0 && k <= i+1 && ev.Ref.Time == d.events[k-1].Ref.Time && ev.Ref.N != d.events[k-1].Ref.N:
			return false
		case sameRecord && (k < i) != (ev.Ref.Index < at.Index) && k != i:
			return false
		}
	}
	return true
}

// doc reads a document's history. A history that is longer than is read, or has something
// else in it, is kept as one that cannot tell, so that it is not read again for each
// change. What is kept is of one view.
func (p *Past) doc(coll *keyspace.Coll, idKey []byte) (*pastDoc, error) {
	k := coll.Name + "\x00" + string(idKey)
	if d := p.docs[k]; d != nil {
		return d, nil
	}
	if len(p.docs) >= maxPastDocs {
		clear(p.docs)
	}
	d := &pastDoc{at: -1}
	p.docs[k] = d
	h, err := p.v.Head(coll, idKey)
	if err != nil || h.Count > maxPastEvents {
		return d, err
	}
	d.exact = true
	if h.Count == 0 {
		return d, nil
	}
	evs, whole, err := history(p.v, coll, idKey, h)
	if err != nil {
		return nil, err
	}
	d.events = evs
	d.exact = whole && uint64(len(evs)) == h.Count
	return d, nil
}

// history returns the operations of a document, by its head and what the store has of
// those before, in the order of the keys: that of stamps but for equal times. whole is
// false if something else is among them, of a longer _id, or corrupt.
func history(v *view.View, c *keyspace.Coll, idKey []byte, h keyspace.Head) (evs []fold.Event, whole bool, err error) {
	prefix := v.Space.Key(keyspace.TagHistory, keyspace.Num(c.Num), idKey)
	it := v.Snap.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := keyspace.Scanner{B: it.Key()[len(prefix):]}
		r := s.Ref()
		if s.Bad || len(s.B) > 0 {
			return nil, false, nil
		}
		if r == h.Last || r.N > v.N && !keyspace.IsAhead(v.Ahead, r.N) {
			continue // left by an end between steps, the head names it; or prepared, not folded yet
		}
		val, err := it.Value()
		if err != nil {
			return nil, false, err
		}
		if len(val) != 1 {
			return nil, false, keyspace.ErrCorrupt
		}
		evs = append(evs, fold.Event{Ref: r, Code: keyspace.Code(val[0] >> 1)})
	}
	return append(evs, fold.Event{Ref: h.Last, Code: h.Code}), true, it.Err()
}

// advance makes d.cur the state after events[:i]. Verdicts stand: what was accepted is
// applied without a definition, what was refused is passed over. It goes forward from
// where it is, so telling a document's changes in order costs one pass.
func (p *Past) advance(coll *keyspace.Coll, idKey []byte, d *pastDoc, i int) error {
	if d.at < 0 || d.at > i {
		if err := p.begin(coll, idKey, d, i); err != nil {
			return err
		}
	}
	for ; d.at < i; d.at++ {
		ev := d.events[d.at]
		if ev.Code != keyspace.CodeOK {
			continue
		}
		rec, err := p.record(ev.Ref.N)
		if err != nil {
			return err
		}
		if int(ev.Ref.Index) >= len(rec.Ops) {
			return keyspace.ErrCorrupt
		}
		d.cur = p.judge.Judge(&rec.Ops[ev.Ref.Index], d.cur, ev.Ref.Time, nil).Next
	}
	return nil
}

// begin sets d.cur to the last cached state of events[:i], or to nothing. A cached state
// that is of none of these events, because they were folded again since, is no use.
func (p *Past) begin(coll *keyspace.Coll, idKey []byte, d *pastDoc, i int) error {
	d.at, d.cur = 0, keyspace.State{}
	if i == 0 {
		return nil
	}
	prefix := p.v.Space.Key(keyspace.TagBase, keyspace.Num(coll.Num), idKey)
	upper := binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(d.events[i-1].Ref.Time))
	it := p.v.Snap.Iterate(store.Range{Lower: prefix, Upper: upper, Reverse: true})
	defer it.Close()
	if !it.Valid() {
		return it.Err()
	}
	val, err := it.Value()
	if err != nil {
		return err
	}
	h, err := keyspace.ParseHead(bytes.Clone(val))
	if err != nil {
		return err
	}
	if k := slices.IndexFunc(d.events[:i], func(ev fold.Event) bool { return ev.Ref == h.Last }); k >= 0 {
		d.at, d.cur = k+1, h.State
	}
	return nil
}

// Noted tells what was noted at arrival n of refusals and conflicts. The note says only
// that something changed then; what is told is what has become of it.
func (p *Past) Noted(m *change.Criteria, n int64) ([]change.Change, error) {
	out, err := p.refusals(m, n)
	if err != nil {
		return nil, err
	}
	cs, err := p.conflicts(m, n)
	return append(out, cs...), err
}

// refusals tells the refusals that were noted at arrival n.
func (p *Past) refusals(m *change.Criteria, n int64) (out []change.Change, err error) {
	prefix := p.v.Space.Key(keyspace.TagNoted, binary.BigEndian.AppendUint64(nil, uint64(n)))
	it := p.v.Snap.Iterate(store.Range{Lower: prefix, Upper: store.PrefixEnd(prefix), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := keyspace.Scanner{B: it.Key()[len(prefix):]}
		r := s.Ref()
		if s.Bad {
			return nil, keyspace.ErrCorrupt
		}
		c, err := p.refusal(r)
		if errors.Is(err, keyspace.ErrLost) {
			continue // its record was cut off
		}
		if err != nil {
			return nil, err
		}
		if m.Covers(c.Coll) && m.Matches(c) {
			out = append(out, *c)
		}
	}
	return out, it.Err()
}

// refusal tells what has become of the refusal at r.
func (p *Past) refusal(r keyspace.Ref) (*change.Change, error) {
	rec, err := p.record(r.N)
	if err != nil {
		return nil, err
	}
	c := &change.Change{Op: change.OpCleared, By: rec.ID, Time: rec.Time, Remote: !p.v.Own[rec.ID.Log]}
	c.Verdict = &change.ChangedVerdict{Stamp: journal.StampAt(rec, r), Seq: rec.ID.Seq}
	if rec.Bad == nil && int(r.Index) < len(rec.Ops) {
		op := &rec.Ops[r.Index]
		c.Of(op)
	}
	doc, err := p.v.Refusal(r)
	if err != nil || doc == nil {
		return c, err
	}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	c.Op, c.Verdict.Code, c.Verdict.Message = change.OpRefused, keyspace.Code(n), string(value.Get(doc, "message").Str())
	return c, nil
}
