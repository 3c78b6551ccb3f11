package db

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
)

// SetMaxSeen sets how many bytes of _ids a search remembers, until the function
// that it returns is called.
func SetMaxSeen(n int) func() {
	was := search.MaxSeen
	search.MaxSeen = n
	return func() { search.MaxSeen = was }
}

// DistinctByScan is Distinct without indexes.
func DistinctByScan(ctx context.Context, c *Collection, path string, filter bson.Raw) ([]bson.RawValue, error) {
	return c.DistinctWith(ctx, path, filter, FindOptions{NoIndex: true})
}

// FindTwice asks one question of one moment, by the planner and by a scan.
func FindTwice(ctx context.Context, c *Collection, filter any, o FindOptions) (by, scan []bson.Raw, err error) {
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, nil, err
	}
	defer v.Release()
	so, err := o.search(filter)
	if err != nil {
		return nil, nil, err
	}
	all := func() (out []bson.Raw, err error) {
		v.Refs.Add(1)
		cur, err := c.db.findIn(ctx, v, c.name, so)
		if err != nil {
			return nil, err
		}
		defer cur.Close()
		for cur.Next() {
			out = append(out, cur.Raw())
		}
		return out, cur.Err()
	}
	if by, err = all(); err != nil {
		return nil, nil, err
	}
	so.NoIndex = true
	scan, err = all()
	return by, scan, err
}

// DistinctLooked returns how many documents are looked at for the distinct values of an
// indexed path, and whether skipping over the index gave all of them.
func DistinctLooked(ctx context.Context, c *Collection, path string) (docs int64, skipped bool, err error) {
	v, err := c.db.fold.Acquire()
	if err != nil {
		return 0, false, err
	}
	defer v.Release()
	s, err := search.New(ctx, v, c.name, search.Options{})
	if err != nil {
		return 0, false, err
	}
	defer s.Close()
	p, err := value.ParsePath(path)
	if err != nil {
		return 0, false, err
	}
	if skipped, err = s.Skim(s.DistinctIndex(path), &search.Distinct{Path: p}); err == nil && !skipped {
		_, err = s.Distinct(p)
	}
	return s.DocsExamined.Load(), skipped, err
}
