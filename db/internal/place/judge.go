package place

import (
	"errors"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Plan is what was found of the horizons, and what is to be moved for it.
type Plan struct {
	Moves []Move

	rows   []*horizon
	gone   []*horizon // whose records are held no more
	idle   []int64    // which stand nowhere, as they are not folded, or held no more
	judged []*horizon // whose rows are to be written
	force  *force
}

// Wakes reports whether horizons are due, or are now as what one of them named has come.
func (p *Places) Wakes(s *Source) (bool, error) {
	if p.due > nothing {
		return true, nil
	}
	for _, h := range p.rows {
		if h.state != waits {
			continue
		}
		lacks, err := h.lack(s)
		if err != nil || !lacks {
			return err == nil, err
		}
	}
	return false, nil
}

// lack reports whether h names what is not held, and remembers what that is.
func (h *horizon) lack(s *Source) (lacks bool, err error) {
	if h.lacks != (clock.RecordID{}) {
		if lacks, err := s.LacksHead(h.lacks, h.clock); lacks || err != nil {
			return lacks, err
		}
	}
	view, err := s.view(h)
	if err != nil {
		return false, err
	}
	h.lacks, lacks, err = s.Lacks(view, h.clock)
	return lacks, err
}

// forced returns the horizons in force, as they were found.
func (p *Places) forced(s *Source) (*force, error) {
	if p.force != nil {
		return p.force, nil
	}
	f := &force{}
	for _, h := range p.rows {
		if h.state != inForce || s.Voids(h.id) {
			continue
		}
		if err := h.authorize(s); err != nil {
			return nil, err
		}
		missed, _, err := f.link(s, h)
		if err != nil {
			return nil, err
		}
		f.add(h, missed)
	}
	p.force = f
	return f, nil
}

// authorize finds whose horizon it is.
func (h *horizon) authorize(s *Source) error {
	rec, err := s.Record(h.n)
	if err != nil {
		return err
	}
	_, rank, err := s.Journal.Right(h.id)
	h.by = author{rec.Writer, rank}
	return err
}

// Place puts new records, which are not folded, where horizons say, and returns those that
// do not stand at their clock.
func (p *Places) Place(s *Source, recs []*journal.Record) (ms []Move, err error) {
	if p.top == 0 && len(p.moved) == 0 {
		return nil, nil
	}
	for _, rec := range recs {
		if to, ok := p.moved[rec.N]; ok {
			if rec.Moves() {
				rec.Time = to
			}
			continue
		}
		if rec.Clock > p.top || !rec.Moves() || s.Voids(rec.ID) {
			continue
		}
		f, err := p.forced(s)
		if err != nil {
			return nil, err
		}
		at, err := f.place(s, &operation{n: rec.N, id: rec.ID, clock: rec.Clock, rec: rec})
		if err != nil {
			return nil, err
		}
		if at != rec.Clock {
			rec.Time = at
			ms = append(ms, Move{rec.N, at, rec.Clock})
		}
	}
	return ms, nil
}

// Judge says which horizons have force, by what is held and counts now, and what of the
// records up to the last is to be moved. Nothing of p is changed but what it finds again.
func (p *Places) Judge(s *Source, folded func(n int64) bool, last int64) (*Plan, error) {
	pl := &Plan{}
	// What comes after all others changes nothing of them.
	first := len(p.rows)
	for i, h := range p.rows {
		again := h.state == fresh || p.due == all
		if h.state == waits && !again {
			lacks, err := h.lack(s)
			if err != nil {
				return nil, err
			}
			again = !lacks
		}
		if again {
			first = i
			break
		}
	}
	f, err := p.forced(s)
	if err != nil {
		return nil, err
	}
	before := f.list
	if n := len(f.list); n > 0 && first < len(p.rows) && compare(f.list[n-1], p.rows[first]) >= 0 {
		// What was linked after it is linked anew.
		f = &force{}
		for _, h := range before {
			if compare(h, p.rows[first]) < 0 {
				missed, _, err := f.link(s, h)
				if err != nil {
					return nil, err
				}
				f.add(h, missed)
			}
		}
	}
	p.force = nil // what is linked to it is not in force yet
	pl.force, pl.rows = f, slices.Clone(p.rows[:first])
	kept := len(f.list)
	for _, was := range p.rows[first:] {
		h := *was
		if err := pl.weigh(s, &h); errors.Is(err, errGone) {
			pl.gone = append(pl.gone, was)
			continue
		} else if err != nil {
			return nil, err
		}
		pl.rows = append(pl.rows, &h)
		if h.state != was.state {
			pl.judged = append(pl.judged, &h)
		}
	}
	chain := kept == len(before) && p.due < all // nothing lost force, and what came has seen the rest
	for _, h := range f.list[kept:] {
		chain = chain && len(h.missed) == 0
	}
	look := f.list[kept:]
	if !chain {
		look = f.list
	}
	return pl, p.moves(s, pl, look, chain, folded, last)
}

var errGone = errors.New("it is held no more")

// weigh says what becomes of a horizon, by those before it.
func (pl *Plan) weigh(s *Source, h *horizon) error {
	h.state, h.by, h.missed, h.rivals = without, author{}, nil, nil
	if s.Voids(h.id) {
		_, held, err := s.Journal.Held(h.id)
		if err == nil && !held {
			err = errGone
		}
		return err
	}
	role, rank, err := s.Journal.Right(h.id)
	if err != nil || !May(role) || h.t >= h.clock {
		return err
	}
	if lacks, err := h.lack(s); lacks || err != nil {
		h.state = waits
		return err
	}
	rec, err := s.Record(h.n)
	if err != nil {
		return err
	}
	h.by = author{rec.Writer, rank}
	missed, last, err := pl.force.link(s, h)
	if err != nil {
		return err
	}
	allowed, err := s.allows(h, last)
	if err == nil && allowed {
		h.state = inForce
		pl.force.add(h, missed)
	}
	return err
}

// lookAtOnce bounds how many horizons a record is looked at for; of more, all records are
// placed anew.
const lookAtOnce = 16

// moves finds the records that are to stand elsewhere. What look has seen is passed over;
// what was moved before is looked at again, unless they only add to it.
func (p *Places) moves(s *Source, pl *Plan, look []*horizon, adds bool, folded func(n int64) bool, last int64) error {
	binding, err := s.binding(look)
	if err != nil || len(binding) == 0 && (adds || len(p.moved) == 0) {
		return err
	}
	idle := map[int64]bool{}
	if !adds {
		for n := range p.moved {
			idle[n] = true
		}
	}
	type arrival struct {
		n  int64
		id clock.RecordID
	}
	var as []arrival
	for n := int64(0); ; as = as[:0] {
		err := s.Journal.IDs(n, func(k int64, id clock.RecordID, snapshot bool) bool {
			if k > last {
				return false
			}
			if n = k; !snapshot {
				as = append(as, arrival{k, id})
			}
			return len(as) < 4096
		})
		if err != nil {
			return err
		}
		if len(as) == 0 {
			break
		}
		for _, a := range as {
			if !folded(a.n) {
				continue
			}
			_, moved := p.moved[a.n]
			delete(idle, a.n)
			if s.Voids(a.id) {
				continue
			}
			if adds || !moved {
				missed, err := s.missed(binding, a.id)
				if err != nil {
					return err
				}
				if !missed {
					continue
				}
			}
			m, differs, err := p.move(s, pl.force, a.n, a.id)
			if err != nil {
				return err
			}
			if differs {
				pl.Moves = append(pl.Moves, m)
			}
		}
	}
	pl.idle = slices.Collect(maps.Keys(idle))
	return nil
}

// binding returns which horizons have not seen something that is not later than their T.
func (s *Source) binding(look []*horizon) (binding []*horizon, err error) {
	for _, h := range look {
		view, err := s.view(h)
		if err != nil {
			return nil, err
		}
		heads := []clock.RecordID{h.id} // which says what of its own log it has seen
		for _, g := range view {
			if g.Log == h.id.Log {
				continue
			}
			if s.Voids(g) {
				g.Seq-- // it may be of another branch than what is held
			}
			heads = append(heads, g)
		}
		slices.SortFunc(heads, payload.CompareHeads)
		at, ok, err := s.Journal.Unseen(heads)
		if err != nil {
			return nil, err
		}
		if ok && at <= h.t {
			binding = append(binding, h)
		}
	}
	return binding, nil
}

// missed reports whether one of some horizons may not have seen a record.
func (s *Source) missed(hs []*horizon, x clock.RecordID) (bool, error) {
	if len(hs) > lookAtOnce {
		return true, nil
	}
	for _, h := range hs {
		view, err := s.view(h)
		if err != nil {
			return false, err
		}
		if saw, err := s.Saw(h.id, view, x); !saw || err != nil {
			return true, err
		}
	}
	return false, nil
}

// move finds where a record is to stand, and whether it does not.
func (p *Places) move(s *Source, f *force, n int64, id clock.RecordID) (m Move, differs bool, err error) {
	at, held, err := s.Journal.Held(id)
	if err != nil || !held {
		return m, false, err
	}
	x := &operation{n: n, id: id, clock: at}
	to, err := f.place(s, x)
	if err != nil {
		return m, false, err
	}
	was, ok := p.moved[n]
	if !ok {
		was = at
	}
	if to == was {
		return m, false, nil
	}
	if x.rec == nil {
		if x.rec, err = s.Record(n); err != nil {
			return m, false, err
		}
	}
	return Move{n, to, at}, x.rec.Moves(), nil
}

// NotePlan returns what is to be stored of a plan once all is moved, in this order; Adopt takes it
// over.
func (p *Places) NotePlan(pl *Plan) (ws []Write) {
	for _, h := range pl.judged {
		ws = append(ws, p.row(h))
	}
	for _, h := range pl.gone {
		ws = append(ws, Write{K: p.key(keyHorizon, h.n)})
	}
	for _, n := range pl.idle {
		ws = append(ws, Write{K: p.key(keyMoved, n)})
	}
	return append(ws, Write{K: p.space.DueKey()})
}

// Adopt is after NotePlan.
func (p *Places) Adopt(pl *Plan) {
	p.rows, p.force, p.due = pl.rows, pl.force, nothing
	for _, n := range pl.idle {
		delete(p.moved, n)
	}
	p.setTop()
}

// Uncovered reports whether some of the heads that are held is of another's log and no horizon
// in force has seen it, and when the last of these horizons was written.
func (p *Places) Uncovered(s *Source, heads []clock.RecordID, own func(clock.LogID) bool) (last clock.Time, some bool, err error) {
	f, err := p.forced(s)
	if err != nil {
		return 0, false, err
	}
	if n := len(f.list); n > 0 {
		last = f.list[n-1].clock
	}
	for _, g := range heads {
		if own(g.Log) || s.Voids(g) {
			continue
		}
		seen := false
		for i := len(f.list) - 1; i >= 0 && !seen; i-- {
			h := f.list[i]
			view, err := s.view(h)
			if err != nil {
				return last, false, err
			}
			if seen, err = s.Saw(h.id, view, g); err != nil {
				return last, false, err
			}
			if seen = seen || g == h.id; len(h.missed) == 0 {
				break // it has seen what those before it have
			}
		}
		if !seen {
			return last, true, nil
		}
	}
	return last, false, nil
}

// May reports whether a role writes horizons.
func May(role string) bool { return role == judge.RoleOwner || role == judge.RoleAdmin }

// Draft returns the horizon of an author of a role that has the heads of view, for a record
// of that clock.
func Draft(role string, view []clock.RecordID, at clock.Time) (*payload.Horizon, error) {
	if !May(role) {
		return nil, fault.Of(keyspace.ErrRole, "horizons are for owners and admins")
	}
	if len(view) > payload.MaxView { // what it could not name it would bind
		return nil, fault.Errorf(fault.TooLarge, "a horizon names at most %d logs, and more have records", payload.MaxView)
	}
	return &payload.Horizon{T: at - 1, View: append([]clock.RecordID{}, view...)}, nil
}
