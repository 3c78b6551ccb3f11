package fold

import (
	"slices"

	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/db/internal/value"
)

// An interrupted is what an attempt that ended between steps had left to do.
type interrupted struct {
	rescans []rescan
	writing *keyspace.RedoWriting
}

// step commits what is written so far, with the marker, and begins the next
// transaction. Readers keep the view from before the first step.
//
// Of what is written a part may be missing, but nothing may point at what is not there:
// entries come before heads, notes before what they note, the cursor last of all.
func (b *batch) step() error {
	mk := keyspace.RedoMarker{Void: cut.EncodeMarks(b.voiding), Writing: b.writing, Merging: b.merging}
	for _, m := range b.moving {
		mk.Moving = append(mk.Moving, keyspace.RedoMove(m))
	}
	todo := slices.Clone(b.rescans)
	for name, from := range b.foreseen {
		todo = append(todo, rescan{name, from})
	}
	for _, s := range todo {
		mk.Rescans = append(mk.Rescans, keyspace.NewRedoRescan(s.coll, s.from))
	}
	if err := mk.Save(b.tx, b.fold.Space); err != nil {
		return err
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	b.fold.meta = b.meta
	b.meta = b.fold.meta.Copy()
	b.stats = map[uint32]keyspace.CollStats{}
	b.holders.Close()
	b.tx = b.fold.Store.Begin()
	return nil
}

// redoSteps finishes steps that a crash interrupted. What the steps had done is done
// again, with redo set: it comes to the same, only what is written anew is not counted
// twice, because counts and hash follow what the store had (entry.was).
func (f *Fold) redoSteps(marker []byte) error {
	mk, err := keyspace.ParseRedo(marker)
	if err != nil {
		return err
	}
	left := &interrupted{writing: mk.Writing}
	for _, s := range mk.Rescans {
		left.rescans = append(left.rescans, rescan{s.Coll, s.From()})
	}
	if len(mk.Void) > 0 {
		changed, err := cut.ParseMarks(mk.Void)
		if err != nil {
			return err
		}
		return f.voidSteps(changed, left)
	}
	b := f.newBatch()
	defer b.discard()
	b.stepping, b.merging = true, mk.Merging
	for _, m := range mk.Moving {
		b.moving = append(b.moving, place.Move(m))
	}
	if err := b.resume(left); err != nil {
		return err
	}
	if len(b.moving) > 0 { // the store says where to
		err = b.move(b.moving)
	} else {
		err = b.foldAgain(mk.Merging)
	}
	if err != nil {
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := f.Store.Sync(); err != nil {
		return err
	}
	f.takeOver(b)
	return nil
}

// foldAgain folds the records after the cursor up to arrival last, or the next one alone.
func (b *batch) foldAgain(last int64) error {
	size := gatherBytes
	if last == 0 {
		size = 1
	}
	var recs []*journal.Record
	for read := b.meta.Cursor; ; {
		as, err := b.fold.Journal.Arrivals(read, size)
		if err != nil {
			return err
		}
		for i := range as {
			n := as[i].N
			if last == 0 {
				last = n
			}
			if n > last {
				break
			}
			if b.arrived.First == 0 {
				b.arrived.First = n
			}
			b.arrived.Last, read = n, n
			if !b.meta.IsAhead(n) {
				recs = append(recs, journal.Decode(&as[i]))
			}
		}
		if len(as) == 0 || as[len(as)-1].N >= last {
			if err := b.fold.place(recs); err != nil {
				return err
			}
			return b.mergeNow(recs)
		}
	}
}

// resume takes over what an interrupted attempt left.
//
// Refusals, cached states and entries are written before the head and the history
// that they are of, and what is folded now may go past the state that the attempt was
// about to write. So a resumed batch does not rely on head and history to find them:
// it looks for a refusal of each operation, and for cached states of each document,
// that it folds, which are at least those that the attempt folded; the entries are
// made those of the head here.
//
//	a: head n=6, entry 6 → the attempt wrote entry 101, deleted 6, ended
//	b, joined to a, is folded first now: a comes to n=1, and never to 101
func (b *batch) resume(left *interrupted) error {
	b.redo, b.resumed, b.rescans = true, true, left.rescans
	w := left.writing
	if w == nil {
		return nil
	}
	e, err := b.entry(w.Coll, w.ID, value.Value{})
	if err != nil {
		return err
	}
	back := &entry{coll: e.coll, idKey: e.idKey, Head: e.Head}
	back.was.Doc = w.Doc
	b.writing = w // in the marker until it is done
	if err := b.emitIndexes(back); err != nil {
		return err
	}
	b.writing = nil
	b.forget()
	return nil
}
