package db

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	"github.com/weftdb/weft/internal/store"
)

// A Snapshot is the whole database at one moment. It is safe for concurrent
// use; the caller owes Close, and holds on to what is deleted meanwhile until
// then.
type Snapshot struct {
	db *DB
	v  *view.View
}

// Snapshot takes a snapshot.
func (db *DB) Snapshot() (*Snapshot, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	return &Snapshot{db, v}, nil
}

// Close frees the snapshot.
func (s *Snapshot) Close() { s.v.Release() }

// Hash returns the state hash.
func (s *Snapshot) Hash() Hash { return s.v.StateHash() }

// Collections returns the names of the collections that are defined or hold
// documents, in order, without system collections.
func (s *Snapshot) Collections(ctx context.Context) ([]string, error) {
	names := map[string]bool{}
	for name, c := range s.v.Cat.Colls {
		if s.v.Stats[c.Num].Docs > 0 {
			names[name] = true
		}
	}
	for d, err := range s.Documents(ctx, judge.SystemCollection) {
		if err != nil {
			return nil, err
		}
		if name, ok := d.Lookup("_id").StringValueOK(); ok {
			names[name] = true
		}
	}
	var out []string
	for name := range names {
		if !strings.HasPrefix(name, "system.") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Definition returns a collection's definition, as [DB.Define] takes it, or
// ErrNotFound.
func (s *Snapshot) Definition(collection string) (bson.Raw, error) {
	sys := s.v.Cat.Colls[judge.SystemCollection]
	if sys == nil {
		return nil, ErrNotFound
	}
	f, err := s.v.Get(sys, value.AppendKey(nil, value.String(collection), false))
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, ErrNotFound
	}
	return f.Doc, nil
}

// Documents walks the documents of a collection in the order of their _ids.
// What is yielded belongs to the caller.
func (s *Snapshot) Documents(ctx context.Context, collection string) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		c := s.v.Cat.Colls[collection]
		if c == nil {
			return
		}
		it := s.v.Snap.Iterate(store.Prefix(s.db.fold.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num))))
		defer it.Close()
		docs := int64(0)
		for ; it.Valid(); it.Next() {
			b, err := it.Value()
			var h keyspace.Head
			if err == nil {
				h, err = keyspace.ParseHead(b)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if h.Doc == nil {
				continue
			}
			if docs++; !yield(bson.Raw(slices.Clone(h.Doc)), nil) {
				return
			}
		}
		err := it.Err()
		if want := s.v.Stats[c.Num].Docs; err == nil && docs != want { // see [search.Search]
			err = keyspace.Missing(collection, docs, want)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// Define gives a collection the definition of another database's, as
// [Snapshot.Definition] returns it: its schema, indexes and rules, in the place
// of what it has. A definition that it has already writes nothing.
func (db *DB) Define(ctx context.Context, definition bson.Raw) error {
	if err := value.Validate(definition); err != nil {
		return err
	}
	name, ok := definition.Lookup("_id").StringValueOK()
	if !ok {
		return fault.Errorf(fault.BadValue, "a definition's _id is the name of its collection")
	}
	if err := writable(name); err != nil {
		return err
	}
	s, err := db.Snapshot()
	if err != nil {
		return err
	}
	has, err := s.Definition(name)
	s.Close()
	if err == nil && slices.Equal(has, definition) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	// The plain indexes are for all who write, and a definition leaves them alone; so does
	// what has nothing else.
	rest, plain := bson.D{}, bson.E{Key: "plain", Value: bson.A{}}
	fields, err := definition.Elements()
	for _, f := range fields {
		if f.Key() == "plain" {
			plain.Value = f.Value()
		} else {
			rest = append(rest, bson.E{Key: f.Key(), Value: f.Value()})
		}
	}
	doc, merr := bson.Marshal(rest)
	if err = errors.Join(err, merr); err != nil {
		return err
	}
	op := defineOp(name, bson.D{})
	if op == nil {
		return fault.Errorf(fault.BadValue, "the definition cannot be encoded")
	}
	op.Kind, op.Upsert, op.Doc = payload.Replace, true, doc
	if judge.Defines(has, doc) {
		var results []error
		if results, _, err = db.write(ctx, []payload.Op{*op}, fold.Each); err == nil {
			err = results[0]
		}
	}
	if err == nil {
		err = db.define(ctx, name, bson.D{{Key: "$set", Value: bson.D{plain}}})
	}
	if err != nil {
		return fmt.Errorf("definition of %s: %w", name, err)
	}
	return nil
}
