package fold

import (
	"context"

	"github.com/weftdb/weft/db/internal/covered"
	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

type (
	// A Cut says what counts as never written.
	Cut = cut.Cut
	// A CutSnapshot stands in the place of that.
	CutSnapshot = cut.Snapshot
)

// ErrSnapshot reports a snapshot whose documents are not those that the records
// gave, or not those of its state hash.
var ErrSnapshot = covered.ErrSnapshot

// SetCut says what counts as never written, records that are still to come
// included. It replaces the cut of the call before: what that left out and this
// does not counts again. A snapshot that comes into force must have arrived as a
// whole; it is checked, and if it is not what it claims to be nothing changes and
// the error is [ErrSnapshot]. Setting the same again changes nothing.
func (f *Fold) SetCut(ctx context.Context, c Cut) error {
	c = c.Clone()
	var old Cut
	r := &Request{Ctx: ctx, Do: func() error { old = f.cut.Clone(); return f.heed() }}
	if err := f.Submit(r); err != nil {
		return err
	}
	if r.Err != nil {
		return r.Err
	}
	var paced *pacedCut
	if len(c.Fresh(&old)) > 0 { // what it stands for, and it, are to be folded
		err := f.Settle(ctx)
		if err == nil {
			paced, err = f.pace(ctx, &c, &old)
		}
		if err != nil {
			return err
		}
	}
	r = &Request{Ctx: ctx}
	r.Do = func() error { return f.setCut(c, paced, r) }
	if err := f.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// setCut notes the cut and what is to be done durably, and then does it; in pieces, after
// the last of which r is answered, if paced is not nil.
func (f *Fold) setCut(c Cut, paced *pacedCut, r *Request) error {
	marks := c.Marks(&f.cut)
	if len(marks) == 0 {
		return nil
	}
	f.laws.Renew()
	if paced != nil && !paced.old.Same(&f.cut) {
		paced = nil
	}
	if ok, err := paced.follow(f, &c); err != nil {
		return err
	} else if !ok {
		paced = nil
		if err := f.checkSnapshots(&c, marks); err != nil {
			return err
		}
	}
	f.dropMerge() // what it gathered may not count any more
	if err := f.dropPrepared(); err != nil {
		return err
	}
	b := f.newBatch()
	defer b.discard()
	for i := range marks {
		if err := c.Save(b.tx, f.Space, marks[i].Log); err != nil {
			return err
		}
	}
	mk := keyspace.RedoMarker{Void: cut.EncodeMarks(marks)}
	if err := mk.Save(b.tx, f.Space); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	f.cut = c
	f.laws.Renew()
	if paced != nil {
		paced.begin(f, marks, r)
		return nil
	}
	return f.breaks(f.voidSteps(marks, nil))
}

// checkSnapshots checks the snapshots that come into force by c: against the
// state hash that they come with and, if this replica has folded nothing but what
// they stand for, against its documents.
func (f *Fold) checkSnapshots(c *Cut, marks []cut.Mark) error {
	whole := true
	held := map[clock.LogID][]int64{}
	for _, m := range marks {
		if s, ok := c.Snapshots[m.Log]; ok && m.Snapshot != s.Last {
			held[m.Log] = nil
			whole = whole && s.Whole
		}
	}
	if len(held) == 0 {
		return nil
	}
	err := f.eachFolded(func(n int64, id clock.RecordID, snapshot bool) {
		_, fresh := held[id.Log]
		switch {
		case c.Voids(id, snapshot):
		case fresh && snapshot:
			held[id.Log] = append(held[id.Log], n)
		default:
			whole = false
		}
	})
	if err != nil {
		return err
	}
	snap := f.Store.Snapshot()
	defer snap.Release()
	var docs int64
	for id, ns := range held {
		if len(ns) == 0 {
			continue // another stands for all of it
		}
		var check covered.Check
		if whole {
			check = covered.Stored(snap, f.Space, f.Cat)
		}
		n, err := covered.Snapshot(f.Journal, ns, c, id, check)
		if err != nil {
			return err
		}
		docs += n
	}
	if !whole || len(held) != 1 {
		return nil
	}
	var all int64
	for _, s := range f.meta.Stats {
		all += s.Docs
	}
	if docs != all {
		return fault.Of(ErrSnapshot, "the snapshot has %d documents, of %d", docs, all)
	}
	for id := range held {
		f.compared.Store(&id)
	}
	return nil
}

// Compared returns the log of the last snapshot that was compared with what the records here
// gave, and was the same; nil if there is none.
func (f *Fold) Compared() *clock.LogID { return f.compared.Load() }

// eachFolded calls f for every arrival that is folded and still there.
func (f *Fold) eachFolded(each func(n int64, id clock.RecordID, snapshot bool)) error {
	last := f.lastFolded()
	return f.Journal.IDs(0, func(n int64, id clock.RecordID, snapshot bool) bool {
		if n > last {
			return false
		}
		if n <= f.meta.Cursor || f.meta.IsAhead(n) {
			each(n, id, snapshot)
		}
		return true
	})
}

func (f *Fold) lastFolded() int64 {
	if k := len(f.meta.Ahead); k > 0 {
		return f.meta.Ahead[k-1].Last
	}
	return f.meta.Cursor
}
