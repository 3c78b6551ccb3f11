package fold

import (
	"bytes"
	"slices"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
)

// noteConflict tells the feed that a key of x has come to have several documents,
// or one again. It is written before the mark, so that no step holds that without
// it.
func (b *batch) noteConflict(x *keyspace.Index, key []byte, contested bool) error {
	if err := b.put(b.fold.Space.ContestedKey(b.noting(), x.Num, key), nil); err != nil {
		return err
	}
	if b.unheard() {
		return nil
	}
	c := change.Change{Op: change.OpResolved, Coll: b.cat.CollOf(x.Num), Index: x.Num, Key: bytes.Clone(key), Late: true}
	if contested {
		c.Op = change.OpConflict
	}
	if rec := b.folding; rec != nil && len(b.voiding) == 0 {
		c.By, c.Time, c.Remote, c.Late = rec.ID, rec.Time, !b.fold.own[rec.ID.Log], false
	}
	b.tell(c)
	return nil
}

// changed notes that e, which is next already, was before; op is what did it, nil if
// folding again did.
func (b *batch) changed(e *entry, before keyspace.State, op *payload.Op, rec *journal.Record) {
	again := rec == nil
	if again {
		rec = b.folding
	}
	// Who reads on from the journal looks at the documents that its records name; of
	// others only a gap tells.
	if b.unnamed || len(b.voiding) > 0 {
		b.gap(e.coll)
	}
	if before.Doc == nil && e.Doc == nil || b.unheard() {
		return
	}
	kind := change.OpOf(op != nil && op.Kind == payload.Replace, before.Doc != nil, e.Doc != nil)
	c := change.Change{Op: kind, Coll: e.coll.Name, IDKey: e.idKey, Before: before, After: e.State, Late: again, Time: e.Mod}
	if rec != nil {
		c.By, c.Remote = rec.ID, !b.fold.own[rec.ID.Log]
	}
	if op != nil && keyspace.SameSlice(e.Doc, op.Doc) {
		c.After.Doc = slices.Clone(e.Doc) // the caller of Insert may reuse its bytes
	}
	if c.ID = payload.DocID(c.After.Doc); !c.ID.Exists() {
		c.ID = payload.DocID(before.Doc)
	}
	b.tell(c)
}

// unheard reports whether nobody is to be told of a change: there is nobody, and
// who comes before the commit goes on from the journal; or they are too many.
func (b *batch) unheard() bool {
	if !b.fold.listener.Active() {
		b.blind, b.changes = true, nil
	}
	return b.blind
}

// tell keeps a change for the feed, within the bound; over it all are dropped, since a few
// of them are no use to anybody.
func (b *batch) tell(c change.Change) {
	b.toldBytes += c.Size()
	if len(b.changes) == change.MaxEvents || b.toldBytes > change.MaxQueued {
		b.blind, b.changes = true, nil
		return
	}
	b.changes = append(b.changes, c)
}

// news returns what the committed batch tells, in the order in which it happened.
func (b *batch) news() *change.News {
	n := &change.News{Changes: b.changes, Blind: b.blind}
	if rec := b.records[b.meta.Cursor]; rec != nil {
		n.Tip = rec.ID.Hash
	}
	return n
}

// noteRefusal tells the feed that the verdict on the operation at r is another.
// It is written before the refusal, so that no step holds that without it.
func (b *batch) noteRefusal(r keyspace.Ref, rec *journal.Record, op *payload.Op, v judge.Verdict) error {
	// Of what is cut off nothing is noted: its record may be deleted next.
	if cut := b.cutting && b.gone.Has(r.N); !cut {
		if err := b.put(b.fold.Space.NotedKey(b.noting(), r), nil); err != nil {
			return err
		}
	}
	if b.unheard() {
		return nil
	}
	c := change.Change{Op: change.OpRefused, By: rec.ID, Time: rec.Time, Remote: !b.fold.own[rec.ID.Log], Late: b.folding != rec}
	if v.Code == keyspace.CodeOK {
		c.Op = change.OpCleared
	}
	c.Verdict = &change.ChangedVerdict{Stamp: journal.StampAt(rec, r), Seq: rec.ID.Seq, Code: v.Code, Message: keyspace.Clip(v.Err)}
	if op == nil && rec.Bad == nil && int(r.Index) < len(rec.Ops) {
		op = &rec.Ops[r.Index]
	}
	if op != nil {
		c.Of(op)
	}
	b.tell(c)
	return nil
}

// noting returns the arrival with which what the batch finds out is noted: the
// next one, if no record brings it.
func (b *batch) noting() int64 {
	if b.folding != nil && len(b.voiding) == 0 {
		return b.folding.N
	}
	return b.meta.Cursor + 1
}

// gap notes that the fold changed documents of c that the records do not name,
// once
// for each collection and batch, so that whoever reads on from the journal is told.
func (b *batch) gap(c *keyspace.Coll) {
	if _, ok := b.gapped[c.Num]; !ok {
		b.meta.Gaps++
		b.gapped[c.Num] = b.meta.Gaps
	}
}

// maxGaps bounds the gaps that one transaction writes; more become one of all
// collections.
const maxGaps = 100

// saveGaps writes the last gap of each collection; 0 is any.
func (b *batch) saveGaps() error {
	if len(b.gapped) > maxGaps {
		b.gapped = map[uint32]int64{0: b.meta.Gaps}
	}
	for c, n := range b.gapped {
		if err := b.tx.Put(b.fold.Space.Key(keyspace.TagGap, keyspace.Num(c)), keyspace.Uvarints(nil, uint64(n))); err != nil {
			return err
		}
	}
	return nil
}
