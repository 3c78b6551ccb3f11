package value

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// A Path is a parsed dotted path. The empty Path names the value itself.
type Path []Part

// A Part is one component of a path.
type Part struct {
	Name  string
	Index int // Name as an array index, -1 if it is none
}

// ParsePath parses a dotted path such as "a.0.b". An empty component is an
// EmptyFieldName error, more than MaxDepth components a BadValue error.
func ParsePath(s string) (Path, error) {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return nil, fault.Errorf(fault.EmptyFieldName, "The path '%s' contains an empty field name, which is not allowed.", s)
	}
	return ParseFilterPath(s)
}

// ParseFilterPath is ParsePath for filters, where a component may be empty. {"": 1} is a
// field without a name, and "a..b" goes through one. The bound is that of documents: a
// longer path leads nowhere.
func ParseFilterPath(s string) (Path, error) {
	if strings.Count(s, ".") >= MaxDepth {
		return nil, fault.Errorf(fault.BadValue, "path has more than %d components", MaxDepth)
	}
	p := make(Path, 0, strings.Count(s, ".")+1)
	for name := range strings.SplitSeq(s, ".") {
		if strings.IndexByte(name, 0) >= 0 {
			return nil, fault.Errorf(fault.BadValue, "path %q contains a NUL byte", s)
		}
		p = append(p, Part{Name: name, Index: ParseIndex(name)})
	}
	return p, nil
}

// ParseIndex returns s as an array index (decimal without leading zeros, below 2^31), or
// -1. "01" is a name and no index, and so is "-1": there is one spelling of each place in
// an array.
func ParseIndex(s string) int {
	if s == "" || len(s) > 10 || s[0] == '0' && len(s) > 1 {
		return -1
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

// String returns the dotted path.
func (p Path) String() string {
	var b strings.Builder
	for i, part := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part.Name)
	}
	return b.String()
}

// Lookup returns the value at p, through documents and array indexes but not expanding
// arrays; the zero Value if there is none. In {a: [{b: 1}]} there is something at a.0.b and
// nothing at a.b.
func (p Path) Lookup(doc []byte) Value {
	v := Doc(doc)
	for _, part := range p {
		switch v.Type {
		case bson.TypeEmbeddedDocument:
			v = Get(v.Data, part.Name)
		case bson.TypeArray:
			v = At(v.Data, part.Index)
		default:
			return Value{}
		}
	}
	return v
}

// At returns element i of the array bytes arr; the zero Value if there is none.
func At(arr []byte, i int) Value {
	if i < 0 {
		return Value{}
	}
	it := Elements(arr)
	for {
		_, v, ok := it.Next()
		if !ok {
			return Value{}
		}
		if i == 0 {
			return v
		}
		i--
	}
}

// IndexValues appends to dst the values that an index on p holds for doc:
// arrays are expanded, also an array in an array where one is met, a missing
// field gives null, an empty array undefined. multi reports whether an array
// was met. Every value that a filter on p can match is among them, except whole
// arrays.
//
//	a: [1, [2, 3], {b: 4}]     on a      1, [2, 3], 2, 3, {b: 4}
//	                           on a.b    null, [2, 3], null, 2, 3, 4
func (p Path) IndexValues(dst []Value, doc []byte) (vals []Value, multi bool) {
	return p.collect(dst, Doc(doc), forIndex)
}

// DistinctValues is IndexValues that leaves an array in an array whole.
func (p Path) DistinctValues(dst []Value, doc []byte) (vals []Value, multi bool) {
	return p.collect(dst, Doc(doc), forDistinct)
}

// A purpose says what values are collected for.
type purpose byte

const (
	forSort     purpose = iota // a number that an array answers by index is no field of its documents too
	forDistinct                // a number is both
	forIndex                   // and arrays in arrays are expanded
)

// collect appends the values of v at p. Documents are looked into, arrays are spread one
// level for each component, and whatever else stands in the way counts as a missing field.
// multi is that of IndexValues.
func (p Path) collect(dst []Value, v Value, why purpose) ([]Value, bool) {
	if len(p) > 0 {
		switch v.Type {
		case bson.TypeEmbeddedDocument:
			return p[1:].collect(dst, Get(v.Data, p[0].Name), why)
		case bson.TypeArray:
			return p.collectArray(dst, v.Data, why), true
		}
		return append(dst, Null()), false
	}
	if !v.Exists() {
		return append(dst, Null()), false
	}
	if !v.IsArray() {
		return append(dst, v), false
	}
	n := len(dst)
	it := Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		dst = append(dst, e)
		if e.IsArray() && why == forIndex {
			dst = appendElements(dst, e.Data)
		}
	}
	if len(dst) == n {
		dst = append(dst, Value{Type: bson.TypeUndefined})
	}
	return dst, true
}

func appendElements(dst []Value, arr []byte) []Value {
	it := Elements(arr)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		dst = append(dst, e)
	}
	return dst
}

// collectArray collects from the elements of an array inside the path. A numeric component
// has two readings: the element of that index and, in each document of the array, the field
// of that name. Both count, but for a sort, where an element of that index is the answer.
// An empty array on the way gives null, so that every document has a key.
func (p Path) collectArray(dst []Value, arr []byte, why purpose) []Value {
	n := len(dst)
	if e := At(arr, p[0].Index); e.Exists() {
		dst, _ = p[1:].collect(dst, e, why)
		if why == forSort {
			return dst
		}
	}
	it := Elements(arr)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		switch {
		case e.IsDoc():
			dst, _ = p[1:].collect(dst, Get(e.Data, p[0].Name), why)
		case e.IsArray() && why == forIndex: // to $elemMatch it may be a document of its indexes
			dst = appendElements(append(dst, e, Null()), e.Data)
			if p[0].Index >= 0 {
				dst = p.collectArray(dst, e.Data, why)
			}
		default:
			dst = append(dst, Null())
		}
	}
	if len(dst) == n {
		dst = append(dst, Null())
	}
	return dst
}

// SortValuesOf appends the values of v, which is inside a document, at p that
// count in a sort: those of DistinctValues, but a numeric component that an array
// answers by index is not also looked up as a field of the array's documents.
func (p Path) SortValuesOf(dst []Value, v Value) (vals []Value, multi bool) {
	return p.collect(dst, v, forSort)
}
