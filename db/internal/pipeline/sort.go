package pipeline

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A sortStage sorts; documents that are equal keep their order. most is how many
// of them are wanted, 0 for all.
type sortStage struct {
	sort *query.Sort
	most int
}

// compileSort compiles {path: 1 or -1, …}; the order of the fields is that of the sort.
func compileSort(op string, arg value.Value) (stage, error) {
	switch {
	case !arg.IsDoc():
		return nil, fault.Errorf(fault.TypeMismatch, "the %s key specification must be an object", op)
	case len(arg.Data) <= 5:
		return nil, fault.Errorf(fault.FailedToParse, "%s stage must have at least one sort key", op)
	}
	s, err := query.CompileSort(bson.Raw(arg.Data))
	return &sortStage{sort: s}, in(op, err)
}

// A keyed document has its sort key and its position in the input.
type keyed struct {
	key, doc []byte
	position int
}

// The position makes the order total, and the sort stable although neither the heap nor
// SortFunc is.
func (k *keyed) compare(o *keyed) int {
	return cmp.Or(bytes.Compare(k.key, o.key), cmp.Compare(k.position, o.position))
}

// A last is a heap with the last in order on top.
type last []*keyed

func (h last) Len() int           { return len(h) }
func (h last) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h last) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *last) Push(x any)        { *h = append(*h, x.(*keyed)) }
func (h *last) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

const keyedSize = 80 // bytes of a keyed and its position in the heap

// With most set a heap of that many has the last of them on top: a document that is behind
// it, or equal to it and so later in the input, costs its key and no copy. Without, all are
// kept and sorted at the end.
func (s *sortStage) open(r *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		var h last
		var key []byte
		for i := 0; ; i++ {
			doc, err := in.Next()
			if err != nil {
				return nil, err
			}
			if doc == nil {
				break
			}
			key = s.sort.Key(key[:0], doc)
			full := s.most > 0 && len(h) == s.most
			if full && bytes.Compare(key, h[0].key) >= 0 {
				continue
			}
			k := &keyed{bytes.Clone(key), bytes.Clone(doc), i}
			if err := r.hold("$sort", len(k.key)+len(k.doc)+keyedSize); err != nil {
				return nil, err
			}
			switch {
			case full:
				r.drop(len(h[0].key) + len(h[0].doc) + keyedSize)
				h[0] = k
				heap.Fix(&h, 0)
			case s.most > 0:
				heap.Push(&h, k)
			default:
				h = append(h, k)
			}
		}
		slices.SortFunc(h, (*keyed).compare)
		docs := make([][]byte, len(h))
		for i, k := range h {
			docs[i] = k.doc
		}
		return docs, nil
	}}, nil
}
