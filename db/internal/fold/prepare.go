package fold

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/prepared"
)

// Most of what a merge writes is history: a key for each late operation. Before its
// commit it is written ahead, in pieces (package prepared).

// prepare writes history of the merge ahead, about as much as is left of work.
func (m *merge) prepare(work *int) (done bool, err error) {
	f := m.fold
	size := min(f.Piece, f.Store.Limits().Puts/4)
	if m.fresh() < size {
		return true, nil
	}
	tx := f.Store.Begin()
	defer tx.Discard()
	n := 0
	for _, r := range m.again.order {
		if r.count == 0 { // the number of its collection may not be settled
			continue
		}
		for ; r.prepared < len(r.events)-1 && n < size; r.prepared++ {
			ev := &r.events[r.prepared]
			if ev.known || ev.kept {
				continue
			}
			if k := (docKey{Coll: r.coll, ID: string(r.idKey)}); f.prepared[k] < m.read {
				if err := tx.Put(prepared.Key(f.Space, r.e.coll.Num, r.idKey), keyspace.Uvarints(nil, uint64(m.read))); err != nil {
					return false, err
				}
				f.prepared[k] = m.read
			}
			if err := tx.Put(m.b.historyKey(r.e, ev.Ref), keyspace.HistoryValue(ev.Code, ev.atomic)); err != nil {
				return false, err
			}
			ev.kept, ev.was = true, ev.Code
			n++
		}
	}
	*work -= n
	return n < size, tx.Commit()
}

// fresh counts the operations that the merge adds to documents that it folds again.
func (m *merge) fresh() (n int) {
	for _, r := range m.again.order {
		if a := m.again.add[docKey{Coll: r.coll, ID: string(r.idKey)}]; a != nil {
			n += len(a.refs)
		}
	}
	return n
}

// early returns whether an operation in e's history does not count yet.
func (b *batch) early(e *entry) func(n int64) bool {
	last := int64(0)
	if len(b.fold.prepared) > 0 {
		last = b.fold.prepared[docKey{Coll: e.coll.Name, ID: string(e.idKey)}]
	}
	return func(n int64) bool {
		return n <= last && n > b.meta.Cursor && !b.meta.IsAhead(n) && !b.applied[n]
	}
}

// counts notes that the batch folds arrival n: what is prepared of it counts.
func (b *batch) counts(n int64) {
	if len(b.fold.prepared) > 0 {
		b.applied[n] = true
	}
}

// unmark takes the mark of r's document away if nothing is prepared beyond the merge.
func (b *batch) unmark(r *refolding) error {
	k := docKey{Coll: r.coll, ID: string(r.idKey)}
	if last := b.fold.prepared[k]; last == 0 || last > b.merging {
		return nil
	}
	b.unmarked = append(b.unmarked, k)
	return b.del(prepared.Key(b.fold.Space, r.e.coll.Num, r.idKey))
}

// isFolded reports whether an arrival is folded.
func (f *Fold) isFolded(n int64) bool { return n <= f.meta.Cursor || f.meta.IsAhead(n) }
