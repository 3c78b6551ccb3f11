package db

import "encoding/binary"

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
		if err := b.del(b.entryKey(tagIndex, x, k, idKey)); err != nil {
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
		if err := b.put(b.entryKey(tagIndex, x, k, idKey), nil); err != nil {
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
	switch {
	case is:
		return b.put(b.entryKey(tagWide, x, nil, idKey), nil)
	case was:
		return b.del(b.entryKey(tagWide, x, nil, idKey))
	}
	return nil
}

// keyChunk is how much memory for keys is taken at a time.
const keyChunk = 32 << 10

// entryKey builds the key of an entry in memory that the batch's keys share:
// the transaction keeps them to its end.
func (b *batch) entryKey(tag byte, x *index, k, idKey []byte) []byte {
	if n := len(b.db.prefix) + 6 + len(k) + len(idKey); cap(b.keyRoom)-len(b.keyRoom) < n {
		b.keyRoom = make([]byte, 0, max(n, keyChunk))
	}
	at := len(b.keyRoom)
	b.keyRoom = append(append(b.keyRoom, b.db.prefix...), tag)
	b.keyRoom = binary.AppendUvarint(b.keyRoom, uint64(x.num))
	b.keyRoom = append(append(b.keyRoom, k...), idKey...)
	return b.keyRoom[at:len(b.keyRoom):len(b.keyRoom)]
}
