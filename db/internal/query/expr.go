package query

import (
	"errors"
	"sync"
	"time"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
)

// An exprNode is $expr: an aggregation expression that is true of the document.
type exprNode struct{ e *expr.Expr }

// envs keeps environments, whose memory an evaluation uses again.
var envs = sync.Pool{New: func() any { return new(expr.Env) }}

// compileExpr compiles an expression whose value depends on nothing but the
// document and the time of the operation, so that every replica finds the same.
func compileExpr(where string, v value.Value) (*expr.Expr, error) {
	e, err := expr.Compile(v)
	if err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			return nil, &Error{Code: e.Code, Name: e.Name, Message: where + ": " + e.Message}
		}
		return nil, err
	}
	if !e.Deterministic() {
		return nil, value.Errorf(value.CodeCommandNotSupported,
			"%s: $rand and time zones by name are not supported here: replicas could disagree", where)
	}
	return e, nil
}

// eval evaluates e on doc at ms since 1970; use sees the value, which does not
// outlive it.
func eval(e *expr.Expr, doc []byte, ms int64, use func(value.Value)) error {
	env := envs.Get().(*expr.Env)
	env.Root, env.Now = doc, ms
	v, err := e.Eval(env)
	if err == nil {
		use(v)
	}
	env.Root = nil
	envs.Put(env)
	return err
}

func (n exprNode) match(v value.Value, s *spot) (ok bool) {
	if s == nil || s.err != nil {
		return false
	}
	s.err = eval(n.e, v.Data, s.now, func(v value.Value) { ok = expr.True(v) })
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

// Test is Match that returns the error of an expression that fails on doc; to
// Match such a document does not match.
func (f *Filter) Test(doc []byte) (bool, error) {
	if !f.exprs {
		return f.root.match(value.Doc(doc), nil), nil
	}
	s := spot{pos: -1, now: f.now}
	ok := f.root.match(value.Doc(doc), &s)
	return ok && s.err == nil, s.err
}
