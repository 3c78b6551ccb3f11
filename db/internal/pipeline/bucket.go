package pipeline

import (
	"bytes"
	"math"
	"slices"
	"sort"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A chain is several stages in one; planning takes it apart.
type chain []stage

func (c chain) open(r *run, in Cursor) (Cursor, error) { return (&Pipeline{stages: c}).over(r, in) }

// countOutput is {count: {$sum: 1}}, the default of some stages.
func (c *compiler) countOutput() ([]output, error) {
	o, err := c.accumulator("count", "$sum", value.Int32(1))
	return []output{o}, err
}

// sorted sorts by one field.
func sorted(name string, dir int32) (stage, error) {
	doc, start := value.Begin(nil)
	s, err := query.CompileSort(value.End(field(doc, name, value.Int32(dir)), start))
	return &sortStage{sort: s}, err
}

// Groups of equal counts stay in the order in which their ids first occur, for the sort is
// stable.
func (c *compiler) sortByCount(op string, arg value.Value) (stage, error) {
	switch {
	case arg.IsDoc():
		it := value.Elements(arg.Data)
		if k, _, ok := it.Next(); !ok || len(k) == 0 || k[0] != '$' {
			return nil, fault.Errorf(fault.FailedToParse, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
		}
	case len(arg.Str()) == 0 || arg.Str()[0] != '$':
		return nil, fault.Errorf(fault.FailedToParse, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
	}
	id, err := c.expr(op, arg)
	if err != nil {
		return nil, err
	}
	out, err := c.countOutput()
	if err != nil {
		return nil, err
	}
	s, err := sorted("count", -1)
	return chain{&groupStage{op: op, id: id, outputs: out}, s}, err
}

// bucket compiles {groupBy, boundaries, default, output}.
//
//	boundaries [0, 10, 20]     0 ≤ x < 10 is the bucket 0, 10 ≤ x < 20 the bucket 10, others the default
//
// It is a $group by the lower boundary and a $sort by it. Boundaries are constant, so that
// a document's bucket is found by bisection.
func (c *compiler) bucket(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "argument to %s stage must be an object, but found type: %s", op, expr.TypeName(arg))
	}
	g := &groupStage{op: op}
	var bounds []value.Value
	var other value.Value
	var err error
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "groupBy":
			g.id, err = c.expr(op, v)
		case "boundaries":
			bounds, err = c.boundaries(op, v)
		case "default":
			other, err = c.fixed(op, v)
		case "output":
			if !v.IsDoc() {
				return nil, fault.Errorf(fault.TypeMismatch, "the %s 'output' field must be an object, but found type: %s", op, expr.TypeName(v))
			}
			g.outputs, err = c.outputs(op, v)
		default:
			return nil, fault.Errorf(fault.FailedToParse, "unrecognized option to %s: %s", op, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if g.id == nil || bounds == nil {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'groupBy' and 'boundaries' to be specified", op)
	}
	if other.Exists() && value.Compare(other, bounds[0]) >= 0 && value.Compare(other, bounds[len(bounds)-1]) < 0 {
		return nil, fault.Errorf(fault.BadValue, "the %s 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary", op)
	}
	if !value.Get(arg.Data, "output").Exists() {
		if g.outputs, err = c.countOutput(); err != nil {
			return nil, err
		}
	}
	g.pick = func(v value.Value) (value.Value, error) {
		if !v.Exists() {
			v = value.Null()
		}
		i := sort.Search(len(bounds), func(i int) bool { return value.Compare(bounds[i], v) > 0 })
		switch {
		case i > 0 && i < len(bounds):
			return bounds[i-1], nil
		case other.Exists():
			return other, nil
		}
		return v, fault.Errorf(fault.BadValue, "%s could not find a matching branch for an input, and no default was specified", op)
	}
	s, err := sorted("_id", 1)
	return chain{g, s}, err
}

// boundaries reads two or more constants that ascend and are of one class: int and double
// may be mixed.
func (c *compiler) boundaries(op string, v value.Value) ([]value.Value, error) {
	if !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "the %s 'boundaries' field must be an array, but found type: %s", op, expr.TypeName(v))
	}
	var out []value.Value
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		b, err := c.fixed(op, e)
		if err != nil {
			return nil, err
		}
		if n := len(out); n > 0 {
			if value.Class(out[n-1]) != value.Class(b) {
				return nil, fault.Errorf(fault.TypeMismatch, "all values in the 'boundaries' option to %s must have the same type", op)
			}
			if value.Compare(out[n-1], b) >= 0 {
				return nil, fault.Errorf(fault.BadValue, "the 'boundaries' option to %s must be sorted in ascending order", op)
			}
		}
		out = append(out, b)
	}
	if len(out) < 2 {
		return nil, fault.Errorf(fault.BadValue, "the %s 'boundaries' field must have at least 2 values, but found %d", op, len(out))
	}
	return out, nil
}

// fixed is the value of an expression that must be constant.
func (c *compiler) fixed(op string, v value.Value) (value.Value, error) {
	x, err := c.expr(op, v)
	if err != nil {
		return v, err
	}
	k, ok := x.Constant()
	if !ok {
		return v, fault.Errorf(fault.FailedToParse, "%s: the value must be constant, but found: %s", op, value.AppendJSONValue(nil, v, false))
	}
	return k, nil
}

// A bucketAuto divides its input into about equal parts. A bucket takes its share of the
// documents, and all that are equal to its last one: there may be fewer buckets than were
// asked for, and none is empty.
type bucketAuto struct {
	op string
	g  *groupStage
	n  int64
}

// bucketAuto compiles {groupBy, buckets, output}.
func (c *compiler) bucketAuto(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "the argument to %s must be an object, but found type: %s", op, expr.TypeName(arg))
	}
	b := &bucketAuto{op: op, g: &groupStage{op: op}}
	var err error
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "groupBy":
			b.g.id, err = c.expr(op, v)
		case "buckets":
			n, ok := whole(v)
			if !ok {
				return nil, fault.Errorf(fault.TypeMismatch, "the %s 'buckets' field must be a numeric value that is a 32-bit integer", op)
			}
			if n <= 0 || n > math.MaxInt32 {
				return nil, fault.Errorf(fault.BadValue, "the %s 'buckets' field must be greater than 0, but found: %d", op, n)
			}
			b.n = n
		case "output":
			if !v.IsDoc() {
				return nil, fault.Errorf(fault.TypeMismatch, "the %s 'output' field must be an object, but found type: %s", op, expr.TypeName(v))
			}
			b.g.outputs, err = c.outputs(op, v)
		case "granularity":
			return nil, fault.Errorf(fault.CommandNotSupported, "%s: granularity is not supported", op)
		default:
			return nil, fault.Errorf(fault.FailedToParse, "unrecognized option to %s: %s", op, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.g.id == nil || b.n == 0 {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'groupBy' and 'buckets' to be specified", op)
	}
	if !value.Get(arg.Data, "output").Exists() {
		b.g.outputs, err = c.countOutput()
	}
	return b, err
}

// A bucketed document is held with its groupBy value and the key of that, by which all are
// sorted.
type bucketed struct {
	key []byte
	id  value.Value
	doc []byte
}

// The share is rounded, so the last bucket that was asked for takes all that is left.
func (s *bucketAuto) open(r *run, in Cursor) (Cursor, error) {
	return &late{Cursor: in, f: func() ([][]byte, error) {
		all, err := s.read(r, in)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(all, func(a, b bucketed) int { return bytes.Compare(a.key, b.key) })
		size := max(1, int(math.Round(float64(len(all))/float64(s.n))))
		g := s.g.groups(r)
		var out [][]byte
		for b := int64(1); len(all) > 0; b++ {
			n := min(size, len(all))
			if b == s.n {
				n = len(all)
			}
			for n < len(all) && bytes.Equal(all[n].key, all[n-1].key) {
				n++
			}
			doc, err := s.one(g, all, n)
			if err != nil {
				return nil, err
			}
			out = append(out, doc)
			all = all[n:]
		}
		return out, nil
	}}, nil
}

// read holds the input with the keys that it is sorted by.
func (s *bucketAuto) read(r *run, in Cursor) (all []bucketed, err error) {
	env := r.env()
	for {
		doc, err := in.Next()
		if err != nil {
			return nil, err
		}
		if doc == nil {
			return all, nil
		}
		doc = bytes.Clone(doc)
		env.Root = doc
		id, err := s.g.id.Eval(env)
		if err != nil {
			return nil, err
		}
		if !id.Exists() {
			id = value.Null()
		}
		b := bucketed{value.AppendKey(nil, id, false), id, doc}
		if err := r.hold(s.op, len(b.key)+len(b.doc)+keyedSize); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
}

// one makes the bucket of the first n. Its _id is {min, max}: max is the min of the next
// bucket, which does not belong to this one; the last bucket's is its greatest value, which
// does.
func (s *bucketAuto) one(g *groups, all []bucketed, n int) ([]byte, error) {
	end := all[n-1].id
	if n < len(all) {
		end = all[n].id
	}
	id, start := value.Begin(nil)
	id = value.End(field(field(id, "min", all[0].id), "max", end), start)
	one := &group{id: value.Doc(id)}
	g.env.Root = emptyDoc
	if err := g.accumulators(one); err != nil {
		return nil, err
	}
	for _, b := range all[:n] {
		if err := g.accumulate(one, b.doc); err != nil {
			return nil, err
		}
	}
	return g.appendGroup(nil, one)
}
