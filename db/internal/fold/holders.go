package fold

import (
	"bytes"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// holders tells a batch which documents have a key of a unique index: what the
// store had when the batch's transaction began, and what has changed since.
type holders struct {
	fold    *Fold
	snap    store.Snapshot
	it      store.Iterator
	written keyspace.HeldKeys // by entries in the transaction
	judged  keyspace.HeldKeys // by what requests judged so far will write
}

func (h *holders) close() {
	if h.snap != nil {
		h.it.Close()
		h.snap.Release()
	}
	*h = holders{fold: h.fold}
}

// committed calls f with the _id keys under key, as they were when the
// transaction began, until f returns false. key is whole, with index and values. It reads
// a snapshot and not the transaction, whose iterators cost the more the more it has
// written; what that has written is in written.
func (h *holders) committed(key []byte, f func(idKey []byte) bool) error {
	if h.snap == nil {
		h.snap = h.fold.Store.Snapshot()
		r := store.Prefix(h.fold.Space.Key(keyspace.TagIndex))
		r.KeysOnly = true
		h.it = h.snap.Iterate(r)
	}
	for h.it.Seek(key); h.it.Valid() && bytes.HasPrefix(h.it.Key(), key); h.it.Next() {
		if !f(h.it.Key()[len(key):]) {
			break
		}
	}
	return h.it.Err()
}

// other returns a document besides idKey that has key, once the judged requests
// are written; nil if there is none.
func (h *holders) other(key, idKey []byte) (id []byte, err error) {
	return h.judged.Other(key, idKey, func(f func(k []byte) bool) error { return h.committed(key, f) })
}

// contested reports whether two documents have key in the transaction.
func (h *holders) contested(key []byte) (bool, error) {
	n := 0
	over := h.written[string(key)]
	for _, has := range over {
		if has {
			n++
		}
	}
	if n > 1 {
		return true, nil
	}
	err := h.committed(key, func(k []byte) bool {
		if _, known := over[string(k)]; !known {
			n++
		}
		return n < 2
	})
	return n > 1, err
}
