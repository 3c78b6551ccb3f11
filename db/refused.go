package db

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/refused"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
)

// A Refusal is an operation that has no effect: the fold refused it, or its record is void.
type Refusal struct {
	Stamp      Stamp
	Seq        uint64 // of its record in its log
	Operation  string // insert, update, replace, delete; "" for a malformed record
	Collection string
	ID         bson.RawValue
	Reason     Reason
	Message    string
	Handled    bool // by Retry or Handle, on this replica; never with ReasonVoid
	// The operation itself; nil in changes, where [DB.Refusal] has it, and to a
	// reader who is not shown the document.
	Body *RefusedBody
}

// A RefusedBody is what a refused operation would have done.
type RefusedBody struct {
	Filter       bson.Raw // of all but insert
	Document     bson.Raw // the document to insert, the update or the replacement; nil for delete
	ArrayFilters []bson.Raw
	Upsert       bool
	Atomic       bool // the record is refused whole
	Operations   int  // of the record
}

// RefusedOptions selects refusals. The zero value selects all, the oldest first.
type RefusedOptions struct {
	Collection   string   // "" for any
	Reasons      []Reason // any, if it is empty
	Log          LogID    // of the writer; zero for any
	Since, Until Time     // of the operation: Since <= time < Until; 0 is open
	Unhandled    bool     // leave out what is handled
	Newest       bool     // the newest first
	Skip, Limit  int64    // a Limit of 0 means none
}

// Refused walks the refused operations in the order of their times, as they are
// at one moment, those of void records among them. It reads the journal for each that it
// yields, and where records are void for all of these first.
func (db *DB) Refused(ctx context.Context, o RefusedOptions) iter.Seq2[Refusal, error] {
	return func(yield func(Refusal, error) bool) {
		if o.Skip < 0 || o.Limit < 0 {
			yield(Refusal{}, fault.Errorf(fault.BadValue, "skip and limit cannot be negative"))
			return
		}
		v, err := db.fold.Acquire()
		if err != nil {
			yield(Refusal{}, err)
			return
		}
		defer v.Release()
		w, err := refused.Start(ctx, v, db.fold.Journal, refused.Options{
			Coll: o.Collection, Reasons: o.Reasons, Log: o.Log, Since: o.Since, Until: o.Until, Unhandled: o.Unhandled, Newest: o.Newest, Void: true,
		})
		if err != nil {
			yield(Refusal{}, err)
			return
		}
		defer w.Close()
		eyes := view.EyesOf(ctx)
		for left, skip := o.Limit, o.Skip; ; {
			op, err := w.Next(ctx)
			if err != nil {
				yield(Refusal{}, err)
				return
			}
			if op == nil {
				return
			}
			if skip > 0 {
				skip--
				continue
			}
			if r, err := shownRefusal(v, eyes, op); !yield(r, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// shownRefusal is what a reader is shown of an operation.
func shownRefusal(v *view.View, eyes view.Eyes, op *refused.Operation) (Refusal, error) {
	r := Refusal{
		Stamp: op.Stamp, Seq: op.Record.ID.Seq, Operation: op.Kind, Collection: op.Coll, ID: op.ID,
		Reason: op.Reason, Message: op.Message, Handled: op.Handled,
	}
	rec := op.Record
	if rec.Bad != nil || int(op.Stamp.Index) >= len(rec.Ops) {
		return r, nil
	}
	body := &rec.Ops[op.Stamp.Index]
	sight, err := eyes.Sight(v, body.Coll)
	if err != nil || sight != nil && (body.Kind == payload.Update || !sight.Shows(body.Doc)) {
		return r, err
	}
	r.Body = &RefusedBody{
		Filter: body.Filter, Document: body.Doc, ArrayFilters: value.Raws(body.ArrayFilters), Upsert: body.Upsert,
		Atomic: rec.Atomic, Operations: len(rec.Ops),
	}
	return r, nil
}
