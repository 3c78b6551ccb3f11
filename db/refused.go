package db

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Reason says why an operation was refused; a stable word.
type Reason = fault.Kind

// The reasons.
const (
	ReasonMalformed  = fault.Malformed  // the record's payload is not a transaction
	ReasonDuplicate  = fault.Duplicate  // a document with the _id exists
	ReasonNoMatch    = fault.NoMatch    // no document matches the filter any more
	ReasonSchema     = fault.Schema     // the document would not fit the schema
	ReasonUpdate     = fault.Update     // the filter or update cannot be applied
	ReasonReserved   = fault.Reserved   // the document would set _mod
	ReasonDefinition = fault.Definition // a definition that cannot be in force
	ReasonAtomic     = fault.Atomic     // another operation of the atomic transaction was refused
	ReasonTooLarge   = fault.TooLarge   // the document would be over its limit
	ReasonRule       = fault.Rule       // the write rule of the collection denies it
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
	Collection   string      // "" for any
	Reasons      []Reason    // any, if it is empty
	Log          clock.LogID // of the writer; zero for any
	Since, Until clock.Time  // of the operation: Since <= time < Until; 0 is open
	Unhandled    bool        // leave out what is handled
	Newest       bool        // the newest first
	Skip, Limit  int64       // a Limit of 0 means none
}

// Refused walks the refused operations in the order of their times, as they are
// at one moment. It reads the journal for each that it yields.
func (db *DB) Refused(ctx context.Context, o RefusedOptions) iter.Seq2[Refusal, error] {
	return func(yield func(Refusal, error) bool) {
		if o.Skip < 0 || o.Limit < 0 {
			yield(Refusal{}, fault.Errorf(fault.BadValue, "skip and limit cannot be negative"))
			return
		}
		v, err := db.acquire()
		if err != nil {
			yield(Refusal{}, err)
			return
		}
		defer v.release()
		w := refusedWalk{db: db, v: v, eyes: db.eyes(ctx), o: o, it: v.snap.Iterate(db.refusedRange(&o))}
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

func (db *DB) refusedRange(o *RefusedOptions) store.Range {
	p := db.key(tagRefused)
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

// A refusedWalk reads refusals at an iterator.
type refusedWalk struct {
	db   *DB
	v    *view
	eyes eyes
	o    RefusedOptions
	it   store.Iterator
	rec  *record // the last that was read
}

// next returns the next refusal that is asked for; nil at the end.
func (w *refusedWalk) next(ctx context.Context) (*Refusal, error) {
	for n := 0; w.it.Valid(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s := scanner{b: w.it.Key()[len(w.db.prefix)+1:]}
		at := s.ref()
		b, err := w.it.Value()
		if err != nil {
			return nil, err
		}
		if s.bad {
			return nil, errCorrupt
		}
		var r *Refusal
		if doc := slices.Clone(b); w.wants(doc) {
			if r, err = w.read(at, doc); err != nil {
				return nil, err
			}
		}
		w.it.Next()
		if r != nil && (w.o.Log == clock.LogID{} || r.Stamp.Log == w.o.Log) {
			return r, nil
		}
	}
	return nil, w.it.Err()
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
	return len(w.o.Reasons) == 0 || slices.Contains(w.o.Reasons, code(n).reason())
}

// read makes a Refusal of a stored one and its record.
func (w *refusedWalk) read(at ref, doc bson.Raw) (*Refusal, error) {
	if w.rec == nil || w.rec.n != at.n {
		as, err := w.db.journal.Arrivals(at.n-1, 1)
		if err != nil {
			return nil, err
		}
		if len(as) == 0 || as[0].N != at.n {
			return nil, errLost
		}
		w.rec = decode(&as[0])
	}
	r := &Refusal{Stamp: stamp(w.rec, at.index), Seq: w.rec.id.Seq}
	r.Stamp.Time = at.time
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	r.Reason = code(n).reason()
	r.Message = string(value.Get(doc, "message").Str())
	r.Operation = string(value.Get(doc, "op").Str())
	r.Collection = string(value.Get(doc, "coll").Str())
	r.Handled = value.Get(doc, "handled").Bool()
	if id := value.Get(doc, "id"); id.Exists() {
		r.ID = id.Raw()
	}
	if w.rec.bad == nil && int(at.index) < len(w.rec.ops) {
		op := &w.rec.ops[at.index]
		sight, err := w.eyes.sight(w.v, op.Coll)
		if err != nil || sight != nil && (op.Kind == payload.Update || !sight.shows(op.Doc)) {
			return r, err
		}
		r.Body = &RefusedBody{
			Filter: op.Filter, Document: op.Doc, ArrayFilters: raws(op.ArrayFilters), Upsert: op.Upsert,
			Atomic: w.rec.atomic, Operations: len(w.rec.ops),
		}
	}
	return r, nil
}

// refusal returns what is stored of the refusal at r; nil if there is none.
func (v *view) refusal(db *DB, r ref) ([]byte, error) {
	b, err := v.snap.Get(db.key(tagRefused, r.append(nil)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return slices.Clone(b), err
}

// of says which operation the change is about.
func (c *change) of(op *payload.Op) {
	c.coll, c.idKey, c.id, c.refusal.kind = op.Coll, op.Key, op.ID, op.Kind.String()
}

// noteRefusal tells the feed that the verdict on the operation at r is another.
// It is written before the refusal, so that no step holds that without it.
func (b *batch) noteRefusal(r ref, rec *record, op *payload.Op, v verdict) error {
	// Of what is cut off nothing is noted: its record may be deleted next.
	if cut := b.cutting && b.gone.has(r.n); !cut {
		if err := b.put(b.db.notedKey(b.noting(), r), nil); err != nil {
			return err
		}
	}
	if b.unheard() {
		return nil
	}
	c := change{op: opRefused, by: rec.id, time: rec.time, remote: !b.db.own[rec.id.Log], late: b.folding != rec}
	if v.code == codeOK {
		c.op = opCleared
	}
	c.refusal = &refusal{stamp: stamp(rec, r.index), seq: rec.id.Seq, code: v.code, message: clip(v.err)}
	if op == nil && rec.bad == nil && int(r.index) < len(rec.ops) {
		op = &rec.ops[r.index]
	}
	if op != nil {
		c.of(op)
	}
	b.tell(c)
	return nil
}

// noting returns the arrival with which what the batch finds out is noted: the
// next one, if no record brings it.
func (b *batch) noting() int64 {
	if b.folding != nil && len(b.voiding) == 0 {
		return b.folding.n
	}
	return b.meta.cursor + 1
}
