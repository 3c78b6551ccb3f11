// Package snapshot writes the documents of a view as the records of a snapshot log, which
// stand for the records that gave them.
package snapshot

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// maxBytes is about how many bytes of documents a record holds.
const maxBytes = 512 << 10

// Write calls f with the payloads of the records, in their order, and returns the state
// hash of the documents. A document that no record can hold is [keyspace.ErrTooLarge].
func Write(ctx context.Context, v *view.View, f func(payload []byte) error) (clock.Hash, error) {
	w := &writer{f: f}
	names := slices.Sorted(maps.Keys(v.Cat.Colls))
	// Definitions last: whoever folds them has the documents, and fills indexes once.
	slices.SortStableFunc(names, func(a, b string) int {
		return boolInt(a == judge.SystemCollection) - boolInt(b == judge.SystemCollection)
	})
	for _, name := range names {
		if err := w.collection(ctx, v, name); err != nil {
			return clock.Hash{}, err
		}
	}
	if err := w.flush(); err != nil {
		return clock.Hash{}, err
	}
	return w.hash.Sum(), nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A writer makes records of documents: as many in each as fit, and the hash of all, by
// which whoever takes the snapshot over checks it.
type writer struct {
	f     func([]byte) error
	ops   []payload.Op
	size  int
	wrote bool // a record, which may be empty if there are no documents
	hash  lthash.State
}

// collection writes the documents of one collection, in the order of _id. Deleted ones are
// left out: what comes before a snapshot is not there to be told apart from them.
func (w *writer) collection(ctx context.Context, v *view.View, name string) error {
	p := v.Space.Key(keyspace.TagDoc, keyspace.Num(v.Cat.Colls[name].Num))
	it := v.Snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := it.Value()
		if err != nil {
			return err
		}
		h, err := keyspace.ParseHead(b)
		if err != nil {
			return err
		}
		if h.Doc == nil {
			continue
		}
		doc := bytes.Clone(h.Doc)
		n := payload.StateSize(name, doc)
		if n > payload.MaxBytes-16 {
			return fault.Of(keyspace.ErrTooLarge, "a document of %s has %d bytes, more than a snapshot can hold", name, len(doc))
		}
		if len(w.ops) > 0 && (w.size+n > maxBytes || len(w.ops) == payload.MaxOps) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.ops = append(w.ops, payload.Op{Coll: name, Doc: doc, Mod: uint64(h.Mod), Key: bytes.Clone(it.Key()[len(p):])})
		w.size += n
	}
	return it.Err()
}

// flush writes a record. An empty database has one record, too, so that its snapshot can
// be told from one that has not arrived.
func (w *writer) flush() error {
	if len(w.ops) == 0 && w.wrote {
		return nil
	}
	w.wrote = true
	deltas := make([]lthash.Delta, len(w.ops))
	for i := range w.ops {
		deltas[i].Seed = keyspace.DocSeed(nil, w.ops[i].Coll, w.ops[i].Key, w.ops[i].Doc)
	}
	w.hash.Apply(deltas)
	err := w.f(payload.EncodeSnapshot(w.ops))
	w.ops, w.size = w.ops[:0], 0
	return err
}
