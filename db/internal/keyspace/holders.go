package keyspace

import (
	"bytes"

	"github.com/weftdb/weft/internal/store"
)

// Holders tells a batch which documents have a key of a unique index: what the
// store had when the batch's transaction began, and what has changed since.
type Holders struct {
	Store   store.Store
	Space   Space
	Written HeldKeys // by entries in the transaction
	Judged  HeldKeys // by what requests judged so far will write

	snap store.Snapshot
	it   store.Iterator
}

// Close frees what it reads, and forgets what was noted: another transaction begins.
func (h *Holders) Close() {
	if h.snap != nil {
		h.it.Close()
		h.snap.Release()
	}
	*h = Holders{Store: h.Store, Space: h.Space}
}

// committed calls f with the _id keys under key, as they were when the
// transaction began, until f returns false. key is whole, with index and values. It reads
// a snapshot and not the transaction, whose iterators cost the more the more it has
// written; what that has written is in Written.
func (h *Holders) committed(key []byte, f func(idKey []byte) bool) error {
	if h.snap == nil {
		h.snap = h.Store.Snapshot()
		r := store.Prefix(h.Space.Key(TagIndex))
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

// Other returns a document besides idKey that has key, once the judged requests
// are written; nil if there is none.
func (h *Holders) Other(key, idKey []byte) (id []byte, err error) {
	return h.Judged.Other(key, idKey, func(f func(k []byte) bool) error { return h.committed(key, f) })
}

// Contested reports whether two documents have key in the transaction.
func (h *Holders) Contested(key []byte) (bool, error) {
	n := 0
	over := h.Written[string(key)]
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
