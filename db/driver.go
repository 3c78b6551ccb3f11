package db

import (
	"context"
	"iter"
	"slices"

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
	t, b, err := bson.MarshalValue(v)
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "the %s cannot be encoded: %w", what, err)
	}
	if t != bson.TypeEmbeddedDocument {
		return nil, fault.Errorf(fault.TypeMismatch, "the %s is no document, but %T", what, v)
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

// encodedHint returns the hint that v stands for; zero for none.
func encodedHint(v any) (bson.RawValue, error) {
	switch v := v.(type) {
	case nil:
		return bson.RawValue{}, nil
	case bson.RawValue:
		return v, nil
	}
	t, b, err := bson.MarshalValue(v)
	if err != nil {
		return bson.RawValue{}, fault.Errorf(fault.BadValue, "the hint cannot be encoded: %w", err)
	}
	return bson.RawValue{Type: t, Value: b}, nil
}

// encodedList returns the documents of a slice; nil for none.
func encodedList(what string, list any) ([]bson.Raw, error) {
	switch list := list.(type) {
	case nil:
		return nil, nil
	case []bson.Raw:
		return list, nil
	}
	t, b, err := bson.MarshalValue(list)
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "the %s cannot be encoded: %w", what, err)
	}
	if t != bson.TypeArray {
		return nil, fault.Errorf(fault.TypeMismatch, "the %s must be a slice of documents, not %T", what, list)
	}
	return elements(what, b)
}

// elements returns the documents of an array.
func elements(what string, array []byte) (out []bson.Raw, err error) {
	it := value.Elements(array)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return nil, fault.Errorf(fault.TypeMismatch, "the %s must hold documents only", what)
		}
		out = append(out, v.Data)
	}
	return out, nil
}

// encodedDocs returns the documents of a call that takes them one by one; a slice of
// documents stands for those in it.
func encodedDocs(docs []any) ([]bson.Raw, error) {
	out := make([]bson.Raw, 0, len(docs))
	for i, d := range docs {
		switch d := d.(type) {
		case nil:
			return nil, fault.Errorf(fault.TypeMismatch, "document %d is nil", i)
		case bson.Raw:
			out = append(out, d)
			continue
		case []bson.Raw:
			out = append(out, d...)
			continue
		case []byte:
			out = append(out, d)
			continue
		}
		t, b, err := bson.MarshalValue(d)
		if err != nil {
			return nil, fault.Errorf(fault.BadValue, "document %d cannot be encoded: %w", i, err)
		}
		switch t {
		case bson.TypeEmbeddedDocument:
			out = append(out, b)
		case bson.TypeArray:
			list, err := elements("documents", b)
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		default:
			return nil, fault.Errorf(fault.TypeMismatch, "document %d is no document, but %T", i, d)
		}
	}
	return out, nil
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
func (c *Cursor) All(results any) error { return all(c, results) }

// Decode decodes the current result into v.
func (a *Aggregation) Decode(v any) error { return bson.Unmarshal(a.Raw(), v) }

// All decodes the results that are left into results, a pointer to a slice, and closes the
// aggregation.
func (a *Aggregation) All(results any) error { return all(a, results) }

func all(in reader, results any) error {
	defer in.Close()
	out := bson.A{}
	for in.Next() {
		out = append(out, slices.Clone(in.Raw())) // the next overwrites it
	}
	if err := in.Err(); err != nil {
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
	ids, errs, err := c.raw.insert(ctx, out, InsertOptions{})
	if err == nil && len(errs) > 0 {
		err = errs[0]
	}
	return ids, err
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

// Update applies an update to the first document that matches filter, or to all, as
// [Collection.Update] does.
func (c CollectionOf[T]) Update(ctx context.Context, filter, update any, o UpdateOptions) (UpdateResult, error) {
	return c.raw.Update(ctx, filter, update, o)
}

// Delete deletes the first document that matches filter, or all of them.
func (c CollectionOf[T]) Delete(ctx context.Context, filter any, many bool) (int64, error) {
	return c.raw.Delete(ctx, filter, many)
}

// Count counts the documents that match filter; nil counts all.
func (c CollectionOf[T]) Count(ctx context.Context, filter any) (int64, error) {
	return c.raw.Count(ctx, filter)
}

// Find gives the documents of one moment that match; the last pair has the error that ended
// it, if there is one. It reads while the loop runs.
//
//	for city, err := range cities.Find(ctx, bson.D{{"country", "IS"}}, db.FindOptions{}) {
func (c CollectionOf[T]) Find(ctx context.Context, filter any, o FindOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		cur, err := c.raw.Find(ctx, filter, o)
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
		a, err := c.Aggregate(ctx, stages, o)
		if err != nil {
			var none R
			yield(none, err)
			return
		}
		each(a, yield)
	}
}
