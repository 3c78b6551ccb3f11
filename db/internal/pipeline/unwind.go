package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An unwindStage gives a document for each element of an array.
//
//	{a: 1, b: [5, 6]} on b     {a: 1, b: 5}, {a: 1, b: 6}
//	{a: 1, b: 7} on b          as it is: what is no array counts as its one element
//	{a: 1, b: []} on b         nothing; with keep {a: 1}, and null as the index
type unwindStage struct {
	path  value.Path
	index value.Path // nil: none
	keep  bool       // documents without elements too
}

// compileUnwind compiles "$path" or {path, includeArrayIndex, preserveNullAndEmptyArrays}.
func compileUnwind(op string, arg value.Value) (stage, error) {
	s := &unwindStage{}
	path := arg
	if arg.IsDoc() {
		path = value.Value{}
		it := value.Elements(arg.Data)
		for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
			switch string(k) {
			case "path":
				path = v
			case "preserveNullAndEmptyArrays":
				if v.Type != bson.TypeBoolean {
					return nil, fault.Errorf(fault.TypeMismatch, "expected a boolean for the preserveNullAndEmptyArrays option to %s stage, got %s", op, expr.TypeName(v))
				}
				s.keep = v.Bool()
			case "includeArrayIndex":
				if v.Type != bson.TypeString || len(v.Str()) == 0 {
					return nil, fault.Errorf(fault.TypeMismatch, "expected a non-empty string for the includeArrayIndex option to %s stage, got %s", op, expr.TypeName(v))
				}
				if v.Str()[0] == '$' {
					return nil, fault.Errorf(fault.BadValue, "includeArrayIndex option to %s stage should not be prefixed with a '$': %s", op, v.Str())
				}
				var err error
				if s.index, err = expr.ParseFieldPath(string(v.Str())); err != nil {
					return nil, in(op, err)
				}
			default:
				return nil, fault.Errorf(fault.FailedToParse, "unrecognized option to %s stage: %s", op, k)
			}
		}
		if !path.Exists() {
			return nil, fault.Errorf(fault.FailedToParse, "no path specified to %s stage", op)
		}
	} else if arg.Type != bson.TypeString {
		return nil, fault.Errorf(fault.TypeMismatch, "expected either a string or an object as specification for %s stage, got %s", op, expr.TypeName(arg))
	}
	if path.Type != bson.TypeString {
		return nil, fault.Errorf(fault.TypeMismatch, "expected a string as the path for %s stage, got %s", op, expr.TypeName(path))
	}
	name, ok := strings.CutPrefix(string(path.Str()), "$")
	if !ok {
		return nil, fault.Errorf(fault.BadValue, "path option to %s stage should be prefixed with a '$': %s", op, path.Str())
	}
	var err error
	s.path, err = expr.ParseFieldPath(name)
	return s, in(op, err)
}

// The array's elements are read one by one where they lie: nothing of it is copied before
// its turn.
func (s *unwindStage) open(r *run, in Cursor) (Cursor, error) {
	return &unwinding{Cursor: in, s: s, r: r}, nil
}

// An unwinding is between two elements of doc, which belongs to the cursor below until that
// is asked again.
type unwinding struct {
	Cursor
	s   *unwindStage
	r   *run
	doc []byte // whose elements are in it
	it  value.Iter
	i   int64
	a   buffer // the result, and what it is made from
	b   buffer
}

// Next asks the run whether to go on for each document, and for every sixteenth element:
// one document may give many large ones.
func (u *unwinding) Next() ([]byte, error) {
	for {
		if u.doc != nil {
			_, v, ok := u.it.Next()
			if ok {
				if u.i++; u.i&15 == 0 {
					if err := u.r.stop(); err != nil {
						return nil, err
					}
				}
				return u.with(v, value.Int64(u.i-1))
			}
			u.doc = nil
		}
		doc, err := u.Cursor.Next()
		if err != nil || doc == nil {
			return nil, err
		}
		if err := u.r.stop(); err != nil {
			return nil, err
		}
		v := lookup(doc, u.s.path)
		switch {
		case v.IsArray() && len(v.Data) > 5:
			// The document must outlive calls of the stage before.
			u.doc, u.it, u.i = doc, value.Elements(v.Data), 0
		case v.IsArray(), !v.Exists(), v.Type == bson.TypeNull, v.Type == bson.TypeUndefined:
			if !u.s.keep {
				continue
			}
			u.doc = doc
			if v.IsArray() {
				v = value.Value{}
			}
			out, err := u.with(v, value.Null())
			u.doc = nil
			return out, err
		default:
			u.doc = doc
			out, err := u.with(v, value.Null())
			u.doc = nil
			return out, err
		}
	}
}

// with is the document with v for the array. Two buffers, since the index is set in the
// document that the first one holds.
func (u *unwinding) with(v, index value.Value) ([]byte, error) {
	doc := u.doc
	if v.Exists() || lookup(doc, u.s.path).Exists() {
		doc = setPath(u.a.b[:0], doc, u.s.path, v)
		if err := u.a.set(u.r, "$unwind", doc); err != nil {
			return nil, err
		}
	}
	if u.s.index == nil {
		return doc, nil
	}
	doc = setPath(u.b.b[:0], doc, u.s.index, index)
	return doc, u.b.set(u.r, "$unwind", doc)
}

// lookup is the value at a path through documents only. An array on the way is no document:
// $unwind of "a.b" gives nothing where a is an array.
func lookup(doc []byte, path value.Path) value.Value {
	v := value.Doc(doc)
	for _, part := range path {
		if !v.IsDoc() {
			return value.Value{}
		}
		v = value.Get(v.Data, part.Name)
	}
	return v
}
