package search

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// MaxSort is how many bytes a sort without an index may hold.
const MaxSort = 64 << 20

// Less orders by the sort and then by _id, whatever the access. The _id makes the order
// total: it is the same on every run, so that pages by skip and limit fit together.
func Less(a, b *view.Found) int {
	return cmp.Or(bytes.Compare(a.SortKey, b.SortKey), bytes.Compare(a.IDKey, b.IDKey))
}

// A topK keeps the first documents of a sort: a heap with the last on top, so that a
// document behind it costs one comparison and no copy. Those
// of one search share a bound on their bytes.
type topK struct {
	s    *Search
	want int64 // 0 means all
	held *atomic.Int64
	docs []view.Found
	key  []byte // scratch
}

func (h *topK) Len() int           { return len(h.docs) }
func (h *topK) Less(i, j int) bool { return Less(&h.docs[i], &h.docs[j]) > 0 }
func (h *topK) Swap(i, j int)      { h.docs[i], h.docs[j] = h.docs[j], h.docs[i] }
func (h *topK) Push(x any)         { h.docs = append(h.docs, x.(view.Found)) }
func (h *topK) Pop() any {
	x := h.docs[len(h.docs)-1]
	h.docs = h.docs[:len(h.docs)-1]
	return x
}

// Take implements sink.
func (h *topK) Take(d *keyspace.Head, idKey []byte) error {
	h.key = h.s.appendSortKey(h.key[:0], &d.State)
	f := view.Found{Head: *d, IDKey: idKey, SortKey: h.key}
	full := h.want > 0 && int64(len(h.docs)) == h.want
	if full && Less(&f, &h.docs[0]) >= 0 {
		return nil
	}
	f.Doc, f.IDKey, f.SortKey = bytes.Clone(d.Doc), bytes.Clone(idKey), bytes.Clone(h.key)
	size := weight(&f)
	switch {
	case full:
		size -= weight(&h.docs[0])
		h.docs[0] = f
		heap.Fix(h, 0)
	case h.want > 0:
		heap.Push(h, f)
	default:
		h.docs = append(h.docs, f)
	}
	if h.held.Add(size) > MaxSort {
		return errSortMemory()
	}
	return nil
}

// weight is what a document that a query holds counts, in bytes. 160 is about what its
// structure takes.
func weight(f *view.Found) int64 { return int64(len(f.Doc) + len(f.IDKey) + len(f.SortKey) + 160) }

func errSortMemory() error {
	return fault.Of(keyspace.ErrMemory,
		"the sort holds more than %d MiB; use an index or a limit", MaxSort>>20)
}

// sortAll reads everything and returns it sorted, the first Skip + Limit, and
// how many bytes it holds. Each goroutine keeps its own first ones, which are merged.
func (s *Search) sortAll() ([]view.Found, int64, error) {
	want := s.o.want()
	var held atomic.Int64
	heaps := make([]Sink, Workers())
	for i := range heaps {
		heaps[i] = &topK{s: s, want: want, held: &held}
	}
	if err := s.Drain(heaps); err != nil {
		return nil, 0, err
	}
	var all []view.Found
	for _, h := range heaps {
		all = append(all, h.(*topK).docs...)
	}
	slices.SortFunc(all, func(a, b view.Found) int { return Less(&a, &b) })
	// Each heap kept as many as are wanted; what is dropped now was counted as held.
	if want > 0 && int64(len(all)) > want {
		for i := want; i < int64(len(all)); i++ {
			held.Add(-weight(&all[i]))
			all[i] = view.Found{}
		}
		all = all[:want]
	}
	return all, held.Load(), nil
}

// A tieSort sorts what comes in the order of the first fields of the sort: one tie after
// the other: the documents that are alike in these. It reads one document beyond each tie.
// MaxSort holds for one tie at a time, as only one is held.
type tieSort struct {
	s     *Search
	next  *view.Found // the first of the tie to come
	out   []view.Found
	held  int64 // bytes of out
	ended bool
}

// pull returns the next document; nil at the end.
func (g *tieSort) pull() (*view.Found, error) {
	if len(g.out) == 0 && !g.ended {
		if err := g.sortNext(); err != nil {
			return nil, err
		}
	}
	if len(g.out) == 0 {
		return nil, nil
	}
	f := &g.out[0]
	g.out = g.out[1:]
	return f, nil
}

// sortNext reads and sorts the next tie. No more are kept of a tie than are wanted in all,
// since those behind them are never given out.
func (g *tieSort) sortNext() error {
	var held atomic.Int64
	h := &topK{s: g.s, want: g.s.o.want(), held: &held}
	var same []byte
	for {
		f := g.next
		if g.next = nil; f == nil {
			var err error
			if f, err = g.s.Next(); err != nil {
				return err
			}
		}
		if f == nil {
			g.ended = true
			break
		}
		if f.SortKey == nil {
			f.SortKey = g.s.SortKey(&f.State)
		}
		n := g.alike(f.SortKey)
		if same == nil {
			same = bytes.Clone(f.SortKey[:n])
		} else if !bytes.Equal(same, f.SortKey[:n]) {
			g.next = f
			break
		}
		if err := h.Take(&f.Head, f.IDKey); err != nil {
			return err
		}
	}
	slices.SortFunc(h.docs, func(a, b view.Found) int { return Less(&a, &b) })
	g.out, g.held = h.docs, held.Load()
	return nil
}

// alike returns the length of the part of a sort key that the walk orders by.
func (g *tieSort) alike(key []byte) int {
	n := 0
	for _, f := range g.s.Sort.Fields()[:g.s.Access.Order.Fields] {
		if k := value.KeyLen(key[n:], f.Desc); k > 0 {
			n += k
		}
	}
	return min(n, len(key))
}
