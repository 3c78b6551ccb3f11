package fold

import (
	"context"
	"errors"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A unique index binds who writes, not what is folded: two devices that do not see each
// other may both give a document the key, and neither write may be lost. So a local write
// is refused if this replica knows another holder; what the fold brings together becomes
// a conflict, a mark that says so until one document is left.
//
//	A offline: {_id: 1, email: "x"}     B offline: {_id: 2, email: "x"}
//	both fold both:   i x "x" 1, i x "x" 2, u x "x"     a conflict, told to watches
//	B deletes 2:      i x "x" 1                          resolved
//
// Invariant: the mark is there exactly if two documents or more have the key; the index's
// count in the meta data is the number of marks.

// violation returns why a local write that makes next of e's document cannot be:
// another document has a key that the document does not have yet. An index that
// is being built may not know all documents; what it misses is a conflict.
func (b *batch) violation(e *entry, cur, next []byte) (refusal, err error) {
	for _, x := range e.coll.Indexes {
		if !x.Unique || x.Shadow || next == nil {
			continue
		}
		b.old.Fill(x, cur)
		b.now.Fill(x, next)
		if b.now.Wide && !b.old.Wide {
			return fault.Errorf(fault.KeyTooLong, "the keys of the document are too long or too many for the unique index %s", x.Name), nil
		}
		for _, k := range b.now.Keys {
			if b.old.Has(k) {
				continue
			}
			other, err := b.holders.Other(b.fold.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num), k), e.idKey)
			if err != nil {
				return nil, err
			}
			if other != nil {
				return keyspace.DuplicateKey(e.coll.Name, x, next, k), nil
			}
		}
	}
	return nil, nil
}

// speculate makes s what judged requests leave of e, its keys of unique indexes included,
// so that two inserts of one group do not both get a key.
func (b *batch) speculate(e *entry, s *keyspace.State) {
	cur := e.current().Doc
	for _, x := range e.coll.Indexes {
		if !x.Unique || x.Shadow {
			continue
		}
		b.old.Fill(x, cur)
		b.now.Fill(x, s.Doc)
		if b.holders.Judged == nil {
			b.holders.Judged = keyspace.HeldKeys{}
		}
		b.holders.Judged.Move(b.fold.Space, x, e.idKey, &b.old, &b.now)
	}
	e.spec = s
}

// hold notes that e's document gains or loses a key of the unique index x, and
// keeps the marker of a key that several documents have.
func (b *batch) hold(x *keyspace.Index, k, idKey []byte, has bool) error {
	full := b.fold.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num), k)
	if b.holders.Written == nil {
		b.holders.Written = keyspace.HeldKeys{}
	}
	b.holders.Written.Set(full, idKey, has)
	contested, err := b.holders.Contested(full)
	if err != nil {
		return err
	}
	// Steps that are done again may find the entry but not what was done for it.
	if has && !contested && !b.redo {
		return nil // it gained its first document
	}
	mark := b.fold.Space.Key(keyspace.TagConflict, keyspace.Num(x.Num), k)
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
	s := b.statOf(x.Num)
	s.Docs += n
	b.stats[x.Num] = s
	return nil
}

// CreateUnique builds x before anything defines it, and defines it, by the
// operation that define gives, if no two documents have one key. define is called
// in the committer; nil says that the definition is there.
func (f *Fold) CreateUnique(ctx context.Context, name string, x keyspace.IndexDef, define func() (*payload.Op, error)) error {
	var shadow uint32
	if err := f.inCommitter(ctx, func() (err error) {
		shadow, err = f.addShadow(name, x)
		return err
	}); err != nil {
		return err
	}
	err := f.Await(ctx, func() (bool, error) {
		ix := f.Cat.IndexOf(name, shadow)
		return ix == nil || ix.Filled, nil
	})
	if err == nil {
		err = f.inCommitter(ctx, func() error { return f.defineShadow(ctx, name, shadow, x, define) })
	}
	if err != nil {
		// What was built is of no use to anybody.
		if derr := f.inCommitter(context.WithoutCancel(ctx), func() error { return f.dropShadow(name, shadow) }); derr != nil && !errors.Is(derr, keyspace.ErrClosed) {
			err = errors.Join(err, derr)
		}
	}
	return err
}

// defineShadow writes the definition of a shadow that is filled, if no key has two
// documents; in the committer, so that nothing comes in between. The fold of the
// definition takes the shadow over.
func (f *Fold) defineShadow(ctx context.Context, name string, shadow uint32, x keyspace.IndexDef, define func() (*payload.Op, error)) error {
	ix := f.Cat.IndexOf(name, shadow)
	if ix == nil {
		return fault.Of(keyspace.ErrNotFound, "index %s was dropped while it was built", x.Name)
	}
	if !ix.Shadow {
		return nil // another replica's definition took it over
	}
	if f.meta.Stats[shadow].Docs > 0 {
		snap := f.Store.Snapshot()
		defer snap.Release()
		return f.Cat.FirstConflict(snap, f.Space, name, ix)
	}
	op, err := define()
	if op == nil || err != nil {
		return err
	}
	r := &Request{Ctx: ctx, Ops: []payload.Op{*op}, Mode: Each, done: make(chan struct{})}
	r.Payload = payload.Encode(r.Ops)
	// Straight to the group: this is the committer, which cannot wait for itself.
	f.commitGroup([]*Request{r})
	if r.Err != nil {
		return r.Err
	}
	return r.Results[0]
}
