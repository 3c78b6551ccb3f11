package control

import (
	"math"
	"slices"

	"github.com/weftdb/weft/internal/clock"
)

// What rights cover of a data log, given which of its records come before the heads that
// they name: that is for who holds the records.

// Unlimited is the top of a log that nothing limits.
var Unlimited = clock.RecordID{Seq: math.MaxUint64}

// Top returns the last record that may count, whatever else arrives.
func Top(rights []Right) (top clock.RecordID) {
	for i := range rights {
		at := Unlimited
		for _, heads := range rights[i].Within {
			var last clock.RecordID
			for _, h := range heads {
				if h.Seq > last.Seq {
					last = h
				}
			}
			if last.Seq < at.Seq {
				at = last
			}
		}
		if at.Seq > top.Seq {
			top = at
		}
	}
	return top
}

// Span returns the positions that a right covers of a log that is not forked, none if the
// last is before the first; upTo gives the position up to which its records come before one
// of some heads.
func (r *Right) Span(upTo func(heads []clock.RecordID) uint64) clock.Span {
	s := clock.Span{First: upTo(r.Without) + 1, Last: math.MaxUint64}
	for _, heads := range r.Within {
		s.Last = min(s.Last, upTo(heads))
	}
	return s
}

// DefinesSpan is Span for what defines something.
func (r *Right) DefinesSpan(upTo func(heads []clock.RecordID) uint64) clock.Span {
	s, last := r.Span(upTo), uint64(0)
	if !r.Stopped() {
		return s
	}
	for _, heads := range r.until {
		last = max(last, upTo(heads))
	}
	s.Last = min(s.Last, last)
	return s
}

// UncoveredSpans returns what no right covers of a log that is not forked.
func UncoveredSpans(rights []Right, upTo func(heads []clock.RecordID) uint64) clock.Void {
	var covered []clock.Span
	for i := range rights {
		covered = append(covered, rights[i].Span(upTo))
	}
	return clock.VoidBut(covered)
}

// A Written is a data record, and the control heads that it was written under.
type Written struct {
	ID      clock.RecordID
	Control []clock.Hash
}

// Uncovered returns what no right covers record by record: of a log that its device forked,
// or whose control log has two first records; and by which right, from 1, each other one counts
// that is no plain operation. paths are the records of each branch.
func Uncovered(rights []Right, paths [][]Written) (clock.Void, map[clock.Hash]int) {
	before := func(heads []clock.RecordID) map[clock.Hash]bool {
		in := map[clock.Hash]bool{}
		for _, path := range paths {
			for _, h := range heads {
				i := slices.IndexFunc(path, func(r Written) bool { return r.ID == h })
				for _, r := range path[:i+1] {
					in[r.ID.Hash] = true
				}
			}
		}
		return in
	}
	covered, by := map[clock.Hash]bool{}, map[clock.Hash]int{}
	for i := range rights { // the most senior first
		without := before(rights[i].Without)
		var within, until []map[clock.Hash]bool
		for _, heads := range rights[i].Within {
			within = append(within, before(heads))
		}
		for _, heads := range rights[i].until {
			until = append(until, before(heads))
		}
		for _, path := range paths {
			for _, r := range path {
				in := !without[r.ID.Hash] && rights[i].Of(r.Control)
				for _, w := range within {
					in = in && w[r.ID.Hash]
				}
				covered[r.ID.Hash] = covered[r.ID.Hash] || in
				if in && by[r.ID.Hash] == 0 && rights[i].Holds(r.Control) &&
					(!rights[i].Stopped() || slices.ContainsFunc(until, func(u map[clock.Hash]bool) bool { return u[r.ID.Hash] })) {
					by[r.ID.Hash] = i + 1
				}
			}
		}
	}
	var void []clock.Single
	top := uint64(0)
	for _, path := range paths {
		for _, r := range path {
			top = max(top, r.ID.Seq)
			if !covered[r.ID.Hash] {
				void = append(void, clock.Single{Seq: r.ID.Seq, Hash: r.ID.Hash})
			}
		}
	}
	if last := Top(rights); last.Seq <= top {
		return clock.NewVoid([]clock.Span{{First: last.Seq + 1, Last: math.MaxUint64}}, void), by
	}
	return clock.NewVoid(nil, void), by
}
