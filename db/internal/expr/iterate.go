package expr

import (
	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An each evaluates body for the elements of an array, bound to a slot: for $map what body gives, for
// $filter the elements for which it is true. A slot is written for each element, and read by the body
// only: slots of bodies within it lie above.
//
//	{$filter: {input: [1, 5, 9], as: "x", cond: {$gt: ["$$x", 3]}, limit: 1}}     [5]
//	{$map: {input: [1], in: "$a"}}                                                [null]
//	{$map: {input: "$a", in: 1}}                                                  null
type each struct {
	op     string
	input  node
	slot   int
	body   node
	filter bool
	limit  node // of $filter; nil if there is none
}

// input and limit are outside the scope of the variable, which is $$this if as does not name it.
func compileEach(c *compiler, name string, arg value.Value) (node, error) {
	n := &each{op: name, filter: name == "$filter"}
	names := []string{"input", "as", "in"}
	if n.filter {
		names = []string{"input", "as", "cond", "limit"}
	}
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s only supports an object as its argument", name)
	}
	it := value.Elements(arg.Data)
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if indexOf(names, string(k)) < 0 {
			return nil, fault.Errorf(fault.FailedToParse, "Unrecognized parameter to %s: %s", name, k)
		}
	}
	input, as, body := value.Get(arg.Data, "input"), value.Get(arg.Data, "as"), value.Get(arg.Data, names[2])
	switch {
	case !input.Exists():
		return nil, fault.Errorf(fault.FailedToParse, "Missing 'input' parameter to %s", name)
	case !body.Exists():
		return nil, fault.Errorf(fault.FailedToParse, "Missing '%s' parameter to %s", names[2], name)
	}
	var err error
	if n.input, err = c.value(input); err != nil {
		return nil, err
	}
	if v := value.Get(arg.Data, "limit"); v.Exists() && n.filter {
		if n.limit, err = c.value(v); err != nil {
			return nil, err
		}
	}
	variable := "this"
	if as.Exists() {
		variable = string(as.Str())
		if err := checkName(variable); err != nil {
			return nil, err
		}
	}
	n.slot = c.bind(variable)
	defer c.unbind(1)
	n.body, err = c.value(body)
	return n, err
}

func (n *each) eval(e *Env) (value.Value, error) {
	arr, err := n.input.eval(e)
	if err != nil || nullish(arr) {
		return nullValue, err
	}
	if !arr.IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "input to %s must be an array not %s", n.op, typeName(arr))
	}
	limit := -1
	if n.limit != nil {
		v, err := n.limit.eval(e)
		if err != nil {
			return nullValue, err
		}
		if !nullish(v) {
			var ok bool
			if limit, ok = number.Int32(v); !ok {
				return nullValue, fault.Errorf(fault.BadValue, "%s: limit must be represented as a 32-bit integral value", n.op)
			}
			if limit <= 0 {
				return nullValue, fault.Errorf(fault.BadValue, "%s: limit must be greater than 0", n.op)
			}
		}
	}
	return n.run(e, arr, limit)
}

func (n *each) run(e *Env, arr value.Value, limit int) (value.Value, error) {
	out := e.array(n.op)
	it := value.Elements(arr.Data)
	for _, x, ok := it.Next(); ok && limit != 0; _, x, ok = it.Next() {
		if err := e.tick(); err != nil {
			return nullValue, err
		}
		e.slots[n.slot] = x
		v, err := n.body.eval(e)
		if err != nil {
			return nullValue, err
		}
		if n.filter {
			if !True(v) {
				continue
			}
			v = x
			limit--
		}
		if !out.add(v) {
			break
		}
	}
	return out.value()
}

// A reduce folds an array: body sees $$value and $$this. Without elements it is the initial value.
//
//	{$reduce: {input: [1, 2, 3], initialValue: 0, in: {$add: ["$$value", "$$this"]}}}     6
//	{$reduce: {input: [], initialValue: "x", in: 1}}                                      "x"
type reduce struct {
	op             string
	input, initial node
	slot           int // of $$value; $$this follows
	body           node
}

// The variables are bound after input and initialValue are compiled, which therefore do not see them.
func compileReduce(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s requires an object as an argument, found: %s", name, typeName(arg))
	}
	n := &reduce{op: name}
	names := []string{"input", "initialValue", "in"}
	it := value.Elements(arg.Data)
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if indexOf(names, string(k)) < 0 {
			return nil, fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
		}
	}
	for i, k := range names {
		v := value.Get(arg.Data, k)
		if !v.Exists() {
			return nil, fault.Errorf(fault.FailedToParse, "%s requires '%s' to be specified", name, k)
		}
		if i == 2 {
			n.slot = c.bind("value")
			c.bind("this")
			defer c.unbind(2)
		}
		x, err := c.value(v)
		if err != nil {
			return nil, err
		}
		*[]*node{&n.input, &n.initial, &n.body}[i] = x
	}
	return n, nil
}

// eval of a fold: what body gives may be one level deeper each time. So the depth is checked, at the
// end: what it costs until then the bounds on bytes hold.
func (n *reduce) eval(e *Env) (value.Value, error) {
	arr, err := n.input.eval(e)
	if err != nil || nullish(arr) {
		return nullValue, err
	}
	if !arr.IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires that 'input' be an array, found: %s", n.op, typeName(arr))
	}
	acc, err := n.initial.eval(e)
	if err != nil {
		return nullValue, err
	}
	it := value.Elements(arr.Data)
	for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
		if err := e.tick(); err != nil {
			return nullValue, err
		}
		e.slots[n.slot], e.slots[n.slot+1] = acc, x
		if acc, err = n.body.eval(e); err != nil {
			return nullValue, err
		}
	}
	if TooDeep(acc, maxNesting) {
		return nullValue, fault.Errorf(fault.Overflow, "%s builds a value nested deeper than %d", n.op, maxNesting)
	}
	return acc, nil
}

// TooDeep reports whether v is nested more than limit deep.
func TooDeep(v value.Value, limit int) bool {
	if !v.IsDoc() && !v.IsArray() {
		return false
	}
	if limit == 0 {
		return true
	}
	it := value.Elements(v.Data)
	for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
		if TooDeep(x, limit-1) {
			return true
		}
	}
	return false
}
