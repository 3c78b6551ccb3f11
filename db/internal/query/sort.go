package query

import (
	"bytes"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// maxSortFields is MongoDB's bound on the fields of a sort.
const maxSortFields = 32

// A Sort is a compiled sort specification. shared is what makes a sort by
// {"a.x": 1, "a.y": 1} agree with a compound index: both fields take the same element of a.
type Sort struct {
	fields []SortField
	paths  []value.Path
	shared []sharedFields // of fields that could meet one array
}

// A SortField is one field of a sort.
type SortField struct {
	Path string
	Desc bool
}

// CompileSort compiles a sort specification such as {a: 1, "b.c": -1}.
func CompileSort(spec bson.Raw) (*Sort, error) {
	s := &Sort{}
	if len(spec) == 0 {
		return s, nil
	}
	if err := value.Validate(spec); err != nil {
		return nil, err
	}
	it := value.Elements(spec)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		key := string(k)
		path, err := value.ParsePath(key)
		if err != nil {
			return nil, err
		}
		if key[0] == '$' {
			return nil, fault.Errorf(fault.FailedToParse, "$sort: field %s must not start with '$'", key)
		}
		n, ok := integral(v)
		if !ok || n != 1 && n != -1 {
			return nil, fault.Errorf(fault.BadValue, "%s: $sort key ordering must be 1 (for ascending) or -1 (for descending)", key)
		}
		s.fields = append(s.fields, SortField{key, n < 0})
		s.paths = append(s.paths, path)
	}
	if len(s.fields) > maxSortFields {
		return nil, errBad("too many compound keys: %d, at most %d", len(s.fields), maxSortFields)
	}
	s.shared = s.shares()
	return s, nil
}

// Fields returns the sort's fields in order.
func (s *Sort) Fields() []SortField { return s.fields }

// Names reports whether the sort looks at a field of the document.
func (s *Sort) Names(field string) bool {
	return slices.ContainsFunc(s.fields, func(f SortField) bool { return begins(f.Path, field) })
}

// Compare orders two documents: -1, 0 or 1. A missing field sorts as null, an
// array by its least element ascending and its greatest descending, an empty
// array below null. Fields that meet the same array take the same element of it.
func (s *Sort) Compare(a, b []byte) int {
	if len(s.shared) > 0 {
		return bytes.Compare(s.Key(nil, a), s.Key(nil, b))
	}
	for i, f := range s.fields {
		c := value.Compare(extreme(s.paths[i], a, f.Desc), extreme(s.paths[i], b, f.Desc))
		if c != 0 {
			if f.Desc {
				return -c
			}
			return c
		}
	}
	return 0
}

// CompareValues orders two array elements, for $push with $sort: documents by
// the fields, other values as documents without them.
func (s *Sort) CompareValues(a, b value.Value) int {
	return s.Compare(docOrEmpty(a), docOrEmpty(b))
}

func docOrEmpty(v value.Value) []byte {
	if v.IsDoc() {
		return v.Data
	}
	return []byte{5, 0, 0, 0, 0}
}

// Key appends doc's sort key to dst: keys compare by bytes as Compare does.
func (s *Sort) Key(dst, doc []byte) []byte {
	if len(s.shared) > 0 {
		for i, v := range s.all(doc) {
			dst = value.AppendKey(dst, v, s.fields[i].Desc)
		}
		return dst
	}
	for i, f := range s.fields {
		dst = value.AppendKey(dst, extreme(s.paths[i], doc, f.Desc), f.Desc)
	}
	return dst
}

// extreme returns the value of doc at p that counts in a sort. Most paths meet no array, and
// are walked here.
func extreme(p value.Path, doc []byte, desc bool) value.Value {
	v := value.Doc(doc)
	for i, part := range p {
		if v.IsArray() {
			return extremeOf(p[i:], v, desc)
		}
		if !v.IsDoc() {
			return value.Null()
		}
		v = value.Get(v.Data, part.Name)
	}
	if v.IsArray() {
		return extremeOf(nil, v, desc)
	}
	if !v.Exists() {
		return value.Null()
	}
	return v
}

// extremeOf is extreme from the first array on: the least of all values, or the greatest.
func extremeOf(p value.Path, v value.Value, desc bool) value.Value {
	var buf [16]value.Value
	vals, _ := p.SortValuesOf(buf[:0], v)
	best := vals[0]
	for _, e := range vals[1:] {
		if c := value.Compare(e, best); c < 0 && !desc || c > 0 && desc {
			best = e
		}
	}
	return best
}
