package db

import (
	"context"
	"errors"
	"time"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/view"
)

const (
	// sweepEvery is how often expired documents are deleted.
	sweepEvery = time.Minute
	// sweepGrace is how long the other replicas leave the deletion to the one
	// that wrote a document last, so that they do not all log it.
	sweepGrace = time.Hour
	sweepBatch = 1000
)

// Sweep deletes the documents that have expired and returns how many it
// deleted. A deletion is an operation like any other, whose filter names the
// date: a concurrent change to a later one survives. Documents that another
// device wrote last are left to that device for an hour.
//
// An open database sweeps every minute by itself.
func (db *DB) Sweep(ctx context.Context) (deleted int64, err error) {
	v, _, err := db.fold.Look()
	if v == nil || err != nil {
		return 0, err // suspended: the next use goes on
	}
	defer v.Release()
	now := db.fold.Wall()
	for _, c := range v.Cat.Colls {
		for _, x := range c.TTL {
			n, err := db.sweep(ctx, v, c, x, now)
			deleted += n
			if err != nil {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

// sweep deletes what has expired by x, in batches. The operations carry the filter that
// found the documents, with its date, so that every replica judges by the same moment.
func (db *DB) sweep(ctx context.Context, v *view.View, c *keyspace.Coll, x *keyspace.Index, now time.Time) (deleted int64, err error) {
	filter, err := x.ExpiredFilter(now)
	if err != nil {
		return 0, err
	}
	s, err := search.New(view.SeeingAll(ctx), v, c.Name, search.Options{Filter: filter, Expired: true})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var ops []payload.Op
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		results, _, err := db.write(ctx, ops, fold.Each)
		for _, r := range results {
			if r == nil {
				deleted++
			} else if err == nil && !errors.Is(r, judge.ErrNoMatch) {
				err = r
			}
		}
		ops = ops[:0]
		return err
	}
	for f, err := s.Next(); f != nil || err != nil; f, err = s.Next() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return deleted, err
		}
		if mine, err := db.mayDelete(v, x, f, now); err != nil {
			return deleted, err
		} else if !mine {
			continue
		}
		ops = append(ops, payload.Op{Kind: payload.Delete, Coll: c.Name, ID: payload.DocID(f.Doc), Key: f.IDKey, Filter: filter})
		if len(ops) == sweepBatch {
			if err := flush(); err != nil {
				return deleted, err
			}
		}
	}
	return deleted, flush()
}

// mayDelete reports whether this replica is to delete an expired document: it
// wrote it last, or whoever did has not deleted it for long.
func (db *DB) mayDelete(v *view.View, x *keyspace.Index, f *view.Found, now time.Time) (bool, error) {
	if x.Expires(f.Doc, now.Add(-sweepGrace)) {
		return true, nil
	}
	as, err := db.fold.Journal.Arrivals(f.Last.N-1, 1)
	if err != nil {
		return false, err
	}
	return len(as) > 0 && as[0].N == f.Last.N && v.Own[as[0].ID.Log], nil
}

// scheduleSweep has the next sweep run if documents of cat expire at all.
func (db *DB) scheduleSweep(cat *keyspace.Catalog) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.sweeper != nil || db.closed {
		return
	}
	for _, c := range cat.Colls {
		if len(c.TTL) > 0 {
			db.sweeper = time.AfterFunc(sweepEvery, db.sweepNow)
			return
		}
	}
}

// sweepNow is what the timer does. The sweeper is set again only when it has ended, so two
// never run at once; close waits for it.
func (db *DB) sweepNow() {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return
	}
	db.wg.Add(1)
	db.mu.Unlock()
	defer db.wg.Done()
	if _, err := db.Sweep(db.life); err != nil && !errors.Is(err, ErrClosed) && db.life.Err() == nil {
		db.fold.Logf("sweep of expired documents: %v", err)
	}
	db.mu.Lock()
	db.sweeper = nil
	db.mu.Unlock()
	if v, _, err := db.fold.Look(); v != nil && err == nil {
		db.scheduleSweep(v.Cat)
		v.Release()
	}
}
