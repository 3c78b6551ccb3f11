package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// A migration, from one schema to the next (docs/adr/0005 says why in this way):
//
//	1 check      every document, rewritten in memory by the steps, under the new schema
//	2 begin      the definition gets next: {id, steps, schema …}; a document fits if it
//	             fits either
//	3 rewrite    ordinary updates, in batches, whose filters do not match what they made
//	4 end        the definition takes the new schema over and keeps the steps, if next still
//	             has the same id
//
// Whoever is interrupted at 3 begins it again, from the first document; what is rewritten
// already does not match. Two devices that migrate at once write the same.

// A CollectionChange says what ModifyCollection changes; the zero value changes
// nothing.
type CollectionChange struct {
	Schema  bson.Raw // nil keeps it, an empty document removes it
	Formats *bool    // the schema's `format` is an assertion; nil keeps it
	Level   string   // strict, moderate or off, as MongoDB's validationLevel; "" keeps it
	Action  string   // error or warn, as MongoDB's validationAction; "" keeps it
	Rules   *Rules   // nil keeps them

	// Migrate are the steps that make the documents fit: {rename: {from, to}},
	// {default: {path, value}}, {drop: {path}}, {transform: {path, to}} and
	// {transform: {where, update}}.
	Migrate []bson.Raw

	DryRun bool // only report
	Force  bool // change the collection although documents do not fit
	List   int  // misfits that are listed; 0 means 20
}

// A Report says how a collection's documents fare under a schema.
type Report struct {
	Version   int64 // of the definition, after the change
	Documents int64 // looked at
	Changed   int64 // documents that the steps change
	Misfits   int64 // documents that do not fit, after the steps
	First     []Misfit
}

// A Misfit is a document that does not fit.
type Misfit struct {
	ID     bson.RawValue
	Reason string
}

// A MisfitError reports that documents do not fit what a collection was to
// become; nothing was changed. It matches ErrSchema.
type MisfitError struct{ Report Report }

// Error says how many documents do not fit, and why the first does not.
func (e *MisfitError) Error() string {
	s := fmt.Sprintf("%d of %d documents do not fit", e.Report.Misfits, e.Report.Documents)
	if len(e.Report.First) > 0 {
		f := e.Report.First[0]
		s += fmt.Sprintf("; _id %s: %s", value.AppendJSONValue(nil, value.Of(f.ID), false), f.Reason)
	}
	return s
}

// Unwrap returns ErrSchema.
func (e *MisfitError) Unwrap() error { return ErrSchema }

// defaultList is how many misfits a report lists if nothing else is asked for.
const defaultList = 20

// ModifyCollection changes a collection's schema and rules. Documents that it
// holds are checked first: if some would not fit, and Force is not set, it
// changes nothing and returns a *[MisfitError]. With steps to migrate, documents
// of either shape are accepted until all are rewritten; what ends it early is
// continued by the same call, or by [Collection.Migrate].
func (db *DB) ModifyCollection(ctx context.Context, name string, c CollectionChange) (Report, error) {
	if err := writable(name); err != nil {
		return Report{}, err
	}
	d, err := db.definition(name)
	if err != nil {
		return Report{}, err
	}
	next, set, err := c.on(d)
	if err != nil {
		return Report{}, err
	}
	text, err := judge.MigrationText(c.Migrate)
	if err != nil {
		return Report{}, err
	}
	steps, err := judge.ParseMigration(text)
	if err != nil {
		return Report{}, err
	}
	fit := next.Validator
	// The same call again continues; it must not begin another, whose id would keep the
	// first from ending.
	if len(steps) > 0 && d.Next != nil && d.Next.Text == text && judge.SameValidator(&d.Next.Validator, &fit) && !c.DryRun {
		return db.Collection(name).Migrate(ctx) // it was begun
	}
	r := Report{Version: d.Version}
	if c.refits() {
		if r, err = db.check(ctx, name, d.Version, steps, &fit, c.List); err != nil {
			return r, err
		}
	}
	switch {
	case c.DryRun:
		return r, nil
	case r.Misfits > 0 && !c.Force && fit.Level != judge.LevelOff && !fit.Warn:
		return r, &MisfitError{r}
	case len(steps) == 0:
		unset := bson.D{}
		if c.refits() && fit.Schema == nil && d.Text != "" {
			unset = append(unset, bson.E{Key: "schema", Value: ""})
		}
		if c.refits() && d.Next != nil {
			unset = append(unset, bson.E{Key: "next", Value: ""}) // the later change holds
		}
		if len(set) == 0 && len(unset) == 0 {
			return r, nil
		}
		if err := db.redefine(ctx, name, nil, bson.D{
			{Key: "$set", Value: set},
			{Key: "$unset", Value: unset},
			{Key: "$inc", Value: bson.D{{Key: "version", Value: int64(1)}}},
		}); err != nil {
			return r, err
		}
		r.Version++
		return r, nil
	}
	pend := bson.D{{Key: "id", Value: ulid.Make().String()}, {Key: "steps", Value: text}}
	pend = append(pend, fit.Fields()...)
	upd := bson.D{{Key: "$set", Value: bson.D{{Key: "next", Value: pend}}}}
	if c.Rules != nil {
		upd = bson.D{{Key: "$set", Value: bson.D{{Key: "next", Value: pend}, {Key: "rules", Value: judge.RulesDoc(judge.RuleTexts(*c.Rules))}}}}
	}
	if err := db.redefine(ctx, name, nil, upd); err != nil {
		return r, err
	}
	return db.Collection(name).Migrate(ctx)
}

// refits reports whether the change may make documents misfits.
func (c *CollectionChange) refits() bool {
	return c.Schema != nil || c.Formats != nil || c.Level != "" || c.Action != "" || len(c.Migrate) > 0
}

// on returns the definition that d becomes, and the fields that it sets.
func (c *CollectionChange) on(d *judge.Definition) (next judge.Definition, set bson.D, err error) {
	next = *d
	v := &next.Validator
	if c.Schema != nil {
		v.Text = ""
		if len(c.Schema) > 5 {
			if err := value.Validate(c.Schema); err != nil {
				return next, nil, err
			}
			v.Text = string(value.AppendJSON(nil, c.Schema, false))
		}
		v.Schema = nil
	}
	if c.Formats != nil {
		v.Formats = *c.Formats
	}
	if c.Level != "" {
		v.Level = c.Level
		if err := judge.OneOf("validationLevel", c.Level, judge.LevelStrict, judge.LevelModerate, judge.LevelOff); err != nil {
			return next, nil, err
		}
	}
	if c.Action != "" {
		v.Warn = c.Action == judge.ActionWarn
		if err := judge.OneOf("validationAction", c.Action, judge.ActionError, judge.ActionWarn); err != nil {
			return next, nil, err
		}
	}
	if err := v.Compile(); err != nil {
		return next, nil, err
	}
	if c.Schema != nil && v.Schema != nil && !v.Schema.AllowsField("_id") {
		return next, nil, fault.Errorf(fault.BadValue, "no document fits the schema: every document has an _id, and additionalProperties is false: add \"_id\": {} to its properties")
	}
	if c.refits() {
		set = v.Fields()
	}
	if c.Rules != nil {
		next.Rules = judge.CompiledRules{Text: judge.RuleTexts(*c.Rules)}
		if err := next.Rules.Compile(); err != nil {
			return next, nil, err
		}
		set = append(set, bson.E{Key: "rules", Value: judge.RulesDoc(judge.RuleTexts(*c.Rules))})
	}
	return next, set, nil
}

// redefine updates a definition that exists; where, unless nil, must match it, too.
func (db *DB) redefine(ctx context.Context, name string, where bson.D, upd bson.D) error {
	doc := bson.D{}
	for _, e := range upd { // an operator without fields is none
		if f, ok := e.Value.(bson.D); ok && len(f) > 0 {
			doc = append(doc, e)
		}
	}
	op := defineOp(name, doc)
	filter, err := bson.Marshal(append(bson.D{{Key: "_id", Value: name}}, where...))
	if err != nil || op == nil {
		return fault.Errorf(fault.BadValue, "the definition cannot be encoded")
	}
	// What is asked of no state comes whatever becomes of the definition before it: who may
	// begin a collection with nothing in it may end it, too.
	op.Filter, op.Upsert = filter, where == nil
	results, _, err := db.write(ctx, []payload.Op{*op}, fold.Each)
	if err != nil {
		return err
	}
	if errors.Is(results[0], judge.ErrNoMatch) {
		return fault.Of(ErrConflict, "the definition of %s was changed meanwhile", name)
	}
	return results[0]
}

// check says how the documents of a collection, rewritten by steps, fit v.
func (db *DB) check(ctx context.Context, name string, version int64, steps []judge.MigrationStep, v *judge.Validator, list int) (Report, error) {
	r := Report{Version: version}
	err := db.eachDocument(ctx, name, func(id bson.RawValue, _ []byte, doc bson.Raw) error {
		r.Documents++
		rs, after, err := judge.Rewrites(steps, doc)
		if err == nil {
			err = v.Fits(after)
		}
		if len(rs) > 0 {
			r.Changed++
		}
		r.add(id, err, list)
		return nil
	})
	return r, err
}

// add notes how one document fared: err says why it does not fit.
func (r *Report) add(id bson.RawValue, err error, list int) {
	if err == nil {
		return
	}
	if list <= 0 {
		list = defaultList
	}
	if r.Misfits++; len(r.First) < list {
		r.First = append(r.First, Misfit{id, err.Error()})
	}
}

// eachDocument calls f for every document of one moment, whoever may read it.
func (db *DB) eachDocument(ctx context.Context, name string, f func(id bson.RawValue, key []byte, doc bson.Raw) error) error {
	cur, err := db.find(view.SeeingAll(ctx), name, search.Options{})
	if err != nil {
		return err
	}
	defer cur.Close()
	for cur.Next() {
		d := cur.Found()
		if err := f(payload.DocID(d.Doc).Raw(), d.IDKey, d.Doc); err != nil {
			return err
		}
	}
	return cur.Err()
}

// Verify says which documents do not fit the schema in force: those that were
// there before it, or came while it was not enforced. It lists the first list
// of them; 0 means 20.
func (c *Collection) Verify(ctx context.Context, list int) (Report, error) {
	d, err := c.db.definition(c.name)
	if errors.Is(err, ErrNotFound) {
		d, err = &judge.Definition{}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return c.db.check(ctx, c.name, d.Version, nil, &d.Validator, list)
}

// Migrate continues a migration that was begun, and puts its schema in force.
// Without one, it brings stragglers: documents that do not fit the schema get
// the steps of the last migrations that make them fit. It may be repeated.
func (c *Collection) Migrate(ctx context.Context) (Report, error) {
	d, err := c.db.definition(c.name)
	if err != nil {
		return Report{}, err
	}
	p := d.Next
	if p == nil {
		return c.db.rewriteAll(ctx, c.name, d.Version, &d.Validator, d.CatchUp)
	}
	r, err := c.db.rewriteAll(ctx, c.name, d.Version, &p.Validator, func(doc bson.Raw) ([]judge.Rewrite, bson.Raw, error) {
		return judge.Rewrites(p.Steps, doc)
	})
	if err != nil {
		return r, err
	}
	done := bson.D{{Key: "version", Value: d.Version + 1}, {Key: "steps", Value: p.Text}}
	unset := bson.D{{Key: "next", Value: ""}}
	if p.Validator.Text == "" {
		unset = append(unset, bson.E{Key: "schema", Value: ""})
	}
	push := bson.D{{Key: "$each", Value: bson.A{done}}, {Key: "$slice", Value: int32(-judge.MaxMigrations)}}
	err = c.db.redefine(ctx, c.name, bson.D{{Key: "next.id", Value: p.ID}}, bson.D{
		{Key: "$set", Value: p.Fields()},
		{Key: "$unset", Value: unset},
		{Key: "$inc", Value: bson.D{{Key: "version", Value: int64(1)}}},
		{Key: "$push", Value: bson.D{{Key: "steps", Value: push}}},
	})
	if err == nil {
		r.Version++
	}
	return r, err
}

// The bounds of one batch of rewrites.
const (
	batchOps   = 512
	batchBytes = 512 << 10
)

// rewriteAll writes the rewrites of every document, in batches, each of which
// is durable when the next begins.
func (db *DB) rewriteAll(ctx context.Context, name string, version int64, v *judge.Validator, of func(bson.Raw) ([]judge.Rewrite, bson.Raw, error)) (Report, error) {
	r := Report{Version: version}
	var ops []payload.Op
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		results, _, err := db.write(ctx, ops, fold.Each)
		for i, e := range results {
			// One that does not match any more was changed by another writer.
			if err == nil && e != nil && !errors.Is(e, judge.ErrNoMatch) {
				r.add(ops[i].ID.Raw(), e, 0)
			}
		}
		ops, size = nil, 0
		return err
	}
	err := db.eachDocument(ctx, name, func(id bson.RawValue, key []byte, doc bson.Raw) error {
		r.Documents++
		rs, after, err := of(doc)
		if err == nil {
			err = v.Fits(after)
		}
		r.add(id, err, 0)
		if len(rs) > 0 {
			r.Changed++
		}
		for _, x := range rs {
			op := payload.Op{Kind: payload.Update, Coll: name, ID: payload.DocID(doc), Key: key, Filter: x.Filter, Doc: x.Update}
			ops, size = append(ops, op), size+op.Size()
		}
		if len(ops) >= batchOps || size >= batchBytes {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return r, err
}
