package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

const (
	maxCursors  = 100
	cursorIdle  = 10 * time.Minute
	firstBatch  = 101
	maxBatch    = 8 << 20 // bytes of a reply's documents
	codeMissing = 26      // NamespaceNotFound
)

// cursors are the open cursors of command documents.
type cursors struct {
	mu   sync.Mutex // guards open
	open map[int64]*openCursor
}

type openCursor struct {
	*Cursor
	ns   string
	used time.Time
	next bson.RawValue // read but did not fit
}

// A commandFunc runs one command.
type commandFunc func(db *DB, ctx context.Context, name string, cmd bson.Raw) (bson.D, error)

func commandOf(name string) commandFunc {
	switch strings.ToLower(name) {
	case "ping":
		return func(*DB, context.Context, string, bson.Raw) (bson.D, error) { return nil, nil }
	case "insert":
		return (*DB).cmdInsert
	case "find":
		return (*DB).cmdFind
	case "getmore":
		return (*DB).cmdGetMore
	case "update":
		return (*DB).cmdUpdate
	case "delete":
		return (*DB).cmdDelete
	case "count":
		return (*DB).cmdCount
	case "distinct":
		return (*DB).cmdDistinct
	case "listcollections":
		return (*DB).cmdListCollections
	case "create":
		return (*DB).cmdCreate
	case "drop":
		return (*DB).cmdDrop
	case "createindexes":
		return (*DB).cmdCreateIndexes
	case "listindexes":
		return (*DB).cmdListIndexes
	case "dropindexes":
		return (*DB).cmdDropIndexes
	}
	return nil
}

// Run runs a MongoDB command document, whose first field names the command,
// and returns the reply, which says whether it failed: {ok: 1, …} or {ok: 0,
// code, codeName, errmsg}; refused writes are its writeErrors. The error is
// for what is no answer: the end of ctx or of the database.
func (db *DB) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) {
	// A command holds documents, so it may be larger than one; its parts are
	// validated where they are used.
	if len(command) > value.MaxEncoded {
		return failure(value.Errorf(value.CodeInvalidBSON, "the command is too large"))
	}
	if err := command.Validate(); err != nil {
		return failure(value.Errorf(value.CodeInvalidBSON, "%v", err))
	}
	it := value.Elements(command)
	k, v, ok := it.Next()
	if !ok {
		return failure(value.Errorf(59, "an empty command"))
	}
	f := commandOf(string(k))
	if f == nil {
		return failure(value.Errorf(59, "no such command: '%s'", k))
	}
	reply, err := f(db, ctx, string(v.Str()), command)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return nil, err
		}
		return failure(err)
	}
	return bson.Marshal(append(reply, bson.E{Key: "ok", Value: 1.0}))
}

// codeOf maps an error to MongoDB's code and name.
func codeOf(err error) (int32, string) {
	var e *value.Error
	switch {
	case errors.Is(err, errDuplicate):
		return 11000, "DuplicateKey"
	case errors.As(err, &e):
		switch e.Code {
		case 59:
			return e.Code, "CommandNotFound"
		case 73:
			return e.Code, "InvalidNamespace"
		case 43:
			return e.Code, "CursorNotFound"
		}
		return e.Code, e.Name
	case errors.Is(err, ErrNotFound):
		return codeMissing, "NamespaceNotFound"
	case errors.Is(err, ErrExists):
		return 48, "NamespaceExists"
	case errors.Is(err, ErrConflict):
		return 112, "WriteConflict"
	case errors.Is(err, ErrTooLarge):
		return value.CodeObjectTooLarge, "BSONObjectTooLarge"
	case errors.Is(err, ErrSchema):
		return 121, "DocumentValidationFailure"
	}
	return value.CodeBadValue, "BadValue"
}

func failure(err error) (bson.Raw, error) {
	c, name := codeOf(err)
	return bson.Marshal(bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: err.Error()}, {Key: "code", Value: c}, {Key: "codeName", Value: name}})
}

func writeErrors(reply bson.D, errs []bson.D) bson.D {
	if len(errs) > 0 {
		reply = append(reply, bson.E{Key: "writeErrors", Value: errs})
	}
	return reply
}

func writeError(i int, err error) bson.D {
	c, name := codeOf(err)
	return bson.D{{Key: "index", Value: int32(i)}, {Key: "code", Value: c}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: err.Error()}}
}

// list returns the documents of an array field.
func list(cmd bson.Raw, field string) ([]bson.Raw, error) {
	a := value.Get(cmd, field)
	if !a.IsArray() {
		return nil, value.Errorf(value.CodeFailedToParse, "the command needs an array %q", field)
	}
	var out []bson.Raw
	it := value.Elements(a.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return nil, value.Errorf(value.CodeTypeMismatch, "%q must hold documents", field)
		}
		out = append(out, v.Data)
	}
	return out, nil
}

func sub(cmd bson.Raw, field string) bson.Raw {
	if v := value.Get(cmd, field); v.IsDoc() {
		return v.Data
	}
	return nil
}

func number(cmd bson.Raw, field string) int64 {
	n, _ := value.Get(cmd, field).Raw().AsInt64OK()
	return n
}

func flag(cmd bson.Raw, field string, def bool) bool {
	v := value.Get(cmd, field)
	if !v.Exists() {
		return def
	}
	return v.Bool()
}

func (db *DB) cmdInsert(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	docs, err := list(cmd, "documents")
	if err != nil {
		return nil, err
	}
	ids, errs, err := db.Collection(name).insert(ctx, docs, flag(cmd, "ordered", true))
	if err != nil {
		return nil, err
	}
	var out []bson.D
	for _, e := range errs {
		out = append(out, writeError(e.Index, e.Err))
	}
	return writeErrors(bson.D{{Key: "n", Value: int32(len(ids))}}, out), nil
}

func (db *DB) cmdUpdate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	ups, err := list(cmd, "updates")
	if err != nil {
		return nil, err
	}
	var n, modified int64
	var upserted, errs []bson.D
	for i, u := range ups {
		o := UpdateOptions{Many: flag(u, "multi", false), Upsert: flag(u, "upsert", false)}
		if value.Get(u, "arrayFilters").Exists() {
			if o.ArrayFilters, err = list(u, "arrayFilters"); err != nil {
				return nil, err
			}
		}
		if sub(u, "u") == nil || sub(u, "q") == nil {
			return nil, value.Errorf(value.CodeFailedToParse, "an update needs documents q and u")
		}
		r, err := db.Collection(name).Update(ctx, sub(u, "q"), sub(u, "u"), o)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil, err
			}
			errs = append(errs, writeError(i, err))
			if flag(cmd, "ordered", true) {
				break
			}
			continue
		}
		n, modified = n+r.Matched, modified+r.Modified
		if r.UpsertedID.Type != 0 {
			n++
			upserted = append(upserted, bson.D{{Key: "index", Value: int32(i)}, {Key: "_id", Value: r.UpsertedID}})
		}
	}
	reply := bson.D{{Key: "n", Value: int32(n)}, {Key: "nModified", Value: int32(modified)}}
	if upserted != nil {
		reply = append(reply, bson.E{Key: "upserted", Value: upserted})
	}
	return writeErrors(reply, errs), nil
}

func (db *DB) cmdDelete(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	ds, err := list(cmd, "deletes")
	if err != nil {
		return nil, err
	}
	var n int64
	var errs []bson.D
	for i, x := range ds {
		if sub(x, "q") == nil {
			return nil, value.Errorf(value.CodeFailedToParse, "a delete needs a document q")
		}
		k, err := db.Collection(name).Delete(ctx, sub(x, "q"), number(x, "limit") != 1)
		n += k
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return nil, err
			}
			errs = append(errs, writeError(i, err))
			if flag(cmd, "ordered", true) {
				break
			}
		}
	}
	return writeErrors(bson.D{{Key: "n", Value: int32(n)}}, errs), nil
}

func (db *DB) cmdCount(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	n, err := db.Collection(name).Count(ctx, sub(cmd, "query"))
	n = max(0, n-number(cmd, "skip"))
	if l := number(cmd, "limit"); l > 0 {
		n = min(n, l)
	}
	return bson.D{{Key: "n", Value: n}}, err
}

func (db *DB) cmdDistinct(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	p, err := value.ParsePath(string(value.Get(cmd, "key").Str()))
	if err != nil {
		return nil, err
	}
	cur, err := db.Collection(name).Find(ctx, FindOptions{Filter: sub(cmd, "query")})
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	out := bson.A{}
	size := 0
	seen := map[string]bool{}
	for cur.Next() {
		vals, multi := p.IndexValues(nil, cur.Raw())
		for _, v := range vals {
			if !multi && !p.Lookup(cur.Raw()).Exists() {
				continue
			}
			k := string(value.AppendKey(nil, v, false))
			if !seen[k] && v.Type != bson.TypeUndefined {
				seen[k] = true
				out = append(out, v.Raw())
				if size += len(v.Data); size > maxBatch {
					return nil, fmt.Errorf("%w: the distinct values", ErrTooLarge)
				}
			}
		}
	}
	return bson.D{{Key: "values", Value: out}}, cur.Err()
}

func (db *DB) cmdFind(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	o := FindOptions{
		Filter: sub(cmd, "filter"), Sort: sub(cmd, "sort"), Projection: sub(cmd, "projection"),
		Skip: number(cmd, "skip"), Limit: number(cmd, "limit"),
	}
	// The cursor outlives the command that opens it.
	cur, err := db.find(context.WithoutCancel(ctx), name, o)
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(cmd, "batchSize").Exists() {
		n = max(0, number(cmd, "batchSize"))
	}
	oc := &openCursor{Cursor: cur, ns: name}
	return db.batchReply(oc, 0, n, "firstBatch", flag(cmd, "singleBatch", false))
}

func (db *DB) cmdGetMore(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	id := number(cmd, "getMore")
	db.cursors.mu.Lock()
	oc := db.cursors.open[id]
	delete(db.cursors.open, id)
	db.cursors.mu.Unlock()
	if oc == nil || oc.ns != string(value.Get(cmd, "collection").Str()) {
		if oc != nil {
			oc.Close()
		}
		return nil, value.Errorf(43, "cursor id %d not found", id)
	}
	n := number(cmd, "batchSize")
	if n <= 0 {
		n = 1 << 30
	}
	return db.batchReply(oc, id, n, "nextBatch", false)
}

// batchReply reads up to n documents and keeps the cursor if there may be more.
func (db *DB) batchReply(oc *openCursor, id, n int64, field string, single bool) (bson.D, error) {
	docs := bson.A{}
	size, more := 0, true
	if oc.next.Type != 0 && n > 0 {
		docs, size = append(docs, oc.next), len(oc.next.Value)
		oc.next = bson.RawValue{}
	}
	for int64(len(docs)) < n && size < maxBatch {
		if more = oc.Next(); !more {
			break
		}
		d := oc.Raw()
		docs, size = append(docs, d), size+len(d)
	}
	if err := oc.Err(); err != nil {
		oc.Close()
		return nil, err
	}
	if more && !single && oc.Next() {
		oc.next = bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: oc.Raw()}
		if id == 0 {
			id = 1 + rand.Int64N(1<<62)
		}
		db.keep(id, oc)
	} else {
		id = 0
		oc.Close()
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: field, Value: docs}, {Key: "id", Value: id}, {Key: "ns", Value: oc.ns}}}}, nil
}

// keep keeps a cursor open, closing idle ones and the longest unused over the limit.
func (db *DB) keep(id int64, oc *openCursor) {
	c := &db.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[int64]*openCursor{}
	}
	oc.used = time.Now()
	oldest := int64(0)
	for k, o := range c.open {
		if oc.used.Sub(o.used) > cursorIdle {
			o.Close()
			delete(c.open, k)
		} else if oldest == 0 || o.used.Before(c.open[oldest].used) {
			oldest = k
		}
	}
	if len(c.open) >= maxCursors {
		c.open[oldest].Close()
		delete(c.open, oldest)
	}
	c.open[id] = oc
}

func (db *DB) closeCursors() {
	db.cursors.mu.Lock()
	defer db.cursors.mu.Unlock()
	for _, c := range db.cursors.open {
		c.Close()
	}
	clear(db.cursors.open)
}

func (db *DB) cmdListCollections(ctx context.Context, _ string, _ bson.Raw) (bson.D, error) {
	cs, err := db.Collections(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{}
	for _, c := range cs {
		o := bson.D{}
		if c.Schema != nil {
			o = bson.D{{Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: c.Schema}}}}
		}
		docs = append(docs, bson.D{{Key: "name", Value: c.Name}, {Key: "type", Value: "collection"}, {Key: "options", Value: o}})
	}
	return oneBatch("$cmd.listCollections", docs), nil
}

func oneBatch(ns string, docs bson.A) bson.D {
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: docs}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: ns}}}}
}

func (db *DB) cmdCreate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	o := CollectionOptions{}
	if v := sub(cmd, "validator"); v != nil {
		if o.Schema = sub(v, "$jsonSchema"); o.Schema == nil {
			return nil, value.Errorf(value.CodeBadValue, "a validator must be {$jsonSchema: {…}}")
		}
	}
	return nil, db.CreateCollection(ctx, name, o)
}

func (db *DB) cmdDrop(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	return bson.D{{Key: "ns", Value: name}}, db.DropCollection(ctx, name)
}

func (db *DB) cmdCreateIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	specs, err := list(cmd, "indexes")
	if err != nil {
		return nil, err
	}
	before, err := db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		x := Index{Name: string(value.Get(s, "name").Str()), Unique: flag(s, "unique", false)}
		if x.Keys, err = parseIndexKeys(sub(s, "key")); err != nil {
			return nil, err
		}
		if _, err := db.Collection(name).CreateIndex(ctx, x); err != nil {
			return nil, err
		}
	}
	after, err := db.Collection(name).Indexes(ctx)
	return bson.D{
		{Key: "numIndexesBefore", Value: int32(len(before) + 1)}, {Key: "numIndexesAfter", Value: int32(len(after) + 1)},
	}, err
}

func (db *DB) cmdListIndexes(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	if _, err := db.definition(name); err != nil {
		return nil, err
	}
	xs, err := db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{bson.D{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "_id", Value: int32(1)}}}, {Key: "name", Value: "_id_"}}}
	for _, x := range xs {
		docs = append(docs, append(bson.D{{Key: "v", Value: int32(2)}}, indexDoc(x)...))
	}
	return oneBatch(name, docs), nil
}

func (db *DB) cmdDropIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	v := value.Get(cmd, "index")
	var names []string
	if s := string(v.Str()); s != "*" && s != "" {
		names = []string{s}
	} else if s == "*" {
		xs, err := db.Collection(name).Indexes(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range xs {
			names = append(names, x.Name)
		}
	} else {
		return nil, value.Errorf(value.CodeTypeMismatch, "dropIndexes needs the name of an index, or *")
	}
	if err := payload.CheckName(name); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := db.Collection(name).DropIndex(ctx, n); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
