package db

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/view"
)

// FindOptions tunes a search. The zero value gives all that match, whole, in _id order.
type FindOptions struct {
	Sort, Projection any           // documents; nil means none
	Skip, Limit      int64         // a Limit of 0 means none
	Hint             any           // an index by name or key document, or {$natural: ±1}; nil means none
	MaxTime          time.Duration // that Find and the cursor may work, together; 0 means no bound
	NoIndex          bool          // scan, whatever indexes there are
}

// search returns what a filter and o ask of a search.
func (o *FindOptions) search(filter any) (out search.Options, err error) {
	out = search.Options{Skip: o.Skip, Limit: o.Limit, MaxTime: o.MaxTime, NoIndex: o.NoIndex}
	if out.Filter, err = encoded("filter", filter); err != nil {
		return out, err
	}
	if out.Sort, err = encoded("sort", o.Sort); err != nil {
		return out, err
	}
	if out.Projection, err = encoded("projection", o.Projection); err != nil {
		return out, err
	}
	out.Hint, err = encodedHint(o.Hint)
	return out, err
}

// A Cursor walks the result of a Find, which is that of one moment, whatever is
// written meanwhile. It belongs to one goroutine. The caller owes Close: until
// then the store keeps what that moment held.
type Cursor struct{ in *search.Cursor }

// Next moves to the next document.
func (c *Cursor) Next() bool { return c.in.Next() }

// Raw returns the current document, projected.
func (c *Cursor) Raw() bson.Raw { return c.in.Raw() }

// Document returns the current document, whole, with its metadata.
func (c *Cursor) Document() Document {
	f := c.in.Found()
	if f == nil {
		return Document{}
	}
	return Document{Raw: f.Doc, Mod: f.Mod}
}

// Err returns the error that ended the cursor, or nil.
func (c *Cursor) Err() error { return c.in.Err() }

// Close frees the cursor; it may be called twice.
func (c *Cursor) Close() { c.in.Close() }

// SetContext bounds what follows by ctx, in place of the context of Find.
func (c *Cursor) SetContext(ctx context.Context) { c.in.SetContext(ctx) }

// Held returns about how many bytes the cursor holds in memory.
func (c *Cursor) Held() int64 { return c.in.Held() }

// find runs a query; its cursor lives no longer than ctx.
func (db *DB) find(ctx context.Context, name string, o search.Options) (*search.Cursor, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	return db.findIn(ctx, v, name, o)
}

// findIn is find on a view that it releases.
func (db *DB) findIn(ctx context.Context, v *view.View, name string, o search.Options) (*search.Cursor, error) {
	s, err := search.New(ctx, v, name, o)
	if err != nil {
		v.Release()
		return nil, err
	}
	return s.Cursor(ctx)
}
