package command

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/internal/fault"
)

// Bounds of what commands leave open. MongoDB has the first batch of 101 and the ten
// minutes, too; a reply has half of the bytes that it allows. The number and the memory of
// cursors are ours: a client that does not close what it opens must not fill an app's
// memory or its disk.
const (
	maxCursors      = 100
	maxCursorMemory = 256 << 20 // bytes that open cursors hold, together
	cursorIdle      = 10 * time.Minute
	cursorIdleLong  = time.Hour // with noCursorTimeout
	firstBatch      = 101
	maxBatch        = 8 << 20 // bytes of a reply's documents
)

// A rows is the documents that a command answers with, batch by batch: a [db.Cursor] or the
// result of an aggregation. It is used by one goroutine at a time: the command that has
// taken its cursor out of the list.
type rows interface {
	Next() bool
	Raw() bson.Raw
	Err() error
	Close()
	SetContext(ctx context.Context) // what follows is done for ctx
	Held() int64                    // bytes
}

// cursors are the open cursors of command documents. An open cursor keeps what its moment
// held on disk, so that it ends when nobody asks for long. A cursor is in the list or in
// the hands of one command, never in both, so mu is never held while one is read. The timer
// runs from the first cursor until it finds none.
type cursors struct {
	mu     sync.Mutex // guards the fields below
	open   map[int64]*openCursor
	memory int64 // bytes that they hold
	timer  *time.Timer
	closed bool
}

// An openCursor is the result of a command of which more can be asked for. While a getMore
// reads it, it is not in the list: two at once cannot read one cursor, and what fails is
// not kept.
type openCursor struct {
	rows
	ns     string        // the collection
	next   bson.Raw      // read but not answered yet
	budget time.Duration // left of maxTimeMS; 0 for no bound
	idle   time.Duration // after which it ends
	used   time.Time     // last
	held   int64         // bytes counted
}

// batchReply reads up to n documents and keeps the cursor if there may be more; id is 0 if
// it is new. It owns oc: on each way out the cursor is either kept or closed. The first
// document always fits, however large: otherwise no getMore could ever pass it. What would
// exceed the reply is kept in next for the following batch. With n 0, which is how drivers
// open a cursor, nothing is read and the cursor is kept, also one that is at its end. The
// id 0 in the reply says that the cursor has ended.
func (rn *Runner) batchReply(ctx context.Context, oc *openCursor, id, n int64, field string, single bool) (bson.D, error) {
	began := time.Now()
	bounded, cancel := search.WithMaxTime(ctx, oc.budget)
	defer cancel()
	oc.SetContext(bounded)
	docs, more := bson.A{}, true
	for size := 0; int64(len(docs)) < n && size < maxBatch; {
		d := oc.next
		if oc.next = nil; d == nil {
			if more = oc.Next(); !more {
				break
			}
			d = oc.Raw()
		}
		if len(docs) > 0 && size+len(d) > maxBatch {
			oc.next = d
			break
		}
		docs, size = append(docs, d), size+len(d)
	}
	// One more is read to tell whether this is the end; not before the first
	// batch is asked for.
	if more && !single && oc.next == nil && n > 0 {
		if more = oc.Next(); more {
			oc.next = oc.Raw()
		}
	}
	err := oc.Err()
	if err != nil || !more || single {
		oc.Close()
		id = 0
	} else {
		if oc.budget > 0 {
			oc.budget = max(1, oc.budget-time.Since(began))
		}
		id, err = rn.keep(id, oc)
	}
	if err != nil {
		return nil, err
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: field, Value: docs}, {Key: "id", Value: id}, {Key: "ns", Value: rn.namespace(oc.ns)}}}}, nil
}

// keep keeps a cursor open under its number, or a new one for 0. Over the limit of their
// number the longest unused ends; over that of memory the new one. It owns oc from here,
// and closes it if it is not kept. Its memory is counted anew after each batch, because it
// changes while the cursor is read. An id is random, so that a cursor of another client is
// not found by counting.
func (rn *Runner) keep(id int64, oc *openCursor) (int64, error) {
	c := &rn.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	oc.used, oc.held = time.Now(), oc.Held()+int64(len(oc.next))
	c.reap(oc.used)
	if c.closed {
		oc.Close()
		return 0, db.ErrClosed
	}
	if c.memory+oc.held > maxCursorMemory {
		oc.Close()
		return 0, fault.Of(keyspace.ErrMemory,
			"open cursors would hold more than %d MiB: read them to the end or kill them, or sort by an index", maxCursorMemory>>20)
	}
	if len(c.open) >= maxCursors {
		oldest := int64(0)
		for k, o := range c.open {
			if oldest == 0 || o.used.Before(c.open[oldest].used) {
				oldest = k
			}
		}
		c.end(oldest)
	}
	if id == 0 {
		id = 1 + rand.Int64N(1<<62)
	}
	if c.open == nil {
		c.open = map[int64]*openCursor{}
	}
	c.open[id] = oc
	c.memory += oc.held
	if c.timer == nil {
		c.timer = time.AfterFunc(cursorIdle, func() { rn.DropIdle(time.Now()) })
	}
	return id, nil
}

// take takes a cursor to read from it; nobody else can until it is kept again. The
// collection must be the cursor's, as MongoDB demands: an id that was mixed up is an error
// instead of documents of something else. That check leaves the cursor where it is.
func (c *cursors) take(id int64, ns string) (*openCursor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oc := c.open[id]
	switch {
	case oc == nil:
		return nil, fault.Errorf(fault.CursorNotFound,
			"cursor id %d not found: it was read to the end, killed, unused for %v, or one of more than %d", id, cursorIdle, maxCursors)
	case oc.ns != ns:
		return nil, fault.Errorf(fault.PermissionDenied, "cursor id %d is of collection %s, not %s", id, oc.ns, ns)
	}
	delete(c.open, id)
	c.memory -= oc.held
	return oc, nil
}

// end closes a cursor; c.mu is held.
func (c *cursors) end(id int64) {
	oc := c.open[id]
	oc.Close()
	c.memory -= oc.held
	delete(c.open, id)
}

// kill closes a cursor, and reports whether there was one.
func (c *cursors) kill(id int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] == nil {
		return false
	}
	c.end(id)
	return true
}

// reap closes the cursors that nobody asked for more for long; c.mu is held. A cursor that
// a command holds is not in the list and so is never idle.
func (c *cursors) reap(now time.Time) {
	for id, o := range c.open {
		if now.Sub(o.used) > o.idle {
			c.end(id)
		}
	}
}

// tick is what the timer does: it goes on while cursors are open. The timer is dropped when
// nothing is open and made again by keep, so an idle database has none. DropIdle calls it
// also without the timer having fired, and then it is only set anew.
func (c *cursors) tick(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reap(now)
	if c.timer == nil || c.closed {
		return
	}
	if len(c.open) > 0 {
		c.timer.Reset(cursorIdle)
	} else {
		c.timer = nil
	}
}

// closeCursors closes all cursors for good.
func (rn *Runner) closeCursors() {
	c := &rn.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	for id := range c.open {
		c.end(id)
	}
}
