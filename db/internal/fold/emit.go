package fold

import "github.com/weftdb/weft/db/internal/keyspace"

// emitIndexes writes the entries of e's document, and deletes those that it has
// no more. The first array in an index is noted in the same transaction: a plan that takes
// the index for one without arrays would miss documents.
func (b *batch) emitIndexes(e *entry) error {
	if keyspace.SameSlice(e.was.Doc, e.Doc) && !b.redo {
		return nil
	}
	for _, x := range e.coll.Indexes {
		b.old.Fill(x, e.was.Doc)
		b.now.Fill(x, e.Doc)
		if b.now.Multi && !x.Multi.Load() && !b.multi[x.Multi] {
			b.multi[x.Multi] = true
			b.catalogs[e.coll.Num] = true
		}
		if err := b.emitWide(x, e.idKey, b.old.Wide, b.now.Wide); err != nil {
			return err
		}
		if err := b.emitEntries(x, e.idKey, b.redo); err != nil {
			return err
		}
	}
	return nil
}

// emitEntries makes the entries of a document in x, which are those of b.old,
// those of b.now; all says to write them even if they should be there.
func (b *batch) emitEntries(x *keyspace.Index, idKey []byte, all bool) error {
	for _, k := range b.old.Keys {
		if b.now.Has(k) {
			continue
		}
		if err := b.del(b.entryKey(keyspace.TagIndex, x, k, idKey)); err != nil {
			return err
		}
		if x.Unique {
			if err := b.hold(x, k, idKey, false); err != nil {
				return err
			}
		}
	}
	for _, k := range b.now.Keys {
		if !all && b.old.Has(k) {
			continue
		}
		if err := b.put(b.entryKey(keyspace.TagIndex, x, k, idKey), nil); err != nil {
			return err
		}
		if x.Unique {
			if err := b.hold(x, k, idKey, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) emitWide(x *keyspace.Index, idKey []byte, was, is bool) error {
	switch {
	case is:
		return b.put(b.entryKey(keyspace.TagWide, x, nil, idKey), nil)
	case was:
		return b.del(b.entryKey(keyspace.TagWide, x, nil, idKey))
	}
	return nil
}

// entryKey builds the key of an entry.
func (b *batch) entryKey(tag byte, x *keyspace.Index, k, idKey []byte) []byte {
	return b.keys.Entry(b.fold.Space, tag, x.Num, k, idKey)
}
