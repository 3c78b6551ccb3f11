package db

import (
	"cmp"
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Cursor walks the result of a Find, which is that of one moment, whatever is
// written meanwhile. It belongs to one goroutine. The caller owes Close: until
// then the store keeps what that moment held.
type Cursor struct {
	s      *search
	cancel context.CancelFunc
	sorted []found // if the sort needed all
	isMem  bool
	groups *grouping // if the sort needs some at a time
	held   int64     // bytes of sorted
	left   int64     // documents to return; -1 for all
	skip   int64
	cur    *found
	err    error
}

// find runs a query; its cursor lives no longer than ctx.
func (db *DB) find(ctx context.Context, name string, o FindOptions) (*Cursor, error) {
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	return db.findIn(ctx, v, name, o)
}

// findIn is find on a view that it releases.
func (db *DB) findIn(ctx context.Context, v *view, name string, o FindOptions) (*Cursor, error) {
	s, err := db.newSearch(ctx, v, name, o)
	if err != nil {
		v.release()
		return nil, err
	}
	return s.cursor(ctx)
}

// cursor returns the cursor of s, which releases its view.
func (s *search) cursor(ctx context.Context) (c *Cursor, err error) {
	c = &Cursor{s: s, left: -1, skip: s.o.Skip}
	s.ctx, c.cancel = withMaxTime(ctx, s.o.MaxTime)
	if s.o.Limit > 0 {
		c.left = s.o.Limit
	}
	switch {
	case s.sort == nil || s.access == nil || s.access.order.whole:
	case s.access.order.fields > 0:
		c.groups = &grouping{s: s}
	default:
		c.isMem = true
		if c.sorted, c.held, err = s.sortAll(); err != nil {
			err = timeError(s.ctx, err)
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Next moves to the next document.
func (c *Cursor) Next() bool {
	for c.err == nil && c.s != nil && c.left != 0 {
		if c.s.db.ended.Load() {
			c.err = ErrClosed
			break
		}
		if c.err = c.s.ctx.Err(); c.err == nil {
			c.cur, c.err = c.pull()
		}
		if c.err != nil {
			c.err = timeError(c.s.ctx, c.err)
			break
		}
		if c.cur == nil {
			return false
		}
		if c.skip > 0 {
			c.skip--
			continue
		}
		if c.left > 0 {
			c.left--
		}
		return true
	}
	c.cur = nil
	return false
}

func (c *Cursor) pull() (*found, error) {
	switch {
	case c.isMem:
		if len(c.sorted) == 0 {
			return nil, nil
		}
		f := c.sorted[0]
		c.held -= weight(&f)
		c.sorted[0] = found{} // its memory is the caller's
		c.sorted = c.sorted[1:]
		return &f, nil
	case c.groups != nil:
		return c.groups.pull()
	}
	return c.s.next()
}

// during implements rows.
func (c *Cursor) during(ctx context.Context) {
	if c.s != nil {
		c.s.ctx = ctx
	}
}

// memory implements rows.
func (c *Cursor) memory() int64 {
	if c.s == nil {
		return 0
	}
	n := c.held + c.s.memory()
	if c.groups != nil {
		n += c.groups.held
	}
	return n
}

// Raw returns the current document, projected.
func (c *Cursor) Raw() bson.Raw {
	if c.cur == nil {
		return nil
	}
	out := c.s.project(&c.cur.state)
	c.err = cmp.Or(c.err, c.s.err)
	return out
}

// Document returns the current document, whole, with its metadata.
func (c *Cursor) Document() Document {
	if c.cur == nil {
		return Document{}
	}
	return Document{Raw: c.cur.doc, Mod: c.cur.mod}
}

// Err returns the error that ended the cursor, or nil.
func (c *Cursor) Err() error { return c.err }

// Close frees the cursor; it may be called twice.
func (c *Cursor) Close() {
	if c.s == nil {
		return
	}
	c.cancel()
	c.s.close()
	c.s.v.release()
	c.s, c.cur, c.sorted, c.groups = nil, nil, nil, nil
}
