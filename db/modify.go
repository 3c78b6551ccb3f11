package db

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// ModifyOptions tunes FindAndModify.
type ModifyOptions struct {
	Sort         bson.Raw // which document, if several match; nil is the least _id
	Projection   bson.Raw // of the document that is returned
	ArrayFilters []bson.Raw
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
// it, as one step: no other write of this device comes between. change holds
// update operators or is a replacement; nil with Remove.
func (c *Collection) FindAndModify(ctx context.Context, filter, change bson.Raw, o ModifyOptions) (Modified, error) {
	var proj *query.Projection
	op, err := c.modifyOp(filter, change, o)
	if err != nil {
		return Modified{}, err
	}
	if len(o.Projection) > 5 {
		if proj, err = query.CompileProjection(o.Projection); err != nil {
			return Modified{}, err
		}
	}
	for range retries {
		m, again, err := c.modify(ctx, op, o)
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

func (c *Collection) modifyOp(filter, change bson.Raw, o ModifyOptions) (op payload.Op, err error) {
	if err := writable(c.name); err != nil {
		return op, err
	}
	op = payload.Op{Coll: c.name, Filter: orEmpty(filter)}
	switch {
	case o.Remove && (change != nil || o.Upsert || o.New):
		return op, fault.Errorf(fault.FailedToParse, "remove takes no update, no upsert and no new document")
	case o.Remove:
		op.Kind = payload.Delete
	case change == nil:
		return op, fault.Errorf(fault.FailedToParse, "either an update or remove must be given")
	case update.IsReplacement(change):
		if len(o.ArrayFilters) > 0 {
			return op, fault.Errorf(fault.FailedToParse, "a replacement takes no array filters")
		}
		op.Kind, op.Doc, op.Upsert = payload.Replace, change, o.Upsert
	default:
		if _, err := update.Compile(change, o.ArrayFilters); err != nil {
			return op, err
		}
		op.Kind, op.Doc, op.Upsert = payload.Update, change, o.Upsert
		for _, f := range o.ArrayFilters {
			op.ArrayFilters = append(op.ArrayFilters, f)
		}
	}
	return op, check(&op)
}

// modify tries once; again says that another writer took the document away.
func (c *Collection) modify(ctx context.Context, op payload.Op, o ModifyOptions) (m Modified, again bool, err error) {
	cur, err := c.db.find(ctx, c.name, FindOptions{Filter: op.Filter, Sort: o.Sort, Limit: 1})
	if err != nil {
		return m, false, err
	}
	defer cur.Close()
	if !cur.Next() {
		if err := cur.Err(); err != nil || !op.Upsert {
			return m, false, err
		}
		return c.modifyUpsert(ctx, op, o)
	}
	op.Upsert = false
	op.ID, op.Key = payload.DocID(cur.cur.doc), slices.Clone(cur.cur.idKey)
	r := &request{ctx: ctx, ops: []payload.Op{op}, mode: each, keep: true}
	r.payload, r.seeds = payload.Encode(r.ops), seedsOf(r.ops)
	if err := c.db.submit(r); err != nil {
		return m, false, err
	}
	if r.err != nil {
		return m, false, r.err
	}
	if e := r.results[0]; e != nil {
		if errors.Is(e, errNoMatch) {
			return m, true, nil
		}
		return m, false, &WriteError{0, e}
	}
	m.Found, m.Document = true, r.was.doc
	if o.New {
		m.Document = r.now.doc
	}
	return m, false, nil
}

func (c *Collection) modifyUpsert(ctx context.Context, op payload.Op, o ModifyOptions) (m Modified, again bool, err error) {
	m.UpsertedID, again, err = c.upsert(ctx, op)
	if again || err != nil || !o.New {
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
func (tx *Tx) FindAndModify(collection string, filter, change bson.Raw, o ModifyOptions) (m Modified, err error) {
	op, err := tx.db.Collection(collection).modifyOp(filter, change, o)
	if err != nil {
		return m, err
	}
	var proj *query.Projection
	if len(o.Projection) > 5 {
		if proj, err = query.CompileProjection(o.Projection); err != nil {
			return m, err
		}
	}
	fs, _, err := tx.find(collection, FindOptions{Filter: op.Filter, Sort: o.Sort, Limit: 1})
	if err != nil {
		return m, err
	}
	if len(fs) > 0 {
		op.ID, op.Key, op.Upsert = payload.DocID(fs[0].doc), fs[0].idKey, false
		m.Found, m.Document = true, fs[0].doc
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
		m.Document = d.state.doc
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

// A modifySpec is a findAndModify command.
type modifySpec struct {
	filter, change bson.Raw
	o              ModifyOptions
}

func parseModify(cmd bson.Raw) (s modifySpec, err error) {
	s = modifySpec{filter: sub(cmd, "query"), change: updateIn(cmd, "update")}
	s.o = ModifyOptions{
		Sort: sub(cmd, "sort"), Projection: sub(cmd, "fields"), Upsert: flag(cmd, "upsert", false),
		Remove: flag(cmd, "remove", false), New: flag(cmd, "new", false),
	}
	if s.change == nil && value.Get(cmd, "update").Exists() {
		return s, fault.Errorf(fault.FailedToParse, "the update must be a document or a pipeline")
	}
	if value.Get(cmd, "arrayFilters").Exists() {
		s.o.ArrayFilters, err = list(cmd, "arrayFilters")
	}
	return s, err
}

func (m Modified) reply(o ModifyOptions) bson.D {
	last := bson.D{{Key: "n", Value: int32(0)}}
	if m.Found || m.UpsertedID.Type != 0 {
		last[0].Value = int32(1)
	}
	if !o.Remove {
		last = append(last, bson.E{Key: "updatedExisting", Value: m.Found})
		if m.UpsertedID.Type != 0 {
			last = append(last, bson.E{Key: "upserted", Value: m.UpsertedID})
		}
	}
	var doc any
	if m.Document != nil {
		doc = m.Document
	}
	return bson.D{{Key: "lastErrorObject", Value: last}, {Key: "value", Value: doc}}
}

func (db *DB) cmdFindAndModify(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	s, err := parseModify(cmd)
	if err != nil {
		return nil, err
	}
	m, err := db.Collection(name).FindAndModify(ctx, s.filter, s.change, s.o)
	if err != nil {
		return nil, err
	}
	return m.reply(s.o), nil
}
