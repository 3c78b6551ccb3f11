// Package expr compiles MongoDB's aggregation expressions and evaluates them on
// encoded documents.
//
//	Compile ── Expr ── Eval(Env)       one value, of one document
//	NewAccumulator ── Add, Result      $sum, $avg, … over many
//
// An Expr is immutable and safe for concurrent use; an Env belongs to one
// goroutine. Errors carry a kind of package fault. An Eval is bounded in
// ticks and in bytes built, so it ends whatever the expression is. Results may
// alias the document and are never written to. Rules: docs/design/aggregate.md.
package expr

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// An Expr is a compiled expression.
type Expr struct {
	root   node
	varies bool // not a function of the environment alone
	fields []string
	whole  bool
	source value.Value // as it was written
	nslots int
}

// Compile compiles an expression such as {$add: ["$a", 1]}, which it copies. A
// value that holds no operator or field path is a constant. Names in vars are
// the user variables that Env.Vars holds, in that order; others are unknown.
func Compile(v value.Value, vars ...string) (*Expr, error) {
	doc, start := value.Begin(make([]byte, 0, len(v.Data)+16))
	doc = value.End(value.AppendElement(doc, []byte("e"), v), start)
	if err := value.Validate(doc); err != nil {
		return nil, err
	}
	v = value.Get(doc, "e")
	c := compiler{e: &Expr{source: v}}
	for _, name := range vars {
		c.bind(name)
	}
	n, err := c.value(v)
	if err != nil {
		return nil, err
	}
	c.e.root = n
	c.e.nslots = c.most
	return c.e, nil
}

// Deterministic reports whether the value depends on nothing but the Env: no
// $rand, and no time zone by name, whose rules differ between machines. $$NOW
// is Env.Now.
func (e *Expr) Deterministic() bool { return !e.varies }

// Constant returns the value of an expression that is one. Whatever depends on nothing became its value
// when it was compiled, unless that fails.
func (e *Expr) Constant() (v value.Value, ok bool) {
	c, ok := e.root.(constant)
	return value.Value(c), ok
}

// Fields returns the dotted paths of the document that the expression reads;
// whole says that it may read all of it ($$ROOT).
func (e *Expr) Fields() (paths []string, whole bool) { return e.fields, e.whole }

// Names reports whether the expression reads a field of the document by its name:
// a path begins with it, or, where the whole document is read, the name stands
// anywhere, for a variable may be the document.
func (e *Expr) Names(field string) bool {
	return slices.ContainsFunc(e.fields, func(p string) bool {
		name, _, _ := strings.Cut(p, ".")
		return name == field
	}) || e.whole && mentions(e.source, field)
}

// mentions reports whether name is a string, a component of a field path or the
// name of a field within v.
func mentions(v value.Value, name string) bool {
	if v.Type == bson.TypeString {
		s := string(v.Str())
		return s == name || strings.HasPrefix(s, "$") && slices.Contains(strings.Split(s, ".")[1:], name)
	}
	if !v.IsDoc() && !v.IsArray() {
		return false
	}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		if string(k) == name || mentions(e, name) {
			return true
		}
	}
	return false
}

// Path returns the dotted path of an expression that is just a field path.
func (e *Expr) Path() (path string, ok bool) {
	p, ok := e.root.(*fieldPath)
	if !ok || p.slot != slotCurrent && p.slot != slotRoot {
		return "", false
	}
	return p.path.String(), true
}

// Eval evaluates the expression. The zero Value means a missing field or
// $$REMOVE. The result aliases the document, the expression or memory that
// nothing writes to again.
func (e *Expr) Eval(env *Env) (value.Value, error) {
	switch n := e.root.(type) { // the two that are most of a $group
	case constant:
		return value.Value(n), nil
	case *fieldPath:
		if n.slot == slotCurrent && len(n.path) == 1 {
			return value.Get(env.current(), n.path[0].Name), nil
		}
	}
	return env.run(e)
}

// True reports whether v counts as true: all but false, null, undefined,
// missing and zero.
func True(v value.Value) bool {
	switch v.Type {
	case bson.TypeBoolean:
		return v.Bool()
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int() != 0
	case bson.TypeDouble:
		return v.Float() != 0
	case bson.TypeDecimal128:
		return value.Compare(v, value.Int32(0)) != 0
	}
	return !nullish(v)
}

// Nullish reports whether v is null, undefined or missing.
func nullish(v value.Value) bool {
	return v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}
