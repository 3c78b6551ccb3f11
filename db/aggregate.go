package db

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// AggregateOptions tunes Aggregate. The zero value suits production.
type AggregateOptions struct {
	Let      any           // variables of the pipeline, a document {name: expression}, read as $$name
	Hint     any           // for the query that begins the pipeline, as in FindOptions
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
	v      *view.View
	open   map[*search.Cursor]struct{} // of collections
	run    *pipeline.Run
	hint   bson.RawValue // for the first query
	looked int64         // documents that closed cursors looked at
	doc    bson.Raw
	err    error

	noIndex bool
}

// Aggregate runs a pipeline, a slice of stages such as {$group: {…}}, on the collection.
// The first $match, $sort, $skip and $limit use indexes. One that ends with $out or
// $merge gives nothing: it has written its results when Aggregate returns. Errors of the pipeline
// are *Error; those of a document end the result.
func (c *Collection) Aggregate(ctx context.Context, stages any, o AggregateOptions) (*Aggregation, error) {
	p, vars, hint, err := o.compile(stages, c.db.fold.Wall())
	if err != nil {
		return nil, err
	}
	if c.name == "" && p.Reads() {
		return nil, fault.Errorf(fault.InvalidNamespace, "the pipeline needs a collection, or $documents to begin with")
	}
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	a := &Aggregation{db: c.db, v: v, noIndex: o.NoIndex, hint: hint, open: map[*search.Cursor]struct{}{}}
	a.ctx, a.cancel = search.WithMaxTime(ctx, o.MaxTime)
	ro := pipeline.Options{MaxBytes: o.MaxBytes, Now: c.db.fold.Wall(), Vars: vars, Stop: a.stop}
	if a.run, err = p.Run(source{a}, c.name, ro); err == nil && p.Into() != nil {
		if err = c.db.writeInto(a.ctx, p.Into(), ro, a.run.Next); err == nil {
			a.run.Close()
			a.run = nil // nothing is given
		}
	}
	if err != nil {
		err = search.TimeError(a.ctx, err)
		a.Close()
		return nil, err
	}
	return a, nil
}

// compile compiles the stages of a pipeline with the variables of the options.
func (o *AggregateOptions) compile(stages any, now time.Time) (p *pipeline.Pipeline, vars []value.Value, hint bson.RawValue, err error) {
	list, err := encodedList("pipeline", stages)
	if err != nil {
		return nil, nil, hint, err
	}
	let, err := encoded("variables", o.Let)
	if err != nil {
		return nil, nil, hint, err
	}
	if hint, err = encodedHint(o.Hint); err != nil {
		return nil, nil, hint, err
	}
	p, vars, err = compilePipeline(list, let, now)
	return p, vars, hint, err
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
	if a.db.fold.Ended.Load() {
		return ErrClosed
	}
	return a.ctx.Err()
}

// A source gives a pipeline what it reads, of the moment of its aggregation.
type source struct{ *Aggregation }

// Open reads a collection.
func (a source) Open(collection string, q pipeline.Query) (pipeline.Cursor, error) {
	a.v.Refs.Add(1) // for the cursor
	o := search.Options{Filter: q.Filter, Sort: q.Sort, Skip: q.Skip, Limit: q.Limit, NoIndex: a.noIndex, Hint: a.hint}
	a.hint = bson.RawValue{} // it is for the first
	c, err := a.db.findIn(a.ctx, a.v, collection, o)
	if err != nil {
		return nil, err
	}
	a.open[c] = struct{}{}
	return &stored{a.Aggregation, c}, nil
}

// Spread makes a scan that of several goroutines.
func (a source) Spread(collection string, q pipeline.Query) (drain func(func() pipeline.Sink) error, closing func(), err error) {
	s, err := search.For(a.ctx, a.v, collection, search.Options{Filter: q.Filter, NoIndex: a.noIndex, Hint: a.hint}, false)
	if err != nil {
		return nil, nil, err
	}
	if s.C == nil || s.Text != nil || s.Access == nil || len(s.Parts) != 1 || s.Access.Index != nil || s.Access.Ids != nil {
		s.Close()
		return nil, nil, nil
	}
	a.hint = bson.RawValue{}
	return func(each func() pipeline.Sink) error {
		s.Ctx = a.ctx
		sinks := make([]search.Sink, search.Workers())
		for i := range sinks {
			sinks[i] = grouper{each()}
		}
		err := s.Drain(sinks)
		a.looked += s.DocsExamined.Load()
		if one := (*fault.Error)(nil); errors.As(err, &one) { // several goroutines may have failed
			return one
		}
		return err
	}, s.Close, nil
}

// A grouper is a sink of a search for one of a pipeline.
type grouper struct{ f pipeline.Sink }

func (g grouper) Take(h *keyspace.Head, idKey []byte) error { return g.f(idKey, h.Doc) }

// A stored cursor gives the documents of a collection to a pipeline.
type stored struct {
	a *Aggregation
	c *search.Cursor
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
	s.a.looked += s.c.Examined()
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
	if a.err = search.TimeError(a.ctx, a.err); a.err != nil {
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
	a.v.Release()
	a.v, a.run, a.doc, a.open = nil, nil, nil, nil
}

// SetContext bounds what follows by ctx, in place of the context of Aggregate.
func (a *Aggregation) SetContext(ctx context.Context) {
	a.ctx = ctx
	for c := range a.open {
		c.SetContext(ctx)
	}
}

// Held returns about how many bytes the result holds in memory.
func (a *Aggregation) Held() int64 {
	if a.run == nil {
		return 0
	}
	n := int64(a.run.Held())
	for c := range a.open {
		n += c.Held()
	}
	return n
}

// ExplainAggregate explains the query that begins a pipeline and lists the stages
// that are run on what it gives; with run the query is run, too.
func (c *Collection) ExplainAggregate(ctx context.Context, stages any, o AggregateOptions, run bool) (bson.D, error) {
	p, _, hint, err := o.compile(stages, c.db.Now())
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
	d, err := c.ExplainWith(ctx, q.Filter, FindOptions{Sort: q.Sort, Skip: q.Skip, Limit: q.Limit, Hint: hint}, ExplainOptions{Run: run})
	if err != nil || len(rest) == 0 {
		return d, err
	}
	first := bson.D{{Key: "$cursor", Value: d}}
	return bson.D{{Key: "stages", Value: append(bson.A{first}, rest...)}}, nil
}
