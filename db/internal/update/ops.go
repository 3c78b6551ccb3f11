package update

import (
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An op is an operator on one field.
type op interface {
	// apply appends the field key with its new value to dst, or nothing to
	// leave it out. old is the zero Value if the field is missing. In an array
	// an element can become null but not vanish.
	apply(a *applier, dst, key []byte, old value.Value, inArray bool) ([]byte, error)
	// creates reports whether apply writes a field that is missing.
	creates(a *applier) bool
}

// keep appends the field as it was.
func keep(dst, key []byte, old value.Value) []byte {
	if !old.Exists() {
		return dst
	}
	return value.AppendElement(dst, key, old)
}

// always is embedded in operators that create their field.
type always struct{}

func (always) creates(*applier) bool { return true }

// never is embedded in operators that only change what is there.
type never struct{}

func (never) creates(*applier) bool { return false }

// setOp is $set and $setOnInsert.
type setOp struct {
	v        value.Value
	onInsert bool
}

// $setOnInsert does nothing to a document that was there.
func (o setOp) creates(a *applier) bool { return !o.onInsert || a.ctx.Insert }

func (o setOp) apply(a *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if !o.creates(a) {
		return keep(dst, key, old), nil
	}
	return value.AppendElement(dst, key, o.v), nil
}

// unsetOp is $unset, and the source of $rename.
type unsetOp struct {
	never
	renamed bool
	path    value.Path
}

// In an array null takes the element's place, for the others must not move.
func (o unsetOp) apply(_ *applier, dst, key []byte, old value.Value, inArray bool) ([]byte, error) {
	if inArray && o.renamed {
		return nil, fault.Errorf(fault.BadValue, "The source field cannot be an array element, '%s'", o.path)
	}
	if inArray {
		return value.AppendHeader(dst, bson.TypeNull, key), nil
	}
	return dst, nil
}

// renameOp is the target of $rename.
type renameOp struct {
	from value.Path
	full string
}

func (o renameOp) creates(a *applier) bool { return o.source(a).Exists() }

// source returns the value to move; it scans the document, which counts.
func (o renameOp) source(a *applier) value.Value {
	const scanned = 64                     // bytes that take about the time of a tick
	if a.tick(len(a.doc)/scanned) != nil { // which apply's end tells
		return value.Value{}
	}
	return o.from.Lookup(a.doc)
}

// No array may be on the way, of the source or the target: the field would be one of
// several.
func (o renameOp) apply(a *applier, dst, key []byte, old value.Value, inArray bool) ([]byte, error) {
	v := o.source(a)
	if !v.Exists() {
		return keep(dst, key, old), nil
	}
	if inArray {
		return nil, fault.Errorf(fault.BadValue, "The destination field cannot be an array element, '%s'", key)
	}
	for i := 1; i < len(o.from); i++ {
		if o.from[:i].Lookup(a.doc).IsArray() {
			return nil, fault.Errorf(fault.BadValue, "The source field cannot be an array element, '%s'", o.full)
		}
	}
	return value.AppendElement(dst, key, v), nil
}

// arithOp is $inc and $mul.
type arithOp struct {
	always
	v    value.Value
	name string
	mul  bool
}

func newArith(name, path string, v value.Value) (op, error) {
	if !v.IsNumber() {
		verb := "increment"
		if name == "$mul" {
			verb = "multiply"
		}
		return nil, fault.Errorf(fault.TypeMismatch, "Cannot %s with non-numeric argument: {%s: %s}", verb, path, excerpt(v))
	}
	return arithOp{v: v, name: name, mul: name == "$mul"}, nil
}

// A missing field counts as 0 of the argument's type: $inc gives the argument, $mul a zero
// of that type.
func (o arithOp) apply(a *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if !old.Exists() {
		v := o.v
		if o.mul {
			v, _ = arith(value.Int32(0), o.v, true)
		}
		return value.AppendElement(dst, key, v), nil
	}
	if !old.IsNumber() {
		return nil, fault.Errorf(fault.TypeMismatch,
			"Cannot apply %s to a value of non-numeric type. {_id: %s} has the field '%s' of non-numeric type %s",
			o.name, excerpt(value.Get(a.doc, "_id")), key, expr.TypeName(old))
	}
	v, ok := arith(old, o.v, o.mul)
	if !ok {
		return nil, fault.Errorf(fault.BadValue,
			"Failed to apply %s operations to current value (%s) for document {_id: %s}",
			o.name, excerpt(old), excerpt(value.Get(a.doc, "_id")))
	}
	return value.AppendElement(dst, key, v), nil
}

// extremeOp is $min and $max.
type extremeOp struct {
	v   value.Value
	max bool
}

func (extremeOp) creates(*applier) bool { return true }

// Values of any types compare, in the order of BSON; of equal ones the old stays, with its
// type.
func (o extremeOp) apply(_ *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if old.Exists() {
		if c := value.Compare(o.v, old); c == 0 || c > 0 != o.max {
			return keep(dst, key, old), nil
		}
	}
	return value.AppendElement(dst, key, o.v), nil
}

// currentDateOp is $currentDate: the writer's time as a date or timestamp.
type currentDateOp struct {
	always
	timestamp bool
}

// newCurrentDate compiles a boolean (true and false alike) or {$type: …}.
func newCurrentDate(path string, v value.Value) (op, error) {
	if v.Type == bson.TypeBoolean {
		return currentDateOp{}, nil
	}
	if v.IsDoc() {
		it := value.Elements(v.Data)
		k, t, _ := it.Next()
		_, _, more := it.Next()
		if string(k) == "$type" && !more {
			switch string(t.Str()) {
			case "date":
				return currentDateOp{}, nil
			case "timestamp":
				return currentDateOp{timestamp: true}, nil
			}
		}
	}
	return nil, fault.Errorf(fault.BadValue,
		"%s: $currentDate takes a boolean or {$type: 'date'} or {$type: 'timestamp'}", path)
}

// A timestamp is the seconds in the upper half and a count within the second, which is
// always 1.
func (o currentDateOp) apply(a *applier, dst, key []byte, _ value.Value, _ bool) ([]byte, error) {
	if !o.timestamp {
		return value.AppendElement(dst, key, value.DateTime(a.ctx.Now.UnixMilli())), nil
	}
	dst = value.AppendHeader(dst, bson.TypeTimestamp, key)
	return binary.LittleEndian.AppendUint64(dst, uint64(uint32(a.ctx.Now.Unix()))<<32|1), nil
}

// bitOp is $bit; its parts apply in order.
type bitOp struct {
	always
	parts []bitPart
}

// A bitPart is one of and, or and xor with its number.
type bitPart struct {
	name string
	v    value.Value
}

// newBit compiles {and: n, or: n, xor: n}, of which one at least must be there.
func newBit(path string, v value.Value) (op, error) {
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.BadValue, "The $bit modifier is not compatible with a %s. You must pass in an embedded document: {$bit: {field: {and/or/xor: #}}", expr.TypeName(v))
	}
	var o bitOp
	it := value.Elements(v.Data)
	for k, arg, ok := it.Next(); ok; k, arg, ok = it.Next() {
		name := string(k)
		if name != "and" && name != "or" && name != "xor" {
			return nil, fault.Errorf(fault.BadValue, "The $bit modifier only supports 'and', 'or', and 'xor', not '%s' which is an unknown operator: {%s: %s}", name, path, excerpt(v))
		}
		if arg.Type != bson.TypeInt32 && arg.Type != bson.TypeInt64 {
			return nil, fault.Errorf(fault.BadValue, "The $bit modifier field must be an Integer(32/64 bit); a '%s' is not supported here: {%s: %s}", arg.Type, path, excerpt(v))
		}
		o.parts = append(o.parts, bitPart{name, arg})
	}
	if len(o.parts) == 0 {
		return nil, fault.Errorf(fault.BadValue, "You must pass in at least one bitwise operation. The format is: {$bit: {field: {and/or/xor: #}}")
	}
	return o, nil
}

// The result is an int64 if the field or an argument is one. A missing field counts as the
// int32 0.
func (o bitOp) apply(a *applier, dst, key []byte, old value.Value, _ bool) ([]byte, error) {
	if !old.Exists() {
		old = value.Int32(0)
	}
	if old.Type != bson.TypeInt32 && old.Type != bson.TypeInt64 {
		return nil, fault.Errorf(fault.BadValue,
			"Cannot apply $bit to a value of non-integral type. {_id: %s} has the field '%s' of non-integer type %s",
			excerpt(value.Get(a.doc, "_id")), key, expr.TypeName(old))
	}
	n, wide := old.Int(), old.Type == bson.TypeInt64
	for _, s := range o.parts {
		wide = wide || s.v.Type == bson.TypeInt64
		switch s.name {
		case "and":
			n &= s.v.Int()
		case "or":
			n |= s.v.Int()
		default:
			n ^= s.v.Int()
		}
	}
	if wide {
		return value.AppendElement(dst, key, value.Int64(n)), nil
	}
	return value.AppendElement(dst, key, value.Int32(int32(n))), nil
}
