package fold

import (
	"context"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/covered"
	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A pacedCut is a cut that changes no document, so that local writes pass between its
// pieces: its snapshot is what this fold itself gave, or what it finds that the covered
// records give, and all that is folded besides comes after what is covered.
//
//	before   10 insert   20 $inc   30 $set (refused)   50 $inc     covered up to 40
//	after    0 snapshot                                50 $inc     its verdict stands
//
// Invariant: between two pieces each document has either all of its covered operations, or
// the snapshot in their place, and after either its state is the same. So what is judged
// meanwhile is judged on a state that every replica can have, and nothing is judged again.
// What arrives meanwhile waits. The marker is that of any cut: after an end, Open does the
// rest as voidSteps does, by the histories alone.
type pacedCut struct {
	*covered.Pace
	marks []cut.Mark
	asker *Request

	begun bool
	rec   *journal.Record // the first of Back, the arrivals of the snapshot that are not done
	at    int             // the next of its operations
	colls []string        // that are not swept
	key   []byte          // where in the first of them; nil for its beginning
}

// pacedPuts bounds what a piece, for which local writes wait, writes; it takes Fold.Piece
// documents at most. A document is never divided.
const pacedPuts = 4096

// coveredStates finds what the covered operations left of documents; ok is false if one of
// these comes after one that is not covered.
func (f *Fold) coveredStates(ctx context.Context, docs []covered.Doc, gone *cut.Arrivals) (ok bool, err error) {
	err = f.inCommitter(ctx, func() (err error) { ok, err = f.coveredHere(docs, gone); return err })
	return ok, err
}

func (f *Fold) coveredHere(docs []covered.Doc, gone *cut.Arrivals) (ok bool, err error) {
	b := f.newBatch()
	defer b.discard()
	for i := range docs {
		d := &docs[i]
		e, err := b.entry(d.Coll, d.Key, d.ID)
		if err != nil {
			return false, err
		}
		evs, err := b.eventsAfter(e, 0)
		if err != nil {
			return false, err
		}
		state := e.State
		if n := slices.IndexFunc(evs, func(ev Event) bool { return !gone.Has(ev.Ref.N) }); n >= 0 {
			if slices.ContainsFunc(evs[n:], func(ev Event) bool { return gone.Has(ev.Ref.N) }) {
				return false, nil
			}
			r := &refolding{coll: d.Coll, idKey: d.Key, id: d.ID, from: evs[n].Ref, at: -1}
			if err := b.newRefolder().load(r); err != nil {
				return false, err
			}
			state = r.cur
		}
		d.Set(state)
	}
	return true, nil
}

// begin has the committer take the cut, and then answer r.
func (p *pacedCut) begin(f *Fold, marks []cut.Mark, r *Request) {
	p.marks, p.asker = marks, r
	p.colls = slices.Sorted(maps.Keys(f.Cat.Colls))
	f.pacing = p
	f.paced.Add(1)
}

// PacedCuts returns how many cuts were taken in pieces.
func (f *Fold) PacedCuts() int64 { return f.paced.Load() }

// dropPaced gives up a cut that is under way; Open finishes it.
func (f *Fold) dropPaced(err error) {
	if p := f.pacing; p != nil {
		f.pacing = nil
		p.asker.Err = err
		close(p.asker.done)
	}
}

// hinders reports whether requests wait for the whole cut: what they do is not just the
// last operation of some documents.
func (p *pacedCut) hinders(accepted []*judged) bool {
	return p != nil && slices.ContainsFunc(accepted, func(j *judged) bool {
		if j.slow || j.rec.Time <= p.Latest {
			return true
		}
		return slices.ContainsFunc(j.entries, func(e *entry) bool { return e.coll.Name == judge.SystemCollection })
	})
}

// paceAll does what is left of a cut without a pause.
func (f *Fold) paceAll() error {
	for f.pacing != nil {
		if err := f.paceSome(); err != nil {
			return err
		}
	}
	return nil
}

// paceSome does a piece of the cut.
func (f *Fold) paceSome() error {
	p := f.pacing
	b := f.newBatch()
	defer b.discard()
	b.stepping, b.voiding, b.voidBytes, b.cutting, b.gone = true, p.marks, cut.SizeOf(p.marks), true, p.Gone
	if !p.begun {
		b.gapAll()
	}
	done, err := p.some(b)
	if err == nil {
		err = b.emit()
	}
	switch {
	case err != nil:
	case !done:
		if err = b.step(); err == nil {
			f.takeOver(b)
			p.begun = true
		}
	default:
		b.gapAll()
		if err = b.commit(); err == nil {
			err = f.Store.Sync()
		}
		if err == nil {
			f.pacing = nil
			if err = f.finish(b); err == nil {
				err = f.weighAll()
			}
			p.asker.Err = err
			close(p.asker.done)
		}
	}
	if err = f.breaks(err); err != nil {
		f.dropPaced(err)
	}
	return err
}

// gapAll tells watches of gaps: what they have not read yet may be deleted next.
func (b *batch) gapAll() {
	for _, c := range b.cat.Colls {
		b.gap(c)
	}
}

// some does a piece in a batch, and reports whether it was the last.
func (p *pacedCut) some(b *batch) (done bool, err error) {
	docs := 0
	for len(p.Back) > 0 {
		if p.rec == nil {
			if p.rec, err = b.record(p.Back[0]); err != nil {
				return false, err
			}
		}
		b.records[p.rec.N] = p.rec
		for ; p.at < len(p.rec.Ops); p.at++ {
			if docs == b.fold.Piece || b.tx.Used().Puts > pacedPuts {
				return false, nil
			}
			op, r := &p.rec.Ops[p.at], p.rec.Ref(p.at)
			e, err := b.entry(op.Coll, op.Key, op.ID)
			if err == nil {
				err = b.replaceGone(e, &r, keyspace.State{Doc: op.Doc, Mod: clock.Time(op.Mod)})
			}
			if err != nil {
				return false, err
			}
			if docs++; docs%64 == 0 {
				if err := b.emit(); err != nil {
					return false, err
				}
			}
		}
		p.Back, p.rec, p.at = p.Back[1:], nil, 0
	}
	if docs > 0 {
		return false, nil // the sweep reads what is committed
	}
	if len(p.colls) == 0 {
		return true, b.sweepRefused()
	}
	name := p.colls[0]
	prefix := b.fold.Space.Key(keyspace.TagDoc, keyspace.Num(b.coll(name).Num))
	if p.key == nil {
		p.key = prefix
	}
	found, next, err := b.goneDocs(prefix, p.key)
	if err != nil {
		return false, err
	}
	for i := range found {
		e, err := b.entry(name, found[i].Key, value.Value{})
		if err == nil {
			err = b.replaceGone(e, nil, keyspace.State{})
		}
		if err != nil {
			return false, err
		}
	}
	if p.key = next; next == nil {
		p.colls = p.colls[1:]
	}
	return false, nil
}

// errDiffers reports a snapshot that is not what the covered records gave.
var errDiffers = fault.Of(keyspace.ErrCorrupt, "a document is not what the snapshot has")

// replaceGone puts the snapshot's operation at r, which leaves want, in the place of the
// covered operations of a document; nil for a document that the snapshot does not have.
// Like in writeHistory, at every step head or history name each operation that counts.
func (b *batch) replaceGone(e *entry, r *keyspace.Ref, want keyspace.State) error {
	evs, err := b.eventsAfter(e, 0)
	if err != nil {
		return err
	}
	is := func(ev Event) bool { return b.gone.Has(ev.Ref.N) }
	n := slices.IndexFunc(evs, func(ev Event) bool { return !is(ev) })
	if n < 0 {
		n = len(evs)
	}
	if n == 0 || slices.ContainsFunc(evs[n:], is) || r != nil && n == len(evs) && !keyspace.SameState(e.State, want) {
		return errDiffers
	}
	if err := b.dropBases(&refolding{e: e}); err != nil { // they count the covered ones
		return err
	}
	for _, ev := range evs[:n] {
		if ev.Code != keyspace.CodeOK {
			rec, err := b.record(ev.Ref.N)
			if err == nil {
				err = b.refuse(ev.Ref, rec, nil, judge.Verdict{})
			}
			if err != nil {
				return err
			}
		}
		if ev.kept {
			if err := b.del(b.historyKey(e, ev.Ref)); err != nil {
				return err
			}
		}
	}
	later := evs[n:]
	e.Count = uint64(len(later))
	if r != nil {
		e.Count++
	}
	switch {
	case len(later) == 0 && r != nil:
		e.Last, e.Code, e.Atomic = *r, keyspace.CodeOK, false
	case len(later) == 0:
		e.Head = keyspace.Head{}
	case r != nil:
		err = b.putHistory(e, *r, keyspace.CodeOK, false)
	case !slices.ContainsFunc(later, func(ev Event) bool { return ev.Code == keyspace.CodeOK }):
		e.State = keyspace.State{} // that it was deleted is history
	}
	b.touch(e)
	return err
}
