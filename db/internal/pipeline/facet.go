package pipeline

import (
	"bytes"
	"strings"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A facetStage runs several pipelines on the same input, which it holds. Its result is one
// document, {name: [what a pipeline gives], …}, even of an empty input.
type facetStage struct {
	names []string
	subs  []*Pipeline
}

// facetStage compiles {name: pipeline, …}. A $facet in a $facet is refused, as MongoDB
// does, and so is $documents, which has no use for the input.
func (c *compiler) facetStage(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() || len(arg.Data) <= 5 {
		return nil, fault.Errorf(fault.TypeMismatch, "the %s specification must be a non-empty object", op)
	}
	if c.facet {
		return nil, fault.Errorf(fault.InvalidPipeline, "%s is not allowed to be used within a $facet stage", op)
	}
	s := &facetStage{}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch {
		case len(k) == 0 || k[0] == '$' || strings.Contains(string(k), "."):
			return nil, fault.Errorf(fault.BadValue, "%s: '%s' cannot be the name of a field", op, k)
		case !v.IsArray():
			return nil, fault.Errorf(fault.TypeMismatch, "arguments to %s must be arrays, %s is type %s", op, k, expr.TypeName(v))
		}
		stages := value.Elements(v.Data)
		for _, e, ok := stages.Next(); ok; _, e, ok = stages.Next() {
			if value.Get(e.Data, "$documents").Exists() && e.IsDoc() {
				return nil, fault.Errorf(fault.InvalidPipeline, "$documents is not allowed to be used within a %s stage", op)
			}
		}
		p, err := c.sub(op, v, c.vars, true)
		if err != nil {
			return nil, err
		}
		s.names, s.subs = append(s.names, string(k)), append(s.subs, p)
	}
	return s, nil
}

// The input is read once and held once. Each pipeline runs over it in turn, as its stages
// do not write to their documents.
func (s *facetStage) open(r *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		var docs [][]byte
		for {
			doc, err := in.Next()
			if err != nil {
				return nil, err
			}
			if doc == nil {
				break
			}
			if err := r.hold("$facet", len(doc)+24); err != nil {
				return nil, err
			}
			docs = append(docs, bytes.Clone(doc))
		}
		out, start := value.Begin(nil)
		for i, p := range s.subs {
			v, err := s.one(r, p, docs, len(out))
			if err != nil {
				return nil, err
			}
			out = field(out, s.names[i], v)
		}
		return [][]byte{value.End(out, start)}, nil
	}}, nil
}

// one is the array of what p makes of docs; size is that of the result so far. What its
// stages held is free when it returns, so that each pipeline may take all that is left of
// the bound.
func (s *facetStage) one(r *run, p *Pipeline, docs [][]byte, size int) (value.Value, error) {
	used := r.mem.used.Load()
	defer func() { r.mem.used.Store(used) }()
	c, err := p.over(r, &source{Cursor: &list{docs}, r: r})
	if err != nil {
		return value.Value{}, err
	}
	defer c.Close()
	out := newArray()
	for {
		doc, err := c.Next()
		if err != nil {
			return value.Value{}, err
		}
		if doc == nil {
			return out.value(), nil
		}
		if out.add(value.Doc(doc)); len(out.b)+size > maxDocument {
			return value.Value{}, fault.Errorf(fault.TooLarge, "the document of $facet has more than %d bytes", maxDocument)
		}
	}
}
