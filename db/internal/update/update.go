// Package update compiles MongoDB update documents and applies them to encoded
// documents. The same update, document and Context give the same bytes.
//
//	Compile ── Update ── Apply   operators, array filters, positional paths, pipelines
//	                     Upsert  a new document from a filter and an update
//	Replace                      a whole-document replacement that keeps _id
//
// An Update is a tree of paths with an operator at each leaf. Apply rewrites
// the document in one pass along the tree: fields keep their places, new ones
// follow in order of their names. An Update is immutable and safe for
// concurrent use.
package update

import (
	"bytes"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Context carries what the writer fixed for one application.
type Context struct {
	Now    time.Time     // for $currentDate; the writer's time, not this machine's
	Insert bool          // the document is being inserted by an upsert: $setOnInsert acts
	Filter *query.Filter // the filter that found the document, for the positional $; may be nil
	Meter  *value.Meter  // what the update may take; nil for no bound
}

// An Update is a compiled update document.
type Update struct {
	root     *node
	pipeline bool
	stages   []stage // instead of root, of a pipeline
}

// IsReplacement reports whether the document is a replacement rather than
// update operators: its first key does not start with "$".
func IsReplacement(update bson.Raw) bool {
	it := value.Elements(update)
	k, _, ok := it.Next()
	return !ok || len(k) == 0 || k[0] != '$'
}

// Apply applies u to doc. changed reports whether any byte differs; newDoc is doc itself if
// not. The result passes value.Validate if doc does. That nothing has changed is found by
// comparing bytes, not told by operators: {$set: {a: 1}} where a is 1 is no change, and
// where a is 1.0 it is one. Operators that count ticks where they cannot fail leave it to
// the last tick here to fail for them.
func (u *Update) Apply(doc []byte, ctx Context) (newDoc []byte, changed bool, err error) {
	var out []byte
	if u.pipeline {
		out, err = u.run(doc, ctx)
	} else {
		a := applier{doc: doc, ctx: ctx}
		if out, err = a.document(make([]byte, 0, len(doc)+64), doc, u.root); err == nil {
			err = a.tick(0)
		}
		ctx.Meter.Spend(len(out))
	}
	if err != nil {
		return nil, false, err
	}
	if bytes.Equal(out, doc) {
		return doc, false, nil
	}
	if len(out) > value.MaxDocument {
		return nil, false, tooLarge()
	}
	if err := checkID(doc, out); err != nil {
		return nil, false, err
	}
	if ctx.Meter != nil && !ctx.Meter.Spend(value.Count(out)*validElement) {
		return nil, false, errWork
	}
	if err := value.Validate(out); err != nil {
		return nil, false, err
	}
	return out, true, nil
}

// validElement is what an element counts for a meter that is validated, or is of an array
// that an operator changes.
const validElement = 2 * value.MeterTick

func tooLarge() error {
	return fault.Of(value.ErrTooLarge, "Resulting document after update is larger than %d", value.MaxDocument)
}

// checkID refuses a change of _id. The bytes count: _id 1 cannot become 1.0. A document
// without one, as an upsert builds, may get it.
func checkID(old, changed []byte) error {
	was, is := value.Get(old, "_id"), value.Get(changed, "_id")
	if !was.Exists() {
		return CheckID(is)
	}
	if was.Type != is.Type || !bytes.Equal(was.Data, is.Data) {
		return fault.Errorf(fault.ImmutableField,
			"Performing an update on the path '_id' would modify the immutable field '_id'")
	}
	return nil
}

// CheckID refuses values that cannot be an _id: arrays, undefined and regular
// expressions. A missing one passes.
func CheckID(id value.Value) error {
	switch id.Type {
	case bson.TypeArray, bson.TypeUndefined, bson.TypeRegex:
		return fault.Errorf(fault.InvalidIDField, "The '_id' value cannot be of type %s", expr.TypeName(id))
	}
	return nil
}

// Upsert builds the document that an upsert inserts when filter matches nothing: the
// filter's equalities, then u with Insert set. _id comes first if the filter or u gives
// one; otherwise the caller adds it. u may be nil. Equalities become fields in the order of
// the filter. {a: 1, "a.b": 2} matches documents but cannot build one: two values would go
// to one place.
func (u *Update) Upsert(filter *query.Filter, ctx Context) ([]byte, error) {
	base := &node{}
	if filter != nil {
		for _, e := range filter.Equalities() {
			path, err := value.ParsePath(e.Path)
			if err != nil {
				return nil, err
			}
			if err := base.insert(e.Path, path, setOp{v: e.Value}, nil); err != nil {
				return nil, fault.Errorf(fault.NotSingleValue, "cannot infer query fields to set, path '%s' is matched twice", e.Path)
			}
		}
	}
	ctx.Insert = true
	a := applier{ctx: ctx, doc: emptyDoc}
	doc, err := a.document(nil, emptyDoc, base)
	if err != nil {
		return nil, err
	}
	if u != nil {
		if doc, _, err = u.Apply(doc, ctx); err != nil {
			return nil, err
		}
	}
	if err := CheckID(value.Get(doc, "_id")); err != nil {
		return nil, err
	}
	doc = withID(doc, value.Get(doc, "_id"))
	if err := value.Validate(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

var emptyDoc = []byte{5, 0, 0, 0, 0}

// withID returns doc with id, if it exists, in first place.
func withID(doc []byte, id value.Value) []byte {
	if !id.Exists() {
		return doc
	}
	out, start := value.Begin(make([]byte, 0, len(doc)+len(id.Data)+5))
	out = value.AppendElement(out, []byte("_id"), id)
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if string(k) != "_id" {
			out = value.AppendElement(out, k, v)
		}
	}
	return value.End(out, start)
}

// Replace returns replacement with doc's _id in first place. A different _id in replacement
// is an ImmutableField error, a key that starts with "$" a DollarPrefixedFieldName error.
// An equal _id of another type, as 1.0 for 1, is no error: the document keeps its own.
func Replace(doc, replacement []byte) (newDoc []byte, changed bool, err error) {
	if err := value.Validate(replacement); err != nil {
		return nil, false, err
	}
	it := value.Elements(replacement)
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if len(k) > 0 && k[0] == '$' {
			return nil, false, fault.Errorf(fault.DollarPrefixed,
				"The dollar ($) prefixed field '%s' is not allowed in the context of a replacement document.", k)
		}
	}
	id := value.Get(doc, "_id")
	if own := value.Get(replacement, "_id"); own.Exists() && id.Exists() && !value.Equal(own, id) {
		return nil, false, fault.Errorf(fault.ImmutableField,
			"After applying the update, the (immutable) field '_id' was found to have been altered")
	} else if !id.Exists() {
		id = own
	}
	out := withID(replacement, id)
	if len(out) > value.MaxDocument {
		return nil, false, tooLarge()
	}
	if bytes.Equal(out, doc) {
		return doc, false, nil
	}
	return out, true, CheckID(id)
}
