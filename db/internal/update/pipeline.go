package update

import (
	"bytes"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// maxStages bounds the stages of a pipeline.
const maxStages = 1000

// A stage turns the bytes of a document into those of another.
type stage func(doc []byte, ctx Context) ([]byte, error)

// Pipeline returns the update document {$pipeline: stages} of an update given
// as an array of stages, in which form it is logged; Compile takes it.
func Pipeline(stages value.Value) bson.Raw {
	doc, start := value.Begin(make([]byte, 0, len(stages.Data)+16))
	return value.End(value.AppendElement(doc, []byte("$pipeline"), stages), start)
}

// compilePipeline compiles an update given as an aggregation pipeline of $set, $addFields,
// $unset, $project, $replaceRoot and $replaceWith. Its expressions may depend on the
// document and the operation's time ($$NOW) only. It is what replicas calculate again:
// $rand and time zones by name, whose rules differ, are refused.
func compilePipeline(stages value.Value) (*Update, error) {
	if !stages.IsArray() {
		return nil, fault.Errorf(fault.FailedToParse, "an update pipeline must be an array of stages, not %s", expr.TypeName(stages))
	}
	u := &Update{pipeline: true}
	it := value.Elements(bytes.Clone(stages.Data))
	for i := 0; ; i++ {
		_, v, ok := it.Next()
		if !ok {
			return u, nil
		}
		if i == maxStages {
			return nil, fault.Errorf(fault.FailedToParse, "an update pipeline has at most %d stages", maxStages)
		}
		s, err := compileStage(v)
		if err != nil {
			return nil, inStage(i, err)
		}
		u.stages = append(u.stages, s)
	}
}

// inStage says in which stage of a pipeline err arose.
func inStage(i int, err error) error {
	return fmt.Errorf("stage %d: %w", i, err)
}

// compileStage compiles one stage. Those of an aggregation that ask for other documents, or
// make several of one, have no meaning for an update.
func compileStage(v value.Value) (stage, error) {
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "each element of the pipeline must be an object, not %s", expr.TypeName(v))
	}
	it := value.Elements(v.Data)
	name, spec, ok := it.Next()
	if _, _, more := it.Next(); !ok || more {
		return nil, fault.Errorf(fault.FailedToParse, "a pipeline stage specification object must contain exactly one field")
	}
	var p *query.Projection
	var err error
	switch op := string(name); op {
	case "$set", "$addFields":
		p, err = query.CompileAddFields(op, spec)
	case "$unset":
		p, err = query.CompileUnset(spec)
	case "$project":
		p, err = query.CompileProject(spec)
	case "$replaceRoot":
		root := value.Get(spec.Data, "newRoot")
		if !spec.IsDoc() || !root.Exists() {
			return nil, fault.Errorf(fault.FailedToParse, "$replaceRoot needs an object with newRoot")
		}
		return replaceRoot(op, root)
	case "$replaceWith":
		return replaceRoot(op, spec)
	default:
		return nil, fault.Errorf(fault.InvalidOptions, "%s is not allowed to be used within an update", op)
	}
	return func(doc []byte, ctx Context) ([]byte, error) {
		return p.Project(make([]byte, 0, len(doc)+64), doc, query.Context{Now: ctx.Now, Meter: ctx.Meter})
	}, err
}

// replaceRoot compiles an expression that gives the new document, whole.
func replaceRoot(op string, v value.Value) (stage, error) {
	e, err := expr.Compile(v)
	if err != nil {
		return nil, err
	}
	if !e.Deterministic() {
		return nil, fault.Errorf(fault.CommandNotSupported, "%s: $rand and time zones by name are not supported in updates", op)
	}
	return func(doc []byte, ctx Context) ([]byte, error) {
		env := expr.Env{Root: doc, Now: ctx.Now.UnixMilli(), Meter: ctx.Meter}
		v, err := e.Eval(&env)
		switch {
		case err != nil:
			return nil, err
		case !v.IsDoc():
			return nil, fault.Errorf(fault.TypeMismatch, "'newRoot' expression must evaluate to an object, but resulting value was: %s", excerpt(v))
		}
		return v.Data, nil
	}, nil
}

// run applies the stages; the document keeps its _id, in first place. A stage that drops
// the _id does not take it from the document. One that changes it is refused by Apply. The
// result is copied, for it may alias the stages' memory.
func (u *Update) run(doc []byte, ctx Context) (out []byte, err error) {
	out = doc
	for i, s := range u.stages {
		if out, err = s(out, ctx); err != nil {
			return nil, inStage(i, err)
		}
		if len(out) > value.MaxDocument {
			return nil, tooLarge()
		}
		if ctx.Meter != nil && !ctx.Meter.Spend(value.Count(out)*value.MeterTick) {
			return nil, errWork
		}
	}
	it := value.Elements(out)
	if k, _, _ := it.Next(); string(k) == "_id" {
		return bytes.Clone(out), nil
	}
	id := value.Get(out, "_id")
	if !id.Exists() {
		id = value.Get(doc, "_id")
	}
	return bytes.Clone(withID(out, id)), nil
}
