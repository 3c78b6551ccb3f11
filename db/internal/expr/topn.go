package expr

import (
	"math/rand/v2"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Count reads the n of $firstN and the like: a positive integer.
func Count(op string, v value.Value) (int, error) {
	n, ok := number.Whole(v)
	if !ok {
		return 0, fault.Errorf(fault.TypeMismatch, "Value for 'n' must be of integral type, but found %s in %s", typeName(v), op)
	}
	if n <= 0 {
		return 0, fault.Errorf(fault.BadValue, "'n' must be greater than 0, found %d in %s", n, op)
	}
	return int(min(n, 1<<31)), nil
}

// someN is $firstN, $lastN, $minN and $maxN of an array: {n, input}. $minN and $maxN leave out null;
// $firstN and $lastN do not. All types have an order among each other.
//
//	{$firstN: {n: 2, input: [null, 1, 2]}}        [null, 1]
//	{$lastN: {n: 9, input: [1, 2]}}               [1, 2]
//	{$minN: {n: 2, input: [3, null, "a", 1]}}     [1, 3]
//	{$maxN: {n: 2, input: [3, null, "a", 1]}}     ["a", 3]
func someN(e *Env, op string, args []value.Value) (value.Value, error) {
	n, err := Count(op, args[0])
	if err != nil {
		return nullValue, err
	}
	arr := args[1]
	if !arr.IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "Input must be an array in %s, found %s", op, typeName(arr))
	}
	switch op {
	case "$firstN":
		return e.part(op, arr, 0, n)
	case "$lastN":
		l := length(arr)
		return e.part(op, arr, max(0, l-n), l)
	}
	vals, err := e.elements(op, arr)
	if err != nil {
		return nullValue, err
	}
	vals = slices.DeleteFunc(vals, nullish)
	slices.SortStableFunc(vals, func(a, b value.Value) int {
		if op == "$maxN" {
			a, b = b, a
		}
		return value.Compare(a, b)
	})
	return e.arrayOf(op, vals[:min(n, len(vals))])
}

// A sortBy is the order of $sortArray: of whole values, or of the fields of documents. Equal ones keep
// their order.
//
//	{$sortArray: {input: [3, 1, "a"], sortBy: -1}}              ["a", 3, 1]
//	{$sortArray: {input: [{x: 2}, {x: 1}], sortBy: {x: 1}}}     [{x: 1}, {x: 2}]
type sortBy struct {
	desc  bool // of whole values
	paths []value.Path
	descs []bool
}

func compileSortArray(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s requires an object as an argument, found: %s", name, typeName(arg))
	}
	n := &sortArray{op: name}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch string(k) {
		case "input":
			n.input, err = c.value(v)
		case "sortBy":
			err = n.by.parse(name, v)
		default:
			err = fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if n.input == nil {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'input' to be specified", name)
	}
	if !value.Get(arg.Data, "sortBy").Exists() {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'sortBy' to be specified", name)
	}
	return n, nil
}

func direction(op string, v value.Value) (desc bool, err error) {
	n, ok := number.Whole(v)
	if !ok || n != 1 && n != -1 {
		return false, fault.Errorf(fault.BadValue, "%s: sort key ordering must be 1 (for ascending) or -1 (for descending)", op)
	}
	return n < 0, nil
}

func (s *sortBy) parse(op string, v value.Value) (err error) {
	if !v.IsDoc() {
		s.desc, err = direction(op, v)
		return err
	}
	it := value.Elements(v.Data)
	for k, x, ok := it.Next(); ok; k, x, ok = it.Next() {
		p, err := ParseFieldPath(string(k))
		if err != nil {
			return err
		}
		desc, err := direction(op, x)
		if err != nil {
			return err
		}
		s.paths, s.descs = append(s.paths, p), append(s.descs, desc)
	}
	if len(s.paths) == 0 {
		return fault.Errorf(fault.BadValue, "%s: sortBy must not be empty", op)
	}
	return nil
}

// key appends the sort key of an element. An array on the path counts by its least element, or its
// greatest, as in any sort.
func (s *sortBy) key(dst []byte, v value.Value) []byte {
	if s.paths == nil {
		return value.AppendKey(dst, v, s.desc)
	}
	for i, p := range s.paths {
		best := nullValue
		if v.IsDoc() {
			vals, _ := p.SortValuesOf(nil, v)
			for j, x := range vals {
				if c := value.Compare(x, best); j == 0 || c < 0 && !s.descs[i] || c > 0 && s.descs[i] {
					best = x
				}
			}
		}
		dst = value.AppendKey(dst, best, s.descs[i])
	}
	return dst
}

type sortArray struct {
	op    string
	input node
	by    sortBy
}

func (n *sortArray) eval(e *Env) (value.Value, error) {
	arr, err := n.input.eval(e)
	if err != nil || nullish(arr) {
		return nullValue, err
	}
	if !arr.IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "The input argument to %s must be an array, but was of type: %s", n.op, typeName(arr))
	}
	if err := e.spend(1 + len(arr.Data)>>4); err != nil {
		return nullValue, err
	}
	type keyed struct {
		key string
		v   value.Value
	}
	var all []keyed
	it := value.Elements(arr.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		k := string(n.by.key(nil, v))
		if err := e.room(n.op, len(k)+48); err != nil {
			return nullValue, err
		}
		all = append(all, keyed{k, v})
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	out := e.array(n.op)
	for _, k := range all {
		if !out.add(k.v) {
			break
		}
	}
	return out.value()
}

// A random is $rand: a number from 0 up to 1.
type random struct{}

func compileRand(c *compiler, name string, arg value.Value) (node, error) {
	if (!arg.IsDoc() && !arg.IsArray()) || length(arg) > 0 {
		return nil, fault.Errorf(fault.FailedToParse, "%s does not currently accept arguments", name)
	}
	c.e.varies = true
	return random{}, nil
}

func (random) eval(e *Env) (value.Value, error) { return e.double(rand.Float64()), nil }

// binarySize is $binarySize, the bytes of a text or of binary data without its subtype.
//
//	{$binarySize: "é"}     2
func binarySize(e *Env, op string, args []value.Value) (value.Value, error) {
	switch v := args[0]; {
	case nullish(v):
		return nullValue, nil
	case v.Type == bson.TypeString:
		return e.count(len(v.Str())), nil
	case v.Type == bson.TypeBinary:
		return e.count(len(v.Data) - 5), nil
	default:
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a string or BinData argument, found: %s", op, typeName(v))
	}
}

// bsonSize is $bsonSize, of an encoded document: 5 bytes, and of each field its type, name, a NUL and
// value.
//
//	{$bsonSize: {}}         5
//	{$bsonSize: {x: 1}}     12
func bsonSize(e *Env, op string, args []value.Value) (value.Value, error) {
	switch v := args[0]; {
	case nullish(v):
		return nullValue, nil
	case v.IsDoc():
		return e.count(len(v.Data)), nil
	default:
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a document input, found: %s", op, typeName(v))
	}
}
