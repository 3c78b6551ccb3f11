package db

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

const (
	maxCursors = 100
	cursorIdle = 10 * time.Minute
	firstBatch = 101
	maxBatch   = 8 << 20 // bytes of a reply's documents
)

// cursors are the open cursors of command documents.
type cursors struct {
	mu   sync.Mutex // guards open
	open map[int64]*openCursor
}

type openCursor struct {
	*Cursor
	ns   string
	used time.Time
	next bson.RawValue // read but did not fit
}

func (db *DB) cmdCount(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	n, err := db.Collection(name).Count(ctx, sub(cmd, "query"))
	n = max(0, n-number(cmd, "skip"))
	if l := number(cmd, "limit"); l > 0 {
		n = min(n, l)
	}
	return bson.D{{Key: "n", Value: n}}, err
}

func (db *DB) cmdDistinct(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	p, err := value.ParsePath(string(value.Get(cmd, "key").Str()))
	if err != nil {
		return nil, err
	}
	cur, err := db.Collection(name).Find(ctx, FindOptions{Filter: sub(cmd, "query")})
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	out := bson.A{}
	size := 0
	seen := map[string]bool{}
	for cur.Next() {
		vals, multi := p.DistinctValues(nil, cur.Raw())
		for _, v := range vals {
			if !multi && !p.Lookup(cur.Raw()).Exists() {
				continue
			}
			k := string(value.AppendKey(nil, v, false))
			if !seen[k] && v.Type != bson.TypeUndefined {
				seen[k] = true
				out = append(out, v.Raw())
				if size += len(v.Data); size > maxBatch {
					return nil, fmt.Errorf("%w: the distinct values", ErrTooLarge)
				}
			}
		}
	}
	return bson.D{{Key: "values", Value: out}}, cur.Err()
}

func findOptions(cmd bson.Raw) FindOptions {
	return FindOptions{
		Filter: sub(cmd, "filter"), Sort: sub(cmd, "sort"), Projection: sub(cmd, "projection"),
		Skip: number(cmd, "skip"), Limit: number(cmd, "limit"),
	}
}

func (db *DB) cmdFind(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	// The cursor outlives the command that opens it.
	cur, err := db.find(context.WithoutCancel(ctx), name, findOptions(cmd))
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(cmd, "batchSize").Exists() {
		n = max(0, number(cmd, "batchSize"))
	}
	oc := &openCursor{Cursor: cur, ns: name}
	return db.batchReply(oc, 0, n, "firstBatch", flag(cmd, "singleBatch", false))
}

func (db *DB) cmdGetMore(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	if r, ok, err := db.moreOfFeed(ctx, cmd); ok {
		return r, err
	}
	id := number(cmd, "getMore")
	db.cursors.mu.Lock()
	oc := db.cursors.open[id]
	delete(db.cursors.open, id)
	db.cursors.mu.Unlock()
	if oc == nil || oc.ns != string(value.Get(cmd, "collection").Str()) {
		if oc != nil {
			oc.Close()
		}
		return nil, value.Errorf(43, "cursor id %d not found", id)
	}
	n := number(cmd, "batchSize")
	if n <= 0 {
		n = 1 << 30
	}
	return db.batchReply(oc, id, n, "nextBatch", false)
}

// batchReply reads up to n documents and keeps the cursor if there may be more.
func (db *DB) batchReply(oc *openCursor, id, n int64, field string, single bool) (bson.D, error) {
	docs := bson.A{}
	size, more := 0, true
	if oc.next.Type != 0 && n > 0 {
		docs, size = append(docs, oc.next), len(oc.next.Value)
		oc.next = bson.RawValue{}
	}
	for int64(len(docs)) < n && size < maxBatch {
		if more = oc.Next(); !more {
			break
		}
		d := oc.Raw()
		docs, size = append(docs, d), size+len(d)
	}
	if err := oc.Err(); err != nil {
		oc.Close()
		return nil, err
	}
	if more && !single && oc.Next() {
		oc.next = bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: oc.Raw()}
		if id == 0 {
			id = 1 + rand.Int64N(1<<62)
		}
		db.keep(id, oc)
	} else {
		id = 0
		oc.Close()
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: field, Value: docs}, {Key: "id", Value: id}, {Key: "ns", Value: db.namespace(oc.ns)}}}}, nil
}

// keep keeps a cursor open, closing idle ones and the longest unused over the limit.
func (db *DB) keep(id int64, oc *openCursor) {
	c := &db.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[int64]*openCursor{}
	}
	oc.used = time.Now()
	oldest := int64(0)
	for k, o := range c.open {
		if oc.used.Sub(o.used) > cursorIdle {
			o.Close()
			delete(c.open, k)
		} else if oldest == 0 || o.used.Before(c.open[oldest].used) {
			oldest = k
		}
	}
	if len(c.open) >= maxCursors {
		c.open[oldest].Close()
		delete(c.open, oldest)
	}
	c.open[id] = oc
}

func (db *DB) closeCursors() {
	db.cursors.mu.Lock()
	defer db.cursors.mu.Unlock()
	for _, c := range db.cursors.open {
		c.Close()
	}
	clear(db.cursors.open)
}
