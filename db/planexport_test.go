package db

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// SetMaxSeen sets how many bytes of _ids a search remembers, until the function
// that it returns is called.
func SetMaxSeen(n int) func() {
	was := maxSeen
	maxSeen = n
	return func() { maxSeen = was }
}

// DistinctByScan is Distinct without indexes.
func DistinctByScan(ctx context.Context, c *Collection, path string, filter bson.Raw) ([]bson.RawValue, error) {
	return c.distinct(ctx, path, FindOptions{Filter: filter, NoIndex: true})
}

// FindTwice asks one question of one moment, by the planner and by a scan.
func FindTwice(ctx context.Context, c *Collection, o FindOptions) (by, scan []bson.Raw, err error) {
	v, err := c.db.acquire()
	if err != nil {
		return nil, nil, err
	}
	defer v.release()
	all := func() (out []bson.Raw, err error) {
		v.refs.Add(1)
		cur, err := c.db.findIn(ctx, v, c.name, o)
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
	o.NoIndex = true
	scan, err = all()
	return by, scan, err
}

// TickCursors does what the cursors' timer does, at a time.
func (db *DB) TickCursors(now time.Time) { db.cursors.tick(now) }

// OpenCursors returns how many cursors commands have left open.
func (db *DB) OpenCursors() int {
	db.cursors.mu.Lock()
	defer db.cursors.mu.Unlock()
	return len(db.cursors.open)
}

// CursorMemory returns how many bytes they hold.
func (db *DB) CursorMemory() int64 {
	db.cursors.mu.Lock()
	defer db.cursors.mu.Unlock()
	return db.cursors.memory
}
