package pipeline

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// An array is built element by element.
type array struct {
	b []byte
	n int
}

func newArray() *array {
	a := &array{}
	a.b, _ = value.Begin(nil)
	return a
}

// add appends an element; a missing value counts as null.
func (a *array) add(v value.Value) {
	if !v.Exists() {
		v.Type = bson.TypeNull
	}
	var key [12]byte
	a.b = value.AppendElement(a.b, strconv.AppendInt(key[:0], int64(a.n), 10), v)
	a.n++
}

// end gives the array's bytes, to be called once: nothing can be added after it.
func (a *array) end() []byte {
	a.b = value.End(a.b, 0)
	return a.b
}

func (a *array) value() value.Value { return value.Value{Type: bson.TypeArray, Data: a.end()} }

// setPath appends doc to dst with v at a path: what is there is replaced,
// documents on the way are made, other values on the way are replaced by
// documents. A missing v removes the field.
//
//	{a: {b: 1}, c: 2}, a.d := 3     {a: {b: 1, d: 3}, c: 2}
//	{a: 5}, a.d := 3                {a: {d: 3}}
func setPath(dst, doc []byte, path value.Path, v value.Value) []byte {
	dst, start := value.Begin(dst)
	name := path[0].Name
	found := false
	it := value.Elements(doc)
	for k, x, ok := it.Next(); ok; k, x, ok = it.Next() {
		if string(k) != name {
			dst = value.AppendElement(dst, k, x)
			continue
		}
		found = true
		dst = setField(dst, path, x, v)
	}
	if !found {
		dst = setField(dst, path, value.Value{}, v)
	}
	return value.End(dst, start)
}

// setField appends the first field of path: v itself at the path's end, else the document
// old with v in it.
func setField(dst []byte, path value.Path, old, v value.Value) []byte {
	switch {
	case len(path) == 1 && v.Exists():
		return value.AppendElement(dst, []byte(path[0].Name), v)
	case len(path) == 1:
		return dst
	}
	inner := emptyDoc
	if old.IsDoc() {
		inner = old.Data
	}
	return setPath(value.AppendHeader(dst, bson.TypeEmbeddedDocument, path[0].Name), inner, path[1:], v)
}

var emptyDoc = []byte{5, 0, 0, 0, 0}

// field appends one field to a document under construction. A missing value appends
// nothing.
func field(dst []byte, name string, v value.Value) []byte {
	if !v.Exists() {
		return dst
	}
	return append(value.AppendHeader(dst, v.Type, name), v.Data...)
}
