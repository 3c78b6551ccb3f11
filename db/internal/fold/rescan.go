package fold

import (
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
)

// holding returns, of the definitions in the set, what holds as they were folded before. If
// that changes, documents were judged by what does not judge them any more.
func (f *refolder) holding() (map[*entry][]*journal.Record, error) {
	out := map[*entry][]*journal.Record{}
	for _, r := range f.order {
		if r.coll != judge.SystemCollection {
			continue
		}
		recs, err := f.b.accepted(r.e)
		if err != nil {
			return nil, err
		}
		out[r.e] = recs
	}
	return out, nil
}

// redefine follows definitions that the fold changed: indexes first, and a rescan where the
// law is another.
func (f *refolder) redefine(before map[*entry][]*journal.Record) error {
	for _, r := range f.order {
		e := r.e
		old, ok := before[e]
		if !ok {
			continue
		}
		name := string(e.id.Str())
		delete(f.b.defs, name)
		now, err := f.b.accepted(e)
		if err != nil {
			return err
		}
		from, differ, err := f.b.relaw(e, old, now)
		if err != nil {
			return err
		}
		if err := f.b.redefined(name, e.Doc, from, differ); err != nil {
			return err
		}
	}
	return nil
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
		ids, next, err := keyspace.LateDocs(b.tx, prefix, at, s.from)
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
	clear(b.marks)
}
