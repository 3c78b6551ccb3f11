package fold

import (
	"errors"
	"sync"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/store"
)

// applyArrivals folds the next records of the journal, as many as one transaction is
// likely to take; if it does not, half as many, and one alone in steps. more says that
// there may be others.
func (f *Fold) applyArrivals() (more bool, err error) {
	as, err := f.Journal.Arrivals(f.meta.Cursor, f.BudgetBytes)
	if err != nil || len(as) == 0 {
		return false, err
	}
	recs := f.decodeAll(as)
	ops := 0
	n := 0
	for n < len(recs) && (n == 0 || ops+len(recs[n].Ops) <= f.BudgetOps) {
		ops += len(recs[n].Ops)
		n++
	}
	for ; ; n = max(1, n/2) { // the bytes of a record tell little of what folding it writes
		err := f.applySome(recs[:n], false, false)
		if errors.Is(err, store.ErrTooBig) {
			if n == 1 {
				return true, f.breaks(f.applySome(recs[:1], true, false))
			}
			continue
		}
		return true, err
	}
}

// applySome folds records in one transaction, or in steps. Records that are folded ahead
// are passed over; the cursor moves past all of them at the end. An error of the journal
// or of the store leaves everything as it was, and the next wake tries again, unless
// something was committed already (breaks).
func (f *Fold) applySome(recs []*journal.Record, stepping, redo bool) error {
	b := f.newBatch()
	defer b.discard()
	b.stepping, b.redo = stepping, redo
	if stepping {
		if err := b.step(); err != nil {
			return err
		}
	}
	for _, rec := range recs {
		if !b.meta.IsAhead(rec.N) {
			if err := b.apply(rec); err != nil {
				return err
			}
		}
		if stepping {
			if err := b.emit(); err != nil {
				return err
			}
		}
		// A time too far ahead is the journal's to hold back; the fold does not need the clock.
		if err := f.Clock.Observe(rec.Time); err != nil {
			f.Logf("record %v: %v", rec.ID, err)
		}
	}
	b.arrived = keyspace.Span{First: recs[0].N, Last: recs[len(recs)-1].N}
	if err := b.commit(); err != nil {
		return err
	}
	if err := f.Store.Sync(); err != nil {
		return f.breaks(err)
	}
	return f.finish(b)
}

// decodeAll decodes arrivals on two goroutines, and hashes the documents that they insert:
// that is most of the work of catching up, and needs nothing of the committer.
func (f *Fold) decodeAll(as []journal.Arrival) []*journal.Record {
	recs := make([]*journal.Record, len(as))
	var wg sync.WaitGroup
	half := func(from int) {
		var buf []byte
		for i := from; i < len(as); i += 2 {
			r := journal.Decode(&as[i])
			r.Seeds = make([]lthash.Seed, len(r.Ops))
			for k := range r.Ops {
				if op := &r.Ops[k]; op.Kind == payload.Insert {
					buf = buf[:0]
					r.Seeds[k] = keyspace.DocSeed(buf, op.Coll, op.Key, op.Doc)
				}
			}
			recs[i] = r
		}
	}
	wg.Go(func() { half(1) })
	half(0)
	wg.Wait()
	return recs
}

// remember keeps a few decoded records for folding again.
func (f *Fold) remember(r *journal.Record) {
	if len(f.recent) >= 64 {
		clear(f.recent)
	}
	f.recent[r.N] = r
}
