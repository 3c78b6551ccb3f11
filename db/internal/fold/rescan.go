package fold

import (
	"bytes"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// timelines returns the definitions of the set as they were.
// A definition is folded like any document, and what it says holds from its place on. If
// a late operation changes that, documents were judged by what was not in force:
//
//	definitions before   t10: schema A                    t50: schema B
//	arrives late                        t30: schema C
//	definitions now      t10: schema A  t30: schema C     t50: schema B
//	first difference     t30: documents with operations at t30 or later are folded again
//
// Those before t30 are not touched, and of the others only what comes after t30 is judged.
func (f *refolder) timelines() (map[*entry][]version, error) {
	out := map[*entry][]version{}
	for _, r := range f.order {
		if r.coll != judge.SystemCollection {
			continue
		}
		tl, err := f.b.timeline(r.e)
		if err != nil {
			return nil, err
		}
		out[r.e] = tl
	}
	return out, nil
}

// redefine follows definitions that the fold changed: indexes first, and a rescan from the
// first place where the law is another.
func (f *refolder) redefine(before map[*entry][]version) error {
	for _, r := range f.order {
		e := r.e
		old, ok := before[e]
		if !ok {
			continue
		}
		name := string(e.id.Str())
		delete(f.b.defs, name)
		now, err := f.b.timeline(e)
		if err != nil {
			return err
		}
		from, differ, err := f.b.firstDifference(schemas(old), schemas(now))
		if err != nil {
			return err
		}
		if err := f.b.redefined(name, e.Doc, from, differ); err != nil {
			return err
		}
	}
	return nil
}

// schemas leaves of a timeline the places where the schema changes.
func schemas(tl []version) (out []version) {
	last := ""
	for _, v := range tl {
		if t := judge.LawOf(v.doc); t != last {
			out, last = append(out, v), t
		}
	}
	return out
}

// firstDifference returns the earliest place at which two timelines say different things.
func (b *batch) firstDifference(x, y []version) (keyspace.Ref, bool, error) {
	for i := range max(len(x), len(y)) {
		switch {
		case i >= len(x):
			return y[i].from, true, nil
		case i >= len(y):
			return x[i].from, true, nil
		case x[i].from != y[i].from || judge.LawOf(x[i].doc) != judge.LawOf(y[i].doc):
			c, err := b.compare(x[i].from, y[i].from)
			if c <= 0 {
				return x[i].from, true, err
			}
			return y[i].from, true, err
		}
	}
	return keyspace.Ref{}, false, nil
}

// rescan folds the documents of a collection again that have operations at
// from or later.
func (b *batch) rescan(s rescan) error {
	if err := b.emit(); err != nil {
		return err
	}
	prefix := b.fold.Space.Key(keyspace.TagDoc, keyspace.Num(b.coll(s.coll).Num))
	at := prefix
	for {
		ids, next, err := b.lateDocs(prefix, at, s.from)
		if err != nil {
			return err
		}
		for _, k := range ids {
			e, err := b.entry(s.coll, k, value.Value{})
			if err == nil {
				err = b.name(e)
			}
			if err != nil {
				return err
			}
			if err := b.refold([]lateOp{{e, s.from, false}}); err != nil {
				return err
			}
		}
		if err := b.emit(); err != nil {
			return err
		}
		if b.stepping {
			b.forget()
		}
		if next == nil {
			return nil
		}
		at = next
	}
}

// lateDocs returns _id keys of up to 256 documents from key at on, with
// operations at from or later, and where to go on.
func (b *batch) lateDocs(prefix, at []byte, from keyspace.Ref) (ids [][]byte, next []byte, err error) {
	it := b.tx.Iterate(store.Range{Lower: at, Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		h, err := keyspace.ParseHead(v)
		if err != nil {
			return nil, nil, err
		}
		if h.Last.Time < from.Time || h.Count == 1 && h.Last.Time == 0 {
			continue // earlier, or of a snapshot, which is not judged
		}
		if len(ids) == 256 {
			return ids, bytes.Clone(it.Key()), nil
		}
		ids = append(ids, bytes.Clone(it.Key()[len(prefix):]))
	}
	return ids, nil, it.Err()
}

// forget drops clean entries, which bounds memory while a collection is folded. Dirty ones
// are the only copy of what is to be written.
func (b *batch) forget() {
	for k, e := range b.entries {
		if !e.dirty {
			delete(b.entries, k)
		}
	}
	clear(b.defs)
	clear(b.records)
	clear(b.ids)
}
