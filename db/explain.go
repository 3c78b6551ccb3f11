package db

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
)

// Explain says how a query is run, in the form of MongoDB's explain: the plan
// that wins and those that lost, with bounds, and the estimates that decided
// (keys and documents looked at; cost, where 1 is a document scanned). With run
// set the query is run, too, and what it looked at is in executionStats.
func (c *Collection) Explain(ctx context.Context, o FindOptions, run bool) (bson.Raw, error) {
	d, err := c.ExplainWith(ctx, o, ExplainOptions{Run: run})
	if err != nil {
		return nil, err
	}
	return bson.Marshal(d)
}

// ExplainOptions says what Explain is to explain.
type ExplainOptions struct {
	Count bool // the query is for the number of documents only
	Run   bool // run it, and say what it looked at
}

// ExplainWith is Explain with options; its result is not encoded.
func (c *Collection) ExplainWith(ctx context.Context, o FindOptions, e ExplainOptions) (bson.D, error) {
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	s, err := search.For(ctx, v, c.name, o.search(), e.Count)
	if err != nil {
		v.Release()
		return nil, err
	}
	x := search.Explainer{S: s, Count: e.Count}
	rejected := bson.A{}
	for _, a := range s.Found {
		if a != s.Access {
			rejected = append(rejected, x.Plan(a))
		}
	}
	out := bson.D{{Key: "queryPlanner", Value: bson.D{
		{Key: "namespace", Value: c.db.Namespace(c.name)},
		{Key: "parsedQuery", Value: value.OrEmpty(o.Filter)},
		{Key: "winningPlan", Value: x.Plan(s.Access)},
		{Key: "rejectedPlans", Value: rejected},
	}}}
	if !e.Run {
		s.Close()
		v.Release()
		return out, nil
	}
	stats, err := s.Stats(ctx, e.Count)
	return append(out, bson.E{Key: "executionStats", Value: stats}), err
}
