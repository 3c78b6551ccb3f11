package fold

import (
	"cmp"
	"context"
	"errors"
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
	upTo   int64       // every arrival up to there is covered; 0 if gone says which are
	latest clock.Time  // no operation that is covered is later
	log    clock.LogID // of the snapshot
	old    Cut
	read   int64 // the last arrival that follow has seen
	marks  []cut.Mark
	gone   *cut.Arrivals
	asker  *Request

	begun bool
	back  []int64         // the arrivals of the snapshot that are not done
	rec   *journal.Record // the first of them
	at    int             // the next of its operations
	colls []string        // that are not swept
	key   []byte          // where in the first of them; nil for its beginning
}

// pacedPuts bounds what a piece, for which local writes wait, writes; it takes Fold.Piece
// documents at most. A document is never divided.
const pacedPuts = 4096

// pace returns c as a cut that is taken in pieces, or nil if it changes a document, or if
// that is not known. It is not the committer's: it reads all of the snapshot.
func (f *Fold) pace(ctx context.Context, c, old *Cut) (*pacedCut, error) {
	made, fresh := f.made.Load(), c.Fresh(old)
	if len(fresh) != 1 || !c.Snapshots[fresh[0]].Whole {
		return nil, nil
	}
	if made == nil {
		return f.paceFound(ctx, c, old, fresh[0])
	}
	state := made.state
	if c.Tag != nil {
		state = c.Tag(state)
	}
	if c.Snapshots[fresh[0]].State != state {
		return f.paceFound(ctx, c, old, fresh[0])
	}
	p := &pacedCut{upTo: made.n, latest: made.latest, log: fresh[0], old: *old}
	if ok, err := p.follow(f, c); !ok {
		return nil, err
	}
	if _, err := covered.Snapshot(f.Journal, p.back, c, p.log, nil); err != nil {
		return nil, err
	}
	return p, nil
}

// paceFound is pace of a snapshot that this fold did not make, or does not remember. It is
// compared with what the covered records gave, document by document: what has no later
// operation is as it stands, and what has is folded up to the cut.
func (f *Fold) paceFound(ctx context.Context, c, old *Cut, log clock.LogID) (*pacedCut, error) {
	p := &pacedCut{log: log, old: *old}
	cp, err := f.Checkpoint(ctx, func(n int64) error { p.read = n; return nil })
	if err != nil {
		return nil, err
	}
	defer cp.Close()
	s, ok, err := c.Survey(f.Journal.IDs, p.read, old, log, covered.MaxAfter)
	if !ok {
		return nil, err
	}
	var docs []covered.Doc
	if docs, p.latest, ok, err = covered.Docs(f.Journal, s); !ok {
		return nil, err
	}
	p.back, p.gone = s.Back, s.Gone
	for some := range slices.Chunk(docs, 64) {
		r := &Request{Ctx: ctx}
		r.Do = func() (err error) { ok, err = f.coveredStates(some, s.Gone); return err }
		if err := f.Submit(r); err != nil || r.Err != nil || !ok {
			return nil, cmp.Or(err, r.Err)
		}
	}
	check, left, err := covered.Left(cp.v, docs)
	if err != nil {
		return nil, err
	}
	n, err := covered.Snapshot(f.Journal, p.back, c, log, check)
	if errors.Is(err, ErrSnapshot) || err == nil && n != left {
		return nil, nil // it is told when the cut is taken as a whole
	}
	if err == nil {
		f.compared.Store(&log)
	}
	return p, err
}

// coveredStates finds what the covered operations left of documents, in the committer; ok is
// false if one of these comes after one that is not covered.
func (f *Fold) coveredStates(docs []covered.Doc, gone *cut.Arrivals) (ok bool, err error) {
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

// follow reads on in the journal, and reports whether the cut still changes no document.
func (p *pacedCut) follow(f *Fold, c *Cut) (ok bool, err error) {
	if p == nil {
		return false, nil
	}
	ok = true
	var after []int64
	err = f.Journal.IDs(p.read, func(n int64, id clock.RecordID, snapshot bool) bool {
		p.read = n
		switch void := c.Voids(id, snapshot); {
		case n <= p.upTo:
			ok = void
		case id.Log == p.log && !void:
			p.back = append(p.back, n)
		case id.Log == p.log:
		case void != p.old.Voids(id, snapshot):
			ok = false
		case !void:
			after = append(after, n)
		}
		return ok
	})
	for _, n := range after {
		if err != nil || !ok {
			break
		}
		var rec *journal.Record
		if rec, err = journal.Read(f.Journal, n); err == nil {
			ok = rec.Time > p.latest && rec.View == nil // definitions are judged by what is held
		}
	}
	return ok && err == nil, err
}

// begin has the committer take the cut, and then answer r.
func (p *pacedCut) begin(f *Fold, marks []cut.Mark, r *Request) {
	p.marks, p.asker = marks, r
	if p.gone == nil {
		p.gone = &cut.Arrivals{}
	}
	for n := range p.upTo {
		p.gone.Add(n + 1)
	}
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
		if j.slow || j.rec.Time <= p.latest {
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
	b.stepping, b.voiding, b.voidBytes, b.cutting, b.gone = true, p.marks, cut.SizeOf(p.marks), true, p.gone
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
			err = f.finish(b)
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
	for len(p.back) > 0 {
		if p.rec == nil {
			if p.rec, err = b.record(p.back[0]); err != nil {
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
		p.back, p.rec, p.at = p.back[1:], nil, 0
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
