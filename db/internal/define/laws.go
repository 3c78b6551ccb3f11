package define

import (
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/seen"
	"github.com/weftdb/weft/internal/clock"
)

// A Key says of what a chain was made.
type Key struct {
	last    keyspace.Ref
	count   uint64
	pending int // how many records; none is ever taken out of a set
	gen     uint64
}

// A Keyed is a chain and its key.
type Keyed struct {
	Key   Key
	Chain *Chain
}

// A Set is definitions by the key of their name, then by arrival.
type Set map[string]map[int64]*journal.Record

// Await notes that a record is being folded, if it is a definition.
func (s Set) Await(rec *journal.Record) {
	if rec.View == nil {
		return
	}
	k := string(rec.Ops[0].Key)
	if s[k] == nil {
		s[k] = map[int64]*journal.Record{}
	}
	s[k][rec.N] = rec
}

// Laws is what a fold knows of definitions. The owner sets Journal, Voids and Below, and calls
// Renew before anything else.
//
// Invariant: the documents that are folded were judged by the definitions that are stored
// as holding. So who gives which right, and what is held, is asked once of each definition,
// and again only after Renew, when all definitions are judged anew; a definition that is
// not being folded together with what is judged counts for nothing.
type Laws struct {
	Journal journal.Journal
	Voids   func(id clock.RecordID) bool // what counts as never written
	Below   func(id clock.RecordID) bool // of it what does so by its position: nobody need have it
	Chains  map[string]Keyed             // as they are stored
	Awaited map[string]bool              // some link names what is not held; whether that is stored

	gen     uint64 // rises when the same records may say something else
	rights  map[clock.RecordID]right
	whole   map[clock.RecordID]bool
	missing map[clock.RecordID]clock.RecordID // a head that is not held
}

// A right is by what a definition's author defines.
type right struct {
	role string
	rank []byte
}

// Renew forgets what may be different now, as other records count, are held or give rights.
func (l *Laws) Renew() {
	l.gen++
	l.Chains, l.rights = map[string]Keyed{}, map[clock.RecordID]right{}
	l.whole, l.missing = map[clock.RecordID]bool{}, map[clock.RecordID]clock.RecordID{}
	if l.Awaited == nil {
		l.Awaited = map[string]bool{}
	}
}

// KeyOf returns the key of the chain of a definition, as its document has it and with what is
// pending.
func (l *Laws) KeyOf(name string, h *keyspace.Head, pending Set) Key {
	return Key{last: h.Last, count: h.Count, gen: l.gen, pending: len(pending[name])}
}

// Fold makes the chain of a name of records, of which those that are no definitions, or void,
// are left out. was is a chain of that name before, if there is one.
func (l *Laws) Fold(recs map[int64]*journal.Record, base []byte, was Keyed) (*Chain, error) {
	var links []*Link
	for _, rec := range recs {
		if rec.View == nil || l.Voids(rec.ID) {
			continue
		}
		r, err := l.right(rec)
		if err != nil {
			return nil, err
		}
		k := &Link{Rec: rec, Role: r.role, Rank: r.rank}
		if k.Whole, err = l.isWhole(rec); err != nil {
			return nil, err
		}
		links = append(links, k)
	}
	if was.Chain != nil && was.Key.gen != l.gen {
		was.Chain = &Chain{memo: was.Chain.memo}
	}
	return Fold(links, base, l.saw, was.Chain)
}

func (l *Laws) right(rec *journal.Record) (right, error) {
	r, ok := l.rights[rec.ID]
	if ok {
		return r, nil
	}
	var err error
	if r.role, r.rank, err = l.Journal.Right(rec.ID); err == nil {
		l.rights[rec.ID] = r
	}
	return r, err
}

// isWhole reports whether all that a definition names is held and earlier, or can never
// count.
func (l *Laws) isWhole(rec *journal.Record) (bool, error) {
	if l.whole[rec.ID] {
		return true, nil
	}
	if _, ok := l.missing[rec.ID]; ok {
		return false, nil
	}
	whole, err := l.complete(rec)
	if whole {
		l.whole[rec.ID] = true
	}
	return whole, err
}

// complete is isWhole as it is now. It notes what is missing.
func (l *Laws) complete(rec *journal.Record) (bool, error) {
	sight := l.sight()
	if h, ok := l.missing[rec.ID]; ok {
		if lacks, err := sight.LacksHead(h, rec.Time); lacks || err != nil {
			return false, err
		}
	}
	h, lacks, err := sight.Lacks(rec.View, rec.Time)
	if lacks {
		l.missing[rec.ID] = h
	}
	return !lacks && err == nil, err
}

func (l *Laws) sight() *seen.Sight {
	return &seen.Sight{Journal: l.Journal, Voids: l.Voids, Below: l.Below}
}

func (l *Laws) saw(d *journal.Record, x clock.RecordID) (bool, error) {
	return l.sight().Saw(d.ID, d.View, x)
}

// Fares reports whether a link would be judged otherwise now than its operation was; code
// returns how, by the record. If so, the owner judges all definitions anew.
func (l *Laws) Fares(c *Chain, code func(n int64) (keyspace.Code, bool)) (bool, error) {
	for _, k := range c.Links {
		was, ok := code(k.Rec.N)
		if !ok {
			continue
		}
		if k.Code != was {
			return true, nil
		}
		if !k.Whole {
			if whole, err := l.complete(k.Rec); whole || err != nil {
				return whole, err
			}
		}
	}
	return false, nil
}
