package update

import (
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// elements returns the values of an array. They alias arr.
func elements(arr []byte) []value.Value {
	var out []value.Value
	it := value.Elements(arr)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		out = append(out, v)
	}
	return out
}

// appendArray appends the field key with an array of vals.
func appendArray(dst, key []byte, vals []value.Value) []byte {
	dst, start := value.Begin(value.AppendHeader(dst, bson.TypeArray, key))
	var buf [20]byte
	for i, v := range vals {
		dst = value.AppendElement(dst, strconv.AppendInt(buf[:0], int64(i), 10), v)
	}
	return value.End(dst, start)
}

// each returns the values of an argument {$each: [...]}, or ok false if the argument is a
// plain value. Modifiers without $each are an error. A document whose first key begins with
// "$" is meant as modifiers, but for a DBRef ($ref, $id, $db).
func each(name, path string, v value.Value) (vals []value.Value, ok bool, err error) {
	if !v.IsDoc() {
		return nil, false, nil
	}
	e := value.Get(v.Data, "$each")
	if !e.Exists() {
		it := value.Elements(v.Data)
		k, _, _ := it.Next()
		if len(k) == 0 || k[0] != '$' || string(k) == "$ref" || string(k) == "$id" || string(k) == "$db" {
			return nil, false, nil
		}
		return nil, false, fault.Errorf(fault.BadValue, "%s: %s in %s needs $each", path, k, name)
	}
	if !e.IsArray() {
		return nil, false, fault.Errorf(fault.TypeMismatch, "%s: The argument to $each in %s must be an array but it was of type: %s", path, name, expr.TypeName(e))
	}
	return elements(e.Data), true, nil
}

// pushOp is $push with its modifiers, which act in the order position, sort,
// slice whatever their order in the update. An array that it creates takes the
// values as they are given.
type pushOp struct {
	always
	vals     []value.Value
	position *int64
	slice    *int64
	sort     func(a, b value.Value) int
}

func newPush(path string, v value.Value) (op, error) {
	vals, ok, err := each("$push", path, v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return pushOp{vals: []value.Value{v}}, nil
	}
	o := pushOp{vals: vals}
	it := value.Elements(v.Data)
	for k, arg, ok := it.Next(); ok; k, arg, ok = it.Next() {
		switch string(k) {
		case "$each":
		case "$slice":
			o.slice, err = modifier(path, "$slice", arg)
		case "$position":
			o.position, err = modifier(path, "$position", arg)
		case "$sort":
			o.sort, err = pushSort(path, arg)
		default:
			err = fault.Errorf(fault.BadValue, "%s: Unrecognized clause in $push: %s", path, k)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// modifier returns a whole number. It may be negative: $position and $slice count from the
// end then.
func modifier(path, name string, v value.Value) (*int64, error) {
	n, ok := whole(v)
	if !ok {
		return nil, fault.Errorf(fault.BadValue, "%s: The value for %s must be an integer value but was given type: %s", path, name, expr.TypeName(v))
	}
	return &n, nil
}

// whole returns the number v if it is an int32 or int64, or a double without a fraction up
// to 2^53, where doubles have all integers. Decimals are none.
func whole(v value.Value) (int64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int(), true
	case bson.TypeDouble:
		f := v.Float()
		if f >= -(1<<53) && f <= 1<<53 && f == float64(int64(f)) {
			return int64(f), true
		}
	}
	return 0, false
}

// pushSort compiles $sort: 1 or -1 for whole elements, or a sort document. To a sort
// document an element that is no document has none of the fields: each counts as null.
func pushSort(path string, v value.Value) (func(a, b value.Value) int, error) {
	if n, ok := whole(v); ok && (n == 1 || n == -1) {
		return func(a, b value.Value) int { return value.Compare(a, b) * int(n) }, nil
	}
	if !v.IsDoc() || len(v.Data) <= 5 {
		return nil, fault.Errorf(fault.BadValue, "%s: The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields", path)
	}
	s, err := query.CompileSort(v.Data)
	if err != nil {
		return nil, err
	}
	return s.CompareValues, nil
}

// A position below 0 counts from the end, -1 being before the last element. A slice of n
// keeps the first n, one of -n the last n.
func (o pushOp) apply(a *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if old.Exists() && !old.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "The field '%s' must be an array but is of type %s in document {_id: %s}",
			key, old.Type, excerpt(value.Get(a.doc, "_id")))
	}
	if !old.Exists() {
		return appendArray(dst, key, o.vals), nil
	}
	all := elements(old.Data)
	at := int64(len(all))
	if o.position != nil {
		at = min(*o.position, at)
		if at < 0 {
			at = max(0, int64(len(all))+at)
		}
	}
	all = slices.Insert(all, int(at), o.vals...)
	if o.sort != nil {
		slices.SortStableFunc(all, o.sort)
	}
	if o.slice != nil {
		switch n, total := *o.slice, int64(len(all)); {
		case n >= 0 && n < total:
			all = all[:n]
		case n < 0 && n > -total:
			all = all[total+n:]
		}
	}
	return appendArray(dst, key, all), nil
}

// addToSetOp is $addToSet.
type addToSetOp struct {
	always
	vals []value.Value
}

func newAddToSet(path string, v value.Value) (op, error) {
	vals, ok, err := each("$addToSet", path, v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return addToSetOp{vals: []value.Value{v}}, nil
	}
	it := value.Elements(v.Data)
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if string(k) != "$each" {
			return nil, fault.Errorf(fault.BadValue, "%s: Found unexpected fields beside $each in $addToSet: %s", path, k)
		}
	}
	return addToSetOp{vals: vals}, nil
}

// Duplicates that the array has already stay: only what is added is compared. 1 and 1.0 are
// equal.
func (o addToSetOp) apply(_ *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if old.Exists() && !old.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "Cannot apply $addToSet to non-array field. Field named '%s' has non-array type %s", key, expr.TypeName(old))
	}
	all := elements(old.Data)
	has := newSet(all)
	for _, v := range o.vals {
		if has.add(v) {
			all = append(all, v)
		}
	}
	return appendArray(dst, key, all), nil
}

// A set holds values by their index keys, so adding many stays linear.
type set struct {
	keys map[string]struct{}
	buf  []byte
}

func newSet(vals []value.Value) *set {
	s := &set{keys: make(map[string]struct{}, len(vals))}
	for _, v := range vals {
		s.add(v)
	}
	return s
}

func (s *set) has(v value.Value) bool {
	s.buf = value.AppendKey(s.buf[:0], v, false)
	_, ok := s.keys[string(s.buf)]
	return ok
}

// add adds v and reports whether it is new.
func (s *set) add(v value.Value) bool {
	if s.has(v) {
		return false
	}
	s.keys[string(s.buf)] = struct{}{}
	return true
}

// popOp is $pop.
type popOp struct {
	never
	first bool
}

// newPop compiles 1 for the last element and -1 for the first.
func newPop(path string, v value.Value) (op, error) {
	n, ok := whole(v)
	if !ok || n != 1 && n != -1 {
		return nil, fault.Errorf(fault.FailedToParse, "%s: $pop expects 1 or -1, found: %s", path, excerpt(v))
	}
	return popOp{first: n < 0}, nil
}

func (o popOp) apply(_ *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if !old.Exists() {
		return dst, nil
	}
	if !old.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "Path '%s' contains an element of non-array type '%s'", key, expr.TypeName(old))
	}
	all := elements(old.Data)
	switch {
	case len(all) == 0:
	case o.first:
		all = all[1:]
	default:
		all = all[:len(all)-1]
	}
	return appendArray(dst, key, all), nil
}

// pullOp is $pull and $pullAll: it removes the elements that drop accepts.
type pullOp struct {
	never
	name string
	cost int // of one call of drop, in ticks
	drop func(value.Value, *value.Meter) bool
}

// newPull compiles a condition on an element: {$pull: {a: {b: 1}}} removes the documents
// that match {b: 1}, others than those of exactly this content, and {$pull: {a: {$gt: 3}}}
// numbers.
func newPull(path string, v value.Value) (op, error) {
	f, err := query.CompileElement(path, v)
	if err != nil {
		return nil, err
	}
	return pullOp{name: "$pull", cost: f.Conditions(), drop: f.MatchValue}, nil
}

// newPullAll removes the elements that are equal to a value of the array v; documents must
// be equal as a whole.
func newPullAll(path string, v value.Value) (op, error) {
	if !v.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "%s: $pullAll requires an array argument but was given a %s", path, expr.TypeName(v))
	}
	vals := elements(v.Data)
	slices.SortStableFunc(vals, value.Compare)
	return pullOp{name: "$pullAll", cost: 1, drop: func(e value.Value, _ *value.Meter) bool {
		_, found := slices.BinarySearchFunc(vals, e, value.Compare)
		return found
	}}, nil
}

// The ticks count the conditions for each element, before any is asked.
func (o pullOp) apply(a *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if !old.Exists() {
		return dst, nil
	}
	if !old.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "Cannot apply %s to a non-array value: the field '%s' is of type %s", o.name, key, expr.TypeName(old))
	}
	all := elements(old.Data)
	if err := a.tick(len(all) * o.cost); err != nil {
		return nil, err
	}
	return appendArray(dst, key, slices.DeleteFunc(all, func(v value.Value) bool { return o.drop(v, a.ctx.Meter) })), nil
}
