package expr

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Fields collects the fields of a document under unique names: a name that
// comes again keeps its place and takes the new value.
type Fields struct {
	keys  [][]byte
	vals  []value.Value
	index map[string]int // once there are many
}

// Set sets a field; a missing value removes it.
func (f *Fields) Set(key []byte, v value.Value) {
	if i := f.find(key); i >= 0 {
		f.vals[i] = v
		return
	}
	if f.index != nil {
		f.index[string(key)] = len(f.keys)
	}
	f.keys, f.vals = append(f.keys, key), append(f.vals, v)
	if len(f.keys) == 32 {
		f.index = make(map[string]int, 128)
		for i, k := range f.keys {
			f.index[string(k)] = i
		}
	}
}

func (f *Fields) find(key []byte) int {
	if f.index != nil {
		if i, ok := f.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i, k := range f.keys {
		if bytes.Equal(k, key) {
			return i
		}
	}
	return -1
}

// SetAll sets the fields of a document.
func (f *Fields) SetAll(doc []byte) {
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		f.Set(k, v)
	}
}

// Append appends the document.
func (f *Fields) Append(dst []byte) []byte {
	dst, start := value.Begin(dst)
	for i, k := range f.keys {
		if f.vals[i].Exists() {
			dst = value.AppendElement(dst, k, f.vals[i])
		}
	}
	return value.End(dst, start)
}

// Reset forgets the fields and keeps the memory.
func (f *Fields) Reset() {
	f.keys, f.vals, f.index = f.keys[:0], f.vals[:0], nil
}

func (e *Env) fields(op string, f *Fields) (value.Value, error) {
	out := e.document(op)
	for i, k := range f.keys {
		if !out.set(k, f.vals[i]) {
			break
		}
	}
	return out.value()
}

// The last value of a name counts, in the place of the first. An array as the only argument is a list of
// documents.
//
//	{$mergeObjects: [{x: 1, y: 2}, {y: 3, z: 4}]}     {x: 1, y: 3, z: 4}
//	{$mergeObjects: [[{x: 1}, {y: 2}]]}               {x: 1, y: 2}
//	{$mergeObjects: [null, "$a"]}                     {}
func mergeObjects(e *Env, op string, args []value.Value) (value.Value, error) {
	var f Fields
	merge := func(v value.Value) error {
		if !nullish(v) && !v.IsDoc() {
			return fault.Errorf(fault.TypeMismatch, "%s requires object inputs, but input is of type %s", op, typeName(v))
		}
		if v.IsDoc() {
			f.SetAll(v.Data)
		}
		return nil
	}
	if len(args) == 1 && args[0].IsArray() {
		it := value.Elements(args[0].Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if err := merge(v); err != nil {
				return nullValue, err
			}
		}
		return e.fields(op, &f)
	}
	for _, v := range args {
		if err := merge(v); err != nil {
			return nullValue, err
		}
	}
	return e.fields(op, &f)
}

// objectToArray is $objectToArray; documents within it stay.
//
//	{$objectToArray: {x: 1, y: {z: 2}}}     [{k: "x", v: 1}, {k: "y", v: {z: 2}}]
func objectToArray(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[0]) {
		return nullValue, nil
	}
	if !args[0].IsDoc() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires a document input, found: %s", op, typeName(args[0]))
	}
	out := e.array(op)
	it := value.Elements(args[0].Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		pair := e.document(op)
		name, err := e.text(op, k)
		if err != nil {
			return nullValue, err
		}
		pair.set([]byte("k"), name)
		pair.set([]byte("v"), v)
		p, err := pair.value()
		if err != nil {
			return nullValue, err
		}
		if !out.add(p) {
			break
		}
	}
	return out.value()
}

// arrayToObject is $arrayToObject, of pairs in one of two forms, which may not be mixed. The last value
// of a name counts.
//
//	{$arrayToObject: [[["x", 1], ["y", 2], ["x", 3]]]}     {x: 3, y: 2}
//	{$arrayToObject: [[["x", 1], {k: "y", v: 2}]]}         an error
func arrayToObject(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[0]) {
		return nullValue, nil
	}
	if !args[0].IsArray() {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s requires an array input, found: %s", op, typeName(args[0]))
	}
	var f Fields
	var first bson.Type
	it := value.Elements(args[0].Data)
	for _, p, ok := it.Next(); ok; _, p, ok = it.Next() {
		if first == 0 {
			first = p.Type
		}
		k, v, err := pairOf(op, p, first)
		if err != nil {
			return nullValue, err
		}
		if err := e.room(op, 64); err != nil {
			return nullValue, err
		}
		f.Set(k, v)
	}
	return e.fields(op, &f)
}

// pairOf reads ["k", v] or {k: "k", v: v}.
func pairOf(op string, p value.Value, first bson.Type) (key []byte, v value.Value, err error) {
	var k value.Value
	switch {
	case !p.IsArray() && !p.IsDoc():
		return nil, v, fault.Errorf(fault.TypeMismatch, "Unrecognised input type format for %s: %s", op, typeName(p))
	case p.Type != first:
		return nil, v, fault.Errorf(fault.TypeMismatch, "%s requires a consistent input format: all arrays or all objects, found %s", op, typeName(p))
	case p.IsArray():
		if length(p) != 2 {
			return nil, v, fault.Errorf(fault.BadValue, "%s requires an array of size 2 arrays, found array of size: %d", op, length(p))
		}
		k, v = value.At(p.Data, 0), value.At(p.Data, 1)
		if k.Type != bson.TypeString {
			return nil, v, fault.Errorf(fault.TypeMismatch, "%s requires an array of key-value pairs, where the key must be of type string. Found key type: %s", op, typeName(k))
		}
	default:
		k, v = value.Get(p.Data, "k"), value.Get(p.Data, "v")
		switch {
		case length(p) != 2:
			return nil, v, fault.Errorf(fault.BadValue, "%s requires an object keys of 'k' and 'v'. Found incorrect number of keys: %d", op, length(p))
		case !k.Exists() || !v.Exists():
			return nil, v, fault.Errorf(fault.BadValue, "%s requires an object with keys 'k' and 'v'", op)
		case k.Type != bson.TypeString:
			return nil, v, fault.Errorf(fault.TypeMismatch, "%s requires an object with keys 'k' and 'v', where the value of 'k' must be of type string. Found type: %s", op, typeName(k))
		}
	}
	if bytes.IndexByte(k.Str(), 0) >= 0 {
		return nil, v, fault.Errorf(fault.BadValue, "%s: key field cannot contain an embedded null byte", op)
	}
	return k.Str(), v, nil
}

// A fieldNode is $getField, $setField or $unsetField. The name is taken as it is: "a.b" and "$a" are
// names of fields here, which no path can have.
type fieldNode struct {
	op    string
	name  []byte
	input node
	value node // nil: $getField
}

// {$getField: "a.b"} is {$getField: {field: "a.b", input: "$$CURRENT"}}.
func compileGetField(c *compiler, name string, arg value.Value) (node, error) {
	n := &fieldNode{op: name, input: c.documentPath(slotCurrent, nil)}
	field := arg
	if arg.IsDoc() && value.Get(arg.Data, "field").Exists() {
		it := value.Elements(arg.Data)
		for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
			switch string(k) {
			case "field":
				field = v
			case "input":
				var err error
				if n.input, err = c.value(v); err != nil {
					return nil, err
				}
			default:
				return nil, fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
			}
		}
	}
	return n, n.fieldName(c, field)
}

func (n *fieldNode) fieldName(c *compiler, v value.Value) error {
	if v.Type == bson.TypeString && (len(v.Str()) == 0 || v.Str()[0] != '$') {
		n.name = v.Str()
	} else {
		x, err := c.value(v)
		if err != nil {
			return err
		}
		k, ok := x.(constant)
		if !ok || k.Type != bson.TypeString {
			return fault.Errorf(fault.FailedToParse, "%s requires 'field' to evaluate to a constant string", n.op)
		}
		n.name = value.Value(k).Str()
	}
	if bytes.IndexByte(n.name, 0) >= 0 {
		return fault.Errorf(fault.BadValue, "%s: a field name holds no NUL", n.op)
	}
	return nil
}

// compileSetField compiles $setField and $unsetField. A field that is there keeps its place, and
// $$REMOVE as the value takes it away.
//
//	{$setField: {field: "x.y", input: {z: 1}, value: 2}}                  {z: 1, "x.y": 2}
//	{$setField: {field: "x", input: {x: 1, z: 2}, value: "$$REMOVE"}}     {z: 2}
//	{$unsetField: {field: "x", input: {x: 1, z: 2}}}                      {z: 2}
//	{$setField: {field: "x", input: null, value: 2}}                      null
func compileSetField(c *compiler, name string, arg value.Value) (node, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s only supports an object as its argument", name)
	}
	n := &fieldNode{op: name, value: constant{}}
	names := []string{"field", "input", "value"}
	if name == "$unsetField" {
		names = names[:2]
	}
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch indexOf(names, string(k)) {
		case 0:
			err = n.fieldName(c, v)
		case 1:
			n.input, err = c.value(v)
		case 2:
			n.value, err = c.value(v)
		default:
			err = fault.Errorf(fault.FailedToParse, "%s found an unknown argument: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, k := range names {
		if !value.Get(arg.Data, k).Exists() {
			return nil, fault.Errorf(fault.FailedToParse, "%s requires '%s' to be specified", name, k)
		}
	}
	return n, nil
}

func (n *fieldNode) eval(e *Env) (value.Value, error) {
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	doc, err := n.input.eval(e)
	if err != nil {
		return doc, err
	}
	if n.value == nil {
		switch {
		case doc.IsDoc():
			return value.Get(doc.Data, string(n.name)), nil
		case nullish(doc) && doc.Exists():
			return nullValue, nil
		}
		return value.Value{}, nil
	}
	v, err := n.value.eval(e)
	if err != nil {
		return v, err
	}
	if nullish(doc) {
		return nullValue, nil
	}
	if !doc.IsDoc() {
		return v, fault.Errorf(fault.TypeMismatch, "%s requires 'input' to evaluate to type Object, not %s", n.op, typeName(doc))
	}
	out := e.document(n.op)
	found := false
	it := value.Elements(doc.Data)
	for k, x, ok := it.Next(); ok; k, x, ok = it.Next() {
		if bytes.Equal(k, n.name) {
			found, x = true, v
		}
		if !out.set(k, x) {
			break
		}
	}
	if !found {
		out.set(n.name, v)
	}
	return out.value()
}
