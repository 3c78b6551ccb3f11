package pipeline

import (
	"math/rand/v2"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A mapped cursor gives what f makes of each document; f returns nil for none.
type mapped struct {
	Cursor
	f func(doc []byte) ([]byte, error)
}

func (m *mapped) Next() ([]byte, error) {
	for {
		doc, err := m.Cursor.Next()
		if err != nil || doc == nil {
			return nil, err
		}
		if doc, err = m.f(doc); err != nil || doc != nil {
			return doc, err
		}
	}
}

// A matchStage tests what the stages before it give. A leading $match is in Query, if the
// source can test it.
type matchStage struct{ filter *query.Filter }

// match compiles a filter. What $text means only an index knows, so such a filter gives no
// stage to run but one that planning moves into the query, or that fails when it is opened.
func (c *compiler) match(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "the match filter must be an expression in an object")
	}
	scope := c.scope()
	scope.Text = true
	f, err := scope.Compile(arg.Data)
	if err == nil && f.Text() != nil {
		return textStage{op}, nil
	}
	return matchStage{f}, in(op, err)
}

// A textStage is a $match with $text, which only a source can answer.
type textStage struct{ op string }

func (s textStage) open(*run, Cursor) (Cursor, error) {
	return nil, fault.Errorf(fault.InvalidPipeline, "%s with $text is only allowed as the first pipeline stage", s.op)
}

// An expression in the filter that fails ends the run; to drop the document would hide the
// failure.
func (s matchStage) open(r *run, in Cursor) (Cursor, error) {
	f := s.filter.At(r.now).With(r.vars)
	return &mapped{in, func(doc []byte) ([]byte, error) {
		ok, err := f.Test(doc)
		if !ok {
			doc = nil
		}
		return doc, err
	}}, nil
}

// A projectStage is $project, $addFields, $set or $unset.
type projectStage struct {
	op string
	p  *query.Projection
}

// The result is built in one buffer, which the next document overwrites.
func (s projectStage) open(r *run, in Cursor) (Cursor, error) {
	var buf buffer
	ctx := r.context()
	return &mapped{in, func(doc []byte) ([]byte, error) {
		doc, err := s.p.Project(buf.b[:0], doc, ctx)
		if err != nil {
			return nil, err
		}
		return doc, buf.set(r, s.op, doc)
	}}, nil
}

// A replaceStage is $replaceRoot or $replaceWith. The document that it gives may be a part
// of the one that it got, or memory of the expression that nothing writes to again.
type replaceStage struct{ root *expr.Expr }

// replace compiles {newRoot: expression}, or for $replaceWith the expression alone.
func (c *compiler) replace(op string, arg value.Value) (stage, error) {
	if op == "$replaceRoot" {
		if !arg.IsDoc() {
			return nil, fault.Errorf(fault.TypeMismatch, "expected an object as specification for %s stage, got %s", op, expr.TypeName(arg))
		}
		it := value.Elements(arg.Data)
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if string(k) != "newRoot" {
				return nil, fault.Errorf(fault.FailedToParse, "unrecognized option to %s stage: %s", op, k)
			}
		}
		if arg = value.Get(arg.Data, "newRoot"); !arg.Exists() {
			return nil, fault.Errorf(fault.FailedToParse, "no newRoot specified for the %s stage", op)
		}
	}
	x, err := c.expr(op, arg)
	return replaceStage{x}, err
}

func (s replaceStage) open(r *run, in Cursor) (Cursor, error) {
	env := r.env()
	return &mapped{in, func(doc []byte) ([]byte, error) {
		env.Root = doc
		v, err := s.root.Eval(env)
		env.Root = nil // other stages may use the memory
		if err == nil && !v.IsDoc() {
			err = fault.Errorf(fault.TypeMismatch, "'newRoot' expression must evaluate to an object, but resulting value was of type %s", expr.TypeName(v))
		}
		return v.Data, err
	}}, nil
}

// A limitStage is $limit or $skip.
type limitStage struct {
	n    int64
	skip bool
}

// limits compiles $limit and $skip: whole numbers of any type, as 2.0; $limit cannot be 0.
func limits(op string, arg value.Value) (stage, error) {
	n, ok := whole(arg)
	if op == "$skip" {
		if !ok || n < 0 {
			return nil, fault.Errorf(fault.BadValue, "invalid argument to $skip stage: Expected a non-negative number in: $skip: %s", value.AppendJSONValue(nil, arg, false))
		}
		return &limitStage{n, true}, nil
	}
	switch {
	case !ok || n < 0:
		return nil, fault.Errorf(fault.BadValue, "invalid argument to $limit stage: Expected a non-negative number in: $limit: %s", value.AppendJSONValue(nil, arg, false))
	case n == 0:
		return nil, fault.Errorf(fault.BadValue, "the limit must be positive")
	}
	return &limitStage{n, false}, nil
}

// whole returns a number that is exactly an int64.
func whole(v value.Value) (int64, bool) {
	if !v.IsNumber() {
		return 0, false
	}
	n, ok := v.Raw().AsInt64OK()
	return n, ok && value.Compare(v, value.Int64(n)) == 0
}

func (s *limitStage) open(_ *run, in Cursor) (Cursor, error) {
	if s.skip {
		left := s.n
		return &mapped{in, func(doc []byte) ([]byte, error) {
			if left > 0 {
				left--
				return nil, nil
			}
			return doc, nil
		}}, nil
	}
	return &limited{in, s.n}, nil
}

// A limited cursor ends after the last document that is wanted, without asking whether
// there are more.
type limited struct {
	Cursor
	left int64
}

func (l *limited) Next() ([]byte, error) {
	if l.left == 0 {
		return nil, nil
	}
	l.left--
	return l.Cursor.Next()
}

// A countStage is $count. Of no documents it gives none, and no count of 0: MongoDB groups
// them, and there is no group. The number is an int32 where it fits.
type countStage struct{ name string }

// compileCount compiles the name of the field that holds the number. It cannot be _id, as
// in MongoDB, whose $count is a $group followed by a $project.
func compileCount(op string, arg value.Value) (stage, error) {
	name := string(arg.Str())
	switch {
	case arg.Type != bson.TypeString:
		return nil, fault.Errorf(fault.TypeMismatch, "the count field must be a non-empty string")
	case name == "":
		return nil, fault.Errorf(fault.BadValue, "the count field must be a non-empty string")
	case name[0] == '$':
		return nil, fault.Errorf(fault.BadValue, "the count field cannot be a $-prefixed path")
	case strings.IndexByte(name, 0) >= 0:
		return nil, fault.Errorf(fault.BadValue, "the count field cannot contain a null byte")
	case strings.Contains(name, "."):
		return nil, fault.Errorf(fault.BadValue, "the count field cannot contain '.'")
	case name == "_id":
		return nil, fault.Errorf(fault.BadValue, "%s: the count field cannot be _id", op)
	}
	return countStage{name}, nil
}

func (s countStage) open(_ *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		n := int64(0)
		for {
			doc, err := in.Next()
			if err != nil {
				return nil, err
			}
			if doc == nil {
				break
			}
			n++
		}
		if n == 0 {
			return nil, nil
		}
		v := value.Int64(n)
		if n == int64(int32(n)) {
			v = value.Int32(int32(n))
		}
		out, start := value.Begin(nil)
		return [][]byte{value.End(field(out, s.name, v), start)}, nil
	}}, nil
}

// A late cursor makes all its documents when the first is wanted.
type late struct {
	Cursor
	f    func() ([][]byte, error)
	done bool
	list list
}

// Next calls f once. The input stays open until Close.
func (l *late) Next() ([]byte, error) {
	if !l.done {
		l.done = true
		docs, err := l.f()
		if err != nil {
			return nil, err
		}
		l.list.docs = docs
	}
	return l.list.Next()
}

func (l *late) Close() {
	l.list.docs = nil
	l.Cursor.Close()
}

// A sampleStage is $sample: n documents, each as likely as any other, in random order. It
// holds n at a time (reservoir sampling): document number i takes the place of one of them
// with the probability n/(i+1).
type sampleStage struct{ n int64 }

func compileSample(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "the %s stage specification must be an object", op)
	}
	s := sampleStage{-1}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if string(k) != "size" {
			return nil, fault.Errorf(fault.FailedToParse, "unrecognized option to %s: %s", op, k)
		}
		n, ok := whole(v)
		if !ok {
			return nil, fault.Errorf(fault.TypeMismatch, "size argument to %s must be a number", op)
		}
		if n <= 0 {
			return nil, fault.Errorf(fault.BadValue, "size argument to %s must be positive", op)
		}
		s.n = n
	}
	if s.n < 0 {
		return nil, fault.Errorf(fault.FailedToParse, "%s stage must specify a size", op)
	}
	return s, nil
}

func (s sampleStage) open(r *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		var docs [][]byte
		for i := int64(0); ; i++ {
			doc, err := in.Next()
			if err != nil {
				return nil, err
			}
			if doc == nil {
				break
			}
			at := i
			if i >= s.n {
				if at = rand.Int64N(i + 1); at >= s.n {
					continue
				}
				r.drop(len(docs[at]) + 24)
			} else {
				docs = append(docs, nil)
			}
			if err := r.hold("$sample", len(doc)+24); err != nil {
				return nil, err
			}
			docs[at] = append([]byte(nil), doc...)
		}
		rand.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		return docs, nil
	}}, nil
}

// A documentsStage is $documents, in the place of a collection: its expression reads no
// document.
type documentsStage struct{ list *expr.Expr }

// documents compiles an expression that must give an array of documents, which only a run
// can tell.
func (c *compiler) documents(op string, arg value.Value) (stage, error) {
	x, err := c.expr(op, arg)
	return documentsStage{x}, err
}

func (s documentsStage) open(r *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		env := r.env()
		env.Root = emptyDoc
		v, err := s.list.Eval(env)
		if err != nil {
			return nil, err
		}
		if !v.IsArray() {
			return nil, fault.Errorf(fault.TypeMismatch, "$documents: an array is expected, not %s", expr.TypeName(v))
		}
		var docs [][]byte
		it := value.Elements(v.Data)
		for _, d, ok := it.Next(); ok; _, d, ok = it.Next() {
			if !d.IsDoc() {
				return nil, fault.Errorf(fault.TypeMismatch, "$documents: each element must be an object, not %s", expr.TypeName(d))
			}
			docs = append(docs, d.Data)
		}
		return docs, nil
	}}, nil
}
