package db

import (
	"bytes"
	"fmt"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A code is a Reason as it is stored and hashed; 0 is an accepted operation.
type code byte

const (
	codeOK code = iota
	codeMalformed
	codeDuplicate
	codeNoMatch
	codeSchema
	codeUpdate
	codeReserved
	codeDefinition
	codeAtomic
	codeTooLarge
	codeRule
)

var reasons = [...]Reason{
	"", ReasonMalformed, ReasonDuplicate, ReasonNoMatch, ReasonSchema, ReasonUpdate, ReasonReserved,
	ReasonDefinition, ReasonAtomic, ReasonTooLarge, ReasonRule,
}

func (c code) reason() Reason {
	if int(c) < len(reasons) {
		return reasons[c]
	}
	return Reason(fmt.Sprintf("code_%d", c))
}

// A verdict is the outcome of one operation at its place.
type verdict struct {
	next state
	code code
	err  error // why, if refused
}

var (
	errNoMatch   = fault.New(fault.NoMatch, "no document matches the filter")
	errDuplicate = fault.New(fault.DuplicateKey, "a document with this _id exists")
	errReserved  = fault.New(fault.Reserved, "_mod is the time of the last change and cannot be set")
	errAtomic    = fault.New(fault.Atomic, "another operation of the atomic transaction was refused")
	errDocSize   = fault.Errorf(fault.TooLarge, "the document is larger than %d bytes", value.MaxDocument)
)

func duplicateID(o *payload.Op) error {
	return fault.Of(errDuplicate, `E11000 duplicate key error collection: %s index: _id_ dup key: {"_id":%s}`,
		o.Coll, value.AppendJSONValue(nil, o.ID, false))
}

// A judge judges operations; it keeps what it compiled last, because many
// operations share a body. It belongs to one goroutine.
type judge struct {
	filterSrc, updateSrc []byte
	arraySrc             [][]byte
	filter               *query.Filter
	update               *update.Update
}

func sameSlice(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

func (j *judge) compile(o *payload.Op) (err error) {
	if !sameSlice(o.Filter, j.filterSrc) {
		j.filterSrc = nil
		if j.filter, err = query.Compile(o.Filter); err != nil {
			return err
		}
		j.filterSrc = o.Filter
	}
	if o.Kind != payload.Update || sameSlice(o.Doc, j.updateSrc) && len(o.ArrayFilters) == 0 && len(j.arraySrc) == 0 {
		return nil
	}
	j.updateSrc = nil
	if j.update, err = update.Compile(o.Doc, raws(o.ArrayFilters)); err != nil {
		return err
	}
	j.updateSrc, j.arraySrc = o.Doc, o.ArrayFilters
	return nil
}

// decide gives the outcome of o on cur, as by writes it, with def in force.
func (j *judge) decide(o *payload.Op, cur state, by author, def *definition) verdict {
	v := j.judge(o, cur, by.time, def)
	if v.code != codeOK || o.Kind == payload.State || v.next.dead == cur.dead && sameSlice(v.next.doc, cur.doc) {
		return v
	}
	if err := def.allows(o, cur.doc, v.next.doc, by); err != nil {
		return verdict{next: cur, code: codeRule, err: err}
	}
	return v
}

// judge is decide without rules: it applies again what was accepted.
func (j *judge) judge(o *payload.Op, cur state, t clock.Time, def *definition) verdict {
	if o.Kind == payload.State {
		return takeState(o, cur)
	}
	v := j.apply(o, cur, t)
	if v.code != codeOK || v.next.doc == nil || sameSlice(v.next.doc, cur.doc) {
		return v
	}
	next := v.next.doc
	refuse := func(c code, err error) verdict { return verdict{next: cur, code: c, err: err} }
	if len(next) > value.MaxDocument {
		return refuse(codeTooLarge, errDocSize)
	}
	if value.Get(next, "_mod").Exists() {
		return refuse(codeReserved, errReserved)
	}
	if o.Coll == systemCollection {
		if _, err := parseDefinition(next); err != nil {
			return refuse(codeDefinition, err)
		}
		return v
	}
	if err := def.validate(cur.doc, next); err != nil {
		return refuse(codeSchema, fault.Of(ErrSchema, "the document does not fit the schema: %w", err))
	}
	return v
}

func (j *judge) apply(o *payload.Op, cur state, t clock.Time) verdict {
	refuse := func(c code, err error) verdict { return verdict{next: cur, code: c, err: err} }
	if o.Kind == payload.Insert {
		if cur.doc != nil {
			return refuse(codeDuplicate, duplicateID(o))
		}
		return verdict{next: state{doc: o.Doc, mod: t}}
	}
	if err := j.compile(o); err != nil {
		return refuse(codeUpdate, err)
	}
	found := false
	filter := j.filter.At(t.Wall())
	if cur.doc != nil {
		var err error
		if found, err = filter.Test(visible(cur, o.Filter)); err != nil {
			return refuse(codeUpdate, err)
		}
	}
	if !found {
		if !o.Upsert {
			return refuse(codeNoMatch, errNoMatch)
		}
		if cur.doc != nil {
			return refuse(codeDuplicate, duplicateID(o))
		}
		doc, err := j.upsert(o, t)
		if err != nil {
			return refuse(codeUpdate, err)
		}
		return verdict{next: state{doc: doc, mod: t}}
	}
	if o.Kind == payload.Delete {
		return verdict{next: state{mod: t, dead: true}}
	}
	var doc []byte
	var changed bool
	var err error
	if o.Kind == payload.Replace {
		doc, changed, err = update.Replace(cur.doc, o.Doc)
	} else {
		doc, changed, err = j.update.Apply(cur.doc, update.Context{Now: t.Wall(), Filter: filter})
	}
	if err != nil {
		return refuse(codeUpdate, err)
	}
	if !changed {
		return verdict{next: cur}
	}
	return verdict{next: state{doc: doc, mod: t}}
}

// upsert builds the document that o inserts, with o's _id first.
func (j *judge) upsert(o *payload.Op, t clock.Time) ([]byte, error) {
	doc := o.Doc
	if o.Kind == payload.Update {
		var err error
		doc, err = j.update.Upsert(j.filter, update.Context{Now: t.Wall(), Insert: true, Filter: j.filter})
		if err != nil {
			return nil, err
		}
	}
	return withID(doc, o.ID)
}

// withID returns doc with id as its _id, first. Another _id is an error.
func withID(doc []byte, id value.Value) ([]byte, error) {
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

// visible returns the document as spec (a filter, sort or projection) sees it:
// with _mod if spec may read it.
func visible(s state, spec []byte) []byte {
	if !bytes.Contains(spec, []byte("_mod\x00")) && !bytes.Contains(spec, []byte("$_mod")) {
		return s.doc
	}
	return withMod(s)
}

func withMod(s state) []byte {
	out := append(make([]byte, 0, len(s.doc)+14), s.doc[:len(s.doc)-1]...)
	out = value.AppendElement(out, []byte("_mod"), value.DateTime(s.mod.Wall().UnixMilli()))
	return value.End(out, 0)
}
