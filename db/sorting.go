package db

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// maxSort is how many bytes a sort without an index may hold.
const maxSort = 64 << 20

// less orders by the sort and then by _id, whatever the access.
func less(a, b *found) int {
	return cmp.Or(bytes.Compare(a.sortKey, b.sortKey), bytes.Compare(a.idKey, b.idKey))
}

// A topK keeps the first documents of a sort: a heap with the last on top. Those
// of one search share a bound on their bytes.
type topK struct {
	s    *search
	want int64 // 0 means all
	held *atomic.Int64
	docs []found
	key  []byte // scratch
}

func (h *topK) Len() int           { return len(h.docs) }
func (h *topK) Less(i, j int) bool { return less(&h.docs[i], &h.docs[j]) > 0 }
func (h *topK) Swap(i, j int)      { h.docs[i], h.docs[j] = h.docs[j], h.docs[i] }
func (h *topK) Push(x any)         { h.docs = append(h.docs, x.(found)) }
func (h *topK) Pop() any {
	x := h.docs[len(h.docs)-1]
	h.docs = h.docs[:len(h.docs)-1]
	return x
}

// take implements sink.
func (h *topK) take(d *head, idKey []byte) error {
	h.key = h.s.appendSortKey(h.key[:0], &d.state)
	f := found{head: *d, idKey: idKey, sortKey: h.key}
	full := h.want > 0 && int64(len(h.docs)) == h.want
	if full && less(&f, &h.docs[0]) >= 0 {
		return nil
	}
	f.doc, f.idKey, f.sortKey = bytes.Clone(d.doc), bytes.Clone(idKey), bytes.Clone(h.key)
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
	if h.held.Add(size) > maxSort {
		return errSortMemory()
	}
	return nil
}

// weight is what a document that a query holds counts, in bytes.
func weight(f *found) int64 { return int64(len(f.doc) + len(f.idKey) + len(f.sortKey) + 160) }

func errSortMemory() error {
	return fault.Of(errMemory,
		"the sort holds more than %d MiB; use an index or a limit", maxSort>>20)
}

// sortAll reads everything and returns it sorted, the first Skip + Limit, and
// how many bytes it holds.
func (s *search) sortAll() ([]found, int64, error) {
	want := s.o.want()
	var held atomic.Int64
	heaps := make([]sink, workers())
	for i := range heaps {
		heaps[i] = &topK{s: s, want: want, held: &held}
	}
	if err := s.drain(heaps); err != nil {
		return nil, 0, err
	}
	var all []found
	for _, h := range heaps {
		all = append(all, h.(*topK).docs...)
	}
	slices.SortFunc(all, func(a, b found) int { return less(&a, &b) })
	if want > 0 && int64(len(all)) > want {
		for i := want; i < int64(len(all)); i++ {
			held.Add(-weight(&all[i]))
			all[i] = found{}
		}
		all = all[:want]
	}
	return all, held.Load(), nil
}

// A grouping sorts what comes in the order of the first fields of the sort: one
// group after the other of documents that are alike in these.
type grouping struct {
	s     *search
	next  *found // of the group to come
	out   []found
	held  int64 // bytes of out
	ended bool
}

// pull returns the next document; nil at the end.
func (g *grouping) pull() (*found, error) {
	if len(g.out) == 0 && !g.ended {
		if err := g.group(); err != nil {
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

// group reads and sorts one group.
func (g *grouping) group() error {
	var held atomic.Int64
	h := &topK{s: g.s, want: g.s.o.want(), held: &held}
	var same []byte
	for {
		f := g.next
		if g.next = nil; f == nil {
			var err error
			if f, err = g.s.next(); err != nil {
				return err
			}
		}
		if f == nil {
			g.ended = true
			break
		}
		if f.sortKey == nil {
			f.sortKey = g.s.sortKey(&f.state)
		}
		n := g.alike(f.sortKey)
		if same == nil {
			same = bytes.Clone(f.sortKey[:n])
		} else if !bytes.Equal(same, f.sortKey[:n]) {
			g.next = f
			break
		}
		if err := h.take(&f.head, f.idKey); err != nil {
			return err
		}
	}
	slices.SortFunc(h.docs, func(a, b found) int { return less(&a, &b) })
	g.out, g.held = h.docs, held.Load()
	return nil
}

// alike returns the length of the part of a sort key that the walk orders by.
func (g *grouping) alike(key []byte) int {
	n := 0
	for _, f := range g.s.sort.Fields()[:g.s.access.order.fields] {
		if k := value.KeyLen(key[n:], f.Desc); k > 0 {
			n += k
		}
	}
	return min(n, len(key))
}
