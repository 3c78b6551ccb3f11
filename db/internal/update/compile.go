package update

import (
	"bytes"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An arrayFilter is what $[id] chooses elements by. One that no path uses is an error, as
// in MongoDB.
type arrayFilter struct {
	filter *query.Filter
	used   bool
}

// Compile compiles an update document of operators with its array filters, or one of
// Pipeline, which takes none; it keeps copies. Messages follow MongoDB's. All conflicts
// that do not depend on a document are found here.
func Compile(update bson.Raw, arrayFilters []bson.Raw) (*Update, error) {
	if err := value.Validate(update); err != nil {
		return nil, err
	}
	if p := value.Get(update, "$pipeline"); p.Exists() {
		switch {
		case len(arrayFilters) > 0:
			return nil, fault.Errorf(fault.FailedToParse, "arrayFilters may not be specified for pipeline-style updates")
		case len(update) != len(Pipeline(p)):
			return nil, fault.Errorf(fault.FailedToParse, "a pipeline-style update has no operators besides")
		}
		return compilePipeline(p)
	}
	filters := map[string]*arrayFilter{}
	var ids []string
	for _, raw := range arrayFilters {
		id, f, err := query.CompileArrayFilter(raw)
		if err != nil {
			return nil, err
		}
		if filters[id] != nil {
			return nil, fault.Errorf(fault.FailedToParse, "Found multiple array filters with the same top-level field name %s", id)
		}
		filters[id] = &arrayFilter{filter: f}
		ids = append(ids, id)
	}
	u := &Update{root: &node{}}
	it := value.Elements(bytes.Clone(update))
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if err := u.operator(string(k), v, filters); err != nil {
			return nil, err
		}
	}
	for _, id := range ids { // in order: the same error everywhere
		if !filters[id].used {
			return nil, fault.Errorf(fault.FailedToParse, "The array filter for identifier '%s' was not used in the update", id)
		}
	}
	u.root.order()
	return u, nil
}

// builder returns the maker of an operator from a field's argument; nil for an unknown
// operator. This is the list of the operators; $rename, which is on two paths, is not in
// it. An argument that is wrong fails here, a field of a wrong type when a document is
// there.
func builder(name string) func(path string, v value.Value) (op, error) {
	switch name {
	case "$set":
		return func(_ string, v value.Value) (op, error) { return setOp{v: v}, nil }
	case "$setOnInsert":
		return func(_ string, v value.Value) (op, error) { return setOp{v: v, onInsert: true}, nil }
	case "$unset":
		return func(string, value.Value) (op, error) { return unsetOp{}, nil }
	case "$inc", "$mul":
		return func(path string, v value.Value) (op, error) { return newArith(name, path, v) }
	case "$min", "$max":
		return func(_ string, v value.Value) (op, error) { return extremeOp{v, name == "$max"}, nil }
	case "$currentDate":
		return newCurrentDate
	case "$bit":
		return newBit
	case "$push":
		return newPush
	case "$addToSet":
		return newAddToSet
	case "$pop":
		return newPop
	case "$pull":
		return newPull
	case "$pullAll":
		return newPullAll
	}
	return nil
}

// operator compiles one update operator and its fields. Each field becomes a leaf of the
// tree, under whatever operator it stands.
func (u *Update) operator(name string, v value.Value, filters map[string]*arrayFilter) error {
	build := builder(name)
	switch {
	case !strings.HasPrefix(name, "$"):
		return fault.Errorf(fault.FailedToParse, "Unknown modifier: %s. Expected a valid update modifier or pipeline-style update specified as an array", name)
	case build == nil && name != "$rename":
		return fault.Errorf(fault.FailedToParse, "Unknown modifier: %s. Expected a valid update modifier", name)
	case !v.IsDoc():
		return fault.Errorf(fault.FailedToParse,
			"Modifiers operate on fields but we found type %s instead. For example: {$mod: {<field>: ...}} not {%s: %s}", v.Type, name, excerpt(v))
	}
	it := value.Elements(v.Data)
	for k, arg, ok := it.Next(); ok; k, arg, ok = it.Next() {
		full := string(k)
		path, err := value.ParsePath(full)
		if err != nil {
			return err
		}
		if name == "$rename" {
			if err := u.rename(full, path, arg, filters); err != nil {
				return err
			}
			continue
		}
		o, err := build(full, arg)
		if err != nil {
			return err
		}
		if err := u.root.insert(full, path, o, filters); err != nil {
			return err
		}
	}
	return nil
}

// rename is an unset of the source and a set of the target to its old value. Both are
// leaves of the tree, so that other operators on these paths conflict. The value is that of
// before the update, whatever the order: {$rename: {a: "b", b: "c"}} is refused because of
// b.
func (u *Update) rename(from string, source value.Path, arg value.Value, filters map[string]*arrayFilter) error {
	if arg.Type != bson.TypeString {
		return fault.Errorf(fault.BadValue, "The 'to' field for $rename must be a string: %s: %s", from, excerpt(arg))
	}
	to := string(arg.Str())
	target, err := value.ParsePath(to)
	if err != nil {
		return err
	}
	for _, p := range [][]value.Part{source, target} {
		for _, part := range p {
			if part.Name[0] == '$' {
				return fault.Errorf(fault.BadValue, "The source and target field for $rename may not be dynamic: %s to %s", from, to)
			}
		}
	}
	if from == to {
		return fault.Errorf(fault.BadValue, "The source and target field for $rename must differ: %s: \"%s\"", from, to)
	}
	if err := u.root.insert(from, source, unsetOp{renamed: true, path: source}, filters); err != nil {
		return err
	}
	return u.root.insert(to, target, renameOp{from: source, full: from}, filters)
}
