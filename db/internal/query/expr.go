package query

import (
	"fmt"
	"sync"
	"time"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Scope is what expressions may refer to besides the document. The zero Scope
// is that of filters and updates, which every replica must answer alike.
type Scope struct {
	Vars  []string // variables; Filter.With and Context.Vars give their values
	Local bool     // $rand and time zones by name are allowed
	Text  bool     // $text is allowed in the conjunction of a filter
}

// An exprNode is $expr: an aggregation expression that is true of the document.
type exprNode struct {
	e    *expr.Expr
	vars []value.Value
}

// envs keeps environments, whose memory an evaluation uses again.
var envs = sync.Pool{New: func() any { return new(expr.Env) }}

// compile compiles an expression. Unless the scope is local its value depends on
// nothing but the document and the time of the operation, so that every replica
// finds the same.
func (s Scope) compile(where string, v value.Value) (*expr.Expr, error) {
	e, err := expr.Compile(v, s.Vars...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if !s.Local && !e.Deterministic() {
		return nil, fault.Errorf(fault.CommandNotSupported,
			"%s: $rand and time zones by name are not supported here: replicas could disagree", where)
	}
	return e, nil
}

// eval evaluates e on doc at ms since 1970; use sees the value, which does not
// outlive it.
func eval(e *expr.Expr, doc []byte, ms int64, vars []value.Value, m *value.Meter, use func(value.Value)) error {
	env := envs.Get().(*expr.Env)
	env.Root, env.Now, env.Vars, env.Meter = doc, ms, vars, m
	v, err := e.Eval(env)
	if err == nil {
		use(v)
	}
	env.Root, env.Vars, env.Meter = nil, nil, nil
	envs.Put(env)
	return err
}

// Without a spot there is no place for its error and no time: Match calls Test where there
// is an $expr.
func (n exprNode) match(v value.Value, s *spot) (ok bool) {
	if s == nil || s.err != nil {
		return false
	}
	s.err = eval(n.e, v.Data, s.now, n.vars, s.m, func(v value.Value) { ok = expr.True(v) })
	return ok
}

// At returns the filter with t as the time of $$NOW in its expressions; without
// it that is 1970.
func (f *Filter) At(t time.Time) *Filter {
	if !f.exprs {
		return f
	}
	g := *f
	g.now = t.UnixMilli()
	return &g
}

// With returns the filter with the values of the variables of its Scope.
func (f *Filter) With(vars []value.Value) *Filter {
	if !f.exprs || len(vars) == 0 {
		return f
	}
	g := *f
	g.root = bound(f.root, vars)
	return &g
}

// bound copies the nodes down to each $expr, and sets the values of its variables there.
func bound(n node, vars []value.Value) node {
	all := func(nodes []node) []node {
		out := make([]node, len(nodes))
		for i, k := range nodes {
			out[i] = bound(k, vars)
		}
		return out
	}
	switch n := n.(type) {
	case exprNode:
		return exprNode{n.e, vars}
	case andNode:
		return andNode(all(n))
	case *fieldsNode:
		return conjunction(all(n.all))
	case orNode:
		return orNode(all(n))
	case norNode:
		return norNode(all(n))
	}
	return n
}

// Test is Match that returns the error of an expression that fails on doc; to
// Match such a document does not match.
func (f *Filter) Test(doc []byte) (bool, error) {
	if !f.exprs {
		return f.root.match(value.Doc(doc), nil), nil
	}
	return f.TestWithin(doc, nil)
}

// TestWithin is Test that does no more than m allows; more is an error.
func (f *Filter) TestWithin(doc []byte, m *value.Meter) (bool, error) {
	s := spot{pos: -1, now: f.now, m: m}
	ok := f.root.match(value.Doc(doc), &s)
	return ok && s.err == nil, s.err
}
