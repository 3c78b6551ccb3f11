package pipeline

import (
	"bytes"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An output is a field that a $group makes: an accumulator over an expression. held and
// joins steer how it is fed and whether $group may be spread over goroutines: only what
// does not depend on the order of the documents can be joined.
type output struct {
	name  string
	arg   *expr.Expr
	n     *expr.Expr  // of the operators with N
	sort  *query.Sort // of $top and $bottom
	new   func(n int) expr.Accumulator
	held  bool // it holds what it is given
	joins bool // accumulators over parts of the input can be joined
}

// outputs compiles {name: {$op: argument}, …} without the fields in skip.
func (c *compiler) outputs(op string, doc value.Value, skip ...string) ([]output, error) {
	var out []output
	it := value.Elements(doc.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		name := string(k)
		if slices.Contains(skip, name) {
			continue
		}
		switch {
		case bytes.IndexByte(k, '.') >= 0:
			return nil, fault.Errorf(fault.BadValue, "the field name '%s' cannot contain '.'", k)
		case len(k) > 0 && k[0] == '$':
			return nil, fault.Errorf(fault.DollarPrefixed, "the field name '%s' cannot be an operator name", k)
		case !v.IsDoc() || len(v.Data) <= 5 && op == "$group":
			return nil, fault.Errorf(fault.TypeMismatch, "the field '%s' must be an accumulator object", k)
		}
		fields := value.Elements(v.Data)
		acc, arg, _ := fields.Next()
		if _, _, more := fields.Next(); more {
			return nil, fault.Errorf(fault.FailedToParse, "the field '%s' must specify one accumulator", k)
		}
		o, err := c.accumulator(name, string(acc), arg)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// accumulator compiles {name: {op: arg}}. $count is $sum of 1. An argument in an array
// would be several in an expression; an accumulator takes one, as MongoDB has it.
func (c *compiler) accumulator(name, op string, arg value.Value) (o output, err error) {
	o.name = name
	switch op {
	case "$sum", "$avg", "$stdDevPop", "$stdDevSamp", "$min", "$max":
		o.new = func(int) expr.Accumulator { return expr.NewAccumulator(op) }
		o.held = op == "$min" || op == "$max"
		o.joins = op != "$stdDevPop" && op != "$stdDevSamp"
	case "$count":
		if !arg.IsDoc() || len(arg.Data) > 5 {
			return o, fault.Errorf(fault.TypeMismatch, "%s takes no arguments, i.e. $count:{}", op)
		}
		o.new, o.joins = func(int) expr.Accumulator { return expr.NewAccumulator("$sum") }, true
		arg = value.Int32(1)
	case "$first", "$last":
		o.new, o.held = func(int) expr.Accumulator { return &oneOf{last: op == "$last"} }, true
	case "$push":
		o.new, o.held = func(int) expr.Accumulator { return &push{arr: newArray()} }, true
	case "$addToSet":
		o.new, o.held = func(int) expr.Accumulator {
			return &push{arr: newArray(), seen: map[string]struct{}{}}
		}, true
	case "$mergeObjects":
		o.new, o.held = func(int) expr.Accumulator { return &merge{doc: emptyDoc} }, true
	case "$firstN", "$lastN", "$minN", "$maxN", "$top", "$bottom", "$topN", "$bottomN":
		return c.some(o, op, arg)
	default:
		return o, fault.Errorf(fault.InvalidPipeline, "unknown group operator '%s'", op)
	}
	if arg.IsArray() {
		return o, fault.Errorf(fault.FailedToParse, "The %s accumulator is a unary operator", op)
	}
	o.arg, err = c.expr(op, arg)
	return o, err
}

// some compiles the accumulators that keep several values, or choose by a sort.
//
//	{$firstN: {n: 3, input: "$a"}}                                  also $lastN, $minN, $maxN
//	{$topN: {n: 3, sortBy: {score: -1}, output: "$name"}}           also $bottomN
//	{$top: {sortBy: {score: -1}, output: "$name"}}                  also $bottom: one value and no array
func (c *compiler) some(o output, op string, arg value.Value) (output, error) {
	if !arg.IsDoc() {
		return o, fault.Errorf(fault.TypeMismatch, "specification must be an object for %s", op)
	}
	sorted := op[1] == 't' || op[1] == 'b'
	many := op[len(op)-1] == 'N'
	input := "input"
	if sorted {
		input = "output"
	}
	var err error
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch key := string(k); {
		case key == "n" && many:
			o.n, err = c.expr(op, v)
		case key == input:
			o.arg, err = c.expr(op, v)
		case key == "sortBy" && sorted:
			if !v.IsDoc() || len(v.Data) <= 5 {
				return o, fault.Errorf(fault.TypeMismatch, "%s: 'sortBy' must be a non-empty object", op)
			}
			o.sort, err = query.CompileSort(bson.Raw(v.Data))
		default:
			return o, fault.Errorf(fault.FailedToParse, "unknown argument to %s: %s", op, k)
		}
		if err != nil {
			return o, in(op, err)
		}
	}
	switch {
	case many && o.n == nil:
		return o, fault.Errorf(fault.FailedToParse, "missing value for 'n' in %s", op)
	case o.arg == nil:
		return o, fault.Errorf(fault.FailedToParse, "missing value for '%s' in %s", input, op)
	case sorted && o.sort == nil:
		return o, fault.Errorf(fault.FailedToParse, "missing value for 'sortBy' in %s", op)
	}
	o.held = true
	o.new = func(n int) expr.Accumulator { return &several{op: op, n: n, one: !many, sorted: sorted} }
	return o, nil
}

// A oneOf keeps the first or last value; a missing one counts as null.
type oneOf struct {
	last bool
	v    value.Value
	set  bool
}

// Add copies the bytes into the memory of the value before.
func (a *oneOf) Add(v value.Value) error {
	if a.last || !a.set {
		a.v = value.Value{Type: v.Type, Data: append(a.v.Data[:0], v.Data...)}
		a.set = true
	}
	return nil
}

func (a *oneOf) Result(*expr.Env) (value.Value, error) {
	if !a.v.Exists() {
		return value.Null(), nil
	}
	return a.v, nil
}

func (a *oneOf) Size() int { return cap(a.v.Data) }

// A push keeps all values, or with seen the different ones, but none that is missing.
// $addToSet keeps the first of equal values in the order in which they come, which MongoDB
// leaves open.
type push struct {
	arr  *array
	seen map[string]struct{}
	keys int
	key  []byte
}

// Add finds equal values by their keys, so that adding many stays linear; the keys count as
// held.
func (a *push) Add(v value.Value) error {
	if !v.Exists() {
		return nil
	}
	if a.seen != nil {
		a.key = value.AppendKey(a.key[:0], v, false)
		if _, ok := a.seen[string(a.key)]; ok {
			return nil
		}
		a.seen[string(a.key)] = struct{}{}
		a.keys += len(a.key) + 32
	}
	a.arr.add(v)
	return nil
}

func (a *push) Result(*expr.Env) (value.Value, error) { return a.arr.value(), nil }

// Size counts the array by its capacity, which is the memory that it takes.
func (a *push) Size() int { return cap(a.arr.b) + a.keys }

// A merge is $mergeObjects. A document's fields keep the place in which they first came,
// and take the last value.
type merge struct {
	doc    []byte
	fields expr.Fields
}

// Add builds the document anew each time, so that Size is true and nothing of v is kept.
func (a *merge) Add(v value.Value) error {
	switch {
	case v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined:
		return nil
	case !v.IsDoc():
		return fault.Errorf(fault.TypeMismatch, "$mergeObjects requires object inputs, but input is of type %s", expr.TypeName(v))
	}
	a.fields.Reset()
	a.fields.SetAll(a.doc)
	a.fields.SetAll(v.Data)
	a.doc = a.fields.Append(nil)
	return nil
}

func (a *merge) Result(*expr.Env) (value.Value, error) { return value.Doc(a.doc), nil }

func (a *merge) Size() int { return len(a.doc) }

// A several keeps up to n values: the first, the last, the least, the greatest, or those
// that a sort puts first or last. vals are in the order of the result: that of the input
// for $firstN and $lastN, else of the keys, equal ones in the order of the input. one is
// set for $top and $bottom, whose result is no array.
type several struct {
	op     string
	n      int
	one    bool
	sorted bool
	vals   []keyedValue
	size   int
}

// A keyedValue is a value that is kept, in its place: by its own key or by the sort key of
// its document.
type keyedValue struct {
	key []byte
	v   value.Value
}

// Add passes over null and missing values for $minN and $maxN; the others keep them, as
// null. The key of $maxN is inverted, so that the greatest is first.
func (a *several) Add(v value.Value) error {
	switch a.op {
	case "$firstN", "$lastN":
		return a.keep(nil, v)
	}
	if v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined {
		return nil
	}
	return a.keep(value.AppendKey(nil, v, a.op == "$maxN"), v)
}

// keep keeps v, in the place that its key has, if it is among the n. $lastN and $bottomN
// keep the end of the order: where there is one too many its first goes. The rest keep the
// beginning, so the last goes, and what would come behind n others is not kept at all.
func (a *several) keep(key []byte, v value.Value) error {
	if !v.Exists() {
		v.Type = bson.TypeNull
	}
	n := a.n
	if a.one {
		n = 1
	}
	drop := len(a.vals) - 1 // the one to drop if there is one too many
	at := len(a.vals)
	switch a.op {
	case "$firstN":
		if len(a.vals) == n {
			return nil
		}
	case "$lastN":
		drop = 0
	case "$bottom", "$bottomN": // equal ones in the order of the input
		at, _ = slices.BinarySearchFunc(a.vals, key, after)
		if len(a.vals) == n && at == 0 {
			return nil
		}
		drop = 0
	default:
		at, _ = slices.BinarySearchFunc(a.vals, key, after)
		if at == n {
			return nil
		}
	}
	if len(a.vals) == n {
		a.size -= len(a.vals[drop].key) + len(a.vals[drop].v.Data) + keyedSize
		a.vals = slices.Delete(a.vals, drop, drop+1)
		if drop < at {
			at--
		}
	}
	k := keyedValue{key, value.Value{Type: v.Type, Data: bytes.Clone(v.Data)}}
	a.size += len(k.key) + len(k.v.Data) + keyedSize
	a.vals = slices.Insert(a.vals, at, k)
	return nil
}

// after finds the place behind all equal keys.
func after(k keyedValue, key []byte) int {
	if bytes.Compare(k.key, key) <= 0 {
		return -1
	}
	return 1
}

func (a *several) Result(*expr.Env) (value.Value, error) {
	if a.one {
		if len(a.vals) == 0 {
			return value.Null(), nil
		}
		return a.vals[0].v, nil
	}
	out := newArray()
	for _, k := range a.vals {
		out.add(k.v)
	}
	return out.value(), nil
}

func (a *several) Size() int { return a.size }
