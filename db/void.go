package db

import (
	"bytes"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A bitset is a set of arrivals. A nil one is empty.
type bitset struct{ words []uint64 }

func (s *bitset) has(n int64) bool {
	return s != nil && int(n>>6) < len(s.words) && s.words[n>>6]&(1<<(n&63)) != 0
}

func (s *bitset) add(n int64) {
	for int(n>>6) >= len(s.words) {
		s.words = append(s.words, 0)
	}
	s.words[n>>6] |= 1 << (n & 63)
}

// mark writes the marker of steps under way.
func (b *batch) mark(mk redoMarker) error {
	v, err := bson.Marshal(mk)
	if err != nil {
		return err
	}
	return b.tx.Put(b.db.key(tagRedo), v)
}

// voidSteps folds again what the change of the cut touches: first what counts
// again, snapshots among it, then whatever else has operations that do not count.
// After an interrupted attempt, again says so, with the rescans that it left: a
// document may have lost its operations while another, which an atomic
// transaction joins to it, is not folded again yet, so that the records are asked.
func (db *DB) voidSteps(marks []voidMark, again bool, rescans []rescan) error {
	b := db.newBatch()
	defer b.discard()
	b.stepping, b.redo, b.voiding = true, true, marks
	b.rescans = rescans
	b.gone = &bitset{}
	old := db.cut.before(marks)
	if b.cutting = len(db.cut.Snapshots) > 0 || len(old.Snapshots) > 0; b.cutting {
		for _, c := range b.cat.colls { // what a watch has not read yet may be deleted next
			b.gap(c)
		}
	}
	var back, out []int64
	err := db.eachFolded(func(n int64, id clock.RecordID, snapshot bool) {
		if db.cut.voids(id, snapshot) {
			b.gone.add(n)
			if again && !old.voids(id, snapshot) {
				out = append(out, n)
			}
		} else if old.voids(id, snapshot) {
			back = append(back, n)
		}
	})
	if err != nil {
		return err
	}
	for i, n := range back {
		rec, err := b.record(n)
		if err != nil {
			return err
		}
		if err := b.fold(rec); err != nil {
			return err
		}
		if err := b.emit(); err != nil {
			return err
		}
		if i%16 == 15 {
			b.forget()
		}
	}
	if err := b.takeOut(out); err != nil {
		return err
	}
	if err := b.sweep(); err != nil {
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := db.store.Sync(); err != nil {
		return err
	}
	return db.finish(b)
}

// maxTakenOut bounds the documents that takeOut keeps in memory.
const maxTakenOut = 100_000

// takeOut folds the documents of the arrivals ns again.
func (b *batch) takeOut(ns []int64) error {
	type doc struct{ coll, key string }
	first := map[doc]ref{}
	for i, n := range ns {
		rec, err := b.record(n)
		if err != nil {
			return err
		}
		for k := range rec.ops {
			d := doc{rec.ops[k].Coll, string(rec.ops[k].Key)}
			r := rec.ref(k)
			if had, ok := first[d]; ok {
				if c, err := b.compare(had, r); err != nil {
					return err
				} else if c <= 0 {
					continue
				}
			}
			first[d] = r
		}
		if len(first) < maxTakenOut && i < len(ns)-1 {
			continue
		}
		for d, r := range first {
			if err := b.unfold(d.coll, []byte(d.key), r); err != nil {
				return err
			}
			if err := b.emit(); err != nil {
				return err
			}
		}
		b.forget()
		clear(first)
	}
	return nil
}

// sweep folds every document again that has operations that do not count, and
// takes back the refusals of such records.
func (b *batch) sweep() error {
	for _, name := range slices.Sorted(maps.Keys(b.cat.colls)) {
		prefix := b.db.key(tagDoc, num(b.coll(name).num))
		for at := prefix; at != nil; {
			if b.tx.Used().Puts > 0 { // a snapshot is walked, which keeps no note of what it read
				if err := b.step(); err != nil {
					return err
				}
			}
			found, next, err := b.goneDocs(prefix, at)
			if err != nil {
				return err
			}
			for i := range found {
				if err := b.unfold(name, found[i].key, found[i].from); err != nil {
					return err
				}
			}
			if err := b.emit(); err != nil {
				return err
			}
			b.forget()
			at = next
		}
	}
	return b.sweepRefused()
}

// unfold folds one document again from the place of an operation that does not count.
func (b *batch) unfold(coll string, key []byte, from ref) error {
	var id value.Value
	if coll == systemCollection { // whose name the fold needs
		rec, err := b.record(from.n)
		if err != nil {
			return err
		}
		if rec.bad != nil || int(from.index) >= len(rec.ops) {
			return errCorrupt
		}
		id = rec.ops[from.index].ID
	}
	e, err := b.entry(coll, key, id)
	if err != nil {
		return err
	}
	if e.count == 0 {
		return nil
	}
	return b.refold([]lateOp{{e, from, false}})
}

type goneDoc struct {
	key  []byte
	from ref
}

// goneDocs returns up to 256 documents from key at on that have operations that
// do not count, with the first of these, and where to go on.
func (b *batch) goneDocs(prefix, at []byte) (found []goneDoc, next []byte, err error) {
	snap := b.db.store.Snapshot()
	defer snap.Release()
	history := slices.Clone(prefix)
	history[len(b.db.prefix)] = tagHistory
	it := snap.Iterate(store.Range{Lower: at, Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	events := snap.Iterate(store.Range{Lower: history, Upper: store.PrefixEnd(history), KeysOnly: true})
	defer events.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		h, err := parseHead(v)
		if err != nil {
			return nil, nil, err
		}
		key := it.Key()[len(prefix):]
		from, ok, err := b.firstGone(events, append(slices.Clone(history), key...), &h)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		if len(found) == 256 {
			return found, bytes.Clone(it.Key()), nil
		}
		found = append(found, goneDoc{bytes.Clone(key), from})
	}
	return found, nil, it.Err()
}

// firstGone returns the first operation of a document that does not count.
func (b *batch) firstGone(events store.Iterator, prefix []byte, h *head) (from ref, ok bool, err error) {
	take := func(r ref) error {
		if !b.gone.has(r.n) {
			return nil
		}
		if ok {
			if c, err := b.compare(from, r); err != nil || c <= 0 {
				return err
			}
		}
		from, ok = r, true
		return nil
	}
	if err := take(h.last); err != nil || h.count == 1 {
		return from, ok, err
	}
	for events.Seek(prefix); events.Valid() && bytes.HasPrefix(events.Key(), prefix); events.Next() {
		s := scanner{b: events.Key()[len(prefix):]}
		r := s.ref()
		if s.bad {
			return from, ok, errCorrupt
		}
		if ok && r.time > from.time {
			break
		}
		if err := take(r); err != nil {
			return from, ok, err
		}
	}
	return from, ok, events.Err()
}

// sweepRefused takes back the refusals of malformed records that do not count;
// those of operations went with their documents' history. What the feed would
// tell of refusals that were cut off goes too.
func (b *batch) sweepRefused() error {
	if b.cutting {
		if err := b.sweepNoted(); err != nil {
			return err
		}
	}
	p := b.db.key(tagRefused)
	var found []ref
	it := b.tx.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(p):]}
		if r := s.ref(); b.gone.has(r.n) {
			found = append(found, r)
		}
	}
	err := it.Err()
	it.Close()
	for _, r := range found {
		if err != nil {
			return err
		}
		var rec *record
		if rec, err = b.record(r.n); err == nil {
			err = b.refuse(r, rec, nil, verdict{})
		}
	}
	return err
}

// sweepNoted deletes what was noted for the feed of refusals of records that do
// not count.
func (b *batch) sweepNoted() error {
	p := b.db.key(tagNoted)
	snap := b.db.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(p):]}
		s.u64()
		if r := s.ref(); s.bad || !b.gone.has(r.n) {
			continue
		}
		if err := b.del(bytes.Clone(it.Key())); err != nil {
			return err
		}
	}
	return it.Err()
}
