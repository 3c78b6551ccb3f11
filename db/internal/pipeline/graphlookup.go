package pipeline

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A graphStage adds to each document an array of those of a collection that are reached
// from it: first those whose field `to` has a value of start, then those whose `to` has a
// value of `link` of these, and so on. Each is found once, at its least depth.
type graphStage struct {
	from     string
	start    *expr.Expr
	link     value.Path // connectFromField
	to       string     // connectToField
	as       value.Path
	depth    value.Path    // of the field that says how far a document is; nil for none
	most     int64         // links that are followed; -1 for any number
	restrict bson.Raw      // asked of the collection; nil for none
	filter   *query.Filter // tested here instead, as it names variables; nil for none
}

const (
	frontierValues = 1000      // of one query
	frontierBytes  = 256 << 10 // likewise
)

// graphLookup compiles {from, startWith, connectFromField, connectToField, as, maxDepth,
// depthField, restrictSearchWithMatch}.
func (c *compiler) graphLookup(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "the %s stage specification must be an object, but found %s", op, expr.TypeName(arg))
	}
	s := &graphStage{most: -1}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if err := s.argument(c, op, string(k), v); err != nil {
			return nil, err
		}
	}
	if s.from == "" || s.start == nil || s.link == nil || s.to == "" || s.as == nil {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified.", op)
	}
	return s, nil
}

func (s *graphStage) argument(c *compiler, op, key string, v value.Value) (err error) {
	switch key {
	case "startWith":
		s.start, err = c.expr(op, v)
		return err
	case "maxDepth":
		n, ok := whole(v)
		if !v.IsNumber() || !ok || n < 0 {
			return fault.Errorf(fault.FailedToParse, "%s: maxDepth requires a nonnegative integer argument, found %s", op, value.AppendJSONValue(nil, v, false))
		}
		s.most = n
		return nil
	case "restrictSearchWithMatch":
		if !v.IsDoc() {
			return fault.Errorf(fault.FailedToParse, "%s: restrictSearchWithMatch must be an object, found %s", op, expr.TypeName(v))
		}
		if _, err := query.Compile(v.Data); err == nil {
			s.restrict = v.Data
			return nil
		}
		s.filter, err = c.scope().Compile(v.Data)
		return in(op, err)
	case "from", "connectFromField", "connectToField", "as", "depthField":
	default:
		return fault.Errorf(fault.FailedToParse, "Unknown argument to %s: %s", op, key)
	}
	if v.Type != bson.TypeString {
		return fault.Errorf(fault.FailedToParse, "expected string as argument for %s, found: %s", key, value.AppendJSONValue(nil, v, false))
	}
	text := string(v.Str())
	if key == "from" {
		s.from = text
		return nil
	}
	path, err := expr.ParseFieldPath(text)
	switch key {
	case "connectFromField":
		s.link = path
	case "connectToField":
		s.to = text
	case "as":
		s.as = path
	default:
		s.depth = path
	}
	return in(op, err)
}

func (s *graphStage) open(r *run, in Cursor) (Cursor, error) {
	env := r.env()
	var buf buffer
	return &mapped{in, func(doc []byte) ([]byte, error) {
		if err := r.stop(); err != nil {
			return nil, err
		}
		env.Root = doc
		from, err := s.start.Eval(env)
		if err != nil {
			return nil, err
		}
		list, err := s.search(r, from)
		if err != nil {
			return nil, err
		}
		if len(doc)+len(list.Data) > maxDocument {
			return nil, s.tooLarge()
		}
		doc = setPath(buf.b[:0], doc, s.as, list)
		return doc, buf.set(r, "$graphLookup", doc)
	}}, nil
}

func (s *graphStage) tooLarge() error {
	return fault.Errorf(fault.TooLarge, "total size of documents in %s that $graphLookup reaches exceeds %d bytes", s.from, maxDocument)
}

// A search is that of one document. Values are looked for once and documents found once,
// which also ends it in a graph with cycles.
type search struct {
	s      *graphStage
	r      *run
	filter *query.Filter
	next   []value.Value       // to look for, of the depth after this one
	asked  map[string]struct{} // keys of values that were looked for, or wait to be
	found  map[string]struct{} // keys of the _ids of documents that were found
	out    *array
	key    []byte
}

// search returns what is reached from a value, or from each element of an array, the least
// deep first. What it held is free again when it returns.
func (s *graphStage) search(r *run, from value.Value) (value.Value, error) {
	used := r.mem.used.Load()
	defer func() { r.mem.used.Store(used) }()
	g := &search{s: s, r: r, asked: map[string]struct{}{}, found: map[string]struct{}{}, out: newArray()}
	if s.filter != nil {
		g.filter = s.filter.At(r.now).With(r.vars)
	}
	if err := g.want(from); err != nil {
		return value.Value{}, err
	}
	for depth := int64(0); len(g.next) > 0 && (s.most < 0 || depth <= s.most); depth++ {
		now := g.next
		g.next = nil
		for len(now) > 0 {
			n, size := 0, 0
			for n < len(now) && n < frontierValues && size < frontierBytes {
				size += len(now[n].Data)
				n++
			}
			if err := g.ask(now[:n], depth); err != nil {
				return value.Value{}, err
			}
			now = now[n:]
		}
	}
	return g.out.value(), nil
}

// want has a value looked for, or the elements of an array; of one that is missing nothing.
func (g *search) want(v value.Value) error {
	if v.IsArray() {
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if err := g.wantOne(e); err != nil {
				return err
			}
		}
		return nil
	}
	return g.wantOne(v)
}

func (g *search) wantOne(v value.Value) error {
	if !v.Exists() {
		return nil
	}
	v = plain(v)
	g.key = value.AppendKey(g.key[:0], v, false)
	if _, ok := g.asked[string(g.key)]; ok {
		return nil
	}
	g.asked[string(g.key)] = struct{}{}
	g.next = append(g.next, value.Value{Type: v.Type, Data: bytes.Clone(v.Data)})
	return g.r.hold("$graphLookup", 2*len(v.Data)+len(g.key)+groupSize)
}

// ask finds the documents that have one of the values.
func (g *search) ask(values []value.Value, depth int64) error {
	all := newArray()
	for _, v := range values {
		all.add(v)
	}
	q := Query{Filter: condition(g.s.to, "$in", all.value())}
	if g.s.restrict != nil {
		b, start := value.Begin(nil)
		q.Filter = value.End(field(b, "$and", value.Value{Type: bson.TypeArray, Data: arrayOf([]bson.Raw{g.s.restrict, q.Filter})}), start)
	}
	c, err := g.r.src.Open(g.s.from, q)
	if err != nil {
		return err
	}
	in := &source{Cursor: c, r: g.r}
	defer in.Close()
	for {
		doc, err := in.Next()
		if err != nil || doc == nil {
			return err
		}
		if g.filter != nil {
			if ok, err := g.filter.Test(doc); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		if err := g.take(doc, depth); err != nil {
			return err
		}
	}
}

func (g *search) take(doc []byte, depth int64) error {
	g.key = value.AppendKey(g.key[:0], value.Get(doc, "_id"), false)
	if _, ok := g.found[string(g.key)]; ok {
		return nil
	}
	g.found[string(g.key)] = struct{}{}
	if err := g.r.hold("$graphLookup", len(g.key)+len(doc)+groupSize); err != nil {
		return err
	}
	for _, v := range along(nil, value.Doc(doc), g.s.link) {
		if err := g.want(v); err != nil {
			return err
		}
	}
	if g.s.depth != nil {
		doc = setPath(nil, doc, g.s.depth, value.Int64(depth))
	}
	if g.out.add(value.Doc(doc)); len(g.out.b) > maxDocument {
		return g.s.tooLarge()
	}
	return nil
}
