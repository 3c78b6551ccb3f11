package db

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

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
func (db *DB) buildSome() bool {
	if !db.building || db.broken != nil {
		db.answerBuilt() // who came after the end of a build
		return false
	}
	err := errNothing
	if name, ix := db.cat.unfilled(); ix != nil {
		err = db.fillPiece(db.cat.colls[name], ix)
	} else if k := len(db.cat.dropped); k > 0 {
		err = db.dropPiece(db.cat.dropped[k-1])
	}
	if errors.Is(err, errNothing) {
		db.building = false
	} else if db.breaks(err) != nil {
		db.logf("index build: %v", err)
	}
	db.answerBuilt()
	return err == nil || db.building
}

var errNothing = errors.New("nothing to build")

// unfilled returns the index that is to be filled next, the oldest.
func (c *catalog) unfilled() (name string, first *index) {
	for n, coll := range c.colls {
		for _, x := range coll.indexes {
			if !x.filled && (first == nil || x.num < first.num) {
				name, first = n, x
			}
		}
	}
	return name, first
}

// indexOf returns the index of that number, or nil.
func (c *catalog) indexOf(coll string, n uint32) *index {
	if c.colls[coll] == nil {
		return nil
	}
	for _, x := range c.colls[coll].indexes {
		if x.num == n {
			return x
		}
	}
	return nil
}

// fillPiece puts the entries of the next documents of c into x, and notes how
// far it is in the same transaction.
func (db *DB) fillPiece(c *coll, x *index) error {
	b := db.newBatch()
	defer b.discard()
	snap := db.store.Snapshot()
	defer snap.Release()
	prefix := db.key(tagDoc, num(c.num))
	it := snap.Iterate(store.Range{Lower: db.key(tagDoc, num(c.num), x.at), Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	n, keys, size := 0, 0, 0
	for ; it.Valid() && n < pieceDocs && keys < pieceKeys && size < pieceBytes; it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		h, err := parseHead(v)
		if err != nil {
			return err
		}
		b.now.fill(x, h.doc)
		if n > 0 && !b.fits(len(b.now.keys), it.Key()) {
			break
		}
		if b.now.multi {
			x.multi.Store(true)
		}
		idKey := bytes.Clone(it.Key()[len(prefix):])
		if err := b.emitWide(x, idKey, false, b.now.wide); err != nil {
			return err
		}
		b.old.fill(x, nil)
		if err := b.emitEntries(x, idKey, true); err != nil {
			return err
		}
		if h.doc != nil {
			x.done.Add(1)
		}
		n, keys, size = n+1, keys+len(b.now.keys), size+len(v)
	}
	if err := it.Err(); err != nil {
		return err
	}
	done := !it.Valid()
	y := x.with(func(y *index) {
		y.filled = done
		y.at = nil
		if !done {
			y.at = bytes.Clone(it.Key()[len(prefix):])
		}
	})
	return b.finishPiece(c, func(xs []*index) []*index {
		xs = slices.Clone(xs)
		xs[slices.Index(xs, x)] = y
		return xs
	}, done)
}

// fits reports whether the entries of one more document fit.
func (b *batch) fits(keys int, doc []byte) bool {
	l, u := b.db.store.Limits(), b.tx.Used()
	size := 2 * keys * (maxEntryKey + len(doc))
	return u.Puts+2*keys+8 <= l.Puts && u.Bytes+size+reserve <= l.Bytes
}

// finishPiece commits what a piece changed: the indexes of c, if c is set. last
// makes it durable and shows it to readers.
func (b *batch) finishPiece(c *coll, change func([]*index) []*index, last bool) error {
	db := b.db
	if b.cat == db.cat {
		b.cat = db.cat.clone()
	}
	if c != nil {
		b.cat.colls[c.name] = c.withIndexes(change(c.indexes))
		b.catalogs[c.num] = true
	}
	if err := b.save(); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	if last {
		if err := db.store.Sync(); err != nil {
			return err
		}
	}
	db.meta, db.cat = b.meta, b.cat
	if last {
		db.publish(&news{})
	}
	return nil
}

// dropPiece deletes some of what dropped index n has, or notes that nothing is left.
func (db *DB) dropPiece(n uint32) error {
	b := db.newBatch()
	defer b.discard()
	deleted := 0
	for _, tag := range []byte{tagIndex, tagWide, tagConflict} {
		r := store.Prefix(db.key(tag, num(n)))
		r.KeysOnly = true
		snap := db.store.Snapshot()
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
	b.cat = db.cat.clone()
	b.cat.dropped = slices.DeleteFunc(b.cat.dropped, func(x uint32) bool { return x == n })
	b.stats[n] = collStats{}
	b.catalogs[0] = true
	return b.finishPiece(nil, nil, true)
}

// addShadow adds an index that nothing defines yet, to be filled and maintained.
func (db *DB) addShadow(name string, x Index) (uint32, error) {
	b := db.newBatch()
	defer b.discard()
	c := b.coll(name)
	for _, h := range c.indexes {
		if h.Name == x.Name {
			return 0, fault.Of(errIndexExists, "an index %s is being created", x.Name)
		}
	}
	if b.cat == db.cat {
		b.cat = db.cat.clone()
	}
	b.cat.next++
	ix, err := newIndex(x, b.cat.next, false)
	if err != nil {
		return 0, err
	}
	ix.shadow = true
	db.building = true
	return ix.num, b.finishPiece(c, func(xs []*index) []*index { return append(slices.Clone(xs), ix) }, true)
}

// dropShadow removes an index that addShadow added, if nothing defined it since.
func (db *DB) dropShadow(name string, n uint32) error {
	ix := db.cat.indexOf(name, n)
	if ix == nil || !ix.shadow {
		return nil
	}
	b := db.newBatch()
	defer b.discard()
	b.cat = db.cat.clone()
	b.cat.dropped = append(b.cat.dropped, n)
	db.building = true
	return b.finishPiece(db.cat.colls[name], func(xs []*index) []*index {
		return slices.DeleteFunc(slices.Clone(xs), func(x *index) bool { return x == ix })
	}, true)
}

// dropShadows removes the shadows that an ended process left.
func (db *DB) dropShadows() error {
	b := db.newBatch()
	defer b.discard()
	b.cat = db.cat.clone()
	for name, c := range db.cat.colls {
		for _, x := range c.indexes {
			if x.shadow {
				b.cat.dropped = append(b.cat.dropped, x.num)
				b.catalogs[c.num] = true
				b.cat.colls[name] = c.withIndexes(slices.DeleteFunc(slices.Clone(c.indexes), func(x *index) bool { return x.shadow }))
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
	db.meta, db.cat = b.meta, b.cat
	return nil
}

// inCommitter runs f in the committer.
func (db *DB) inCommitter(ctx context.Context, f func() error) error {
	r := &request{ctx: ctx, do: f}
	if err := db.submit(r); err != nil {
		return err
	}
	return r.err
}

// await waits until f, which the committer calls between groups, says that it
// is done, or ctx ends.
func (db *DB) await(ctx context.Context, f func() (bool, error)) error {
	r := &request{ctx: ctx, until: f}
	if err := db.enqueue(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		db.Wake() // which takes r off the list
		return ctx.Err()
	}
}

// answerBuilt answers those who wait for what is so now.
func (db *DB) answerBuilt() {
	db.waiting = slices.DeleteFunc(db.waiting, func(r *request) bool {
		if r.until == nil {
			return false
		}
		done, err := r.until()
		if done = done || err != nil || r.ctx.Err() != nil; done {
			r.err = err
			close(r.done)
		}
		return done
	})
}

// awaitIndex waits until x covers all documents.
func (db *DB) awaitIndex(ctx context.Context, name string, x Index) error {
	return db.await(ctx, func() (bool, error) {
		c := db.cat.colls[name]
		if c == nil {
			return false, fault.Of(ErrNotFound, "collection %s was dropped while an index was built", name)
		}
		ix := findIndex(c.indexes, x)
		if ix == nil {
			return false, fault.Of(ErrNotFound, "index %s was dropped while it was built", x.Name)
		}
		return ix.ready, nil
	})
}
