package db

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/search"
)

// Explain says how a query is run, in the form of MongoDB's explain: the plan
// that wins and those that lost, with bounds and what each costs (keys and
// documents to look at, counted or guessed; cost, where 1 is a document scanned). With run
// set the query is run, too, and what it looked at is in executionStats.
func (c *Collection) Explain(ctx context.Context, filter any, o FindOptions, run bool) (bson.Raw, error) {
	d, err := c.ExplainWith(ctx, filter, o, ExplainOptions{Run: run})
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
func (c *Collection) ExplainWith(ctx context.Context, filter any, o FindOptions, e ExplainOptions) (bson.D, error) {
	so, err := o.search(filter)
	if err != nil {
		return nil, err
	}
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	s, err := search.For(ctx, v, c.name, so, e.Count)
	if err != nil {
		v.Release()
		return nil, err
	}
	x := search.Explainer{S: s, Count: e.Count}
	out, err := x.Queries(c.db.Namespace(c.name))
	if err != nil || !e.Run {
		s.Close()
		v.Release()
		return out, err
	}
	stats, err := s.Stats(ctx, e.Count)
	return append(out, bson.E{Key: "executionStats", Value: stats}), err
}
