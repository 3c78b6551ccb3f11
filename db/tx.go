package db

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// A transaction takes no locks. It reads the view of its beginning with its own writes
// laid over it, and says to the committer at the end what it relied on:
//
//	Get {_id: 7}            a guard: the last operation of the document, and their number
//	Find {open: true}       a predicate, and a guard for each document found
//	Update …                a guard, and an operation
//	Commit                  one request; refused if a guard or a predicate does not hold
//
// Its operations are judged three times: here, so that the program sees what comes of
// them; by the committer, on the state then; and at their place by every replica.

// A docKey names a document in a transaction.
type docKey struct{ collection, idKey string }

// A txDoc is a document that a transaction has read or written. Guard is of its first
// reading, State with the transaction's own writes.
type txDoc struct {
	fold.Guard
	keyspace.State
	written bool
}

// Begin opens a transaction, which reads the state of this moment and its own
// writes. The caller owes Commit or Abort. It keeps the state of its moment on
// disk, so it should be short.
func (db *DB) Begin(ctx context.Context, o TxOptions) (*Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := db.fold.Begin()
	if err != nil {
		return nil, err
	}
	return &Tx{ctx: ctx, db: db, v: v, o: o, now: db.fold.Clock.Now(), docs: map[docKey]*txDoc{}}, nil
}

// Transaction runs f and commits what it wrote as one record, all or nothing;
// an error of f writes nothing.
func (db *DB) Transaction(ctx context.Context, o TxOptions, f func(tx *Tx) error) error {
	tx, err := db.Begin(ctx, o)
	if err != nil {
		return err
	}
	defer tx.Abort()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// SetContext bounds what follows by ctx, in place of the context of Begin.
func (tx *Tx) SetContext(ctx context.Context) { tx.ctx = ctx }

// Ended reports whether the transaction was committed or aborted.
func (tx *Tx) Ended() bool { return tx.ended }

// Abort ends the transaction without writing anything, unless it has ended.
func (tx *Tx) Abort() {
	if !tx.ended {
		tx.ended = true
		tx.db.fold.End(tx.v)
	}
}

// Commit writes the transaction as one record and ends it. Transactions of one
// device are serializable: ErrConflict says that what this one read, wrote or
// searched for was changed meanwhile, and that it is to be run again. One that is
// over the limits of a record fails before anything is logged.
func (tx *Tx) Commit() error {
	if tx.ended {
		return ErrClosed
	}
	defer tx.Abort()
	if len(tx.ops) == 0 {
		return nil
	}
	r := &fold.Request{Ctx: tx.ctx, Ops: tx.ops, Mode: fold.Whole, Atomic: tx.o.Atomic, View: tx.v, Predicates: tx.preds}
	written := 0
	for _, d := range tx.docs {
		r.Guards = append(r.Guards, d.Guard)
		if d.written {
			written++
		}
	}
	if tx.o.Atomic && written > payload.MaxAtomic {
		return fault.Of(ErrTooLarge, "an atomic transaction has at most %d documents, not %d", payload.MaxAtomic, written)
	}
	r.Payload = payload.Encode(r.Ops)
	if len(r.Payload) > payload.MaxBytes {
		return fault.Of(ErrTooLarge, "the transaction has %d bytes, more than a record can hold", len(r.Payload))
	}
	r.Seeds = seedsOf(r.Ops)
	if err := tx.db.fold.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// Size returns how many operations the transaction has so far, and about how
// many bytes they take of the 960 KiB that a record holds.
func (tx *Tx) Size() (operations, bytes int) { return len(tx.ops), tx.size }

// doc returns a document as the transaction has it, and notes that it relies on it; also
// on there being none.
func (tx *Tx) doc(collection string, idKey []byte) (*txDoc, error) {
	if tx.ended {
		return nil, ErrClosed
	}
	if d := tx.docs[docKey{collection, string(idKey)}]; d != nil {
		return d, nil
	}
	d := &txDoc{Guard: fold.Guard{Coll: collection, IDKey: idKey}}
	if c := tx.v.Cat.Colls[collection]; c != nil {
		h, err := tx.v.Head(c, idKey)
		if err != nil {
			return nil, err
		}
		d.Last, d.Count, d.State = h.Last, h.Count, h.State
	}
	tx.docs[docKey{collection, string(idKey)}] = d
	return d, nil
}

// apply judges op on the transaction's own view and keeps it.
func (tx *Tx) apply(op payload.Op) (changed bool, err error) {
	d, err := tx.doc(op.Coll, op.Key)
	if err != nil {
		return false, err
	}
	def, err := tx.v.Definition(op.Coll)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	by, err := tx.db.fold.Author(tx.now, op.Coll)
	if err != nil {
		return false, err
	}
	v := tx.judge.Decide(&op, d.State, by, def)
	if v.Code != keyspace.CodeOK {
		return false, v.Err
	}
	// Encoded, operations that share a body take less, so this is not yet the limit.
	if tx.size += op.Size(); tx.size > 2*payload.MaxBytes || len(tx.ops) >= payload.MaxOps {
		return false, fault.Of(ErrTooLarge, "a transaction has at most %d operations in %d bytes", payload.MaxOps, payload.MaxBytes)
	}
	if err := tx.unique(&op, d.State.Doc, v.Next.Doc); err != nil {
		return false, err
	}
	changed = !keyspace.SameState(d.State, v.Next)
	d.State, d.written = v.Next, true
	tx.ops = append(tx.ops, op)
	return changed, nil
}

// create defines the collection, if nothing does yet, in the transaction: what makes a
// collection comes to others with its first document, or not at all.
func (tx *Tx) create(collection string) error {
	if op := tx.db.implicit(collection); op != nil {
		if d := tx.docs[docKey{judge.SystemCollection, string(op.Key)}]; d != nil && d.written {
			return nil
		}
		if _, err := tx.apply(*op); err != nil && !errors.Is(err, judge.ErrDuplicate) {
			return err
		}
	}
	return nil
}

// Insert is Collection.Insert in the transaction.
func (tx *Tx) Insert(collection string, docs ...any) (ids []bson.RawValue, err error) {
	list, err := encodedDocs(docs)
	if err != nil {
		return nil, err
	}
	if err := writable(collection); err != nil {
		return nil, err
	}
	if err := tx.create(collection); err != nil {
		return nil, err
	}
	for i, doc := range list {
		op, err := prepare(slices.Clone(doc))
		if err == nil {
			op.Coll = collection
			_, err = tx.apply(op)
		}
		if err != nil {
			return ids, &WriteError{i, err}
		}
		ids = append(ids, op.ID.Raw())
	}
	return ids, nil
}

// Get is Collection.Get in the transaction.
func (tx *Tx) Get(collection string, id any) (Document, error) {
	is, err := encodedID(id)
	if err != nil {
		return Document{}, err
	}
	key, err := payload.CheckID(is)
	if err != nil {
		return Document{}, err
	}
	d, err := tx.doc(collection, key)
	if err != nil {
		return Document{}, err
	}
	s, err := tx.v.Sight(tx.ctx, collection)
	if err != nil {
		return Document{}, err
	}
	if d.State.Doc == nil || !s.Shows(d.State.Doc) {
		return Document{}, ErrNotFound
	}
	return Document{Raw: d.State.Doc, Mod: d.Mod}, nil
}

// Find returns the documents of the transaction's view that match filter; nil matches all.
// The result is held in memory: at most 64 MiB.
func (tx *Tx) Find(collection string, filter any, o FindOptions) ([]bson.Raw, error) {
	so, err := o.search(filter)
	if err != nil {
		return nil, err
	}
	return tx.list(collection, so)
}

func (tx *Tx) list(collection string, o search.Options) ([]bson.Raw, error) {
	fs, s, err := tx.find(collection, o)
	if err != nil {
		return nil, err
	}
	out := make([]bson.Raw, len(fs))
	for i, f := range fs {
		out[i] = s.Project(&f.State)
	}
	return out, s.Err
}

// find searches the view, leaves out what the transaction wrote, and adds what of that
// matches now. So it sorts by itself and asks for no fewer documents than all: one that
// the view has first may be gone.
func (tx *Tx) find(collection string, o search.Options) ([]*view.Found, *search.Search, error) {
	if tx.ended {
		return nil, nil, ErrClosed
	}
	s, err := search.New(tx.ctx, tx.v, collection, o)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	if err := tx.rely(collection, s); err != nil {
		return nil, nil, err
	}
	var out []*view.Found
	size := 0
	add := func(f *view.Found) error {
		if s.Sort != nil {
			f.SortKey = s.SortKey(&f.State)
		}
		if size += len(f.Doc); size > search.MaxSort {
			return fault.Of(ErrTooLarge, "the result has more than %d MiB", search.MaxSort>>20)
		}
		out = append(out, f)
		return nil
	}
	for f, err := s.Next(); f != nil || err != nil; f, err = s.Next() {
		if err == nil {
			err = tx.ctx.Err()
		}
		if err != nil {
			return nil, nil, err
		}
		if d := tx.docs[docKey{collection, string(f.IDKey)}]; d != nil && d.written {
			continue
		}
		if err := add(f); err != nil {
			return nil, nil, err
		}
	}
	for d := range tx.near(collection, s) {
		if d.Coll == collection && d.written && d.State.Doc != nil && s.Matches(&d.State) {
			if err := add(&view.Found{Head: keyspace.Head{State: d.State}, IDKey: d.IDKey}); err != nil {
				return nil, nil, err
			}
		}
	}
	if s.Err != nil {
		return nil, nil, s.Err
	}
	slices.SortFunc(out, search.Less)
	out = out[min(o.Skip, int64(len(out))):]
	if o.Limit > 0 {
		out = out[:min(o.Limit, int64(len(out)))]
	}
	for _, f := range out {
		if _, err := tx.doc(collection, f.IDKey); err != nil {
			return nil, nil, err
		}
	}
	return out, s, nil
}

// maxGuarded is how many _ids a search may name to be guarded one by one.
const maxGuarded = 16

// rely notes what a search depends on: the few documents that it names, or, by a
// predicate, all that would match. The committer looks at each change of others for each
// predicate, at a guard once.
func (tx *Tx) rely(collection string, s *search.Search) error {
	if s.Access == nil || s.Access.Ids == nil || len(s.Access.Ids) > maxGuarded {
		tx.preds = append(tx.preds, fold.Predicate{Coll: collection, Filter: s.Filter, Mod: s.Mod})
		return nil
	}
	for _, k := range s.Access.Ids {
		if _, err := tx.doc(collection, k); err != nil {
			return err
		}
	}
	return nil
}

// near returns what the transaction holds of which a search may find something: few
// documents, if the search names _ids, so that n updates by _id do not cost n² matches.
func (tx *Tx) near(collection string, s *search.Search) iter.Seq[*txDoc] {
	if s.Access == nil || s.Access.Ids == nil {
		return maps.Values(tx.docs)
	}
	return func(yield func(*txDoc) bool) {
		for _, k := range s.Access.Ids {
			if d := tx.docs[docKey{collection, string(k)}]; d != nil && !yield(d) {
				return
			}
		}
	}
}

// Update is Collection.Update in the transaction.
func (tx *Tx) Update(collection string, filter, upd any, o UpdateOptions) (UpdateResult, error) {
	f, u, err := changeArgs(filter, upd)
	if err != nil {
		return UpdateResult{}, err
	}
	if update.IsReplacement(u) {
		return tx.Replace(collection, f, u, o)
	}
	filters, err := encodedList("array filters", o.ArrayFilters)
	if err != nil {
		return UpdateResult{}, err
	}
	op := payload.Op{Kind: payload.Update, Upsert: o.Upsert, Coll: collection, Filter: value.OrEmpty(f), Doc: u, ArrayFilters: value.Bytes(filters)}
	return tx.change(op, o.Many)
}

// Replace is Collection.Replace in the transaction.
func (tx *Tx) Replace(collection string, filter, doc any, o UpdateOptions) (UpdateResult, error) {
	f, err := encoded("filter", filter)
	if err != nil {
		return UpdateResult{}, err
	}
	d, err := encoded("document", doc)
	if err != nil {
		return UpdateResult{}, err
	}
	return tx.change(payload.Op{
		Kind: payload.Replace, Upsert: o.Upsert, Coll: collection, Filter: value.OrEmpty(f), Doc: d,
	}, false)
}

// Delete is Collection.Delete in the transaction.
func (tx *Tx) Delete(collection string, filter any, many bool) (int64, error) {
	f, err := encoded("filter", filter)
	if err != nil {
		return 0, err
	}
	r, err := tx.change(payload.Op{Kind: payload.Delete, Coll: collection, Filter: value.OrEmpty(f)}, many)
	return r.Matched, err
}

// change applies op to the first document that matches, or to all; an upsert inserts if
// there is none.
func (tx *Tx) change(op payload.Op, many bool) (res UpdateResult, err error) {
	if err := writable(op.Coll); err != nil {
		return res, err
	}
	if err := check(&op); err != nil {
		return res, err
	}
	o := search.Options{Filter: op.Filter}
	if !many {
		o.Limit = 1
	}
	fs, _, err := tx.find(op.Coll, o)
	if err != nil {
		return res, err
	}
	if len(fs) == 0 && op.Upsert {
		op, err = tx.upsert(op)
		res.UpsertedID = op.ID.Raw()
		return res, err
	}
	op.Upsert = false
	for _, f := range fs {
		op.ID, op.Key = payload.DocID(f.Doc), f.IDKey
		changed, err := tx.apply(op)
		if err != nil {
			return res, &WriteError{0, err}
		}
		res.Matched++
		if changed {
			res.Modified++
		}
	}
	return res, nil
}

// upsert inserts what op gives where nothing matches, and returns it with its _id.
func (tx *Tx) upsert(op payload.Op) (payload.Op, error) {
	if err := tx.create(op.Coll); err != nil {
		return op, err
	}
	op, err := upsertOp(op)
	if err != nil {
		return op, err
	}
	_, err = tx.apply(op)
	return op, err
}
