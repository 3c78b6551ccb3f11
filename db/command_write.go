package db

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

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
