package db

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// fold applies one record: its operations in place where they are the latest
// of their documents, by folding those documents again where they are not.
func (b *batch) fold(rec *record) error {
	b.records[rec.n], b.folding = rec, rec
	if b.db.cut.voids(rec.id, rec.snapshot) {
		return nil
	}
	if rec.bad != nil {
		return b.refuse(rec.ref(0), rec, nil, verdict{code: codeMalformed, err: rec.bad})
	}
	if rec.atomic {
		return b.foldAtomic(rec)
	}
	for i := range rec.ops {
		op := &rec.ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return err
		}
		r := rec.ref(i)
		late, err := b.late(e, r)
		if err != nil {
			return err
		}
		if late {
			if err := b.refold([]lateOp{{e, r, true}}); err != nil {
				return err
			}
			continue
		}
		def, err := b.definition(op.Coll, r)
		if err != nil {
			return err
		}
		if err := b.foresee(e, r); err != nil {
			return err
		}
		v, before := b.judge.decide(op, e.state, rec.author(), def), e.doc
		if err := b.advance(e, r, rec, op, v); err != nil {
			return err
		}
		if rec.seeds != nil && v.code == codeOK && op.Kind == payload.Insert {
			e.seed = &rec.seeds[i]
		}
		if err := b.defined(e, r, v, before); err != nil {
			return err
		}
	}
	return nil
}

// late reports whether e has operations at or after r.
func (b *batch) late(e *entry, r ref) (bool, error) {
	if e.count == 0 {
		return false, nil
	}
	c, err := b.compare(r, e.last)
	return c <= 0, err
}

// foldAtomic judges the operations together: all are accepted or none.
func (b *batch) foldAtomic(rec *record) error {
	var lates []lateOp
	var es []*entry
	slow := false
	for i := range rec.ops {
		op := &rec.ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return err
		}
		late, err := b.late(e, rec.ref(i))
		if err != nil {
			return err
		}
		// A definition and documents in one transaction go the general way.
		slow = slow || late || op.Coll == systemCollection && len(rec.ops) > 1
		es, lates = append(es, e), append(lates, lateOp{e, rec.ref(i), true})
	}
	if slow {
		return b.refold(lates)
	}
	vs, err := b.judgeAll(rec, es, func(name string, r ref) (*definition, error) { return b.definition(name, r) })
	if err != nil {
		return err
	}
	for i, v := range vs {
		before := es[i].doc
		if err := b.foresee(es[i], rec.ref(i)); err != nil {
			return err
		}
		if err := b.advance(es[i], rec.ref(i), rec, &rec.ops[i], v); err != nil {
			return err
		}
		if err := b.defined(es[i], rec.ref(i), v, before); err != nil {
			return err
		}
	}
	return nil
}

// judgeAll judges the operations of an atomic record on the states of es.
func (b *batch) judgeAll(rec *record, es []*entry, def func(string, ref) (*definition, error)) ([]verdict, error) {
	vs := make([]verdict, len(es))
	now := map[*entry]state{}
	refused := false
	for i, e := range es {
		cur, ok := now[e]
		if !ok {
			cur = e.state
		}
		d, err := def(rec.ops[i].Coll, rec.ref(i))
		if err != nil {
			return nil, err
		}
		vs[i] = b.judge.decide(&rec.ops[i], cur, rec.author(), d)
		refused = refused || vs[i].code != codeOK
		now[e] = vs[i].next
	}
	if refused {
		for i := range vs {
			vs[i].next = es[i].state
			if vs[i].code == codeOK {
				vs[i].code, vs[i].err = codeAtomic, errAtomic
			}
		}
	}
	return vs, nil
}

// compare orders two refs as their stamps. Equal times of two records need the
// records' logs and hashes.
func (b *batch) compare(x, y ref) (int, error) {
	if c := cmp.Compare(x.time, y.time); c != 0 {
		return c, nil
	}
	if x.n == y.n {
		return cmp.Compare(x.index, y.index), nil
	}
	rx, err := b.record(x.n)
	if err != nil {
		return 0, err
	}
	ry, err := b.record(y.n)
	if err != nil {
		return 0, err
	}
	return stamp(rx, x.index).Compare(stamp(ry, y.index)), nil
}

func stamp(rec *record, i uint32) clock.Stamp {
	return clock.Stamp{Time: rec.time, Log: rec.id.Log, Hash: rec.id.Hash, Index: i}
}

// record returns the record that arrived as number n, decoded.
func (b *batch) record(n int64) (*record, error) {
	if r := b.records[n]; r != nil {
		return r, nil
	}
	if r := b.db.recent[n]; r != nil {
		return r, nil
	}
	as, err := b.db.journal.Arrivals(n-1, 1)
	if err != nil {
		return nil, err
	}
	if len(as) == 0 || as[0].N != n {
		return nil, fmt.Errorf("the journal has lost arrival %d", n)
	}
	r := decode(&as[0])
	b.db.remember(r)
	return r, nil
}

// decode decodes an arrival; a malformed payload is the record's own fault.
func decode(a *Arrival) *record {
	r := &record{n: a.N, id: a.ID, time: a.Time, atomic: a.Atomic, writer: a.Writer, role: a.Role, snapshot: a.Snapshot}
	if r.snapshot {
		r.time, r.atomic = 0, false // it comes before everything that the cut leaves
		r.ops, r.bad = payload.DecodeSnapshot(a.Payload)
		return r
	}
	r.ops, r.bad = payload.Decode(a.Payload, a.Atomic)
	return r
}

// refuse records that the operation at r is refused, or, if v accepts it, that
// it is not; op is nil for a malformed record. It may be repeated.
func (b *batch) refuse(r ref, rec *record, op *payload.Op, v verdict) error {
	k := b.db.key(tagRefused, r.append(nil))
	old, err := b.refusedCode(k)
	if err != nil || old == v.code {
		return err
	}
	if err := b.noteRefusal(r, rec, op, v); err != nil {
		return err
	}
	if v.code == codeOK {
		err = b.del(k)
	} else {
		d := bson.D{{Key: "code", Value: int32(v.code)}, {Key: "message", Value: clip(v.err)}}
		if op != nil {
			d = append(d, bson.E{Key: "op", Value: op.Kind.String()}, bson.E{Key: "coll", Value: op.Coll},
				bson.E{Key: "id", Value: op.ID.Raw()})
		}
		doc, merr := bson.Marshal(d)
		if merr != nil {
			return merr
		}
		err = b.put(k, doc)
	}
	if err != nil {
		return err
	}
	if old != codeOK {
		b.deltas = append(b.deltas, lthashDelta(refusedSeed(stamp(rec, r.index), old), true))
		b.meta.refused--
	}
	if v.code != codeOK {
		b.deltas = append(b.deltas, lthashDelta(refusedSeed(stamp(rec, r.index), v.code), false))
		b.meta.refused++
	}
	return nil
}

func (b *batch) refusedCode(k []byte) (code, error) {
	v, err := b.tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return codeOK, nil
	}
	if err != nil {
		return codeOK, err
	}
	n, ok := bson.Raw(v).Lookup("code").Int32OK()
	if !ok {
		return codeOK, errCorrupt
	}
	return code(n), nil
}

func clip(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	if len(s) > 512 {
		s = s[:512]
	}
	return toValid(s)
}

// A definitionAt is the definition of a collection and when it was last written.
type definitionAt struct {
	e        *entry
	timeline []version // nil until an earlier one was asked for
}

// A version is a definition in force from a place of the order.
type version struct {
	from ref
	doc  []byte
}

// definition returns what defines the collection at r; nil for nothing.
func (b *batch) definition(name string, r ref) (*definition, error) {
	if name == systemCollection {
		return nil, nil
	}
	d, err := b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	if d.e.count == 0 {
		return nil, nil
	}
	late, err := b.late(d.e, r)
	if err != nil {
		return nil, err
	}
	if !late {
		return b.db.parse(d.e.doc)
	}
	if d.timeline == nil {
		if d.timeline, err = b.timeline(d.e); err != nil {
			return nil, err
		}
	}
	return b.versionAt(d.timeline, r)
}

func (b *batch) versionAt(tl []version, r ref) (*definition, error) {
	var doc []byte
	for _, v := range tl {
		c, err := b.compare(v.from, r)
		if err != nil {
			return nil, err
		}
		if c > 0 {
			break
		}
		doc = v.doc
	}
	return b.db.parse(doc)
}

func (b *batch) definitionOf(name string) (*definitionAt, error) {
	if d := b.defs[name]; d != nil {
		return d, nil
	}
	id := value.String(name)
	e, err := b.entry(systemCollection, value.AppendKey(nil, id, false), id)
	if err != nil {
		return nil, err
	}
	d := &definitionAt{e: e}
	b.defs[name] = d
	return d, nil
}

// defined follows a definition that changed in place at r.
func (b *batch) defined(e *entry, r ref, v verdict, before []byte) error {
	if e.coll.name != systemCollection || v.code != codeOK {
		return nil
	}
	name := string(e.id.Str())
	delete(b.defs, name)
	return b.redefined(name, e.doc, r, lawOf(before) != lawOf(e.doc))
}

// redefined takes a collection's new definition over: its indexes, and the
// documents with later operations if the schema is another.
func (b *batch) redefined(name string, doc []byte, from ref, schema bool) error {
	if payload.CheckName(name) != nil {
		return nil // a definition of something that cannot be: kept, without effect
	}
	if err := b.reindex(name, doc); err != nil {
		return err
	}
	if c := b.coll(name); schema && b.stat(c).maxTime >= from.time {
		b.rescans = append(b.rescans, rescan{name, from})
	}
	return nil
}

// timeline folds a definition's operations by their standing verdicts.
func (b *batch) timeline(e *entry) ([]version, error) {
	evs, err := b.eventsAfter(e, 0)
	if err != nil {
		return nil, err
	}
	var out []version
	var cur state
	for _, ev := range evs {
		if ev.code != codeOK {
			continue
		}
		rec, err := b.record(ev.ref.n)
		if err != nil {
			return nil, err
		}
		cur = b.judge.judge(&rec.ops[ev.ref.index], cur, rec.time, nil).next
		out = append(out, version{ev.ref, cur.doc})
	}
	return out, nil
}

// parse parses a definition, remembering the last ones.
func (db *DB) parse(doc []byte) (*definition, error) {
	if doc == nil {
		return nil, nil
	}
	db.defMu.Lock()
	defer db.defMu.Unlock()
	if d := db.defCache[string(doc)]; d != nil {
		return d, nil
	}
	d, err := parseDefinition(doc)
	if err != nil {
		return nil, errors.Join(errCorrupt, err)
	}
	if len(db.defCache) >= 256 {
		clear(db.defCache)
	}
	db.defCache[string(doc)] = d
	return d, nil
}

// uvarints is a helper of stored values.
func uvarints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}
