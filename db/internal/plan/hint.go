package plan

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A hint names the access to use.
type hint struct {
	name    string
	keys    []keyspace.IndexKey
	natural int // 1 or -1: a scan in this direction
}

// ParseHint reads the name of an index, its key document or {$natural: ±1}; nil
// if there is none.
func ParseHint(v value.Value) (*hint, error) {
	switch {
	case !v.Exists(), v.IsDoc() && len(v.Data) <= 5:
		return nil, nil
	case v.Type == bson.TypeString:
		return &hint{name: string(v.Str())}, nil
	case !v.IsDoc():
		return nil, fault.Errorf(fault.FailedToParse, "Hint must be a string or an object")
	}
	h := &hint{}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		down := value.Equal(e, value.Int32(-1))
		if !down && !value.Equal(e, value.Int32(1)) {
			return nil, BadHint("%s must be 1 or -1", k)
		}
		if string(k) == "$natural" {
			if h.natural = 1; down {
				h.natural = -1
			}
			continue
		}
		h.keys = append(h.keys, keyspace.IndexKey{Path: string(k), Desc: down})
	}
	if h.natural != 0 && len(h.keys) > 0 {
		return nil, BadHint("$natural stands alone")
	}
	return h, nil
}

// BadHint is the error of a hint that cannot be followed.
func BadHint(format string, args ...any) error {
	return fault.Errorf(fault.BadValue, "bad hint: "+format, args...)
}

// hinted returns the access that a hint names, or an error: a hint is obeyed, whatever it
// costs, but never at the price of documents that the index lacks.
func (p *Planner) hinted(h *hint) (*Access, error) {
	byID := h.name == "_id_" || len(h.keys) == 1 && h.keys[0].Path == "_id" && !h.keys[0].Desc
	if h.natural != 0 || byID {
		a := p.onID()
		if h.natural != 0 {
			a = p.Whole(h.natural < 0)
		}
		p.Found = []*Access{a}
		return a, nil
	}
	at := slices.IndexFunc(p.C.Indexes, func(x *keyspace.Index) bool {
		if h.keys == nil {
			return x.Name == h.name
		}
		return slices.EqualFunc(x.Keys, h.keys, func(a, b keyspace.IndexKey) bool { return a.Path == b.Path && a.Desc == b.Desc && !a.Text })
	})
	if at < 0 {
		return nil, BadHint("hint provided does not correspond to an existing index")
	}
	x := p.C.Indexes[at]
	p.Found = p.onIndex(x, p.cons, true)
	switch {
	case !x.Ready:
		return nil, BadHint("index %s is being built", x.Name)
	case len(p.Found) == 0:
		return nil, BadHint("index %s may lack documents that match the filter", x.Name)
	}
	return p.best()
}

// Whole is the access to every document, in the order of _id.
func (p *Planner) Whole(reverse bool) *Access {
	docs := p.V.Space.Key(keyspace.TagDoc, keyspace.Num(p.C.Num))
	a := &Access{Base: len(docs), Once: true, Bounds: make([]Bound, 1), Streams: [][]store.Range{{store.Prefix(docs)}}}
	a.Order = orderOf(p.Sort, []keyspace.IndexKey{{Path: "_id"}}, nil)
	if len(p.Sort) == 0 && reverse {
		a.Order.reverse = true
	}
	if a.Reverse = a.Order.reverse; a.Reverse {
		a.turn()
	}
	return a
}
