package fold

import (
	"bytes"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// Most of what a merge writes is history: a key for each late operation. Before its
// commit it is written ahead, in pieces, so that the commit is short.
//
// Invariant: in the history of a document that is marked as prepared, operations of
// arrivals that are not folded, up to the one that the mark names, do not count: nobody
// sees them (early). They count once the cursor is past them, in the transaction that
// writes the head and takes the mark away. A merge that begins again writes them again.
//
//	h a 10, h a 20 (prepared), h a 30, d a: last 40, count 3   p a: up to arrival 7
//	commit of the merge: d a: count 4, no p a, cursor 7

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
			if k := (docKey{r.coll, string(r.idKey)}); f.prepared[k] < m.read {
				if err := tx.Put(f.preparedKey(r.e.coll, r.idKey), keyspace.Uvarints(nil, uint64(m.read))); err != nil {
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
		if a := m.again.add[docKey{r.coll, string(r.idKey)}]; a != nil {
			n += len(a.refs)
		}
	}
	return n
}

func (f *Fold) preparedKey(c *keyspace.Coll, idKey []byte) []byte {
	return f.Space.Key(keyspace.TagPrepared, keyspace.Num(c.Num), idKey)
}

// loadPrepared reads the marks that a merge that was interrupted left.
func (f *Fold) loadPrepared(r store.Reader) error {
	f.prepared = map[docKey]int64{}
	names := map[uint32]string{}
	for name, c := range f.Cat.Colls {
		names[c.Num] = name
	}
	p := f.Space.Key(keyspace.TagPrepared)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		k, n := keyspace.Scanner{B: it.Key()[len(p):]}, keyspace.Scanner{B: v}
		coll, ok := names[uint32(k.Uvarint())]
		last := int64(n.Uvarint())
		if !ok || k.Bad || n.Bad {
			return keyspace.ErrCorrupt
		}
		f.prepared[docKey{coll, string(k.B)}] = last
	}
	return it.Err()
}

// early returns whether an operation in e's history does not count yet.
func (b *batch) early(e *entry) func(n int64) bool {
	last := int64(0)
	if len(b.fold.prepared) > 0 {
		last = b.fold.prepared[docKey{e.coll.Name, string(e.idKey)}]
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
	k := docKey{r.coll, string(r.idKey)}
	if last := b.fold.prepared[k]; last == 0 || last > b.merging {
		return nil
	}
	b.unmarked = append(b.unmarked, k)
	return b.del(b.fold.preparedKey(r.e.coll, r.idKey))
}

// dropPrepared deletes what is prepared: what counts changes, and the merge that
// prepared it will not be.
func (f *Fold) dropPrepared() error {
	snap := f.Store.Snapshot()
	defer snap.Release()
	tx := f.Store.Begin()
	defer func() { tx.Discard() }()
	del := func(k []byte) error {
		if tx.Used().Puts+1 > f.Store.Limits().Puts/2 {
			if err := tx.Commit(); err != nil {
				return err
			}
			tx = f.Store.Begin()
		}
		return tx.Delete(k)
	}
	for k, last := range f.prepared {
		c := f.Cat.Colls[k.coll]
		p := f.Space.Key(keyspace.TagHistory, keyspace.Num(c.Num), []byte(k.id))
		it := snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
		for ; it.Valid(); it.Next() {
			s := keyspace.Scanner{B: it.Key()[len(p):]}
			if n := s.Ref().N; !s.Bad && n <= last && n > f.meta.Cursor && !f.meta.IsAhead(n) {
				if err := del(bytes.Clone(it.Key())); err != nil {
					it.Close()
					return err
				}
			}
		}
		err := it.Err()
		it.Close()
		if err == nil { // last, so that the end in between leaves what is needed to find the rest
			err = del(f.preparedKey(c, []byte(k.id)))
		}
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	clear(f.prepared)
	return nil
}
