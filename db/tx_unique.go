package db

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/store"
)

// unique refuses a write of tx that gives its document a key which another has,
// as far as tx sees; the committer looks again.
func (tx *Tx) unique(op *payload.Op, cur, next []byte) error {
	c := tx.v.Cat.Colls[op.Coll]
	if c == nil {
		return nil
	}
	var old, now keyspace.KeySet
	for _, x := range c.Indexes {
		if !x.Unique || x.Shadow {
			continue
		}
		old.Fill(x, cur)
		now.Fill(x, next)
		for _, k := range now.Keys {
			full := tx.db.fold.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num), k)
			if old.Has(k) {
				continue
			}
			taken, err := tx.taken(full, op.Key)
			if err != nil {
				return err
			}
			if taken {
				return keyspace.DuplicateKey(c.Name, x, next, k)
			}
		}
		if tx.held == nil {
			tx.held = keyspace.HeldKeys{}
		}
		tx.held.Move(tx.db.fold.Space, x, op.Key, &old, &now)
	}
	return nil
}

// taken reports whether a document besides idKey has the key of a unique index: by what
// the transaction wrote, else by its view.
func (tx *Tx) taken(full, idKey []byte) (bool, error) {
	id, err := tx.held.Other(full, idKey, func(f func(k []byte) bool) error {
		r := store.Prefix(full)
		r.KeysOnly = true
		it := tx.v.Snap.Iterate(r)
		defer it.Close()
		for ; it.Valid() && f(it.Key()[len(full):]); it.Next() {
		}
		return it.Err()
	})
	return id != nil, err
}
