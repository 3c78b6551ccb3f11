package query

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A spot receives the array position of a match and the error of an expression,
// which needs the time; nil when nobody asks and there is none.
type spot struct {
	pos int
	now int64
	err error
	m   *value.Meter // what the match may take; nil for no bound
}

// spend counts n bytes walked over, and reports whether to go on. Once there is an error
// nothing goes on: a match that was not finished is none.
func (s *spot) spend(n int) bool {
	if s == nil || s.m == nil {
		return true
	}
	if s.err != nil {
		return false
	}
	if !s.m.Spend(n) {
		s.err = errWork
		return false
	}
	return true
}

// What a walk costs besides the bytes it sees.
const costVisit = 32

var errWork = fault.New(fault.TooCostly, "the filter takes more than its share of work on this document")

// inside is s for conditions that tell no position; nil if nothing is to be counted.
func (s *spot) inside() *spot {
	if s == nil || s.m == nil {
		return nil
	}
	return &spot{pos: -1, now: s.now, m: s.m}
}

// take ends what inside began.
func (s *spot) take(in *spot) {
	if in != nil && in.err != nil {
		s.err = in.err
	}
}

func (s *spot) set(i int) {
	if s != nil {
		s.pos = i
	}
}

// A node is a condition on a whole document (or array element).
type node interface {
	match(v value.Value, s *spot) bool
}

type (
	andNode []node
	orNode  []node
	norNode []node
)

func (n andNode) match(v value.Value, s *spot) bool {
	for _, k := range n {
		if !k.match(v, s) {
			return false
		}
	}
	return true
}

func (n orNode) match(v value.Value, s *spot) bool {
	for _, k := range n {
		if k.match(v, s) {
			return true
		}
	}
	return false
}

// match of a norNode is $nor; with one condition it is the negation of that.
func (n norNode) match(v value.Value, s *spot) bool {
	if s == nil {
		return !orNode(n).match(v, nil)
	}
	pos := s.pos // what does not match has no position
	ok := orNode(n).match(v, s)
	s.pos = pos
	return !ok
}

// conjunction joins conditions that must all hold. Two or more of them on named fields are
// worth one pass; those on the same name are each met on it.
func conjunction(nodes []node) node {
	if len(nodes) == 1 {
		return nodes[0]
	}
	f := &fieldsNode{all: nodes}
	for _, n := range nodes {
		if p, ok := n.(*pathNode); ok && len(p.path) > 0 && len(f.fields) < maxFields {
			f.fields = append(f.fields, fieldCond{p.path[0].Name, p})
		} else {
			f.rest = append(f.rest, n)
		}
	}
	if len(f.fields) < 2 {
		return andNode(nodes)
	}
	return f
}

// maxFields bounds the fields that are looked for at every key of a document.
const maxFields = 8

// A fieldsNode is a conjunction whose conditions on fields are met in one pass over the
// document, as {a: 1, b: 2, …}, the usual filter: to find a field in BSON is to walk over
// those before it, once for each condition. With a spot they are met in the filter's order,
// so that the last one that meets an array tells the position.
type fieldsNode struct {
	all    andNode
	fields []fieldCond
	rest   andNode
}

// A fieldCond is a condition with the first name of its path.
type fieldCond struct {
	name string
	node *pathNode
}

// The pass ends with the first condition that fails, or when all fields are met. With a
// spot there is no pass: whoever asks for the position, or counts the work, wants the order
// of the filter.
func (n *fieldsNode) match(v value.Value, s *spot) bool {
	if s != nil || !v.IsDoc() {
		if !s.spend(costVisit) {
			return false
		}
		return n.all.match(v, s)
	}
	met, every := 0, 1<<len(n.fields)-1
	it := value.Elements(v.Data)
	for met != every {
		k, e, ok := it.Next()
		if !ok {
			break
		}
		for i := range n.fields {
			f := &n.fields[i]
			if len(f.name) != len(k) || f.name != string(k) {
				continue
			}
			if !f.node.walk(e, 1, nil, false) {
				return false
			}
			met |= 1 << i
		}
	}
	for i, f := range n.fields {
		if met>>i&1 == 0 && !f.node.walk(value.Value{}, 1, nil, false) {
			return false
		}
	}
	return n.rest.match(v, nil)
}

// A reach says how an operator meets arrays, and a few values in them. With the
// field a being [1, [2, 3]]:
//
//	reachAny       {a: {$gt: 2}}      asks 1, [2, 3], then [1, [2, 3]]
//	reachWhole     {a: {$size: 2}}    asks [1, [2, 3]]
//	reachElements  {a: {$in: [2]}}    asks 1, [2, 3]
//	reachDeep      {a: 2}             as any; where a name met [2, 3] in an array, 2 and 3 too
type reach byte

const (
	reachAny      reach = iota // the elements of an array, then the array
	reachWhole                 // the array only: $size, $exists, $elemMatch
	reachElements              // the elements of an array, the array only within another: $in
	reachDeep                  // as any, and the elements of an array in an array: equality, $regex
	reachMember                // as any, but a document only within an array: a document of $all
	reachMod                   // as any; null in the documents of an array counts as 0
)

// A pathNode holds if leaf holds for any value that path leads to. Arrays on
// the way are entered: by index if the component is one, and through each
// element that is a document; an array in an array stands for itself. Where a
// field is missing the leaf sees the zero Value; documents in an array that
// lack the field yield nothing.
type pathNode struct {
	path  value.Path
	leaf  leaf
	reach reach
}

func (n *pathNode) match(v value.Value, s *spot) bool { return n.walk(v, 0, s, false) }

// walk follows path from component i on; through tells that v is of a document in an array.
// Where an array on the way has documents without the field, these yield nothing, not even
// null, and through says so: {"a.b": null} does not match {a: [{}, {b: 1}]}.
func (n *pathNode) walk(v value.Value, i int, s *spot, through bool) bool {
	for ; i < len(n.path); i++ {
		switch {
		case v.IsDoc():
			if !s.spend(costVisit + len(v.Data)) {
				return false
			}
			v = value.Get(v.Data, n.path[i].Name)
		case v.IsArray():
			return n.walkArray(v.Data, i, s, through)
		default:
			return !through && n.leaf.test(value.Value{}, s)
		}
	}
	if s != nil && !s.spend(n.costOf(v)) {
		return false
	}
	switch {
	case !v.Exists():
		return !through && n.leaf.test(v, s)
	case !v.IsArray():
		return (n.reach != reachMember || through) && n.test(v, s, through)
	case n.reach == reachWhole:
		return n.leaf.test(v, s)
	}
	it := value.Elements(v.Data)
	for j := 0; ; j++ {
		_, e, ok := it.Next()
		if !ok {
			break
		}
		if n.test(e, s, through) {
			s.set(j)
			return true
		}
		if s != nil && s.err != nil {
			return false
		}
	}
	return (n.reach != reachElements || through) && n.leaf.test(v, s)
}

// costOf is what testing v, or its elements, costs. An element of an array is taken for 8
// bytes, which is about an int32 with its key.
func (n *pathNode) costOf(v value.Value) int {
	visits := 1
	if v.IsArray() {
		visits += len(v.Data) / 8
	}
	if c, ok := n.leaf.(costly); ok {
		return visits*costVisit + c.cost(len(v.Data))
	}
	return visits*costVisit + len(v.Data)
}

// A costly leaf takes more than to walk over the value, or counts itself.
type costly interface{ cost(size int) int }

var zero = value.Int32(0)

// test asks the leaf. $mod takes the null of a document in an array as 0, and null nowhere
// else.
func (n *pathNode) test(v value.Value, s *spot, through bool) bool {
	if n.reach == reachMod && through && v.Type == bson.TypeNull {
		v = zero
	}
	return n.leaf.test(v, s)
}

// walkArray follows component i of the path into an array. An index that the
// array does not have, nor any of its documents as a field, is a missing field.
//
//	a: [{b: 1}, [{b: 2}]] on a.b       1, and the array [{b: 2}] for itself
//	a: [{b: 1}, [{b: 2}]] on a.1.0.b   2
//	a: [{"1": 5}, 6] on a.1            5 and 6: 1 is a name and an index
//
// A name tells the position of its element; an index tells none, for it was given.
func (n *pathNode) walkArray(arr []byte, i int, s *spot, through bool) bool {
	name, index := n.path[i].Name, n.path[i].Index
	known := index < 0
	it := value.Elements(arr)
	for j := 0; ; j++ {
		_, e, ok := it.Next()
		if !ok {
			return !known && !through && n.leaf.test(value.Value{}, s)
		}
		ok = false
		if !s.spend(costVisit + len(e.Data)) {
			return false
		}
		switch {
		case e.IsDoc():
			v := value.Get(e.Data, name)
			known = known || v.Exists()
			ok = v.Exists() && n.walk(v, i+1, s, true)
		case e.IsArray() && index < 0:
			ok = n.member(e, s)
		}
		if ok {
			s.set(j)
			return true
		}
		if j == index {
			known = true
			if n.walk(e, i+1, s, through) {
				return true
			}
		}
	}
}

// member tests an array that a name met in an array.
func (n *pathNode) member(e value.Value, s *spot) bool {
	if n.reach == reachDeep {
		return n.walk(e, len(n.path), s, true)
	}
	if s != nil && !s.spend(n.costOf(e)) {
		return false
	}
	return n.leaf.test(e, s)
}
