// Package query compiles MongoDB filters, sorts and projections and runs them
// on encoded documents, without decoding them.
//
//	Compile           ── Filter      Match, MatchAt, Test, Conjuncts, Equalities, Tree, Text
//	CompileSort       ── Sort        Compare, Key
//	CompileProjection ── Projection  Apply
//
// Compiled values are immutable and safe for concurrent use. Errors carry
// a kind of package fault. Decisions: docs/design/query.md.
package query

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Filter is a compiled filter document. root answers documents, tree questions about the
// filter itself. now and the variables of a scope are set in copies, so that a compiled
// filter is never written to.
type Filter struct {
	root      node
	docsOnly  bool  // MatchValue refuses values that are not documents
	exprs     bool  // there is an $expr
	now       int64 // for $$NOW, milliseconds since 1970
	conjuncts []Conjunct
	tree      Tree
	text      bson.Raw // the arguments of $text
	equal     []Equality

	conditions int // in all
}

// An Equality is a field that a filter requires to equal Value.
type Equality struct {
	Path  string
	Value value.Value
}

// Compile compiles a filter document, which it copies; nil matches everything.
// Unknown or ill-typed operators are errors that name the path and the operator.
func Compile(filter bson.Raw) (*Filter, error) { return Scope{}.Compile(filter) }

// Compile is the function Compile for a scope. Patterns are priced before anything is
// compiled: to compile one may be slow already.
func (s Scope) Compile(filter bson.Raw) (*Filter, error) {
	if len(filter) == 0 {
		return &Filter{root: andNode(nil)}, nil
	}
	if err := value.Validate(filter); err != nil {
		return nil, err
	}
	if err := checkCosts(value.Doc(filter)); err != nil {
		return nil, err
	}
	t, err := parseTree(bytes.Clone(filter))
	if err != nil {
		return nil, err
	}
	c := compiler{f: &Filter{tree: t}, top: true, must: true, scope: s}
	nodes, err := c.tree(t)
	if err != nil {
		return nil, err
	}
	c.f.root, c.f.conjuncts = conjunction(nodes), t.Conjuncts()
	return c.f, nil
}

// CompilePartial compiles the filter of a partial index. It may match more than
// Compile's: to its operators an array in an array is never whole, so that it
// matches whatever has a value on the path that meets the condition.
func CompilePartial(filter bson.Raw) (*Filter, error) {
	f, err := Compile(filter)
	if err == nil {
		deepen(f.root)
	}
	return f, err
}

// deepen lets the nodes that look into arrays look into arrays in arrays, too; it writes to
// them, so it is for a filter that nobody else has yet. $size, $exists and $elemMatch,
// which ask for whole arrays, stay.
func deepen(n node) {
	all := func(nodes []node) {
		for _, k := range nodes {
			deepen(k)
		}
	}
	switch n := n.(type) {
	case andNode:
		all(n)
	case orNode:
		all(n)
	case *fieldsNode:
		all(n.all)
	case *pathNode:
		if n.reach == reachAny || n.reach == reachElements {
			n.reach = reachDeep
		}
	}
}

// CompileElement compiles a condition on an array's elements as $pull takes it:
// operators, a filter on the elements that are documents, or a literal. Messages
// name path.
//
//	{$pull: {n: {$gt: 3}}}        operators on each element
//	{$pull: {n: {x: 1}}}          a filter on elements that are documents; other fields may be there
//	{$pull: {n: {$or: [{x: 1}]}}} the same
//	{$pull: {n: 3}}               elements equal to 3
func CompileElement(path string, cond value.Value) (*Filter, error) {
	if err := checkCosts(cond); err != nil {
		return nil, err
	}
	c := compiler{f: &Filter{}, nested: true}
	switch {
	case cond.IsDoc() && onElement(cond.Data), cond.Type == bson.TypeRegex:
		ops, err := parseCondition(path, cond)
		if err != nil {
			return nil, err
		}
		nodes, err := c.field(&Term{Path: path, Operators: ops}, nil)
		c.f.root = conjunction(nodes)
		return c.f, err
	case cond.IsDoc():
		nodes, err := c.document(cond.Data)
		c.f.root, c.f.docsOnly = conjunction(nodes), true
		return c.f, err
	}
	c.f.root = &pathNode{leaf: &eqLeaf{v: cond, class: value.Class(cond)}, reach: reachWhole}
	return c.f, nil
}

// CompileArrayFilter compiles one array filter such as {"x.a": {$gt: 1}} and returns the
// identifier that all its paths begin with. The identifier is taken off the paths:
// {"x.a": 1, x: {$ne: null}} asks for a of the element, and for itself.
func CompileArrayFilter(filter bson.Raw) (id string, f *Filter, err error) {
	if err := value.Validate(filter); err != nil {
		return "", nil, err
	}
	if err := checkCosts(value.Doc(filter)); err != nil {
		return "", nil, err
	}
	c := compiler{f: &Filter{}, element: true}
	nodes, err := c.document(bytes.Clone(filter))
	if err != nil {
		return "", nil, err
	}
	if c.id == "" {
		return "", nil, fault.Errorf(fault.FailedToParse, "Cannot use an expression without a top-level field name in arrayFilters")
	}
	c.f.root = conjunction(nodes)
	return c.id, c.f, nil
}

// Match reports whether doc matches. Without $expr it does not allocate.
func (f *Filter) Match(doc []byte) bool {
	if f.exprs {
		ok, _ := f.Test(doc)
		return ok
	}
	return f.root.match(value.Doc(doc), nil)
}

// MatchAt is Match that also returns the index of the array element that
// matched, for the positional operator; -1 if no array was involved.
// It does no more than m allows: what takes more does not match.
func (f *Filter) MatchAt(doc []byte, m *value.Meter) (ok bool, pos int) {
	s := spot{pos: -1, now: f.now, m: m}
	ok = f.root.match(value.Doc(doc), &s) && s.err == nil
	return ok, s.pos
}

// MatchValue reports whether an array element matches a filter of
// CompileElement or CompileArrayFilter. It does no more than m allows: what takes more
// does not match.
func (f *Filter) MatchValue(v value.Value, m *value.Meter) bool {
	if !v.IsDoc() && f.docsOnly {
		return false
	}
	if m == nil {
		return f.root.match(v, nil)
	}
	s := spot{pos: -1, m: m}
	return f.root.match(v, &s) && s.err == nil
}

// Conditions returns the number of conditions, at least 1: what testing one
// element may cost.
func (f *Filter) Conditions() int { return max(1, f.conditions) }

// Conjuncts returns conditions that hold for every match, for a planner.
func (f *Filter) Conjuncts() []Conjunct { return f.conjuncts }

// Tree returns the filter as it was written; nil for a nil filter.
func (f *Filter) Tree() Tree {
	if f == nil {
		return nil
	}
	return f.tree
}

// Text returns the arguments of $text, which a scope may allow; nil if there is
// none. Match does not ask it.
func (f *Filter) Text() bson.Raw { return f.text }

// Equalities returns the fields that an upsert takes from the filter, in order.
func (f *Filter) Equalities() []Equality { return f.equal }
