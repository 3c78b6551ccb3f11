package query

import (
	"slices"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A compiler turns one filter document into nodes. While top is set the parts are in the
// filter's top-level conjunction, of which an upsert takes equalities; while must is, they
// are so without any $or. must differs from top in {$or: [{a: 1}]}, of which an upsert
// takes a: 1, but where $text has no meaning.
type compiler struct {
	scope   Scope
	f       *Filter
	top     bool
	must    bool
	nested  bool   // a filter on elements
	lead    string // of noted paths: a dot inside $elemMatch
	element bool   // an array filter: every path begins with id
	id      string
}

// A part is one compiled operator on a path: a leaf, or the conjunction of
// parts, negated if not is set.
type part struct {
	not   bool
	leaf  leaf
	reach reach
	parts []part
	note  []Conjunct // what an index can answer of the leaf
	equal bool       // an equality that an upsert copies
}

func errBad(format string, args ...any) error {
	return fault.Errorf(fault.BadValue, format, args...)
}

// document compiles a filter document.
func (c *compiler) document(doc []byte) ([]node, error) {
	t, err := parseTree(doc)
	if err != nil {
		return nil, err
	}
	return c.tree(t)
}

// tree compiles every term and notes in it what an index can answer.
func (c *compiler) tree(t Tree) ([]node, error) {
	var nodes []node
	for i := range t {
		var add []node
		var err error
		if t[i].Op != "" {
			add, err = c.logical(&t[i])
		} else {
			add, err = c.named(&t[i])
		}
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, add...)
	}
	return nodes, nil
}

// named compiles the operators on one dotted path. In an array filter the first name is the
// identifier, which must be the same in all.
func (c *compiler) named(t *Term) ([]node, error) {
	path, err := value.ParseFilterPath(t.Path)
	if err != nil {
		return nil, err
	}
	if c.element {
		if c.id != "" && c.id != path[0].Name {
			return nil, fault.Errorf(fault.FailedToParse,
				"Error parsing array filter :: caused by :: Expected a single top-level field name, found '%s' and '%s'", c.id, path[0].Name)
		}
		c.id = path[0].Name
		path = path[1:]
	}
	return c.field(t, path)
}

// logical compiles an operator in the place of a path. What MongoDB has beyond these is
// refused by name.
func (c *compiler) logical(t *Term) ([]node, error) {
	switch t.Op {
	case And, Or, Nor:
		return c.branches(t)
	case Comment:
		return nil, nil
	case Text:
		return nil, c.text(t)
	case Expr:
		if c.nested || c.element {
			return nil, fault.Errorf(fault.QueryFeatureNotAllowed, "$expr can only be applied to the top-level document")
		}
		e, err := c.scope.compile("$expr", t.Arg)
		if err != nil {
			return nil, err
		}
		c.f.exprs = true
		t.expr = &exprNode{e: e}
		return []node{*t.expr}, nil
	case "$where", "$jsonSchema", "$alwaysTrue", "$alwaysFalse", "$sampleRate":
		return nil, fault.Errorf(fault.CommandNotSupported, "%s is not supported in filters", t.Op)
	}
	return nil, errBad("unknown top level operator: %s. If you have a field name that starts with a '$' symbol, consider using $getField or $setField.", t.Op)
}

// text keeps the arguments of $text for whoever has an index for it: it is no
// condition on a document alone. Elsewhere than in the conjunction of a scope
// that allows it there is no meaning.
func (c *compiler) text(t *Term) error {
	switch {
	case !c.scope.Text || !c.must:
		return fault.Errorf(fault.CommandNotSupported, "$text is not supported in filters")
	case c.f.text != nil:
		return errBad("Too many text expressions")
	case !t.Arg.IsDoc():
		return fault.Errorf(fault.TypeMismatch, "$text expects an object")
	}
	c.f.text = t.Arg.Data
	return nil
}

// branches compiles $and, $or and $nor. An $and is no node of its own: its branches join
// those around it.
func (c *compiler) branches(t *Term) ([]node, error) {
	top, must := c.top, c.must
	defer func() { c.top, c.must = top, must }()
	c.top = top && (t.Op == And || t.Op == Or && len(t.Branches) == 1)
	c.must = must && t.Op == And
	var all []node
	for _, b := range t.Branches {
		nodes, err := c.tree(b)
		if err != nil {
			return nil, err
		}
		all = append(all, conjunction(nodes))
	}
	switch t.Op {
	case And:
		return all, nil
	case Or:
		return []node{orNode(all)}, nil
	}
	return []node{norNode(all)}, nil
}

// maxConditions bounds the conditions of a filter, each of which may cost a pass
// over the document. The values of a list count as one.
const maxConditions = 4000

// field compiles the operators of a term, whose path is what is left of t.Path.
func (c *compiler) field(t *Term, path value.Path) ([]node, error) {
	parts, err := c.parts(t.Path, t.Operators)
	if err != nil {
		return nil, err
	}
	if c.f.conditions += len(parts); c.f.conditions > maxConditions {
		return nil, errBad("%s: the filter has more than %d conditions", t.Path, maxConditions)
	}
	for _, o := range t.Operators {
		for i := range o.note { // where $elemMatch gave one, its path goes on from the element
			o.note[i].Path = c.lead + t.Path + o.note[i].Path
		}
	}
	var nodes []node
	for _, p := range parts {
		if c.top {
			c.equalities(t.Path, p)
		}
		nodes = append(nodes, p.node(path))
	}
	return nodes, nil
}

// equalities keeps what an upsert takes from a part of the top-level conjunction.
func (c *compiler) equalities(key string, p part) {
	if p.not {
		return
	}
	for _, k := range p.parts {
		c.equalities(key, k)
	}
	if eq, ok := p.leaf.(*eqLeaf); ok && p.equal {
		c.f.equal = append(c.f.equal, Equality{Path: key, Value: eq.v})
	}
}

// notes returns what an index can answer of a part.
func (p *part) notes() []Conjunct {
	if p.not {
		return nil
	}
	var out []Conjunct
	for i := range p.parts {
		out = append(out, p.parts[i].notes()...)
	}
	if out == nil {
		return p.note
	}
	return append(out, p.note...)
}

// node places a part on a path: an operator holds if any value passes it. $ne, $nin and
// $not are the negation of what they deny, over all values: {a: {$ne: 1}} does not match
// {a: [1, 2]}, for a positive condition matches one of them.
func (p part) node(path value.Path) node {
	var n node
	if p.leaf != nil {
		n = &pathNode{path: path, leaf: p.leaf, reach: p.reach}
	} else {
		var and andNode
		for _, k := range p.parts {
			and = append(and, k.node(path))
		}
		n = and
	}
	if p.not {
		return norNode{n}
	}
	return n
}

// operators compiles a document of operators.
func (c *compiler) operators(key string, doc []byte) ([]part, error) {
	ops, err := parseOperators(key, doc)
	if err != nil {
		return nil, err
	}
	return c.parts(key, ops)
}

// parts compiles operators, and notes in each what an index can answer of it.
func (c *compiler) parts(key string, ops []Operator) ([]part, error) {
	var parts []part
	for i := range ops {
		o := &ops[i]
		var p part
		var err error
		switch o.Op {
		case "$options": // $regex takes it
			if !slices.ContainsFunc(ops, func(o Operator) bool { return o.Op == Regex }) {
				err = errBad("%s: $options needs a $regex", key)
			} else {
				continue
			}
		case Regex:
			p, err = regexOperator(key, o.Arg, optionsOf(ops))
		default:
			p, err = c.operator(key, string(o.Op), o.Arg)
		}
		if err != nil {
			return nil, err
		}
		o.note = p.notes()
		parts = append(parts, p)
	}
	return parts, nil
}

// optionsOf returns the argument of $options, which stands beside $regex in any order.
func optionsOf(ops []Operator) value.Value {
	for i := range ops {
		if ops[i].Op == "$options" {
			return ops[i].Arg
		}
	}
	return value.Value{}
}
