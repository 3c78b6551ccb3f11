package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A DuplicateKeyError is a write, or a new index, that would give two documents
// one key of a unique index.
type DuplicateKeyError struct {
	Collection, Index string
	Pattern           bson.D        // the keys of the index, as {email: 1}
	Value             bson.D        // the key that two documents have, as {email: "a@example.org"}
	ID                bson.RawValue // the _id of the document that was refused; for a new index, of one of the two
}

// Error names the index, the key and the _id.
func (e *DuplicateKeyError) Error() string {
	return fmt.Sprintf("E11000 duplicate key error collection: %s index: %s dup key: %s keyPattern: %s _id: %s",
		e.Collection, e.Index, jsonOf(e.Value), jsonOf(e.Pattern), AppendJSONValue(nil, e.ID, false))
}

// Kind returns fault.DuplicateKey.
func (e *DuplicateKeyError) Kind() fault.Kind { return fault.DuplicateKey }

func jsonOf(d bson.D) string {
	b, err := bson.Marshal(d)
	if err != nil {
		return "{}"
	}
	return string(value.AppendJSON(nil, b, false))
}

// duplicateKey is the error of doc having key of x, as another document has.
func duplicateKey(collection string, x *index, doc, key []byte) *DuplicateKeyError {
	e := &DuplicateKeyError{Collection: collection, Index: x.Name, Value: x.valuesOf(doc, key), ID: value.Get(doc, "_id").Raw()}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		e.Pattern = append(e.Pattern, bson.E{Key: k.Path, Value: dir})
	}
	return e
}

// isDuplicate reports whether err says that another document has the _id or a
// key of a unique index.
func isDuplicate(err error) bool {
	return fault.Is(err, fault.DuplicateKey)
}

// valuesOf returns the values of doc that give the index key.
func (ix *index) valuesOf(doc, key []byte) bson.D {
	d := bson.D{}
	var vals []value.Value
	for i, p := range ix.paths {
		n := value.KeyLen(key, ix.Keys[i].Desc)
		if n < 0 {
			return d
		}
		vals, _ = p.IndexValues(vals[:0], doc)
		for _, v := range vals {
			if bytes.Equal(value.AppendKey(nil, v, ix.Keys[i].Desc), key[:n]) {
				d = append(d, bson.E{Key: ix.Keys[i].Path, Value: v.Raw()})
				break
			}
		}
		key = key[n:]
	}
	return d
}

// violation returns why a local write that makes next of e's document cannot be:
// another document has a key that the document does not have yet. An index that
// is being built may not know all documents; what it misses is a conflict.
func (b *batch) violation(e *entry, cur, next []byte) (refusal, err error) {
	for _, x := range e.coll.indexes {
		if !x.Unique || x.shadow || next == nil {
			continue
		}
		b.old.fill(x, cur)
		b.now.fill(x, next)
		if b.now.wide && !b.old.wide {
			return fault.Errorf(fault.KeyTooLong, "the keys of the document are too long or too many for the unique index %s", x.Name), nil
		}
		for _, k := range b.now.keys {
			if b.old.has(k) {
				continue
			}
			other, err := b.holders.other(b.db.key(tagIndex, num(x.num), k), e.idKey)
			if err != nil {
				return nil, err
			}
			if other != nil {
				return duplicateKey(e.coll.name, x, next, k), nil
			}
		}
	}
	return nil, nil
}

// speculate makes s what judged requests leave of e.
func (b *batch) speculate(e *entry, s *state) {
	cur := e.current().doc
	for _, x := range e.coll.indexes {
		if !x.Unique || x.shadow {
			continue
		}
		b.old.fill(x, cur)
		b.now.fill(x, s.doc)
		if b.holders.judged == nil {
			b.holders.judged = heldKeys{}
		}
		for _, k := range b.old.keys {
			b.holders.judged.set(b.db.key(tagIndex, num(x.num), k), e.idKey, false)
		}
		for _, k := range b.now.keys {
			b.holders.judged.set(b.db.key(tagIndex, num(x.num), k), e.idKey, true)
		}
	}
	e.spec = s
}

// unique refuses a write of tx that gives its document a key which another has,
// as far as tx sees; the committer looks again.
func (tx *Tx) unique(op *payload.Op, cur, next []byte) error {
	c := tx.v.cat.colls[op.Coll]
	if c == nil {
		return nil
	}
	var old, now keySet
	for _, x := range c.indexes {
		if !x.Unique || x.shadow {
			continue
		}
		old.fill(x, cur)
		now.fill(x, next)
		for _, k := range now.keys {
			full := tx.db.key(tagIndex, num(x.num), k)
			if old.has(k) {
				continue
			}
			taken, err := tx.taken(full, op.Key)
			if err != nil {
				return err
			}
			if taken {
				return duplicateKey(c.name, x, next, k)
			}
		}
		if tx.held == nil {
			tx.held = heldKeys{}
		}
		for _, k := range old.keys {
			tx.held.set(tx.db.key(tagIndex, num(x.num), k), op.Key, false)
		}
		for _, k := range now.keys {
			tx.held.set(tx.db.key(tagIndex, num(x.num), k), op.Key, true)
		}
	}
	return nil
}

// taken reports whether a document besides idKey has the key of a unique index.
func (tx *Tx) taken(full, idKey []byte) (bool, error) {
	over := tx.held[string(full)]
	for id, has := range over {
		if has && id != string(idKey) {
			return true, nil
		}
	}
	r := store.Prefix(full)
	r.KeysOnly = true
	it := tx.v.snap.Iterate(r)
	defer it.Close()
	for ; it.Valid(); it.Next() {
		id := it.Key()[len(full):]
		if _, known := over[string(id)]; !known && !bytes.Equal(id, idKey) {
			return true, nil
		}
	}
	return false, it.Err()
}

// hold notes that e's document gains or loses a key of the unique index x, and
// keeps the marker of a key that several documents have.
func (b *batch) hold(x *index, k, idKey []byte, has bool) error {
	full := b.db.key(tagIndex, num(x.num), k)
	if b.holders.written == nil {
		b.holders.written = heldKeys{}
	}
	b.holders.written.set(full, idKey, has)
	contested, err := b.holders.contested(full)
	if err != nil {
		return err
	}
	if has && !contested && !b.redo {
		return nil // it gained its first document
	}
	mark := b.db.key(tagConflict, num(x.num), k)
	_, err = b.tx.Get(mark)
	marked := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if marked == contested {
		return nil
	}
	if err := b.noteConflict(x, k, contested); err != nil {
		return err
	}
	n := int64(-1)
	if contested {
		n, err = 1, b.put(mark, nil)
	} else {
		err = b.del(mark)
	}
	if err != nil {
		return err
	}
	s := b.statOf(x.num)
	s.docs += n
	b.stats[x.num] = s
	return nil
}

// createUnique builds x before anything defines it, and defines it if no two
// documents have one key.
func (db *DB) createUnique(ctx context.Context, name string, x Index, add bson.D) error {
	var shadow uint32
	if err := db.inCommitter(ctx, func() (err error) {
		shadow, err = db.addShadow(name, x)
		return err
	}); err != nil {
		return err
	}
	err := db.await(ctx, func() (bool, error) {
		ix := db.cat.indexOf(name, shadow)
		return ix == nil || ix.filled, nil
	})
	if err == nil {
		err = db.inCommitter(ctx, func() error { return db.defineShadow(ctx, name, shadow, x, add) })
	}
	if err != nil {
		// What was built is of no use to anybody.
		if derr := db.inCommitter(context.WithoutCancel(ctx), func() error { return db.dropShadow(name, shadow) }); derr != nil && !errors.Is(derr, ErrClosed) {
			err = errors.Join(err, derr)
		}
	}
	return err
}

// defineShadow writes the definition of a shadow that is filled; the fold of the
// definition takes it over.
func (db *DB) defineShadow(ctx context.Context, name string, shadow uint32, x Index, add bson.D) error {
	ix := db.cat.indexOf(name, shadow)
	if ix == nil {
		return fault.Of(ErrNotFound, "index %s was dropped while it was built", x.Name)
	}
	if !ix.shadow {
		return nil // another replica's definition took it over
	}
	if db.meta.stats[shadow].docs > 0 {
		return db.firstConflict(name, ix)
	}
	there, err := db.Collection(name).agrees(ctx, x)
	if there || err != nil {
		return err
	}
	op := defineOp(name, add)
	if op == nil {
		return fault.Errorf(fault.BadValue, "the definition cannot be encoded")
	}
	r := &request{ctx: ctx, ops: []payload.Op{*op}, mode: each, done: make(chan struct{})}
	r.payload = payload.Encode(r.ops)
	db.commitGroup([]*request{r})
	if r.err != nil {
		return r.err
	}
	return r.results[0]
}

// firstConflict is the error of a unique index that the documents violate.
func (db *DB) firstConflict(name string, ix *index) error {
	snap := db.store.Snapshot()
	defer snap.Release()
	p := db.key(tagConflict, num(ix.num))
	it := snap.Iterate(store.Prefix(p))
	defer it.Close()
	if !it.Valid() {
		return errors.Join(errCorrupt, it.Err())
	}
	key := bytes.Clone(it.Key()[len(p):])
	entries := db.key(tagIndex, num(ix.num), key)
	first := snap.Iterate(store.Prefix(entries))
	defer first.Close()
	if !first.Valid() {
		return errors.Join(errCorrupt, first.Err())
	}
	v, err := snap.Get(db.key(tagDoc, num(db.cat.colls[name].num), first.Key()[len(entries):]))
	if err != nil {
		return err
	}
	h, err := parseHead(v)
	if err != nil {
		return err
	}
	return duplicateKey(name, ix, h.doc, key)
}
