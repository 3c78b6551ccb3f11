package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"

	"lukechampine.com/blake3"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// baseEvery is the number of a document's operations between cached states.
const baseEvery = 64

// A record is a transaction being folded.
type record struct {
	n      int64
	id     clock.RecordID
	time   clock.Time
	atomic bool
	writer string // identity of its log
	role   string // of that identity
	ops    []payload.Op
	seeds  []lthash.Seed // of inserted documents, if known; by operation
	bad    error         // why its payload is malformed

	snapshot bool // of a snapshot log
}

func (r *record) ref(i int) ref { return ref{time: r.time, n: r.n, index: uint32(i)} }

// An entry is one document in a batch.
type entry struct {
	coll    *coll
	idKey   []byte
	id      value.Value // as some operation wrote it
	was     head        // as the store has it; count 0 if it has nothing
	head                // as it is now
	seed    *lthash.Seed
	dirty   bool
	drops   [][]byte // history keys to delete once the head is written
	changed bool     // since it was written
	spec    *state   // what judged requests of the group leave; nil for none
}

// A batch folds records into one store transaction, or into several steps. It
// belongs to the committer.
type batch struct {
	db        *DB
	tx        store.Tx
	cat       *catalog
	meta      meta
	judge     judge
	entries   map[string]*entry
	dirty     []*entry
	stats     map[uint32]collStats
	deltas    []lthash.Delta
	multi     map[*atomic.Bool]bool // indexes that meet their first array
	holders   holders
	old, now  keySet          // of the document whose entries are written
	keyRoom   []byte          // see entryKey
	catalogs  map[uint32]bool // collections whose stored form changes
	records   map[int64]*record
	defs      map[string]*definitionAt
	changes   []change         // for the feed
	toldBytes int              // of changes
	unnamed   bool             // the record does not name what is folded again
	folding   *record          // the record that is folded, or was last; nil for none
	gapped    map[uint32]int64 // collections of which more changed than the records name
	rescans   []rescan
	foreseen  map[string]ref // rescans that steps may need after a crash, by collection
	builds    bool           // indexes wait to be built or removed
	stepping  bool
	redo      bool       // operations may have been folded already
	voiding   []voidMark // what of the cut is being changed
	cutting   bool       // snapshots change by that
	gone      *bitset    // the arrivals that the cut leaves out, while it changes; else nil
	blind     bool       // changes are not all of them
	touched   []*entry   // changed while a transaction was open
	untracked bool       // a change was emitted while none was
	arrived   span       // records of the journal that the batch folds; none if last is 0
}

// A rescan is a collection to be re-folded from a stamp.
type rescan struct {
	coll string
	from ref
}

func (db *DB) newBatch() *batch {
	return &batch{
		db: db, tx: db.store.Begin(), cat: db.cat, meta: db.meta.copy(), entries: map[string]*entry{},
		stats: map[uint32]collStats{}, multi: map[*atomic.Bool]bool{}, catalogs: map[uint32]bool{},
		records: map[int64]*record{}, defs: map[string]*definitionAt{}, foreseen: map[string]ref{}, gapped: map[uint32]int64{},
		holders: holders{db: db},
	}
}

// discard ends the batch; after its commit it only frees it.
func (b *batch) discard() {
	b.holders.close()
	b.tx.Discard()
}

// coll returns the named collection, numbering it if it is new.
func (b *batch) coll(name string) *coll {
	if c := b.cat.colls[name]; c != nil {
		return c
	}
	if b.cat == b.db.cat {
		b.cat = b.cat.clone()
	}
	b.cat.next++
	c := &coll{num: b.cat.next, name: name, docs: new(atomic.Int64)}
	b.cat.colls[name] = c
	b.catalogs[c.num] = true
	return c
}

func (b *batch) stat(c *coll) collStats { return b.statOf(c.num) }

// statOf returns the stats of a collection or a unique index.
func (b *batch) statOf(n uint32) collStats {
	if s, ok := b.stats[n]; ok {
		return s
	}
	return b.meta.stats[n]
}

// entry returns the document of an operation.
func (b *batch) entry(collection string, idKey []byte, id value.Value) (*entry, error) {
	c := b.coll(collection)
	key := string(num(c.num)) + string(idKey)
	if e := b.entries[key]; e != nil {
		return e, nil
	}
	e := &entry{coll: c, idKey: idKey, id: id}
	v, err := b.tx.Get(b.db.key(tagDoc, num(c.num), idKey))
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if e.head, err = parseHead(v); err != nil {
			return nil, err
		}
		e.doc = slices.Clone(e.doc)
		e.was = e.head
	}
	b.entries[key] = e
	return e, nil
}

func (b *batch) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		b.dirty = append(b.dirty, e)
	}
}

// advance makes the operation at r, which is later than all others of e, e's last.
func (b *batch) advance(e *entry, r ref, rec *record, op *payload.Op, v verdict) error {
	if e.count > 0 {
		if err := b.putHistory(e, e.last, e.code, e.atomic); err != nil {
			return err
		}
	}
	e.last, e.code, e.atomic = r, v.code, rec.atomic
	e.count++
	b.set(e, v.next, op, rec)
	if e.count%b.db.baseEvery == 0 {
		if err := b.put(b.baseKey(e, r), e.head.append(nil)); err != nil {
			return err
		}
	}
	b.touch(e)
	s := b.stat(e.coll)
	s.maxTime = max(s.maxTime, r.time)
	b.stats[e.coll.num] = s
	if v.code != codeOK {
		return b.refuse(r, rec, op, v)
	}
	return nil
}

// set makes next e's state, as op gives it.
func (b *batch) set(e *entry, next state, op *payload.Op, rec *record) {
	if sameState(e.state, next) {
		e.state = next
		return
	}
	before := e.state
	e.state, e.seed, e.changed = next, nil, true
	b.changed(e, before, op, rec)
	b.touch(e)
}

func sameState(a, b state) bool {
	return a.mod == b.mod && a.dead == b.dead && (a.doc == nil) == (b.doc == nil) &&
		(sameSlice(a.doc, b.doc) || string(a.doc) == string(b.doc))
}

// putHistory keeps an operation in e's history, also if it was to be dropped.
func (b *batch) putHistory(e *entry, r ref, c code, atomic bool) error {
	k := b.historyKey(e, r)
	e.drops = slices.DeleteFunc(e.drops, func(d []byte) bool { return bytes.Equal(d, k) })
	return b.put(k, historyValue(c, atomic))
}

// dropped reports whether a history key is to be deleted with the next write of e.
func (e *entry) dropped(k []byte) bool {
	return slices.ContainsFunc(e.drops, func(d []byte) bool { return bytes.Equal(d, k) })
}

func historyValue(c code, atomic bool) []byte {
	v := byte(c) << 1
	if atomic {
		v |= 1
	}
	return []byte{v}
}

func (b *batch) historyKey(e *entry, r ref) []byte {
	return r.append(b.db.key(tagHistory, num(e.coll.num), e.idKey))
}

func (b *batch) baseKey(e *entry, r ref) []byte {
	return r.append(b.db.key(tagBase, num(e.coll.num), e.idKey))
}

// put writes a key; in steps, a full transaction is committed first.
func (b *batch) put(k, v []byte) error {
	if err := b.room(len(k) + len(v)); err != nil {
		return err
	}
	return b.tx.Put(k, v)
}

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
	l, u := b.db.store.Limits(), b.tx.Used()
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

func (b *batch) emitOne(e *entry) error {
	if err := b.emitIndexes(e); err != nil {
		return err
	}
	k := b.db.key(tagDoc, num(e.coll.num), e.idKey)
	if e.count == 0 {
		// The history first: without the head, nothing would find it after a crash.
		if err := b.drop(e); err != nil {
			return err
		}
		if err := b.del(k); err != nil {
			return err
		}
	} else if err := b.put(k, e.head.append(make([]byte, 0, len(e.doc)+24))); err != nil {
		return err
	}
	b.countDoc(e)
	if e.was.dead != e.dead || !sameSlice(e.was.doc, e.doc) {
		b.hash(e, &e.was.state, nil, true)
		b.hash(e, &e.state, e.seed, false)
	}
	if e.changed {
		b.note(e)
	}
	e.changed = false
	e.was = e.head
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

func (b *batch) countDoc(e *entry) {
	if (e.was.doc == nil) == (e.doc == nil) {
		return
	}
	s := b.stat(e.coll)
	if e.doc != nil {
		s.docs++
	} else {
		s.docs--
	}
	b.stats[e.coll.num] = s
}

// hash takes the element of a document's state into the state hash, or out.
func (b *batch) hash(e *entry, s *state, seed *lthash.Seed, remove bool) {
	switch {
	case s.doc != nil && seed != nil:
		b.deltas = append(b.deltas, lthash.Delta{Seed: *seed, Remove: remove})
	case s.doc != nil:
		b.deltas = append(b.deltas, lthash.Delta{Seed: docSeed(nil, e.coll.name, e.idKey, s.doc), Remove: remove})
	case s.dead:
		b.deltas = append(b.deltas, lthash.Delta{Seed: docSeed(nil, e.coll.name, e.idKey, nil), Remove: remove})
	}
}

// docSeed hashes one document, or a tombstone if doc is nil; buf is scratch.
func docSeed(buf []byte, coll string, idKey, doc []byte) lthash.Seed {
	kind := byte(1)
	if doc == nil {
		kind = 2
	}
	buf = append(buf[:0], kind)
	buf = binary.AppendUvarint(buf, uint64(len(coll)))
	buf = append(buf, coll...)
	buf = binary.AppendUvarint(buf, uint64(len(idKey)))
	buf = append(buf, idKey...)
	return blake3.Sum256(append(buf, doc...))
}

// refusedSeed hashes one refused operation.
func refusedSeed(s clock.Stamp, c code) lthash.Seed {
	buf := binary.BigEndian.AppendUint64([]byte{3}, uint64(s.Time))
	buf = append(append(buf, s.Log[:]...), s.Hash[:]...)
	buf = binary.BigEndian.AppendUint32(buf, s.Index)
	return blake3.Sum256(append(buf, byte(c)))
}
