// Package search runs a compiled query on one view: it walks what the plan says, on
// several goroutines where that helps, and gives documents in order.
//
//	Search ── scan      documents by _id, in parts of the key space
//	   ├───── fetch     documents by the _ids that a walk of an index gives
//	   ├───── topK      the first documents of a sort
//	   └───── Cursor    the result, one document at a time
//
// Two ways out: Next gives documents in the order of the access, one at a time, reading
// ahead in growing strides; Drain gives all of them to sinks, in no order, as fast as the
// processors allow. A walk goes over keys only and a fetch gets their documents in
// batches, because looking up sorted keys together is much cheaper than one by one.
//
// Invariant: what a search returns matches the whole filter, has not expired, and is what
// the read rule shows: every way out passes match.
package search

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// Options say what a search is for; the zero value is all documents, in
// _id order.
type Options struct {
	Filter, Sort, Projection bson.Raw
	Skip, Limit              int64         // a Limit of 0 means none
	Hint                     bson.RawValue // an index by name or key document, or {$natural: ±1}; zero means none
	MaxTime                  time.Duration // that the cursor may work; 0 means no bound
	NoIndex                  bool          // scan, whatever indexes there are
	Expired                  bool          // what has expired too
}

// want returns how many documents are wanted, those skipped with them; 0 means
// all.
func (o *Options) want() int64 {
	if o.Limit <= 0 || o.Skip > math.MaxInt64-o.Limit {
		return 0
	}
	return o.Skip + o.Limit
}

// A Search is a compiled query on one view. It belongs to one goroutine and uses
// others for as long as a call takes.
type Search struct {
	Ctx    context.Context //nolint:containedctx // of the call that the search serves
	v      *view.View
	C      *keyspace.Coll // nil: the collection does not exist, and nothing is found
	Filter *query.Filter  // nil: all documents
	Sort   *query.Sort    // nil: the order of _id
	proj   *query.Projection
	o      Options
	Mod    bool        // the filter or the sort reads _mod
	modOut bool        // the projection reads _mod
	Text   *textQuery  // of $text; nil if the filter has none
	score  bool        // the sort is by text score
	at     time.Time   // of the query, for $$NOW
	Err    error       // of an expression that failed on a document
	now    time.Time   // what has expired then is hidden; zero if nothing expires
	sight  *view.Sight // what the read rule shows; nil if that is everything

	Access   *plan.Access   // the one that is used; nil if C is nil
	Found    []*plan.Access // all candidates, the chosen first
	Parts    []*plan.Access // to be walked, the first being under way
	Overtook *plan.Access   // that took over from Access; nil if none did
	Counted  int64          // keys that were counted to choose
	planner  *plan.Planner  // that chose Access; nil if nothing was chosen
	over     *overtaking    // nil if nothing can overtake
	source   source
	out      []view.Found // of which those before pos were returned
	pos      int
	done     bool
	seen     map[string]struct{} // the keys of the _ids found so far, if they may come again
	size     int                 // bytes of seen

	keysExamined, DocsExamined atomic.Int64 // for explain and for those who bound work
}

// A source is a part of an access being walked. A scan, a fetch, or what is left of a
// search after another access has taken over. The search closes it.
type source interface {
	// refill finds some more documents in order; none and more false at the end.
	refill(s *Search) (out []view.Found, more bool, err error)
	close()
}

// Workers is how many goroutines one call may use.
func Workers() int { return min(4, runtime.GOMAXPROCS(0)) }

// New compiles the query of o on a collection of v, and plans it. The caller owes Close,
// or gives the search to a Cursor; v stays the caller's.
func New(ctx context.Context, v *view.View, name string, o Options) (*Search, error) {
	return For(ctx, v, name, o, false)
}

// For is New for a query of which maybe only the number is wanted. For compiles in the
// order in which things depend on each other: the filter may be a text search, which gives
// the sort a score and leaves nothing to plan. Of a collection that does not exist the
// query is checked all the same.
func For(ctx context.Context, v *view.View, name string, o Options, count bool) (s *Search, err error) {
	if o.Skip < 0 || o.Limit < 0 {
		return nil, fault.Errorf(fault.BadValue, "skip and limit cannot be negative")
	}
	s = &Search{Ctx: ctx, v: v, C: v.Cat.Colls[name], o: o, at: v.Wall()}
	if s.sight, err = v.Sight(ctx, name); err != nil {
		return nil, err
	}
	if len(o.Filter) > 5 {
		if s.Filter, err = (query.Scope{Text: true}).Compile(o.Filter); err != nil {
			return nil, err
		}
		s.Filter = s.Filter.At(s.at)
		if args := s.Filter.Text(); args != nil {
			if s.Text, err = NewTextQuery(s.C, args); err != nil {
				return nil, err
			}
			o.Sort, s.score = splitScoreSort(o.Sort)
		}
	}
	if len(o.Sort) > 5 {
		if s.Sort, err = query.CompileSort(o.Sort); err != nil {
			return nil, err
		}
	}
	if len(o.Projection) > 5 {
		if s.proj, err = query.CompileProjection(o.Projection); err != nil {
			return nil, err
		}
	}
	s.Mod = s.Filter.Tree().Names("_mod") || s.Sort != nil && s.Sort.Names("_mod")
	s.modOut = s.proj != nil && s.proj.Names("_mod")
	if s.proj != nil && s.proj.NeedsScore() && s.Text == nil {
		return nil, fault.Errorf(fault.BadValue, "query requires text score metadata, but it is not available")
	}
	h, err := plan.ParseHint(value.Of(o.Hint))
	if err != nil || s.C == nil {
		return s, err
	}
	if len(s.C.TTL) > 0 && !o.Expired {
		s.now = v.Wall()
	}
	if s.Text != nil {
		if h != nil {
			return nil, plan.BadHint("$text takes the text index")
		}
		s.Access = s.Text.access(v)
		s.Parts = []*plan.Access{s.Access}
		return s, nil
	}
	p := &plan.Planner{V: v, C: s.C, Filter: s.Filter, Raw: o.Filter, Count: count, NoIndex: o.NoIndex}
	p.Stop = func() error { return s.Ctx.Err() }
	if s.Sort != nil {
		p.Sort = s.Sort.Fields()
	}
	p.Want = o.want()
	if s.Access, err = p.Plan(h); err != nil {
		return nil, err
	}
	s.Found, s.Counted = p.Found, p.Counted()
	s.planner = p
	s.mayOvertake()
	s.Parts = []*plan.Access{s.Access}
	if s.Access.Parts != nil {
		s.Parts = s.Access.Parts
	}
	return s, nil
}

// Close ends the search; it may be called twice.
func (s *Search) Close() {
	if s.source != nil {
		s.source.close()
		s.source = nil
	}
	s.done = true
	s.seen, s.out = nil, nil
}

// memory returns about how many bytes the search holds. It is an estimate: that of
// documents which are read ahead, not of buffers that do not grow with them.
func (s *Search) memory() int64 {
	n := int64(s.size)
	if s.Access != nil {
		n += s.Access.Held()
	}
	if s.over != nil {
		n += int64(s.over.size)
	}
	for i := range s.out {
		n += weight(&s.out[i])
	}
	if sc, ok := s.source.(*scan); ok {
		for _, c := range sc.chunks {
			n += int64(c.size)
		}
	}
	return n
}

// Next returns the next document that matches, in the order of the access; nil
// at the end.
func (s *Search) Next() (*view.Found, error) {
	for s.pos == len(s.out) {
		if s.C == nil || s.done {
			return nil, nil
		}
		if err := s.refill(); err != nil {
			return nil, err
		}
	}
	f := &s.out[s.pos]
	s.pos++
	return f, nil
}

// refill takes what the current source finds next; after its end, the next part of the
// access has its turn.
func (s *Search) refill() (err error) {
	s.out, s.pos = nil, 0
	if err := s.Ctx.Err(); err != nil {
		return err
	}
	if s.source == nil {
		if len(s.Parts) == 0 {
			s.done = true
			return nil
		}
		s.source = s.newSource(s.Parts[0])
	}
	var more bool
	if s.out, more, err = s.source.refill(s); err != nil {
		return err
	}
	if more {
		return s.watchCost()
	}
	s.source.close()
	s.source = nil
	s.Parts = s.Parts[1:]
	return nil
}

// newSource begins to walk one part of the access.
func (s *Search) newSource(a *plan.Access) source {
	if a.Index == nil && a.Ids == nil {
		return s.newScan(a)
	}
	f := &fetch{a: a, ids: a.Ids, stride: firstFetch}
	if a.Index != nil {
		f.w = newWalk(s.v, a)
	}
	if want := s.o.want(); want > 0 && (s.Sort == nil || a.Order.Whole) {
		f.stride = int(min(want, mostFetch))
	}
	return f
}

// test parses a stored document, which h then aliases, and reports whether it
// is one that matches.
func (s *Search) test(h *keyspace.Head, val []byte) (bool, error) {
	var err error
	if *h, err = keyspace.ParseHead(val); err != nil || h.Doc == nil {
		return false, err
	}
	return s.match(&h.State)
}

// match reports whether a document matches. It may be called by several
// goroutines. The cheap tests come first, the rule of the reader last.
func (s *Search) match(st *keyspace.State) (bool, error) {
	if !s.now.IsZero() && s.C.Expired(st.Doc, s.now) {
		return false, nil
	}
	if s.Text != nil {
		if _, ok := s.Text.Match(st.Doc); !ok {
			return false, nil
		}
	}
	ok, err := true, error(nil)
	switch {
	case s.Filter == nil:
	case s.Mod:
		ok, err = s.Filter.Test(keyspace.WithMod(*st))
	default:
		ok, err = s.Filter.Test(st.Doc)
	}
	return ok && s.sight.Shows(st.Doc), err
}

// Matches is match for the search's own goroutine; an error is kept in err.
func (s *Search) Matches(st *keyspace.State) bool {
	ok, err := s.match(st)
	s.Err = cmp.Or(s.Err, err)
	return ok
}

// appendSortKey appends the sort key of a document to dst.
func (s *Search) appendSortKey(dst []byte, st *keyspace.State) []byte {
	if s.score {
		score, _ := s.Text.Match(st.Doc)
		return s.Sort.Key(dst, withScore(keyspace.Visible(*st, s.Mod), score))
	}
	if s.Mod {
		return s.Sort.Key(dst, keyspace.WithMod(*st))
	}
	return s.Sort.Key(dst, st.Doc)
}

// SortKey returns the sort key of a document: bytes that order as the sort does.
func (s *Search) SortKey(st *keyspace.State) []byte { return s.appendSortKey(nil, st) }

// Project returns what of a document the projection shows; an error is kept in Err. The
// document itself, if there is no projection.
func (s *Search) Project(st *keyspace.State) bson.Raw {
	if s.proj == nil {
		return st.Doc
	}
	ctx := query.Context{Filter: s.Filter, Now: s.at}
	if s.Text != nil {
		ctx.Score, _ = s.Text.Match(st.Doc)
	}
	doc := st.Doc
	if s.modOut {
		doc = keyspace.WithMod(*st)
	}
	out, err := s.proj.Project(nil, doc, ctx)
	s.Err = cmp.Or(s.Err, err)
	return out
}

// repeated reports whether the document was found before and notes that it is
// found now; full says that no more can be noted. An array has a document in several
// places of an index, and a union may have it in several parts.
func (s *Search) repeated(a *plan.Access, idKey []byte) (again, full bool) {
	if s.gave(idKey) {
		return true, false
	}
	if a.Once && s.Access.Parts == nil && (s.Overtook == nil || s.Overtook.Parts == nil) {
		return false, false
	}
	if _, ok := s.seen[string(idKey)]; ok {
		return true, false
	}
	if s.size > MaxSeen {
		return false, true
	}
	if s.seen == nil {
		s.seen = map[string]struct{}{}
	}
	s.seen[string(idKey)] = struct{}{}
	s.size += len(idKey) + 32
	return false, false
}

// whole is the access to all documents.
func (s *Search) whole() *plan.Access {
	p := &plan.Planner{V: s.v, C: s.C}
	return p.Whole(false)
}

// MaxSeen is how many bytes of _ids a search remembers to leave out what it has
// found before. When they are more, the rest is scanned, where every document comes once.
var MaxSeen = 8 << 20
