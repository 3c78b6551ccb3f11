package keyspace

import (
	"bytes"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A DuplicateKeyError is a write, or a new index, that would give two documents
// one key of a unique index.
type DuplicateKeyError struct {
	Collection, Index string
	Pattern           bson.D        // the keys of the index, as {email: 1}
	Value             bson.D        // the key that two documents have, as {email: "a@example.org"}
	ID                bson.RawValue // the _id of the document that was refused; for a new index, of one of the two
}

// Error names the index, the key and the _id.
func (e *DuplicateKeyError) Error() string {
	return fmt.Sprintf("E11000 duplicate key error collection: %s index: %s dup key: %s keyPattern: %s _id: %s",
		e.Collection, e.Index, jsonOf(e.Value), jsonOf(e.Pattern), value.AppendJSONValue(nil, value.Of(e.ID), false))
}

// Kind returns fault.DuplicateKey.
func (e *DuplicateKeyError) Kind() fault.Kind { return fault.DuplicateKey }

// As makes the error a [*fault.Error], too, as other refused writes are.
func (e *DuplicateKeyError) As(target any) bool {
	t, ok := target.(**fault.Error)
	if ok {
		*t = fault.Errorf(fault.DuplicateKey, "%s", e.Error()).(*fault.Error) //nolint:errorlint // it is made here
	}
	return ok
}

func jsonOf(d bson.D) string {
	b, err := bson.Marshal(d)
	if err != nil {
		return "{}"
	}
	return string(value.AppendJSON(nil, b, false))
}

// DuplicateKey is the error of doc having key of x, as another document has.
func DuplicateKey(collection string, x *Index, doc, key []byte) *DuplicateKeyError {
	e := &DuplicateKeyError{Collection: collection, Index: x.Name, Value: x.ValuesOf(doc, key), ID: value.Get(doc, "_id").Raw()}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		e.Pattern = append(e.Pattern, bson.E{Key: k.Path, Value: dir})
	}
	return e
}

// IsDuplicate reports whether err says that another document has the _id or a
// key of a unique index.
func IsDuplicate(err error) bool {
	return fault.Is(err, fault.DuplicateKey)
}

// FirstConflict is the error of ix, a unique index of the collection name that the
// documents violate.
func (c *Catalog) FirstConflict(r store.Reader, sp Space, name string, ix *Index) error {
	p := sp.Key(TagConflict, Num(ix.Num))
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	if !it.Valid() {
		return errors.Join(ErrCorrupt, it.Err())
	}
	key := bytes.Clone(it.Key()[len(p):])
	entries := sp.Key(TagIndex, Num(ix.Num), key)
	first := r.Iterate(store.Prefix(entries))
	defer first.Close()
	if !first.Valid() {
		return errors.Join(ErrCorrupt, first.Err())
	}
	v, err := r.Get(sp.Key(TagDoc, Num(c.Colls[name].Num), first.Key()[len(entries):]))
	if err != nil {
		return err
	}
	h, err := ParseHead(v)
	if err != nil {
		return err
	}
	return DuplicateKey(name, ix, h.Doc, key)
}
