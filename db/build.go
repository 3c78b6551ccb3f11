package db

import (
	"bytes"
	"errors"

	"github.com/weftdb/weft/internal/store"
)

// build fills indexes that are not ready and removes the entries of dropped
// ones, in steps; after a crash it begins again.
func (db *DB) build() error {
	work := len(db.cat.dropped) > 0
	for _, c := range db.cat.colls {
		for _, x := range c.indexes {
			work = work || !x.ready
		}
	}
	if !work {
		return nil
	}
	for _, n := range db.cat.dropped {
		for _, tag := range []byte{tagIndex, tagWide} {
			if err := db.deleteRange(db.key(tag, num(n))); err != nil {
				return err
			}
		}
	}
	cat := db.cat.clone()
	cat.dropped = nil
	b := db.newBatch()
	defer func() { b.tx.Discard() }()
	b.cat = cat
	for name, c := range db.cat.colls {
		n := *c
		n.indexes = nil
		for _, x := range c.indexes {
			if x.ready {
				n.indexes = append(n.indexes, x)
				continue
			}
			if err := db.fill(c, x); err != nil {
				return err
			}
			y := *x
			y.ready = true
			n.indexes = append(n.indexes, &y)
		}
		cat.colls[name] = &n
		b.catalogs[n.num] = true
	}
	return b.finishBuild()
}

func (b *batch) finishBuild() error {
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	if err := b.db.store.Sync(); err != nil {
		return err
	}
	b.db.meta, b.db.cat = b.meta, b.cat
	return nil
}

// fill puts the entries of all documents of c into x.
func (db *DB) fill(c *coll, x *index) error {
	prefix := db.key(tagDoc, num(c.num))
	for at := prefix; at != nil; {
		next, err := db.fillSome(prefix, at, x)
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

// fillSome fills x from key at on, in one transaction, and returns where to go on.
func (db *DB) fillSome(prefix, at []byte, x *index) (next []byte, err error) {
	snap := db.store.Snapshot()
	defer snap.Release()
	tx := db.store.Begin()
	defer tx.Discard()
	it := snap.Iterate(store.Range{Lower: at, Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	l := db.store.Limits()
	for n := 0; it.Valid(); it.Next() {
		if u := tx.Used(); n > 0 && (u.Puts+2*maxEntries > l.Puts || u.Bytes+maxEntries*(maxEntryKey+600) > l.Bytes) {
			return bytes.Clone(it.Key()), tx.Commit()
		}
		n++
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		h, err := parseHead(v)
		if err != nil {
			return nil, err
		}
		if h.doc == nil {
			continue
		}
		idKey := bytes.Clone(it.Key()[len(prefix):])
		keys, multi, wide := x.entries(h.doc)
		if multi {
			x.multi.Store(true)
		}
		if wide {
			if err := tx.Put(db.key(tagWide, num(x.num), idKey), nil); err != nil {
				return nil, err
			}
		}
		for _, k := range keys {
			if err := tx.Put(db.key(tagIndex, num(x.num), k, idKey), nil); err != nil {
				return nil, err
			}
		}
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	return nil, tx.Commit()
}

// deleteRange deletes the keys that begin with p, in steps.
func (db *DB) deleteRange(p []byte) error {
	for {
		tx := db.store.Begin()
		var keys [][]byte
		it := tx.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
		for ; it.Valid() && len(keys) < 500; it.Next() {
			keys = append(keys, bytes.Clone(it.Key()))
		}
		err := it.Err()
		it.Close()
		for i, k := range keys {
			if err == nil {
				err = tx.Delete(k)
			}
			if i > 0 && errors.Is(err, store.ErrTooBig) {
				err = nil // the rest in the next step
				break
			}
		}
		if err != nil || len(keys) == 0 {
			tx.Discard()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
}
