package expr

import (
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A branch is a condition and what holds if it is true. What $cond, $switch, $ifNull, $and and $or
// share: they evaluate what decides and what is chosen, in order, so that {$cond: [{$eq: ["$b", 0]}, 0,
// {$divide: ["$a", "$b"]}]} never divides by zero.
type branch struct{ when, then node }

// A choice takes the first branch whose condition is true.
type choice struct {
	op       string
	branches []branch
	other    node // nil: an error
}

func (n *choice) eval(e *Env) (value.Value, error) {
	for _, b := range n.branches {
		if err := e.tick(); err != nil {
			return value.Value{}, err
		}
		v, err := b.when.eval(e)
		if err != nil {
			return v, err
		}
		if True(v) {
			return b.then.eval(e)
		}
	}
	if n.other == nil {
		return value.Value{}, fault.Errorf(fault.BadValue, "%s could not find a matching branch for an input, and no default was specified", n.op)
	}
	return n.other.eval(e)
}

// compileCond compiles {if, then, else} or an array of the three.
//
//	{$cond: {if: "", then: 1, else: 2}}     1
func compileCond(c *compiler, name string, arg value.Value) (node, error) {
	var args []node
	var err error
	if arg.IsDoc() {
		it := value.Elements(arg.Data)
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if indexOf([]string{"if", "then", "else"}, string(k)) < 0 {
				return nil, fault.Errorf(fault.FailedToParse, "Unrecognized parameter to %s: %s", name, k)
			}
		}
		for _, k := range []string{"if", "then", "else"} {
			v := value.Get(arg.Data, k)
			if !v.Exists() {
				return nil, fault.Errorf(fault.FailedToParse, "Missing '%s' parameter to %s", k, name)
			}
			x, err := c.value(v)
			if err != nil {
				return nil, err
			}
			args = append(args, x)
		}
	} else if arg.IsArray() {
		if args, _, err = c.list(arg); err != nil {
			return nil, err
		}
	} else {
		args = make([]node, 1)
	}
	if err := checkCount(name, len(args), 3, 3); err != nil {
		return nil, err
	}
	return &choice{op: name, branches: []branch{{args[0], args[1]}}, other: args[2]}, nil
}

// compileSwitch compiles {branches: [{case, then}], default}. Without a default it is an error that no
// case is true, found when a document is there.
//
//	{$switch: {branches: [{case: false, then: 1}, {case: true, then: 2}]}}     2
//	{$switch: {branches: [{case: false, then: 1}]}}                            an error
func compileSwitch(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s requires an object as an argument, found: %s", name, typeName(arg))
	}
	n := &choice{op: name}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch string(k) {
		case "branches":
			if !v.IsArray() {
				return nil, fault.Errorf(fault.TypeMismatch, "%s expected an array for 'branches', found: %s", name, typeName(v))
			}
			err = c.branches(n, v)
		case "default":
			n.other, err = c.value(v)
		default:
			return nil, fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(n.branches) == 0 {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires at least one branch", name)
	}
	return n, nil
}

func (c *compiler) branches(n *choice, arr value.Value) error {
	it := value.Elements(arr.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return fault.Errorf(fault.TypeMismatch, "%s expected each branch to be an object, found: %s", n.op, typeName(v))
		}
		var b branch
		fields := value.Elements(v.Data)
		for k, x, ok := fields.Next(); ok; k, x, ok = fields.Next() {
			var err error
			switch string(k) {
			case "case":
				b.when, err = c.value(x)
			case "then":
				b.then, err = c.value(x)
			default:
				return fault.Errorf(fault.FailedToParse, "%s found an unknown argument to a branch: %s", n.op, k)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case b.when == nil:
			return fault.Errorf(fault.FailedToParse, "%s requires each branch have a 'case' expression", n.op)
		case b.then == nil:
			return fault.Errorf(fault.FailedToParse, "%s requires each branch have a 'then' expression", n.op)
		}
		n.branches = append(n.branches, b)
	}
	return nil
}

// An ifNull is the first value that is not null, or the last. The last is given whatever it is: null, or
// missing.
//
//	{$ifNull: [null, "$a", 3]}           3
//	{$type: {$ifNull: [null, "$a"]}}     "missing"
type ifNull []node

func compileIfNull(c *compiler, name string, arg value.Value) (node, error) {
	var args []node
	if arg.IsArray() {
		var err error
		if args, _, err = c.list(arg); err != nil {
			return nil, err
		}
	} else {
		args = make([]node, 1)
	}
	if len(args) < 2 {
		return nil, fault.Errorf(fault.FailedToParse, "%s needs at least two arguments, had: %d", name, len(args))
	}
	return ifNull(args), nil
}

func (n ifNull) eval(e *Env) (v value.Value, err error) {
	for _, x := range n {
		if err = e.tick(); err != nil {
			return v, err
		}
		if v, err = x.eval(e); err != nil || !nullish(v) {
			return v, err
		}
	}
	return v, nil
}

// compileLet compiles {vars: {name: expression}, in: expression}. A variable does not see those beside
// it.
//
//	{$let: {vars: {x: 1}, in: {$let: {vars: {x: 2, y: "$$x"}, in: ["$$x", "$$y"]}}}}     [2, 1]
func compileLet(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s only supports an object as its argument", name)
	}
	vars, in := value.Get(arg.Data, "vars"), value.Get(arg.Data, "in")
	it := value.Elements(arg.Data)
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if string(k) != "vars" && string(k) != "in" {
			return nil, fault.Errorf(fault.FailedToParse, "Unrecognized parameter to %s: %s", name, k)
		}
	}
	switch {
	case !vars.Exists():
		return nil, fault.Errorf(fault.FailedToParse, "Missing 'vars' parameter to %s", name)
	case !in.Exists():
		return nil, fault.Errorf(fault.FailedToParse, "Missing 'in' parameter to %s", name)
	case !vars.IsDoc():
		return nil, fault.Errorf(fault.TypeMismatch, "invalid parameter: expected an object (vars)")
	}
	n := &let{}
	var names []string
	it = value.Elements(vars.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if err := checkName(string(k)); err != nil {
			return nil, err
		}
		x, err := c.value(v)
		if err != nil {
			return nil, err
		}
		names, n.vals = append(names, string(k)), append(n.vals, x)
	}
	n.slot = len(c.names)
	for _, k := range names {
		c.bind(k)
	}
	defer c.unbind(len(names))
	var err error
	n.in, err = c.value(in)
	return n, err
}

// A let evaluates vals into the slots from slot on, then in. The values are all found before one is
// bound, and wait on the stack: they are outside the scope, and a $let within one of them has the same
// slots.
type let struct {
	slot int
	vals []node
	in   node
}

func (n *let) eval(e *Env) (value.Value, error) {
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	base := len(e.stack)
	for _, x := range n.vals {
		v, err := x.eval(e)
		if err != nil {
			return v, err
		}
		e.stack = append(e.stack, v)
	}
	copy(e.slots[n.slot:], e.stack[base:])
	e.stack = e.stack[:base]
	return n.in.eval(e)
}

// compileLiteral compiles $literal, whose argument is the value: no path and no operator.
//
//	{$literal: "$a"}               "$a"
//	{$literal: {$add: [1, 2]}}     {$add: [1, 2]}
func compileLiteral(_ *compiler, _ string, arg value.Value) (node, error) { return constant(arg), nil }
