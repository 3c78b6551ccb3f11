package fold

import (
	"errors"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// A merge folds a late record, and with it all that has arrived after it: the late
// operations are collected by document, and each document is folded again once.
//
//	gather    reads the journal to its end, or as far as the bounds allow
//	judge     loads the documents, follows atomic transactions, judges in stamp order
//	prepare   writes ahead, unseen, the history that is new
//	commit    writes what was found, and applies in place what was not late
//
// All but the commit is done in pieces, and the committer serves local
// writes between two of them; records that these add are folded ahead of the cursor,
// and what they do to documents of the merge is judged before the commit. So two sides
// of n operations on one document cost 2n operations judged and 2n records read,
// however they arrived, and nobody waits longer than for a piece or the commit.
//
// If the process ends before the commit, the merge begins again; within the steps of a
// commit that is too big for one transaction, Open finishes it (redo).
type merge struct {
	fold  *Fold
	recs  []*journal.Record // in the order of arrival, without those ahead of the cursor
	read  int64             // arrivals are gathered up to here
	first int64
	ended bool      // all is gathered
	bytes int       // of recs and their documents, in memory
	ops   int       // of recs
	plain int       // of ops that are not late
	b     *batch    // that the refolder reads with, from before the commits since
	again *refolder // nil until all is gathered
	tries int       // how often it began again
}

// The bounds of one merge. What is over them is for the next.
const (
	maxMergeOps   = 1 << 17
	maxMergePlain = 1 << 14 // operations that are not late: they are judged in the commit
	maxMergeBytes = 64 << 20
	gatherBytes   = 128 << 10 // of the journal, in one piece
	maxTries      = 3         // then without a pause
)

// startMerge begins a merge with records that follow the cursor.
func (f *Fold) startMerge(recs []*journal.Record) error {
	f.merge = &merge{fold: f, first: recs[0].N}
	f.merge.b = f.newBatch()
	f.merge.again = f.merge.b.newRefolder()
	return f.merge.take(recs)
}

// dropMerge gives up a merge that is under way, and what it prepared; what it would fold has
// still to be.
func (f *Fold) dropMerge() error {
	f.endMerge()
	return f.prepared.Drop(f.Store, f.Space, f.Cat, f.isFolded)
}

func (f *Fold) endMerge() {
	if f.merge != nil {
		f.merge.b.discard()
		f.merge = nil
	}
}

// mergeSome does a piece of the merge.
func (f *Fold) mergeSome() (err error) {
	m, work := f.merge, f.Piece
	defer func() {
		if err != nil {
			f.endMerge()
		}
	}()
	for !m.ended && work > 0 {
		n := m.ops
		if err := m.gather(); err != nil {
			return err
		}
		work -= 1 + (m.ops-n)/2
	}
	if !m.ended {
		return nil
	}
	done, err := m.again.judgeSome(&work)
	if m.tries >= maxTries && err == nil {
		err, done = m.again.judgeAll(), true
	}
	if err == nil && done {
		done, err = m.prepare(&work)
	}
	if err == nil && done && work > 0 {
		done, err = m.commit(false)
		if errors.Is(err, store.ErrTooBig) {
			done, err = m.commit(true)
			err = f.breaks(err)
		}
		if done && err == nil {
			f.merge = nil
		}
	}
	if errors.Is(err, errEarlier) {
		return m.restart()
	}
	return err
}

// gather takes the next records of the journal.
func (m *merge) gather() error {
	as, err := m.fold.Journal.Arrivals(m.read, gatherBytes)
	if err != nil {
		return err
	}
	if len(as) == 0 {
		m.ended = true
		return nil
	}
	recs := journal.DecodeAll(as, true)
	if err := m.fold.place(recs); err != nil {
		return err
	}
	return m.take(recs)
}

// take adds records, up to the bounds.
func (m *merge) take(recs []*journal.Record) error {
	f := m.fold
	for _, rec := range recs {
		if len(m.recs) > 0 && (m.ops+len(rec.Ops) > maxMergeOps || m.plain+len(rec.Ops) > min(maxMergePlain, f.BudgetOps) || m.bytes > maxMergeBytes) {
			m.ended = true
			return nil
		}
		m.read = rec.N
		if f.meta.IsAhead(rec.N) {
			continue
		}
		m.recs = append(m.recs, rec)
		m.ops += len(rec.Ops)
		m.bytes += rec.Size()
		f.observe(rec) // so that what is written here meanwhile comes after it
		if err := m.sort(m.again, rec); err != nil {
			return err
		}
	}
	return nil
}

// sort tells the refolder what rec adds to which document, and where it is late.
func (m *merge) sort(g *refolder, rec *journal.Record) error {
	b := g.b
	b.records[rec.N] = rec
	b.pending.Await(rec)
	if rec.Bad != nil || m.fold.cut.Voids(rec.ID, rec.Snapshot) {
		return nil
	}
	for i := range rec.Ops {
		op, r := &rec.Ops[i], rec.Ref(i)
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return err
		}
		k := docKey{Coll: op.Coll, ID: string(op.Key)}
		late, err := b.late(e, r)
		if err != nil {
			return err
		}
		late = late || rec.View != nil && e.Count > 0
		if n := g.add[k]; n == nil {
			m.bytes += len(e.Doc)
		} else if !late {
			// Also if it comes before one that is in this merge.
			late = n.late
			if c, err := b.compare(r, n.refs[len(n.refs)-1]); err != nil {
				return err
			} else if c < 0 {
				late = true
			}
		}
		if err := g.gain(k, r, late); err != nil {
			return err
		}
		if !late {
			m.plain++
			continue
		}
		if err := g.include(op.Coll, op.Key, op.ID, r); err != nil {
			return err
		}
	}
	return nil
}

// restart begins to judge again, on what is stored now.
func (m *merge) restart() error {
	m.b.discard()
	m.tries++
	m.b = m.fold.newBatch()
	m.again = m.b.newRefolder()
	m.plain, m.bytes = 0, 0
	for _, rec := range m.recs {
		m.bytes += rec.Size()
		if err := m.sort(m.again, rec); err != nil {
			return err
		}
	}
	return nil
}

// commit writes the merge, in one transaction or in steps. It is not done if so much
// was added to its documents meanwhile that this should be judged first.
func (m *merge) commit(stepping bool) (done bool, err error) {
	f := m.fold
	b := f.newBatch()
	for _, rec := range m.recs {
		b.records[rec.N] = rec
	}
	b.pending = m.b.pending
	if err := m.again.rebind(b); err != nil {
		b.discard()
		return false, err
	}
	m.b.discard()
	m.b = b
	work := f.Piece
	if done, err := m.again.judgeSome(&work); !done || err != nil {
		return false, err
	}
	b.stepping, b.merging = stepping, m.read
	if stepping {
		if err := b.step(); err != nil {
			return false, err
		}
	}
	if err := b.writeMerge(m.again, m.recs); err != nil {
		return false, err
	}
	b.arrived = keyspace.Span{First: m.first, Last: m.read}
	if err := b.commit(); err != nil {
		return false, err
	}
	if err := f.Store.Sync(); err != nil {
		return false, f.breaks(err)
	}
	err = f.finish(b)
	b.discard()
	return true, err
}

// writeMerge writes what g found, and applies the rest of the records.
func (b *batch) writeMerge(g *refolder, recs []*journal.Record) error {
	b.folding = recs[len(recs)-1]
	if err := g.write(); err != nil {
		return err
	}
	for _, r := range g.order {
		r.e.settled = true
	}
	for _, rec := range recs {
		if err := b.apply(rec); err != nil {
			return err
		}
		if b.stepping {
			if err := b.emit(); err != nil {
				return err
			}
		}
	}
	for _, r := range g.order {
		r.e.settled = false
	}
	return nil
}

// mergeNow folds records without a pause, in the batch.
func (b *batch) mergeNow(recs []*journal.Record) error {
	if len(recs) == 0 {
		return nil
	}
	m := &merge{fold: b.fold, recs: recs}
	g := b.newRefolder()
	for _, rec := range recs {
		if err := m.sort(g, rec); err != nil {
			return err
		}
	}
	if err := g.judgeAll(); err != nil {
		return err
	}
	return b.writeMerge(g, recs)
}

// observe keeps the clock ahead of what is folded. A time too far ahead is the
// journal's to hold back; the fold does not need the clock.
func (f *Fold) observe(rec *journal.Record) {
	if err := f.Clock.Observe(rec.Clock); err != nil {
		f.Logf("record %v: %v", rec.ID, err)
	}
}
