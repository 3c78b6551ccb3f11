package db

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

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

// An IndexKey is one field of an index.
type IndexKey struct {
	Path   string
	Desc   bool
	Text   bool // the words of the field
	Weight int  // of the words of this field, 1 to 99,999; 0 means 1
}

// An IndexState says how far an index is.
type IndexState struct {
	Building    bool  // it does not cover all documents yet, so nothing reads it
	Done, Total int64 // documents looked at, and documents of the collection
	Conflicts   int64 // keys of a unique index with several documents
}

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
func (c *Collection) CreateIndexWith(ctx context.Context, x Index, o CreateIndexOptions) (string, error) {
	if err := writable(c.name); err != nil {
		return "", err
	}
	if isIDIndex(x) {
		return "_id_", nil
	}
	if err := checkIndex(&x); err != nil {
		return "", err
	}
	if there, err := c.agrees(ctx, x); err != nil {
		return "", err
	} else if there {
		if o.Background {
			return x.Name, nil
		}
		return x.Name, c.db.awaitIndex(ctx, c.name, x)
	}
	doc, err := bson.Marshal(indexDoc(x))
	if err != nil {
		return "", err
	}
	add := bson.D{{Key: "$addToSet", Value: bson.D{{Key: "indexes", Value: bson.Raw(doc)}}}}
	if x.Unique {
		return x.Name, c.db.createUnique(ctx, c.name, x, add)
	}
	if err := c.db.define(ctx, c.name, add); err != nil || o.Background {
		return x.Name, err
	}
	return x.Name, c.db.awaitIndex(ctx, c.name, x)
}

// agrees reports whether the collection has x, and refuses what cannot be
// beside the indexes that it has.
func (c *Collection) agrees(ctx context.Context, x Index) (there bool, err error) {
	have, err := c.Indexes(ctx)
	if err != nil {
		return false, err
	}
	for _, h := range have {
		switch {
		case h.Name == x.Name && sameIndex(h, x):
			return true, nil
		case h.Name == x.Name:
			return false, fault.Of(errIndexExists, "an index %s exists with other keys or options", x.Name)
		case h.Keys[0].Text && x.Keys[0].Text:
			return false, fault.Of(errIndexOptions, "a collection has one text index, and there is %s", h.Name)
		case slices.Equal(h.Keys, x.Keys) && h.Unique == x.Unique && h.Sparse == x.Sparse && string(h.Partial) == string(x.Partial):
			return false, fault.Of(errIndexOptions, "an index on the same keys exists with the name %s", h.Name)
		}
	}
	if len(have) >= maxIndexes {
		return false, fault.Errorf(fault.CannotCreateIndex, "a collection has at most %d indexes", maxIndexes)
	}
	return false, nil
}

// isIDIndex reports whether x is the index on _id, which is always there.
func isIDIndex(x Index) bool {
	return len(x.Keys) == 1 && x.Keys[0] == IndexKey{Path: "_id"} && (x.Name == "" || x.Name == "_id_") &&
		!x.Sparse && x.Partial == nil && x.ExpireAfter == nil
}

// DropIndex removes an index, also one that is being built, or returns
// ErrNotFound. Its entries are deleted in the background.
func (c *Collection) DropIndex(ctx context.Context, name string) error {
	if err := writable(c.name); err != nil {
		return err
	}
	have, err := c.Indexes(ctx)
	if err != nil {
		return err
	}
	if name == "_id_" {
		return fault.Errorf(fault.InvalidOptions, "cannot drop the index on _id")
	}
	if !slices.ContainsFunc(have, func(x Index) bool { return x.Name == name }) {
		return fault.Of(errNoIndex, "index not found with name [%s]", name)
	}
	pull := bson.D{{Key: "indexes", Value: bson.D{{Key: "name", Value: name}}}}
	return c.db.define(ctx, c.name, bson.D{{Key: "$pull", Value: pull}})
}

// Indexes returns the indexes, without the one on _id, and how far they are.
func (c *Collection) Indexes(ctx context.Context) ([]Index, error) {
	v, err := c.db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	d, err := v.definition(c.db, c.name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := slices.Clone(d.indexes)
	if coll := v.cat.colls[c.name]; coll != nil {
		for i, x := range out {
			if ix := findIndex(coll.indexes, x); ix != nil {
				out[i].State = ix.state(v, coll)
			}
		}
	}
	return out, nil
}
