// Package judge says what an operation does to a document: operation, state and
// definition give a verdict. It is pure: it reads no store, no clock and no
// configuration, so every replica comes to the same verdict.
//
//	Judge.Decide(op, state, author, definition) ─► Verdict{Next, Code, Err}
//
//	insert {_id: 1}             on nothing        ok, {_id: 1}
//	insert {_id: 1}             on {_id: 1}       duplicate
//	update {n: 1} $inc n        on {_id: 1}       no_match
//	update {} $set a "x"        a must be an int  schema
//
// Everything that it depends on is in its arguments: the time is the operation's, the
// writer and the role are the log's. What a later version decides in another way, it
// must decide in the old way for old records.
//
// A definition is a document of the system collection: a schema, rules, indexes and
// the steps of migrations.
package judge

import (
	"bytes"
	"fmt"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Verdict is the outcome of one operation at its place.
type Verdict struct {
	Next keyspace.State // the state after it; the one before, if it is refused
	Code keyspace.Code  // CodeOK, or the reason
	Err  error          // why, if refused
}

var (
	// ErrNoMatch reports that the filter of an operation does not match its document.
	ErrNoMatch = fault.New(fault.NoMatch, "no document matches the filter")
	// ErrDuplicate reports an insert whose _id is taken.
	ErrDuplicate = fault.New(fault.DuplicateKey, "a document with this _id exists")
	// ErrReserved reports an operation that sets _mod.
	ErrReserved = fault.New(fault.Reserved, "_mod is the time of the last change and cannot be set")
	// ErrAtomic reports an operation whose atomic record was refused for another.
	ErrAtomic = fault.New(fault.Atomic, "another operation of the atomic transaction was refused")
	// ErrDocSize reports an operation whose document would be too large.
	ErrDocSize = fault.Of(keyspace.ErrTooLarge, "the document is larger than %d bytes", value.MaxDocument)
)

// A duplicateID is ErrDuplicate of one operation. Its sentence is made when somebody
// reads it: nobody does of most that a bulk insert or a re-fold judges.
type duplicateID struct {
	coll string
	id   value.Value
}

func duplicateOf(o *payload.Op) error {
	return &duplicateID{o.Coll, value.Value{Type: o.ID.Type, Data: bytes.Clone(o.ID.Data)}}
}

func (e *duplicateID) Error() string {
	return fmt.Sprintf(`E11000 duplicate key error collection: %s index: _id_ dup key: {"_id":%s}`,
		e.coll, value.AppendJSONValue(nil, e.id, false))
}

// Kind returns that of ErrDuplicate.
func (e *duplicateID) Kind() fault.Kind { return fault.DuplicateKey }

func (e *duplicateID) Unwrap() error { return ErrDuplicate }

// A Judge judges operations; it keeps what it compiled last, because many
// operations of a record share a filter and an update, by the same bytes. It belongs to one
// goroutine.
type Judge struct {
	filterSrc, updateSrc []byte
	arraySrc             [][]byte
	filter               *query.Filter
	update               *update.Update
	Judged               int64 // operations so far
	meter                value.Meter
	Work                 int // of the last that was decided, see MaxWork
}

// compile compiles the filter and the update of o, unless they are those of the operation
// before: the same memory, since equal bodies of a record are decoded once.
func (j *Judge) compile(o *payload.Op) (err error) {
	if !keyspace.SameSlice(o.Filter, j.filterSrc) {
		j.filterSrc = nil
		if j.filter, err = query.Compile(o.Filter); err != nil {
			return err
		}
		j.filterSrc = o.Filter
	}
	if o.Kind != payload.Update || keyspace.SameSlice(o.Doc, j.updateSrc) && len(o.ArrayFilters) == 0 && len(j.arraySrc) == 0 {
		return nil
	}
	j.updateSrc = nil
	if j.update, err = update.Compile(o.Doc, value.Raws(o.ArrayFilters)); err != nil {
		return err
	}
	j.updateSrc, j.arraySrc = o.Doc, o.ArrayFilters
	return nil
}

// Judge is Decide without rules and bounds: it applies again what was accepted. With no
// definition it gives what an accepted operation gave, whatever is in force now.
func (j *Judge) Judge(o *payload.Op, cur keyspace.State, t clock.Time, def *Definition) Verdict {
	return j.judge(o, cur, t, def, nil)
}

func (j *Judge) judge(o *payload.Op, cur keyspace.State, t clock.Time, def *Definition, m *value.Meter) Verdict {
	j.Judged++
	if o.Kind == payload.State {
		return takeState(o, cur)
	}
	v := j.apply(o, cur, t, m)
	if v.Code != keyspace.CodeOK || v.Next.Doc == nil || keyspace.SameSlice(v.Next.Doc, cur.Doc) {
		return v
	}
	next := v.Next.Doc
	refuse := func(c keyspace.Code, err error) Verdict { return Verdict{Next: cur, Code: c, Err: err} }
	if len(next) > value.MaxDocument {
		return refuse(keyspace.CodeTooLarge, ErrDocSize)
	}
	if value.Get(next, "_mod").Exists() {
		return refuse(keyspace.CodeReserved, ErrReserved)
	}
	// Definitions have no schema, but must be ones: a replica that could not read what is
	// in force could judge nothing.
	if o.Coll == SystemCollection {
		if !m.Spend(workDefinition + workDefByte*len(next)) {
			return refuse(keyspace.CodeTooCostly, ErrWork)
		}
		if _, err := ParseDefinition(next); err != nil {
			return refuse(keyspace.CodeDefinition, err)
		}
		return v
	}
	if err := def.validate(cur.Doc, next, m); err != nil {
		return refuse(keyspace.CodeSchema, fault.Of(keyspace.ErrSchema, "the document does not fit the schema: %w", err))
	}
	return v
}

// apply gives the outcome of o on cur by the document alone: filter, update, _id. A
// Next that shares cur's memory says that nothing changed.
func (j *Judge) apply(o *payload.Op, cur keyspace.State, t clock.Time, m *value.Meter) Verdict {
	refuse := func(c keyspace.Code, err error) Verdict { return Verdict{Next: cur, Code: c, Err: err} }
	if o.Kind == payload.Insert {
		if cur.Doc != nil {
			return refuse(keyspace.CodeDuplicate, duplicateOf(o))
		}
		return Verdict{Next: keyspace.State{Doc: o.Doc, Mod: t}}
	}
	if !m.Spend(workOp + len(cur.Doc)) {
		return refuse(keyspace.CodeTooCostly, ErrWork)
	}
	if err := j.compile(o); err != nil {
		return refuse(keyspace.CodeUpdate, err)
	}
	found := false
	filter := j.filter.At(t.Wall()) // $$NOW is the operation's time, on every replica
	if cur.Doc != nil {
		var err error
		if found, err = filter.TestWithin(keyspace.Visible(cur, filter.Tree().Names("_mod")), m); err != nil {
			return refuse(keyspace.CodeUpdate, err)
		}
	}
	// The upsert of a document that is there and does not match must not replace it.
	if !found {
		if !o.Upsert {
			return refuse(keyspace.CodeNoMatch, ErrNoMatch)
		}
		if cur.Doc != nil {
			return refuse(keyspace.CodeDuplicate, duplicateOf(o))
		}
		doc, err := j.upsert(o, t, m)
		if err != nil {
			return refuse(keyspace.CodeUpdate, err)
		}
		return Verdict{Next: keyspace.State{Doc: doc, Mod: t}}
	}
	if o.Kind == payload.Delete {
		return Verdict{Next: keyspace.State{Mod: t, Dead: true}}
	}
	var doc []byte
	var changed bool
	var err error
	if o.Kind == payload.Replace {
		doc, changed, err = update.Replace(cur.Doc, o.Doc)
	} else {
		doc, changed, err = j.update.Apply(cur.Doc, update.Context{Now: t.Wall(), Filter: filter, Meter: m})
	}
	if err != nil {
		return refuse(keyspace.CodeUpdate, err)
	}
	if !changed {
		return Verdict{Next: cur}
	}
	return Verdict{Next: keyspace.State{Doc: doc, Mod: t}}
}

// upsert builds the document that o inserts, with o's _id first.
func (j *Judge) upsert(o *payload.Op, t clock.Time, m *value.Meter) ([]byte, error) {
	doc := o.Doc
	if o.Kind == payload.Update {
		var err error
		doc, err = j.update.Upsert(j.filter, update.Context{Now: t.Wall(), Insert: true, Filter: j.filter, Meter: m})
		if err != nil {
			return nil, err
		}
	}
	return WithID(doc, o.ID)
}

// WithID returns doc with id as its _id, first. Another _id is an error.
func WithID(doc []byte, id value.Value) ([]byte, error) {
	if old := value.Get(doc, "_id"); old.Exists() {
		if !value.Equal(old, id) {
			return nil, fault.Errorf(fault.ImmutableField, "the _id cannot be changed")
		}
		id = old
	}
	out, at := value.Begin(make([]byte, 0, len(doc)+len(id.Data)+8))
	out = value.AppendElement(out, []byte("_id"), id)
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if string(k) != "_id" {
			out = value.AppendElement(out, k, v)
		}
	}
	return value.End(out, at), nil
}

// takeState makes the document of a snapshot the state, whatever it was.
func takeState(o *payload.Op, cur keyspace.State) Verdict {
	if o.Coll == SystemCollection {
		if _, err := ParseDefinition(o.Doc); err != nil {
			return Verdict{Next: cur, Code: keyspace.CodeDefinition, Err: err}
		}
	}
	return Verdict{Next: keyspace.State{Doc: o.Doc, Mod: clock.Time(o.Mod)}}
}

// ReadRule returns the text of a definition's read rule, "" for none.
func ReadRule(doc []byte) string {
	if doc == nil {
		return ""
	}
	rules := value.Get(doc, "rules")
	if !rules.IsDoc() {
		return ""
	}
	return string(value.Get(rules.Data, "read").Str())
}
