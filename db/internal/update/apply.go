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

// An applier applies one update to one document. Operators see doc as it was, and write to
// another buffer: what one does no other sees.
type applier struct {
	doc []byte // before the update
	ctx Context

	asked bool // pos is known
	pos   int  // the element for $
	ticks int

	metered int // ticks that the meter knows of
}

// maxTicks bounds the pairs of a path's component and a document or element
// that an update of one document looks at.
const maxTicks = 1 << 22

// tickBytes is what a tick counts for a meter.
const tickBytes = value.MeterTick / 4

var errWork = fault.New(fault.TooCostly, "the update takes more than its share of work on this document")

// tick counts n ticks more. The two bounds differ in what they are for: maxTicks holds for
// any update, the meter for what is left of the work of one record.
func (a *applier) tick(n int) error {
	a.ticks += n
	ok := a.ctx.Meter.Spend((a.ticks - a.metered) * tickBytes)
	a.metered = a.ticks
	if !ok {
		return errWork
	}
	if a.ticks > maxTicks {
		return fault.Errorf(fault.BadValue, "the update takes more than %d units of work on one document", maxTicks)
	}
	return nil
}

// position returns the array index that the filter matched. The filter is asked again on
// the document, once: it is known to match, but not where.
func (a *applier) position() (int, error) {
	if !a.asked {
		a.asked, a.pos = true, -1
		if a.ctx.Filter != nil {
			if ok, pos := a.ctx.Filter.MatchAt(a.doc, a.ctx.Meter); ok {
				a.pos = pos
			}
		}
	}
	if a.pos < 0 {
		return 0, fault.Errorf(fault.BadValue, "The positional operator did not find the match needed from the query.")
	}
	return a.pos, nil
}

// seen marks the kids that the document has. Updates of a few fields, which are most, take
// no memory for it.
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

// document appends doc as changed by n's kids. Fields that are there keep their places.
// What is made follows in the order of the kids, as MongoDB has it:
//
//	{z: 1}     {$set: {y: 2, x: 3}}     {z: 1, x: 3, y: 2}
func (a *applier) document(dst, doc []byte, n *node) (_ []byte, err error) {
	if n.wilds {
		return nil, notArray(n)
	}
	if err := a.tick(len(n.kids)); err != nil {
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

// existing appends the field key, whose value was v, as changed by n. An operator at n
// decides alone; a path that goes on needs a document or an array. Anything else stands in
// its way, which is an error only for operators that would make a field:
// {$unset: {"a.b": 1}} leaves a: 5.
func (a *applier) existing(dst, key []byte, v value.Value, n *node, inArray bool) ([]byte, error) {
	switch {
	case n.op != nil:
		if v.IsArray() && a.ctx.Meter != nil && !a.ctx.Meter.Spend(value.Count(v.Data)*validElement) {
			return nil, errWork
		}
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

// notViable is MongoDB's error for a path through a value that is neither a document nor an
// array.
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

// missing appends the field that n creates where there was none, if it does. A path that
// leads nowhere is made of documents, even where a component is a number:
// {$set: {"a.0": 1}} of a document without a gives {a: {"0": 1}}.
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
//
//	{a: [1, 2]}     {$set: {"a.1": 5, "a.3": 7}}     {a: [1, 5, null, 7]}
func (a *applier) array(dst, arr []byte, n *node) ([]byte, error) {
	k, err := a.kidsOf(arr, n)
	if err != nil {
		return nil, err
	}
	dst, start := value.Begin(dst)
	dst, count, err := a.elements(dst, arr, &k)
	if err != nil {
		return nil, err
	}
	if dst, err = a.beyond(dst, count, n); err != nil {
		return nil, err
	}
	return value.End(dst, start), nil
}

// arrayKids are the kids of a node that meets an array.
type arrayKids struct {
	byIndex map[int]*node // where there are many: those of one element each
	wild    []*node       // those that any element may hit; all, where there are few
	cost    int           // of asking wild about an element, in ticks
	at      int           // the element of $; -1 if no kid is $
}

// kidsOf sorts n's kids by how they choose elements. A name that would make a
// field has no meaning in an array and is an error, but for $set where all
// elements are documents: that changes nothing (see docs/design/query.md).
func (a *applier) kidsOf(arr []byte, n *node) (out arrayKids, err error) {
	out = arrayKids{wild: n.kids, at: -1}
	if len(n.kids) > manyKids {
		out.byIndex, out.wild = make(map[int]*node, len(n.kids)), nil
	}
	if err := a.tick(len(n.kids)); err != nil {
		return out, err
	}
	docs := allDocs(arr)
	for _, k := range n.kids {
		switch {
		case k.wild == wildAt:
			if out.at, err = a.position(); err != nil {
				return out, err
			}
		case k.wild == wildNone && k.index < 0 && k.creates(a):
			if docs && k.onlySets() {
				continue
			}
			return out, notViable(&node{name: n.name, kids: []*node{k}}, value.Value{Type: bson.TypeArray, Data: arr})
		case k.index >= 0 && out.byIndex != nil:
			out.byIndex[k.index] = k
		}
		if out.byIndex != nil && k.wild != wildNone {
			out.wild = append(out.wild, k)
		}
		switch {
		case k.wild == wildFilter:
			out.cost += k.match.Conditions()
		case k.wild != wildNone || out.byIndex == nil:
			out.cost++
		}
	}
	return out, nil
}

// elements appends the elements that arr has, changed by the kids that hit them, and
// returns their number. An element that a number and a wildcard hit, or two wildcards, is
// changed by a node that is made for it.
func (a *applier) elements(dst, arr []byte, kids *arrayKids) (_ []byte, i int, err error) {
	var hits []*node
	it := value.Elements(arr)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		hits = hits[:0]
		if k := kids.byIndex[i]; k != nil {
			hits = append(hits, k)
		}
		hits = appendHits(hits, kids.wild, i, kids.at, v, a.ctx.Meter)
		i++
		if err := a.tick(kids.cost); err != nil {
			return nil, 0, err
		}
		if len(hits) == 0 {
			dst = value.AppendElement(dst, k, v)
			continue
		}
		hit := hits[0]
		if len(hits) > 1 {
			if hit, err = a.merge(hits); err != nil {
				return nil, 0, err
			}
		}
		if dst, err = a.existing(dst, k, v, hit, true); err != nil {
			return nil, 0, err
		}
		if len(dst) > value.MaxDocument {
			return nil, 0, tooLarge()
		}
	}
	return dst, i, nil
}

// beyond appends the elements that n's kids make after the i that there are, with
// nulls in between. Kids are in the order of their indexes.
func (a *applier) beyond(dst []byte, i int, n *node) (_ []byte, err error) {
	var buf [20]byte
	for _, k := range n.kids {
		if k.index < i || !k.creates(a) {
			continue
		}
		if k.index-i > maxPad {
			return nil, fault.Of(value.ErrTooLarge, "'%s' is too far beyond the array's end", k.path)
		}
		for ; i < k.index; i++ {
			dst = value.AppendHeader(dst, bson.TypeNull, strconv.AppendInt(buf[:0], int64(i), 10))
		}
		if dst, err = a.missing(dst, []byte(k.name), k); err != nil {
			return nil, err
		}
		i++
	}
	return dst, nil
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

// appendHits appends the kids that apply to element i. Of few kids all are in kids, numbers
// too; of many, the wildcards only.
func appendHits(hits, kids []*node, i, at int, v value.Value, m *value.Meter) []*node {
	for _, k := range kids {
		if k.index == i || k.wild == wildAll || k.wild == wildAt && i == at ||
			k.wild == wildFilter && k.match.MatchValue(v, m) {
			hits = append(hits, k)
		}
	}
	return slices.Compact(hits)
}
