package query

import (
	"bytes"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Projection is a compiled projection.
type Projection struct {
	root      projNode
	inclusion bool
	all       bool // nothing to do
	position  bool // a field ends with the positional operator
	score     bool // a field is {$meta: "textScore"}
}

// A projNode says what happens to one field. In a tree of inclusion fields
// without a node are dropped, in one of exclusion they stay.
type projNode struct {
	name  string
	kids  map[string]*projNode
	adds  []*projNode // kids that make fields, or whose kids do, in order
	op    projOp
	skip  int // for projSlice
	limit int // for projSlice; -1 means the last -skip elements
	match *Filter
	expr  *expr.Expr
}

// A projOp is what happens to a field; a projInner has fields of its own that say.
type projOp int

const (
	projInner projOp = iota
	projKeep
	projDrop
	projSlice
	projMatch
	projCompute
	projScore
	projPosition
)

// makes reports whether the node makes its field anew.
func (n *projNode) makes() bool { return n.op == projCompute || n.op == projScore }

// CompileProjection compiles a projection; an empty one keeps whole documents.
// It takes inclusion, exclusion, $slice, $elemMatch, the positional "a.$",
// expressions and {$meta: "textScore"}.
func CompileProjection(spec bson.Raw) (*Projection, error) {
	if len(spec) <= 5 {
		return &Projection{all: true}, nil
	}
	return Scope{}.projection(spec, false)
}

// Whether it includes is said by the fields other than _id. If none says it, $elemMatch
// includes, {_id: 1} alone does, and $slice and a score leave all other fields.
func (s Scope) projection(spec []byte, stage bool) (*Projection, error) {
	if err := value.Validate(spec); err != nil {
		return nil, err
	}
	p := &Projection{}
	c := projCompiler{p: p, stage: stage, scope: s}
	if err := c.document("", value.Doc(bytes.Clone(spec))); err != nil {
		return nil, err
	}
	p.inclusion = c.mode == projKeep || c.mode == projInner && (c.matches || c.id == projKeep && !c.slices)
	id := p.root.kids["_id"]
	switch {
	case id == nil && p.inclusion: // _id stays unless it is named
		p.root.kids["_id"] = &projNode{op: projKeep}
	case id != nil && id.op == projDrop && p.inclusion, id != nil && id.op == projKeep && !p.inclusion:
		delete(p.root.kids, "_id")
	}
	return p, nil
}

// NeedsContext reports whether Project can fail, or needs its context: for a
// positional operator, an expression or a score.
func (p *Projection) NeedsContext() bool { return p.position || len(p.root.adds) > 0 }

// NeedsScore reports whether the projection shows a text score.
func (p *Projection) NeedsScore() bool { return p.score }

// Names reports whether the projection names a field of the document: it keeps,
// drops or makes it, or an expression reads it.
func (p *Projection) Names(field string) bool {
	return p.root.kids[field] != nil || p.root.reads(field)
}

// reads reports whether an expression within the node names a field.
func (n *projNode) reads(field string) bool {
	if n.expr != nil && n.expr.Names(field) {
		return true
	}
	for _, k := range n.kids {
		if k.reads(field) {
			return true
		}
	}
	return false
}

// A projCompiler compiles one specification, and refuses what contradicts what came before.
type projCompiler struct {
	scope   Scope
	p       *Projection
	stage   bool   // of an aggregation: without the operators of find
	mode    projOp // projKeep or projDrop once a field other than _id has said it
	id      projOp // the same for _id
	matches bool
	slices  bool
}

func (c *projCompiler) document(prefix string, v value.Value) error {
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		if err := c.field(prefix+string(k), e); err != nil {
			return err
		}
	}
	return nil
}

// A number or boolean is a flag, a document of operators an operator, another document the
// fields below, and every other value an expression: {a: "$b"}, {a: "text"}.
func (c *projCompiler) field(path string, v value.Value) error {
	parts, err := value.ParsePath(path)
	if err != nil {
		return err
	}
	n := &projNode{}
	if len(parts) > 1 && parts[len(parts)-1].Name == "$" {
		if c.stage {
			return fault.Errorf(fault.FailedToParse, "%s: Cannot use positional projection in aggregation projection", path)
		}
		n.op = projPosition
		parts = parts[:len(parts)-1]
	}
	for i, part := range parts {
		if part.Name == "$" && i > 0 {
			return fault.Errorf(fault.FailedToParse, "%s: the positional operator may only be used at the end of a path", path)
		}
	}
	if err := checkNames(path, parts); err != nil {
		return err
	}
	flag := v.Type == bson.TypeBoolean || v.IsNumber()
	switch {
	case n.op == projPosition:
		err = c.positional(path, v, flag)
	case v.IsDoc() && isOperators(v.Data):
		err = c.operator(path, v, n)
	case v.IsDoc():
		if len(v.Data) <= 5 {
			return fault.Errorf(fault.FailedToParse, "%s: An empty sub-projection is not a valid value. Found empty object at path", path)
		}
		return c.document(path+".", v)
	case flag:
		n.op = projDrop
		if truthy(v) {
			n.op = projKeep
		}
		err = c.setMode(path, n.op)
	default:
		err = c.computed(path, v, n)
	}
	if err != nil {
		return err
	}
	return c.p.root.insert(path, parts, n)
}

func (c *projCompiler) setMode(path string, op projOp) error {
	if path == "_id" {
		c.id = op
		return nil
	}
	if c.mode != projInner && c.mode != op {
		if op == projDrop {
			return fault.Errorf(fault.FailedToParse, "Cannot do exclusion on field %s in inclusion projection", path)
		}
		return fault.Errorf(fault.FailedToParse, "Cannot do inclusion on field %s in exclusion projection", path)
	}
	c.mode = op
	return nil
}

func (c *projCompiler) positional(path string, v value.Value, flag bool) error {
	switch {
	case !flag:
		return fault.Errorf(fault.FailedToParse, "%s: a positional projection takes no expression", path)
	case !truthy(v):
		return fault.Errorf(fault.FailedToParse, "%s: positional projection cannot be used with exclusion", path)
	case c.p.position:
		return fault.Errorf(fault.FailedToParse, "%s: Cannot specify more than one positional projection per query.", path)
	case c.matches:
		return fault.Errorf(fault.FailedToParse, "%s: Cannot specify positional operator and $elemMatch.", path)
	}
	c.p.position = true
	return c.setMode(path, projKeep)
}

// computed compiles a field whose value is an expression.
func (c *projCompiler) computed(path string, v value.Value, n *projNode) (err error) {
	if c.mode == projDrop {
		return fault.Errorf(fault.FailedToParse, "%s: Cannot use an expression in an exclusion projection", path)
	}
	c.mode = projKeep
	n.op = projCompute
	n.expr, err = c.scope.compile(path, v)
	return err
}

// operator compiles {$name: argument}. $slice of two values, the first of which is no
// number, is an expression.
func (c *projCompiler) operator(path string, v value.Value, n *projNode) error {
	it := value.Elements(v.Data)
	k, arg, _ := it.Next()
	if _, _, more := it.Next(); more {
		return errBad("%s: a projection operator must stand alone", path)
	}
	if c.stage {
		return c.computed(path, v, n)
	}
	switch string(k) {
	case "$slice":
		if arg.IsArray() && !value.At(arg.Data, 0).IsNumber() && value.At(arg.Data, 1).Exists() {
			return c.computed(path, v, n)
		}
		c.slices = true
		n.op = projSlice
		return n.slice(path, arg)
	case "$elemMatch":
		return c.elemMatch(path, arg, n)
	case "$meta":
		if string(arg.Str()) != "textScore" {
			return fault.Errorf(fault.BadValue, "%s: Unsupported argument to $meta: %s", path, value.AppendJSONValue(nil, arg, false))
		}
		c.p.score = true
		n.op = projScore
		return nil
	}
	return c.computed(path, v, n)
}

func (c *projCompiler) elemMatch(path string, arg value.Value, n *projNode) error {
	switch {
	case strings.Contains(path, "."):
		return fault.Errorf(fault.FailedToParse, "Cannot use $elemMatch projection on a nested field: %s", path)
	case !arg.IsDoc():
		return fault.Errorf(fault.TypeMismatch, "%s: elemMatch: Invalid argument, object required", path)
	case c.p.position:
		return fault.Errorf(fault.FailedToParse, "%s: Cannot specify positional operator and $elemMatch.", path)
	}
	c.matches = true
	n.op = projMatch
	sub := compiler{f: &Filter{}, nested: true}
	p, err := sub.elemMatch(path, arg)
	n.match = &Filter{root: &pathNode{leaf: p.leaf, reach: reachWhole}}
	return err
}

// slice compiles the argument of $slice:
//
//	{$slice: 3}         the first three
//	{$slice: -3}        the last three
//	{$slice: [2, 3]}    three after the first two; [-2, 3] from the last but one on
func (n *projNode) slice(path string, arg value.Value) error {
	bound := func(v value.Value) (int, bool) {
		i, ok := truncated(v)
		return int(max(min(i, 1<<31), -1<<31)), ok
	}
	if !arg.IsArray() {
		i, ok := bound(arg)
		if !ok {
			return fault.Errorf(fault.TypeMismatch, "%s: $slice only supports numbers and [skip, limit] arrays", path)
		}
		if n.limit = i; i < 0 {
			n.skip, n.limit = i, -1
		}
		return nil
	}
	skip, ok := bound(value.At(arg.Data, 0))
	limit, ok2 := bound(value.At(arg.Data, 1))
	if !ok || !ok2 || limit <= 0 || value.At(arg.Data, 2).Exists() {
		return fault.Errorf(fault.BadValue, "%s: $slice needs [skip, limit] with a positive limit", path)
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
			return fault.Errorf(fault.FailedToParse, "Path collision at %s", path)
		case last:
			k = leaf
			k.name = part.Name
			n.kids[part.Name] = k
		case k == nil:
			k = &projNode{name: part.Name}
			n.kids[part.Name] = k
		case k.op != projInner:
			return fault.Errorf(fault.FailedToParse, "Path collision at %s remaining portion %s", path, parts[i+1:])
		}
		if leaf.makes() && !slices.Contains(n.adds, k) {
			n.adds = append(n.adds, k)
		}
		n = k
	}
	return nil
}
