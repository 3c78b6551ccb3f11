package db

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// Rules are expressions of the Common Expression Language (CEL) that say who
// may do what to a collection. "" allows everything. The variables, and what an
// expression may be: docs/design/rules.md.
type Rules struct {
	// Write is judged for every operation on a document, by every replica at
	// the operation's place: what it denies is refused.
	Write string
	// Read says which documents a reader is shown. It keeps an honest node's
	// answers short and is no secret: every member holds the data. What some
	// members must not read belongs in a database of its own.
	Read string
	// Define is judged for changes of the collection's definition, its rules
	// included; doc and old are documents of system.collections.
	Define string
}

// WithReader returns a context whose calls read with the eyes of an identity, a
// did:key, and its role; read rules judge by them.
func WithReader(ctx context.Context, identity, role string) context.Context {
	return view.WithReader(ctx, identity, role)
}

// CollectionOptions is the definition of a collection.
type CollectionOptions struct {
	Schema  any    // a JSON Schema (2020-12 or draft-07), as a document; nil accepts every document
	Formats bool   // the schema's `format` is an assertion, not an annotation
	Level   string // strict (also ""), moderate or off, as MongoDB's validationLevel
	Action  string // error (also "") or warn, as MongoDB's validationAction
	Rules   Rules
	Indexes []Index
}

// A CollectionInfo describes a collection.
type CollectionInfo struct {
	Name      string
	Schema    bson.Raw // nil if it has none
	Formats   bool
	Level     string // strict, moderate or off
	Action    string // error or warn
	Version   int64  // of schema and rules: it rises with each change
	Migrating bool   // a migration was begun and is not complete: see Migrate
	Rules     Rules
	Indexes   []Index
	Documents int64
}

// CreateCollection defines a collection, or returns ErrExists. If two devices
// define one at the same time, the later definition holds.
func (db *DB) CreateCollection(ctx context.Context, name string, o CollectionOptions) error {
	if err := writable(name); err != nil {
		return err
	}
	if _, err := db.definition(name); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = fault.Of(ErrExists, "collection %s already exists", name)
		}
		return err
	}
	schema, err := encoded("schema", o.Schema)
	if err != nil {
		return err
	}
	c := CollectionChange{Schema: schema, Level: o.Level, Action: o.Action}
	if o.Formats {
		c.Formats = &o.Formats
	}
	if o.Rules != (Rules{}) {
		c.Rules = &o.Rules
	}
	_, set, err := c.on(&judge.Definition{})
	if err != nil {
		return err
	}
	if len(set) > 0 {
		set = append(set, bson.E{Key: "version", Value: int64(1)})
	}
	kinds := map[string]bson.A{"plain": {}}
	for i := range o.Indexes {
		x := keyspace.IndexDef(o.Indexes[i])
		if err := keyspace.CheckIndex(&x); err != nil {
			return err
		}
		kinds[kindOf(&x)] = append(kinds[kindOf(&x)], keyspace.IndexDoc(x))
	}
	if len(kinds["indexes"]) > 0 {
		set = append(set, bson.E{Key: "indexes", Value: kinds["indexes"]})
	}
	if len(set) > 0 {
		err = db.define(ctx, name, bson.D{{Key: "$set", Value: set}})
	}
	if err == nil && (len(set) == 0 || len(kinds["plain"]) > 0) {
		err = db.define(ctx, name, bson.D{{Key: "$addToSet", Value: bson.D{{Key: "plain", Value: bson.D{{Key: "$each", Value: kinds["plain"]}}}}}})
	}
	return err
}

// define writes a definition.
func (db *DB) define(ctx context.Context, name string, upd bson.D) error {
	op := defineOp(name, upd)
	if op == nil {
		return fault.Errorf(fault.BadValue, "the definition cannot be encoded")
	}
	results, _, err := db.write(ctx, []payload.Op{*op}, fold.Each)
	if err != nil {
		return err
	}
	return results[0]
}

// tryOp judges an operation on a definition as it is now, without writing it. One that does
// not match is no failure.
func (db *DB) tryOp(ctx context.Context, op *payload.Op) error {
	tx, err := db.Begin(ctx, TxOptions{})
	if err != nil {
		return err
	}
	defer tx.Abort()
	if _, err = tx.apply(*op); errors.Is(err, judge.ErrNoMatch) {
		return nil
	}
	return err
}

// definition returns a collection's definition, or ErrNotFound.
func (db *DB) definition(name string) (*judge.Definition, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	d, err := v.Definition(name)
	if errors.Is(err, ErrNotFound) {
		err = fault.Of(ErrNotFound, "collection %s does not exist", name)
	}
	return d, err
}

// Defined reports whether the collection has a definition.
func (c *Collection) Defined(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	_, err := c.db.definition(c.name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// DropCollection deletes the documents of a collection that this replica
// holds, and its definition. What another device inserts meanwhile stays.
func (db *DB) DropCollection(ctx context.Context, name string) error {
	if err := writable(name); err != nil {
		return err
	}
	_, err := db.definition(name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	op := defineOp(name, bson.D{})
	op.Kind, op.Upsert, op.Doc = payload.Delete, false, nil
	if err == nil { // or who may not would find the documents gone and the collection there
		if err := db.tryOp(ctx, op); err != nil {
			return err
		}
	}
	n, derr := db.Collection(name).Delete(view.SeeingAll(ctx), nil, true)
	if derr != nil {
		return derr
	}
	if err != nil {
		if n > 0 {
			return nil
		}
		return err
	}
	results, _, err := db.write(ctx, []payload.Op{*op}, fold.Each)
	if err == nil && results[0] != nil && !errors.Is(results[0], judge.ErrNoMatch) {
		err = results[0]
	}
	return err
}

// Collections describes the collections that are defined or hold documents, by
// name, without system collections.
func (db *DB) Collections(ctx context.Context) ([]CollectionInfo, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	var out []CollectionInfo
	for name, c := range v.Cat.Colls {
		if strings.HasPrefix(name, "system.") {
			continue
		}
		d, err := v.Definition(name)
		if errors.Is(err, ErrNotFound) {
			if v.Stats[c.Num].Docs == 0 {
				continue
			}
			d, err = &judge.Definition{}, nil
		}
		if err != nil {
			return nil, err
		}
		i := CollectionInfo{
			Name: name, Indexes: make([]Index, len(d.Indexes)), Documents: v.Stats[c.Num].Docs, Formats: d.Formats, Level: judge.LevelStrict,
			Action: judge.ActionError, Version: d.Version, Migrating: d.Next != nil, Rules: Rules(d.Rules.Text),
		}
		for k, x := range d.Indexes {
			i.Indexes[k] = Index(x)
		}
		if d.Level != "" {
			i.Level = d.Level
		}
		if d.Warn {
			i.Action = judge.ActionWarn
		}
		if d.Text != "" {
			if i.Schema, err = value.ParseJSON([]byte(d.Text)); err != nil {
				return nil, err
			}
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b CollectionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
