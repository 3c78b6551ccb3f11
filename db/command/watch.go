package command

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Bounds of what watch and live leave open. A subscription costs memory for what it has not been
// asked for, and a live query for its result, so both end when nobody asks. A getMore holds
// a call of the client while it waits, so the wait is bounded; without a maxTimeMS it is a
// second, as in MongoDB.
const (
	maxSubscriptions     = 1000             // open at a time by commands
	subscriptionIdle     = 10 * time.Minute // without a getMore
	subscriptionWait     = time.Second      // of a getMore that has no maxTimeMS
	maxSubscriptionMS    = 5 * 60_000
	maxSubscriptionBatch = 10_000 // changes of a getMore
)

// subscriptions are the watches and live queries that commands opened. As with cursors, a subscription that
// a getMore reads is not in the map, so mu is not held while it waits.
type subscriptions struct {
	mu     sync.Mutex // guards the fields below
	open   map[int64]*subscription
	closed bool
}

// An subscription is a watch or a live query. Of watch and live one is set. It belongs to the
// command that has it out of the map.
type subscription struct {
	ns    string
	watch *db.Watch
	live  *db.Live
	held  bson.Raw // read but did not fit
	used  time.Time
}

func (o *subscription) close() {
	if o.watch != nil {
		o.watch.Close()
	} else {
		o.live.Close()
	}
}

// watchOptions reads {watch: collection or 1, collections, id, operations, filter, image,
// resumeAfter}. The name in the first field and the list name collections together; neither
// means all but system collections. The place in imageNames is one more than the value of
// [db.Image], as the first is its default.
func watchOptions(name string, cmd bson.Raw) (o db.WatchOptions, err error) {
	if o.Collections, err = textList(cmd, "collections"); err != nil {
		return o, err
	}
	if name != "" {
		o.Collections = append(o.Collections, name)
	}
	if o.Operations, err = textList(cmd, "operations"); err != nil {
		return o, err
	}
	if id := value.Get(cmd, "id"); id.Exists() {
		o.ID = id.Raw()
	}
	if o.Filter, err = docField(cmd, "filter"); err != nil {
		return o, err
	}
	image, err := textField(cmd, "image")
	if err != nil {
		return o, err
	}
	i := slices.Index(imageNames, image)
	if i < 0 {
		return o, fault.Errorf(fault.BadValue, "image: got %q, want after, before or either", image)
	}
	o.Image = db.Image(max(0, i-1))
	o.ResumeAfter, err = textField(cmd, "resumeAfter")
	return o, err
}

var imageNames = []string{"", "after", "before", "either"}

// cmdWatch opens a watch: an empty first batch, whose resume token is of now. A write after
// this reply is told. The batch is empty also with resumeAfter, whose changes the first
// getMore brings.
func (rn *Runner) cmdWatch(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	o, err := watchOptions(name, cmd)
	if err != nil {
		return nil, err
	}
	w, err := rn.db.Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = "$cmd.watch"
	}
	return rn.subscriptionReply(&subscription{ns: name, watch: w}, 0, "firstBatch", bson.A{})
}

// cmdLive opens a live query: its first batch is the result, all of it. The whole result
// has to be in one reply, since later events name places in it. A little more than other
// replies hold is allowed, because a result cannot be continued.
func (rn *Runner) cmdLive(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	var filter any
	o := db.FindOptions{Skip: number(cmd, "skip"), Limit: number(cmd, "limit")}
	for f, to := range map[string]*any{"filter": &filter, "sort": &o.Sort, "projection": &o.Projection} {
		doc, err := docField(cmd, f)
		if err != nil {
			return nil, err
		}
		*to = doc
	}
	l, err := rn.db.Collection(name).Live(ctx, filter, o)
	if err != nil {
		return nil, err
	}
	docs, size := bson.A{}, 0
	for _, d := range l.Result() {
		docs = append(docs, d.Raw)
		size += len(d.Raw)
	}
	if size > 2*maxBatch {
		l.Close()
		return nil, fmt.Errorf("%w: the result of a live query; use a filter or a limit", db.ErrTooLarge)
	}
	return rn.subscriptionReply(&subscription{ns: name, live: l}, 0, "firstBatch", docs)
}

// subscriptionReply keeps the subscription open and makes the reply of a batch. It owns o, and closes it if
// it is not kept. The token is only told when nothing is held back: a change that is read
// and not delivered is before that token, and a client that resumed there would never see
// it.
func (rn *Runner) subscriptionReply(o *subscription, id int64, field string, docs bson.A) (bson.D, error) {
	if id == 0 {
		id = 1 + rand.Int64N(1<<62)
	}
	cur := bson.D{{Key: field, Value: docs}, {Key: "id", Value: id}, {Key: "ns", Value: rn.namespace(o.ns)}}
	if o.watch != nil {
		t, err := o.watch.Token()
		if err != nil {
			o.close()
			return nil, err
		}
		if o.held == nil {
			cur = append(cur, bson.E{Key: "postBatchResumeToken", Value: t})
		}
	}
	f := &rn.subscriptions
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		o.close()
		return nil, db.ErrClosed
	}
	if f.open == nil {
		f.open = map[int64]*subscription{}
	}
	if len(f.open) >= maxSubscriptions {
		o.close()
		return nil, fault.Errorf(fault.BadValue, "too many open watches and live queries: %d", maxSubscriptions)
	}
	o.used = time.Now()
	f.open[id] = o
	return bson.D{{Key: "cursor", Value: cur}}, nil
}

// moreOfSubscription answers a getMore of a watch or a live query; ok is false if the cursor is
// none. It waits up to maxTimeMS for the first change. The subscription is out of the map
// meanwhile, so two getMores of one subscription cannot read it: the second finds none. After an
// error it is closed and not put back; a client goes on by the token of what it has seen. A
// wrong collection leaves it open.
func (rn *Runner) moreOfSubscription(ctx context.Context, cmd bson.Raw) (reply bson.D, ok bool, err error) {
	id := number(cmd, "getMore")
	ns := string(value.Get(cmd, "collection").Str())
	f := &rn.subscriptions
	f.mu.Lock()
	o := f.open[id]
	if o != nil && ns == o.ns {
		delete(f.open, id)
	}
	f.mu.Unlock()
	switch {
	case o == nil:
		return nil, false, nil
	case ns != o.ns:
		return nil, true, fault.Errorf(fault.CursorNotFound, "cursor id %d is not of %q", id, ns)
	}
	n := number(cmd, "batchSize")
	if n <= 0 {
		n = 1000
	}
	wait := subscriptionWait
	if ms := number(cmd, "maxTimeMS"); ms > 0 {
		wait = time.Duration(min(ms, maxSubscriptionMS)) * time.Millisecond
	}
	docs, err := o.batch(ctx, rn, int(min(n, maxSubscriptionBatch)), wait)
	if err != nil {
		o.close()
		return nil, true, err
	}
	reply, err = rn.subscriptionReply(o, id, "nextBatch", docs)
	return reply, true, err
}

// batch reads up to n changes, waiting for the first only. The wait that ends is no error
// but an empty batch, as a tailable cursor of MongoDB gives; only the end of the caller's
// own ctx is. What follows the first change is taken as far as it is there. A change that
// would make the reply too large waits in held, where it comes first next time.
func (o *subscription) batch(ctx context.Context, rn *Runner, n int, wait time.Duration) (docs bson.A, err error) {
	docs = bson.A{}
	size := 0
	if o.held != nil {
		docs, size, o.held = append(docs, o.held), len(o.held), nil
	}
	first, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for len(docs) < n && size < maxBatch {
		d, err := o.read(ctx, first, rn, len(docs) == 0)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return docs, nil
		case err != nil:
			return nil, err
		case d == nil:
			return docs, nil
		}
		if len(docs) > 0 && size+len(d) > 2*maxBatch {
			o.held = d
			return docs, nil
		}
		docs, size = append(docs, d), size+len(d)
	}
	return docs, nil
}

// read returns the next change as a document; nil if there is none yet. first bounds the
// wait for the first change; those after it are taken under ctx, without waiting.
func (o *subscription) read(ctx, first context.Context, rn *Runner, wait bool) (bson.Raw, error) {
	if o.watch != nil {
		if wait {
			c, err := o.watch.Next(first)
			if err != nil {
				return nil, err
			}
			return rn.changeDoc(&c)
		}
		c, ok, err := o.watch.TryNext(ctx)
		if err != nil || !ok {
			return nil, err
		}
		return rn.changeDoc(&c)
	}
	if wait {
		e, err := o.live.Next(first)
		if err != nil {
			return nil, err
		}
		return liveDocument(&e)
	}
	e, ok, err := o.live.TryNext(ctx)
	if err != nil || !ok {
		return nil, err
	}
	return liveDocument(&e)
}

// changeDoc gives a change the shape of MongoDB's change events, with more. The names of
// MongoDB are kept where the thing is the same, so that code for change streams reads them;
// what is ours (remote, late, current, log, seq, conflict, refusal) has names of its own. A
// gap has neither document nor time: it says that the collection, or without ns every one,
// is to be read again.
func (rn *Runner) changeDoc(c *db.Change) (bson.Raw, error) {
	d := bson.D{{Key: "_id", Value: bson.D{{Key: "_data", Value: c.Token}}}, {Key: "operationType", Value: c.Operation}}
	if c.Collection != "" {
		d = append(d, bson.E{Key: "ns", Value: bson.D{{Key: "db", Value: rn.db.Name()}, {Key: "coll", Value: c.Collection}}})
	}
	if c.Operation == "gap" {
		return bson.Marshal(d)
	}
	if c.ID.Type != 0 {
		d = append(d, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: c.ID}}})
	}
	if c.After != nil {
		d = append(d, bson.E{Key: "fullDocument", Value: c.After})
	}
	if c.Before != nil {
		d = append(d, bson.E{Key: "fullDocumentBeforeChange", Value: c.Before})
	}
	d = append(d, bson.E{Key: "wallTime", Value: c.Time}, bson.E{Key: "remote", Value: c.Remote}, bson.E{Key: "late", Value: c.Late},
		bson.E{Key: "current", Value: c.Current})
	if c.Seq > 0 {
		d = append(d, bson.E{Key: "log", Value: c.Log.String()}, bson.E{Key: "seq", Value: int64(c.Seq)})
	}
	if c.Conflict != nil {
		d = append(d, bson.E{Key: "conflict", Value: conflictDoc(c.Conflict)})
	}
	if c.Refusal != nil {
		d = append(d, bson.E{Key: "refusal", Value: refusalDoc(c.Refusal, false)})
	}
	return bson.Marshal(d)
}

// liveDocument is how an event of a live query is told. index is where the document is now
// and from where it was; -1, which is nowhere, leaves the field out. A reset replaces the
// whole result.
func liveDocument(e *db.LiveEvent) (bson.Raw, error) {
	d := bson.D{{Key: "operation", Value: e.Operation}}
	if e.Operation == "reset" {
		docs := bson.A{}
		for _, x := range e.Result {
			docs = append(docs, x.Raw)
		}
		return bson.Marshal(append(d, bson.E{Key: "result", Value: docs}))
	}
	d = append(d, bson.E{Key: "id", Value: e.ID})
	if e.Index >= 0 {
		d = append(d, bson.E{Key: "index", Value: int64(e.Index)})
	}
	if e.From >= 0 {
		d = append(d, bson.E{Key: "from", Value: int64(e.From)})
	}
	if e.Document.Raw != nil {
		d = append(d, bson.E{Key: "document", Value: e.Document.Raw})
	}
	return bson.Marshal(append(d, bson.E{Key: "more", Value: e.More}))
}

// dropSubscriptions closes the subscriptions of commands that nobody has asked for more since the
// given time.
func (rn *Runner) dropSubscriptions(since time.Time) {
	f := &rn.subscriptions
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, o := range f.open {
		if o.used.Before(since) {
			o.close()
			delete(f.open, id)
		}
	}
}

// closeSubscriptions closes all subscriptions for good. One that a getMore is reading is closed when it
// comes back.
func (rn *Runner) closeSubscriptions() {
	f := &rn.subscriptions
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, o := range f.open {
		o.close()
	}
	f.open = nil
}

// killSubscription closes a subscription; it reports whether there was one. One that a getMore is reading
// is not found.
func (rn *Runner) killSubscription(id int64) bool {
	f := &rn.subscriptions
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.open[id]
	if o != nil {
		o.close()
		delete(f.open, id)
	}
	return o != nil
}
