package db

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// CollectionOptions is the definition of a collection.
type CollectionOptions struct {
	Schema  bson.Raw // a JSON Schema (2020-12 or draft-07), as a document; nil accepts every document
	Formats bool     // the schema's `format` is an assertion, not an annotation
	Level   string   // strict (also ""), moderate or off, as MongoDB's validationLevel
	Action  string   // error (also "") or warn, as MongoDB's validationAction
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
	c := CollectionChange{Schema: o.Schema, Level: o.Level, Action: o.Action}
	if o.Formats {
		c.Formats = &o.Formats
	}
	if o.Rules != (Rules{}) {
		c.Rules = &o.Rules
	}
	_, set, err := c.on(&definition{})
	if err != nil {
		return err
	}
	if len(set) > 0 {
		set = append(set, bson.E{Key: "version", Value: int64(1)})
	}
	list := bson.A{}
	for i := range o.Indexes {
		x := o.Indexes[i]
		if err := checkIndex(&x); err != nil {
			return err
		}
		list = append(list, indexDoc(x))
	}
	set = append(set, bson.E{Key: "indexes", Value: list})
	return db.define(ctx, name, bson.D{{Key: "$set", Value: set}})
}

func (db *DB) define(ctx context.Context, name string, upd bson.D) error {
	op := defineOp(name, upd)
	if op == nil {
		return fault.Errorf(fault.BadValue, "the definition cannot be encoded")
	}
	results, _, err := db.write(ctx, []payload.Op{*op}, each)
	if err != nil {
		return err
	}
	return results[0]
}

// definition returns a collection's definition, or ErrNotFound.
func (db *DB) definition(name string) (*definition, error) {
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	return v.definition(db, name)
}

func (v *view) definition(db *DB, name string) (*definition, error) {
	if d, ok := v.defs.Load(name); ok {
		if d, _ := d.(*definition); d != nil {
			return d, nil
		}
		return nil, ErrNotFound
	}
	d, err := v.readDefinition(db, name)
	if err == nil || errors.Is(err, ErrNotFound) {
		v.defs.Store(name, d)
	}
	return d, err
}

func (v *view) readDefinition(db *DB, name string) (*definition, error) {
	sys := v.cat.colls[systemCollection]
	if sys == nil {
		return nil, ErrNotFound
	}
	f, err := v.get(db, sys, value.AppendKey(nil, value.String(name), false))
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, ErrNotFound
	}
	return db.parse(f.doc)
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
	n, derr := db.Collection(name).Delete(seeingAll(ctx), nil, true)
	if derr != nil {
		return derr
	}
	if err != nil {
		if n > 0 {
			return nil
		}
		return err
	}
	op := defineOp(name, bson.D{})
	op.Kind, op.Upsert, op.Doc = payload.Delete, false, nil
	results, _, err := db.write(ctx, []payload.Op{*op}, each)
	if err == nil && results[0] != nil && !errors.Is(results[0], errNoMatch) {
		err = results[0]
	}
	return err
}

// Collections describes the collections that are defined or hold documents, by
// name, without system collections.
func (db *DB) Collections(ctx context.Context) ([]CollectionInfo, error) {
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	var out []CollectionInfo
	for name, c := range v.cat.colls {
		if strings.HasPrefix(name, "system.") {
			continue
		}
		d, err := v.definition(db, name)
		if errors.Is(err, ErrNotFound) {
			if v.stats[c.num].docs == 0 {
				continue
			}
			d, err = &definition{}, nil
		}
		if err != nil {
			return nil, err
		}
		i := CollectionInfo{
			Name: name, Indexes: d.indexes, Documents: v.stats[c.num].docs, Formats: d.formats, Level: levelStrict,
			Action: actionError, Version: d.version, Migrating: d.next != nil, Rules: d.rules.text,
		}
		if d.level != "" {
			i.Level = d.level
		}
		if d.warn {
			i.Action = actionWarn
		}
		if d.text != "" {
			if i.Schema, err = value.ParseJSON([]byte(d.text)); err != nil {
				return nil, err
			}
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b CollectionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
