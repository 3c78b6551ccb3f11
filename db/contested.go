package db

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/weftdb/weft/internal/store"
)

// contestedKey is the key under which the feed finds a conflict that was noted at
// arrival n.
func (db *DB) contestedKey(n int64, index uint32, key []byte) []byte {
	return db.key(tagContested, binary.BigEndian.AppendUint64(nil, uint64(n)), num(index), key)
}

// noteConflict tells the feed that a key of x has come to have several documents,
// or one again. It is written before the mark, so that no step holds that without
// it.
func (b *batch) noteConflict(x *index, key []byte, contested bool) error {
	if err := b.put(b.db.contestedKey(b.noting(), x.num, key), nil); err != nil {
		return err
	}
	if b.unheard() {
		return nil
	}
	c := change{op: opResolved, coll: b.cat.collOf(x.num), index: x.num, key: bytes.Clone(key), late: true}
	if contested {
		c.op = opConflict
	}
	if rec := b.folding; rec != nil && len(b.voiding) == 0 {
		c.by, c.time, c.remote, c.late = rec.id, rec.time, !b.db.own[rec.id.Log], false
	}
	b.tell(c)
	return nil
}

// collOf returns the collection of an index; "" if there is none.
func (c *catalog) collOf(index uint32) string {
	for name, coll := range c.colls {
		for _, x := range coll.indexes {
			if x.num == index {
				return name
			}
		}
	}
	return ""
}

// conflicts tells what has become of the conflicts that were noted at arrival n.
func (p *past) conflicts(m *group, n int64) (out []change, err error) {
	prefix := p.db.key(tagContested, binary.BigEndian.AppendUint64(nil, uint64(n)))
	it := p.v.snap.Iterate(store.Range{Lower: prefix, Upper: store.PrefixEnd(prefix), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(prefix):]}
		c := change{op: opResolved, index: uint32(s.uvarint()), current: true}
		if s.bad {
			return nil, errCorrupt
		}
		c.key = bytes.Clone(s.b)
		if c.coll = p.v.cat.collOf(c.index); c.coll == "" {
			continue // the index is gone, and its conflicts with it
		}
		_, err := p.v.snap.Get(p.db.key(tagConflict, num(c.index), c.key))
		switch {
		case err == nil:
			c.op = opConflict
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		if m.covers(c.coll) && m.matches(&c) {
			out = append(out, c)
		}
	}
	return out, it.Err()
}

// conflictOf returns the conflict that a change tells of, as it is in v; only its
// collection and index if there is none any more.
func (v *view) conflictOf(ctx context.Context, db *DB, c *change) (*Conflict, error) {
	out := &Conflict{Collection: c.coll}
	coll := v.cat.colls[c.coll]
	if coll == nil {
		return out, nil
	}
	for _, x := range coll.indexes {
		if x.num != c.index {
			continue
		}
		out.Index = x.Name
		_, err := v.snap.Get(db.key(tagConflict, num(c.index), c.key))
		if errors.Is(err, store.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		h := &historian{db: db, v: v, records: map[int64]*record{}}
		cf, err := h.conflict(ctx, coll, x, c.key)
		return &cf, err
	}
	return out, nil
}
