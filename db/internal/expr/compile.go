package expr

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A node is one compiled part of an expression.
type node interface {
	eval(e *Env) (value.Value, error)
}

type constant value.Value

func (n constant) eval(*Env) (value.Value, error) { return value.Value(n), nil }

// A compiler compiles one expression. names are the variables in scope; a
// variable's place is its slot.
type compiler struct {
	e     *Expr
	names []string
	most  int
}

// value compiles any value. A document is an operator if its first field begins with "$" and is the
// only one, else an object of which no field may begin with it. What $literal holds is not looked at.
func (c *compiler) value(v value.Value) (node, error) {
	switch v.Type {
	case bson.TypeString:
		if s := string(v.Str()); strings.HasPrefix(s, "$") {
			return c.path(s)
		}
	case bson.TypeEmbeddedDocument:
		it := value.Elements(v.Data)
		k, arg, ok := it.Next()
		if !ok || len(k) == 0 || k[0] != '$' {
			return c.object(v)
		}
		if _, _, more := it.Next(); more {
			return nil, fault.Errorf(fault.FailedToParse, "an object representing an expression must have exactly one field: %s", value.AppendJSON(nil, v.Data, false))
		}
		return c.operator(string(k), arg)
	case bson.TypeArray:
		return c.array(v)
	}
	return constant(v), nil
}

func (c *compiler) operator(name string, arg value.Value) (node, error) {
	if op, ok := functions[name]; ok {
		return c.call(name, op, arg)
	}
	if f := formOf(name); f != nil {
		return f(c, name, arg)
	}
	return nil, fault.Errorf(fault.InvalidPipeline, "Unrecognized expression '%s'", name)
}

// An objectNode builds a document; missing values are left out.
type objectNode struct {
	keys [][]byte
	vals []node
}

func (c *compiler) object(v value.Value) (node, error) {
	n := &objectNode{}
	fixed := true
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		switch {
		case len(k) == 0:
			return nil, fault.Errorf(fault.EmptyFieldName, "FieldPath field names may not be empty strings.")
		case k[0] == '$':
			return nil, fault.Errorf(fault.DollarPrefixed, "FieldPath field names may not start with '$': '%s'. Consider using $getField or $setField.", k)
		case strings.IndexByte(string(k), '.') >= 0:
			return nil, fault.Errorf(fault.BadValue, "FieldPath field names may not contain '.': '%s'. Consider using $getField or $setField.", k)
		}
		x, err := c.value(e)
		if err != nil {
			return nil, err
		}
		_, con := x.(constant)
		fixed = fixed && con
		n.keys, n.vals = append(n.keys, k), append(n.vals, x)
	}
	if fixed {
		return fold(n), nil
	}
	return n, nil
}

// eval of an object and of an array differ in what is missing: the object lacks the field, the array has
// null in its place.
//
//	{x: "$a", y: 1}     {y: 1}
//	["$a", 1]           [null, 1]
func (n *objectNode) eval(e *Env) (value.Value, error) {
	out := e.document("an object")
	for i, x := range n.vals {
		v, err := x.eval(e)
		if err != nil {
			return value.Value{}, err
		}
		if !out.set(n.keys[i], v) {
			break
		}
	}
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	return out.value()
}

// An arrayNode builds an array; missing values are null.
type arrayNode []node

func (c *compiler) array(v value.Value) (node, error) {
	xs, fixed, err := c.list(v)
	if err != nil {
		return nil, err
	}
	if fixed {
		return fold(arrayNode(xs)), nil
	}
	return arrayNode(xs), nil
}

func (n arrayNode) eval(e *Env) (value.Value, error) {
	out := e.array("an array")
	for _, x := range n {
		v, err := x.eval(e)
		if err != nil {
			return value.Value{}, err
		}
		if !out.add(v) {
			break
		}
	}
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	return out.value()
}

// list compiles the elements of an array; fixed says that all are constants.
func (c *compiler) list(v value.Value) (xs []node, fixed bool, err error) {
	fixed = true
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		x, err := c.value(e)
		if err != nil {
			return nil, false, err
		}
		_, con := x.(constant)
		fixed = fixed && con
		xs = append(xs, x)
	}
	return xs, fixed, nil
}

// fold evaluates what depends on nothing. What fails then fails when it is used, as it does where it
// depends on something. Nothing of it can depend on a variable, for reading one is no constant.
func fold(n node) node {
	var e Env
	if v, err := n.eval(&e); err == nil && v.Exists() && len(v.Data) <= value.MaxDocument {
		return constant(v)
	}
	return n
}

// A function is an operator whose arguments are evaluated before it.
type function struct {
	min, max int // number of arguments; max < 0 means any
	f        func(e *Env, op string, args []value.Value) (value.Value, error)
}

// A call applies a function.
type call struct {
	op   string
	f    func(e *Env, op string, args []value.Value) (value.Value, error)
	args []node
}

// An argument that is no array is the only one: {$abs: "$a"} is {$abs: ["$a"]}. So an array that is
// meant as a value has to be in another, {$size: [[1, 2]]}, unless a path gives it.
func (c *compiler) call(name string, f function, arg value.Value) (node, error) {
	n := &call{op: name, f: f.f}
	fixed := false
	var err error
	if arg.IsArray() {
		n.args, fixed, err = c.list(arg)
	} else {
		var x node
		x, err = c.value(arg)
		n.args = []node{x}
		_, fixed = x.(constant)
	}
	if err != nil {
		return nil, err
	}
	if err := checkCount(name, len(n.args), f.min, f.max); err != nil {
		return nil, err
	}
	if fixed && len(n.args) > 0 {
		return fold(n), nil
	}
	return n, nil
}

func checkCount(name string, n, least, most int) error {
	switch {
	case n >= least && (most < 0 || n <= most):
		return nil
	case least == most:
		return fault.Errorf(fault.FailedToParse, "Expression %s takes exactly %d arguments. %d were passed in.", name, least, n)
	case most < 0:
		return fault.Errorf(fault.FailedToParse, "Expression %s takes at least %d arguments, but %d were passed in.", name, least, n)
	}
	return fault.Errorf(fault.FailedToParse, "Expression %s takes at least %d arguments, and at most %d, but %d were passed in.", name, least, most, n)
}

// The arguments lie on e.stack, above those of the calls around this one. Of a large argument the bytes
// count, as any operator may read them. An error leaves the stack as it is: the evaluation is over.
func (n *call) eval(e *Env) (value.Value, error) {
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	base := len(e.stack)
	for _, x := range n.args {
		v, err := x.eval(e)
		if err != nil {
			return value.Value{}, err
		}
		e.stack = append(e.stack, v)
		if len(v.Data) > 256 {
			if err := e.spend(len(v.Data) >> 8); err != nil {
				return v, err
			}
		}
	}
	v, err := n.f(e, n.op, e.stack[base:])
	e.stack = e.stack[:base]
	return v, err
}

// A form is an operator that compiles its argument in its own way.
type form func(c *compiler, name string, arg value.Value) (node, error)

// arguments compiles a document of named arguments, in the order of names;
// those left out are nil. need of them, the first, must be there.
func (c *compiler) arguments(op string, arg value.Value, need int, names ...string) ([]node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "%s only supports an object as its argument, not %s", op, typeName(arg))
	}
	out := make([]node, len(names))
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		i := indexOf(names, string(k))
		if i < 0 {
			return nil, fault.Errorf(fault.FailedToParse, "Unrecognized argument to %s: %s", op, k)
		}
		x, err := c.value(v)
		if err != nil {
			return nil, err
		}
		out[i] = x
	}
	for i := range need {
		if out[i] == nil {
			return nil, fault.Errorf(fault.FailedToParse, "Missing '%s' parameter to %s", names[i], op)
		}
	}
	return out, nil
}

func indexOf(names []string, s string) int {
	for i, n := range names {
		if n == s {
			return i
		}
	}
	return -1
}

// namedForm makes an operator that takes its arguments by name; those left out are missing. Missing and
// null differ: $trim without chars removes white space, with chars null it gives null.
func namedForm(need int, f func(e *Env, op string, args []value.Value) (value.Value, error), names ...string) form {
	return func(c *compiler, name string, arg value.Value) (node, error) {
		args, err := c.arguments(name, arg, need, names...)
		if err != nil {
			return nil, err
		}
		fixed := true
		for i, x := range args {
			if x == nil {
				args[i] = constant{}
			}
			_, con := args[i].(constant)
			fixed = fixed && con
		}
		n := &call{op: name, f: f, args: args}
		if fixed {
			return fold(n), nil
		}
		return n, nil
	}
}
