package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// compare orders any two values; a missing one has the place of undefined,
// below null.
func compare(a, b value.Value) int {
	if a.Type == 0 {
		a.Type = bson.TypeUndefined
	}
	if b.Type == 0 {
		b.Type = bson.TypeUndefined
	}
	return value.Compare(a, b)
}

// All types compare, in the order of BSON: {$lt: [5, "a"]} is true, where the filter {a: {$lt: "a"}}
// asks strings only. Arrays compare as wholes.
//
//	{$lt: [5, "a"]}          true
//	{$gt: [[1, 2], [1]]}     true
//	{$lt: ["$a", null]}      true
func comparison(f func(c int) bool) function {
	return function{2, 2, func(_ *Env, _ string, args []value.Value) (value.Value, error) {
		return boolean(f(compare(args[0], args[1]))), nil
	}}
}

// equality makes $eq and $ne. Numbers are equal whatever their types; documents only with the same order
// of fields.
//
//	{$eq: [1, 1.0]}                         true
//	{$eq: [{x: 1, y: 2}, {y: 2, x: 1}]}     false
//	{$eq: ["$a", null]}                     false
func equality(want bool) function {
	return function{2, 2, func(_ *Env, _ string, args []value.Value) (value.Value, error) {
		return boolean((compare(args[0], args[1]) == 0) == want), nil
	}}
}

// not is $not, of what counts as true.
//
//	{$not: 0}      true
//	{$not: ""}     false
func not(_ *Env, _ string, args []value.Value) (value.Value, error) {
	return boolean(!True(args[0])), nil
}

// A logic is $and (until false) or $or (until true). Both give a boolean, whatever the arguments are; of
// none they give what does not stop them.
//
//	{$and: [1, "a"]}     true
//	{$and: []}           true
//	{$or: []}            false
//	{$or: [null, 0]}     false
type logic struct {
	args []node
	stop bool
}

func logical(stop bool) form {
	return func(c *compiler, _ string, arg value.Value) (node, error) {
		n := &logic{stop: stop}
		fixed := false
		var err error
		if arg.IsArray() {
			n.args, fixed, err = c.list(arg)
		} else {
			var x node
			x, err = c.value(arg)
			n.args = []node{x}
		}
		if err != nil {
			return nil, err
		}
		if fixed {
			return fold(n), nil
		}
		return n, nil
	}
}

func (n *logic) eval(e *Env) (value.Value, error) {
	for _, x := range n.args {
		if err := e.tick(); err != nil {
			return value.Value{}, err
		}
		v, err := x.eval(e)
		if err != nil {
			return value.Value{}, err
		}
		if True(v) == n.stop {
			return boolean(n.stop), nil
		}
	}
	return boolean(!n.stop), nil
}

func cmpOp(e *Env, _ string, args []value.Value) (value.Value, error) {
	return e.int32(int32(compare(args[0], args[1]))), nil
}
