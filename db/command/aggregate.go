package command

import (
	"cmp"
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// pipelineOf returns the stages of an aggregate command. Whether they are stages that exist
// is found when the pipeline is compiled.
func pipelineOf(cmd bson.Raw) ([]bson.Raw, error) {
	if v := value.Get(cmd, "pipeline"); !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "'pipeline' option must be specified as an array")
	}
	return list(cmd, "pipeline")
}

// cmdAggregate is {aggregate: collection or 1, pipeline, cursor: {batchSize}, let, hint,
// explain}. With 1 the pipeline begins without a collection, and the namespace is what
// MongoDB calls that. The document cursor is required as in MongoDB, where its absence once
// meant a reply without a cursor. As for a find, what the first batch took of maxTimeMS is
// gone.
func (rn *Runner) cmdAggregate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	began := time.Now()
	stages, err := pipelineOf(cmd)
	if err != nil {
		return nil, err
	}
	if flag(cmd, "explain", false) {
		return rn.explainAggregate(ctx, name, cmd, false)
	}
	batch := value.Get(cmd, "cursor")
	if !batch.Exists() {
		return nil, fault.Errorf(fault.FailedToParse, "The 'cursor' option is required, except for aggregate with the explain argument")
	}
	o := db.AggregateOptions{Let: sub(cmd, "let"), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
	a, err := rn.db.Collection(name).Aggregate(ctx, stages, o)
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(batch.Data, "batchSize").Exists() {
		n = number(batch.Data, "batchSize")
	}
	oc := &openCursor{rows: a, ns: cmp.Or(name, "$cmd.aggregate"), idle: cursorIdle, budget: maxTime(cmd)}
	if oc.budget > 0 {
		oc.budget = max(1, oc.budget-time.Since(began))
	}
	return rn.batchReply(ctx, oc, 0, n, "firstBatch", false)
}

// txAggregate answers with one batch: a transaction has no cursors. The size of a reply
// bounds it, like that of a find there. MongoDB explains nothing in one either.
func (rn *Runner) txAggregate(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	stages, err := pipelineOf(cmd)
	if err != nil {
		return nil, err
	}
	if flag(cmd, "explain", false) {
		return nil, fault.Errorf(fault.NotInTransaction, "aggregate with explain cannot be part of a transaction")
	}
	docs, err := tx.Aggregate(coll, stages, db.AggregateOptions{Let: sub(cmd, "let"), Hint: value.Get(cmd, "hint").Raw()})
	if err != nil {
		return nil, err
	}
	out, size := bson.A{}, 0
	for _, d := range docs {
		if size += len(d); size > maxBatch {
			return nil, fault.Errorf(fault.TooLarge, "the result has more than %d MiB, which is one reply: use $limit", maxBatch>>20)
		}
		out = append(out, d)
	}
	return rn.oneBatch(coll, out), nil
}

// explainAggregate explains an aggregate command. run says to run it and count; the field
// explain of the command itself only asks for the plan.
func (rn *Runner) explainAggregate(ctx context.Context, name string, cmd bson.Raw, run bool) (bson.D, error) {
	stages, err := pipelineOf(cmd)
	if err != nil {
		return nil, err
	}
	o := db.AggregateOptions{Let: sub(cmd, "let"), Hint: value.Get(cmd, "hint").Raw()}
	return rn.db.Collection(name).ExplainAggregate(ctx, stages, o, run)
}
