package cut

import (
	"bytes"
	"slices"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// A GoneDoc is a document that has operations which do not count: From is the first.
type GoneDoc struct {
	Key  []byte
	From keyspace.Ref
}

// A Finder finds documents that have operations of arrivals that are gone. Compare orders
// places as stamps.
type Finder struct {
	Gone    *Arrivals
	Compare func(x, y keyspace.Ref) (int, error)
}

// goneHeads is how many documents one call of Docs looks at.
const goneHeads = 8192

// Docs returns up to 256 documents under prefix, from key at on, and where to go on; their
// histories are under history.
func (f *Finder) Docs(snap store.Reader, prefix, history, at []byte) (found []GoneDoc, next []byte, err error) {
	it := snap.Iterate(store.Range{Lower: at, Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	events := snap.Iterate(store.Range{Lower: history, Upper: store.PrefixEnd(history), KeysOnly: true})
	defer events.Close()
	for seen := 0; it.Valid(); it.Next() {
		if len(found) == 256 || seen == goneHeads {
			return found, bytes.Clone(it.Key()), nil
		}
		seen++
		v, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		h, err := keyspace.ParseHead(v)
		if err != nil {
			return nil, nil, err
		}
		key := it.Key()[len(prefix):]
		from, ok, err := f.firstGone(events, append(slices.Clone(history), key...), &h)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		found = append(found, GoneDoc{bytes.Clone(key), from})
	}
	return found, nil, it.Err()
}

// firstGone returns the first operation of a document that does not count.
func (f *Finder) firstGone(events store.Iterator, prefix []byte, h *keyspace.Head) (from keyspace.Ref, ok bool, err error) {
	take := func(r keyspace.Ref) error {
		if !f.Gone.Has(r.N) {
			return nil
		}
		if ok {
			if c, err := f.Compare(from, r); err != nil || c <= 0 {
				return err
			}
		}
		from, ok = r, true
		return nil
	}
	if err := take(h.Last); err != nil || h.Count == 1 {
		return from, ok, err
	}
	for events.Seek(prefix); events.Valid() && bytes.HasPrefix(events.Key(), prefix); events.Next() {
		s := keyspace.Scanner{B: events.Key()[len(prefix):]}
		r := s.Ref()
		if s.Bad {
			return from, ok, keyspace.ErrCorrupt
		}
		if ok && r.Time > from.Time {
			break
		}
		if err := take(r); err != nil {
			return from, ok, err
		}
	}
	return from, ok, events.Err()
}
