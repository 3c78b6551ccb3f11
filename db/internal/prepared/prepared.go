// Package prepared keeps the marks of documents whose histories name operations that are not
// folded yet: a merge writes them ahead, so that its commit is short.
//
// Invariant: in the history of a document that is marked, operations of arrivals that are not
// folded, up to the one that the mark names, do not count: nobody sees them. They count once
// the cursor is past them, in the transaction that writes the head and takes the mark away. A
// merge that begins again writes them again.
//
//	h a 10, h a 20 (prepared), h a 30, d a: last 40, count 3   p a: up to arrival 7
//	commit of the merge: d a: count 4, no p a, cursor 7
package prepared

import (
	"bytes"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// A Doc names a document: its collection, and the key of its _id.
type Doc struct{ Coll, ID string }

// Marks are the last arrivals that are prepared, by document.
type Marks map[Doc]int64

// Key is the key of a mark.
func Key(space keyspace.Space, coll uint32, idKey []byte) []byte {
	return space.Key(keyspace.TagPrepared, keyspace.Num(coll), idKey)
}

// Load reads the marks that a merge that was interrupted left.
func Load(r store.Reader, space keyspace.Space, cat *keyspace.Catalog) (Marks, error) {
	m := Marks{}
	names := map[uint32]string{}
	for name, c := range cat.Colls {
		names[c.Num] = name
	}
	p := space.Key(keyspace.TagPrepared)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		k, n := keyspace.Scanner{B: it.Key()[len(p):]}, keyspace.Scanner{B: v}
		coll, ok := names[uint32(k.Uvarint())]
		last := int64(n.Uvarint())
		if !ok || k.Bad || n.Bad {
			return nil, keyspace.ErrCorrupt
		}
		m[Doc{coll, string(k.B)}] = last
	}
	return m, it.Err()
}

// Drop deletes what is prepared, and the marks: what counts changes, and the merge that
// prepared it will not be.
func (m Marks) Drop(st store.Store, space keyspace.Space, cat *keyspace.Catalog, folded func(n int64) bool) error {
	if len(m) == 0 {
		return nil
	}
	snap := st.Snapshot()
	defer snap.Release()
	tx := st.Begin()
	defer func() { tx.Discard() }()
	del := func(k []byte) error {
		if tx.Used().Puts+1 > st.Limits().Puts/2 {
			if err := tx.Commit(); err != nil {
				return err
			}
			tx = st.Begin()
		}
		return tx.Delete(k)
	}
	for d, last := range m {
		c := cat.Colls[d.Coll]
		p := space.Key(keyspace.TagHistory, keyspace.Num(c.Num), []byte(d.ID))
		it := snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
		for ; it.Valid(); it.Next() {
			s := keyspace.Scanner{B: it.Key()[len(p):]}
			if n := s.Ref().N; !s.Bad && n <= last && !folded(n) {
				if err := del(bytes.Clone(it.Key())); err != nil {
					it.Close()
					return err
				}
			}
		}
		err := it.Err()
		it.Close()
		if err == nil { // last, so that the end in between leaves what is needed to find the rest
			err = del(Key(space, c.Num, []byte(d.ID)))
		}
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	clear(m)
	return nil
}
