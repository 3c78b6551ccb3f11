package search

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/store"
)

const (
	firstFetch = 16      // documents of the first batch, if it is not known how many are wanted
	mostFetch  = 256     // documents of a batch
	mostBytes  = 4 << 20 // of the documents of a batch, as far as their size is known
)

// A fetch gets documents by the _ids that a walk or a list gives, many at a time. A batch
// is looked up in the order of the keys, by several goroutines, and returned in the order
// of the walk. Batches grow: who wants one document pays for few.
type fetch struct {
	a       *plan.Access
	w       *walk
	ids     [][]byte  // that are left, if there is no walk
	stride  int       // documents of the next batch
	largest int       // of the documents seen, in bytes
	buf     []byte    // the keys of the batch, one after the other
	ends    []int     // where each ends
	getters []*getter // of each goroutine
}

func (f *fetch) close() {
	if f.w != nil {
		f.w.close()
	}
	for _, g := range f.getters {
		g.close()
	}
	f.getters = nil
}

// batch reads the next keys into f; more is false at the end.
func (f *fetch) batch(s *Search) (more bool, err error) {
	f.buf, f.ends = f.buf[:0], f.ends[:0]
	for more = true; more && len(f.ends) < f.stride; {
		var k []byte
		if f.w == nil {
			if more = len(f.ids) > 0; !more {
				break
			}
			k, f.ids = f.ids[0], f.ids[1:]
		} else if k, err = f.w.next(); err != nil {
			return false, err
		} else if more = k != nil; !more {
			break
		}
		if again, full := s.repeated(f.a, k); full {
			// The rest is scanned: there every document comes once.
			s.Parts, more = []*plan.Access{f.a, s.whole()}, false
			break
		} else if again {
			continue
		}
		f.buf = append(f.buf, k...)
		f.ends = append(f.ends, len(f.buf))
	}
	if f.w != nil {
		s.keysExamined.Add(f.w.keys)
		f.w.keys = 0
	}
	f.stride = min(2*f.stride, mostFetch)
	if f.largest > 0 {
		f.stride = max(1, min(f.stride, mostBytes/f.largest))
	}
	return more, nil
}

// key returns the _id's key of document i of the batch, a part of buf.
func (f *fetch) key(i int) []byte {
	from := 0
	if i > 0 {
		from = f.ends[i-1]
	}
	return f.buf[from:f.ends[i]:f.ends[i]]
}

// each gets the documents of a batch that match, with a goroutine for each part of it, and
// calls visit with the part's number and the document's, in any order. Few documents are
// not worth a second goroutine. Each goroutine keeps its getter, whose iterator goes on
// with the next batch.
func (f *fetch) each(s *Search, visit func(part, i int, h *keyspace.Head) error) error {
	n, parts := len(f.ends), 1
	if n >= 32 {
		parts = Workers()
	}
	for len(f.getters) < parts {
		f.getters = append(f.getters, &getter{snap: s.v.Snap, prefix: s.v.Space.Key(keyspace.TagDoc, keyspace.Num(s.C.Num))})
	}
	sizes, errs := make([]int, parts), make([]error, parts)
	parallel(parts, func(p int) { sizes[p], errs[p] = f.part(s, p, n*p/parts, n*(p+1)/parts, visit) })
	f.largest = max(f.largest, slices.Max(sizes))
	return errors.Join(errs...)
}

// part gets the documents from number from to number to.
func (f *fetch) part(s *Search, p, from, to int, visit func(part, i int, h *keyspace.Head) error) (largest int, err error) {
	var h keyspace.Head
	docs, g := 0, f.getters[p]
	if to-from < fewDocs {
		g.skip = max(g.skip, to-from)
	}
	defer func() { s.DocsExamined.Add(int64(docs)) }()
	order := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		order = append(order, i)
	}
	// In the order of the keys, which getters are quick at; visit gets the number that
	// puts each back in its place.
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(f.key(a), f.key(b)) })
	for _, i := range order {
		val, err := g.get(f.key(i))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return largest, err
		}
		docs++
		largest = max(largest, len(val))
		ok, err := s.test(&h, val)
		if ok {
			err = visit(p, i, &h)
		}
		if err != nil {
			return largest, err
		}
	}
	return largest, nil
}

// parallel calls f with 0 to n-1, at the same time, and returns when all have.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := 1; i < n; i++ {
		wg.Go(func() { f(i) })
	}
	f(0)
	wg.Wait()
}

// refill looks up one batch. A document that is not there, or does not match, leaves a hole
// that is closed at the end, so the order of the walk stays without sorting.
func (f *fetch) refill(s *Search) (out []view.Found, more bool, err error) {
	if more, err = f.batch(s); err != nil || len(f.ends) == 0 {
		return nil, more, err
	}
	keys := &fetch{buf: f.buf, ends: f.ends} // what is found keeps them
	all := make([]view.Found, len(f.ends))
	err = f.each(s, func(_, i int, h *keyspace.Head) error {
		all[i] = view.Found{Head: *h, IDKey: keys.key(i)}
		all[i].Doc = bytes.Clone(h.Doc)
		return nil
	})
	f.buf, f.ends = nil, nil
	return slices.DeleteFunc(all, func(f view.Found) bool { return f.Doc == nil }), more, err
}

// A getter gets documents by _id, in ascending order for a while. It walks on
// while they lie close together, and looks each up where they do not.
type getter struct {
	snap   store.Snapshot
	prefix []byte
	key    []byte
	it     store.Iterator // nil before the first walk
	seek   bool           // it is far from the next key
	skip   int            // documents to look up before the next try
	wait   int            // skip after the next failure
}

const (
	fewDocs    = 24 // that are looked up each
	mostWalked = 8  // keys that are walked over to the next document
	maxWait    = 1024
)

// get returns what is stored of a document, valid until the next call, or
// store.ErrNotFound. Moving an iterator on costs a fraction of a lookup, if the next key is
// a few keys on; each time it is not, the next tries are put off for longer.
func (g *getter) get(idKey []byte) ([]byte, error) {
	g.key = append(append(g.key[:0], g.prefix...), idKey...)
	if g.skip > 0 {
		g.skip--
		return g.snap.Get(g.key)
	}
	switch {
	case g.it == nil:
		g.it = g.snap.Iterate(store.Prefix(g.prefix))
		g.it.Seek(g.key)
	case g.seek || !g.it.Valid() || bytes.Compare(g.it.Key(), g.key) > 0:
		g.it.Seek(g.key)
	}
	g.seek = false
	for n := 0; n < mostWalked; n++ {
		c := 1
		if g.it.Valid() {
			c = bytes.Compare(g.it.Key(), g.key)
		}
		if c > 0 {
			return nil, cmp.Or(g.it.Err(), store.ErrNotFound)
		}
		if c == 0 {
			if n > 0 {
				g.wait /= 2
			}
			return g.it.Value()
		}
		g.it.Next()
	}
	g.wait = min(2*g.wait+mostWalked, maxWait)
	g.seek, g.skip = true, g.wait
	return g.snap.Get(g.key)
}

func (g *getter) close() {
	if g.it != nil {
		g.it.Close()
	}
}
