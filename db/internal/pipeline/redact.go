package pipeline

import (
	"slices"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A redactStage keeps, prunes or descends into documents, as an expression says by $$KEEP,
// $$PRUNE and $$DESCEND. At each level paths begin at the document at hand, $$CURRENT, and
// $$ROOT stays the whole document:
//
//	{$cond: [{$eq: ["$secret", true]}, "$$PRUNE", "$$DESCEND"]}            drops any document that says secret: true
//	{$cond: [{$gt: ["$level", "$$ROOT.level"]}, "$$PRUNE", "$$DESCEND"]}   drops what is above the level of the whole
type redactStage struct {
	x    *expr.Expr
	vars int
}

// The verdicts, as values that the expression gives.
var verdicts = []string{"DESCEND", "PRUNE", "KEEP"}

// The verdicts are variables like others, whose values are their names.
func (c *compiler) redact(op string, arg value.Value) (stage, error) {
	x, err := expr.Compile(arg, append(slices.Clone(c.vars), verdicts...)...)
	return redactStage{x, len(c.vars)}, in(op, err)
}

func (s redactStage) open(r *run, in Cursor) (Cursor, error) {
	env := r.env()
	env.Vars = slices.Clone(r.vars)
	for _, v := range verdicts {
		env.Vars = append(env.Vars, value.String(v))
	}
	return &mapped{in, func(doc []byte) ([]byte, error) {
		env.Root = doc
		v, err := s.document(env, value.Doc(doc))
		return v.Data, err
	}}, nil
}

// document is the document that is left, or the zero Value. Documents within it are judged
// one by one, its other values stay.
func (s redactStage) document(env *expr.Env, doc value.Value) (value.Value, error) {
	env.Current = doc.Data
	v, err := s.x.Eval(env)
	if err != nil {
		return value.Value{}, err
	}
	switch string(v.Str()) {
	case "KEEP":
		return doc, nil
	case "PRUNE":
		return value.Value{}, nil
	case "DESCEND":
		return s.descend(env, doc)
	}
	return v, fault.Errorf(fault.BadValue, "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and $$PRUNE, but returned %s", value.AppendJSONValue(nil, v, false))
}

func (s redactStage) descend(env *expr.Env, doc value.Value) (value.Value, error) {
	out, start := value.Begin(nil)
	it := value.Elements(doc.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		v, err := s.inner(env, v)
		if err != nil {
			return v, err
		}
		out = field(out, string(k), v)
	}
	return value.Doc(value.End(out, start)), nil
}

// An element that is pruned leaves no hole in its array; a field that is goes with its
// name.
func (s redactStage) inner(env *expr.Env, v value.Value) (value.Value, error) {
	switch {
	case v.IsDoc():
		return s.document(env, v)
	case v.IsArray():
		out := newArray()
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			e, err := s.inner(env, e)
			if err != nil {
				return e, err
			}
			if e.Exists() {
				out.add(e)
			}
		}
		return out.value(), nil
	}
	return v, nil
}
