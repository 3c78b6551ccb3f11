package update

import (
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// maxPad bounds the nulls written before a set element beyond an array's end;
// each takes at least 3 bytes, so more could not fit a document.
const maxPad = value.MaxDocument / 3

// An applier applies one update to one document.
type applier struct {
	doc []byte // before the update
	ctx Context

	asked bool // pos is known
	pos   int  // the element for $
	steps int
}

// maxSteps bounds the pairs of a path's component and a document or element
// that an update of one document looks at.
const maxSteps = 1 << 22

func (a *applier) step(n int) error {
	if a.steps += n; a.steps > maxSteps {
		return fault.Errorf(fault.BadValue, "the update takes more than %d steps on one document", maxSteps)
	}
	return nil
}

// position returns the array index that the filter matched.
func (a *applier) position() (int, error) {
	if !a.asked {
		a.asked, a.pos = true, -1
		if a.ctx.Filter != nil {
			if ok, pos := a.ctx.Filter.MatchAt(a.doc); ok {
				a.pos = pos
			}
		}
	}
	if a.pos < 0 {
		return 0, fault.Errorf(fault.BadValue, "The positional operator did not find the match needed from the query.")
	}
	return a.pos, nil
}

// seen marks the kids that the document has.
type seen struct {
	few  [manyKids]bool
	many []bool
}

func (s *seen) of(n *node) []bool {
	if len(n.kids) <= manyKids {
		return s.few[:len(n.kids)]
	}
	s.many = make([]bool, len(n.kids))
	return s.many
}

// document appends doc as changed by n's kids.
func (a *applier) document(dst, doc []byte, n *node) (_ []byte, err error) {
	if n.wilds {
		return nil, notArray(n)
	}
	if err := a.step(len(n.kids)); err != nil {
		return nil, err
	}
	dst, start := value.Begin(dst)
	var s seen
	met := s.of(n)
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		i := n.find(k)
		if i < 0 {
			dst = value.AppendElement(dst, k, v)
			continue
		}
		met[i] = true
		if dst, err = a.existing(dst, k, v, n.kids[i], false); err != nil {
			return nil, err
		}
	}
	for i, k := range n.kids {
		if !met[i] {
			if dst, err = a.missing(dst, []byte(k.name), k); err != nil {
				return nil, err
			}
		}
		if len(dst) > value.MaxDocument { // it only grows: no need to go on
			return nil, tooLarge()
		}
	}
	return value.End(dst, start), nil
}

func notArray(n *node) error {
	return fault.Errorf(fault.BadValue, "Cannot apply array updates to non-array element '%s'", n.path)
}

// existing appends the field key, whose value was v, as changed by n.
func (a *applier) existing(dst, key []byte, v value.Value, n *node, inArray bool) ([]byte, error) {
	switch {
	case n.op != nil:
		return n.op.apply(a, dst, key, v, inArray)
	case v.IsDoc():
		return a.document(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case v.IsArray():
		return a.array(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case n.wilds:
		return nil, notArray(n)
	case n.creates(a):
		return nil, notViable(n, v)
	}
	return value.AppendElement(dst, key, v), nil
}

func notViable(n *node, v value.Value) error {
	return fault.Errorf(fault.PathNotViable, "Cannot create field '%s' in element {%s: %s}",
		n.kids[0].name, n.name, excerpt(v))
}

// excerpt is a short text of a value for messages.
func excerpt(v value.Value) string {
	const most = 128
	s := string(value.AppendJSONValue(nil, v, false))
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// missing appends the field that n creates where there was none, if it does.
func (a *applier) missing(dst, key []byte, n *node) (_ []byte, err error) {
	if n.op != nil {
		return n.op.apply(a, dst, key, value.Value{}, false)
	}
	if n.wilds {
		return nil, fault.Errorf(fault.BadValue,
			"The path '%s' must exist in the document in order to apply array updates.", n.path)
	}
	if !n.creates(a) {
		return dst, nil
	}
	return a.document(value.AppendHeader(dst, bson.TypeEmbeddedDocument, key), emptyDoc, n)
}

// array appends arr as changed by n's kids.
func (a *applier) array(dst, arr []byte, n *node) (_ []byte, err error) {
	var byIndex map[int]*node
	wild := n.kids // those that any element may hit
	cost := 0      // of asking them
	if len(n.kids) > manyKids {
		byIndex = make(map[int]*node, len(n.kids))
		wild = nil
	}
	if err := a.step(len(n.kids)); err != nil {
		return nil, err
	}
	at := -1
	docs := allDocs(arr)
	for _, k := range n.kids {
		switch {
		case k.wild == wildAt:
			if at, err = a.position(); err != nil {
				return nil, err
			}
		case k.wild == wildNone && k.index < 0 && k.creates(a):
			if docs && k.onlySets() {
				continue
			}
			return nil, notViable(&node{name: n.name, kids: []*node{k}}, value.Value{Type: bson.TypeArray, Data: arr})
		case k.index >= 0 && byIndex != nil:
			byIndex[k.index] = k
		}
		if byIndex != nil && k.wild != wildNone {
			wild = append(wild, k)
		}
		switch {
		case k.wild == wildFilter:
			cost += k.match.Conditions()
		case k.wild != wildNone || byIndex == nil:
			cost++
		}
	}
	dst, start := value.Begin(dst)
	var hits []*node
	var buf [20]byte
	i := 0
	it := value.Elements(arr)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		hits = hits[:0]
		if k := byIndex[i]; k != nil {
			hits = append(hits, k)
		}
		hits = appendHits(hits, wild, i, at, v)
		i++
		if err := a.step(cost); err != nil {
			return nil, err
		}
		if len(hits) == 0 {
			dst = value.AppendElement(dst, k, v)
			continue
		}
		hit := hits[0]
		if len(hits) > 1 {
			if hit, err = a.merge(hits); err != nil {
				return nil, err
			}
		}
		if dst, err = a.existing(dst, k, v, hit, true); err != nil {
			return nil, err
		}
		if len(dst) > value.MaxDocument {
			return nil, tooLarge()
		}
	}
	for _, k := range n.kids {
		if k.index < i || !k.creates(a) {
			continue
		}
		if k.index-i > maxPad {
			return nil, fault.Errorf(fault.TooLarge, "'%s' is too far beyond the array's end", k.path)
		}
		for ; i < k.index; i++ {
			dst = value.AppendHeader(dst, bson.TypeNull, strconv.AppendInt(buf[:0], int64(i), 10))
		}
		if dst, err = a.missing(dst, []byte(k.name), k); err != nil {
			return nil, err
		}
		i++
	}
	return value.End(dst, start), nil
}

// allDocs reports whether the elements of an array are all documents, and any.
func allDocs(arr []byte) bool {
	n := 0
	it := value.Elements(arr)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return false
		}
		n++
	}
	return n > 0
}

// appendHits appends the kids that apply to element i.
func appendHits(hits, kids []*node, i, at int, v value.Value) []*node {
	for _, k := range kids {
		if k.index == i || k.wild == wildAll || k.wild == wildAt && i == at ||
			k.wild == wildFilter && k.match.MatchValue(v) {
			hits = append(hits, k)
		}
	}
	return slices.Compact(hits)
}
