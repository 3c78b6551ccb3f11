package db

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// FindOptions selects documents. The zero value selects all, in _id order.
type FindOptions struct {
	Filter, Sort, Projection bson.Raw
	Skip, Limit              int64         // a Limit of 0 means none
	Hint                     bson.RawValue // an index by name or key document, or {$natural: ±1}; zero means none
	MaxTime                  time.Duration // that Find and the cursor may work, together; 0 means no bound
	NoIndex                  bool          // scan, whatever indexes there are
	expired                  bool          // what has expired too
}

// want returns how many documents are wanted, those skipped with them; 0 means
// all.
func (o *FindOptions) want() int64 {
	if o.Limit <= 0 || o.Skip > math.MaxInt64-o.Limit {
		return 0
	}
	return o.Skip + o.Limit
}

// A found is a document that a query found.
type found struct {
	head
	idKey   []byte
	sortKey []byte
}

// A search is a compiled query on one view. It belongs to one goroutine and uses
// others for as long as a call takes.
type search struct {
	ctx    context.Context //nolint:containedctx // of the call that the search serves
	db     *DB
	v      *view
	c      *coll
	filter *query.Filter
	sort   *query.Sort
	proj   *query.Projection
	o      FindOptions
	mod    bool // the filter or the sort reads _mod
	modOut bool // the projection reads _mod
	text   *textQuery
	score  bool      // the sort is by text score
	at     time.Time // of the query, for $$NOW
	err    error     // of an expression that failed on a document
	now    time.Time // what has expired then is hidden; zero if nothing expires
	sight  *sight    // what the read rule shows; nil if that is everything

	access *access
	found  []*access // all candidates, the chosen first
	parts  []*access // to be walked, the first being under way
	source source
	out    []found // of which those before pos were returned
	pos    int
	done   bool
	seen   map[string]struct{} // the keys of the _ids found so far, if they may come again
	size   int                 // bytes of seen

	keysExamined, docsExamined atomic.Int64
}

// A source is a part of an access being walked.
type source interface {
	// refill finds some more documents in order; none and more false at the end.
	refill(s *search) (out []found, more bool, err error)
	close()
}

// workers is how many goroutines one call may use.
func workers() int { return min(4, runtime.GOMAXPROCS(0)) }

func (db *DB) newSearch(ctx context.Context, v *view, name string, o FindOptions) (*search, error) {
	return db.searchFor(ctx, v, name, o, false)
}

// searchFor is newSearch for a query of which maybe only the number is wanted.
func (db *DB) searchFor(ctx context.Context, v *view, name string, o FindOptions, count bool) (s *search, err error) {
	if o.Skip < 0 || o.Limit < 0 {
		return nil, fault.Errorf(fault.BadValue, "skip and limit cannot be negative")
	}
	s = &search{ctx: ctx, db: db, v: v, c: v.cat.colls[name], o: o, at: db.wall()}
	if s.sight, err = v.sight(ctx, db, name); err != nil {
		return nil, err
	}
	if bytes.Contains(o.Filter, []byte("$text\x00")) {
		var spec bson.Raw
		if o.Filter, spec, err = splitText(o.Filter); err != nil {
			return nil, err
		}
		if spec != nil {
			if s.text, err = newTextQuery(s.c, spec); err != nil {
				return nil, err
			}
			o.Sort, s.score = splitScoreSort(o.Sort)
		}
	}
	if len(o.Filter) > 5 {
		if s.filter, err = query.Compile(o.Filter); err != nil {
			return nil, err
		}
		s.filter = s.filter.At(s.at)
	}
	if len(o.Sort) > 5 {
		if s.sort, err = query.CompileSort(o.Sort); err != nil {
			return nil, err
		}
	}
	if len(o.Projection) > 5 {
		if s.proj, err = query.CompileProjection(o.Projection); err != nil {
			return nil, err
		}
	}
	mod := []byte("_mod\x00")
	s.mod = bytes.Contains(o.Filter, mod) || bytes.Contains(o.Sort, mod)
	s.modOut = bytes.Contains(o.Projection, mod)
	if s.proj != nil && s.proj.NeedsScore() && s.text == nil {
		return nil, fault.Errorf(fault.BadValue, "query requires text score metadata, but it is not available")
	}
	h, err := parseHint(value.Of(o.Hint))
	if err != nil || s.c == nil {
		return s, err
	}
	if len(s.c.ttl) > 0 && !o.expired {
		s.now = db.wall()
	}
	if s.text != nil {
		if h != nil {
			return nil, badHint("$text takes the text index")
		}
		s.access = s.text.access(db)
		s.parts = []*access{s.access}
		return s, nil
	}
	p := &planner{db: db, v: v, c: s.c, filter: s.filter, raw: o.Filter, count: count, noIndex: o.NoIndex}
	if s.sort != nil {
		p.sort = s.sort.Fields()
	}
	p.want = o.want()
	if s.access, err = p.plan(h); err != nil {
		return nil, err
	}
	s.found = p.found
	s.parts = []*access{s.access}
	if s.access.parts != nil {
		s.parts = s.access.parts
	}
	return s, nil
}

// close ends the search; it may be called twice.
func (s *search) close() {
	if s.source != nil {
		s.source.close()
		s.source = nil
	}
	s.done = true
	s.seen, s.out = nil, nil
}

// memory returns about how many bytes the search holds.
func (s *search) memory() int64 {
	n := int64(s.size)
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

// next returns the next document that matches, in the order of the access; nil
// at the end.
func (s *search) next() (*found, error) {
	for s.pos == len(s.out) {
		if s.c == nil || s.done {
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

func (s *search) refill() (err error) {
	s.out, s.pos = nil, 0
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.source == nil {
		if len(s.parts) == 0 {
			s.done = true
			return nil
		}
		s.source = s.newSource(s.parts[0])
	}
	var more bool
	if s.out, more, err = s.source.refill(s); err != nil || more {
		return err
	}
	s.source.close()
	s.source = nil
	s.parts = s.parts[1:]
	return nil
}

func (s *search) newSource(a *access) source {
	if a.index == nil && a.ids == nil {
		return s.newScan(a)
	}
	f := &fetch{a: a, ids: a.ids, step: firstFetch}
	if a.index != nil {
		f.w = newWalk(s.db, s.v, a)
	}
	if want := s.o.want(); want > 0 && (s.sort == nil || a.order.whole) {
		f.step = int(min(want, mostFetch))
	}
	return f
}

// judge parses a stored document, which h then aliases, and reports whether it
// is one that matches.
func (s *search) judge(h *head, val []byte) (bool, error) {
	var err error
	if *h, err = parseHead(val); err != nil || h.doc == nil {
		return false, err
	}
	return s.match(&h.state)
}

// match reports whether a document matches. It may be called by several
// goroutines.
func (s *search) match(st *state) (bool, error) {
	if !s.now.IsZero() && s.c.expired(st.doc, s.now) {
		return false, nil
	}
	if s.text != nil {
		if _, ok := s.text.match(st.doc); !ok {
			return false, nil
		}
	}
	ok, err := true, error(nil)
	switch {
	case s.filter == nil:
	case s.mod:
		ok, err = s.filter.Test(withMod(*st))
	default:
		ok, err = s.filter.Test(st.doc)
	}
	return ok && s.sight.shows(st.doc), err
}

// matches is match for the search's own goroutine; an error is kept in err.
func (s *search) matches(st *state) bool {
	ok, err := s.match(st)
	s.err = cmp.Or(s.err, err)
	return ok
}

// appendSortKey appends the sort key of a document to dst.
func (s *search) appendSortKey(dst []byte, st *state) []byte {
	if s.score {
		score, _ := s.text.match(st.doc)
		return s.sort.Key(dst, withScore(visible(*st, s.o.Sort), score))
	}
	if s.mod {
		return s.sort.Key(dst, withMod(*st))
	}
	return s.sort.Key(dst, st.doc)
}

func (s *search) sortKey(st *state) []byte { return s.appendSortKey(nil, st) }

func (s *search) project(st *state) bson.Raw {
	if s.proj == nil {
		return st.doc
	}
	ctx := query.Context{Filter: s.filter, Now: s.at}
	if s.text != nil {
		ctx.Score, _ = s.text.match(st.doc)
	}
	doc := st.doc
	if s.modOut {
		doc = withMod(*st)
	}
	out, err := s.proj.Project(nil, doc, ctx)
	s.err = cmp.Or(s.err, err)
	return out
}

// get returns a document by its _id's key; nil if there is none.
func (v *view) get(db *DB, c *coll, idKey []byte) (*found, error) {
	b, err := v.snap.Get(db.key(tagDoc, num(c.num), idKey))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &found{idKey: idKey}
	f.head, err = parseHead(b)
	if err != nil || f.doc == nil {
		return nil, err
	}
	return f, nil
}

// repeated reports whether the document was found before and notes that it is
// found now; full says that no more can be noted.
func (s *search) repeated(a *access, idKey []byte) (again, full bool) {
	if a.once && s.access.parts == nil {
		return false, false
	}
	if _, ok := s.seen[string(idKey)]; ok {
		return true, false
	}
	if s.size > maxSeen {
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
func (s *search) whole() *access {
	p := &planner{db: s.db, v: s.v, c: s.c}
	return p.whole(false)
}

// maxSeen is how many bytes of _ids a search remembers to leave out what it has
// found before.
var maxSeen = 8 << 20
