package db

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// A LiveOf is a live query whose documents are decoded into T. It belongs to one goroutine,
// but for Close; the caller owes Close.
//
//	live, err := cities.Live(ctx, bson.D{{"country", "IS"}}, db.FindOptions{})
//	…
//	defer live.Close()
//	for {
//		show(live.Result())
//		if _, err := live.Next(ctx); err != nil {
//			return err
//		}
//	}
type LiveOf[T any] struct {
	raw    *Live
	result []T
}

// A LiveEventOf is a LiveEvent with its document decoded.
type LiveEventOf[T any] struct {
	LiveEvent
	Value T // what Document holds; zero where there is none
}

// Live runs a query and keeps its result up to date, as [Collection.Live] does.
func (c CollectionOf[T]) Live(ctx context.Context, filter any, o FindOptions) (*LiveOf[T], error) {
	l, err := c.raw.Live(ctx, filter, o)
	if err != nil {
		return nil, err
	}
	out := &LiveOf[T]{raw: l}
	if out.result, err = decodeAll[T](l.Result()); err != nil {
		l.Close()
		return nil, err
	}
	return out, nil
}

// Result returns the result after the last event that Next gave, or at the start. It is the
// caller's.
func (l *LiveOf[T]) Result() []T { return slices.Clone(l.result) }

// Close ends the live query; it may be called twice.
func (l *LiveOf[T]) Close() { l.raw.Close() }

// Next waits for the next event and applies it to the result, as [Live.Next] does. A document
// that cannot be decoded into T is an error that ends the live query.
func (l *LiveOf[T]) Next(ctx context.Context) (e LiveEventOf[T], err error) {
	if e.LiveEvent, err = l.raw.Next(ctx); err == nil {
		err = l.apply(&e)
	}
	return e, err
}

// TryNext is Next if there is an event already.
func (l *LiveOf[T]) TryNext(ctx context.Context) (e LiveEventOf[T], ok bool, err error) {
	if e.LiveEvent, ok, err = l.raw.TryNext(ctx); err == nil && ok {
		err = l.apply(&e)
	}
	return e, ok, err
}

func (l *LiveOf[T]) apply(e *LiveEventOf[T]) (err error) {
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if e.Operation == "reset" {
		l.result, err = decodeAll[T](e.LiveEvent.Result)
		return err
	}
	if e.Operation != liveRemoved {
		if err := e.Document.Decode(&e.Value); err != nil {
			return undecodable(e.ID, err)
		}
	}
	switch e.Operation {
	case liveAdded:
		l.result = slices.Insert(l.result, e.Index, e.Value)
	case liveRemoved:
		l.result = slices.Delete(l.result, e.From, e.From+1)
	case liveChanged:
		l.result[e.Index] = e.Value
	case liveMoved:
		l.result = slices.Insert(slices.Delete(l.result, e.From, e.From+1), e.Index, e.Value)
	}
	return nil
}

func decodeAll[T any](docs []Document) ([]T, error) {
	out := make([]T, len(docs))
	for i, d := range docs {
		if err := d.Decode(&out[i]); err != nil {
			return nil, undecodable(d.Raw.Lookup("_id"), err)
		}
	}
	return out, nil
}

func undecodable(id bson.RawValue, err error) error {
	return fault.Errorf(fault.BadValue, "the document with the _id %s does not fit the Go type that it is decoded into: %w", id, err)
}

// A WatchOf is a watch whose documents are decoded into T. It belongs to one goroutine, but
// for Close; the caller owes Close.
type WatchOf[T any] struct{ raw *Watch }

// A ChangeOf is a Change with its documents decoded.
type ChangeOf[T any] struct {
	Change
	Value *T // what Change.After holds; nil where there is none
	Was   *T // what Change.Before holds; nil where there is none
}

// Watch opens a stream of the collection's changes, as [DB.Watch] does.
func (c CollectionOf[T]) Watch(ctx context.Context, o WatchOptions) (*WatchOf[T], error) {
	o.Collections = []string{c.raw.name}
	w, err := c.raw.db.Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	return &WatchOf[T]{w}, nil
}

// Close ends the watch; it may be called twice.
func (w *WatchOf[T]) Close() { w.raw.Close() }

// Token returns a token that resumes after what Next has returned, as [Watch.Token] does.
func (w *WatchOf[T]) Token() (string, error) { return w.raw.Token() }

// Next waits for the next change, as [Watch.Next] does. One whose documents cannot be decoded
// into T is an error, with the change; the watch goes on behind it.
func (w *WatchOf[T]) Next(ctx context.Context) (c ChangeOf[T], err error) {
	if c.Change, err = w.raw.Next(ctx); err != nil {
		return c, err
	}
	for _, side := range []struct {
		raw bson.Raw
		to  **T
	}{{c.After, &c.Value}, {c.Before, &c.Was}} {
		if side.raw == nil {
			continue
		}
		v := new(T)
		if err := bson.Unmarshal(side.raw, v); err != nil {
			return c, undecodable(c.ID, err)
		}
		*side.to = v
	}
	return c, nil
}
