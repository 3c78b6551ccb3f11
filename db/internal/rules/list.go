package rules

import (
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/weftdb/weft/db/internal/value"
)

// A list is an encoded array as a CEL list.
type list struct {
	data []byte
	m    *meter
	all  []value.Value // once it was asked for an element
	done bool
}

var _ traits.Lister = (*list)(nil)

// elements lists the array, once; it is empty where that cannot be paid for, and the rule
// is denied then.
func (l *list) elements() []value.Value {
	if !l.done && l.m.spend(len(l.data)) {
		it := value.Elements(l.data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			l.all = append(l.all, v)
		}
	}
	l.done = true
	return l.all
}

// ConvertToNative implements [ref.Val].
func (l *list) ConvertToNative(t reflect.Type) (any, error) { return opaque{}.ConvertToNative(t) }

// ConvertToType implements [ref.Val].
func (l *list) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.ListType:
		return l
	case types.TypeType:
		return types.ListType
	}
	return types.NewErr("an array is no %s", t.TypeName())
}

// Type implements [ref.Val].
func (l *list) Type() ref.Type { return types.ListType }

// Value implements [ref.Val].
func (l *list) Value() any { return l.data }

// Size implements [traits.Sizer].
func (l *list) Size() ref.Val { return types.Int(len(l.elements())) }

// Get implements [traits.Indexer].
func (l *list) Get(index ref.Val) ref.Val {
	i, err := types.IndexOrError(index)
	if err != nil {
		return types.WrapErr(err)
	}
	all := l.elements()
	if i < 0 || i >= len(all) {
		return types.NewErr("index out of bounds: %d", i)
	}
	return l.m.toCEL(all[i])
}

// Iterator implements [traits.Iterable].
func (l *list) Iterator() traits.Iterator {
	return (&iterator{it: value.Elements(l.data), m: l.m}).start()
}

// Contains implements [traits.Container].
func (l *list) Contains(v ref.Val) ref.Val {
	for _, e := range l.elements() {
		if !l.m.spend(len(e.Data)) {
			return overrun
		}
		if types.Equal(l.m.toCEL(e), v) == types.True {
			return types.True
		}
	}
	return types.False
}

// Equal implements [ref.Val].
func (l *list) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok {
		return types.False
	}
	all := l.elements()
	if o.Size() != types.Int(len(all)) {
		return types.False
	}
	for i, e := range all {
		if !l.m.spend(len(e.Data)) {
			return overrun
		}
		if eq := types.Equal(l.m.toCEL(e), o.Get(types.Int(i))); eq != types.True {
			return eq
		}
	}
	return types.True
}

// Add implements [traits.Adder]: the elements of both.
func (l *list) Add(other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	n, _ := o.Size().(types.Int)
	if !l.m.spend(32 * (len(l.elements()) + int(n))) {
		return overrun
	}
	out := make([]ref.Val, 0, len(l.all)+int(n))
	for _, e := range l.all {
		out = append(out, l.m.toCEL(e))
	}
	for it := o.Iterator(); it.HasNext() == types.True; {
		out = append(out, it.Next())
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}
