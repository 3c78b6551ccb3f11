package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A modifySpec is a findAndModify command.
type modifySpec struct {
	filter, change bson.Raw
	o              db.ModifyOptions
}

// parseModify reads {query, sort, update, remove, new, fields, upsert, arrayFilters}. A
// field update that is there must be of a form that can be one; that there is an update or
// a remove, and not both, is checked by package db, which has the same rule for its other
// callers.
func parseModify(cmd bson.Raw) (s modifySpec, err error) {
	s = modifySpec{filter: sub(cmd, "query"), change: updateIn(cmd, "update")}
	s.o = db.ModifyOptions{
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

// modifiedReply tells what was done as MongoDB does: lastErrorObject and value. n counts
// the document that was found or made. value is null when there is nothing to show: an
// upsert without new has no document before it.
func modifiedReply(m *db.Modified, o db.ModifyOptions) bson.D {
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

// cmdFindAndModify is {findAndModify, query, sort, update or remove, new, fields, upsert}.
// Find and change are one operation: no other write of this device comes between.
func (rn *Runner) cmdFindAndModify(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	s, err := parseModify(cmd)
	if err != nil {
		return nil, err
	}
	m, err := rn.db.Collection(name).FindAndModify(ctx, s.filter, s.change, s.o)
	if err != nil {
		return nil, err
	}
	return modifiedReply(&m, s.o), nil
}
