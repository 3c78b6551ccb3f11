package db

import (
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/refused"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// ErrState reports a database whose state hash is not that of what it holds.
var ErrState = fault.New(fault.Corrupt, "the state hash is not that of the documents")

// Verify reads every document and refusal and compares their hash with the state
// hash, which it returns; ErrState says that they differ. Nothing else may write
// meanwhile.
func (db *DB) Verify(ctx context.Context) (Hash, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return Hash{}, err
	}
	defer v.Release()
	var h lthash.State
	for name, c := range v.Cat.Colls {
		if err := verifyCollection(ctx, v, name, c, &h); err != nil {
			return Hash{}, fmt.Errorf("collection %s: %w", name, err)
		}
	}
	w, err := refused.Start(ctx, v, db.fold.Journal, refused.Options{})
	if err != nil {
		return Hash{}, err
	}
	defer w.Close()
	for {
		r, err := w.Next(ctx)
		if err != nil {
			return Hash{}, err
		}
		if r == nil {
			break
		}
		h.Apply([]lthash.Delta{{Seed: keyspace.RefusedSeed(r.Stamp, keyspace.Code(slices.Index(keyspace.Reasons[:], r.Reason)))}})
	}
	if want := v.StateHash(); h.Sum() != want {
		return want, fault.Of(ErrState, "the state hash is %s, that of the documents %s", want, Hash(h.Sum()))
	}
	return v.StateHash(), nil
}

// verifyCollection adds the documents of a collection to h and compares their number with
// what was counted.
func verifyCollection(ctx context.Context, v *view.View, name string, c *keyspace.Coll, h *lthash.State) error {
	p := v.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num))
	it := v.Snap.Iterate(store.Prefix(p))
	defer it.Close()
	var deltas []lthash.Delta
	var buf []byte
	var docs int64
	for ; it.Valid(); it.Next() {
		val, err := it.Value()
		if err != nil {
			return err
		}
		head, err := keyspace.ParseHead(val)
		if err != nil {
			return err
		}
		if head.Doc == nil && !head.Dead {
			continue
		}
		if head.Doc != nil {
			docs++
		}
		deltas = append(deltas, lthash.Delta{Seed: keyspace.DocSeed(buf, name, it.Key()[len(p):], head.Doc)})
		if len(deltas) == 256 {
			h.Apply(deltas)
			if deltas = deltas[:0]; ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	h.Apply(deltas)
	if err := it.Err(); err != nil {
		return err
	}
	if want := v.Stats[c.Num].Docs; docs != want {
		return fault.Of(ErrState, "there are %d documents, %d are counted", docs, want)
	}
	return nil
}
