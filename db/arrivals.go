package db

import (
	"errors"
	"sync"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/store"
)

// applyArrivals folds the next records of the journal; more says that there
// may be others.
func (db *DB) applyArrivals() (more bool, err error) {
	as, err := db.journal.Arrivals(db.meta.cursor, db.budgetBytes)
	if err != nil || len(as) == 0 {
		return false, err
	}
	recs := db.decodeAll(as)
	ops := 0
	n := 0
	for n < len(recs) && (n == 0 || ops+len(recs[n].ops) <= db.budgetOps) {
		ops += len(recs[n].ops)
		n++
	}
	for ; ; n = max(1, n/2) {
		err := db.applySome(recs[:n], false, false)
		if errors.Is(err, store.ErrTooBig) {
			if n == 1 {
				return true, db.breaks(db.applySome(recs[:1], true, false))
			}
			continue
		}
		return true, err
	}
}

// applySome folds records in one transaction, or in steps.
func (db *DB) applySome(recs []*record, stepping, redo bool) error {
	b := db.newBatch()
	defer b.discard()
	b.stepping, b.redo = stepping, redo
	if stepping {
		if err := b.step(); err != nil {
			return err
		}
	}
	for _, rec := range recs {
		if !b.meta.isAhead(rec.n) {
			if err := b.fold(rec); err != nil {
				return err
			}
		}
		if stepping {
			if err := b.emit(); err != nil {
				return err
			}
		}
		// A time too far ahead is the journal's to hold back; the fold does not need the clock.
		if err := db.clock.Observe(rec.time); err != nil {
			db.logf("record %v: %v", rec.id, err)
		}
	}
	b.arrived = span{recs[0].n, recs[len(recs)-1].n}
	if err := b.commit(); err != nil {
		return err
	}
	if err := db.store.Sync(); err != nil {
		return db.breaks(err)
	}
	return db.finish(b)
}

// decodeAll decodes arrivals on two goroutines.
func (db *DB) decodeAll(as []Arrival) []*record {
	recs := make([]*record, len(as))
	var wg sync.WaitGroup
	half := func(from int) {
		var buf []byte
		for i := from; i < len(as); i += 2 {
			r := decode(&as[i])
			r.seeds = make([]lthash.Seed, len(r.ops))
			for k := range r.ops {
				if op := &r.ops[k]; op.Kind == payload.Insert {
					buf = buf[:0]
					r.seeds[k] = docSeed(buf, op.Coll, op.Key, op.Doc)
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
func (db *DB) remember(r *record) {
	if len(db.recent) >= 64 {
		clear(db.recent)
	}
	db.recent[r.n] = r
}
