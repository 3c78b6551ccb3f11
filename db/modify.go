package db

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// ModifyOptions tunes FindAndModify.
type ModifyOptions struct {
	Sort         any  // which document, if several match; nil is the least _id
	Projection   any  // of the document that is returned
	ArrayFilters any  // a slice of filters; nil for none
	Upsert       bool // insert a document if none matches; not with Remove
	Remove       bool // delete the document; there is no change then
	New          bool // return the document as it is after the change
}

// A Modified says what FindAndModify did.
type Modified struct {
	Document   bson.Raw // before the change, or after it with New; nil if there is none
	Found      bool     // a document matched
	UpsertedID bson.RawValue
}

// FindAndModify changes or deletes one document that matches filter and returns
// it at once: no other write of this device comes between. change holds
// update operators or is a replacement; nil with Remove.
func (c *Collection) FindAndModify(ctx context.Context, filter, change any, o ModifyOptions) (Modified, error) {
	op, sort, proj, err := c.modifyArgs(filter, change, o)
	if err != nil {
		return Modified{}, err
	}
	for range retries {
		m, again, err := c.modify(ctx, op, sort, o.New)
		if again {
			continue
		}
		if err == nil && m.Document != nil && proj != nil {
			m.Document, err = project(proj, m.Document, op.Filter)
		}
		return m, err
	}
	return Modified{}, fault.Of(ErrConflict, "other writers kept changing the document")
}

// modifyArgs encodes and checks what FindAndModify is given.
func (c *Collection) modifyArgs(filter, change any, o ModifyOptions) (op payload.Op, sort bson.Raw, proj *query.Projection, err error) {
	f, u, err := changeArgs(filter, change)
	if err != nil {
		return op, nil, nil, err
	}
	filters, err := encodedList("array filters", o.ArrayFilters)
	if err != nil {
		return op, nil, nil, err
	}
	if sort, err = encoded("sort", o.Sort); err != nil {
		return op, nil, nil, err
	}
	p, err := encoded("projection", o.Projection)
	if err != nil {
		return op, nil, nil, err
	}
	if op, err = c.modifyOp(f, u, filters, o); err == nil && len(p) > 5 {
		proj, err = query.CompileProjection(p)
	}
	return op, sort, proj, err
}

// modifyOp checks the options against each other, and returns the operation without its
// document.
func (c *Collection) modifyOp(filter, change bson.Raw, filters []bson.Raw, o ModifyOptions) (op payload.Op, err error) {
	if err := writable(c.name); err != nil {
		return op, err
	}
	op = payload.Op{Coll: c.name, Filter: value.OrEmpty(filter)}
	switch {
	case o.Remove && (change != nil || o.Upsert || o.New):
		return op, fault.Errorf(fault.FailedToParse, "remove takes no update, no upsert and no new document")
	case o.Remove:
		op.Kind = payload.Delete
	case change == nil:
		return op, fault.Errorf(fault.FailedToParse, "either an update or remove must be given")
	case update.IsReplacement(change):
		if len(filters) > 0 {
			return op, fault.Errorf(fault.FailedToParse, "a replacement takes no array filters")
		}
		op.Kind, op.Doc, op.Upsert = payload.Replace, change, o.Upsert
	default:
		if _, err := update.Compile(change, filters); err != nil {
			return op, err
		}
		op.Kind, op.Doc, op.ArrayFilters, op.Upsert = payload.Update, change, value.Bytes(filters), o.Upsert
	}
	return op, check(&op)
}

// modify tries once; again says that another writer took the document away.
func (c *Collection) modify(ctx context.Context, op payload.Op, sort bson.Raw, after bool) (m Modified, again bool, err error) {
	cur, err := c.db.find(ctx, c.name, search.Options{Filter: op.Filter, Sort: sort, Limit: 1})
	if err != nil {
		return m, false, err
	}
	defer cur.Close()
	if !cur.Next() {
		if err := cur.Err(); err != nil || !op.Upsert {
			return m, false, err
		}
		return c.modifyUpsert(ctx, op, after)
	}
	op.Upsert = false
	op.ID, op.Key = payload.DocID(cur.Found().Doc), slices.Clone(cur.Found().IDKey)
	r := &fold.Request{Ctx: ctx, Ops: []payload.Op{op}, Mode: fold.Each, Keep: true}
	r.Payload, r.Seeds = payload.Encode(r.Ops), seedsOf(r.Ops)
	if err := c.db.fold.Submit(r); err != nil {
		return m, false, err
	}
	if r.Err != nil {
		return m, false, r.Err
	}
	if e := r.Results[0]; e != nil {
		if errors.Is(e, judge.ErrNoMatch) {
			return m, true, nil
		}
		return m, false, &WriteError{0, e}
	}
	m.Found, m.Document = true, r.Was.Doc
	if after {
		m.Document = r.Now.Doc
	}
	return m, false, nil
}

// modifyUpsert inserts where nothing matched.
func (c *Collection) modifyUpsert(ctx context.Context, op payload.Op, after bool) (m Modified, again bool, err error) {
	m.UpsertedID, again, err = c.upsert(ctx, op)
	if again || err != nil || !after {
		return m, again, err
	}
	doc, err := c.Get(ctx, m.UpsertedID)
	if errors.Is(err, ErrNotFound) {
		return m, false, nil // deleted since
	}
	m.Document = doc.Raw
	return m, false, err
}

// FindAndModify is Collection.FindAndModify in the transaction.
func (tx *Tx) FindAndModify(collection string, filter, change any, o ModifyOptions) (m Modified, err error) {
	op, sort, proj, err := tx.db.Collection(collection).modifyArgs(filter, change, o)
	if err != nil {
		return m, err
	}
	fs, _, err := tx.find(collection, search.Options{Filter: op.Filter, Sort: sort, Limit: 1})
	if err != nil {
		return m, err
	}
	if len(fs) > 0 {
		op.ID, op.Key, op.Upsert = payload.DocID(fs[0].Doc), fs[0].IDKey, false
		m.Found, m.Document = true, fs[0].Doc
		if _, err := tx.apply(op); err != nil {
			return m, &WriteError{0, err}
		}
	} else if op.Upsert {
		if op, err = tx.upsert(op); err != nil {
			return m, err
		}
		m.UpsertedID = op.ID.Raw()
	}
	if o.New && (m.Found || op.Upsert) {
		d, err := tx.doc(collection, op.Key)
		if err != nil {
			return m, err
		}
		m.Document = d.State.Doc
	}
	if m.Document != nil && proj != nil {
		m.Document, err = project(proj, m.Document, op.Filter)
	}
	return m, err
}

// project projects a document that filter found.
func project(p *query.Projection, doc, filter bson.Raw) (bson.Raw, error) {
	f, err := query.Compile(filter)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return p.Project(nil, doc, query.Context{Filter: f.At(now), Now: now})
}
