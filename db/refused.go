package db

import (
	"context"
	"encoding/binary"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Refusal is an operation that the fold refused.
type Refusal struct {
	Stamp      Stamp
	Seq        uint64 // of its record in its log
	Operation  string // insert, update, replace, delete; "" for a malformed record
	Collection string
	ID         bson.RawValue
	Reason     Reason
	Message    string
	Handled    bool // by Retry or Handle, on this replica
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
// at one moment. It reads the journal for each that it yields.
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
		w := refusedWalk{db: db, v: v, eyes: view.EyesOf(ctx), o: o, it: v.Snap.Iterate(db.refusedRange(&o))}
		defer w.it.Close()
		for left, skip := o.Limit, o.Skip; ; {
			r, err := w.next(ctx)
			if err != nil {
				yield(Refusal{}, err)
				return
			}
			if r == nil {
				return
			}
			if skip > 0 {
				skip--
				continue
			}
			if !yield(*r, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// refusedRange returns the refusals of a span of time: their keys begin with it.
func (db *DB) refusedRange(o *RefusedOptions) store.Range {
	p := db.fold.Space.Key(keyspace.TagRefused)
	r := store.Prefix(p)
	r.Reverse = o.Newest
	if o.Since > 0 {
		r.Lower = binary.BigEndian.AppendUint64(slices.Clone(p), uint64(o.Since))
	}
	if o.Until > 0 {
		r.Upper = binary.BigEndian.AppendUint64(slices.Clone(p), uint64(o.Until))
	}
	return r
}

// A refusedWalk reads refusals at an iterator. Keys of equal times are ordered by
// arrival, which is local; so the refusals of one time are read together and put in the
// order of their stamps, which is the same on every replica.
type refusedWalk struct {
	db   *DB
	v    *view.View
	eyes view.Eyes
	o    RefusedOptions
	it   store.Iterator
	rec  *journal.Record // the last that was read
	same []*Refusal      // of one time, to be told next
}

// next returns the next refusal that is asked for; nil at the end.
func (w *refusedWalk) next(ctx context.Context) (*Refusal, error) {
	for n := 0; len(w.same) == 0 && w.it.Valid(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := w.readTime(); err != nil {
			return nil, err
		}
	}
	if len(w.same) == 0 {
		return nil, w.it.Err()
	}
	r := w.same[0]
	w.same = w.same[1:]
	return r, nil
}

// readTime reads the refusals of the next time that are asked for, if any.
func (w *refusedWalk) readTime() error {
	var first keyspace.Ref
	mixed := false // they are of several records
	for n := 0; w.it.Valid(); n++ {
		s := keyspace.Scanner{B: w.it.Key()[len(w.db.fold.Space)+1:]}
		at := s.Ref()
		if s.Bad {
			return keyspace.ErrCorrupt
		}
		if n == 0 {
			first = at
		} else if at.Time != first.Time {
			break
		}
		mixed = mixed || at.N != first.N
		b, err := w.it.Value()
		if err != nil {
			return err
		}
		if doc := slices.Clone(b); w.wants(doc) {
			r, err := w.read(at, doc)
			if err != nil {
				return err
			}
			if w.o.Log == (LogID{}) || r.Stamp.Log == w.o.Log {
				w.same = append(w.same, r)
			}
		}
		w.it.Next()
	}
	if mixed {
		slices.SortFunc(w.same, func(x, y *Refusal) int {
			if w.o.Newest {
				x, y = y, x
			}
			return x.Stamp.Compare(y.Stamp)
		})
	}
	return nil
}

// wants reports whether a stored refusal is asked for, as far as it tells.
func (w *refusedWalk) wants(doc []byte) bool {
	if w.o.Collection != "" && w.o.Collection != string(value.Get(doc, "coll").Str()) {
		return false
	}
	if w.o.Unhandled && value.Get(doc, "handled").Bool() {
		return false
	}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	return len(w.o.Reasons) == 0 || slices.Contains(w.o.Reasons, keyspace.Code(n).Reason())
}

// read makes a Refusal of a stored one and its record.
func (w *refusedWalk) read(at keyspace.Ref, doc bson.Raw) (*Refusal, error) {
	if w.rec == nil || w.rec.N != at.N {
		rec, err := journal.Read(w.db.fold.Journal, at.N)
		if err != nil {
			return nil, err
		}
		w.rec = rec
	}
	r := &Refusal{Stamp: journal.StampAt(w.rec, at), Seq: w.rec.ID.Seq}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	r.Reason = keyspace.Code(n).Reason()
	r.Message = string(value.Get(doc, "message").Str())
	r.Operation = string(value.Get(doc, "op").Str())
	r.Collection = string(value.Get(doc, "coll").Str())
	r.Handled = value.Get(doc, "handled").Bool()
	if id := value.Get(doc, "id"); id.Exists() {
		r.ID = id.Raw()
	}
	if w.rec.Bad == nil && int(at.Index) < len(w.rec.Ops) {
		op := &w.rec.Ops[at.Index]
		sight, err := w.eyes.Sight(w.v, op.Coll)
		if err != nil || sight != nil && (op.Kind == payload.Update || !sight.Shows(op.Doc)) {
			return r, err
		}
		r.Body = &RefusedBody{
			Filter: op.Filter, Document: op.Doc, ArrayFilters: value.Raws(op.ArrayFilters), Upsert: op.Upsert,
			Atomic: w.rec.Atomic, Operations: len(w.rec.Ops),
		}
	}
	return r, nil
}
