// Package place says where the operations of records stand: at their record's clock, or
// later, where a horizon binds it. docs/design/places.md has the rules.
//
//	Places ── rows     the horizons that are folded, and what was found of each
//	       ── moved    the records that stand elsewhere than at their clock
//	       └─ Force    the horizons in force, linked by what they have seen
//	Judge ─► Plan      which have force now ─► the records that are to stand elsewhere
//
// Invariant: what is folded stands where moved says, always. What horizons say may be ahead
// of that: until it is judged, and what it binds has been moved, it is due, and the store
// says so.
package place

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/seen"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A state is what was found of a horizon.
type state byte

const (
	fresh   state = iota // it is not judged
	inForce              //
	without              // without force
	waits                // it names what is not held
)

// A due is what is to be judged.
type due byte

const (
	nothing due = iota
	some        // horizons that are fresh, or whose heads have come
	all         // whatever the roles or the cut decide
)

// An author is whose record it is, and its seniority; no rank is no right.
type author struct {
	identity string
	rank     []byte
}

// rules reports whether a is senior to b, or of its identity.
func (a *author) rules(b *author) bool {
	return len(a.rank) > 0 && (a.identity == b.identity || bytes.Compare(a.rank, b.rank) < 0)
}

// under reports whether a horizon of b may bind what a wrote.
func (a *author) under(b *author) bool { return a.identity == b.identity || !a.rules(b) }

// A horizon is one that is folded.
type horizon struct {
	n     int64
	id    clock.RecordID
	clock clock.Time
	t     clock.Time
	state state
	lacks clock.RecordID // of one that waits: what is missing; the zero ID is not known

	// Of one in force:
	by     author
	at     int        // its place in the list of those in force
	missed []*horizon // earlier ones that it has not seen, in order
	rivals []*horizon // which neither has seen it nor was seen, of authors that rule its own
}

// compare orders horizons: what one has seen comes before it.
func compare(a, b *horizon) int {
	return cmp.Or(cmp.Compare(a.clock, b.clock), bytes.Compare(a.id.Log[:], b.id.Log[:]), bytes.Compare(a.id.Hash[:], b.id.Hash[:]))
}

// A Source answers what places rest on.
type Source struct {
	seen.Sight
	Record func(n int64) (*journal.Record, error) // a record that is held
}

func (s *Source) view(h *horizon) ([]clock.RecordID, error) {
	rec, err := s.Record(h.n)
	if err != nil {
		return nil, err
	}
	if rec.Horizon == nil {
		return nil, keyspace.ErrCorrupt
	}
	return rec.Horizon.View, nil
}

// saw reports whether a horizon has seen a record that was written at a time.
func (s *Source) saw(h *horizon, x clock.RecordID, at clock.Time) (bool, error) {
	if at >= h.clock {
		return false, nil // what is seen is earlier
	}
	if x.Log == h.id.Log {
		return s.Saw(h.id, nil, x)
	}
	view, err := s.view(h)
	if err != nil {
		return false, err
	}
	return s.Saw(h.id, view, x)
}

// Places is where the records of a database stand. It belongs to the committer.
type Places struct {
	space keyspace.Space
	rows  []*horizon // by compare
	moved map[int64]clock.Time
	due   due
	force *force // nil until it is asked for
	top   clock.Time
}

// The kinds of keys under keyspace.TagPlace.
const (
	keyDue     = 'd' // what is due: keyspace.Space.DueKey
	keyHorizon = 'h' // ‖ arrival u64be: a horizon
	keyMoved   = 'm' // ‖ arrival u64be: a record that stands elsewhere than at its clock
)

func (p *Places) key(kind byte, n int64) []byte {
	return p.space.Key(keyspace.TagPlace, binary.BigEndian.AppendUint64([]byte{kind}, uint64(n)))
}

// Load reads what a database has.
func Load(r store.Reader, space keyspace.Space) (p Places, err error) {
	p.space, p.moved = space, map[int64]clock.Time{}
	prefix := space.Key(keyspace.TagPlace)
	it := r.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := keyspace.Scanner{B: it.Key()[len(prefix):]}
		b, err := it.Value()
		if err != nil {
			return p, err
		}
		v := keyspace.Scanner{B: b}
		switch kind := k.Take(1)[0]; kind {
		case keyDue:
			p.due = due(v.Take(1)[0])
		case keyHorizon:
			h := &horizon{n: int64(k.U64()), state: state(v.Take(1)[0]), clock: clock.Time(v.U64()), t: clock.Time(v.U64())}
			h.id.Log, h.id.Hash = clock.LogID(v.Take(32)), clock.Hash(v.Take(32))
			h.id.Seq = v.U64()
			p.rows = append(p.rows, h)
		case keyMoved:
			p.moved[int64(k.U64())] = clock.Time(v.U64())
		default:
			return p, keyspace.ErrCorrupt
		}
		if k.Bad || v.Bad || len(k.B)+len(v.B) > 0 {
			return p, keyspace.ErrCorrupt
		}
	}
	slices.SortFunc(p.rows, compare)
	p.setTop()
	return p, it.Err()
}

// A Write is a key to be stored, or, without a value, to be deleted.
type Write struct{ K, V []byte }

// WriteAll writes in as many transactions as it takes, in order.
func WriteAll(st store.Store, ws []Write) error {
	for most := max(1, st.Limits().Puts/2); len(ws) > 0; {
		n := min(len(ws), most)
		tx := st.Begin()
		err := Put(ws[:n], tx.Put, tx.Delete)
		if err == nil {
			err = tx.Commit()
		}
		tx.Discard()
		if err != nil {
			return err
		}
		ws = ws[n:]
	}
	return nil
}

// Put writes in order.
func Put(ws []Write, put func(k, v []byte) error, del func(k []byte) error) (err error) {
	for i := 0; i < len(ws) && err == nil; i++ {
		if ws[i].V == nil {
			err = del(ws[i].K)
		} else {
			err = put(ws[i].K, ws[i].V)
		}
	}
	return err
}

func (p *Places) row(h *horizon) Write {
	v := binary.BigEndian.AppendUint64([]byte{byte(h.state)}, uint64(h.clock))
	v = binary.BigEndian.AppendUint64(v, uint64(h.t))
	v = append(append(v, h.id.Log[:]...), h.id.Hash[:]...)
	return Write{p.key(keyHorizon, h.n), binary.BigEndian.AppendUint64(v, h.id.Seq)}
}

// setTop finds up to which time horizons bind.
func (p *Places) setTop() {
	p.top = 0
	for _, h := range p.rows {
		if h.state == inForce {
			p.top = max(p.top, h.t)
		}
	}
}

// Top returns up to which time a record may date itself and be bound.
func (p *Places) Top() clock.Time { return p.top }

// Latest returns a time that nothing is moved beyond.
func (p *Places) Latest() clock.Time {
	t := p.top
	for _, to := range p.moved {
		t = max(t, to)
	}
	return t
}

// Any reports whether there is any horizon.
func (p *Places) Any() bool { return len(p.rows) > 0 }

// Due reports whether what is folded may stand elsewhere than horizons say.
func (p *Places) Due() bool { return p.due > nothing }

// Put has a record stand where it does.
func (p *Places) Put(rec *journal.Record) {
	if to, ok := p.moved[rec.N]; ok && rec.Moves() {
		rec.Time = to
	}
}

// Note returns what is to be stored of a horizon that is folded; Take takes it over once that
// is committed.
func (p *Places) Note(rec *journal.Record) []Write {
	return []Write{p.row(rowOf(rec)), {p.space.DueKey(), []byte{byte(max(p.due, some))}}}
}

func rowOf(rec *journal.Record) *horizon {
	return &horizon{n: rec.N, id: rec.ID, clock: rec.Clock, t: rec.Horizon.T}
}

// Take takes over what was noted of a horizon.
func (p *Places) Take(rec *journal.Record) {
	h := rowOf(rec)
	at, found := slices.BinarySearchFunc(p.rows, h, compare)
	switch {
	case !found:
		p.rows = slices.Insert(p.rows, at, h)
	case p.rows[at].state != fresh: // it counts again
		p.rows[at], p.force = h, nil
		p.setTop()
	}
	p.due = max(p.due, some)
}

// NoteAll is Note of all horizons, which are to be judged anew.
func (p *Places) NoteAll() []Write {
	if !p.Any() {
		return nil
	}
	return []Write{{p.space.DueKey(), []byte{byte(all)}}}
}

// TakeAll is after NoteAll.
func (p *Places) TakeAll() {
	if p.Any() {
		p.due = all
	}
}

// A Move is a record that is to stand at another time.
type Move struct {
	N     int64
	To    clock.Time
	Clock clock.Time // its own
}

// NoteMoves returns what is to be stored of records that stand elsewhere; TakeMoves takes it
// over.
func (p *Places) NoteMoves(ms []Move) (ws []Write) {
	for _, m := range ms {
		w := Write{K: p.key(keyMoved, m.N)}
		if m.To != m.Clock {
			w.V = binary.BigEndian.AppendUint64(nil, uint64(m.To))
		}
		ws = append(ws, w)
	}
	return ws
}

// TakeMoves is after NoteMoves. It returns the moves that undo it.
func (p *Places) TakeMoves(ms []Move) (back []Move) {
	for _, m := range ms {
		was, ok := p.moved[m.N]
		if !ok {
			was = m.Clock
		}
		back = append(back, Move{m.N, was, m.Clock})
		if m.To == m.Clock {
			delete(p.moved, m.N)
		} else {
			p.moved[m.N] = m.To
		}
	}
	return back
}
