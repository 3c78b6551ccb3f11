package fold

import (
	"bytes"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/change"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// How an index comes to be:
//
//	definition folded    reindex numbers it; from now on every commit writes its entries
//	pieces, by _id key   fillPiece adds the entries of old documents, and notes how far (At)
//	last piece           Filled: synced, published, plans may use it
//
// Invariant: of documents below At all entries are there; of documents from At on, those
// that were written since. A piece reads a snapshot of now and is committed before the
// next group, so it cannot miss a write; that it writes an entry again is harmless.
const (
	// These bound what the committer does for an index between
	// two groups of writes.
	pieceDocs  = 256
	pieceKeys  = 4096
	pieceBytes = 4 << 20 // of documents
)

// buildSome does a piece of the work that indexes wait for: filling one, or
// deleting the entries of a dropped one. It reports whether there may be more.
// What is written meanwhile has its entries in every index, filled or not.
func (f *Fold) buildSome() bool {
	if !f.building || f.broken != nil {
		f.answerBuilt() // who came after the end of a build
		return false
	}
	err := errNothing
	if name, ix := f.Cat.Unfilled(); ix != nil {
		err = f.fillPiece(f.Cat.Colls[name], ix)
	} else if k := len(f.Cat.Dropped); k > 0 {
		err = f.dropPiece(f.Cat.Dropped[k-1])
	}
	if errors.Is(err, errNothing) {
		f.building = false
	} else if f.breaks(err) != nil {
		f.Logf("index build: %v", err)
	}
	f.answerBuilt()
	return err == nil || f.building
}

var errNothing = errors.New("nothing to build")

// fillPiece puts the entries of the next documents of c into x, and notes how
// far it is in the same transaction.
func (f *Fold) fillPiece(c *keyspace.Coll, x *keyspace.Index) error {
	b := f.newBatch()
	defer b.discard()
	snap := f.Store.Snapshot()
	defer snap.Release()
	prefix := f.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num))
	it := snap.Iterate(store.Range{Lower: f.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num), x.At), Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	n, keys, size := 0, 0, 0
	for ; it.Valid() && n < pieceDocs && keys < pieceKeys && size < pieceBytes; it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		h, err := keyspace.ParseHead(v)
		if err != nil {
			return err
		}
		b.now.Fill(x, h.Doc)
		if n > 0 && !b.fits(len(b.now.Keys), it.Key()) {
			break
		}
		if b.now.Multi {
			x.Multi.Store(true)
		}
		idKey := bytes.Clone(it.Key()[len(prefix):])
		if err := b.emitWide(x, idKey, false, b.now.Wide); err != nil {
			return err
		}
		// As if it had none before: what a commit wrote meanwhile is written again.
		b.old.Fill(x, nil)
		if err := b.emitEntries(x, idKey, true); err != nil {
			return err
		}
		if h.Doc != nil {
			x.Done.Add(1)
		}
		n, keys, size = n+1, keys+len(b.now.Keys), size+len(v)
	}
	if err := it.Err(); err != nil {
		return err
	}
	done := !it.Valid()
	// At is the next document, not the last: one with that very key is not done twice.
	y := x.With(func(y *keyspace.Index) {
		y.Filled = done
		y.At = nil
		if !done {
			y.At = bytes.Clone(it.Key()[len(prefix):])
		}
	})
	return b.finishPiece(c, func(xs []*keyspace.Index) []*keyspace.Index {
		xs = slices.Clone(xs)
		xs[slices.Index(xs, x)] = y
		return xs
	}, done)
}

// fits reports whether the entries of one more document fit in the transaction. An entry
// may be a put and a mark, so each counts twice.
func (b *batch) fits(keys int, doc []byte) bool {
	l, u := b.fold.Store.Limits(), b.tx.Used()
	size := 2 * keys * (keyspace.MaxEntryKey + len(doc))
	return u.Puts+2*keys+8 <= l.Puts && u.Bytes+size+reserve <= l.Bytes
}

// finishPiece commits what a piece changed: the indexes of c, if c is set. last
// makes it durable and shows it to readers.
func (b *batch) finishPiece(c *keyspace.Coll, alter func([]*keyspace.Index) []*keyspace.Index, last bool) error {
	f := b.fold
	if b.cat == f.Cat {
		b.cat = f.Cat.Clone()
	}
	if c != nil {
		b.cat.Colls[c.Name] = c.WithIndexes(alter(c.Indexes))
		b.catalogs[c.Num] = true
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	if last {
		if err := f.Store.Sync(); err != nil {
			return err
		}
	}
	f.meta, f.Cat = b.meta, b.cat
	if last {
		f.publish(&change.News{})
	}
	return nil
}

// dropPiece deletes some of what dropped index n has, or notes that nothing is left. Only
// then is the number forgotten: until then a crash finds it in the catalogue again.
func (f *Fold) dropPiece(n uint32) error {
	b := f.newBatch()
	defer b.discard()
	deleted := 0
	for _, tag := range []byte{keyspace.TagIndex, keyspace.TagWide, keyspace.TagConflict} {
		r := store.Prefix(f.Space.Key(tag, keyspace.Num(n)))
		r.KeysOnly = true
		snap := f.Store.Snapshot()
		it := snap.Iterate(r)
		for ; it.Valid() && deleted < pieceKeys && b.fits(1, it.Key()); it.Next() {
			if err := b.tx.Delete(bytes.Clone(it.Key())); err != nil {
				it.Close()
				snap.Release()
				return err
			}
			deleted++
		}
		err := it.Err()
		it.Close()
		snap.Release()
		if err != nil {
			return err
		}
	}
	if deleted > 0 {
		return b.finishPiece(nil, nil, false)
	}
	b.cat = f.Cat.Clone()
	b.cat.Dropped = slices.DeleteFunc(b.cat.Dropped, func(x uint32) bool { return x == n })
	b.stats[n] = keyspace.CollStats{}
	b.catalogs[0] = true
	return b.finishPiece(nil, nil, true)
}

// addShadow adds an index that nothing defines yet, to be filled and maintained. Whoever
// creates a unique index learns by it whether the documents that are there agree, before
// anything is written that others would see.
func (f *Fold) addShadow(name string, x keyspace.IndexDef) (uint32, error) {
	b := f.newBatch()
	defer b.discard()
	c := b.coll(name)
	for _, h := range c.Indexes { // two callers at once: the second is refused
		if h.Name == x.Name {
			return 0, fault.Of(keyspace.ErrIndexExists, "an index %s is being created", x.Name)
		}
	}
	if b.cat == f.Cat {
		b.cat = f.Cat.Clone()
	}
	b.cat.Next++
	ix, err := keyspace.NewIndex(x, b.cat.Next, false)
	if err != nil {
		return 0, err
	}
	ix.Shadow = true
	f.building = true
	return ix.Num, b.finishPiece(c, func(xs []*keyspace.Index) []*keyspace.Index { return append(slices.Clone(xs), ix) }, true)
}

// dropShadow removes an index that addShadow added, if nothing defined it since.
func (f *Fold) dropShadow(name string, n uint32) error {
	ix := f.Cat.IndexOf(name, n)
	if ix == nil || !ix.Shadow {
		return nil
	}
	b := f.newBatch()
	defer b.discard()
	b.cat = f.Cat.Clone()
	b.cat.Dropped = append(b.cat.Dropped, n)
	f.building = true
	return b.finishPiece(f.Cat.Colls[name], func(xs []*keyspace.Index) []*keyspace.Index {
		return slices.DeleteFunc(slices.Clone(xs), func(x *keyspace.Index) bool { return x == ix })
	}, true)
}

// dropShadows removes the shadows that an ended process left.
func (f *Fold) dropShadows() error {
	b := f.newBatch()
	defer b.discard()
	b.cat = f.Cat.Clone()
	for name, c := range f.Cat.Colls {
		for _, x := range c.Indexes {
			if x.Shadow {
				b.cat.Dropped = append(b.cat.Dropped, x.Num)
				b.catalogs[c.Num] = true
				b.cat.Colls[name] = c.WithIndexes(slices.DeleteFunc(slices.Clone(c.Indexes), func(x *keyspace.Index) bool { return x.Shadow }))
			}
		}
	}
	if len(b.catalogs) == 0 {
		return nil
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	f.meta, f.Cat = b.meta, b.cat
	return nil
}
