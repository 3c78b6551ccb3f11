package command

import (
	"context"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// cmdCount is {count, query, skip, limit, hint}.
func (rn *Runner) cmdCount(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	n, err := rn.db.Collection(name).CountWith(ctx, sub(cmd, "query"), countOptions(cmd))
	return bson.D{{Key: "n", Value: n}}, err
}

// countOptions reads the options of count; a negative limit means its absolute value, as
// in MongoDB.
func countOptions(cmd bson.Raw) db.CountOptions {
	limit := number(cmd, "limit")
	return db.CountOptions{Skip: number(cmd, "skip"), Limit: max(limit, -limit), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
}

// cmdDistinct is {distinct, key, query}; the values come in BSON order. No values are an
// empty array in the reply, not null.
func (rn *Runner) cmdDistinct(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	values, err := rn.db.Collection(name).DistinctWith(ctx, string(value.Get(cmd, "key").Str()), sub(cmd, "query"), distinctOptions(cmd))
	if values == nil {
		values = []bson.RawValue{}
	}
	return bson.D{{Key: "values", Value: values}}, err
}

// distinctOptions are shared by the command and its explanation, so that what is explained
// is what runs; so are findOptions and countOptions.
func distinctOptions(cmd bson.Raw) db.FindOptions {
	return db.FindOptions{Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
}

func findOptions(cmd bson.Raw) db.FindOptions {
	return db.FindOptions{
		Sort: sub(cmd, "sort"), Projection: sub(cmd, "projection"),
		Skip: number(cmd, "skip"), Limit: number(cmd, "limit"), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd),
	}
}

// maxTime returns maxTimeMS; 0 for no bound. It is bounded by 2^31 milliseconds, about
// where MongoDB has its bound, which is far from where a time.Duration overflows. A
// negative number was refused by the table.
func maxTime(cmd bson.Raw) time.Duration {
	return time.Duration(min(max(0, number(cmd, "maxTimeMS")), 1<<31)) * time.Millisecond
}

// cmdFind is {find, filter, sort, projection, skip, limit, batchSize, singleBatch …}. What
// the first batch took of maxTimeMS is not there for the next. At least 1 ns is left of a
// bound that is used up, because 0 would mean that there is none.
func (rn *Runner) cmdFind(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	began := time.Now()
	cur, err := rn.db.Collection(name).Find(ctx, sub(cmd, "filter"), findOptions(cmd))
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(cmd, "batchSize").Exists() {
		n = number(cmd, "batchSize")
	}
	oc := &openCursor{rows: cur, ns: name, idle: cursorIdle, budget: maxTime(cmd)}
	if oc.budget > 0 {
		oc.budget = max(1, oc.budget-time.Since(began))
	}
	if flag(cmd, "noCursorTimeout", false) {
		oc.idle = cursorIdleLong
	}
	return rn.batchReply(ctx, oc, 0, n, "firstBatch", flag(cmd, "singleBatch", false))
}

// cmdGetMore is {getMore: id, collection, batchSize}, of a cursor, a watch or a live query.
// Feeds are asked first; the ids of both are random numbers of one range, so that they do
// not meet. A maxTimeMS is how long a subscription waits for its first change; a cursor has what is
// left of the time that its command had. Without a batchSize a cursor's batch is bounded by
// its bytes only.
func (rn *Runner) cmdGetMore(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	if r, ok, err := rn.moreOfSubscription(ctx, cmd); ok {
		return r, err
	}
	id := number(cmd, "getMore")
	oc, err := rn.cursors.take(id, string(value.Get(cmd, "collection").Str()))
	if err != nil {
		return nil, err
	}
	n := number(cmd, "batchSize")
	if n <= 0 {
		n = 1 << 30
	}
	return rn.batchReply(ctx, oc, id, n, "nextBatch", false)
}

// cmdKillCursors is {killCursors, cursors: [id, …]}. A cursor that another command is
// reading at this moment is not found, and goes on. All ids are read before the first
// cursor is killed.
func (rn *Runner) cmdKillCursors(_ context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	ids := value.Get(cmd, "cursors")
	if !ids.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "killCursors needs an array \"cursors\" of numbers")
	}
	var named []int64
	it := value.Elements(ids.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		id, ok := whole(v)
		if !ok {
			return nil, fault.Errorf(fault.TypeMismatch, "a cursor id must be a whole number")
		}
		named = append(named, id)
	}
	killed, missing := bson.A{}, bson.A{}
	for _, id := range named {
		if rn.killSubscription(id) || rn.cursors.kill(id) {
			killed = append(killed, id)
		} else {
			missing = append(missing, id)
		}
	}
	return bson.D{
		{Key: "cursorsKilled", Value: killed},
		{Key: "cursorsNotFound", Value: missing},
		{Key: "cursorsAlive", Value: bson.A{}},
		{Key: "cursorsUnknown", Value: bson.A{}},
	}, nil
}

// cmdExplain explains find, count, distinct, aggregate, and what update, delete and
// findAndModify look for. The verbosity is MongoDB's: queryPlanner tells the plan, the other two run it and
// count what was looked at. Without one it is run, as in MongoDB. A write is never done:
// only its search is run.
func (rn *Runner) cmdExplain(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	inner := value.Get(cmd, "explain")
	if !inner.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "explain needs a command document")
	}
	run := true
	if v := value.Get(cmd, "verbosity"); v.Exists() {
		switch verbosity := string(v.Str()); verbosity {
		case "queryPlanner":
			run = false
		case "executionStats", "allPlansExecution":
		default:
			return nil, fault.Errorf(fault.BadValue, "explain: unknown verbosity %q", verbosity)
		}
	}
	it := value.Elements(inner.Data)
	k, v, _ := it.Next()
	d, err := rn.explain(ctx, string(k), string(v.Str()), inner.Data, run)
	if err != nil {
		return nil, err
	}
	return append(d, bson.E{Key: "command", Value: bson.Raw(inner.Data)}), nil
}

// explain tells what the command cmd looks for and how; run says to do it and count. The
// inner command is checked like one that runs, so that a field which is misspelled is not
// explained away.
func (rn *Runner) explain(ctx context.Context, name, coll string, cmd bson.Raw, run bool) (bson.D, error) {
	c := lookup(name)
	if c != nil {
		if err := c.check(name, cmd); err != nil {
			return nil, err
		}
	}
	if c == nil || c.explain == nil {
		return nil, fault.Errorf(fault.CommandNotFound, "explain does not know the command %q", name)
	}
	return c.explain(rn, ctx, coll, cmd, run)
}

// explaining explains a command by what it looks for.
func explaining(look func(cmd bson.Raw) (looked, error)) func(*Runner, context.Context, string, bson.Raw, bool) (bson.D, error) {
	return func(rn *Runner, ctx context.Context, coll string, cmd bson.Raw, run bool) (bson.D, error) {
		l, err := look(cmd)
		if err != nil {
			return nil, err
		}
		return rn.db.Collection(coll).ExplainWith(ctx, l.filter, l.o, db.ExplainOptions{Count: l.count, Run: run})
	}
}

// looked is what a command looks for; count says that only the number matters. It is the
// common form in which commands tell what explain has to plan, whatever else they do.
type looked struct {
	filter bson.Raw
	o      db.FindOptions
	count  bool
}

func explainFind(cmd bson.Raw) (looked, error) {
	return looked{filter: sub(cmd, "filter"), o: findOptions(cmd)}, nil
}

func explainCount(cmd bson.Raw) (looked, error) {
	c := countOptions(cmd)
	o := db.FindOptions{Skip: c.Skip, Limit: c.Limit, Hint: c.Hint, MaxTime: c.MaxTime}
	return looked{filter: sub(cmd, "query"), o: o, count: true}, nil
}

func explainDistinct(cmd bson.Raw) (looked, error) {
	return looked{filter: sub(cmd, "query"), o: distinctOptions(cmd)}, nil
}

// explainModify has the limit 1, as the command changes the first document in the order of
// its sort.
func explainModify(cmd bson.Raw) (looked, error) {
	return looked{filter: sub(cmd, "query"), o: db.FindOptions{Sort: sub(cmd, "sort"), Limit: 1}}, nil
}

func explainUpdate(cmd bson.Raw) (looked, error) {
	return explainStatement(cmd, "update.updates", updateFields)
}

func explainDelete(cmd bson.Raw) (looked, error) {
	return explainStatement(cmd, "delete.deletes", deleteFields)
}

// explainStatement explains the one statement of an update or delete, which is in the field
// after the point of where. MongoDB explains one statement only, too. A delete has a limit;
// an update has not, and is explained as if it looked for all that match.
func explainStatement(cmd bson.Raw, where string, fields map[string]argKind) (looked, error) {
	_, field, _ := strings.Cut(where, ".")
	ops, err := list(cmd, field)
	if err != nil || len(ops) != 1 {
		return looked{}, fault.Errorf(fault.InvalidOptions, "explain needs one operation in %q", field)
	}
	if err := checkArgs(where, value.Elements(ops[0]), fields); err != nil {
		return looked{}, err
	}
	l := looked{filter: sub(ops[0], "q")}
	if !flag(ops[0], "multi", false) && number(ops[0], "limit") != 0 {
		l.o.Limit = 1
	}
	return l, nil
}
