package query

import (
	"bytes"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
)

// A Tree is a filter document as it was written, all of whose terms must hold.
// Whoever wants to know what a filter says asks its tree and does not read the
// document again: Compile has done so. Nobody writes to it.
//
//	{a: 1, b: {$gt: 2, $lt: 9}, $or: [{c: 3}, {d: 4}]}
//
//	Term{Path: "a", Operators: {$eq 1}}
//	Term{Path: "b", Operators: {$gt 2} {$lt 9}}
//	Term{Op: Or, Branches: {Term{Path: "c", …}} {Term{Path: "d", …}}}
type Tree []Term

// A Term is one element of a filter document: operators on a path, or one of the
// operators that stand in the place of a path.
type Term struct {
	Path      string     // dotted; if Op is ""
	Operators []Operator // on Path, in order; all must hold

	Op       Op          // And, Or, Nor, Expr, Text, Comment; "" for a path
	Branches []Tree      // of And, Or and Nor, at least one
	Arg      value.Value // of the others

	expr *exprNode // of Expr
}

// Expression returns the argument of an Expr, compiled.
func (a *Term) Expression() *expr.Expr { return a.expr.e }

// An Operator is one condition on a path.
type Operator struct {
	Op  Op // $eq, $gt, … by MongoDB's name
	Arg value.Value
	// Literal says that no operator was written: {path: Arg}, which is $eq, or
	// $regex of a regular expression.
	Literal bool

	note []Conjunct // what an index can answer of it, once it is compiled
}

// The operators that stand in the place of a path, and the one that a regular
// expression as a literal is.
const (
	And     Op = "$and"
	Or      Op = "$or"
	Nor     Op = "$nor"
	Expr    Op = "$expr"
	Text    Op = "$text"
	Comment Op = "$comment"

	Regex Op = "$regex" // on a path
)

// parseTree reads a filter document; the values alias it. Which operators there
// are, and what they take, the compiler says.
func parseTree(doc []byte) (Tree, error) {
	t := make(Tree, 0, count(doc))
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		term := Term{}
		var err error
		if len(k) > 0 && k[0] == '$' {
			term.Op, term.Arg = opOf(k), v
			if term.Op == And || term.Op == Or || term.Op == Nor {
				term.Branches, err = parseBranches(term.Op, v)
			}
		} else {
			term.Path = string(k)
			term.Operators, err = parseCondition(term.Path, v)
		}
		if err != nil {
			return nil, err
		}
		t = append(t, term)
	}
	return t, nil
}

// parseBranches reads the filters of $and, $or or $nor.
func parseBranches(op Op, v value.Value) (out []Tree, err error) {
	if !v.IsArray() {
		return nil, errBad("%s must be an array", op)
	}
	out = make([]Tree, 0, count(v.Data))
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if !e.IsDoc() {
			return nil, errBad("%s entries need to be full objects", op)
		}
		t, err := parseTree(e.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, errBad("%s must be a nonempty array", op)
	}
	return out, nil
}

// parseCondition reads what stands after a path.
func parseCondition(key string, v value.Value) ([]Operator, error) {
	switch {
	case v.Type == bson.TypeRegex:
		return []Operator{{Op: Regex, Arg: v, Literal: true}}, nil
	case v.Type == bson.TypeUndefined:
		return nil, errBad("%s: cannot compare to undefined", key)
	case v.IsDoc() && isOperators(v.Data):
		return parseOperators(key, v.Data)
	}
	return []Operator{{Op: Eq, Arg: v, Literal: true}}, nil
}

// parseOperators reads a document of which isOperators is true: from then on every key must
// be an operator.
func parseOperators(key string, doc []byte) (out []Operator, err error) {
	out = make([]Operator, 0, count(doc))
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if len(k) == 0 || k[0] != '$' {
			return nil, errBad("%s: unknown operator: %s", key, k)
		}
		out = append(out, Operator{Op: opOf(k), Arg: v})
	}
	return out, nil
}

// count returns the number of elements of a document or an array.
func count(doc []byte) (n int) {
	it := value.Elements(doc)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	return n
}

// opOf is the name of an operator; that of a common one takes no memory.
func opOf(name []byte) Op {
	switch string(name) {
	case string(Eq):
		return Eq
	case string(In):
		return In
	case string(Gt):
		return Gt
	case string(Gte):
		return Gte
	case string(Lt):
		return Lt
	case string(Lte):
		return Lte
	case string(And):
		return And
	case string(Or):
		return Or
	}
	return Op(name)
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

// Conjuncts returns conditions that hold for every match, for a planner. Those of a branch
// hold if there is one branch only. Of $nor and of negated operators nothing follows.
func (t Tree) Conjuncts() (out []Conjunct) {
	for i := range t {
		switch term := &t[i]; {
		case term.Op == "":
			for j := range term.Operators {
				out = append(out, term.Operators[j].note...)
			}
		case term.Op == And, term.Op == Or && len(term.Branches) == 1:
			for _, b := range term.Branches {
				out = append(out, b.Conjuncts()...)
			}
		}
	}
	return out
}

// Disjunctions returns the branches of each $or that every match meets one of.
func (t Tree) Disjunctions() (out [][]Tree) {
	for i := range t {
		switch term := &t[i]; term.Op {
		case Or:
			out = append(out, term.Branches)
		case And:
			for _, b := range term.Branches {
				out = append(out, b.Disjunctions()...)
			}
		}
	}
	return out
}

// Comparisons returns the number of conditions of a filter in which there is
// nothing but equality, $in and comparisons of paths; -1 if there is more.
func (t Tree) Comparisons() int {
	n := 0
	for i := range t {
		if t[i].Op != "" {
			return -1
		}
		for _, o := range t[i].Operators {
			switch o.Op {
			case Eq, Gt, Gte, Lt, Lte, In:
				n++
			default:
				return -1
			}
		}
	}
	return n
}

// Fields returns the first names of the paths on which the filter has a
// condition; whole says that it may read the whole document, by $expr or $text.
func (t Tree) Fields() (names []string, whole bool) {
	for i := range t {
		switch term := &t[i]; term.Op {
		case "":
			name, _, _ := strings.Cut(term.Path, ".")
			names = append(names, name)
		case Expr, Text:
			whole = true
		default:
			for _, b := range term.Branches {
				more, w := b.Fields()
				names, whole = append(names, more...), whole || w
			}
		}
	}
	return names, whole
}

// Names reports whether the filter names a field of the document: a path begins
// with it, or an expression reads it.
func (t Tree) Names(field string) bool {
	return slices.ContainsFunc(t, func(term Term) bool {
		if term.Op == "" {
			return begins(term.Path, field)
		}
		return term.expr != nil && term.expr.e.Names(field) ||
			slices.ContainsFunc(term.Branches, func(b Tree) bool { return b.Names(field) })
	})
}

// begins reports whether the first name of a dotted path is field.
func begins(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (rest == "" || rest[0] == '.')
}

// equal reports whether two terms were written with the same bytes.
func (a *Term) equal(b *Term) bool {
	same := func(v, w value.Value) bool { return v.Type == w.Type && bytes.Equal(v.Data, w.Data) }
	return a.Op == b.Op && a.Path == b.Path && same(a.Arg, b.Arg) &&
		slices.EqualFunc(a.Operators, b.Operators, func(x, y Operator) bool {
			return x.Op == y.Op && x.Literal == y.Literal && same(x.Arg, y.Arg)
		})
}
