package query

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// CompileProject compiles the specification of a $project stage: inclusion,
// exclusion and expressions, without the operators of find.
func CompileProject(spec value.Value) (*Projection, error) { return Scope{}.CompileProject(spec) }

// CompileProject is the function CompileProject for a scope.
func (s Scope) CompileProject(spec value.Value) (*Projection, error) {
	switch {
	case !spec.IsDoc():
		return nil, fault.Errorf(fault.TypeMismatch, "$project specification must be an object")
	case len(spec.Data) <= 5:
		return nil, fault.Errorf(fault.FailedToParse, "Invalid $project :: caused by :: projection specification must have at least one field")
	}
	return s.projection(spec.Data, true)
}

// CompileAddFields compiles the specification of $addFields or $set, whose name
// op is: fields that a document has are replaced where they are, others follow.
func CompileAddFields(op string, spec value.Value) (*Projection, error) {
	return Scope{}.CompileAddFields(op, spec)
}

// CompileAddFields is the function CompileAddFields for a scope.
func (s Scope) CompileAddFields(op string, spec value.Value) (*Projection, error) {
	if !spec.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%s specification stage must be an object, got %s", op, spec.Type)
	}
	if err := value.Validate(spec.Data); err != nil {
		return nil, err
	}
	p := &Projection{all: len(spec.Data) <= 5}
	c := projCompiler{p: p, stage: true, scope: s}
	return p, c.addFields("", value.Doc(bytes.Clone(spec.Data)))
}

// {a: {b: 1}} sets a.b and leaves the rest of a, as {"a.b": 1} does; {a: {}} and an
// expression set a as a whole.
func (c *projCompiler) addFields(prefix string, v value.Value) error {
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		path := prefix + string(k)
		parts, err := value.ParsePath(path)
		if err != nil {
			return err
		}
		if err := checkNames(path, parts); err != nil {
			return err
		}
		if e.IsDoc() && len(e.Data) > 5 && !isOperators(e.Data) {
			if err := c.addFields(path+".", e); err != nil {
				return err
			}
			continue
		}
		n := &projNode{op: projCompute}
		if n.expr, err = c.scope.compile(path, e); err != nil {
			return err
		}
		if err := c.p.root.insert(path, parts, n); err != nil {
			return err
		}
	}
	return nil
}

// CompileUnset compiles the specification of an $unset stage: a path or an
// array of paths.
func CompileUnset(spec value.Value) (*Projection, error) {
	paths := []value.Value{spec}
	if spec.IsArray() {
		paths = nil
		it := value.Elements(spec.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			paths = append(paths, e)
		}
		if len(paths) == 0 {
			return nil, fault.Errorf(fault.BadValue, "$unset specification must be a string or an array with at least one field")
		}
	}
	p := &Projection{}
	for _, v := range paths {
		if v.Type != bson.TypeString {
			if spec.IsArray() {
				return nil, fault.Errorf(fault.TypeMismatch, "$unset specification must be a string or an array containing only string values")
			}
			return nil, fault.Errorf(fault.TypeMismatch, "$unset specification must be a string or an array")
		}
		path := string(v.Str())
		parts, err := value.ParsePath(path)
		if err != nil {
			return nil, err
		}
		if err := checkNames(path, parts); err != nil {
			return nil, err
		}
		if err := p.root.insert(path, parts, &projNode{op: projDrop}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkNames refuses path components that start with "$".
func checkNames(path string, parts value.Path) error {
	for _, part := range parts {
		if part.Name[0] == '$' {
			return fault.Errorf(fault.DollarPrefixed, "%s: FieldPath field names may not start with '$'. Consider using $getField or $setField.", path)
		}
	}
	return nil
}
