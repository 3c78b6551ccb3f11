package db

// emitIndexes writes the entries of e's document, and deletes those that it has
// no more.
func (b *batch) emitIndexes(e *entry) error {
	if sameSlice(e.was.doc, e.doc) && !b.redo {
		return nil
	}
	for _, x := range e.coll.indexes {
		b.old.fill(x, e.was.doc)
		b.now.fill(x, e.doc)
		if b.now.multi && !x.multi.Load() && !b.multi[x.multi] {
			b.multi[x.multi] = true
			b.catalogs[e.coll.num] = true
		}
		if err := b.emitWide(x, e.idKey, b.old.wide, b.now.wide); err != nil {
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
func (b *batch) emitEntries(x *index, idKey []byte, all bool) error {
	for _, k := range b.old.keys {
		if b.now.has(k) {
			continue
		}
		if err := b.del(b.db.key(tagIndex, num(x.num), k, idKey)); err != nil {
			return err
		}
		if x.Unique {
			if err := b.hold(x, k, idKey, false); err != nil {
				return err
			}
		}
	}
	for _, k := range b.now.keys {
		if !all && b.old.has(k) {
			continue
		}
		if err := b.put(b.db.key(tagIndex, num(x.num), k, idKey), nil); err != nil {
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

func (b *batch) emitWide(x *index, idKey []byte, was, is bool) error {
	k := b.db.key(tagWide, num(x.num), idKey)
	if was && !is {
		return b.del(k)
	}
	if is {
		return b.put(k, nil)
	}
	return nil
}
