package search

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/value"
)

// Stats runs the search, and releases its view. It does what a caller would do, and throws
// the documents away. A count goes the way of a count.
func (s *Search) Stats(ctx context.Context, count bool) (bson.D, error) {
	began, n, cost := time.Now(), int64(0), 0.0
	var err error
	if count {
		s.Ctx = ctx
		n, err = s.Count()
		n = max(0, n-s.o.Skip)
		cost = s.cost()
		s.Close()
		s.v.Release()
	} else {
		var cur *Cursor
		if cur, err = s.Cursor(ctx); err != nil {
			return nil, err
		}
		for cur.Next() {
			n++
		}
		err = cur.Err()
		cost = s.cost()
		cur.Close()
	}
	d := bson.D{
		{Key: "executionSuccess", Value: err == nil},
		{Key: "nReturned", Value: n},
		{Key: "executionTimeMillis", Value: time.Since(began).Milliseconds()},
		{Key: "totalKeysExamined", Value: s.keysExamined.Load()},
		{Key: "totalDocsExamined", Value: s.DocsExamined.Load()},
		{Key: "cost", Value: cost},
	}
	if s.Overtook != nil {
		e := Explainer{S: s}
		d = append(d, bson.E{Key: "overtakenBy", Value: e.read(s.Overtook)})
	}
	return d, err
}

// An Explainer writes the stages of plans. The names of stages and their fields are
// MongoDB's, as far as it has them.
type Explainer struct {
	S     *Search // planned, maybe not run
	Count bool    // only the number is asked for
}

func stage(name string, fields ...bson.E) bson.D {
	return append(bson.D{{Key: "stage", Value: name}}, fields...)
}

func input(d bson.D) bson.E { return bson.E{Key: "inputStage", Value: d} }

// Queries returns the plan that wins and those that lost.
func (e *Explainer) Queries(namespace string) (bson.D, error) {
	wins, err := e.plan(e.S.Access)
	if err != nil {
		return nil, err
	}
	rejected := bson.A{}
	for _, a := range e.S.Found {
		if a != e.S.Access {
			d, err := e.plan(a)
			if err != nil {
				return nil, err
			}
			rejected = append(rejected, d)
		}
	}
	return bson.D{{Key: "queryPlanner", Value: bson.D{
		{Key: "namespace", Value: namespace},
		{Key: "parsedQuery", Value: value.OrEmpty(e.S.o.Filter)},
		{Key: "winningPlan", Value: wins},
		{Key: "rejectedPlans", Value: rejected},
		{Key: "keysCounted", Value: e.S.Counted},
	}}}, nil
}

// plan returns the stages of a, the last first.
func (e *Explainer) plan(a *plan.Access) (bson.D, error) {
	if a == nil {
		return stage("EOF"), nil
	}
	if e.S.planner != nil {
		if err := e.S.planner.Estimate(a); err != nil {
			return nil, err
		}
	}
	d := e.read(a)
	o := &e.S.o
	if sort := e.S.Sort; sort != nil && !a.Order.Whole && !e.Count {
		fields := []bson.E{{Key: "sortPattern", Value: o.Sort}, {Key: "memLimit", Value: int64(MaxSort)}}
		if n := a.Order.Fields; n > 0 { // within ties only
			pre := bson.A{}
			for _, f := range sort.Fields()[:n] {
				pre = append(pre, f.Path)
			}
			fields = append(fields, bson.E{Key: "sortedBy", Value: pre})
		}
		if o.Limit > 0 {
			fields = append(fields, bson.E{Key: "limitAmount", Value: o.want()})
		}
		d = stage("SORT", append(fields, input(d))...)
	}
	if o.Skip > 0 && !e.Count {
		d = stage("SKIP", bson.E{Key: "skipAmount", Value: o.Skip}, input(d))
	}
	if o.Limit > 0 && !e.Count {
		d = stage("LIMIT", bson.E{Key: "limitAmount", Value: o.Limit}, input(d))
	}
	if e.S.proj != nil {
		d = stage("PROJECTION_DEFAULT", bson.E{Key: "transformBy", Value: o.Projection}, input(d))
	}
	if e.Count {
		d = stage("COUNT", input(d))
	}
	return append(d, bson.E{Key: "estimate", Value: bson.D{
		{Key: "keys", Value: int64(a.Keys)}, {Key: "docs", Value: int64(a.Docs)}, {Key: "cost", Value: a.Cost},
	}}), nil
}

// read returns the stages that give the documents.
func (e *Explainer) read(a *plan.Access) bson.D {
	filter := bson.E{Key: "filter", Value: value.OrEmpty(e.S.o.Filter)}
	direction := bson.E{Key: "direction", Value: "forward"}
	if a.Reverse {
		direction.Value = "backward"
	}
	switch {
	case e.S.Text != nil:
		return stage("TEXT_MATCH", filter, bson.E{Key: "indexName", Value: a.Index.Name})
	case a.Parts != nil:
		parts := bson.A{}
		for _, p := range a.Parts {
			parts = append(parts, e.keys(p))
		}
		return stage("FETCH", filter, input(stage("OR", bson.E{Key: "inputStages", Value: parts})))
	case a.Index == nil && len(a.Ids) == 1:
		return stage("IDHACK", filter)
	case a.Index == nil && a.Ids == nil && a.Bounds[0].Known():
		return stage("CLUSTERED_IXSCAN", filter, direction, e.bounds(a))
	case a.Index == nil && a.Ids == nil:
		return stage("COLLSCAN", filter, direction)
	case e.Count && a.Exact:
		return e.keys(a)
	}
	return stage("FETCH", filter, input(e.keys(a)))
}

// keys returns the stages that give the _ids.
func (e *Explainer) keys(a *plan.Access) bson.D {
	if a.Index == nil {
		return stage("IXSCAN", bson.E{Key: "keyPattern", Value: bson.D{{Key: "_id", Value: int32(1)}}},
			bson.E{Key: "indexName", Value: "_id_"}, e.bounds(a))
	}
	x, pattern := a.Index, bson.D{}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		pattern = append(pattern, bson.E{Key: k.Path, Value: dir})
	}
	direction := "forward"
	if a.Reverse {
		direction = "backward"
	}
	name := "IXSCAN"
	if e.Count && a.Exact {
		name = "COUNT_SCAN"
	}
	d := stage(name, bson.E{Key: "keyPattern", Value: pattern}, bson.E{Key: "indexName", Value: x.Name},
		bson.E{Key: "isMultiKey", Value: x.Multi.Load()}, bson.E{Key: "isUnique", Value: x.Unique}, bson.E{Key: "isSparse", Value: x.Sparse},
		bson.E{Key: "isPartial", Value: x.Partial != nil}, bson.E{Key: "direction", Value: direction}, e.bounds(a))
	if n := len(a.Streams); n > 1 {
		d = stage("SORT_MERGE", bson.E{Key: "sortPattern", Value: e.S.o.Sort}, bson.E{Key: "inputs", Value: int32(n)}, input(d))
	}
	return d
}

// bounds writes the intervals of each field, in the order of the keys. A field that the
// access does not bound has all values, from MinKey to MaxKey or the other way round.
func (e *Explainer) bounds(a *plan.Access) bson.E {
	keys := []keyspace.IndexKey{{Path: "_id"}}
	if a.Index != nil {
		keys = a.Index.Keys
	}
	d := bson.D{}
	for i, k := range keys {
		out := bson.A{}
		for j := range a.Bounds[i].In {
			out = append(out, a.Bounds[i].In[j].Text(k.Desc))
		}
		if !a.Bounds[i].Known() {
			in := plan.Interval{From: plan.Edge{V: value.Value{Type: bson.TypeMinKey}}, To: plan.Edge{V: value.Value{Type: bson.TypeMaxKey}}}
			if k.Desc {
				in.From, in.To = in.To, in.From
			}
			out = append(out, in.Text(k.Desc))
		}
		d = append(d, bson.E{Key: k.Path, Value: out})
	}
	return bson.E{Key: "indexBounds", Value: d}
}
