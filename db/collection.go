package db

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// UpdateOptions tunes Update and Replace.
type UpdateOptions struct {
	Many         bool // all documents that match, not the first; not for Replace
	Upsert       bool // insert a document if none matches
	ArrayFilters any  // a slice of filters; nil for none
}

// An UpdateResult says what an update did.
type UpdateResult struct {
	Matched, Modified int64
	UpsertedID        bson.RawValue // set if a document was inserted
}

// A WriteError is an operation that was refused before anything of it was
// written. Index is its place in the call.
type WriteError struct {
	Index int
	Err   error
}

// Error returns the reason.
func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *WriteError) Unwrap() error { return e.Err }

func writable(name string) error {
	if strings.HasPrefix(name, "system.") {
		return fault.Errorf(fault.InvalidNamespace, "the collections whose names begin with system. are written by commands only: %s", name)
	}
	return payload.CheckName(name)
}

// prepare checks a document for insertion and gives it an _id, in first place.
func prepare(doc bson.Raw) (payload.Op, error) {
	if err := value.Validate(doc); err != nil {
		return payload.Op{}, err
	}
	op := payload.Op{Kind: payload.Insert, Doc: doc, ID: payload.DocID(doc)}
	if !op.ID.Exists() {
		op.ID = value.Get(doc, "_id")
		if !op.ID.Exists() {
			op.ID = value.String(ulid.Make().String())
		}
		var err error
		if op.Doc, err = judge.WithID(doc, op.ID); err != nil {
			return op, err
		}
	}
	if value.Get(op.Doc, "_mod").Exists() {
		return op, judge.ErrReserved
	}
	if len(op.Doc) > value.MaxDocument {
		return op, judge.ErrDocSize
	}
	var err error
	op.Key, err = payload.CheckID(op.ID)
	return op, err
}

// Insert inserts documents in order and returns the _ids of those inserted. At
// the first that is refused (a *[WriteError]) it stops; those before it stay.
// Many documents become several records. A slice of documents stands for those in it.
func (c *Collection) Insert(ctx context.Context, docs ...any) ([]bson.RawValue, error) {
	list, err := encodedDocs(docs)
	if err != nil {
		return nil, err
	}
	ids, errs, err := c.insert(ctx, list, InsertOptions{})
	if err == nil && len(errs) > 0 {
		err = errs[0]
	}
	return ids, err
}

// InsertOptions tunes InsertMany.
type InsertOptions struct {
	Unordered bool // a refused document does not keep those after it from being written
}

// InsertMany inserts a slice of documents and returns the _ids of those inserted, and which
// were refused: at most one, the first, unless Unordered is set.
func (c *Collection) InsertMany(ctx context.Context, docs any, o InsertOptions) (ids []bson.RawValue, errs []*WriteError, err error) {
	list, err := encodedList("documents", docs)
	if err != nil {
		return nil, nil, err
	}
	return c.insert(ctx, list, o)
}

func (c *Collection) insert(ctx context.Context, docs []bson.Raw, o InsertOptions) (ids []bson.RawValue, errs []*WriteError, err error) {
	inOrder := !o.Unordered
	if err := writable(c.name); err != nil {
		return nil, nil, err
	}
	ops := make([]payload.Op, 0, len(docs)+1)
	places := make([]int, 0, len(docs)+1)
	if op := c.db.implicit(c.name); op != nil {
		ops, places = append(ops, *op), append(places, -1)
	}
	for i, d := range docs {
		op, err := prepare(d)
		if err != nil {
			errs = append(errs, &WriteError{i, err})
			if inOrder {
				break
			}
			continue
		}
		op.Coll = c.name
		ops, places = append(ops, op), append(places, i)
	}
	m := fold.Each
	if inOrder {
		m = fold.Ordered
	}
	results, _, err := c.db.write(ctx, ops, m)
	for k, i := range places {
		switch {
		case i < 0 || k >= len(results):
		case results[k] == nil:
			ids = append(ids, ops[k].ID.Raw())
		case !errors.Is(results[k], fold.ErrStopped):
			errs = append(errs, &WriteError{i, results[k]})
		}
	}
	slices.SortFunc(errs, func(a, b *WriteError) int { return a.Index - b.Index })
	if inOrder && len(errs) > 1 {
		errs = errs[:1]
	}
	return ids, errs, err
}

// implicit returns the operation that defines a collection at its first
// insert; nil if it has a definition. Repeating it changes nothing.
func (db *DB) implicit(name string) *payload.Op {
	v, err := db.fold.Acquire()
	if err != nil {
		return nil
	}
	defer v.Release()
	id := value.String(name)
	key := value.AppendKey(nil, id, false)
	if sys := v.Cat.Colls[judge.SystemCollection]; sys != nil {
		if f, err := v.Get(sys, key); err != nil || f != nil {
			return nil
		}
	}
	return defineOp(name, bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: "plain", Value: bson.A{}}}}})
}

// defineOp is the operation that updates the definition of a collection, or inserts it.
func defineOp(name string, upd bson.D) *payload.Op {
	id := value.String(name)
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: name}})
	if err != nil {
		return nil
	}
	doc, err := bson.Marshal(upd)
	if err != nil {
		return nil
	}
	return &payload.Op{
		Kind: payload.Update, Upsert: true, Coll: judge.SystemCollection, ID: id, Key: value.AppendKey(nil, id, false),
		Filter: filter, Doc: doc,
	}
}

// write puts operations into records, hands them to the committer and returns
// the refusal of each, nil for those written.
func (db *DB) write(ctx context.Context, ops []payload.Op, m fold.Mode) (results []error, changed []bool, err error) {
	var reqs []*fold.Request
	for rest := ops; len(rest) > 0; {
		n := fitting(rest)
		r := &fold.Request{Ctx: ctx, Ops: rest[:n:n], Mode: m}
		r.Payload = payload.Encode(r.Ops)
		if len(r.Payload) > payload.MaxBytes {
			return nil, nil, fault.Of(ErrTooLarge, "the operation takes %d bytes, more than a record can hold", len(r.Payload))
		}
		r.Seeds = seedsOf(r.Ops)
		if len(reqs) > 0 && m == fold.Ordered {
			r.After = reqs[len(reqs)-1]
		}
		reqs = append(reqs, r)
		rest = rest[n:]
	}
	if err := db.fold.Submit(reqs...); err != nil {
		return nil, nil, err
	}
	stopped := false
	for _, r := range reqs {
		if r.Err != nil && !errors.Is(r.Err, fold.ErrStopped) {
			err = r.Err
		}
		for i := range r.Ops {
			switch {
			case stopped || r.Err != nil:
				results, changed = append(results, fold.ErrStopped), append(changed, false)
			default:
				results, changed = append(results, r.Results[i]), append(changed, r.Changed[i])
				stopped = m == fold.Ordered && r.Results[i] != nil
			}
		}
	}
	return results, changed, err
}

// fitting returns how many operations fit in one record, by an estimate on the safe
// side: operations that share a body with the one before take little.
func fitting(ops []payload.Op) int {
	size := 256
	for i := range ops {
		n := ops[i].Size()
		if i > 0 && keyspace.SameSlice(ops[i].Filter, ops[i-1].Filter) && ops[i].Kind != payload.Insert {
			n = 24 + len(ops[i].ID.Data)
		}
		if size += n; i > 0 && (size > payload.MaxBytes || i >= payload.MaxOps) {
			return i
		}
	}
	return len(ops)
}

// seedsOf hashes the documents that ops insert, outside the committer, which needs the
// hashes and has no time.
func seedsOf(ops []payload.Op) []lthash.Seed {
	seeds := make([]lthash.Seed, len(ops))
	var buf []byte
	for i := range ops {
		if o := &ops[i]; o.Kind == payload.Insert {
			seeds[i] = keyspace.DocSeed(buf, o.Coll, o.Key, o.Doc)
		}
	}
	return seeds
}

// Get returns the document with the given _id, a bson.RawValue or what package bson encodes,
// or ErrNotFound.
func (c *Collection) Get(ctx context.Context, id any) (Document, error) {
	is, err := encodedID(id)
	if err != nil {
		return Document{}, err
	}
	v, err := c.db.fold.Acquire()
	if err != nil {
		return Document{}, err
	}
	defer v.Release()
	key, err := payload.CheckID(is)
	if err != nil {
		return Document{}, err
	}
	coll := v.Cat.Colls[c.name]
	if coll == nil {
		return Document{}, ErrNotFound
	}
	f, err := v.Get(coll, key)
	if err != nil {
		return Document{}, err
	}
	if f == nil || len(coll.TTL) > 0 && coll.Expired(f.Doc, c.db.fold.Wall()) {
		return Document{}, ErrNotFound
	}
	if s, err := v.Sight(ctx, c.name); err != nil || !s.Shows(f.Doc) {
		return Document{}, cmp.Or(err, ErrNotFound)
	}
	return Document{Raw: f.Doc, Mod: f.Mod}, nil
}

// Find returns a cursor over the documents of one moment that match filter; nil matches all.
func (c *Collection) Find(ctx context.Context, filter any, o FindOptions) (*Cursor, error) {
	so, err := o.search(filter)
	if err != nil {
		return nil, err
	}
	cur, err := c.db.find(ctx, c.name, so)
	if err != nil {
		return nil, err
	}
	return &Cursor{cur}, nil
}

// FindOne returns the first document that matches filter, projected, or ErrNotFound.
func (c *Collection) FindOne(ctx context.Context, filter any, o FindOptions) (Document, error) {
	o.Limit = 1
	cur, err := c.Find(ctx, filter, o)
	if err != nil {
		return Document{}, err
	}
	defer cur.Close()
	if !cur.Next() {
		return Document{}, cmp.Or(cur.Err(), ErrNotFound)
	}
	return Document{Raw: slices.Clone(cur.Raw()), Mod: cur.Document().Mod}, nil
}

// targets returns an operation of kind for the documents that match now.
func (c *Collection) targets(ctx context.Context, proto payload.Op, many bool) ([]payload.Op, error) {
	o := search.Options{Filter: proto.Filter}
	if !many {
		o.Limit = 1
	}
	cur, err := c.db.find(ctx, c.name, o)
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	var ops []payload.Op
	for cur.Next() {
		op := proto
		op.Coll, op.ID, op.Key = c.name, payload.DocID(cur.Found().Doc), cur.Found().IDKey
		ops = append(ops, op)
	}
	return ops, cur.Err()
}

// Update applies update operators to the first document that matches filter,
// or to all; a pipeline is a slice of stages. A document that another writer changed meanwhile so that it does
// not match any more is left alone. A refused one is a *[WriteError].
func (c *Collection) Update(ctx context.Context, filter, update any, o UpdateOptions) (UpdateResult, error) {
	f, u, err := changeArgs(filter, update)
	if err != nil {
		return UpdateResult{}, err
	}
	return c.update(ctx, f, u, o)
}

func (c *Collection) update(ctx context.Context, filter, upd bson.Raw, o UpdateOptions) (UpdateResult, error) {
	if update.IsReplacement(upd) {
		if o.Many {
			return UpdateResult{}, fault.Errorf(fault.FailedToParse, "a replacement cannot be for many documents")
		}
		return c.replace(ctx, filter, upd, o)
	}
	filters, err := encodedList("array filters", o.ArrayFilters)
	if err != nil {
		return UpdateResult{}, err
	}
	if _, err := update.Compile(upd, filters); err != nil {
		return UpdateResult{}, err
	}
	op := payload.Op{Kind: payload.Update, Upsert: o.Upsert, Filter: value.OrEmpty(filter), Doc: upd, ArrayFilters: value.Bytes(filters)}
	return c.change(ctx, op, o.Many)
}

// Replace replaces the first document that matches filter.
func (c *Collection) Replace(ctx context.Context, filter, doc any, o UpdateOptions) (UpdateResult, error) {
	f, err := encoded("filter", filter)
	if err != nil {
		return UpdateResult{}, err
	}
	d, err := encoded("document", doc)
	if err != nil {
		return UpdateResult{}, err
	}
	return c.replace(ctx, f, d, o)
}

func (c *Collection) replace(ctx context.Context, filter, doc bson.Raw, o UpdateOptions) (UpdateResult, error) {
	if !update.IsReplacement(doc) {
		return UpdateResult{}, fault.Errorf(fault.FailedToParse, "a replacement has no update operators")
	}
	op := payload.Op{Kind: payload.Replace, Upsert: o.Upsert, Filter: value.OrEmpty(filter), Doc: doc}
	return c.change(ctx, op, false)
}

// Delete deletes the first document that matches filter, or all of them, and
// returns how many were deleted.
func (c *Collection) Delete(ctx context.Context, filter any, many bool) (int64, error) {
	f, err := encoded("filter", filter)
	if err != nil {
		return 0, err
	}
	r, err := c.change(ctx, payload.Op{Kind: payload.Delete, Filter: value.OrEmpty(f)}, many)
	return r.Matched, err
}

// check validates what an operation carries.
func check(op *payload.Op) error {
	for _, d := range append([][]byte{op.Filter, op.Doc}, op.ArrayFilters...) {
		if d == nil {
			continue
		}
		if err := value.Validate(d); err != nil {
			return err
		}
	}
	if op.Kind == payload.Replace && value.Get(op.Doc, "_mod").Exists() {
		return judge.ErrReserved
	}
	_, err := query.Compile(op.Filter)
	return err
}

// A write looks for its documents first and then names them: a record holds operations on
// documents by _id, each with the filter, so that every replica judges the same documents
// and not what its own search would find. Between the search and the committer another
// writer may come; then the operation does not match, and of a write on one document the
// search is done again.

// retries bounds how often a write on one document looks again after another
// writer took the document away.
const retries = 100

// change writes op for the first document that matches, or for all; a refusal for any
// other reason than that the document was changed meanwhile is the caller's.
func (c *Collection) change(ctx context.Context, op payload.Op, many bool) (res UpdateResult, err error) {
	if err := writable(c.name); err != nil {
		return res, err
	}
	op.Coll = c.name
	if err := check(&op); err != nil {
		return res, err
	}
	for range retries {
		ops, err := c.targets(ctx, op, many)
		if err != nil {
			return res, err
		}
		if len(ops) == 0 {
			if !op.Upsert {
				return res, nil
			}
			id, again, err := c.upsert(ctx, op)
			if again {
				continue
			}
			res.UpsertedID = id
			return res, err
		}
		for i := range ops {
			ops[i].Upsert = false // it found its document
		}
		results, changed, err := c.db.write(ctx, ops, fold.Each)
		if err != nil {
			return res, err
		}
		for i, e := range results {
			switch {
			case e == nil:
				res.Matched++
				if changed[i] {
					res.Modified++
				}
			case !errors.Is(e, judge.ErrNoMatch):
				return res, &WriteError{0, e}
			}
		}
		if many || res.Matched > 0 {
			return res, nil
		}
	}
	return res, fault.Of(ErrConflict, "other writers kept changing the document")
}

// upsert inserts what op gives where nothing matches; again says that a
// document with its _id has come up meanwhile.
func (c *Collection) upsert(ctx context.Context, op payload.Op) (id bson.RawValue, again bool, err error) {
	if op, err = upsertOp(op); err != nil {
		return id, false, err
	}
	ops := []payload.Op{op}
	if d := c.db.implicit(c.name); d != nil {
		ops = []payload.Op{*d, op}
	}
	results, _, err := c.db.write(ctx, ops, fold.Each)
	if err != nil {
		return id, false, err
	}
	if e := results[len(results)-1]; e != nil {
		if keyspace.IsDuplicate(e) {
			cur, err := c.Find(ctx, op.Filter, FindOptions{Limit: 1})
			if err != nil {
				return id, false, err
			}
			defer cur.Close()
			if cur.Next() {
				return id, true, nil
			}
		}
		return id, false, &WriteError{0, e}
	}
	return op.ID.Raw(), false, nil
}

// upsertOp fixes the _id of an upsert: the filter's or the document's, else a
// new one.
func upsertOp(op payload.Op) (payload.Op, error) {
	doc := op.Doc
	f, err := query.Compile(op.Filter)
	if err != nil {
		return op, err
	}
	if op.Kind == payload.Update {
		u, err := update.Compile(op.Doc, value.Raws(op.ArrayFilters))
		if err != nil {
			return op, err
		}
		if doc, err = u.Upsert(f, update.Context{Insert: true, Filter: f}); err != nil {
			return op, err
		}
	}
	op.ID = value.Get(doc, "_id")
	if !op.ID.Exists() && op.Kind == payload.Replace {
		for _, c := range f.Conjuncts() {
			if c.Path == "_id" && c.Op == query.Eq {
				op.ID = c.Value
			}
		}
	}
	if !op.ID.Exists() {
		op.ID = value.String(ulid.Make().String())
	}
	op.Key, err = payload.CheckID(op.ID)
	return op, err
}

// PipelineUpdate returns the update that the stages of an aggregation pipeline
// make ($set, $addFields, $unset, $project, $replaceRoot, $replaceWith), for
// [Collection.Update] and [Collection.FindAndModify].
func PipelineUpdate(stages ...bson.Raw) bson.Raw {
	arr, start := value.Begin(nil)
	for i, s := range stages {
		arr = value.AppendElement(arr, strconv.AppendInt(nil, int64(i), 10), value.Doc(s))
	}
	return update.Pipeline(value.Value{Type: bson.TypeArray, Data: value.End(arr, start)})
}
