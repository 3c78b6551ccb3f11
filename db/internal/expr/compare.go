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
func comparison(f func(c int) bool) function {
	return function{2, 2, func(_ *Env, _ string, args []value.Value) (value.Value, error) {
		return boolean(f(compare(args[0], args[1]))), nil
	}}
}

func equality(want bool) function {
	return function{2, 2, func(_ *Env, _ string, args []value.Value) (value.Value, error) {
		return boolean((compare(args[0], args[1]) == 0) == want), nil
	}}
}

func not(_ *Env, _ string, args []value.Value) (value.Value, error) {
	return boolean(!True(args[0])), nil
}

// A logic is $and (until false) or $or (until true).
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
		if err := e.step(); err != nil {
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
