package query

import (
	"bytes"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A Projection is a compiled projection.
type Projection struct {
	root      projNode
	inclusion bool
	all       bool // nothing to do
}

// A projNode says what happens to one field. In a tree of inclusion fields
// without a node are dropped, in one of exclusion they stay.
type projNode struct {
	kids  map[string]*projNode
	op    projOp
	skip  int // for projSlice
	limit int // for projSlice; -1 means the last -skip elements
	match *Filter
}

type projOp int

const (
	projInner projOp = iota
	projKeep
	projDrop
	projSlice
	projMatch
)

// CompileProjection compiles a projection; an empty one keeps whole documents.
// It takes inclusion, exclusion, $slice and $elemMatch; expressions and the
// positional operator are unsupported and say so.
func CompileProjection(spec bson.Raw) (*Projection, error) {
	p := &Projection{}
	if len(spec) <= 5 {
		p.all = true
		return p, nil
	}
	if err := value.Validate(spec); err != nil {
		return nil, err
	}
	c := projCompiler{}
	if err := c.document("", value.Doc(bytes.Clone(spec)), &p.root); err != nil {
		return nil, err
	}
	p.inclusion = c.mode == projKeep || c.mode == projInner && (c.matches || c.id == projKeep && !c.slices)
	if c.id == projInner && p.inclusion { // _id stays unless it is named
		p.root.kids["_id"] = &projNode{op: projKeep}
	}
	if c.id == projDrop && p.inclusion {
		delete(p.root.kids, "_id")
	}
	if c.id == projKeep && !p.inclusion {
		delete(p.root.kids, "_id")
	}
	return p, nil
}

type projCompiler struct {
	mode    projOp // projKeep or projDrop once a field other than _id has said it
	id      projOp // the same for _id
	matches bool
	slices  bool
}

func (c *projCompiler) document(prefix string, v value.Value, root *projNode) error {
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		path := prefix + string(k)
		if err := c.field(path, e, root); err != nil {
			return err
		}
	}
	return nil
}

func (c *projCompiler) field(path string, v value.Value, root *projNode) error {
	parts, err := value.ParsePath(path)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if part.Name == "$" {
			return value.Errorf(value.CodeCommandNotSupported, "%s: the positional operator is not supported in projections", path)
		}
		if part.Name[0] == '$' {
			return value.Errorf(16410, "%s: FieldPath field names may not start with '$'", path)
		}
	}
	n := &projNode{}
	switch {
	case v.IsDoc() && len(v.Data) > 5 && isOperators(v.Data):
		err = c.operator(path, v, n)
	case v.IsDoc():
		if len(v.Data) <= 5 {
			return value.Errorf(51270, "%s: An empty sub-projection is not a valid value. Found empty object at path", path)
		}
		return c.document(path+".", v, root)
	case v.Type == bson.TypeBoolean || v.IsNumber():
		n.op = projDrop
		if truthy(v) {
			n.op = projKeep
		}
		err = c.setMode(path, n.op)
	default:
		return value.Errorf(value.CodeCommandNotSupported, "%s: expressions are not supported in projections", path)
	}
	if err != nil {
		return err
	}
	return root.insert(path, parts, n)
}

func (c *projCompiler) setMode(path string, op projOp) error {
	if path == "_id" {
		c.id = op
		return nil
	}
	if c.mode != projInner && c.mode != op {
		if op == projDrop {
			return value.Errorf(value.CodeProjectionInclude, "Cannot do exclusion on field %s in inclusion projection", path)
		}
		return value.Errorf(value.CodeProjectionExclude, "Cannot do inclusion on field %s in exclusion projection", path)
	}
	c.mode = op
	return nil
}

func (c *projCompiler) operator(path string, v value.Value, n *projNode) error {
	it := value.Elements(v.Data)
	k, arg, _ := it.Next()
	if _, _, more := it.Next(); more {
		return errBad("%s: a projection operator must stand alone", path)
	}
	switch string(k) {
	case "$slice":
		c.slices = true
		n.op = projSlice
		return n.slice(path, arg)
	case "$elemMatch":
		if strings.Contains(path, ".") {
			return value.Errorf(31275, "Cannot use $elemMatch projection on a nested field: %s", path)
		}
		if !arg.IsDoc() {
			return value.Errorf(31274, "%s: elemMatch: Invalid argument, object required", path)
		}
		c.matches = true
		n.op = projMatch
		sub := compiler{f: &Filter{}, nested: true}
		p, err := sub.elemMatch(path, arg)
		n.match = &Filter{root: &pathNode{leaf: p.leaf, reach: reachWhole}}
		return err
	}
	return value.Errorf(value.CodeCommandNotSupported, "%s: %s is not supported in projections", path, k)
}

func (n *projNode) slice(path string, arg value.Value) error {
	bound := func(v value.Value) (int, bool) {
		i, ok := truncated(v)
		return int(max(min(i, 1<<31), -1<<31)), ok
	}
	if !arg.IsArray() {
		i, ok := bound(arg)
		if !ok {
			return value.Errorf(28667, "%s: $slice only supports numbers and [skip, limit] arrays", path)
		}
		if n.limit = i; i < 0 {
			n.skip, n.limit = i, -1
		}
		return nil
	}
	skip, ok := bound(value.At(arg.Data, 0))
	limit, ok2 := bound(value.At(arg.Data, 1))
	if !ok || !ok2 || limit <= 0 || value.At(arg.Data, 2).Exists() {
		return value.Errorf(28724, "%s: $slice needs [skip, limit] with a positive limit", path)
	}
	n.skip, n.limit = skip, limit
	return nil
}

// insert puts leaf at the path; a path through or above another collides.
func (n *projNode) insert(path string, parts value.Path, leaf *projNode) error {
	for i, part := range parts {
		if n.kids == nil {
			n.kids = map[string]*projNode{}
		}
		k := n.kids[part.Name]
		last := i == len(parts)-1
		switch {
		case last && k != nil:
			return value.Errorf(value.CodePathCollisionRemain, "Path collision at %s", path)
		case last:
			n.kids[part.Name] = leaf
		case k == nil:
			k = &projNode{}
			n.kids[part.Name] = k
		case k.op != projInner:
			return value.Errorf(value.CodePathCollision, "Path collision at %s", path)
		}
		n = k
	}
	return nil
}

// Apply appends the projected document to dst. Fields keep the document's
// order; arrays on the way are projected element by element.
func (p *Projection) Apply(dst, doc []byte) []byte {
	if p.all {
		return append(dst, doc...)
	}
	return p.document(dst, doc, &p.root)
}

func (p *Projection) document(dst, doc []byte, n *projNode) []byte {
	dst, start := value.Begin(dst)
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		kid := n.kids[string(k)]
		if kid == nil {
			if !p.inclusion {
				dst = value.AppendElement(dst, k, v)
			}
			continue
		}
		dst = p.field(dst, k, v, kid)
	}
	return value.End(dst, start)
}

func (p *Projection) field(dst, key []byte, v value.Value, n *projNode) []byte {
	switch n.op {
	case projKeep:
		return value.AppendElement(dst, key, v)
	case projDrop:
		return dst
	case projSlice:
		if v.IsArray() {
			dst = value.AppendHeader(dst, bson.TypeArray, key)
			return n.appendSlice(dst, v.Data)
		}
		return value.AppendElement(dst, key, v)
	case projMatch:
		if ok, pos := n.match.matchAt(v); ok {
			dst = value.AppendHeader(dst, bson.TypeArray, key)
			var start int
			dst, start = value.Begin(dst)
			dst = value.AppendElement(dst, []byte("0"), value.At(v.Data, pos))
			return value.End(dst, start)
		}
		return dst
	}
	switch {
	case v.IsDoc():
		return p.document(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case v.IsArray():
		return p.array(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case p.inclusion:
		return dst
	}
	return value.AppendElement(dst, key, v)
}

// array projects the documents in an array, nested arrays too; other elements
// stay in exclusion only.
func (p *Projection) array(dst, arr []byte, n *projNode) []byte {
	dst, start := value.Begin(dst)
	i := 0
	var buf [20]byte
	it := value.Elements(arr)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if p.inclusion && !v.IsDoc() && !v.IsArray() {
			continue
		}
		dst = value.AppendHeader(dst, v.Type, strconv.AppendInt(buf[:0], int64(i), 10))
		i++
		switch {
		case v.IsDoc():
			dst = p.document(dst, v.Data, n)
		case v.IsArray():
			dst = p.array(dst, v.Data, n)
		default:
			dst = append(dst, v.Data...)
		}
	}
	return value.End(dst, start)
}

func (n *projNode) appendSlice(dst, arr []byte) []byte {
	total := 0
	it := value.Elements(arr)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		total++
	}
	from := n.skip
	if from < 0 {
		from = max(0, total+from)
	}
	to := total
	if n.limit >= 0 && n.limit < total-min(from, total) {
		to = from + n.limit
	}
	dst, start := value.Begin(dst)
	var buf [20]byte
	it = value.Elements(arr)
	for i := 0; i < to; i++ {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		if i >= from {
			dst = value.AppendElement(dst, strconv.AppendInt(buf[:0], int64(i-from), 10), v)
		}
	}
	return value.End(dst, start)
}

func (f *Filter) matchAt(v value.Value) (bool, int) {
	s := spot{pos: -1}
	ok := f.root.match(v, &s)
	return ok, s.pos
}
