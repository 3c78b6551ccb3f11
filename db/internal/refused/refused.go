// Package refused walks the operations of a database that have no effect, in the order of their
// stamps: those that the fold refused, and those of records that are void.
//
//	Walk ─┬─ stored   what the fold keeps of a refusal, by time, and its record
//	      └─ void     records that the journal holds and the cut voids
//
// A record that a checkpoint covers is void too, as its snapshot stands for it: it had its
// effect, and is none of these.
package refused

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Reasons are the reasons that an operation can have.
var Reasons = append(slices.Clone(keyspace.Reasons[1:]), fault.Void)

// An Operation is one that has no effect.
type Operation struct {
	Record  *journal.Record
	Stamp   clock.Stamp
	Reason  fault.Kind
	Message string
	Kind    string // "insert"; "" of a malformed record
	Coll    string
	ID      bson.RawValue
	Handled bool
}

// Options select operations. The zero value selects those that the fold refused, the oldest
// first.
type Options struct {
	Coll         string       // "" for any
	Reasons      []fault.Kind // any, if it is empty
	Log          clock.LogID  // zero for any
	Since, Until clock.Time   // Since <= time < Until; 0 is open
	Unhandled    bool         // leave out what is handled
	Newest       bool         // the newest first
	Void         bool         // those of void records, too
}

// has reports whether a reason is asked for.
func (o *Options) has(r fault.Kind) bool { return len(o.Reasons) == 0 || slices.Contains(o.Reasons, r) }

// A Walk goes through operations. It belongs to one goroutine.
type Walk struct {
	v       *view.View
	journal journal.Journal
	o       Options
	it      store.Iterator
	rec     *journal.Record // the last that was read
	same    []*Operation    // stored ones of one time, to be told next
	void    voids
}

// Start returns a walk through v, which has to stay acquired until Close. The caller owes
// Close.
func Start(ctx context.Context, v *view.View, j journal.Journal, o Options) (*Walk, error) {
	w := &Walk{v: v, journal: j, o: o}
	if o.Void && o.has(fault.Void) {
		if err := w.findVoid(ctx); err != nil {
			return nil, err
		}
	}
	w.it = v.Snap.Iterate(w.span())
	return w, nil
}

// Close ends the walk.
func (w *Walk) Close() { w.it.Close() }

// span returns the keys of the stored refusals of a span of time: they begin with it.
func (w *Walk) span() store.Range {
	p := w.v.Space.Key(keyspace.TagRefused)
	r := store.Prefix(p)
	r.Reverse = w.o.Newest
	if w.o.Since > 0 {
		r.Lower = binary.BigEndian.AppendUint64(slices.Clone(p), uint64(w.o.Since))
	}
	if w.o.Until > 0 {
		r.Upper = binary.BigEndian.AppendUint64(slices.Clone(p), uint64(w.o.Until))
	}
	return r
}

// Next returns the next operation that is asked for; nil at the end.
func (w *Walk) Next(ctx context.Context) (*Operation, error) {
	if err := w.fill(ctx); err != nil {
		return nil, err
	}
	void, err := w.nextVoid(ctx)
	if err != nil {
		return nil, err
	}
	if len(w.same) == 0 || void != nil && w.compare(void.Stamp, w.same[0].Stamp) < 0 {
		w.void.take()
		return void, nil
	}
	op := w.same[0]
	w.same = w.same[1:]
	return op, nil
}

// compare orders stamps as they are walked.
func (w *Walk) compare(x, y clock.Stamp) int {
	if w.o.Newest {
		x, y = y, x
	}
	return x.Compare(y)
}

// fill reads stored refusals until there is one to be told, or none is left.
func (w *Walk) fill(ctx context.Context) error {
	for n := 0; len(w.same) == 0 && w.it.Valid(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.readTime(); err != nil {
			return err
		}
	}
	return w.it.Err()
}

// readTime reads the refusals of the next time that are asked for, if any. Keys of equal times
// are ordered by arrival, which is local; so the refusals of one time are read together and put
// in the order of their stamps, which is the same on every replica.
func (w *Walk) readTime() error {
	var first keyspace.Ref
	mixed := false // they are of several records
	for n := 0; w.it.Valid(); n++ {
		s := keyspace.Scanner{B: w.it.Key()[len(w.v.Space)+1:]}
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
			op, err := w.read(at, doc)
			if err != nil {
				return err
			}
			if w.o.Log == (clock.LogID{}) || op.Stamp.Log == w.o.Log {
				w.same = append(w.same, op)
			}
		}
		w.it.Next()
	}
	if mixed {
		slices.SortFunc(w.same, func(x, y *Operation) int { return w.compare(x.Stamp, y.Stamp) })
	}
	return nil
}

// wants reports whether a stored refusal is asked for, as far as it tells.
func (w *Walk) wants(doc []byte) bool {
	if w.o.Coll != "" && w.o.Coll != string(value.Get(doc, "coll").Str()) {
		return false
	}
	if w.o.Unhandled && value.Get(doc, "handled").Bool() {
		return false
	}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	return w.o.has(keyspace.Code(n).Reason())
}

// read makes an Operation of a stored refusal and its record.
func (w *Walk) read(at keyspace.Ref, doc bson.Raw) (*Operation, error) {
	if w.rec == nil || w.rec.N != at.N {
		rec, err := journal.Read(w.journal, at.N)
		if err != nil {
			return nil, err
		}
		w.rec = rec
	}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	op := &Operation{
		Record: w.rec, Stamp: journal.StampAt(w.rec, at), Reason: keyspace.Code(n).Reason(),
		Message: string(value.Get(doc, "message").Str()), Kind: string(value.Get(doc, "op").Str()),
		Coll: string(value.Get(doc, "coll").Str()), Handled: value.Get(doc, "handled").Bool(),
	}
	if id := value.Get(doc, "id"); id.Exists() {
		op.ID = id.Raw()
	}
	return op, nil
}

// earlier orders records as their operations are told.
func (w *Walk) earlier(x, y held) int {
	if w.o.Newest {
		x, y = y, x
	}
	return cmp.Or(cmp.Compare(x.time, y.time), slices.Compare(x.id.Log[:], y.id.Log[:]), slices.Compare(x.id.Hash[:], y.id.Hash[:]))
}
