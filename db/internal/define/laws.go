package define

import (
	"bytes"
	"sort"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
)

// A Key says of what a chain was made.
type Key struct {
	last    keyspace.Ref
	count   uint64
	pending int
	gen     uint64
}

// A Keyed is a chain and its key.
type Keyed struct {
	Key   Key
	Chain *Chain
}

// A Set is definitions by the key of their name, then by arrival.
type Set map[string]map[int64]*journal.Record

// Laws is what a fold knows of definitions. The owner sets Journal and Voids, and calls
// Renew before anything else.
type Laws struct {
	Journal journal.Journal
	Voids   func(id clock.RecordID) bool // what counts as never written
	Chains  map[string]Keyed             // as they are stored
	Pending Set                          // of a merge that is under way
	Awaited map[string]bool              // some link names what is not held; whether that is stored

	gen     uint64 // rises when the same records may say something else
	changes int    // of what is pending, here or in a batch
	whole   map[clock.RecordID]bool
	missing map[clock.RecordID]clock.RecordID // a head that is not held
}

// Renew forgets what may be different now, as other records count, are held or give rights.
func (l *Laws) Renew() {
	l.gen++
	l.Chains, l.whole, l.missing = map[string]Keyed{}, map[clock.RecordID]bool{}, map[clock.RecordID]clock.RecordID{}
	if l.Pending == nil {
		l.Pending, l.Awaited = Set{}, map[string]bool{}
	}
}

// Await notes in a set that a record is about to be folded, if it is a definition.
func (l *Laws) Await(in Set, rec *journal.Record) {
	if rec.View == nil {
		return
	}
	l.changes++
	k := string(rec.Ops[0].Key)
	if in[k] == nil {
		in[k] = map[int64]*journal.Record{}
	}
	in[k][rec.N] = rec
}

// Settle empties Pending.
func (l *Laws) Settle() {
	clear(l.Pending)
	l.changes++
}

// KeyOf returns the key of the chain of a definition, as its document has it and with what is
// pending in a batch.
func (l *Laws) KeyOf(name string, h *keyspace.Head, batch Set) Key {
	k := Key{last: h.Last, count: h.Count, gen: l.gen}
	if len(l.Pending[name])+len(batch[name]) > 0 {
		k.pending = l.changes
	}
	return k
}

// Fold makes the chain of a name of records, of which those that are no definitions, or void,
// are left out.
func (l *Laws) Fold(name string, recs map[int64]*journal.Record, base []byte) (_ *Chain, err error) {
	var links []*Link
	for _, rec := range recs {
		if rec.View == nil || l.Voids(rec.ID) {
			continue
		}
		k := &Link{Rec: rec}
		if k.Role, k.Rank, err = l.Journal.Right(rec.ID); err == nil {
			k.Whole, err = l.Whole(rec)
		}
		if err != nil {
			return nil, err
		}
		links = append(links, k)
	}
	return Fold(links, base, l.saw, l.Chains[name].Chain)
}

// Whole reports whether all that a definition names is held and earlier, or can never count.
func (l *Laws) Whole(rec *journal.Record) (bool, error) {
	if l.whole[rec.ID] {
		return true, nil
	}
	lacks := func(h clock.RecordID) (bool, error) {
		if l.Voids(h) {
			return false, nil
		}
		at, held, err := l.Journal.Held(h)
		return !held || at >= rec.Time, err
	}
	if h, ok := l.missing[rec.ID]; ok {
		if lack, err := lacks(h); lack || err != nil {
			return false, err
		}
	}
	for _, h := range rec.View {
		if lack, err := lacks(h); err != nil {
			return false, err
		} else if lack {
			l.missing[rec.ID] = h
			return false, nil
		}
	}
	delete(l.missing, rec.ID)
	l.whole[rec.ID] = true
	return true, nil
}

// saw reports whether a definition has seen a record: it comes before it in its log, or is,
// or comes before, a head that it names. What it names that is void is none of a branch.
func (l *Laws) saw(d *journal.Record, x clock.RecordID) (bool, error) {
	if x.Log == d.ID.Log {
		if x.Seq >= d.ID.Seq {
			return false, nil
		}
		return l.Journal.Precedes(x, d.ID)
	}
	i := sort.Search(len(d.View), func(i int) bool { return bytes.Compare(d.View[i].Log[:], x.Log[:]) >= 0 })
	for ; i < len(d.View) && d.View[i].Log == x.Log; i++ {
		h := d.View[i]
		switch {
		case h == x, x.Seq < h.Seq && l.Voids(h):
			return true, nil
		case x.Seq < h.Seq:
			if saw, err := l.Journal.Precedes(x, h); saw || err != nil {
				return saw, err
			}
		}
	}
	return false, nil
}

// Fares reports whether a link would be judged otherwise now than its operation was; code
// returns how, by the record.
func (l *Laws) Fares(c *Chain, code func(n int64) (keyspace.Code, bool)) (bool, error) {
	for _, k := range c.Links {
		was, ok := code(k.Rec.N)
		if !ok {
			continue
		}
		if k.Code != was {
			return true, nil
		}
		if was == keyspace.CodeUnseen {
			if whole, err := l.Whole(k.Rec); whole || err != nil {
				return whole, err
			}
		}
	}
	return false, nil
}
