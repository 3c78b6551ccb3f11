package fold

import (
	"cmp"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// apply folds one record: its operations in place where they are the latest
// of their documents, by folding those documents again where they are not.
//
//	document d: operations at t10, t20
//	record at t30 on d    in place: judged on the state after t20
//	record at t15 on d    late: d is folded again from t15; the verdict at t20 may change
//
// It writes nothing but history, refusals and bases: the documents wait in the batch
// until emit, so that ten operations on one are one write. Documents that are settled
// have the record's operations already.
func (b *batch) apply(rec *journal.Record) error {
	_, err := b.applyUnless(rec, false)
	return err
}

// applyUnless is apply, but with unlessLate it folds nothing of a record that is late.
func (b *batch) applyUnless(rec *journal.Record, unlessLate bool) (late bool, err error) {
	b.records[rec.N], b.folding = rec, rec
	switch {
	case b.fold.cut.Voids(rec.ID, rec.Snapshot):
		return false, nil
	case rec.Bad != nil:
		return false, b.refuse(rec.Ref(0), rec, nil, judge.Verdict{Code: keyspace.CodeMalformed, Err: rec.Bad})
	}
	if late, err = b.scan(rec); err != nil || late && unlessLate {
		return late, err
	}
	b.pending.Await(rec)
	b.counts(rec.N)
	if rec.Horizon != nil {
		return false, b.noteHorizon(rec)
	}
	if rec.Atomic {
		return late, b.applyAtomic(rec, late)
	}
	return late, b.applyEach(rec)
}

// applyEach judges the operations of a record that was scanned, each for itself.
func (b *batch) applyEach(rec *journal.Record) error {
	var lates []lateOp
	for i, e := range b.scanned {
		switch {
		case e.settled:
		case e.late:
			lates = append(lates, lateOp{e, rec.Ref(i), true})
		default:
			if err := b.applyOp(rec, i, e); err != nil {
				return err
			}
		}
	}
	for _, l := range lates {
		l.e.late = false
	}
	if len(lates) == 0 {
		return nil
	}
	return b.refold(lates)
}

// applyOp folds operation i of a record that is later than all others of e.
func (b *batch) applyOp(rec *journal.Record, i int, e *entry) error {
	op, r := &rec.Ops[i], rec.Ref(i)
	def, err := b.lawFor(op.Coll, rec)
	if err != nil {
		return err
	}
	if err := b.foresee(e); err != nil {
		return err
	}
	before := e.Doc
	v, err := b.decide(rec, i, e, e.State, def)
	if err != nil {
		return err
	}
	if err := b.advance(e, r, rec, op, v); err != nil {
		return err
	}
	if rec.Seeds != nil && v.Code == keyspace.CodeOK && op.Kind == payload.Insert {
		e.seed = &rec.Seeds[i]
	}
	return b.defined(e, rec, v, before)
}

// An operation is late if its document has one at the same place or a later one: its
// verdict may change theirs. Local arrival order says nothing about that, stamps do.

// scan sets scanned to the documents of a record's operations, and reports whether one
// is late; those that are have late set, until apply is done with them.
func (b *batch) scan(rec *journal.Record) (late bool, err error) {
	b.scanned = b.scanned[:0]
	for i := range rec.Ops {
		op := &rec.Ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return false, err
		}
		if !e.late && !e.settled {
			if e.late, err = b.late(e, rec.Ref(i)); err != nil {
				return false, err
			}
			e.late = e.late || rec.View != nil && e.Count > 0 // others of its chain may fare otherwise now
		}
		late = late || e.late
		b.scanned = append(b.scanned, e)
	}
	return late, nil
}

// late reports whether e has operations at or after r.
func (b *batch) late(e *entry, r keyspace.Ref) (bool, error) {
	if e.Count == 0 {
		return false, nil
	}
	c, err := b.compare(r, e.Last)
	return c <= 0, err
}

// applyAtomic judges the operations together: all are accepted or none. Each is judged on
// what those before it leave, and nothing is kept of that if one is refused.
func (b *batch) applyAtomic(rec *journal.Record, late bool) error {
	es := b.scanned
	if len(es) > 0 && es[0].settled {
		return nil // and so are the others: the set was closed
	}
	// A definition and documents in one transaction go the general way.
	slow := late
	for i := range rec.Ops {
		slow = slow || rec.Ops[i].Coll == judge.SystemCollection && len(rec.Ops) > 1
	}
	if slow {
		lates := make([]lateOp, len(es))
		for i, e := range es {
			e.late = false
			lates[i] = lateOp{e, rec.Ref(i), true}
		}
		return b.refold(lates)
	}
	vs, err := b.judgeAll(rec, es)
	if err != nil {
		return err
	}
	for i, v := range vs {
		before := es[i].Doc
		if err := b.foresee(es[i]); err != nil {
			return err
		}
		if err := b.advance(es[i], rec.Ref(i), rec, &rec.Ops[i], v); err != nil {
			return err
		}
		if err := b.defined(es[i], rec, v, before); err != nil {
			return err
		}
	}
	return nil
}

// judgeAll judges the operations of an atomic record on the states of es.
func (b *batch) judgeAll(rec *journal.Record, es []*entry) ([]judge.Verdict, error) {
	vs := make([]judge.Verdict, len(es))
	now := map[*entry]keyspace.State{}
	refused := false
	for i, e := range es {
		cur, ok := now[e]
		if !ok {
			cur = e.State
		}
		d, err := b.lawFor(rec.Ops[i].Coll, rec)
		if err != nil {
			return nil, err
		}
		if vs[i], err = b.decide(rec, i, e, cur, d); err != nil {
			return nil, err
		}
		refused = refused || vs[i].Code != keyspace.CodeOK
		now[e] = vs[i].Next
	}
	if refused {
		for i := range vs {
			vs[i].Next = es[i].State
			if vs[i].Code == keyspace.CodeOK {
				vs[i].Code, vs[i].Err = keyspace.CodeAtomic, judge.ErrAtomic
			}
		}
	}
	return vs, nil
}

// compare orders two refs. Equal times of two records need the records' clocks, logs and
// hashes, which is rare: a clock counts up within a millisecond, and few are moved.
func (b *batch) compare(x, y keyspace.Ref) (int, error) {
	if c := cmp.Compare(x.Time, y.Time); c != 0 {
		return c, nil
	}
	if x.N == 0 || y.N == 0 { // no operation's place: before all of its time
		return cmp.Compare(x.N, y.N), nil
	}
	if x.N == y.N {
		return cmp.Compare(x.Index, y.Index), nil
	}
	mx, err := b.mark(x.N)
	if err != nil {
		return 0, err
	}
	my, err := b.mark(y.N)
	if err != nil {
		return 0, err
	}
	mx.Index, my.Index = x.Index, y.Index
	return mx.Compare(my), nil
}

// refuse records that the operation at r is refused, or, if v accepts it, that
// it is not; op is nil for a malformed record. It may be repeated: count and state hash, of
// which the code is a part, follow what the store had. The message is of the
// document at the operation's place, like the code; it may change alone, which is
// told to nobody.
func (b *batch) refuse(r keyspace.Ref, rec *journal.Record, op *payload.Op, v judge.Verdict) error {
	k := b.fold.Space.Key(keyspace.TagRefused, r.Append(nil))
	old, had, err := b.refusal(k)
	if err != nil || old == v.Code && (had == nil || string(value.Get(had, "message").Str()) == keyspace.Clip(v.Err)) {
		return err
	}
	if old != v.Code {
		if err := b.noteRefusal(r, rec, op, v); err != nil {
			return err
		}
	}
	if v.Code == keyspace.CodeOK {
		err = b.del(k)
	} else {
		d := bson.D{{Key: "code", Value: int32(v.Code)}, {Key: "message", Value: keyspace.Clip(v.Err)}}
		if op != nil {
			d = append(d, bson.E{Key: "op", Value: op.Kind.String()}, bson.E{Key: "coll", Value: op.Coll},
				bson.E{Key: "id", Value: op.ID.Raw()})
		}
		if old == v.Code && value.Get(had, "handled").Bool() {
			d = append(d, bson.E{Key: "handled", Value: true})
		}
		doc, merr := bson.Marshal(d)
		if merr != nil {
			return merr
		}
		err = b.put(k, doc)
	}
	if err != nil || old == v.Code {
		return err
	}
	if old != keyspace.CodeOK {
		b.deltas = append(b.deltas, lthash.Delta{Seed: keyspace.RefusedSeed(journal.StampAt(rec, r), old), Remove: true})
		b.meta.Refused--
	}
	if v.Code != keyspace.CodeOK {
		b.deltas = append(b.deltas, lthash.Delta{Seed: keyspace.RefusedSeed(journal.StampAt(rec, r), v.Code)})
		b.meta.Refused++
	}
	return nil
}

// refusal returns the refusal under k and its code; nil and CodeOK if there is none.
func (b *batch) refusal(k []byte) (keyspace.Code, bson.Raw, error) {
	v, err := b.tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return keyspace.CodeOK, nil, nil
	}
	if err != nil {
		return keyspace.CodeOK, nil, err
	}
	n, ok := bson.Raw(v).Lookup("code").Int32OK()
	if !ok {
		return keyspace.CodeOK, nil, keyspace.ErrCorrupt
	}
	return keyspace.Code(n), v, nil
}

// definitionOf returns the document that defines a collection, as the batch has it.
func (b *batch) definitionOf(name string) (*entry, error) {
	if d := b.defs[name]; d != nil {
		return d, nil
	}
	id := value.String(name)
	e, err := b.entry(judge.SystemCollection, value.AppendKey(nil, id, false), id)
	if err != nil {
		return nil, err
	}
	b.defs[name] = e
	return e, nil
}

// defined follows a definition that changed in place by rec.
func (b *batch) defined(e *entry, rec *journal.Record, v judge.Verdict, before []byte) error {
	if e.coll.Name != judge.SystemCollection || v.Code != keyspace.CodeOK {
		return nil
	}
	name := string(e.id.Str())
	delete(b.defs, name)
	from, ok := everOn, judge.LawOf(before) != judge.LawOf(e.Doc)
	if ok && rec.View != nil {
		var err error
		if from, ok, err = b.relaw(e, nil, []*journal.Record{rec}); err != nil {
			return err
		}
	}
	return b.redefined(name, e.Doc, from, ok)
}

// redefined takes a collection's new definition over: its indexes, and the
// documents with later operations if the schema is another.
func (b *batch) redefined(name string, doc []byte, from keyspace.Ref, schema bool) error {
	if payload.CheckName(name) != nil {
		return nil // a definition of something that cannot be: kept, without effect
	}
	if err := b.reindex(name, doc); err != nil {
		return err
	}
	if c := b.coll(name); schema && b.stat(c).MaxTime >= from.Time {
		b.rescans = append(b.rescans, rescan{name, from})
	}
	return nil
}
