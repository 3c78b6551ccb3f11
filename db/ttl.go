package db

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

const (
	// sweepEvery is how often expired documents are deleted.
	sweepEvery = time.Minute
	// sweepGrace is how long the other replicas leave the deletion to the one
	// that wrote a document last, so that they do not all log it.
	sweepGrace = time.Hour
	sweepBatch = 1000
)

// expiring returns the indexes by which documents of c expire.
func expiring(xs []*index) (out []*index) {
	for _, x := range xs {
		if x.ExpireAfter != nil && !x.shadow {
			out = append(out, x)
		}
	}
	return out
}

// wall returns real time, as the clock has it.
func (db *DB) wall() time.Time {
	if db.clock.Wall != nil {
		return db.clock.Wall()
	}
	return time.Now()
}

// expired reports whether doc has expired at now: no reader sees it any more.
func (c *coll) expired(doc []byte, now time.Time) bool {
	for _, x := range c.ttl {
		if x.expires(doc, now) {
			return true
		}
	}
	return false
}

// cutoff is the latest date that has expired at now.
func (ix *index) cutoff(now time.Time) int64 { return now.Add(-*ix.ExpireAfter).UnixMilli() }

func (ix *index) expires(doc []byte, now time.Time) bool {
	if ix.filter != nil && !ix.filter.Match(doc) {
		return false
	}
	var room [4]value.Value
	vals, _ := ix.paths[0].DistinctValues(room[:0], doc)
	limit := ix.cutoff(now)
	for _, v := range vals {
		if v.Type == bson.TypeDateTime && int64(binary.LittleEndian.Uint64(v.Data)) <= limit {
			return true
		}
	}
	return false
}

// Sweep deletes the documents that have expired and returns how many it
// deleted. A deletion is an operation like any other, whose filter names the
// date: a concurrent change to a later one survives. Documents that another
// device wrote last are left to that device for an hour.
//
// An open database sweeps every minute by itself.
func (db *DB) Sweep(ctx context.Context) (deleted int64, err error) {
	v, _, err := db.look()
	if v == nil || err != nil {
		return 0, err // suspended: the next use goes on
	}
	defer v.release()
	now := db.wall()
	for _, c := range v.cat.colls {
		for _, x := range c.ttl {
			n, err := db.sweep(ctx, v, c, x, now)
			deleted += n
			if err != nil {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

func (db *DB) sweep(ctx context.Context, v *view, c *coll, x *index, now time.Time) (deleted int64, err error) {
	filter, err := x.expiredFilter(now)
	if err != nil {
		return 0, err
	}
	s, err := db.newSearch(seeingAll(ctx), v, c.name, FindOptions{Filter: filter, expired: true})
	if err != nil {
		return 0, err
	}
	defer s.close()
	var ops []payload.Op
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		results, _, err := db.write(ctx, ops, each)
		for _, r := range results {
			if r == nil {
				deleted++
			} else if err == nil && !errors.Is(r, errNoMatch) {
				err = r
			}
		}
		ops = ops[:0]
		return err
	}
	for f, err := s.next(); f != nil || err != nil; f, err = s.next() {
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
		ops = append(ops, payload.Op{Kind: payload.Delete, Coll: c.name, ID: payload.DocID(f.doc), Key: f.idKey, Filter: filter})
		if len(ops) == sweepBatch {
			if err := flush(); err != nil {
				return deleted, err
			}
		}
	}
	return deleted, flush()
}

// expiredFilter matches what has expired at now. It names that moment, so it
// means the same wherever it is judged.
func (ix *index) expiredFilter(now time.Time) (bson.Raw, error) {
	date := bson.D{{Key: ix.Keys[0].Path, Value: bson.D{{Key: "$lte", Value: bson.DateTime(ix.cutoff(now))}}}}
	if ix.Partial == nil {
		return bson.Marshal(date)
	}
	return bson.Marshal(bson.D{{Key: "$and", Value: bson.A{date, ix.Partial}}})
}

// mayDelete reports whether this replica is to delete an expired document: it
// wrote it last, or whoever did has not deleted it for long.
func (db *DB) mayDelete(v *view, x *index, f *found, now time.Time) (bool, error) {
	if x.expires(f.doc, now.Add(-sweepGrace)) {
		return true, nil
	}
	as, err := db.journal.Arrivals(f.last.n-1, 1)
	if err != nil {
		return false, err
	}
	return len(as) > 0 && as[0].N == f.last.n && v.own[as[0].ID.Log], nil
}

// scheduleSweep has the next sweep run if documents expire at all; db.mu is held.
func (db *DB) scheduleSweep() {
	if db.sweeper != nil || db.closed || db.view == nil {
		return
	}
	for _, c := range db.view.cat.colls {
		if len(c.ttl) > 0 {
			db.sweeper = time.AfterFunc(sweepEvery, db.sweepNow)
			return
		}
	}
}

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
		db.logf("sweep of expired documents: %v", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.sweeper = nil
	db.scheduleSweep()
}
