package db

import (
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// ErrState reports a database whose state hash is not that of what it holds.
var ErrState = fault.New(fault.Corrupt, "the state hash is not that of the documents")

// Verify reads every document and refusal and compares their hash with the state
// hash, which it returns; ErrState says that they differ. Nothing else may write
// meanwhile.
func (db *DB) Verify(ctx context.Context) (clock.Hash, error) {
	v, err := db.acquire()
	if err != nil {
		return clock.Hash{}, err
	}
	defer v.release()
	var h lthash.State
	for name, c := range v.cat.colls {
		if err := v.verify(ctx, db, name, c, &h); err != nil {
			return clock.Hash{}, fmt.Errorf("collection %s: %w", name, err)
		}
	}
	for r, err := range db.Refused(ctx, RefusedOptions{}) {
		if err != nil {
			return clock.Hash{}, err
		}
		h.Apply([]lthash.Delta{{Seed: refusedSeed(r.Stamp, code(slices.Index(reasons[:], r.Reason)))}})
	}
	if want := v.stateHash(); h.Sum() != want {
		return want, fault.Of(ErrState, "the state hash is %s, that of the documents %s", h.Sum(), want)
	}
	return v.stateHash(), nil
}

// verify adds the documents of a collection to h and compares their number with
// what was counted.
func (v *view) verify(ctx context.Context, db *DB, name string, c *coll, h *lthash.State) error {
	p := db.key(tagDoc, num(c.num))
	it := v.snap.Iterate(store.Prefix(p))
	defer it.Close()
	var deltas []lthash.Delta
	var buf []byte
	var docs int64
	for ; it.Valid(); it.Next() {
		val, err := it.Value()
		if err != nil {
			return err
		}
		head, err := parseHead(val)
		if err != nil {
			return err
		}
		if head.doc == nil && !head.dead {
			continue
		}
		if head.doc != nil {
			docs++
		}
		deltas = append(deltas, lthash.Delta{Seed: docSeed(buf, name, it.Key()[len(p):], head.doc)})
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
	if want := v.stats[c.num].docs; docs != want {
		return fault.Of(ErrState, "there are %d documents, %d are counted", docs, want)
	}
	return nil
}
