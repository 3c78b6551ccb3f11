package pipeline

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A lookupStage adds to each document an array of those of another collection
// that belong to it: by the equality of two fields, by a pipeline, or both.
type lookupStage struct {
	from           string
	local, foreign value.Path // nil: no equality
	foreignName    string
	as             value.Path
	vars           []*expr.Expr
	pipeline       *Pipeline       // never nil
	equal          []expr.Equality // of the first $match inside, which an index may answer
}

// lookup compiles {from, localField, foreignField, let, pipeline, as}. Without a pipeline
// the equality stands alone, as with an empty one; a pipeline that starts with $documents
// has no collection to ask.
func (c *compiler) lookup(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "the %s stage specification must be an object, but found %s", op, expr.TypeName(arg))
	}
	s := &lookupStage{}
	names := slices.Clone(c.vars)
	pipeline := value.Value{Type: bson.TypeArray, Data: emptyDoc}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch key := string(k); key {
		case "from", "localField", "foreignField", "as":
			if v.Type != bson.TypeString {
				return nil, fault.Errorf(fault.FailedToParse, "%s argument '%s' must be a string, found %s", op, key, expr.TypeName(v))
			}
			if err = s.name(key, string(v.Str())); err != nil {
				err = in(op, err)
			}
		case "let":
			names, err = c.let(op, v, s)
		case "pipeline":
			pipeline = v
		default:
			err = fault.Errorf(fault.FailedToParse, "unknown argument to %s: %s", op, key)
		}
		if err != nil {
			return nil, err
		}
	}
	has := func(k string) bool { return value.Get(arg.Data, k).Exists() }
	switch {
	case s.as == nil:
		return nil, fault.Errorf(fault.FailedToParse, "must specify 'as' field for a %s", op)
	case (s.local == nil) != (s.foreign == nil):
		return nil, fault.Errorf(fault.FailedToParse, "%s requires both or neither of 'localField' and 'foreignField' to be specified", op)
	case s.local == nil && !has("pipeline"):
		return nil, fault.Errorf(fault.FailedToParse, "%s requires either 'pipeline' or both 'localField' and 'foreignField' to be specified", op)
	case has("let") && !has("pipeline"):
		return nil, fault.Errorf(fault.FailedToParse, "%s with a 'let' argument must also specify 'pipeline'", op)
	}
	var err error
	if s.pipeline, err = c.sub(op, pipeline, names, false); err != nil {
		return nil, err
	}
	if s.from == "" && !s.pipeline.own {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'from', unless its pipeline starts with $documents", op)
	}
	if s.from != "" && s.pipeline.own || s.pipeline.own && s.local != nil {
		return nil, fault.Errorf(fault.FailedToParse, "%s with a pipeline that starts with $documents takes neither 'from' nor fields", op)
	}
	s.equal = equalities(s.pipeline)
	return s, nil
}

// name keeps one of the arguments that are strings; three of them are paths.
func (s *lookupStage) name(key, v string) (err error) {
	switch key {
	case "from":
		s.from = v
	case "localField":
		s.local, err = expr.ParseFieldPath(v)
	case "foreignField":
		s.foreign, err = expr.ParseFieldPath(v)
		s.foreignName = v
	default:
		s.as, err = expr.ParseFieldPath(v)
	}
	return err
}

// let compiles the variables of a $lookup; one of the name of an outer one hides
// that.
func (c *compiler) let(op string, v value.Value, s *lookupStage) ([]string, error) {
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "%s argument 'let' must be an object, found %s", op, expr.TypeName(v))
	}
	names := slices.Clone(c.vars)
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		if err := expr.CheckVariable(string(k)); err != nil {
			return nil, in(op, err)
		}
		x, err := c.expr(op, e)
		if err != nil {
			return nil, err
		}
		names, s.vars = append(names, string(k)), append(s.vars, x)
	}
	return names, nil
}

// equalities finds {$expr: {$eq: ["$field", "$$variable"]}}, or an $and of such,
// in the first $match of a pipeline. As filters they are necessary conditions:
// a value that is no array is only equal to a field that holds it.
//
//	{$expr: {$eq: ["$order", "$$id"]}}     asks also for {order: {$eq: id}}, id being the document's
//
// The $match stays where it is: to a filter {order: 5} matches an array with a 5, which to
// $eq it does not. After a $skip or $limit the documents are counted already, so nothing
// may be left out before them.
func equalities(p *Pipeline) (out []expr.Equality) {
	if len(p.stages) == 0 || p.query.Skip > 0 || p.query.Limit > 0 || p.own {
		return nil
	}
	match, ok := p.stages[0].(matchStage)
	if !ok {
		return nil
	}
	for _, t := range match.filter.Tree() {
		if t.Op == query.Expr {
			out = append(out, t.Expression().Equalities()...)
		}
	}
	return out
}

// open gives a cursor that asks the foreign collection anew for each document, which is why
// an index on the foreign field matters.
func (s *lookupStage) open(r *run, in Cursor) (Cursor, error) {
	env := r.env()
	var buf buffer
	return &mapped{in, func(doc []byte) ([]byte, error) {
		if err := r.stop(); err != nil {
			return nil, err
		}
		list, err := s.find(r, env, doc)
		if err != nil {
			return nil, err
		}
		if len(doc)+len(list.Data) > maxDocument {
			return nil, fault.Errorf(fault.TooLarge, "total size of documents in %s matching $lookup exceeds %d bytes", s.from, maxDocument)
		}
		doc = setPath(buf.b[:0], doc, s.as, list)
		return doc, buf.set(r, "$lookup", doc)
	}}, nil
}

// find collects what belongs to doc. What the pipeline inside held is free again when find
// returns: each document may take all that is left of the bound, and no other goroutine
// counts meanwhile.
func (s *lookupStage) find(r *run, env *expr.Env, doc []byte) (value.Value, error) {
	inner := *r
	env.Root = doc
	inner.vars = slices.Clone(r.vars)
	for _, x := range s.vars {
		v, err := x.Eval(env)
		if err != nil {
			return v, err
		}
		inner.vars = append(inner.vars, v)
	}
	used := r.mem.used.Load()
	defer func() { r.mem.used.Store(used) }()
	c, err := s.start(&inner, doc)
	if err != nil {
		return value.Value{}, err
	}
	defer c.Close()
	out := newArray()
	for {
		d, err := c.Next()
		if err != nil {
			return value.Value{}, err
		}
		if d == nil {
			return out.value(), nil
		}
		if out.add(value.Doc(d)); len(out.b) > maxDocument {
			return value.Value{}, fault.Errorf(fault.TooLarge, "total size of documents in %s matching $lookup exceeds %d bytes", s.from, maxDocument)
		}
		if err := r.hold("$lookup", len(d)); err != nil {
			return value.Value{}, err
		}
	}
}

// start opens the foreign collection with all that it can be asked for. The conditions come
// before the filter of the pipeline itself. A variable that is an array is left out: to an
// expression $a.b may be the array of what several documents in a have, which no filter on
// a.b asks for.
func (s *lookupStage) start(r *run, doc []byte) (Cursor, error) {
	p := s.pipeline
	if p.own {
		return p.open(r, "")
	}
	q := p.query
	var conds []bson.Raw
	if s.foreign != nil {
		conds = append(conds, s.matching(doc))
	}
	env := r.env()
	env.Root = emptyDoc
	for _, eq := range s.equal {
		v, err := eq.Arg.Eval(env)
		if err != nil {
			return nil, err
		}
		if v.IsArray() {
			continue
		}
		conds = append(conds, condition(eq.Path, "$eq", plain(v)))
	}
	if len(conds) > 0 {
		if len(q.Filter) > 5 {
			conds = append(conds, q.Filter)
		}
		b, start := value.Begin(nil)
		q.Filter = value.End(field(b, "$and", value.Value{Type: bson.TypeArray, Data: arrayOf(conds)}), start)
	}
	c, err := r.src.Open(s.from, q)
	if err != nil {
		return nil, err
	}
	return p.over(r, &source{Cursor: c, r: r})
}

// matching is the filter for the foreign field: it equals the local field, or an
// element of it; a missing one counts as null.
//
//	local 5             {foreign: {$eq: 5}}
//	local [5, [6]]      {$or: [{foreign: {$eq: 5}}, {foreign: {$eq: [6]}}]}
//	local []            {foreign: {$in: []}}, which matches nothing
//	missing or null     {foreign: {$eq: null}}, which a document without the field matches, too
func (s *lookupStage) matching(doc []byte) bson.Raw {
	local := along(nil, value.Doc(doc), s.local)
	if local == nil {
		local = []value.Value{value.Null()}
	}
	all := newArray()
	for _, v := range local {
		if v.IsArray() {
			it := value.Elements(v.Data)
			for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
				all.add(value.Doc(condition(s.foreignName, "$eq", plain(e))))
			}
			continue
		}
		all.add(value.Doc(condition(s.foreignName, "$eq", plain(v))))
	}
	switch all.n {
	case 0:
		return condition(s.foreignName, "$in", all.value())
	case 1:
		return value.At(all.end(), 0).Data
	}
	b, start := value.Begin(nil)
	return value.End(field(b, "$or", all.value()), start)
}

// along appends the values at a path, through documents and arrays of them. Numbers are
// names of fields only, as in expressions: there is no place in an array for them.
func along(dst []value.Value, v value.Value, path value.Path) []value.Value {
	if len(path) == 0 {
		if v.Exists() {
			dst = append(dst, v)
		}
		return dst
	}
	switch {
	case v.IsDoc():
		return along(dst, value.Get(v.Data, path[0].Name), path[1:])
	case v.IsArray():
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if e.IsDoc() {
				dst = along(dst, e, path)
			}
		}
	}
	return dst
}

// plain is v as filters take it.
func plain(v value.Value) value.Value {
	if !v.Exists() || v.Type == bson.TypeUndefined {
		return value.Null()
	}
	return v
}

// condition builds {path: {op: v}}.
func condition(path, op string, v value.Value) []byte {
	b, start := value.Begin(nil)
	b, inner := value.Begin(value.AppendHeader(b, bson.TypeEmbeddedDocument, path))
	return value.End(value.End(field(b, op, v), inner), start)
}

// A unionStage gives its input, then what a pipeline makes of a collection.
type unionStage struct {
	from     string
	pipeline *Pipeline
}

// union compiles a collection's name or {coll, pipeline}.
func (c *compiler) union(op string, arg value.Value) (stage, error) {
	s := &unionStage{}
	pipeline := value.Value{Type: bson.TypeArray, Data: emptyDoc}
	switch {
	case arg.Type == bson.TypeString:
		s.from = string(arg.Str())
	case arg.IsDoc():
		it := value.Elements(arg.Data)
		for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
			switch string(k) {
			case "coll":
				s.from = string(v.Str())
			case "pipeline":
				pipeline = v
			default:
				return nil, fault.Errorf(fault.FailedToParse, "unknown argument to %s: %s", op, k)
			}
		}
	default:
		return nil, fault.Errorf(fault.FailedToParse, "the %s stage specification must be an object or string, but found %s", op, expr.TypeName(arg))
	}
	var err error
	if s.pipeline, err = c.sub(op, pipeline, c.vars, false); err != nil {
		return nil, err
	}
	if (s.from == "") != s.pipeline.own {
		return nil, fault.Errorf(fault.FailedToParse, "%s needs 'coll', or a pipeline that starts with $documents", op)
	}
	return s, nil
}

func (s *unionStage) open(r *run, in Cursor) (Cursor, error) {
	return &union{in: in, s: s, r: r}, nil
}

// The second part is opened when the first has ended: until then it holds nothing, and
// reads nothing if a $limit behind it is content with the first.
type union struct {
	in     Cursor
	s      *unionStage
	r      *run
	second bool
}

// Next closes the input as soon as it has ended, which frees what it holds.
func (u *union) Next() ([]byte, error) {
	doc, err := u.in.Next()
	if err != nil || doc != nil || u.second {
		return doc, err
	}
	u.second = true
	next, err := u.s.pipeline.open(u.r, u.s.from)
	if err != nil {
		return nil, err
	}
	u.in.Close()
	u.in = next
	return u.in.Next()
}

func (u *union) Close() { u.in.Close() }
