package refused

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// voidMessage is what is said of every operation of a void record.
const voidMessage = "what was written does not count: its author's membership had ended, or ended by who had not seen it"

// readBytes bounds the void records that are read at once.
const readBytes = 1 << 20

// voids are the void records that are still to be told. They are found when a walk begins,
// which reads each of them once to know its time; of each only this is kept.
type voids struct {
	left []held
	ops  []*Operation // of the first that is told
}

// A held record is one that the journal holds.
type held struct {
	time clock.Time
	id   clock.RecordID
	n    int64
}

// take takes the operation off that is told.
func (v *voids) take() {
	if len(v.ops) > 0 {
		v.ops = v.ops[1:]
	}
}

// findVoid finds the void records. Where nothing is void it reads no more than that.
func (w *Walk) findVoid(ctx context.Context) error {
	c, err := cut.Load(w.v.Snap, w.v.Space)
	if err != nil {
		return err
	}
	of := map[clock.LogID]clock.Void{}
	for log, v := range c.Void {
		if (w.o.Log == (clock.LogID{}) || w.o.Log == log) && !uncovered(v).Empty() {
			of[log] = uncovered(v)
		}
	}
	if len(of) == 0 {
		return nil
	}
	// Of a log that is void from where a checkpoint ends only the journal tells the two apart.
	covers := func(clock.RecordID) bool { return false }
	if j, ok := w.journal.(interface{ Covers(id clock.RecordID) bool }); ok {
		covers = j.Covers
	}
	var ns []int64
	err = w.journal.IDs(0, func(n int64, id clock.RecordID, snapshot bool) bool {
		if !snapshot && of[id.Log].Has(id) && !covers(id) {
			ns = append(ns, n)
		}
		return ctx.Err() == nil
	})
	for err == nil && len(ns) > 0 {
		if err = ctx.Err(); err == nil {
			ns, err = w.readVoid(ns)
		}
	}
	if err != nil {
		return err
	}
	slices.SortFunc(w.void.left, w.earlier)
	return ctx.Err()
}

// uncovered returns what of a log is void but for what a checkpoint covers, which is from its
// first record on up to some position.
func uncovered(v clock.Void) clock.Void {
	if len(v.Spans) == 0 || v.Spans[0].First != 1 || v.Spans[0].Last == math.MaxUint64 {
		return v
	}
	last := v.Spans[0].Last
	v.Spans = v.Spans[1:]
	v.Kept = slices.DeleteFunc(slices.Clone(v.Kept), func(r clock.Single) bool { return r.Seq <= last })
	return v
}

// readVoid reads some of the records that arrived as ns, and returns the others.
func (w *Walk) readVoid(ns []int64) ([]int64, error) {
	as, err := w.journal.Read(ns, readBytes)
	if err != nil || len(as) == 0 {
		return nil, err // the others were cut off meanwhile
	}
	for _, a := range as {
		if a.Time >= w.o.Since && (w.o.Until == 0 || a.Time < w.o.Until) {
			w.void.left = append(w.void.left, held{a.Time, a.ID, a.N})
		}
	}
	at := slices.Index(ns, as[len(as)-1].N)
	return ns[at+1:], nil
}

// nextVoid returns the next operation of a void record that is asked for, and leaves it there;
// nil at the end.
func (w *Walk) nextVoid(ctx context.Context) (*Operation, error) {
	for len(w.void.ops) == 0 && len(w.void.left) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next := w.void.left[0]
		w.void.left = w.void.left[1:]
		rec, err := journal.Read(w.journal, next.n)
		if errors.Is(err, keyspace.ErrLost) {
			continue // it was cut off meanwhile
		}
		if err != nil {
			return nil, err
		}
		w.void.ops = w.opsOf(rec)
	}
	if len(w.void.ops) == 0 {
		return nil, nil
	}
	return w.void.ops[0], nil
}

// opsOf returns the operations of a void record that are asked for.
func (w *Walk) opsOf(rec *journal.Record) (ops []*Operation) {
	if rec.Bad != nil && w.o.Coll == "" {
		return []*Operation{{Record: rec, Stamp: journal.Stamp(rec, 0), Reason: fault.Void, Message: voidMessage}}
	}
	for i := range rec.Ops {
		op := &rec.Ops[i]
		if w.o.Coll != "" && w.o.Coll != op.Coll {
			continue
		}
		ops = append(ops, &Operation{
			Record: rec, Stamp: journal.Stamp(rec, uint32(i)), Reason: fault.Void, Message: voidMessage,
			Kind: op.Kind.String(), Coll: op.Coll, ID: op.ID.Raw(),
		})
	}
	if w.o.Newest {
		slices.Reverse(ops)
	}
	return ops
}
