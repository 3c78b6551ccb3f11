package fold

import (
	"errors"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/db/internal/seen"
	"github.com/weftdb/weft/internal/store"
)

// Horizons say that records stand elsewhere than at their clocks (package place). What is new
// is put there at once. What is folded is moved: out of the histories of its documents and in
// again, in one refold of each.
//
// Invariant: the store says of each record where it stands before a history names it there. A
// piece of the moves is one transaction, or steps behind the marker, and between two of them
// every document is what the places of now give; horizons are due until all is moved.

// The bounds of one piece of moves.
const (
	maxMovedOps   = 4096
	maxMovedBytes = 4 << 20
)

// source is what places rest on.
func (f *Fold) source() *place.Source {
	return &place.Source{
		Sight:  seen.Sight{Journal: f.Journal, Voids: f.laws.Voids, Below: f.laws.Below},
		Record: f.record,
	}
}

// record returns the record that arrived as number n, where it stands.
func (f *Fold) record(n int64) (*journal.Record, error) {
	if r := f.recent.Get(n); r != nil {
		return r, nil
	}
	return journal.ReadAhead(f.Journal, &f.recent, f.recent.Get, f.places.Put, n, 1, nil)
}

// place has new records stand where horizons say, and stores that before anything is made
// of it.
func (f *Fold) place(recs []*journal.Record) error {
	ms, err := f.places.Place(f.source(), recs)
	if err == nil && len(ms) > 0 {
		if err = place.WriteAll(f.Store, f.places.NoteMoves(ms)); err == nil {
			f.places.TakeMoves(ms)
		}
	}
	return err
}

// noteHorizon notes that a horizon is folded.
func (b *batch) noteHorizon(rec *journal.Record) error {
	b.horizons = append(b.horizons, rec)
	return place.Put(b.fold.places.Note(rec), b.put, b.del)
}

// weighSome does a piece of what horizons that are due ask for; more says that there may be
// others.
func (f *Fold) weighSome() (more bool, err error) {
	if f.plan == nil {
		due, err := f.places.Wakes(f.source())
		if err != nil || !due {
			return false, err
		}
		if err := f.dropMerge(); err != nil { // what it gathered stands where it did before
			return false, err
		}
		if f.plan, err = f.places.Judge(f.source(), f.isFolded, f.lastFolded()); err != nil {
			return false, err
		}
	}
	if len(f.plan.Moves) == 0 {
		err = f.weighed()
	} else {
		var took int
		took, err = f.moveSome(f.plan.Moves)
		f.plan.Moves = f.plan.Moves[took:]
	}
	if err != nil {
		f.plan = nil // what is due stays so
	}
	return f.plan != nil, err
}

// weighAll does all of it, without a pause.
func (f *Fold) weighAll() error {
	for {
		if more, err := f.weighSome(); !more || err != nil {
			return err
		}
	}
}

// weighed ends what weighSome has done.
func (f *Fold) weighed() error {
	if err := place.WriteAll(f.Store, f.places.NotePlan(f.plan)); err != nil {
		return err
	}
	if err := f.Store.Sync(); err != nil {
		return f.breaks(err)
	}
	f.places.Adopt(f.plan)
	f.plan = nil
	f.publish(&change.News{})
	f.Journal.Flushed(f.meta.Cursor)
	return nil
}

// moveSome moves some records, and returns how many.
func (f *Fold) moveSome(ms []place.Move) (took int, err error) {
	for n := min(len(ms), maxMovedOps); ; n = max(1, took/2) {
		took, err = f.tryMove(ms[:n], false)
		if !errors.Is(err, store.ErrTooBig) {
			return took, err
		}
		if took == 1 {
			_, err = f.tryMove(ms[:1], true)
			return 1, f.breaks(err)
		}
	}
}

// tryMove moves as many records as one piece may, in one transaction or in steps.
func (f *Fold) tryMove(ms []place.Move, stepping bool) (took int, err error) {
	b := f.newBatch()
	defer b.discard()
	back := f.stand(ms)
	n, err := b.fit(ms)
	if err == nil {
		f.stand(back[n:])
		b.stepping = stepping
		err = b.move(ms[:n])
	}
	if err == nil {
		err = b.commit()
	}
	if err != nil {
		f.stand(back)
		return n, err
	}
	if err := f.Store.Sync(); err != nil {
		return n, f.breaks(err)
	}
	return n, f.finish(b)
}

// stand has records stand elsewhere, and returns the moves that undo it.
func (f *Fold) stand(ms []place.Move) (back []place.Move) {
	for _, m := range ms {
		f.recent.Drop(m.N)
	}
	return f.places.TakeMoves(ms)
}

// fit reads records that move, and returns how many are one piece.
func (b *batch) fit(ms []place.Move) (n int, err error) {
	ops, bytes := 0, 0
	for n < len(ms) && (n == 0 || ops < maxMovedOps && bytes < maxMovedBytes) {
		rec, err := b.recordAhead(ms[n].N, len(ms)-n, func(k int) int64 { return ms[n+k].N })
		if err != nil {
			return n, err
		}
		b.records[rec.N] = rec
		ops, bytes = ops+len(rec.Ops), bytes+rec.Size()
		n++
	}
	return n, nil
}

// move folds the documents of records again that stand elsewhere now.
func (b *batch) move(ms []place.Move) error {
	b.moving, b.elsewhere = ms, map[int64]bool{}
	if err := place.Put(b.fold.places.NoteMoves(ms), b.put, b.del); err != nil {
		return err
	}
	if b.stepping {
		if err := b.step(); err != nil {
			return err
		}
	}
	g := b.newRefolder()
	recs := make([]*journal.Record, len(ms))
	for i, m := range ms {
		rec, err := b.record(m.N)
		if err != nil {
			return err
		}
		recs[i], b.elsewhere[m.N] = rec, true
		for k := range rec.Ops {
			if err := g.gain(docKey{Coll: rec.Ops[k].Coll, ID: string(rec.Ops[k].Key)}, rec.Ref(k), true); err != nil {
				return err
			}
		}
	}
	for _, rec := range recs {
		for k := range rec.Ops {
			op := &rec.Ops[k]
			// It lies nowhere before its clock.
			if err := g.include(op.Coll, op.Key, op.ID, keyspace.Ref{Time: rec.Clock, N: rec.N, Index: uint32(k)}); err != nil {
				return err
			}
		}
	}
	if err := g.judgeAll(); err != nil {
		return err
	}
	for _, r := range g.order {
		r.unnamed = true
	}
	return g.write()
}

// isGone reports whether an operation of a history does not count, or not there.
func (b *batch) isGone(ev *Event) (bool, error) {
	if b.gone.Has(ev.Ref.N) || !ev.known || !b.elsewhere[ev.Ref.N] {
		return b.gone.Has(ev.Ref.N), nil
	}
	rec, err := b.record(ev.Ref.N)
	return err == nil && rec.Time != ev.Ref.Time, err
}
