package db

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// What a Go program gives and takes, as with MongoDB's driver: documents, filters and
// updates are anything that package bson encodes, a struct, a map or a bson.D. A bson.Raw is
// taken as it is, and costs nothing.

// encoded returns the document that v stands for; nil for none.
func encoded(what string, v any) (bson.Raw, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case bson.Raw:
		return v, nil
	case []byte:
		return v, nil
	}
	b, err := bson.Marshal(v)
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "the %s cannot be encoded: %w", what, err)
	}
	return b, nil
}

// encodedUpdate returns the update that v stands for: a document of operators, a
// replacement, or the stages of a pipeline.
func encodedUpdate(v any) (bson.Raw, error) {
	switch v.(type) {
	case nil, bson.Raw, []byte:
		return encoded("update", v)
	}
	t, b, err := bson.MarshalValue(v)
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "the update cannot be encoded: %w", err)
	}
	switch t {
	case bson.TypeEmbeddedDocument:
		return b, nil
	case bson.TypeArray:
		return update.Pipeline(value.Value{Type: t, Data: b}), nil
	}
	return nil, fault.Errorf(fault.FailedToParse, "an update is a document or the stages of a pipeline, not %T", v)
}

// encodedID returns the _id that v stands for.
func encodedID(v any) (value.Value, error) {
	if id, ok := v.(bson.RawValue); ok {
		return value.Of(id), nil
	}
	t, b, err := bson.MarshalValue(v)
	if err != nil {
		return value.Value{}, fault.Errorf(fault.BadValue, "the _id cannot be encoded: %w", err)
	}
	return value.Value{Type: t, Data: b}, nil
}

// changeArgs encodes a filter and an update.
func changeArgs(filter, upd any) (f, u bson.Raw, err error) {
	if f, err = encoded("filter", filter); err == nil {
		u, err = encodedUpdate(upd)
	}
	return f, u, err
}

// Decode decodes the current document, projected, into v.
func (c *Cursor) Decode(v any) error { return bson.Unmarshal(c.Raw(), v) }

// All decodes the documents that are left into results, a pointer to a slice, and closes the
// cursor.
//
//	var cities []City
//	err := cursor.All(&cities)
func (c *Cursor) All(results any) error {
	defer c.Close()
	out := bson.A{}
	for c.Next() {
		out = append(out, c.Raw())
	}
	if err := c.Err(); err != nil {
		return err
	}
	t, b, err := bson.MarshalValue(out)
	if err != nil {
		return err
	}
	return bson.UnmarshalValue(t, b, results)
}

// Decode decodes the document into v.
func (d Document) Decode(v any) error { return bson.Unmarshal(d.Raw, v) }

// A CollectionOf is a collection whose documents are decoded into T, a struct or a map. It
// is safe for concurrent use.
type CollectionOf[T any] struct{ raw *Collection }

// Of returns the collection with documents of type T.
func Of[T any](c *Collection) CollectionOf[T] { return CollectionOf[T]{c} }

// Raw returns the collection as it is.
func (c CollectionOf[T]) Raw() *Collection { return c.raw }

// Insert inserts documents in order and returns their _ids, as [Collection.Insert] does.
func (c CollectionOf[T]) Insert(ctx context.Context, docs ...T) ([]bson.RawValue, error) {
	out := make([]bson.Raw, len(docs))
	for i, doc := range docs {
		var err error
		if out[i], err = encoded("document", doc); err != nil {
			return nil, err
		}
	}
	return c.raw.Insert(ctx, out...)
}

// Get returns the document with an _id, or ErrNotFound.
func (c CollectionOf[T]) Get(ctx context.Context, id any) (out T, err error) {
	d, err := c.raw.Get(ctx, id)
	if err != nil {
		return out, err
	}
	return out, d.Decode(&out)
}

// Replace replaces the first document that matches filter.
func (c CollectionOf[T]) Replace(ctx context.Context, filter any, doc T, o UpdateOptions) (UpdateResult, error) {
	return c.raw.Replace(ctx, filter, doc, o)
}

// Find gives the documents of one moment that match; the last pair has the error that ended
// it, if there is one. It reads while the loop runs.
//
//	for city, err := range cities.Find(ctx, bson.D{{"country", "IS"}}, db.FindOptions{}) {
func (c CollectionOf[T]) Find(ctx context.Context, filter any, o FindOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		f, err := encoded("filter", filter)
		if err == nil && f != nil {
			o.Filter = f
		}
		var cur *Cursor
		if err == nil {
			cur, err = c.raw.Find(ctx, o)
		}
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		each(cur, yield)
	}
}

// A reader is documents, one after the other.
type reader interface {
	Next() bool
	Raw() bson.Raw
	Err() error
	Close()
}

// each gives the documents of in, decoded, and closes it.
func each[T any](in reader, yield func(T, error) bool) {
	defer in.Close()
	var none T
	for in.Next() {
		var v T
		if err := bson.Unmarshal(in.Raw(), &v); err != nil {
			yield(none, err)
			return
		}
		if !yield(v, nil) {
			return
		}
	}
	if err := in.Err(); err != nil {
		yield(none, err)
	}
}

// FindOne returns the first document that matches, or ErrNotFound.
func (c CollectionOf[T]) FindOne(ctx context.Context, filter any, o FindOptions) (out T, err error) {
	o.Limit = 1
	for out, err := range c.Find(ctx, filter, o) {
		return out, err
	}
	return out, ErrNotFound
}

// Aggregate gives the results of a pipeline, a slice of stages such as mongo.Pipeline or
// []bson.D, decoded into R.
func Aggregate[R any](ctx context.Context, c *Collection, stages any, o AggregateOptions) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		a, err := c.aggregate(ctx, stages, o)
		if err != nil {
			var none R
			yield(none, err)
			return
		}
		each(a, yield)
	}
}

func (c *Collection) aggregate(ctx context.Context, stages any, o AggregateOptions) (*Aggregation, error) {
	t, b, err := bson.MarshalValue(stages)
	if err != nil || t != bson.TypeArray {
		return nil, fault.Errorf(fault.TypeMismatch, "a pipeline is a slice of stages, not %T", stages)
	}
	var list []bson.Raw
	it := value.Elements(b)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return nil, fault.Errorf(fault.TypeMismatch, "a stage of a pipeline is a document")
		}
		list = append(list, v.Data)
	}
	return c.Aggregate(ctx, list, o)
}
