package db

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// CollectionOptions is the definition of a collection.
type CollectionOptions struct {
	Schema  bson.Raw // a JSON Schema (2020-12 or draft-07), as a document; nil accepts every document
	Indexes []Index
}

// An Index is an index of a collection.
type Index struct {
	Name   string // "" means the keys and directions, as "age_1_name_-1"
	Keys   []IndexKey
	Unique bool // refused for now
}

// An IndexKey is one field of an index.
type IndexKey struct {
	Path string
	Desc bool
}

// A CollectionInfo describes a collection.
type CollectionInfo struct {
	Name      string
	Schema    bson.Raw // nil if it has none
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
			err = fmt.Errorf("%w: collection %s", ErrExists, name)
		}
		return err
	}
	set := bson.D{}
	if o.Schema != nil {
		if err := value.Validate(o.Schema); err != nil {
			return err
		}
		text := string(value.AppendJSON(nil, o.Schema, false))
		if _, err := compileSchema(text); err != nil {
			return err
		}
		set = append(set, bson.E{Key: "schema", Value: text})
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
		return value.Errorf(value.CodeBadValue, "the definition cannot be encoded")
	}
	results, _, err := db.write(ctx, []payload.Op{*op}, each)
	if err != nil {
		return err
	}
	return results[0]
}

func indexDoc(x Index) bson.D {
	keys := bson.D{}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		keys = append(keys, bson.E{Key: k.Path, Value: dir})
	}
	return bson.D{{Key: "name", Value: x.Name}, {Key: "key", Value: keys}}
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
	n, derr := db.Collection(name).Delete(ctx, nil, true)
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
		i := CollectionInfo{Name: name, Indexes: d.indexes, Documents: v.stats[c.num].docs}
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

// CreateIndex adds an index and returns its name. It returns when the index
// covers all documents.
func (c *Collection) CreateIndex(ctx context.Context, x Index) (string, error) {
	if err := writable(c.name); err != nil {
		return "", err
	}
	if err := checkIndex(&x); err != nil {
		return "", err
	}
	have, err := c.Indexes(ctx)
	if err != nil {
		return "", err
	}
	if len(have) >= maxIndexes {
		return "", fmt.Errorf("%w: a collection has at most %d indexes", ErrTooLarge, maxIndexes)
	}
	for _, h := range have {
		if h.Name == x.Name {
			if slices.Equal(h.Keys, x.Keys) {
				return x.Name, nil
			}
			return "", fmt.Errorf("%w: an index %s with other keys", ErrExists, x.Name)
		}
	}
	return x.Name, c.db.define(ctx, c.name, bson.D{{Key: "$addToSet", Value: bson.D{{Key: "indexes", Value: indexDoc(x)}}}})
}

// DropIndex removes an index, or returns ErrNotFound.
func (c *Collection) DropIndex(ctx context.Context, name string) error {
	have, err := c.Indexes(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(have, func(x Index) bool { return x.Name == name }) {
		return fmt.Errorf("%w: index %s", ErrNotFound, name)
	}
	pull := bson.D{{Key: "indexes", Value: bson.D{{Key: "name", Value: name}}}}
	return c.db.define(ctx, c.name, bson.D{{Key: "$pull", Value: pull}})
}

// Indexes returns the indexes, without the one on _id.
func (c *Collection) Indexes(ctx context.Context) ([]Index, error) {
	d, err := c.db.definition(c.name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(d.indexes), nil
}

// A Reason says why an operation was refused; a stable word.
type Reason string

// The reasons.
const (
	ReasonMalformed  Reason = "malformed"  // the record's payload is not a transaction
	ReasonDuplicate  Reason = "duplicate"  // a document with the _id exists
	ReasonNoMatch    Reason = "no_match"   // no document matches the filter any more
	ReasonSchema     Reason = "schema"     // the document would not fit the schema
	ReasonUpdate     Reason = "update"     // the filter or update cannot be applied
	ReasonReserved   Reason = "reserved"   // the document would set _mod
	ReasonDefinition Reason = "definition" // a definition that cannot be in force
	ReasonAtomic     Reason = "atomic"     // another operation of the atomic transaction was refused
	ReasonTooLarge   Reason = "too_large"  // the document would be over its limit
)

// A Refusal is an operation that the fold refused.
type Refusal struct {
	Stamp      clock.Stamp
	Seq        uint64 // of its record in its log
	Operation  string // insert, update, replace, delete; "" for a malformed record
	Collection string
	ID         bson.RawValue
	Reason     Reason
	Message    string
}

// Refused walks the refused operations in the order of their times.
func (db *DB) Refused(ctx context.Context) iter.Seq2[Refusal, error] {
	return func(yield func(Refusal, error) bool) {
		v, err := db.acquire()
		if err != nil {
			yield(Refusal{}, err)
			return
		}
		defer v.release()
		p := db.key(tagRefused)
		it := v.snap.Iterate(store.Prefix(p))
		defer it.Close()
		for ; it.Valid(); it.Next() {
			r, err := db.refusal(it, len(p))
			if err == nil {
				err = ctx.Err()
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Refusal{}, err)
		}
	}
}

func (db *DB) refusal(it store.Iterator, prefix int) (r Refusal, err error) {
	s := scanner{b: it.Key()[prefix:]}
	at := s.ref()
	v, err := it.Value()
	if err != nil {
		return r, err
	}
	doc := bson.Raw(slices.Clone(v))
	as, err := db.journal.Arrivals(at.n-1, 1)
	if err != nil {
		return r, err
	}
	if s.bad || len(as) == 0 || as[0].N != at.n {
		return r, errCorrupt
	}
	id := as[0].ID
	r.Stamp = clock.Stamp{Time: at.time, Log: id.Log, Hash: id.Hash, Index: at.index}
	r.Seq = id.Seq
	n, _ := doc.Lookup("code").Int32OK()
	r.Reason = code(n).reason()
	r.Message, _ = doc.Lookup("message").StringValueOK()
	r.Operation, _ = doc.Lookup("op").StringValueOK()
	r.Collection, _ = doc.Lookup("coll").StringValueOK()
	r.ID = doc.Lookup("id")
	return r, nil
}
