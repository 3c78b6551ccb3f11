package command

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// cmdInsert is {insert, documents, ordered}. Documents are checked and written together,
// several to a record. Ordered, it ends at the first refusal and what was before it stands;
// otherwise each document stands or falls for itself. n counts those that stand.
func (rn *Runner) cmdInsert(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	docs, err := list(cmd, "documents")
	if err != nil {
		return nil, err
	}
	ids, errs, err := rn.db.Collection(name).InsertMany(ctx, docs, db.InsertOptions{Unordered: !flag(cmd, "ordered", true)})
	if err != nil {
		return nil, err
	}
	var out []bson.D
	for _, e := range errs {
		out = append(out, writeError(e.Index, e.Err))
	}
	return writeErrors(bson.D{{Key: "n", Value: int32(len(ids))}}, out), nil
}

// An updateSpec is one statement of an update command.
type updateSpec struct {
	filter, update bson.Raw
	o              db.UpdateOptions
}

// updateIn returns the update in a field of a command: a document, or a pipeline
// in the form in which it is logged.
func updateIn(cmd bson.Raw, field string) bson.Raw {
	if v := value.Get(cmd, field); v.IsArray() {
		return update.Pipeline(v)
	}
	return sub(cmd, field)
}

// parseUpdate reads {q, u, multi, upsert, arrayFilters}.
func parseUpdate(u bson.Raw) (s updateSpec, err error) {
	if err := checkArgs("update.updates", value.Elements(u), updateFields); err != nil {
		return s, err
	}
	s = updateSpec{filter: sub(u, "q"), update: updateIn(u, "u")}
	s.o = db.UpdateOptions{Many: flag(u, "multi", false), Upsert: flag(u, "upsert", false)}
	if s.filter == nil || s.update == nil {
		return s, fault.Errorf(fault.FailedToParse, "an update needs a document q and a document or pipeline u")
	}
	if value.Get(u, "arrayFilters").Exists() {
		s.o.ArrayFilters, err = list(u, "arrayFilters")
	}
	return s, err
}

// statements reads all statements of an update or a delete command, as MongoDB does, so that
// one that cannot be read fails the command before any is done.
func statements[S any](cmd bson.Raw, field string, parse func(bson.Raw) (S, error)) ([]S, error) {
	all, err := list(cmd, field)
	if err != nil {
		return nil, err
	}
	out := make([]S, len(all))
	for i, x := range all {
		if out[i], err = parse(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// An updateTotal is what the statements of an update command did.
type updateTotal struct {
	n, modified int64
	upserted    []bson.D
}

// MongoDB counts an upserted document in n, though it matched nothing, and never in
// nModified.
func (t *updateTotal) add(i int, r db.UpdateResult) {
	t.n, t.modified = t.n+r.Matched, t.modified+r.Modified
	if r.UpsertedID.Type != 0 {
		t.n++
		t.upserted = append(t.upserted, bson.D{{Key: "index", Value: int32(i)}, {Key: "_id", Value: r.UpsertedID}})
	}
}

func (t *updateTotal) reply() bson.D {
	reply := bson.D{{Key: "n", Value: int32(t.n)}, {Key: "nModified", Value: int32(t.modified)}}
	if t.upserted != nil {
		reply = append(reply, bson.E{Key: "upserted", Value: t.upserted})
	}
	return reply
}

// cmdUpdate is {update, updates: [{q, u, …}], ordered}. Each statement is a write of its
// own: those before a refused one stand. A statement that cannot be read is an error of the
// command and not of the statement, and then none is done. The end of the caller or of the
// database is no refusal: nobody knows whether the statement at hand was written.
func (rn *Runner) cmdUpdate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	ups, err := statements(cmd, "updates", parseUpdate)
	if err != nil {
		return nil, err
	}
	var total updateTotal
	var errs []bson.D
	for i, s := range ups {
		r, err := rn.db.Collection(name).Update(ctx, s.filter, s.update, s.o)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, db.ErrClosed) {
				return nil, err
			}
			errs = append(errs, writeError(i, err))
			if flag(cmd, "ordered", true) {
				break
			}
			continue
		}
		total.add(i, r)
	}
	return writeErrors(total.reply(), errs), nil
}

// A deleteSpec is one statement of a delete command; many says that it deletes all that
// match.
type deleteSpec struct {
	filter bson.Raw
	many   bool
}

// parseDelete reads {q, limit}. MongoDB knows no other limits than 0 and 1 and has no
// default: which was meant is too important to guess.
func parseDelete(x bson.Raw) (s deleteSpec, err error) {
	if err := checkArgs("delete.deletes", value.Elements(x), deleteFields); err != nil {
		return s, err
	}
	if s.filter = sub(x, "q"); s.filter == nil {
		return s, fault.Errorf(fault.FailedToParse, "a delete needs a document q")
	}
	limit := value.Get(x, "limit")
	n := number(x, "limit")
	if !limit.Exists() || n > 1 {
		return s, fault.Errorf(fault.FailedToParse, "a delete needs a limit: 1, or 0 to delete all that match")
	}
	s.many = n == 0
	return s, nil
}

// cmdDelete is {delete, deletes: [{q, limit}], ordered}, likewise. A statement that fails
// half way counts what it has deleted.
func (rn *Runner) cmdDelete(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	ds, err := statements(cmd, "deletes", parseDelete)
	if err != nil {
		return nil, err
	}
	var n int64
	var errs []bson.D
	for i, s := range ds {
		k, err := rn.db.Collection(name).Delete(ctx, s.filter, s.many)
		n += k
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, db.ErrClosed) {
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
