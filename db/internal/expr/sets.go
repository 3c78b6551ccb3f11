package expr

import (
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A set holds values by their keys: 1 and 1.0 are one. An element that is an array is one value. What a
// set operator gives has no value twice.
//
//	{$setUnion: [[1], [1.0, 2]]}     [1, 2]
//	{$setUnion: [[[1, 2]], [1]]}     [[1, 2], 1]
type set struct {
	e    *Env
	op   string
	seen map[string]struct{}
	key  []byte
}

func (e *Env) set(op string) *set { return &set{e: e, op: op, seen: map[string]struct{}{}} }

func (s *set) has(v value.Value) bool {
	s.key = value.AppendKey(s.key[:0], v, false)
	_, ok := s.seen[string(s.key)]
	return ok
}

// add adds v; fresh says that it was not there.
func (s *set) add(v value.Value) (fresh bool, err error) {
	if s.has(v) {
		return false, nil
	}
	if err := s.e.room(s.op, len(s.key)+32); err != nil {
		return false, err
	}
	s.seen[string(s.key)] = struct{}{}
	return true, nil
}

func (e *Env) setOf(op string, arr value.Value) (*set, error) {
	s := e.set(op)
	it := value.Elements(arr.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if _, err := s.add(v); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// sets checks that all arguments are arrays; null says that one is null.
func sets(op string, args []value.Value) (null bool, err error) {
	for _, v := range args {
		if nullish(v) {
			return true, nil
		}
		if !v.IsArray() {
			return true, fault.Errorf(fault.TypeMismatch, "All operands of %s must be arrays. One argument is of type: %s", op, typeName(v))
		}
	}
	return false, nil
}

// setUnion keeps the order in which elements first occur, as all set operators. MongoDB leaves their
// order open; here it has to be the same on every replica.
//
//	{$setUnion: [[3, 1, 3], [2, 1]]}     [3, 1, 2]
func setUnion(e *Env, op string, args []value.Value) (value.Value, error) {
	if null, err := sets(op, args); null {
		return nullValue, err
	}
	s, out := e.set(op), e.array(op)
	for _, arr := range args {
		it := value.Elements(arr.Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			fresh, err := s.add(v)
			if err != nil {
				return nullValue, err
			}
			if fresh && !out.add(v) {
				return out.value()
			}
		}
	}
	return out.value()
}

// setIntersection is $setIntersection, in the order and with the values of the first array.
//
//	{$setIntersection: [[3, 2, 3], [2, 3.0]]}     [3, 2]
//	{$setIntersection: []}                        []
func setIntersection(e *Env, op string, args []value.Value) (value.Value, error) {
	if null, err := sets(op, args); null {
		return nullValue, err
	}
	if len(args) == 0 {
		return e.array(op).value()
	}
	var others []*set
	for _, arr := range args[1:] {
		s, err := e.setOf(op, arr)
		if err != nil {
			return nullValue, err
		}
		others = append(others, s)
	}
	return e.chosen(op, args[0], func(v value.Value) bool {
		for _, s := range others {
			if !s.has(v) {
				return false
			}
		}
		return true
	})
}

// chosen is the set of the elements of arr that pass.
func (e *Env) chosen(op string, arr value.Value, pass func(v value.Value) bool) (value.Value, error) {
	s, out := e.set(op), e.array(op)
	it := value.Elements(arr.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !pass(v) {
			continue
		}
		fresh, err := s.add(v)
		if err != nil {
			return nullValue, err
		}
		if fresh && !out.add(v) {
			break
		}
	}
	return out.value()
}

// setDifference is $setDifference: what of the first array is not in the second.
//
//	{$setDifference: [[1, 2, 1, [3]], [2, 3]]}     [1, [3]]
func setDifference(e *Env, op string, args []value.Value) (value.Value, error) {
	for _, v := range args {
		if nullish(v) {
			return nullValue, nil
		}
		if !v.IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "both operands of %s must be arrays. One argument is of type: %s", op, typeName(v))
		}
	}
	s, err := e.setOf(op, args[1])
	if err != nil {
		return nullValue, err
	}
	return e.chosen(op, args[0], func(v value.Value) bool { return !s.has(v) })
}

// setEquals is $setEquals: neither order nor number counts. Null is an error here.
//
//	{$setEquals: [[1, 2, 2], [2, 1]]}     true
//	{$setEquals: [[1], null]}             an error
func setEquals(e *Env, op string, args []value.Value) (value.Value, error) {
	var first *set
	for _, v := range args {
		if !v.IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "All operands of %s must be arrays. One argument is of type: %s", op, typeName(v))
		}
		s, err := e.setOf(op, v)
		if err != nil {
			return nullValue, err
		}
		if first == nil {
			first = s
			continue
		}
		if len(s.seen) != len(first.seen) {
			return falseValue, nil
		}
		for k := range s.seen {
			if _, ok := first.seen[k]; !ok {
				return falseValue, nil
			}
		}
	}
	return trueValue, nil
}

// setIsSubset is $setIsSubset: is all of the first array in the second?
//
//	{$setIsSubset: [[1, 1], [2, 1]]}     true
//	{$setIsSubset: [[], []]}             true
func setIsSubset(e *Env, op string, args []value.Value) (value.Value, error) {
	for _, v := range args {
		if !v.IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "both operands of %s must be arrays. One argument is of type: %s", op, typeName(v))
		}
	}
	s, err := e.setOf(op, args[1])
	if err != nil {
		return nullValue, err
	}
	it := value.Elements(args[0].Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !s.has(v) {
			return falseValue, nil
		}
	}
	return trueValue, nil
}

// elementsTrue makes $anyElementTrue and $allElementsTrue. Of no element none is true, and all are. An
// empty string and an empty array are true, as everywhere: only false, zero, null, undefined and what
// is missing are not.
//
//	{$anyElementTrue: [[]]}                     false
//	{$allElementsTrue: [[]]}                    true
//	{$allElementsTrue: [["", [], "false"]]}     true
//	{$anyElementTrue: [[0, null]]}              false
func elementsTrue(stop bool) function {
	return function{1, 1, func(_ *Env, op string, args []value.Value) (value.Value, error) {
		if !args[0].IsArray() {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s's argument must be an array, but is %s", op, typeName(args[0]))
		}
		it := value.Elements(args[0].Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if True(v) == stop {
				return boolean(stop), nil
			}
		}
		return boolean(!stop), nil
	}}
}
