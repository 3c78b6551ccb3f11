// Package pipeline compiles MongoDB's aggregation pipelines and runs them over
// encoded documents.
//
//	Compile ── Pipeline ── Run               one result document at a time
//	              │
//	            Query                        what the source answers itself
//
// A stage is a cursor over the one before it. Stages that need all of their input count the
// bytes that they hold against one bound of the pipeline. A Pipeline is immutable and safe
// for concurrent use. Errors carry a kind of package fault.
//
// A document belongs to the cursor that gave it, until its next call: a stage that keeps
// one, or gives it on after it has asked for another, clones it. Whoever opens a stage owns
// what is below it; the cursor that is opened closes that in turn, so that closing the last
// one closes all. Rules: docs/design/aggregate.md.
package pipeline

import (
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

const (
	// MaxBytes is what the stages of a pipeline may hold, if nobody says.
	MaxBytes = 64 << 20
	// maxStages bounds the stages of a pipeline, those inside of it included.
	maxStages = 1000
	// maxNesting bounds pipelines in pipelines.
	maxNesting = 20
	// maxDocument bounds one document between stages, in bytes.
	maxDocument = expr.MaxValue
)

// A Query is what a Source is asked for: filter, then sort, skip and limit.
type Query struct {
	Filter, Sort bson.Raw
	Skip, Limit  int64 // a Limit of 0 means none
}

// A Source gives the documents of collections, all of one moment.
type Source interface {
	Open(collection string, q Query) (Cursor, error)
}

// A Cursor gives documents one by one; nil at the end. A document is valid until
// the next call. It belongs to one goroutine; the caller owes Close.
type Cursor interface {
	Next() ([]byte, error)
	Close()
}

// Options tunes a run.
type Options struct {
	MaxBytes int           // that stages may hold; 0 means MaxBytes
	Now      time.Time     // for $$NOW
	Vars     []value.Value // of the names given to Compile
	Stop     func() error  // asked now and then; its error ends the run
}

// A Pipeline is a compiled pipeline.
type Pipeline struct {
	query  Query
	stages []stage
	specs  []bson.Raw // of stages
	own    bool       // the first stage needs no collection
	into   *Into      // where the results go; nil if they are given
}

// A stage is one compiled stage. open reads nothing of in: the first Next of the cursor
// does. If it fails in stays the caller's to close, else the cursor closes it.
type stage interface {
	open(r *run, in Cursor) (Cursor, error)
}

// A run is one execution, of a pipeline or of one inside it. A run inside another has
// variables of its own; the clock, the source and the memory are shared, so that one bound
// holds for all of a pipeline however it is nested.
type run struct {
	stop func() error
	src  Source
	now  time.Time
	vars []value.Value
	mem  *memory
}

// A memory counts the bytes that the stages of a run hold. It is atomic because several
// goroutines group at once (spread).
type memory struct {
	used atomic.Int64
	most int
}

// drop counts n bytes less.
func (r *run) drop(n int) { r.mem.used.Add(int64(-n)) }

// hold counts n more bytes for the stage op. A count that is too high is not taken back:
// the run is over.
func (r *run) hold(op string, n int) error {
	if r.mem.used.Add(int64(n)) > int64(r.mem.most) {
		return fault.Errorf(fault.QueryMemoryExceeded, "Exceeded memory limit for %s: the pipeline holds more than %d bytes; filter or limit before it", op, r.mem.most)
	}
	return nil
}

// A buffer is the memory that a stage makes its documents in. Large ones count: a pipeline
// may have many. The memory is used again for the next document, until which the one before
// is valid.
type buffer struct {
	b    []byte
	held int
}

// set keeps doc, which was built in b.b, as the memory for the next one. What it has grown
// counts once it is 64 KiB or more: to count each small document would cost more than it
// tells.
func (b *buffer) set(r *run, op string, doc []byte) error {
	b.b = doc
	n := cap(doc) - b.held
	if n < 64<<10 {
		return nil
	}
	b.held += n
	return r.hold(op, n)
}

// env returns an environment for the expressions of one stage. Each stage has its own,
// since an environment keeps memory between documents.
func (r *run) env() *expr.Env {
	return &expr.Env{Now: r.now.UnixMilli(), Vars: r.vars, Stop: r.stop}
}

func (r *run) context() query.Context { return query.Context{Now: r.now, Vars: r.vars} }

// Compile compiles the stages of a pipeline, which it copies. vars are the
// variables whose values Options.Vars gives.
func Compile(stages []bson.Raw, vars ...string) (*Pipeline, error) {
	c := compiler{vars: vars, left: new(int)}
	*c.left = maxStages
	return c.pipeline(stages)
}

// Query returns what the pipeline asks of its collection.
func (p *Pipeline) Query() Query { return p.query }

// Rest returns the stages that work on what Query gives, as they are run.
func (p *Pipeline) Rest() []bson.Raw { return p.specs }

// Reads reports whether the pipeline reads the collection that it is run on.
func (p *Pipeline) Reads() bool { return !p.own }

// Into returns where the results are to be written; nil if they are not.
func (p *Pipeline) Into() *Into { return p.into }

// A Run is a pipeline being run. It is a Cursor.
type Run struct {
	in    Cursor
	mem   *memory
	plain bool // what comes are documents as stored
}

// Run starts the pipeline on a collection of src.
func (p *Pipeline) Run(src Source, collection string, o Options) (*Run, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = MaxBytes
	}
	if o.Stop == nil {
		o.Stop = func() error { return nil }
	}
	r := &run{stop: o.Stop, src: src, now: o.Now, vars: o.Vars, mem: &memory{most: o.MaxBytes}}
	c, err := p.open(r, collection)
	if err != nil {
		return nil, err
	}
	return &Run{c, r.mem, len(p.stages) == 0}, nil
}

// Held is how many bytes the stages hold.
func (r *Run) Held() int { return int(r.mem.used.Load()) }

// Next returns the next result, nil at the end. It refuses what no document may
// be.
func (r *Run) Next() ([]byte, error) {
	doc, err := r.in.Next()
	if err != nil || doc == nil || r.plain {
		return doc, err
	}
	if len(doc) > maxDocument {
		return nil, fault.Errorf(fault.TooLarge, "a result of the pipeline has %d bytes, more than %d", len(doc), maxDocument)
	}
	if expr.TooDeep(value.Doc(doc), 2*value.MaxDepth) {
		return nil, fault.Errorf(fault.Overflow, "a result of the pipeline is nested deeper than %d", 2*value.MaxDepth)
	}
	return doc, nil
}

// Close ends the run.
func (r *Run) Close() { r.in.Close() }

func (p *Pipeline) open(r *run, collection string) (Cursor, error) {
	if c, err := p.spread(r, collection); c != nil || err != nil {
		return c, err
	}
	var c Cursor = none{}
	if !p.own {
		var err error
		if c, err = r.src.Open(collection, p.query); err != nil {
			return nil, err
		}
		c = &source{Cursor: c, r: r}
	}
	return p.over(r, c)
}

// over runs the stages over in, which it owns.
func (p *Pipeline) over(r *run, in Cursor) (Cursor, error) {
	for _, s := range p.stages {
		c, err := s.open(r, in)
		if err != nil {
			in.Close()
			return nil, err
		}
		in = c
	}
	return in, nil
}

// A source ends when the run is to stop.
type source struct {
	Cursor
	r *run
	n int
}

func (s *source) Next() ([]byte, error) {
	if s.n++; s.n&255 == 0 {
		if err := s.r.stop(); err != nil {
			return nil, err
		}
	}
	return s.Cursor.Next()
}

type none struct{}

func (none) Next() ([]byte, error) { return nil, nil }
func (none) Close()                {}

// A list gives documents that it holds.
type list struct{ docs [][]byte }

func (l *list) Next() ([]byte, error) {
	if len(l.docs) == 0 {
		return nil, nil
	}
	d := l.docs[0]
	l.docs = l.docs[1:]
	return d, nil
}

func (l *list) Close() { l.docs = nil }
