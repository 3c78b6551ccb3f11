package fold

import (
	"errors"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/store"
)

// The bounds of one bunch of arrivals while others write here: whoever does waits for a
// bunch, and this one takes some 20 ms. Where nobody has for the last fewBunches, a
// bunch is as large as the budget, since each costs a sync.
const (
	bunchBytes = 512 << 10
	bunchOps   = payload.MaxOps
	fewBunches = 64
)

// bunch returns the bounds of the next bunch of arrivals.
func (f *Fold) bunch() (bytes, ops int) {
	if f.asked == 0 {
		return f.BudgetBytes, f.BudgetOps
	}
	f.asked--
	return min(f.BudgetBytes, bunchBytes), min(f.BudgetOps, bunchOps)
}

// applyArrivals folds the next records of the journal, as many as one transaction is
// likely to take; if it does not, half as many, and one alone in steps. At a late record
// it begins a merge, of which each call does a piece. more says that there may be others.
func (f *Fold) applyArrivals() (more bool, err error) {
	if f.pacing != nil {
		return true, f.paceSome()
	}
	if f.plan != nil {
		_, err := f.weighSome()
		return true, err
	}
	if f.merge != nil {
		return true, f.mergeSome()
	}
	bytes, most := f.bunch()
	as, err := f.Journal.Arrivals(f.meta.Cursor, bytes)
	if err != nil || len(as) == 0 {
		return false, err
	}
	recs := journal.DecodeAll(as, true)
	if err := f.place(recs); err != nil {
		return false, err
	}
	ops := 0
	n := 0
	for n < len(recs) && (n == 0 || ops+len(recs[n].Ops) <= most) {
		ops += len(recs[n].Ops)
		n++
	}
	for ; ; n = max(1, n/2) { // the bytes of a record tell little of what folding it writes
		took, err := f.applySome(recs[:n], false)
		if errors.Is(err, store.ErrTooBig) {
			if n == 1 {
				_, err = f.applySome(recs[:1], true)
				return true, f.breaks(err)
			}
			continue
		}
		if err == nil && took < n {
			err = f.startMerge(recs[took:])
		}
		return true, err
	}
}

// applySome folds records in one transaction, or in steps, up to the first late one, and
// returns how many. Records that are folded ahead are passed over; the cursor moves
// past all of them at the end. An error of the journal or of the store leaves everything
// as it was, and the next wake tries again, unless something was committed already (breaks).
func (f *Fold) applySome(recs []*journal.Record, stepping bool) (took int, err error) {
	b := f.newBatch()
	defer b.discard()
	b.stepping = stepping
	if stepping {
		if err := b.step(); err != nil {
			return 0, err
		}
	}
	for i, rec := range recs {
		if !b.meta.IsAhead(rec.N) {
			late, err := b.applyUnless(rec, !stepping)
			if err != nil {
				return 0, err
			}
			if late && !stepping {
				recs = recs[:i]
				break
			}
		}
		if stepping {
			if err := b.emit(); err != nil {
				return 0, err
			}
		}
		f.observe(rec)
	}
	if len(recs) == 0 {
		return 0, nil
	}
	b.arrived = keyspace.Span{First: recs[0].N, Last: recs[len(recs)-1].N}
	if err := b.commit(); err != nil {
		return 0, err
	}
	if err := f.Store.Sync(); err != nil {
		return 0, f.breaks(err)
	}
	return len(recs), f.finish(b)
}
