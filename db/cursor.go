package db

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// maxSort is how many bytes a sort without an index may hold.
const maxSort = 64 << 20

// FindOptions selects documents. The zero value selects all, in _id order.
type FindOptions struct {
	Filter, Sort, Projection bson.Raw
	Skip, Limit              int64 // a Limit of 0 means none
	NoIndex                  bool  // scan, whatever indexes there are
	expired                  bool  // what has expired too
}

// A found is a document that a query found.
type found struct {
	head
	idKey   []byte
	sortKey []byte
}

// A search is a compiled query on one view.
type search struct {
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

	access access
	it     store.Iterator
	wide   bool // the documents beside the index come first
	seen   map[string]struct{}
}

func (db *DB) newSearch(v *view, name string, o FindOptions) (s *search, err error) {
	if o.Skip < 0 || o.Limit < 0 {
		return nil, fmt.Errorf("db: skip and limit cannot be negative")
	}
	s = &search{db: db, v: v, c: v.cat.colls[name], o: o, at: db.wall()}
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
		return nil, value.Errorf(codeScoreMissing, "query requires text score metadata, but it is not available")
	}
	if s.c != nil {
		if len(s.c.ttl) > 0 && !o.expired {
			s.now = db.wall()
		}
		if s.text != nil {
			s.access = s.text.access(db)
		} else {
			s.access = v.planFor(db, s.c, s.filter, s.sort, o.NoIndex)
		}
		if s.access.index != nil {
			s.wide, s.seen = true, map[string]struct{}{}
		}
	}
	return s, nil
}

func (s *search) close() {
	if s.it != nil {
		s.it.Close()
		s.it = nil
	}
}

// next returns the next document that matches, in the order of the access; nil
// at the end.
func (s *search) next() (*found, error) {
	if s.c == nil {
		return nil, nil
	}
	for {
		if s.it == nil {
			switch {
			case s.wide:
				s.wide = false
				s.it = s.v.snap.Iterate(store.Prefix(s.db.key(tagWide, num(s.access.index.num))))
			case len(s.access.ranges) > 0:
				s.it = s.v.snap.Iterate(s.access.ranges[0])
				s.access.ranges = s.access.ranges[1:]
			default:
				return nil, nil
			}
		}
		if !s.it.Valid() {
			err := s.it.Err()
			s.close()
			if err != nil {
				return nil, err
			}
			continue
		}
		f, err := s.load()
		if err != nil {
			return nil, err
		}
		s.it.Next()
		if f != nil && s.matches(&f.state) {
			return f, nil
		}
		if s.err != nil {
			return nil, s.err
		}
	}
}

// load reads the document at the iterator; nil if there is none or it was seen.
func (s *search) load() (*found, error) {
	key := s.it.Key()
	if s.access.index == nil {
		v, err := s.it.Value()
		if err != nil {
			return nil, err
		}
		f := &found{idKey: bytes.Clone(key[len(s.db.prefix)+1+len(num(s.c.num)):])}
		f.head, err = parseHead(v)
		if err != nil || f.doc == nil {
			return nil, err
		}
		f.doc = bytes.Clone(f.doc)
		return f, nil
	}
	var idKey []byte
	if p := s.db.key(tagWide, num(s.access.index.num)); bytes.HasPrefix(key, p) {
		idKey = key[len(p):]
	} else {
		var ok bool
		if idKey, ok = s.access.idKeyOf(key); !ok {
			return nil, errCorrupt
		}
	}
	if s.access.index.multi.Load() {
		if _, ok := s.seen[string(idKey)]; ok {
			return nil, nil
		}
		s.seen[string(idKey)] = struct{}{}
	}
	return s.v.get(s.db, s.c, bytes.Clone(idKey))
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
	f.doc = bytes.Clone(f.doc)
	return f, nil
}

func (s *search) matches(st *state) bool {
	if !s.now.IsZero() && s.c.expired(st.doc, s.now) {
		return false
	}
	if s.text != nil {
		if _, ok := s.text.match(st.doc); !ok {
			return false
		}
	}
	if s.filter == nil {
		return true
	}
	doc := st.doc
	if s.mod {
		doc = withMod(*st)
	}
	ok, err := s.filter.Test(doc)
	s.err = cmp.Or(s.err, err)
	return ok
}

func (s *search) sortKey(st *state) []byte {
	if s.score {
		score, _ := s.text.match(st.doc)
		return s.sort.Key(nil, withScore(visible(*st, s.o.Sort), score))
	}
	if s.mod {
		return s.sort.Key(nil, withMod(*st))
	}
	return s.sort.Key(nil, st.doc)
}

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

// less orders by the sort and then by _id, whatever the access.
func less(a, b *found) int {
	return cmp.Or(bytes.Compare(a.sortKey, b.sortKey), bytes.Compare(a.idKey, b.idKey))
}

// A topK is a heap with the largest on top.
type topK []*found

func (h topK) Len() int           { return len(h) }
func (h topK) Less(i, j int) bool { return less(h[i], h[j]) > 0 }
func (h topK) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *topK) Push(x any)        { *h = append(*h, x.(*found)) }
func (h *topK) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// sortAll reads everything and returns it sorted, the first Skip + Limit.
func (s *search) sortAll(ctx context.Context) ([]*found, error) {
	var h topK
	size := 0
	want := int64(0)
	if s.o.Limit > 0 {
		want = s.o.Skip + s.o.Limit
	}
	for i := 0; ; i++ {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f, err := s.next()
		if err != nil {
			return nil, err
		}
		if f == nil {
			break
		}
		f.sortKey = s.sortKey(&f.state)
		if want > 0 && int64(len(h)) == want {
			if less(f, h[0]) >= 0 {
				continue
			}
			size -= len(h[0].doc) + len(h[0].sortKey)
			h[0] = f
			heap.Fix(&h, 0)
		} else {
			heap.Push(&h, f)
		}
		if size += len(f.doc) + len(f.sortKey); size > maxSort {
			return nil, fmt.Errorf("%w: the sort holds more than %d MiB; use an index or a limit", ErrTooLarge, maxSort>>20)
		}
	}
	slices.SortFunc(h, less)
	return h, nil
}

// A Cursor walks the result of a Find, which is that of one moment. It belongs
// to one goroutine; the caller owes Close.
type Cursor struct {
	ctx    context.Context //nolint:containedctx // of the Find that the cursor is the result of
	s      *search
	sorted []*found // if the sort needed it
	isMem  bool
	left   int64 // documents to return; -1 for all
	skip   int64
	cur    *found
	err    error
}

func (db *DB) find(ctx context.Context, name string, o FindOptions) (*Cursor, error) {
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	s, err := db.newSearch(v, name, o)
	if err != nil {
		v.release()
		return nil, err
	}
	c := &Cursor{ctx: ctx, s: s, left: -1, skip: o.Skip}
	if o.Limit > 0 {
		c.left = o.Limit
	}
	if s.sort != nil && !s.access.sorted {
		c.isMem = true
		if c.sorted, err = s.sortAll(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Next moves to the next document.
func (c *Cursor) Next() bool {
	for c.err == nil && c.s != nil && c.left != 0 {
		if c.err = c.ctx.Err(); c.err != nil {
			break
		}
		if c.s.db.ended.Load() {
			c.err = ErrClosed
			break
		}
		if c.cur = c.pull(); c.cur == nil {
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

func (c *Cursor) pull() *found {
	if c.isMem {
		if len(c.sorted) == 0 {
			return nil
		}
		f := c.sorted[0]
		c.sorted = c.sorted[1:]
		return f
	}
	f, err := c.s.next()
	c.err = err
	return f
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
	c.s.close()
	c.s.v.release()
	c.s = nil
	c.cur = nil
}
