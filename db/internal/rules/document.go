package rules

import (
	"errors"
	"reflect"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A meter counts the bytes that one evaluation may still walk over. It cannot stop the
// evaluation: what it refuses gives an error or something absurd, and Allows, which looks
// at left, denies in any case.
type meter struct {
	left     int
	patterns int          // instructions of the rule's
	work     *value.Meter // for what matching a string may take, which CEL counts too late
}

func (m *meter) spend(n int) bool {
	m.left -= n + 1
	return m.left >= 0
}

var overrun ref.Val = types.WrapErr(errScanned)

// The times that CEL knows, in milliseconds.
const (
	firstTime = -62135596800 * 1000
	lastTime  = 253402300800*1000 - 1
)

// toCEL gives v as CEL sees it, without decoding what it holds.
func (m *meter) toCEL(v value.Value) ref.Val {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return &document{v.Data, m}
	case bson.TypeArray:
		return &list{data: v.Data, m: m}
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		if !m.work.Spend(len(v.Data) * m.patterns * value.MeterTick / 16) {
			return overrun
		}
		return types.String(v.Str())
	case bson.TypeBoolean:
		return types.Bool(v.Bool())
	case bson.TypeInt32, bson.TypeInt64:
		return types.Int(v.Int())
	case bson.TypeDouble:
		return types.Double(v.Float())
	case bson.TypeNull, bson.TypeUndefined:
		return types.NullValue
	case bson.TypeDateTime:
		ms := v.Raw().DateTime()
		if ms < firstTime || ms > lastTime {
			return types.NewErr("a date before the year 1 or after 9999")
		}
		return types.Timestamp{Time: time.UnixMilli(ms).UTC()}
	case bson.TypeObjectID:
		return types.String(v.Raw().ObjectID().Hex())
	case bson.TypeDecimal128:
		return types.String(v.Decimal().String())
	case bson.TypeBinary:
		if len(v.Data) >= 5 {
			return types.Bytes(v.Data[5:])
		}
	}
	return types.String(value.AppendJSONValue(nil, v, false))
}

// opaque has what documents and lists do not support.
type opaque struct{}

func (opaque) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("rules do not convert documents")
}

// A document is an encoded document as a CEL map; its order is that of its
// fields.
type document struct {
	data []byte
	m    *meter
}

var _ traits.Mapper = (*document)(nil)

// ConvertToNative implements [ref.Val].
func (d *document) ConvertToNative(t reflect.Type) (any, error) { return opaque{}.ConvertToNative(t) }

// ConvertToType implements [ref.Val].
func (d *document) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return d
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("a document is no %s", t.TypeName())
}

// Type implements [ref.Val].
func (d *document) Type() ref.Type { return types.MapType }

// Value implements [ref.Val].
func (d *document) Value() any { return d.data }

// Find implements [traits.Mapper].
func (d *document) Find(key ref.Val) (ref.Val, bool) {
	k, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	v, walked := d.get(string(k))
	if !d.m.spend(walked) {
		return overrun, false
	}
	if !v.Exists() {
		return nil, false
	}
	return d.m.toCEL(v), true
}

// get returns the field's value and how many bytes lie before it: all where there is none.
// They are counted by lengths, which are the document's. A capacity would be that of the
// buffer which the document is in, and on another replica that is another.
func (d *document) get(name string) (v value.Value, walked int) {
	walked = 4 // the length of the whole
	it := value.Elements(d.data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		walked += len(k) + 2 // its type before, a NUL behind
		if string(k) == name {
			return v, walked
		}
		walked += len(v.Data)
	}
	return value.Value{}, len(d.data)
}

// Contains implements [traits.Container].
func (d *document) Contains(key ref.Val) ref.Val {
	v, ok := d.Find(key)
	if types.IsError(v) {
		return v
	}
	return types.Bool(ok)
}

// Get implements [traits.Indexer].
func (d *document) Get(key ref.Val) ref.Val {
	v, ok := d.Find(key)
	if !ok && v == nil {
		return types.NewErr("no such key: %v", key.Value())
	}
	return v
}

// Size implements [traits.Sizer]. The size is absurd where it cannot be paid for, since CEL
// has no error to give there.
func (d *document) Size() ref.Val {
	n := 0
	it := value.Elements(d.data)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	if !d.m.spend(len(d.data) / 8) {
		return types.Int(1 << 40)
	}
	return types.Int(n)
}

// Equal implements [ref.Val]. As maps have it, the order of fields does not count.
func (d *document) Equal(other ref.Val) ref.Val {
	o, ok := other.(*document)
	if !ok {
		return types.False
	}
	if !d.m.spend(len(d.data)) {
		return overrun
	}
	if string(d.data) == string(o.data) {
		return types.True
	}
	if d.Size() != o.Size() {
		return types.False
	}
	it := value.Elements(d.data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		w, found := o.Find(types.String(k))
		if types.IsError(w) {
			return w
		}
		if !found {
			return types.False
		}
		if eq := types.Equal(d.m.toCEL(v), w); eq != types.True {
			return eq
		}
	}
	return types.True
}

// Iterator implements [traits.Iterable]: over the names of fields.
func (d *document) Iterator() traits.Iterator {
	return (&iterator{it: value.Elements(d.data), m: d.m, keys: true}).start()
}

// An iterator walks the names of a document or the elements of a list.
type iterator struct {
	opaque
	it   value.Iter
	m    *meter
	keys bool
	next ref.Val
}

func (i *iterator) start() *iterator {
	i.advance()
	return i
}

// advance keeps one element ahead, for CEL asks whether there is a next one before it takes
// it.
func (i *iterator) advance() {
	i.next = nil
	k, v, ok := i.it.Next()
	switch {
	case !ok || !i.m.spend(8+len(k)):
	case i.keys:
		i.next = types.String(k)
	default:
		i.next = i.m.toCEL(v)
	}
}

// HasNext implements [traits.Iterator].
func (i *iterator) HasNext() ref.Val { return types.Bool(i.next != nil) }

// Next implements [traits.Iterator].
func (i *iterator) Next() ref.Val {
	v := i.next
	i.advance()
	return v
}

// ConvertToType implements [ref.Val].
func (i *iterator) ConvertToType(ref.Type) ref.Val { return types.NewErr("an iterator is no value") }

// Equal implements [ref.Val].
func (i *iterator) Equal(ref.Val) ref.Val { return types.NewErr("an iterator is no value") }

// Type implements [ref.Val].
func (i *iterator) Type() ref.Type { return types.IteratorType }

// Value implements [ref.Val].
func (i *iterator) Value() any { return nil }
