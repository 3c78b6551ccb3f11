package db

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
)

// CountOptions tunes CountWith. The zero value counts all.
type CountOptions struct {
	Skip, Limit int64 // a Limit of 0 means none
	Hint        any   // as in FindOptions
	MaxTime     time.Duration
}

// Count counts the documents that match filter; nil counts all, at once.
func (c *Collection) Count(ctx context.Context, filter any) (int64, error) {
	return c.CountWith(ctx, filter, CountOptions{})
}

// CountWith is Count with options. Where an index holds just what matches its
// keys are counted, and no document is read.
func (c *Collection) CountWith(ctx context.Context, filter any, o CountOptions) (int64, error) {
	f, err := encoded("filter", filter)
	if err != nil {
		return 0, err
	}
	hint, err := encodedHint(o.Hint)
	if err != nil {
		return 0, err
	}
	v, err := c.db.fold.Acquire()
	if err != nil {
		return 0, err
	}
	defer v.Release()
	ctx, cancel := search.WithMaxTime(ctx, o.MaxTime)
	defer cancel()
	s, err := search.For(ctx, v, c.name, search.Options{Filter: f, Skip: o.Skip, Limit: o.Limit, Hint: hint}, true)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.Ctx = ctx
	n, err := s.Count()
	if n = max(0, n-o.Skip); o.Limit > 0 {
		n = min(n, o.Limit)
	}
	return n, search.TimeError(ctx, err)
}

// Distinct returns the different values of path in the documents that match
// filter, those of arrays one by one, in BSON order; at most 8 MiB of them. Of
// equal values, such as 1 and 1.0, it returns that of the first document by _id.
func (c *Collection) Distinct(ctx context.Context, path string, filter any) ([]bson.RawValue, error) {
	return c.DistinctWith(ctx, path, filter, FindOptions{})
}

// DistinctWith is Distinct with options: Hint, MaxTime and NoIndex.
func (c *Collection) DistinctWith(ctx context.Context, path string, filter any, o FindOptions) ([]bson.RawValue, error) {
	p, err := value.ParsePath(path)
	if err != nil {
		return nil, err
	}
	so, err := o.search(filter)
	if err != nil {
		return nil, err
	}
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	ctx, cancel := search.WithMaxTime(ctx, o.MaxTime)
	defer cancel()
	s, err := search.New(ctx, v, c.name, so)
	if err != nil || s.C == nil {
		return nil, err
	}
	defer s.Close()
	s.Ctx = ctx
	d := &search.Distinct{Path: p}
	done := false
	if x := s.DistinctIndex(path); x != nil {
		done, err = s.Skim(x, d)
	}
	if err == nil && !done {
		d, err = s.Distinct(p)
	}
	if err != nil {
		return nil, search.TimeError(ctx, err)
	}
	out := make([]bson.RawValue, 0, len(d.Values))
	for _, k := range slices.Sorted(maps.Keys(d.Values)) {
		out = append(out, d.Values[k].V.Raw())
	}
	return out, nil
}
