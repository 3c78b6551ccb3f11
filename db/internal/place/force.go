package place

import (
	"cmp"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/internal/clock"
)

// A force is the horizons in force. What one has seen is known by what it missed: usually
// nothing, as a horizon names all that its author has.
type force struct {
	list []*horizon // by compare
	byT  []*horizon // by descending T
}

// seenBy reports whether o, which is in force, has seen h, or a horizon that has.
func (h *horizon) seenBy(o *horizon) bool { return h.at < o.at && !slices.Contains(o.missed, h) }

// link finds what h, which comes after all in force, has seen of them: last is of each chain
// the last.
func (f *force) link(s *Source, h *horizon) (missed, last []*horizon, err error) {
	rest, whole := f.list, true
	for len(rest) > 0 {
		c := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		saw, err := s.saw(h, c.id, c.clock)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case !saw:
			missed = append(missed, c)
			continue
		case whole:
			rest = c.missed
		default:
			rest = slices.DeleteFunc(slices.Clone(rest), func(o *horizon) bool { return o.seenBy(c) })
		}
		last, whole = append(last, c), false
	}
	slices.Reverse(missed)
	return missed, last, nil
}

// allows reports whether h may have force, by those in force that it has seen last: it goes
// as far as they do, and what their authors had, its author has.
func (s *Source) allows(h *horizon, last []*horizon) (bool, error) {
	for _, c := range last {
		if c.t > h.t {
			return false, nil
		}
		view, err := s.view(c)
		if err != nil {
			return false, err
		}
		own, err := s.view(h)
		if err != nil {
			return false, err
		}
		for _, g := range view {
			if s.Voids(g) {
				continue
			}
			if saw, err := s.Saw(h.id, own, g); !saw || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// add puts h, which comes after all others, in force.
func (f *force) add(h *horizon, missed []*horizon) {
	h.at, h.missed, h.rivals = len(f.list), missed, nil
	for _, o := range missed {
		if o.by.rules(&h.by) {
			h.rivals = append(h.rivals, o)
		}
		if h.by.rules(&o.by) {
			o.rivals = append(o.rivals, h)
		}
	}
	f.list = append(f.list, h)
	at, _ := slices.BinarySearchFunc(f.byT, h, func(a, b *horizon) int { return cmp.Compare(b.t, a.t) })
	f.byT = slices.Insert(f.byT, at, h)
}

// An operation is what is placed: a record that holds some.
type operation struct {
	n     int64
	id    clock.RecordID
	clock clock.Time
	rec   *journal.Record // nil until it is asked for
	by    *author         // nil until it is asked for
}

func (x *operation) author(s *Source) (*author, error) {
	if x.by != nil {
		return x.by, nil
	}
	if x.rec == nil {
		rec, err := s.Record(x.n)
		if err != nil {
			return nil, err
		}
		x.rec = rec
	}
	_, rank, err := s.Journal.Right(x.id)
	x.by = &author{x.rec.Writer, rank}
	return x.by, err
}

// place returns where x stands: after the highest T that binds it.
func (f *force) place(s *Source, x *operation) (clock.Time, error) {
	for _, h := range f.byT {
		if h.t < x.clock {
			break
		}
		binds, err := f.binds(s, h, x)
		if err != nil {
			return 0, err
		}
		if binds {
			return h.t + 1, nil
		}
	}
	return x.clock, nil
}

func (f *force) binds(s *Source, h *horizon, x *operation) (bool, error) {
	if saw, err := s.saw(h, x.id, x.clock); saw || err != nil {
		return false, err
	}
	by, err := x.author(s)
	if err != nil || !by.under(&h.by) {
		return false, err
	}
	for _, o := range h.rivals {
		if o.t < x.clock {
			continue
		}
		saw, err := s.saw(o, x.id, x.clock)
		if err != nil {
			return false, err
		}
		if !saw {
			continue
		}
		late, err := f.late(s, o, h, x)
		if err != nil || !late {
			return false, err
		}
	}
	return true, nil
}

// late reports whether o, which has seen x and not h, came after one that rules it had seen
// both, and not o: nothing is moved back.
func (f *force) late(s *Source, o, h *horizon, x *operation) (bool, error) {
	for _, z := range f.byT {
		if z.t < x.clock {
			break
		}
		if !z.by.rules(&o.by) || !h.seenBy(z) || o.seenBy(z) {
			continue
		}
		if saw, err := s.saw(z, x.id, x.clock); saw || err != nil {
			return saw, err
		}
	}
	return false, nil
}
