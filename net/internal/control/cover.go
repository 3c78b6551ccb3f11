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

// UncoveredSpans returns what no right covers of a log that is not forked; upTo gives the
// position up to which its records come before one of some heads.
func UncoveredSpans(rights []Right, upTo func(heads []clock.RecordID) uint64) clock.Void {
	type span = clock.Span
	var covered []span
	for i := range rights {
		s := span{First: upTo(rights[i].Without) + 1, Last: math.MaxUint64}
		for _, heads := range rights[i].Within {
			s.Last = min(s.Last, upTo(heads))
		}
		if s.First <= s.Last {
			covered = append(covered, s)
		}
	}
	slices.SortFunc(covered, func(a, b span) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	var void []span
	next := uint64(1) // the first position that is not looked at yet
	for _, s := range covered {
		if s.First > next {
			void = append(void, span{First: next, Last: s.First - 1})
		}
		if s.Last == math.MaxUint64 {
			return clock.NewVoid(void, nil)
		}
		next = max(next, s.Last+1)
	}
	return clock.NewVoid(append(void, span{First: next, Last: math.MaxUint64}), nil)
}

// A Written is a data record, and the control heads that it was written under.
type Written struct {
	ID      clock.RecordID
	Control []clock.Hash
}

// Uncovered returns what no right covers record by record: of a log that its device forked,
// or whose control log has two first records. paths are the records of each branch.
func Uncovered(rights []Right, paths [][]Written) clock.Void {
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
	covered := map[clock.Hash]bool{}
	for i := range rights {
		without := before(rights[i].Without)
		var within []map[clock.Hash]bool
		for _, heads := range rights[i].Within {
			within = append(within, before(heads))
		}
		for _, path := range paths {
			for _, r := range path {
				in := !without[r.ID.Hash] && rights[i].Of(r.Control)
				for _, w := range within {
					in = in && w[r.ID.Hash]
				}
				covered[r.ID.Hash] = covered[r.ID.Hash] || in
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
		return clock.NewVoid([]clock.Span{{First: last.Seq + 1, Last: math.MaxUint64}}, void)
	}
	return clock.NewVoid(nil, void)
}
