package expr

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

func errArray(op string, v value.Value) error {
	return fault.Errorf(fault.TypeMismatch, "%s's argument must be an array, but is %s", op, typeName(v))
}

// size is $size. What is null or missing has none, and is an error, unlike in most operators.
//
//	{$size: [[1, [2, 3]]]}     2
//	{$size: [[]]}              0
//	{$size: "$a"}              an error
func size(e *Env, op string, args []value.Value) (value.Value, error) {
	if !args[0].IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "The argument to %s must be an array, but was of type: %s", op, typeName(args[0]))
	}
	return e.count(length(args[0])), nil
}

// isArray is $isArray. A list of one argument is that argument, so an array that is meant has to stand
// in another.
//
//	{$isArray: [[1]]}     true
//	{$isArray: [1]}       false
func isArray(_ *Env, _ string, args []value.Value) (value.Value, error) {
	return boolean(args[0].IsArray()), nil
}

// A place below 0 counts from the end; where there is none the result is missing, and no error.
//
//	{$arrayElemAt: [[1, 2, 3], -1]}             3
//	{$arrayElemAt: [[1, 2, 3], 1.0]}            2
//	{$type: {$arrayElemAt: [[1, 2, 3], 3]}}     "missing"
//	{$arrayElemAt: [[1, 2, 3], 1.5]}            an error
func arrayElemAt(_ *Env, op string, args []value.Value) (value.Value, error) {
	arr, at := args[0], args[1]
	switch {
	case nullish(arr) || nullish(at):
		return nullValue, nil
	case !arr.IsArray():
		return nullValue, errArray(op, arr)
	case !at.IsNumber():
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s's second argument must be a numeric value, but is %s", op, typeName(at))
	}
	i, ok := number.Int32(at)
	if !ok {
		return nullValue, fault.Errorf(fault.BadValue, "%s's second argument must be representable as a 32-bit integer: %s", op, value.AppendJSONValue(nil, at, false))
	}
	if i < 0 {
		i += length(arr)
	}
	return value.At(arr.Data, i), nil
}

// end makes $first and $last of an array, which are $arrayElemAt with 0 and -1. The accumulators of the
// same names, of documents, are in package pipeline.
//
//	{$type: {$first: [[]]}}     "missing"
func end(last bool) function {
	return function{1, 1, func(_ *Env, op string, args []value.Value) (value.Value, error) {
		arr := args[0]
		switch {
		case nullish(arr):
			return nullValue, nil
		case !arr.IsArray():
			return nullValue, errArray(op, arr)
		case last:
			return value.At(arr.Data, length(arr)-1), nil
		}
		return value.At(arr.Data, 0), nil
	}}
}

// concatArrays is $concatArrays, which joins and does not flatten. One null makes all of it null, as in
// most operators.
//
//	{$concatArrays: [[1], [[2]], [1]]}     [1, [2], 1]
//	{$concatArrays: [[1], null]}           null
func concatArrays(e *Env, op string, args []value.Value) (value.Value, error) {
	for _, v := range args {
		if nullish(v) {
			return nullValue, nil
		}
		if !v.IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s only supports arrays, not %s", op, typeName(v))
		}
	}
	if len(args) == 1 {
		return args[0], nil
	}
	out := e.array(op)
	for _, v := range args {
		it := value.Elements(v.Data)
		for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
			if !out.add(x) {
				return out.value()
			}
		}
	}
	return out.value()
}

// slice is $slice; a number of elements, where one is given, must be positive:
//
//	[1, 2, 3], 2       [1, 2]        [1, 2, 3], -2        [2, 3]
//	[1, 2, 3], 1, 1    [2]           [1, 2, 3], -2, 1     [2]
func slice(e *Env, op string, args []value.Value) (value.Value, error) {
	arr := args[0]
	for _, v := range args {
		if nullish(v) {
			return nullValue, nil
		}
	}
	if !arr.IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "First argument to %s must be an array, but is of type: %s", op, typeName(arr))
	}
	first, err := sliceArg(op, "Second", args[1])
	if err != nil {
		return nullValue, err
	}
	n := length(arr)
	from, to := 0, n
	if len(args) == 2 {
		if first >= 0 {
			to = min(n, first)
		} else {
			from = max(0, n+first)
		}
	} else {
		count, err := sliceArg(op, "Third", args[2])
		if err != nil {
			return nullValue, err
		}
		if count <= 0 {
			return nullValue, fault.Errorf(fault.BadValue, "Third argument to %s must be positive: %d", op, count)
		}
		from = min(n, first)
		if first < 0 {
			from = max(0, n+first)
		}
		to = min(n, from+count)
	}
	return e.part(op, arr, from, to)
}

func sliceArg(op, which string, v value.Value) (int, error) {
	if !v.IsNumber() {
		return 0, fault.Errorf(fault.TypeMismatch, "%s argument to %s must be numeric, but is of type: %s", which, op, typeName(v))
	}
	n, ok := number.Int32(v)
	if !ok {
		return 0, fault.Errorf(fault.BadValue, "%s argument to %s can't be represented as a 32-bit integer", which, op)
	}
	return n, nil
}

// part is the array of the elements from, up to but without to.
func (e *Env) part(op string, arr value.Value, from, to int) (value.Value, error) {
	out := e.array(op)
	it := value.Elements(arr.Data)
	for i := 0; i < to; i++ {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		if i >= from && !out.add(v) {
			break
		}
	}
	return out.value()
}

// in is $in. Unlike the $in of a filter it looks for one value in an array of an expression, an array is
// looked for as a whole, and a regular expression matches nothing but itself.
//
//	{$in: [2, [1, 2.0]]}       true
//	{$in: [[1], [1, 2]]}       false
//	{$in: [[1], [[1], 2]]}     true
func in(_ *Env, op string, args []value.Value) (value.Value, error) {
	if !args[1].IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires an array as a second argument, found: %s", op, typeName(args[1]))
	}
	return boolean(find(args[1], args[0], 0, 1<<31) >= 0), nil
}

// find returns the place of v in arr within [from, to), -1 if it is not there. 1<<31 is beyond the end
// of any array.
func find(arr, v value.Value, from, to int) int {
	it := value.Elements(arr.Data)
	for i := 0; i < to; i++ {
		_, x, ok := it.Next()
		if !ok {
			break
		}
		if i >= from && compare(x, v) == 0 {
			return i
		}
	}
	return -1
}

// indexOfArray is $indexOfArray. The third argument is where the search begins, the fourth the place
// before which it ends.
//
//	{$indexOfArray: [[5, 6, 5], 5]}           0
//	{$indexOfArray: [[5, 6, 5], 5, 1]}        2
//	{$indexOfArray: [[5, 6, 5], 5, 1, 2]}     -1
func indexOfArray(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[0]) {
		return nullValue, nil
	}
	if !args[0].IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires an array as a first argument, found: %s", op, typeName(args[0]))
	}
	from, to, err := span(op, args)
	if err != nil {
		return nullValue, err
	}
	return e.count(find(args[0], args[1], from, to)), nil
}

// span reads the optional third and fourth argument of the $indexOf operators.
func span(op string, args []value.Value) (from, to int, err error) {
	bounds := [2]int{0, 1 << 31}
	for i, v := range args[min(2, len(args)):] {
		n, ok := number.Int32(v)
		switch {
		case !ok:
			return 0, 0, fault.Errorf(fault.TypeMismatch, "%s requires an integral index, found a value of type: %s", op, typeName(v))
		case n < 0:
			return 0, 0, fault.Errorf(fault.BadValue, "%s requires a nonnegative index, found: %d", op, n)
		}
		bounds[i] = n
	}
	return bounds[0], bounds[1], nil
}

// reverseArray is $reverseArray; arrays within it keep their order.
//
//	{$reverseArray: [[1, [2, 3]]]}     [[2, 3], 1]
func reverseArray(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[0]) {
		return nullValue, nil
	}
	if !args[0].IsArray() {
		return nullValue, errArray(op, args[0])
	}
	vals, err := e.elements(op, args[0])
	if err != nil {
		return nullValue, err
	}
	slices.Reverse(vals)
	return e.arrayOf(op, vals)
}

// The end is left out. What is far too long is refused at once, before memory says so.
//
//	{$range: [5, 0, -2]}     [5, 3, 1]
//	{$range: [0, 5, -1]}     []
func rangeOf(e *Env, op string, args []value.Value) (value.Value, error) {
	nums := [3]int{0, 0, 1}
	for i, v := range args {
		name := [...]string{"starting", "ending", "step"}[i]
		if !v.IsNumber() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a numeric %s value, found value of type: %s", op, name, typeName(v))
		}
		n, ok := number.Int32(v)
		if !ok {
			return nullValue, fault.Errorf(fault.BadValue, "%s requires a %s value that can be represented as a 32-bit integer", op, name)
		}
		nums[i] = n
	}
	from, to, step := nums[0], nums[1], nums[2]
	if step == 0 {
		return nullValue, fault.Errorf(fault.BadValue, "%s requires a non-zero step value", op)
	}
	if n := (to - from) / step; n > MaxValue/8 {
		return nullValue, fault.Errorf(fault.ExceededMemoryLimit, "%s would use too much memory: %d elements", op, n)
	}
	out := e.array(op)
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		if err := e.tick(); err != nil {
			return nullValue, err
		}
		if !out.add(e.int32(int32(i))) {
			break
		}
	}
	return out.value()
}

// compileZip compiles {inputs, useLongestLength, defaults}.
func compileZip(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s only supports an object as an argument, found %s", name, typeName(arg))
	}
	n := &zip{op: name}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch string(k) {
		case "inputs":
			if !v.IsArray() {
				return nil, fault.Errorf(fault.TypeMismatch, "inputs must be an array of expressions, found %s", typeName(v))
			}
			n.inputs, _, err = c.list(v)
		case "defaults":
			if !v.IsArray() {
				return nil, fault.Errorf(fault.TypeMismatch, "defaults must be an array of expressions, found %s", typeName(v))
			}
			n.defaults, _, err = c.list(v)
		case "useLongestLength":
			if v.Type != bson.TypeBoolean {
				return nil, fault.Errorf(fault.TypeMismatch, "useLongestLength must be a bool, found %s", typeName(v))
			}
			n.longest = v.Bool()
		default:
			return nil, fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case len(n.inputs) == 0:
		return nil, fault.Errorf(fault.FailedToParse, "%s requires at least one input array", name)
	case n.defaults != nil && !n.longest:
		return nil, fault.Errorf(fault.FailedToParse, "cannot specify defaults unless useLongestLength is true")
	case n.defaults != nil && len(n.defaults) != len(n.inputs):
		return nil, fault.Errorf(fault.BadValue, "defaults and inputs must have the same length")
	}
	return n, nil
}

type zip struct {
	op               string
	inputs, defaults []node
	longest          bool
}

// rows becomes the greatest length with useLongestLength, the least without: the comparison is the same
// but for its sense. Missing places are filled with null or the defaults.
//
//	{$zip: {inputs: [[1, 2], [3]]}}                                               [[1, 3]]
//	{$zip: {inputs: [[1, 2], [3]], useLongestLength: true}}                       [[1, 3], [2, null]]
//	{$zip: {inputs: [[1, 2], [3]], useLongestLength: true, defaults: [0, 9]}}     [[1, 3], [2, 9]]
//	{$zip: {inputs: [[1, 2], null]}}                                              null
func (n *zip) eval(e *Env) (value.Value, error) {
	rows := -1
	ins := make([]value.Iter, len(n.inputs))
	fill := make([]value.Value, len(n.inputs))
	for i, x := range n.inputs {
		v, err := x.eval(e)
		if err != nil || nullish(v) {
			return nullValue, err
		}
		if !v.IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s found a non-array expression in input: %s", n.op, typeName(v))
		}
		l := length(v)
		if rows < 0 || n.longest == (l > rows) {
			rows = l
		}
		ins[i], fill[i] = value.Elements(v.Data), nullValue
	}
	for i, x := range n.defaults {
		v, err := x.eval(e)
		if err != nil {
			return nullValue, err
		}
		fill[i] = v
	}
	out := e.array(n.op)
	for range rows {
		row := e.array(n.op)
		for i := range ins {
			_, v, ok := ins[i].Next()
			if !ok {
				v = fill[i]
			}
			row.add(v)
		}
		if err := e.spend(len(ins)); err != nil {
			return nullValue, err
		}
		v, err := row.value()
		if err != nil {
			return nullValue, err
		}
		if !out.add(v) {
			break
		}
	}
	return out.value()
}
