package fold

import (
	"bytes"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/define"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// baseEvery is the number of a document's operations between cached states: a late
// operation loads one and applies at most so many before its own place.
const baseEvery = 64

// baseUnit is how much larger a document is for which half as many states are cached,
// then a third, and so on: a few small operations must not cause many large writes.
const baseUnit = 64 << 10

// due reports whether a document's state after n operations is to be cached.
func (f *Fold) due(n uint64, s *keyspace.State) bool {
	return n%(f.BaseEvery*uint64(1+len(s.Doc)/baseUnit)) == 0
}

// An entry is one document in a batch: as the store has it (was) and as it is to be. The
// difference is written once, by emit, however many operations there were.
type entry struct {
	coll          *keyspace.Coll
	idKey         []byte
	id            value.Value     // as some operation wrote it
	was           keyspace.Head   // as the store has it; count 0 if it has nothing
	keyspace.Head                 // as it is now
	seed          *lthash.Seed    // of Doc, if it was computed before; else nil
	dirty         bool            // it is in the batch's dirty
	drops         [][]byte        // history keys to delete once the head is written
	changed       bool            // since it was written
	spec          *keyspace.State // what judged requests of the group leave; nil for none
	late          bool            // while a record is applied: an operation of it is late
	settled       bool            // what is applied was folded in here before
}

// A batch folds records into one store transaction, or into several steps. It
// belongs to the committer.
//
// Invariant: nothing of the fold is changed until the batch is committed; a batch that
// fails is dropped, and with it its copies of catalogue, meta data and documents. Steps
// are the exception: each commits, and hands its meta data over (step).
type batch struct {
	fold      *Fold
	tx        store.Tx
	cat       *keyspace.Catalog
	meta      keyspace.Meta
	judge     judge.Judge
	entries   map[string]*entry // by collection number and _id key
	dirty     []*entry
	stats     map[uint32]keyspace.CollStats // those that differ from meta's
	deltas    []lthash.Delta                // of the state hash, not saved yet
	multi     map[*atomic.Bool]bool         // indexes that meet their first array
	holders   keyspace.Holders
	old, now  keyspace.KeySet // of the document whose entries are written
	keys      keyspace.KeyRoom
	catalogs  map[uint32]bool // collections whose stored form changes
	records   map[int64]*journal.Record
	marks     map[int64]clock.Stamp
	scanned   []*entry                // of the record that is applied, by operation
	defs      map[string]*entry       // by collection
	pending   define.Set              // definitions that it, or its merge, folds, by name's key
	chains    map[string]define.Keyed // of definitions that it changes
	noted     []string                // definitions that are stored as waiting
	changes   []change.Change         // for the feed
	toldBytes int                     // of changes
	unnamed   bool                    // the record does not name what is folded again
	folding   *journal.Record         // the record that is folded, or was last; nil for none
	gapped    map[uint32]int64        // collections of which more changed than the records name
	rescans   []rescan
	foreseen  map[string]keyspace.Ref // rescans that steps may need after a crash, by collection
	builds    bool                    // indexes wait to be built or removed
	stepping  bool
	redo      bool                  // operations may have been folded already
	resumed   bool                  // an attempt ended between steps: see resume
	writing   *keyspace.RedoWriting // in steps: the document whose entries are written before its head; nil for none
	voiding   []cut.Mark            // what of the cut is being changed
	voidBytes int                   // which that takes in the marker
	cutting   bool                  // snapshots change by that
	gone      *cut.Arrivals         // the arrivals that the cut leaves out, while it changes; else nil
	blind     bool                  // changes are not all of them
	touched   []*entry              // changed while a transaction was open
	untracked bool                  // a change was emitted while none was
	arrived   keyspace.Span         // records of the journal that the batch folds; none if last is 0
	moving    []place.Move          // what is moved
	elsewhere map[int64]bool        // its arrivals: where they lie at another time they are gone
	horizons  []*journal.Record     // that it folds
	applied   map[int64]bool        // arrivals that it folds, while something is prepared: see counts
	unmarked  []docKey              // whose marks of what is prepared go
	merging   int64                 // the last arrival of a merge; 0 for none
}

// A rescan is a collection to be re-folded from a stamp.
type rescan struct {
	coll string
	from keyspace.Ref
}

// newBatch begins a batch on what the fold has now. The catalogue is shared with it until
// the batch changes it; the meta data are a copy. The caller owes discard, after a commit
// too.
func (f *Fold) newBatch() *batch {
	return &batch{
		fold: f, tx: f.Store.Begin(), cat: f.Cat, meta: f.meta.Copy(), entries: map[string]*entry{},
		stats: map[uint32]keyspace.CollStats{}, multi: map[*atomic.Bool]bool{}, catalogs: map[uint32]bool{},
		records: map[int64]*journal.Record{}, marks: map[int64]clock.Stamp{}, applied: map[int64]bool{}, defs: map[string]*entry{}, pending: define.Set{}, chains: map[string]define.Keyed{}, foreseen: map[string]keyspace.Ref{}, gapped: map[uint32]int64{},
		holders: keyspace.Holders{Store: f.Store, Space: f.Space},
	}
}

// discard ends the batch; after its commit it only frees it.
func (b *batch) discard() {
	b.fold.judged.Add(b.judge.Judged)
	b.judge.Judged = 0
	b.holders.Close()
	b.tx.Discard()
}

// coll returns the named collection, numbering it if it is new.
func (b *batch) coll(name string) *keyspace.Coll {
	if c := b.cat.Colls[name]; c != nil {
		return c
	}
	if b.cat == b.fold.Cat {
		b.cat = b.cat.Clone()
	}
	b.cat.Next++
	c := &keyspace.Coll{Num: b.cat.Next, Name: name, Docs: new(atomic.Int64)}
	b.cat.Colls[name] = c
	b.catalogs[c.Num] = true
	return c
}

func (b *batch) stat(c *keyspace.Coll) keyspace.CollStats { return b.statOf(c.Num) }

// statOf returns the stats of a collection or a unique index.
func (b *batch) statOf(n uint32) keyspace.CollStats {
	if s, ok := b.stats[n]; ok {
		return s
	}
	return b.meta.Stats[n]
}

// entry returns the document of an operation.
func (b *batch) entry(collection string, idKey []byte, id value.Value) (*entry, error) {
	c := b.coll(collection)
	key := string(keyspace.Num(c.Num)) + string(idKey)
	if e := b.entries[key]; e != nil {
		return e, nil
	}
	e := &entry{coll: c, idKey: idKey, id: id}
	v, err := b.tx.Get(b.fold.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num), idKey))
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if e.Head, err = keyspace.ParseHead(v); err != nil {
			return nil, err
		}
		e.Doc = slices.Clone(e.Doc)
		e.was = e.Head
	}
	b.entries[key] = e
	return e, nil
}

// touch has e written by the next emit.
func (b *batch) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		b.dirty = append(b.dirty, e)
	}
}

// advance makes the operation at r, which is later than all others of e, e's last. The
// head holds the last operation and its verdict, so only the one before moves to the
// history: a document that is written once costs one key.
func (b *batch) advance(e *entry, r keyspace.Ref, rec *journal.Record, op *payload.Op, v judge.Verdict) error {
	if e.Count > 0 {
		if err := b.putHistory(e, e.Last, e.Code, e.Atomic); err != nil {
			return err
		}
	}
	e.Last, e.Code, e.Atomic = r, v.Code, rec.Atomic
	e.Count++
	b.set(e, v.Next, op, rec)
	if b.fold.due(e.Count, &e.State) {
		if err := b.put(b.baseKey(e, r), e.Head.Append(nil)); err != nil {
			return err
		}
	}
	b.touch(e)
	s := b.stat(e.coll)
	s.MaxTime = max(s.MaxTime, r.Time)
	b.stats[e.coll.Num] = s
	if v.Code != keyspace.CodeOK || b.resumed {
		return b.refuse(r, rec, op, v)
	}
	return nil
}

// set makes next e's state, as op gives it.
func (b *batch) set(e *entry, next keyspace.State, op *payload.Op, rec *journal.Record) {
	if keyspace.SameState(e.State, next) {
		e.State = next
		return
	}
	before := e.State
	e.State, e.seed, e.changed = next, nil, true
	b.changed(e, before, op, rec)
	b.touch(e)
}

// putHistory keeps an operation in e's history, also if it was to be dropped.
func (b *batch) putHistory(e *entry, r keyspace.Ref, c keyspace.Code, atomic bool) error {
	k := b.historyKey(e, r)
	e.drops = slices.DeleteFunc(e.drops, func(d []byte) bool { return bytes.Equal(d, k) })
	return b.put(k, keyspace.HistoryValue(c, atomic))
}

// dropped reports whether a history key is to be deleted with the next write of e.
func (e *entry) dropped(k []byte) bool {
	return slices.ContainsFunc(e.drops, func(d []byte) bool { return bytes.Equal(d, k) })
}

// historyKey, like baseKey, sorts the operations of a document by their times; those of
// equal times lie by their arrival, and who needs the order of stamps sorts them again.
func (b *batch) historyKey(e *entry, r keyspace.Ref) []byte {
	return r.Append(b.fold.Space.Key(keyspace.TagHistory, keyspace.Num(e.coll.Num), e.idKey))
}

func (b *batch) baseKey(e *entry, r keyspace.Ref) []byte {
	return r.Append(b.fold.Space.Key(keyspace.TagBase, keyspace.Num(e.coll.Num), e.idKey))
}

// put writes a key; in steps, a full transaction is committed first. So between two puts
// anything may become durable: their order is chosen for that.
func (b *batch) put(k, v []byte) error {
	if err := b.room(len(k) + len(v)); err != nil {
		return err
	}
	return b.tx.Put(k, v)
}

// del deletes a key, like put.
func (b *batch) del(k []byte) error {
	if err := b.room(len(k)); err != nil {
		return err
	}
	return b.tx.Delete(k)
}

// reserve is kept free in a step's transaction for the meta data.
const reserve = 64 << 10

// room makes sure that n more bytes and the meta data fit in the transaction.
func (b *batch) room(n int) error {
	if !b.stepping {
		return nil
	}
	l, u := b.fold.Store.Limits(), b.tx.Used()
	n += b.voidBytes
	if b.writing != nil {
		n += len(b.writing.Doc) // in the marker
	}
	over := u.Bytes+n+reserve+64*len(b.deltas) > l.Bytes || u.Puts+300 > l.Puts || len(b.deltas) > 2000
	if !over || u.Puts == 0 {
		return nil
	}
	return b.step()
}

// emit writes the changed documents: index entries first, so that a step never
// holds a document without them.
func (b *batch) emit() error {
	for _, e := range b.dirty {
		if err := b.emitOne(e); err != nil {
			return err
		}
		e.dirty = false
	}
	b.dirty = b.dirty[:0]
	return nil
}

// emitOne writes one document, in the order that a crash between steps allows:
//
//	i entries, j, u     first: an entry too many finds a head that does not match, one
//	                    too few would hide a document
//	h (to be dropped)   before the head, only if the head goes, too
//	d head              then counts, hash, notes for open transactions
//	h (to be dropped)   else after the head, whose count says how many there are
func (b *batch) emitOne(e *entry) error {
	if b.stepping && len(e.coll.Indexes) > 0 && !keyspace.SameSlice(e.was.Doc, e.Doc) {
		b.writing = &keyspace.RedoWriting{Coll: e.coll.Name, ID: e.idKey, Doc: e.Doc}
	}
	if err := b.emitIndexes(e); err != nil {
		return err
	}
	k := b.fold.Space.Key(keyspace.TagDoc, keyspace.Num(e.coll.Num), e.idKey)
	if e.Count == 0 {
		// The history first: without the head, nothing would find it after a crash.
		if err := b.drop(e); err != nil {
			return err
		}
		if err := b.del(k); err != nil {
			return err
		}
	} else if err := b.put(k, e.Head.Append(make([]byte, 0, len(e.Doc)+24))); err != nil {
		return err
	}
	b.writing = nil
	b.countDoc(e)
	if e.was.Dead != e.Dead || !keyspace.SameSlice(e.was.Doc, e.Doc) {
		b.hash(e, &e.was.State, nil, true)
		b.hash(e, &e.State, e.seed, false)
	}
	if e.changed {
		b.note(e)
	}
	e.changed = false
	e.was = e.Head
	return b.drop(e)
}

// drop deletes the history that e no longer has.
func (b *batch) drop(e *entry) error {
	for _, k := range e.drops {
		if err := b.del(k); err != nil {
			return err
		}
	}
	e.drops = nil
	return nil
}

// countDoc counts e's document in its collection, or no more.
func (b *batch) countDoc(e *entry) {
	if (e.was.Doc == nil) == (e.Doc == nil) {
		return
	}
	s := b.stat(e.coll)
	if e.Doc != nil {
		s.Docs++
	} else {
		s.Docs--
	}
	b.stats[e.coll.Num] = s
}

// hash takes the element of a document's state into the state hash, or out.
func (b *batch) hash(e *entry, s *keyspace.State, seed *lthash.Seed, remove bool) {
	switch {
	case s.Doc != nil && seed != nil:
		b.deltas = append(b.deltas, lthash.Delta{Seed: *seed, Remove: remove})
	case s.Doc != nil:
		b.deltas = append(b.deltas, lthash.Delta{Seed: keyspace.DocSeed(nil, e.coll.Name, e.idKey, s.Doc), Remove: remove})
	case s.Dead:
		b.deltas = append(b.deltas, lthash.Delta{Seed: keyspace.DocSeed(nil, e.coll.Name, e.idKey, nil), Remove: remove})
	}
}

// save writes the batch's changes of the meta data into its transaction.
func (b *batch) save() error {
	if err := errors.Join(b.saveGaps(), b.saveAwaited()); err != nil {
		return err
	}
	if err := b.cat.Save(b.tx, b.fold.Space, b.catalogs, b.multi); err != nil {
		return err
	}
	clear(b.catalogs)
	c := keyspace.MetaChange{Stats: b.stats, Deltas: b.deltas}
	b.deltas = nil
	return b.meta.Save(b.tx, b.fold.Space, c)
}
