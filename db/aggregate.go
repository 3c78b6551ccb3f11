package db

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// AggregateOptions tunes Aggregate. The zero value suits production.
type AggregateOptions struct {
	Let      bson.Raw      // variables of the pipeline, {name: expression}, read as $$name
	Hint     bson.RawValue // for the query that begins the pipeline, as in FindOptions
	MaxTime  time.Duration // that Aggregate and its result may work, together; 0 means no bound
	MaxBytes int           // that $group, $sort and the like may hold; 0 means 64 MiB
	NoIndex  bool          // scan, whatever indexes there are
}

// An Aggregation walks the result of a pipeline, which is that of one moment. It
// belongs to one goroutine; the caller owes Close.
type Aggregation struct {
	ctx    context.Context //nolint:containedctx // of the call that the result is of
	cancel context.CancelFunc
	db     *DB
	v      *view
	o      AggregateOptions
	open   map[*Cursor]struct{} // of collections
	run    *pipeline.Run
	looked int64 // documents that closed cursors looked at
	doc    bson.Raw
	err    error
}

// Aggregate runs a pipeline of stages such as {$group: {…}} on the collection.
// The first $match, $sort, $skip and $limit use indexes. Errors of the pipeline
// are *Error; those of a document end the result.
func (c *Collection) Aggregate(ctx context.Context, stages []bson.Raw, o AggregateOptions) (*Aggregation, error) {
	p, vars, err := compilePipeline(stages, o.Let, c.db.wall())
	if err != nil {
		return nil, err
	}
	if c.name == "" && p.Reads() {
		return nil, fault.Errorf(fault.InvalidNamespace, "the pipeline needs a collection, or $documents to begin with")
	}
	v, err := c.db.acquire()
	if err != nil {
		return nil, err
	}
	a := &Aggregation{db: c.db, v: v, o: o, open: map[*Cursor]struct{}{}}
	a.ctx, a.cancel = withMaxTime(ctx, o.MaxTime)
	a.run, err = p.Run(a, c.name, pipeline.Options{MaxBytes: o.MaxBytes, Now: c.db.wall(), Vars: vars, Stop: a.stop})
	if err != nil {
		err = timeError(a.ctx, err)
		a.Close()
		return nil, err
	}
	return a, nil
}

// compilePipeline compiles stages with the variables of let, and these.
func compilePipeline(stages []bson.Raw, let bson.Raw, now time.Time) (p *pipeline.Pipeline, vars []value.Value, err error) {
	var names []string
	env := expr.Env{Now: now.UnixMilli(), Root: []byte{5, 0, 0, 0, 0}}
	it := value.Elements(let)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if err := expr.CheckVariable(string(k)); err != nil {
			return nil, nil, err
		}
		x, err := expr.Compile(v)
		if err != nil {
			return nil, nil, err
		}
		if v, err = x.Eval(&env); err != nil {
			return nil, nil, err
		}
		names, vars = append(names, string(k)), append(vars, v)
	}
	p, err = pipeline.Compile(stages, names...)
	return p, vars, err
}

func (a *Aggregation) stop() error {
	if a.db.ended.Load() {
		return ErrClosed
	}
	return a.ctx.Err()
}

// Open makes an Aggregation the source of its pipeline: what it gives is of its
// moment.
func (a *Aggregation) Open(collection string, q pipeline.Query) (pipeline.Cursor, error) {
	a.v.refs.Add(1) // for the cursor
	o := FindOptions{Filter: q.Filter, Sort: q.Sort, Skip: q.Skip, Limit: q.Limit, NoIndex: a.o.NoIndex, Hint: a.o.Hint}
	a.o.Hint = bson.RawValue{} // it is for the first
	c, err := a.db.findIn(a.ctx, a.v, collection, o)
	if err != nil {
		return nil, err
	}
	a.open[c] = struct{}{}
	return &stored{a, c}, nil
}

// Spread makes scans of an Aggregation those of several goroutines.
func (a *Aggregation) Spread(collection string, q pipeline.Query) (drain func(func() pipeline.Sink) error, closing func(), err error) {
	s, err := a.db.searchFor(a.ctx, a.v, collection, FindOptions{Filter: q.Filter, NoIndex: a.o.NoIndex, Hint: a.o.Hint}, false)
	if err != nil {
		return nil, nil, err
	}
	if s.c == nil || s.text != nil || s.access == nil || len(s.parts) != 1 || s.access.index != nil || s.access.ids != nil {
		s.close()
		return nil, nil, nil
	}
	a.o.Hint = bson.RawValue{}
	return func(each func() pipeline.Sink) error {
		s.ctx = a.ctx
		sinks := make([]sink, workers())
		for i := range sinks {
			sinks[i] = grouper{each()}
		}
		err := s.drain(sinks)
		a.looked += s.docsExamined.Load()
		if one := (*Error)(nil); errors.As(err, &one) { // several goroutines may have failed
			return one
		}
		return err
	}, s.close, nil
}

// A grouper is a sink of a search for one of a pipeline.
type grouper struct{ f pipeline.Sink }

func (g grouper) take(h *head, idKey []byte) error { return g.f(idKey, h.doc) }

// A stored cursor gives the documents of a collection to a pipeline.
type stored struct {
	a *Aggregation
	c *Cursor
}

// Next returns the next document, nil at the end.
func (s *stored) Next() ([]byte, error) {
	if !s.c.Next() {
		return nil, s.c.Err()
	}
	return s.c.Raw(), s.c.Err()
}

// Close frees the cursor.
func (s *stored) Close() {
	delete(s.a.open, s.c)
	if s.c.s != nil {
		s.a.looked += s.c.s.docsExamined.Load()
	}
	s.c.Close()
}

// Next moves to the next result.
func (a *Aggregation) Next() bool {
	if a.err != nil || a.run == nil {
		return false
	}
	if a.err = a.stop(); a.err == nil {
		a.doc, a.err = a.run.Next()
	}
	if a.err = timeError(a.ctx, a.err); a.err != nil {
		a.doc = nil
	}
	return a.doc != nil
}

// Raw returns the current result, which is the caller's.
func (a *Aggregation) Raw() bson.Raw {
	if a.doc == nil {
		return nil
	}
	return append(bson.Raw(nil), a.doc...)
}

// Err returns the error that ended the result, or nil.
func (a *Aggregation) Err() error { return a.err }

// Close frees the result; it may be called twice.
func (a *Aggregation) Close() {
	if a.v == nil {
		return
	}
	if a.run != nil {
		a.run.Close()
	}
	for c := range a.open {
		c.Close()
	}
	a.cancel()
	a.v.release()
	a.v, a.run, a.doc, a.open = nil, nil, nil, nil
}

func (a *Aggregation) during(ctx context.Context) {
	a.ctx = ctx
	for c := range a.open {
		c.during(ctx)
	}
}

// memory returns about how many bytes the result holds.
func (a *Aggregation) memory() int64 {
	if a.run == nil {
		return 0
	}
	n := int64(a.run.Held())
	for c := range a.open {
		n += c.memory()
	}
	return n
}

// pipelineOf returns the stages of an aggregate command.
func pipelineOf(cmd bson.Raw) ([]bson.Raw, error) {
	if v := value.Get(cmd, "pipeline"); !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "'pipeline' option must be specified as an array")
	}
	return list(cmd, "pipeline")
}

func (db *DB) cmdAggregate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	began := time.Now()
	stages, err := pipelineOf(cmd)
	if err != nil {
		return nil, err
	}
	if flag(cmd, "explain", false) {
		return db.explainAggregate(ctx, name, cmd, false)
	}
	batch := value.Get(cmd, "cursor")
	if !batch.Exists() {
		return nil, fault.Errorf(fault.FailedToParse, "The 'cursor' option is required, except for aggregate with the explain argument")
	}
	o := AggregateOptions{Let: sub(cmd, "let"), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
	a, err := db.Collection(name).Aggregate(ctx, stages, o)
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(batch.Data, "batchSize").Exists() {
		n = number(batch.Data, "batchSize")
	}
	if n < 0 {
		a.Close()
		return nil, fault.Errorf(fault.BadValue, "cursor.batchSize cannot be negative")
	}
	oc := &openCursor{rows: a, ns: cmp.Or(name, "$cmd.aggregate"), idle: cursorIdle, budget: maxTime(cmd)}
	if oc.budget > 0 {
		oc.budget = max(1, oc.budget-time.Since(began))
	}
	return db.batchReply(ctx, oc, 0, n, "firstBatch", false)
}

// explainAggregate explains the query that begins a pipeline and lists the
// stages that are run on what it gives.
func (db *DB) explainAggregate(ctx context.Context, name string, cmd bson.Raw, run bool) (bson.D, error) {
	stages, err := pipelineOf(cmd)
	if err != nil {
		return nil, err
	}
	p, _, err := compilePipeline(stages, sub(cmd, "let"), db.wall())
	if err != nil {
		return nil, err
	}
	rest := bson.A{}
	for _, s := range p.Rest() {
		rest = append(rest, s)
	}
	if !p.Reads() {
		return bson.D{{Key: "stages", Value: rest}}, nil
	}
	q := p.Query()
	o := FindOptions{Filter: q.Filter, Sort: q.Sort, Skip: q.Skip, Limit: q.Limit, Hint: value.Get(cmd, "hint").Raw()}
	d, err := db.Collection(name).explain(ctx, o, false, run)
	if err != nil || len(rest) == 0 {
		return d, err
	}
	first := bson.D{{Key: "$cursor", Value: d}}
	return bson.D{{Key: "stages", Value: append(bson.A{first}, rest...)}}, nil
}
