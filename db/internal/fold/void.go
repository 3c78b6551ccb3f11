package fold

import (
	"bytes"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// The cut says which records count as never written. When it changes, a document's
// history must lose, or get back, the operations of these records.
//
// Invariant: the marker in the store names every log that changes, with its position
// before, until all is done; so that whoever finishes knows the cut before (from the
// marks) and the cut now (from the store), and "what changed" never depends on how far
// the attempt before had got. Repeating a step is harmless: a refold is a function of
// the history alone.
//
//	log L void 1…3, was 1…5:     records 4 and 5 count again    → back: folded as if they arrived now
//	log M void 9…, was nothing:  records from 9 on do not count → gone: their documents are swept
//	stored while under way:      v L=1…3, v M=9…, marker {L: 1…5, M: nothing}
//	crash, Open:                 old = cut.Before(marks); the same two sets come out again

// voidSteps folds again what the change of the cut touches: first what counts
// again, snapshots among it, then whatever else has operations that do not count.
// left is of an interrupted attempt, or nil. After one a document may have lost its
// operations while another, which an atomic transaction joins to it, is not folded
// again yet, so that the records are asked.
func (f *Fold) voidSteps(marks []cut.Mark, left *interrupted) error {
	b := f.newBatch()
	defer b.discard()
	b.stepping, b.redo, b.voiding, b.voidBytes = true, true, marks, cut.SizeOf(marks)
	b.gone = &cut.Arrivals{}
	old := f.cut.Before(marks)
	if b.cutting = len(f.cut.Snapshots) > 0 || len(old.Snapshots) > 0; b.cutting {
		b.gapAll()
	}
	var back, out []int64
	err := f.eachFolded(func(n int64, id clock.RecordID, snapshot bool) {
		if f.cut.Voids(id, snapshot) {
			b.gone.Add(n)
			if left != nil && !old.Voids(id, snapshot) {
				out = append(out, n)
			}
		} else if old.Voids(id, snapshot) {
			back = append(back, n)
		}
	})
	if err != nil {
		return err
	}
	if left != nil {
		if err := b.resume(left); err != nil {
			return err
		}
	}
	if err := b.takeBack(back); err != nil {
		return err
	}
	if err := b.takeOut(out); err != nil {
		return err
	}
	if err := b.sweep(); err != nil {
		return err
	}
	f.laws.Renew()                                  // a history may end as before, and be another
	if b.cat.Colls[judge.SystemCollection] != nil { // others of a chain hold now, or are whole
		b.rescans = append(b.rescans, rescan{judge.SystemCollection, everOn})
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := f.Store.Sync(); err != nil {
		return err
	}
	return f.finish(b)
}

// takeBack folds the arrivals ns, which count again.
func (b *batch) takeBack(ns []int64) error {
	var recs []*journal.Record
	size := 0
	for i, n := range ns {
		rec, err := b.recordAhead(n, len(ns)-i, func(k int) int64 { return ns[i+k] })
		if err != nil {
			return err
		}
		recs, size = append(recs, rec), size+rec.Size()
		if size < maxMergeBytes && i < len(ns)-1 {
			continue
		}
		if err := b.mergeNow(recs); err != nil {
			return err
		}
		if err := b.emit(); err != nil {
			return err
		}
		b.forget()
		recs, size = nil, 0
	}
	return nil
}

// maxTakenOut bounds the documents that takeOut keeps in memory.
const maxTakenOut = 100_000

// takeOut folds the documents of the arrivals ns again.
func (b *batch) takeOut(ns []int64) error {
	type doc struct{ coll, key string }
	first := map[doc]keyspace.Ref{}
	for i, n := range ns {
		rec, err := b.record(n)
		if err != nil {
			return err
		}
		for k := range rec.Ops {
			d := doc{rec.Ops[k].Coll, string(rec.Ops[k].Key)}
			r := rec.Ref(k)
			if had, ok := first[d]; ok {
				if c, err := b.compare(had, r); err != nil {
					return err
				} else if c <= 0 {
					continue
				}
			}
			first[d] = r
		}
		if len(first) < maxTakenOut && i < len(ns)-1 {
			continue
		}
		for d, r := range first {
			if err := b.unfold(d.coll, []byte(d.key), r); err != nil {
				return err
			}
			if err := b.emit(); err != nil {
				return err
			}
		}
		b.forget()
		clear(first)
	}
	return nil
}

// sweep folds every document again that has operations that do not count, and
// takes back the refusals of such records.
func (b *batch) sweep() error {
	for _, name := range slices.Sorted(maps.Keys(b.cat.Colls)) {
		prefix := b.fold.Space.Key(keyspace.TagDoc, keyspace.Num(b.coll(name).Num))
		for at := prefix; at != nil; {
			if b.tx.Used().Puts > 0 { // a snapshot is walked, which keeps no note of what it read
				if err := b.step(); err != nil {
					return err
				}
			}
			found, next, err := b.goneDocs(prefix, at)
			if err != nil {
				return err
			}
			for i := range found {
				if err := b.unfold(name, found[i].Key, found[i].From); err != nil {
					return err
				}
			}
			if err := b.emit(); err != nil {
				return err
			}
			b.forget()
			at = next
		}
	}
	return b.sweepRefused()
}

// unfold folds one document again from the place of an operation that does not count.
func (b *batch) unfold(coll string, key []byte, from keyspace.Ref) error {
	var id value.Value
	if coll == judge.SystemCollection { // whose name the fold needs
		rec, err := b.record(from.N)
		if err != nil {
			return err
		}
		if rec.Bad != nil || int(from.Index) >= len(rec.Ops) {
			return keyspace.ErrCorrupt
		}
		id = rec.Ops[from.Index].ID
	}
	e, err := b.entry(coll, key, id)
	if err != nil {
		return err
	}
	if e.Count == 0 {
		return nil
	}
	return b.refold([]lateOp{{e, from, false}})
}

// goneDocs returns up to 256 documents from key at on that have operations that
// do not count, with the first of these, and where to go on.
func (b *batch) goneDocs(prefix, at []byte) ([]cut.GoneDoc, []byte, error) {
	snap := b.fold.Store.Snapshot()
	defer snap.Release()
	history := slices.Clone(prefix)
	history[len(b.fold.Space)] = keyspace.TagHistory
	g := cut.Finder{Gone: b.gone, Compare: b.compare}
	return g.Docs(snap, prefix, history, at)
}

// sweepRefused takes back the refusals of malformed records that do not count;
// those of operations went with their documents' history. What the feed would
// tell of refusals that were cut off goes too.
func (b *batch) sweepRefused() error {
	if b.cutting {
		if err := b.sweepNoted(); err != nil {
			return err
		}
	}
	found, err := b.gone.Under(b.tx, b.fold.Space.Key(keyspace.TagRefused))
	for _, r := range found {
		if err != nil {
			return err
		}
		var rec *journal.Record
		if rec, err = b.record(r.N); err == nil {
			err = b.refuse(r, rec, nil, judge.Verdict{})
		}
	}
	return err
}

// sweepNoted deletes what was noted for the feed of refusals of records that do
// not count.
func (b *batch) sweepNoted() error {
	p := b.fold.Space.Key(keyspace.TagNoted)
	snap := b.fold.Store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := keyspace.Scanner{B: it.Key()[len(p):]}
		s.U64()
		if r := s.Ref(); s.Bad || !b.gone.Has(r.N) {
			continue
		}
		if err := b.del(bytes.Clone(it.Key())); err != nil {
			return err
		}
	}
	return it.Err()
}
