package past

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// conflicts tells what has become of the conflicts that were noted at arrival n. As with
// refusals, the note says only that something changed then: a key that is none any more is
// told as resolved.
func (p *Past) conflicts(m *change.Criteria, n int64) (out []change.Change, err error) {
	prefix := p.v.Space.Key(keyspace.TagContested, binary.BigEndian.AppendUint64(nil, uint64(n)))
	it := p.v.Snap.Iterate(store.Range{Lower: prefix, Upper: store.PrefixEnd(prefix), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := keyspace.Scanner{B: it.Key()[len(prefix):]}
		c := change.Change{Op: change.OpResolved, Index: uint32(s.Uvarint()), Current: true}
		if s.Bad {
			return nil, keyspace.ErrCorrupt
		}
		c.Key = bytes.Clone(s.B)
		if c.Coll = p.v.Cat.CollOf(c.Index); c.Coll == "" {
			continue // the index is gone, and its conflicts with it
		}
		_, err := p.v.Snap.Get(p.v.Space.Key(keyspace.TagConflict, keyspace.Num(c.Index), c.Key))
		switch {
		case err == nil:
			c.Op = change.OpConflict
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		if m.Covers(c.Coll) && m.Matches(&c) {
			out = append(out, c)
		}
	}
	return out, it.Err()
}

// ConflictOf returns the conflict that a change tells of, as it is now; only its
// collection and index if there is none any more.
func (h *historian) ConflictOf(ctx context.Context, c *change.Change) (Conflict, error) {
	out := Conflict{Collection: c.Coll}
	coll := h.v.Cat.Colls[c.Coll]
	if coll == nil {
		return out, nil
	}
	for _, x := range coll.Indexes {
		if x.Num != c.Index {
			continue
		}
		out.Index = x.Name
		_, err := h.v.Snap.Get(h.v.Space.Key(keyspace.TagConflict, keyspace.Num(c.Index), c.Key))
		if errors.Is(err, store.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		return h.conflictAt(ctx, coll, x, c.Key)
	}
	return out, nil
}
