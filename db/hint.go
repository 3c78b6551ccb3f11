package db

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A hint names the access to use.
type hint struct {
	name    string
	keys    []IndexKey
	natural int // 1 or -1: a scan in this direction
}

// parseHint reads the name of an index, its key document or {$natural: ±1}; nil
// if there is none.
func parseHint(v value.Value) (*hint, error) {
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
			return nil, badHint("%s must be 1 or -1", k)
		}
		if string(k) == "$natural" {
			if h.natural = 1; down {
				h.natural = -1
			}
			continue
		}
		h.keys = append(h.keys, IndexKey{Path: string(k), Desc: down})
	}
	if h.natural != 0 && len(h.keys) > 0 {
		return nil, badHint("$natural stands alone")
	}
	return h, nil
}

func badHint(format string, args ...any) error {
	return fault.Errorf(fault.BadValue, "bad hint: "+format, args...)
}

// hinted returns the access that a hint names.
func (p *planner) hinted(h *hint) (*access, error) {
	byID := h.name == "_id_" || len(h.keys) == 1 && h.keys[0].Path == "_id" && !h.keys[0].Desc
	if h.natural != 0 || byID {
		a := p.onID()
		if h.natural != 0 {
			a = p.whole(h.natural < 0)
		}
		p.estimate(a)
		p.found = []*access{a}
		return a, nil
	}
	at := slices.IndexFunc(p.c.indexes, func(x *index) bool {
		if h.keys == nil {
			return x.Name == h.name
		}
		return slices.EqualFunc(x.Keys, h.keys, func(a, b IndexKey) bool { return a.Path == b.Path && a.Desc == b.Desc && !a.Text })
	})
	if at < 0 {
		return nil, badHint("hint provided does not correspond to an existing index")
	}
	x := p.c.indexes[at]
	p.found = p.onIndex(x, p.cons, true)
	switch {
	case !x.ready:
		return nil, badHint("index %s is being built", x.Name)
	case len(p.found) == 0:
		return nil, badHint("index %s may lack documents that match the filter", x.Name)
	}
	p.choose()
	return p.found[0], nil
}

// whole is the access to every document, in the order of _id.
func (p *planner) whole(reverse bool) *access {
	docs := p.db.key(tagDoc, num(p.c.num))
	a := &access{base: len(docs), once: true, bounds: make([]bound, 1), streams: [][]store.Range{{store.Prefix(docs)}}}
	a.order = orderOf(p.sort, []IndexKey{{Path: "_id"}}, nil)
	if len(p.sort) == 0 && reverse {
		a.order.reverse = true
	}
	if a.reverse = a.order.reverse; a.reverse {
		a.turn()
	}
	return a
}
