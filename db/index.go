package db

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/fault"
)

// An Index is an index of a collection. Keys of the kind Text make it a text
// index, which only $text uses; a collection has at most one.
type Index struct {
	Name string // "" means the keys and directions, as "age_1_name_-1"
	Keys []IndexKey
	// Unique refuses a local write that gives two documents one key. Writers
	// that do not see each other may: see [DB.Conflicts].
	Unique bool
	// Sparse leaves out documents that have none of the fields.
	Sparse bool
	// Partial leaves out documents that do not match this filter; nil for none.
	// It is made of equality, $gt, $gte, $lt, $lte, $in, $type, $exists: true,
	// $and and $or.
	Partial bson.Raw
	// ExpireAfter ends documents this long, in whole seconds, after the date in
	// the one field of the index, or the earliest of several; nil for never.
	ExpireAfter *time.Duration
	// Language of a text index, as "english"; "none" takes words as they are.
	Language string

	// State is set by [Collection.Indexes], and not read.
	State IndexState
}

// An IndexKey is one field of an index: its Path, Desc for descending order, Text
// for the words of the field, and the Weight of these words, 1 to 99,999 (0 means
// 1).
type IndexKey = keyspace.IndexKey

// An IndexState says how far an index is: Building while it does not cover all
// documents, so that nothing reads it; Done of Total documents looked at; and, of a
// unique index, Conflicts: the keys that several documents have.
type IndexState = keyspace.IndexState

// CreateIndexOptions tunes CreateIndexWith.
type CreateIndexOptions struct {
	// Background returns as soon as the definition is durable, while the index
	// is being built. A unique index is waited for whatever this says.
	Background bool
}

// CreateIndex adds an index and returns its name. It returns when the index
// covers all documents; readers and writers go on meanwhile. If ctx ends first,
// the index is built all the same, unless it is unique.
//
// A unique index that the documents violate is refused with a
// [*DuplicateKeyError]; one that exists with other keys or options is an
// error of kind index_options_conflict or index_key_specs_conflict.
func (c *Collection) CreateIndex(ctx context.Context, x Index) (string, error) {
	return c.CreateIndexWith(ctx, x, CreateIndexOptions{})
}

// CreateIndexWith is CreateIndex with options.
func (c *Collection) CreateIndexWith(ctx context.Context, index Index, o CreateIndexOptions) (string, error) {
	x := keyspace.IndexDef(index)
	if err := writable(c.name); err != nil {
		return "", err
	}
	if keyspace.IsIDIndex(x) {
		return "_id_", nil
	}
	if err := keyspace.CheckIndex(&x); err != nil {
		return "", err
	}
	if there, err := c.agrees(ctx, x); err != nil {
		return "", err
	} else if there {
		if o.Background {
			return x.Name, nil
		}
		return x.Name, c.awaitIndex(ctx, x)
	}
	doc, err := bson.Marshal(keyspace.IndexDoc(x))
	if err != nil {
		return "", err
	}
	add := bson.D{{Key: "$addToSet", Value: bson.D{{Key: kindOf(&x), Value: bson.Raw(doc)}}}}
	if x.Unique {
		if op := defineOp(c.name, add); op != nil { // before all documents are read
			if err := c.db.tryOp(ctx, op); err != nil {
				return "", err
			}
		}
		return x.Name, c.db.fold.CreateUnique(ctx, c.name, x, func() (*payload.Op, error) {
			if there, err := c.agrees(ctx, x); there || err != nil {
				return nil, err
			}
			op := defineOp(c.name, add)
			if op == nil {
				return nil, fault.Errorf(fault.BadValue, "the definition cannot be encoded")
			}
			return op, nil
		})
	}
	if err := c.db.define(ctx, c.name, add); err != nil || o.Background {
		return x.Name, err
	}
	return x.Name, c.awaitIndex(ctx, x)
}

// awaitIndex waits until x covers all documents.
func (c *Collection) awaitIndex(ctx context.Context, x keyspace.IndexDef) error {
	f := c.db.fold
	return f.Await(ctx, func() (bool, error) {
		of := f.Cat.Colls[c.name]
		if of == nil {
			return false, fault.Of(keyspace.ErrNotFound, "collection %s was dropped while an index was built", c.name)
		}
		ix := keyspace.FindIndex(of.Indexes, x)
		if ix == nil {
			return false, fault.Of(keyspace.ErrNotFound, "index %s was dropped while it was built", x.Name)
		}
		return ix.Ready, nil
	})
}

// CheckIndex refuses an index that cannot be beside those that the collection has.
func (c *Collection) CheckIndex(ctx context.Context, x Index) error {
	_, err := c.agrees(ctx, keyspace.IndexDef(x))
	return err
}

// agrees reports whether the collection has x, and refuses what cannot be
// beside the indexes that it has.
func (c *Collection) agrees(ctx context.Context, x keyspace.IndexDef) (there bool, err error) {
	have, err := c.Indexes(ctx)
	if err != nil {
		return false, err
	}
	for _, h := range have {
		switch {
		case h.Name == x.Name && keyspace.SameIndex(keyspace.IndexDef(h), x):
			return true, nil
		case h.Name == x.Name:
			return false, fault.Of(keyspace.ErrIndexExists, "an index %s exists with other keys or options", x.Name)
		case h.Keys[0].Text && x.Keys[0].Text:
			return false, fault.Of(keyspace.ErrIndexOptions, "a collection has one text index, and there is %s", h.Name)
		case slices.Equal(h.Keys, x.Keys) && h.Unique == x.Unique && h.Sparse == x.Sparse && string(h.Partial) == string(x.Partial):
			return false, fault.Of(keyspace.ErrIndexOptions, "an index on the same keys exists with the name %s", h.Name)
		}
	}
	alike := 0
	for _, h := range have {
		if o := keyspace.IndexDef(h); o.Binds() == x.Binds() {
			alike++
		}
	}
	if alike >= keyspace.MaxIndexes {
		return false, fault.Errorf(fault.CannotCreateIndex, "a collection has at most %d indexes", keyspace.MaxIndexes)
	}
	return false, nil
}

// kindOf returns the field of a definition that holds an index: those in "plain" any writer
// may change.
func kindOf(x *keyspace.IndexDef) string {
	if x.Binds() {
		return "indexes"
	}
	return "plain"
}

// DropIndex removes an index, also one that is being built, or returns
// ErrNotFound. Its entries are deleted in the background.
func (c *Collection) DropIndex(ctx context.Context, name string) error {
	if err := writable(c.name); err != nil {
		return err
	}
	d, err := c.db.definition(c.name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if name == "_id_" {
		return fault.Errorf(fault.InvalidOptions, "cannot drop the index on _id")
	}
	named := func(x keyspace.IndexDef) bool { return x.Name == name }
	if d == nil || !slices.ContainsFunc(d.Indexes, named) {
		return fault.Of(keyspace.ErrNoIndex, "index not found with name [%s]", name)
	}
	// All of the name go, or another that it had hidden would take its place.
	pull := func(field string) error {
		return c.db.define(ctx, c.name, bson.D{{Key: "$pull", Value: bson.D{{Key: field, Value: bson.D{{Key: "name", Value: name}}}}}})
	}
	if slices.ContainsFunc(d.Indexes[:len(d.Indexes)-len(d.Plain)], named) {
		if err := pull("indexes"); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(d.Plain, named) {
		return pull("plain")
	}
	return nil
}

// Indexes returns the indexes, without the one on _id, and how far they are.
func (c *Collection) Indexes(ctx context.Context) ([]Index, error) {
	v, err := c.db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	d, err := v.Definition(c.name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]Index, len(d.Indexes))
	coll := v.Cat.Colls[c.name]
	for i, x := range d.Indexes {
		out[i] = Index(x)
		if coll == nil {
			continue
		}
		if ix := keyspace.FindIndex(coll.Indexes, x); ix != nil {
			out[i].State = ix.Progress(v.Stats, coll)
		}
	}
	return out, nil
}

// SetExpireAfter changes when the documents of an index expire, or lets them
// expire; the index keeps its entries. An index that cannot expire documents is
// CannotCreateIndex, an unknown one ErrNotFound.
func (c *Collection) SetExpireAfter(ctx context.Context, index string, after time.Duration) error {
	if err := writable(c.name); err != nil {
		return err
	}
	x, err := c.index(ctx, index)
	if err != nil {
		return err
	}
	was := keyspace.IndexDef(x)
	x.ExpireAfter = &after
	def := keyspace.IndexDef(x)
	if err := keyspace.CheckIndex(&def); err != nil {
		return err
	}
	if !was.Binds() {
		// That of the name among the plain ones is hidden from then on.
		return c.db.define(ctx, c.name, bson.D{{Key: "$addToSet", Value: bson.D{{Key: "indexes", Value: keyspace.IndexDoc(def)}}}})
	}
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "indexes.$[x].expire", Value: int32(after / time.Second)}}}}
	op := defineOp(c.name, set)
	only, err := bson.Marshal(bson.D{{Key: "x.name", Value: index}})
	if err != nil || op == nil {
		return errors.Join(err, fault.Errorf(fault.BadValue, "the definition cannot be encoded"))
	}
	op.Upsert, op.ArrayFilters = false, [][]byte{only}
	results, _, err := c.db.write(ctx, []payload.Op{*op}, fold.Each)
	if err != nil {
		return err
	}
	return results[0]
}

// index returns the defined index of that name.
func (c *Collection) index(ctx context.Context, name string) (Index, error) {
	xs, err := c.Indexes(ctx)
	for _, x := range xs {
		if x.Name == name {
			return x, nil
		}
	}
	if err == nil {
		err = fault.Of(keyspace.ErrNoIndex, "cannot find index %s", name)
	}
	return Index{}, err
}
