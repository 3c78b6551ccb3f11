package query

import "github.com/weftdb/weft/db/internal/value"

// A spot receives the array position of a match; nil when nobody asks.
type spot struct{ pos int }

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

func (n norNode) match(v value.Value, _ *spot) bool { return !orNode(n).match(v, nil) }

func conjunction(nodes []node) node {
	if len(nodes) == 1 {
		return nodes[0]
	}
	return andNode(nodes)
}

// A pathNode holds if leaf holds for any value that path leads to. Arrays on
// the way are entered: by index if the component is one, and through each
// element that is a document. At the end, unless whole, the elements of an
// array are tried before the array. Where a document lacks the field the leaf
// sees the zero Value; an array without documents yields nothing to a name.
type pathNode struct {
	path  value.Path
	leaf  leaf
	whole bool
}

func (n *pathNode) match(v value.Value, s *spot) bool { return n.walk(v, 0, s) }

func (n *pathNode) walk(v value.Value, i int, s *spot) bool {
	for ; i < len(n.path); i++ {
		switch {
		case v.IsDoc():
			v = value.Get(v.Data, n.path[i].Name)
		case v.IsArray():
			return n.walkArray(v.Data, i, s)
		default:
			return n.leaf.test(value.Value{}, s)
		}
	}
	if v.IsArray() && !n.whole {
		it := value.Elements(v.Data)
		for j := 0; ; j++ {
			_, e, ok := it.Next()
			if !ok {
				break
			}
			if n.leaf.test(e, s) {
				s.set(j)
				return true
			}
		}
	}
	return n.leaf.test(v, s)
}

// walkArray follows component i of the path into an array. An index that the
// array does not have, nor any of its documents as a field, is a missing field.
func (n *pathNode) walkArray(arr []byte, i int, s *spot) bool {
	index := n.path[i].Index
	found := index < 0
	it := value.Elements(arr)
	for j := 0; ; j++ {
		_, e, ok := it.Next()
		if !ok {
			return !found && n.leaf.test(value.Value{}, s)
		}
		if e.IsDoc() {
			switch v := value.Get(e.Data, n.path[i].Name); {
			case !v.Exists() && index >= 0: // a number is first of all an index
			case n.walk(v, i+1, s):
				s.set(j)
				return true
			default:
				found = true
			}
		}
		if j == index {
			found = true
			if n.walk(e, i+1, s) {
				return true
			}
		}
	}
}
