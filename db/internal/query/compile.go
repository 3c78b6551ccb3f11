package query

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A compiler turns one filter document into nodes. While top is set the parts
// are in the filter's top-level conjunction and are noted for the planner.
type compiler struct {
	scope   Scope
	f       *Filter
	top     bool
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
	note  []Conjunct
	equal bool // an equality that an upsert copies
}

func errBad(format string, args ...any) error {
	return fault.Errorf(fault.BadValue, format, args...)
}

// document compiles every element of a filter document.
func (c *compiler) document(doc []byte) ([]node, error) {
	var nodes []node
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		key := string(k)
		var add []node
		var err error
		if strings.HasPrefix(key, "$") {
			add, err = c.logical(key, v)
		} else {
			add, err = c.named(key, v)
		}
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, add...)
	}
	return nodes, nil
}

// named compiles the condition on one dotted path.
func (c *compiler) named(key string, v value.Value) ([]node, error) {
	path, err := value.ParseFilterPath(key)
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
	return c.field(key, path, v)
}

func (c *compiler) logical(op string, v value.Value) ([]node, error) {
	switch op {
	case "$and", "$or", "$nor":
	case "$comment":
		return nil, nil
	case "$expr":
		if c.nested || c.element {
			return nil, fault.Errorf(fault.QueryFeatureNotAllowed, "$expr can only be applied to the top-level document")
		}
		e, err := c.scope.compile("$expr", v)
		c.f.exprs = true
		return []node{exprNode{e: e}}, err
	case "$where", "$text", "$jsonSchema", "$alwaysTrue", "$alwaysFalse", "$sampleRate":
		return nil, fault.Errorf(fault.CommandNotSupported, "%s is not supported in filters", op)
	default:
		return nil, errBad("unknown top level operator: %s. If you have a field name that starts with a '$' symbol, consider using $getField or $setField.", op)
	}
	if !v.IsArray() {
		return nil, errBad("%s must be an array", op)
	}
	top := c.top
	defer func() { c.top = top }()
	c.top = top && (op == "$and" || op == "$or" && value.At(v.Data, 1).Type == 0)
	var all []node
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if !e.IsDoc() {
			return nil, errBad("%s entries need to be full objects", op)
		}
		nodes, err := c.document(e.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, conjunction(nodes))
	}
	switch {
	case len(all) == 0:
		return nil, errBad("%s must be a nonempty array", op)
	case op == "$and":
		return all, nil
	case op == "$or":
		return []node{orNode(all)}, nil
	}
	return []node{norNode(all)}, nil
}

// isOperators reports whether a condition document holds operators rather than
// being a literal: its first key starts with "$" and it is no DBRef.
func isOperators(doc []byte) bool {
	it := value.Elements(doc)
	k, _, ok := it.Next()
	if !ok || len(k) == 0 || k[0] != '$' {
		return false
	}
	switch string(k) {
	case "$ref", "$id", "$db":
		return false
	}
	return true
}

// maxConditions bounds the conditions of a filter, each of which may cost a pass
// over the document. The values of a list count as one.
const maxConditions = 4000

// field compiles the condition v on path.
func (c *compiler) field(key string, path value.Path, v value.Value) ([]node, error) {
	parts, err := c.condition(key, v)
	if err != nil {
		return nil, err
	}
	if c.f.conditions += len(parts); c.f.conditions > maxConditions {
		return nil, errBad("%s: the filter has more than %d conditions", key, maxConditions)
	}
	var nodes []node
	for _, p := range parts {
		if c.top {
			c.note(key, p)
		}
		nodes = append(nodes, p.node(path))
	}
	return nodes, nil
}

// note keeps what a part says about the top-level conjunction.
func (c *compiler) note(key string, p part) {
	if p.not {
		return
	}
	for _, k := range p.parts {
		c.note(key, k)
	}
	if p.equal {
		if eq, ok := p.leaf.(*eqLeaf); ok {
			c.f.equal = append(c.f.equal, Equality{Path: key, Value: eq.v})
		}
	}
	for _, n := range p.note {
		n.Path = c.lead + key + n.Path // which $elemMatch gave from the element on
		c.f.conjuncts = append(c.f.conjuncts, n)
	}
}

// node places a part on a path: an operator holds if any value passes it.
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

// condition compiles what stands after a path: a literal or operators.
func (c *compiler) condition(key string, v value.Value) ([]part, error) {
	switch {
	case v.Type == bson.TypeRegex:
		p, err := regexPart(key, v, "")
		return []part{p}, err
	case v.Type == bson.TypeUndefined:
		return nil, errBad("%s: cannot compare to undefined", key)
	case v.IsDoc() && isOperators(v.Data):
		return c.operators(key, v.Data)
	}
	return []part{eqPart(v)}, nil
}

func eqPart(v value.Value) part {
	return part{leaf: &eqLeaf{v: v, class: value.Class(v)}, reach: reachDeep, note: noteOf(Eq, v), equal: true}
}

// operators compiles a document of operators.
func (c *compiler) operators(key string, doc []byte) ([]part, error) {
	var parts []part
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if len(k) == 0 || k[0] != '$' {
			return nil, errBad("%s: unknown operator: %s", key, k)
		}
		op := string(k)
		if op == "$options" {
			if !value.Get(doc, "$regex").Exists() {
				return nil, errBad("%s: $options needs a $regex", key)
			}
			continue
		}
		var p part
		var err error
		if op == "$regex" {
			p, err = regexOperator(key, v, value.Get(doc, "$options"))
		} else {
			p, err = c.operator(key, op, v)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (c *compiler) operator(key, op string, v value.Value) (part, error) {
	switch op {
	case "$eq", "$ne", "$gt", "$gte", "$lt", "$lte":
		return comparison(key, op, v)
	case "$in":
		return inPart(key, op, v)
	case "$nin":
		p, err := inPart(key, op, v)
		p.not, p.note = true, nil
		return p, err
	case "$not":
		return c.not(key, v)
	case "$exists":
		if truthy(v) {
			return part{leaf: existsLeaf{}, reach: reachWhole, note: []Conjunct{{Op: Exists}}}, nil
		}
		return part{leaf: existsLeaf{}, reach: reachWhole, not: true}, nil
	case "$type":
		return typePart(key, v)
	case "$size":
		n, ok := integral(v)
		if !ok {
			return part{}, fault.Errorf(fault.FailedToParse, "%s: Failed to parse $size. Expected an integer", key)
		}
		if n < 0 {
			return part{}, fault.Errorf(fault.FailedToParse, "%s: Failed to parse $size. Expected a non-negative number in: $size: %d", key, n)
		}
		return part{leaf: sizeLeaf(n), reach: reachWhole}, nil
	case "$all":
		return c.all(key, v)
	case "$elemMatch":
		return c.elemMatch(key, v)
	case "$mod":
		return modPart(key, v)
	case "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear":
		return bitsPart(key, op, v)
	case "$comment":
		return part{parts: []part{}}, nil
	}
	return part{}, errBad("%s: unknown operator: %s", key, op)
}

func comparison(key, op string, v value.Value) (part, error) {
	if v.Type == bson.TypeUndefined {
		return part{}, errBad("%s: %s: cannot compare to undefined", key, op)
	}
	if v.Type == bson.TypeRegex && op != "$eq" {
		return part{}, errBad("%s: Can't have regex as arg to %s.", key, op)
	}
	switch op {
	case "$eq":
		return eqPart(v), nil
	case "$ne":
		p := eqPart(v)
		p.not = true
		return p, nil
	}
	return part{leaf: newCmpLeaf(Op(op), v), note: noteOf(Op(op), v)}, nil
}

func inPart(key, op string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: %s needs an array", key, op)
	}
	l := &inLeaf{}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		switch {
		case e.Type == bson.TypeRegex:
			p, err := regexPart(key, e, "")
			if err != nil {
				return part{}, err
			}
			l.regexes = append(l.regexes, p.leaf.(*regexLeaf))
		case e.Type == bson.TypeUndefined:
			return part{}, errBad("%s: %s: cannot compare to undefined", key, op)
		case e.IsDoc() && isOperators(e.Data):
			return part{}, errBad("%s: cannot nest $ under %s", key, op)
		default:
			l.null = l.null || nullish(e)
			l.values = append(l.values, e)
		}
	}
	slices.SortStableFunc(l.values, value.Compare)
	l.values = slices.CompactFunc(l.values, value.Equal)
	p := part{leaf: l, reach: reachElements}
	if len(l.regexes) == 0 && !slices.ContainsFunc(l.values, unindexed) {
		p.note = []Conjunct{{Op: In, Values: l.values}}
	}
	return p, nil
}

func (c *compiler) not(key string, v value.Value) (part, error) {
	if v.Type == bson.TypeRegex {
		p, err := regexPart(key, v, "")
		p.not = true
		return p, err
	}
	if !v.IsDoc() {
		return part{}, errBad("%s: $not needs a regex or a document", key)
	}
	if len(v.Data) <= 5 {
		return part{}, errBad("%s: $not cannot be empty", key)
	}
	parts, err := c.operators(key, v.Data)
	return part{not: true, parts: parts}, err
}

func (c *compiler) all(key string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: $all needs an array", key)
	}
	p := part{}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		var k part
		var err error
		switch {
		case e.Type == bson.TypeRegex:
			k, err = regexPart(key, e, "")
		case e.IsDoc() && isOperators(e.Data):
			m := value.Get(e.Data, "$elemMatch")
			if !m.Exists() {
				return part{}, errBad("%s: no $ expressions in $all", key)
			}
			k, err = c.elemMatch(key, m)
		default:
			k = eqPart(e)
			if k.reach = reachAny; e.IsDoc() {
				k.reach = reachMember
			}
			k.equal = value.At(v.Data, 1).Type == 0
		}
		if err != nil {
			return part{}, err
		}
		p.parts = append(p.parts, k)
	}
	if len(p.parts) == 0 {
		p.leaf = noneLeaf{}
	}
	return p, nil
}

func (c *compiler) elemMatch(key string, v value.Value) (part, error) {
	if !v.IsDoc() {
		return part{}, errBad("%s: $elemMatch needs an Object", key)
	}
	it := value.Elements(v.Data)
	k, _, _ := it.Next()
	switch first := string(k); {
	case isOperators(v.Data) && first != "$and" && first != "$or" && first != "$nor" && first != "$expr" && first != "$where":
		parts, err := c.operators(key, v.Data)
		var nodes []node
		p := part{reach: reachWhole}
		for _, k := range parts {
			nodes = append(nodes, k.node(nil))
			if !k.not {
				p.note = append(p.note, inner(k.note)...)
			}
		}
		p.leaf = elemLeaf{conjunction(nodes)}
		return p, err
	}
	sub := compiler{f: &Filter{}, nested: true, top: true, lead: "."}
	nodes, err := sub.document(v.Data)
	if c.f.conditions += sub.f.conditions; err == nil && c.f.conditions > maxConditions {
		err = errBad("%s: the filter has more than %d conditions", key, maxConditions)
	}
	return part{leaf: elemDocLeaf{conjunction(nodes)}, reach: reachWhole, note: inner(sub.f.conjuncts)}, err
}

func inner(cons []Conjunct) []Conjunct {
	out := slices.Clone(cons)
	for i := range out {
		out[i].Inner = true
	}
	return out
}
