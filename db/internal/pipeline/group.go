package pipeline

import (
	"encoding/binary"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A groupStage folds the documents that have the same id into one each, in the order in
// which the ids first occur. Its ids are compared as keys of indexes are: 1 and 1.0 are one
// group, whose _id is the one that came first; a missing id is null.
type groupStage struct {
	op      string
	id      *expr.Expr
	outputs []output
	pick    func(v value.Value) (value.Value, error) // of $bucket: the bucket of an id
}

// group compiles {_id: expression, field: {$accumulator: argument}, …}.
func (c *compiler) group(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "a group's fields must be specified in an object")
	}
	id := value.Get(arg.Data, "_id")
	if !id.Exists() {
		return nil, fault.Errorf(fault.FailedToParse, "a group specification must include an _id")
	}
	s := &groupStage{op: op}
	var err error
	if s.id, err = c.expr(op, id); err != nil {
		return nil, err
	}
	s.outputs, err = c.outputs(op, arg, "_id")
	return s, err
}

// A group is one group: its id and an accumulator for each output.
type group struct {
	id   value.Value
	accs []expr.Accumulator
	at   []byte // of several goroutines: the key of its first document
}

const groupSize = 200 // bytes of a group besides what it holds

// groups are the groups of a run. key and sorted are scratch. byKey finds a group, all has
// them in the order in which they are given.
type groups struct {
	s      *groupStage
	r      *run
	env    *expr.Env
	byKey  map[string]*group
	all    []*group
	key    []byte
	sorted []byte
	nth    uint32 // of what the stages before made of a document
}

// Nothing is given before all is read: the last document may be of the first group.
func (s *groupStage) open(r *run, in Cursor) (Cursor, error) {
	g := s.groups(r)
	return &grouping{Cursor: in, g: g, fill: func() error {
		for {
			doc, err := in.Next()
			if doc == nil || err != nil {
				return err
			}
			if err := g.add(doc, nil); err != nil {
				return err
			}
		}
	}}, nil
}

func (s *groupStage) groups(r *run) *groups {
	return &groups{s: s, r: r, env: r.env(), byKey: map[string]*group{}}
}

// A grouping gives the groups, once they are filled.
type grouping struct {
	Cursor
	g    *groups
	fill func() error
	done bool
	buf  []byte
}

func (c *grouping) Next() ([]byte, error) {
	if !c.done {
		c.done = true
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	if len(c.g.all) == 0 {
		return nil, nil
	}
	one := c.g.all[0]
	c.g.all = c.g.all[1:]
	var err error
	c.buf, err = c.g.appendGroup(c.buf[:0], one)
	return c.buf, err
}

func (c *grouping) Close() {
	c.g.all, c.g.byKey = nil, nil
	c.Cursor.Close()
}

// add puts a document into its group; at is kept of the first. at is the place of the
// document that the stages before made doc of; nil where documents come in order. With nth
// behind it, in bytes that order as numbers do, the places of what $unwind made of one
// document differ.
func (g *groups) add(doc, at []byte) error {
	g.env.Root = doc
	id, err := g.s.id.Eval(g.env)
	if err == nil && g.s.pick != nil {
		id, err = g.s.pick(id)
	}
	if err != nil {
		return err
	}
	g.key = value.AppendKey(g.key[:0], id, false)
	one := g.byKey[string(g.key)]
	if one == nil {
		if one, err = g.start(id); err != nil {
			return err
		}
		if at != nil {
			one.at = binary.BigEndian.AppendUint32(append(one.at, at...), g.nth)
		}
	}
	return g.accumulate(one, doc)
}

// start makes the group of g.key. The estimate counts the id twice, for the key and the
// value, and each accumulator as a group.
func (g *groups) start(id value.Value) (*group, error) {
	if !id.Exists() {
		id = value.Null()
	}
	one := &group{id: value.Value{Type: id.Type, Data: append([]byte(nil), id.Data...)}}
	if err := g.r.hold(g.s.op, len(g.key)+len(id.Data)+groupSize*(1+len(g.s.outputs))); err != nil {
		return nil, err
	}
	err := g.accumulators(one)
	g.byKey[string(g.key)] = one
	g.all = append(g.all, one)
	return one, err
}

// accumulators makes those of a new group. The n of $firstN and its like is fixed with the
// group: it may depend on the group's id, and on no document.
func (g *groups) accumulators(one *group) error {
	one.accs = make([]expr.Accumulator, len(g.s.outputs))
	for i, o := range g.s.outputs {
		n := 0
		if o.n != nil { // a constant, or of the fields of the id
			root := g.env.Root
			if g.env.Root = emptyDoc; one.id.IsDoc() {
				g.env.Root = one.id.Data
			}
			v, err := o.n.Eval(g.env)
			g.env.Root = root
			if err != nil {
				return err
			}
			if n, err = expr.Count(g.s.op, v); err != nil {
				return err
			}
		}
		one.accs[i] = o.new(n)
	}
	return nil
}

// accumulate gives a document to the accumulators of a group. Accumulators that hold values
// tell their size before and after, and the difference counts; those that do not, as $sum, cost
// nothing here.
func (g *groups) accumulate(one *group, doc []byte) error {
	g.env.Root = doc
	for i := range g.s.outputs {
		o := &g.s.outputs[i]
		v, err := o.arg.Eval(g.env)
		if err != nil {
			return err
		}
		acc := one.accs[i]
		if !o.held {
			if err := acc.Add(v); err != nil {
				return err
			}
			continue
		}
		before := acc.Size()
		if o.sort != nil {
			g.sorted = o.sort.Key(g.sorted[:0], doc)
			err = acc.(*several).keep(append([]byte(nil), g.sorted...), v)
		} else {
			err = acc.Add(v)
		}
		if err != nil {
			return err
		}
		if err := g.r.hold(g.s.op, acc.Size()-before); err != nil {
			return err
		}
	}
	return nil
}

// appendGroup appends the document of a group. The bound is looked at after each field, not
// at the end: a group of many large arrays must not be built first.
func (g *groups) appendGroup(dst []byte, one *group) ([]byte, error) {
	dst, start := value.Begin(dst)
	dst = field(dst, "_id", one.id)
	for i, o := range g.s.outputs {
		v, err := one.accs[i].Result(g.env)
		if err != nil {
			return nil, err
		}
		if dst = field(dst, o.name, v); len(dst) > maxDocument {
			return nil, fault.Errorf(fault.TooLarge, "%s: a group has more than %d bytes", g.s.op, maxDocument)
		}
	}
	return value.End(dst, start), nil
}
