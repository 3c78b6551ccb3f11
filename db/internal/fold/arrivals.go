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
// likely to take; if it does not, half as many, and one alone in steps. At a late record
// it begins a merge, of which each call does a piece. more says that there may be others.
func (f *Fold) applyArrivals() (more bool, err error) {
	if f.merge != nil {
		return true, f.mergeSome()
	}
	as, err := f.Journal.Arrivals(f.meta.Cursor, f.BudgetBytes)
	if err != nil || len(as) == 0 {
		return false, err
	}
	recs := decodeAll(as, true)
	ops := 0
	n := 0
	for n < len(recs) && (n == 0 || ops+len(recs[n].Ops) <= f.BudgetOps) {
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

// decodeAll decodes arrivals on two goroutines, and with seeds hashes the documents that
// they insert: that is most of the work of catching up, and needs nothing of the committer.
func decodeAll(as []journal.Arrival, seeds bool) []*journal.Record {
	recs := make([]*journal.Record, len(as))
	var wg sync.WaitGroup
	half := func(from int) {
		var buf []byte
		for i := from; i < len(as); i += 2 {
			r := journal.Decode(&as[i])
			recs[i] = r
			if !seeds {
				continue
			}
			r.Seeds = make([]lthash.Seed, len(r.Ops))
			for k := range r.Ops {
				if op := &r.Ops[k]; op.Kind == payload.Insert {
					buf = buf[:0]
					r.Seeds[k] = keyspace.DocSeed(buf, op.Coll, op.Key, op.Doc)
				}
			}
		}
	}
	wg.Go(func() { half(1) })
	half(0)
	wg.Wait()
	return recs
}
