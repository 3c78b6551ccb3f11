package search

import (
	"cmp"
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/view"
)

// A Cursor walks the result of a search, which is that of one moment. It belongs to one
// goroutine; the caller owes Close. There are three ways to serve a sort: the access has
// the order (none of sorted and ties), it has the order of the first fields (ties), or all
// is read and sorted before the first document (isMem).
type Cursor struct {
	s      *Search
	cancel context.CancelFunc
	sorted []view.Found // if the sort needed all
	isMem  bool
	ties   *tieSort // if the sort needs some at a time
	held   int64    // bytes of sorted
	left   int64    // documents to return; -1 for all
	skip   int64
	cur    *view.Found
	err    error
}

// Cursor returns the cursor of s, which takes s and its view over: Close releases both,
// also where Cursor fails. A sort that no access serves reads everything now.
func (s *Search) Cursor(ctx context.Context) (c *Cursor, err error) {
	c = &Cursor{s: s, left: -1, skip: s.o.Skip}
	s.Ctx, c.cancel = WithMaxTime(ctx, s.o.MaxTime)
	if s.o.Limit > 0 {
		c.left = s.o.Limit
	}
	switch {
	case s.Sort == nil || s.Access == nil || s.Access.Order.Whole:
	case s.Access.Order.Fields > 0:
		c.ties = &tieSort{s: s}
	default:
		c.isMem = true
		if c.sorted, c.held, err = s.sortAll(); err != nil {
			err = TimeError(s.Ctx, err)
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Next moves to the next document; false at the end, or after an error. A document that is
// skipped was found and tested like others. The database may end while a cursor is open: it
// is told by an error, and not by fewer documents.
func (c *Cursor) Next() bool {
	for c.err == nil && c.s != nil && c.left != 0 {
		if c.s.v.Ended.Load() {
			c.err = keyspace.ErrClosed
			break
		}
		if c.err = c.s.Ctx.Err(); c.err == nil {
			c.cur, c.err = c.pull()
		}
		if c.err != nil {
			c.err = TimeError(c.s.Ctx, c.err)
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

// pull takes the next document from where the sort has them; nil at the end. What is given
// out of sorted is the caller's from then on, and counts as held no more.
func (c *Cursor) pull() (*view.Found, error) {
	switch {
	case c.isMem:
		if len(c.sorted) == 0 {
			return nil, nil
		}
		f := c.sorted[0]
		c.held -= weight(&f)
		c.sorted[0] = view.Found{} // its memory is the caller's
		c.sorted = c.sorted[1:]
		return &f, nil
	case c.ties != nil:
		return c.ties.pull()
	}
	return c.s.Next()
}

// SetContext bounds what follows by ctx.
func (c *Cursor) SetContext(ctx context.Context) {
	if c.s != nil {
		c.s.Ctx = ctx
	}
}

// Held returns about how many bytes the cursor holds. It is what bounds the memory of the
// cursors that are open.
func (c *Cursor) Held() int64 {
	if c.s == nil {
		return 0
	}
	n := c.held + c.s.memory()
	if c.ties != nil {
		n += c.ties.held
	}
	return n
}

// Raw returns the current document, projected.
func (c *Cursor) Raw() bson.Raw {
	if c.cur == nil {
		return nil
	}
	out := c.s.Project(&c.cur.State)
	c.err = cmp.Or(c.err, c.s.Err)
	return out
}

// Found returns the current document, whole; nil if there is none.
func (c *Cursor) Found() *view.Found { return c.cur }

// Examined returns how many documents the search has looked at.
func (c *Cursor) Examined() int64 {
	if c.s == nil {
		return 0
	}
	return c.s.DocsExamined.Load()
}

// View returns the view that the cursor reads, until Close.
func (c *Cursor) View() *view.View { return c.s.v }

// Err returns the error that ended the cursor, or nil.
func (c *Cursor) Err() error { return c.err }

// Close frees the cursor; it may be called twice.
func (c *Cursor) Close() {
	if c.s == nil {
		return
	}
	c.cancel()
	c.s.Close()
	c.s.v.Release()
	c.s, c.cur, c.sorted, c.ties = nil, nil, nil, nil
}
