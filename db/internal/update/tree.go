package update

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A node is one path component of an update; op is set at leaves only. All paths
// of an update are one tree, so that a document is walked once and copied once,
// whatever the number of operators, and so that conflicts show as two operators
// that meet in a node.
//
//	{$set: {"a.b": 1, c: 2}, $inc: {"a.$[x].n": 1}}
//
//	root ─┬─ a ─┬─ b      $set 1
//	      │     └─ $[x] ── n   $inc 1
//	      └─ c  $set 2
type node struct {
	name  string
	index int // name as an array index, or -1
	wild  wildcard
	match *query.Filter // for wildFilter
	path  string        // dotted, for messages
	op    op
	kids  []*node
	names map[string]int // index into kids, where there are many
	wilds bool           // a kid is a wildcard
}

// A wildcard says which elements of an array a component stands for, where it is no name
// and no index.
type wildcard int

const (
	wildNone   wildcard = iota
	wildAt              // $: the element that the filter matched
	wildAll             // $[]
	wildFilter          // $[id]
)

// manyKids is where a map beats a linear search.
const manyKids = 8

// find returns the place of the kid of a name, -1 if there is none.
func (n *node) find(name []byte) int {
	if n.names != nil {
		if i, ok := n.names[string(name)]; ok {
			return i
		}
		return -1
	}
	for i, k := range n.kids {
		if k.name == string(name) {
			return i
		}
	}
	return -1
}

// add appends a kid, and keeps names and wilds true of the kids.
func (n *node) add(k *node) {
	n.kids = append(n.kids, k)
	n.wilds = n.wilds || k.wild != wildNone
	switch {
	case n.names != nil:
		n.names[k.name] = len(n.kids) - 1
	case len(n.kids) > manyKids:
		n.names = make(map[string]int, 4*manyKids)
		for i, k := range n.kids {
			n.names[k.name] = i
		}
	}
}

// insert puts an operator at the path. Two operators on one path, or on a path
// and one below it, conflict.
func (n *node) insert(full string, path value.Path, o op, filters map[string]*arrayFilter) error {
	for i, part := range path {
		at := n.find([]byte(part.Name))
		last := i == len(path)-1
		if at < 0 {
			k, err := newNode(full, path[:i+1], filters)
			if err != nil {
				return err
			}
			if last {
				k.op = o
			}
			n.add(k)
			n = k
			continue
		}
		if n = n.kids[at]; last || n.op != nil {
			return fault.Errorf(fault.ConflictingUpdate,
				"Updating the path '%s' would create a conflict at '%s'", full, n.path)
		}
	}
	return nil
}

// newNode returns the node for the last component of path. One that begins with "$" is one
// of the wildcards, of which none can come first: they choose elements of the array that is
// before them.
func newNode(full string, path value.Path, filters map[string]*arrayFilter) (*node, error) {
	part := path[len(path)-1]
	k := &node{name: part.Name, index: part.Index, path: path.String()}
	if part.Name[0] != '$' {
		return k, nil
	}
	switch id, ok := strings.CutSuffix(part.Name[1:], "]"); {
	case len(path) == 1:
	case part.Name == "$":
		k.wild = wildAt
		return k, nil
	case part.Name == "$[]":
		k.wild = wildAll
		return k, nil
	case ok && id[0] == '[':
		f := filters[id[1:]]
		if f == nil {
			return nil, fault.Errorf(fault.BadValue, "No array filter found for identifier '%s' in path '%s'", id[1:], full)
		}
		f.used = true
		k.wild, k.match = wildFilter, f.filter
		return k, nil
	}
	if len(path) == 1 && (part.Name == "$" || strings.HasPrefix(part.Name, "$[")) {
		return nil, fault.Errorf(fault.BadValue,
			"Cannot have array filter identifier (i.e. '$[<id>]') or positional element in the first position in path '%s'", full)
	}
	return nil, fault.Errorf(fault.DollarPrefixed,
		"The dollar ($) prefixed field '%s' in '%s' is not allowed in the context of an update's path", part.Name, full)
}

// order sorts the tree as MongoDB adds new fields: by name, numbers by value. The order
// decides where new fields are, so it is a part of what replicas agree on.
func (n *node) order() {
	slices.SortFunc(n.kids, func(a, b *node) int {
		if a.index >= 0 && b.index >= 0 {
			return cmp.Compare(a.index, b.index)
		}
		return cmp.Compare(a.name, b.name)
	})
	for i, k := range n.kids {
		if n.names != nil {
			n.names[k.name] = i
		}
		k.order()
	}
}

// creates reports whether the node makes its field where it is missing. It
// counts ticks; that there were too many, Apply finds at the latest.
//
//	{$unset: {"a.b": 1}}                   makes no a
//	{$set: {"a.c": 1}, $unset: {"a.b": 1}}  makes a: {c: 1}
func (n *node) creates(a *applier) bool {
	if n.op != nil {
		return n.op.creates(a)
	}
	if a.tick(len(n.kids)) != nil {
		return false
	}
	for _, k := range n.kids {
		if k.creates(a) {
			return true
		}
	}
	return false
}

// onlySets reports whether all operators of the node are $set.
func (n *node) onlySets() bool {
	if n.op != nil {
		o, ok := n.op.(setOp)
		return ok && !o.onInsert
	}
	for _, k := range n.kids {
		if !k.onlySets() {
			return false
		}
	}
	return true
}

// merge joins the nodes that apply to one array element: with {"a.0.x": …,
// "a.$[].y": …} element 0 is changed by both. That they conflict shows only here,
// for which elements a wildcard hits depends on the document.
func (a *applier) merge(nodes []*node) (*node, error) {
	out := &node{name: nodes[0].name, index: -1, path: nodes[0].path}
	for _, n := range nodes {
		if n.op != nil {
			return nil, fault.Errorf(fault.ConflictingUpdate, "Update created a conflict at '%s'", n.path)
		}
		if err := a.tick(len(n.kids)); err != nil {
			return nil, err
		}
		for _, k := range n.kids {
			at := out.find([]byte(k.name))
			if at < 0 {
				out.add(k)
				continue
			}
			m, err := a.merge([]*node{out.kids[at], k})
			if err != nil {
				return nil, err
			}
			m.index, m.wild, m.match = k.index, k.wild, k.match
			out.kids[at] = m
		}
	}
	out.order()
	return out, nil
}
