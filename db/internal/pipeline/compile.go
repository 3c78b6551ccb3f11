package pipeline

import (
	"bytes"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A compiler compiles one pipeline, in the scope of variables. Pipelines inside it have
// compilers of their own, which share left: the bound on stages is that of the whole, so
// that nesting does not multiply it.
type compiler struct {
	vars  []string
	depth int
	facet bool
	left  *int // stages that may follow
}

func (c *compiler) scope() query.Scope { return query.Scope{Vars: c.vars, Local: true} }

// expr compiles an expression of the stage op.
func (c *compiler) expr(op string, v value.Value) (*expr.Expr, error) {
	x, err := expr.Compile(v, c.vars...)
	return x, in(op, err)
}

// in names the stage in an error.
func in(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// pipeline compiles stages and moves what the source can answer into the query. A stage is
// compiled before it is moved, so an error names what was written, in the order that it
// was.
func (c *compiler) pipeline(specs []bson.Raw) (*Pipeline, error) {
	if c.depth > maxNesting {
		return nil, fault.Errorf(fault.MaxSubPipelineDepth, "the maximum number of nested sub-pipelines is %d", maxNesting)
	}
	var parts []part
	for i, spec := range specs {
		if *c.left--; *c.left < 0 {
			return nil, fault.Errorf(fault.FailedToParse, "a pipeline has at most %d stages", maxStages)
		}
		if err := value.Validate(spec); err != nil {
			return nil, err
		}
		p, err := c.part(bytes.Clone(spec), i)
		if err != nil {
			return nil, err
		}
		if _, writes := p.stage.(*intoStage); writes && i < len(specs)-1 {
			return nil, fault.Errorf(fault.InvalidPipeline, "%s can only be the final stage in the pipeline", p.op)
		}
		parts = append(parts, p)
	}
	return c.plan(parts)
}

// A part is a stage with its specification. Planning looks at the name and the argument,
// which the compiled stage does not show.
type part struct {
	op   string
	arg  value.Value
	spec bson.Raw
	stage
}

// part compiles {$name: argument}, the i-th stage; it keeps spec.
func (c *compiler) part(spec bson.Raw, i int) (part, error) {
	it := value.Elements(spec)
	k, arg, ok := it.Next()
	if _, _, more := it.Next(); !ok || more {
		return part{}, fault.Errorf(fault.FailedToParse, "A pipeline stage specification object must contain exactly one field.")
	}
	p := part{op: string(k), arg: arg, spec: spec}
	var err error
	p.stage, err = c.stage(p.op, arg, i)
	return p, err
}

// stage compiles a stage. at is its position in the pipeline. This is the list of them: a
// new one is a case here and a type with open. Only the position of $documents matters; that
// of $match with $text is looked at when the stages are opened, for planning may move it.
func (c *compiler) stage(op string, arg value.Value, at int) (stage, error) {
	switch op {
	case "$match":
		return c.match(op, arg)
	case "$project":
		p, err := c.scope().CompileProject(arg)
		return projectStage{op, p}, in(op, err)
	case "$addFields", "$set":
		p, err := c.scope().CompileAddFields(op, arg)
		return projectStage{op, p}, in(op, err)
	case "$unset":
		p, err := query.CompileUnset(arg)
		return projectStage{op, p}, in(op, err)
	case "$replaceRoot", "$replaceWith":
		return c.replace(op, arg)
	case "$limit", "$skip":
		return limits(op, arg)
	case "$sort":
		return compileSort(op, arg)
	case "$unwind":
		return compileUnwind(op, arg)
	case "$count":
		return compileCount(op, arg)
	case "$group":
		return c.group(op, arg)
	case "$sortByCount":
		return c.sortByCount(op, arg)
	case "$bucket":
		return c.bucket(op, arg)
	case "$bucketAuto":
		return c.bucketAuto(op, arg)
	case "$sample":
		return compileSample(op, arg)
	case "$lookup":
		return c.lookup(op, arg)
	case "$unionWith":
		return c.union(op, arg)
	case "$facet":
		return c.facetStage(op, arg)
	case "$graphLookup":
		return c.graphLookup(op, arg)
	case "$setWindowFields":
		return c.setWindowFields(op, arg)
	case "$out", "$merge":
		return c.into(op, arg)
	case "$redact":
		return c.redact(op, arg)
	case "$documents":
		if at > 0 {
			return nil, fault.Errorf(fault.InvalidPipeline, "%s is only valid as the first stage in a pipeline", op)
		}
		return c.documents(op, arg)
	}
	if knownStages[op] {
		return nil, fault.Errorf(fault.CommandNotSupported, "the stage %s is not supported", op)
	}
	return nil, fault.Errorf(fault.InvalidPipeline, "Unrecognized pipeline stage name: '%s'", op)
}

// knownStages are MongoDB's that are not here.
var knownStages = map[string]bool{
	"$geoNear": true, "$densify": true, "$fill": true,
	"$collStats": true, "$indexStats": true, "$currentOp": true, "$changeStream": true, "$search": true, "$searchMeta": true,
	"$planCacheStats": true, "$listSessions": true, "$listLocalSessions": true, "$vectorSearch": true,
}

// sub compiles a pipeline inside this one. Its input is a collection, or the documents of a
// $facet: then nothing is moved into a query, and $facet itself is refused.
func (c *compiler) sub(op string, v value.Value, vars []string, facet bool) (*Pipeline, error) {
	if !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s: a pipeline must be an array of stages", op)
	}
	var specs []bson.Raw
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if !e.IsDoc() {
			return nil, fault.Errorf(fault.TypeMismatch, "%s: each element of a pipeline must be an object", op)
		}
		specs = append(specs, e.Data)
	}
	s := compiler{vars: vars, depth: c.depth + 1, facet: facet, left: c.left}
	p, err := s.pipeline(specs)
	return p, in(op, err)
}
