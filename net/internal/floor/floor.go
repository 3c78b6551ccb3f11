// Package floor is where checkpoints cut logs: what of one counts above its floor. It knows
// no store and no control records but what they say.
//
//	Floor   heads of one log, one a branch: what strictly descends from one of them counts
//	Set     the floors of the logs of a thread: Of says which follow from the checkpoints in force
//	Sift    goes through the records of a log that its device forked, and tells which count
//
//	log a: 1 2 3A 4A 5A         heads 3A and 10B: 4A, 5A and what comes after 10B count
//	           3B … 10B 11B     all else is void, what is to come included: up to 10 by its
//	           3C … 10C 11C     position, and 11C by its hash
//
// That an ancestor of a head is void, and what lies beside the heads too, is one rule: who
// holds what is left need not know what was there.
package floor

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/internal/clock"
)

// A Floor is the heads up to which a log is cut off, sorted by position and hash; none if it
// is not.
type Floor []clock.RecordID

// Lowest returns the position up to which every record is void; 0 if there is no floor.
func (f Floor) Lowest() uint64 {
	if len(f) == 0 {
		return 0
	}
	return f[0].Seq
}

// Top returns the position up to which only what descends from a lower head counts.
func (f Floor) Top() uint64 {
	if len(f) == 0 {
		return 0
	}
	return f[len(f)-1].Seq
}

// Has reports whether a record is one of the heads.
func (f Floor) Has(id clock.RecordID) bool { return slices.Contains(f, id) }

// A Set is the floors of logs. It is not changed once it is made.
type Set map[clock.LogID]Floor

// Cuts reports whether nothing more is to be had of a tip that is not held: it is a head, or
// not above the floor. Of one between two heads of a log that is not known.
func (s Set) Cuts(tip clock.RecordID) bool {
	f := s[tip.Log]
	return tip.Seq <= f.Top()
}

// compare orders heads of a log.
func compare(a, b clock.RecordID) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// A Cut is a checkpoint in force.
type Cut struct {
	Heads []clock.RecordID
	By    clock.RecordID // the checkpoint
}

// naming is the heads of a log in one of several cuts.
type naming struct {
	by    int
	heads Floor
}

// Of returns the floors that cuts make together; follows reports of two of them whether the
// first has seen the second. A cut replaces what those before it named of a log. Of cuts that
// do not know of each other, which only a copy of the owner's device writes, the one that
// names the highest head decides, of its heads those that are as high as all of the others': so
// a floor does not go back.
func Of(cuts []Cut, follows func(i, j int) bool) Set {
	named := map[clock.LogID][]naming{}
	for i, c := range cuts {
		by := map[clock.LogID]Floor{}
		for _, h := range c.Heads {
			by[h.Log] = append(by[h.Log], h)
		}
		for log, heads := range by {
			slices.SortFunc(heads, compare)
			named[log] = append(named[log], naming{i, heads})
		}
	}
	out := make(Set, len(named))
	for log, all := range named {
		out[log] = decide(cuts, all, follows)
	}
	return out
}

func decide(cuts []Cut, all []naming, follows func(i, j int) bool) Floor {
	if len(all) > 1 {
		all = slices.DeleteFunc(slices.Clone(all), func(n naming) bool {
			return slices.ContainsFunc(all, func(o naming) bool { return o.by != n.by && follows(o.by, n.by) })
		})
	}
	best := slices.MaxFunc(all, func(a, b naming) int {
		return cmp.Or(compare(a.heads[len(a.heads)-1], b.heads[len(b.heads)-1]), bytes.Compare(cuts[a.by].By.Hash[:], cuts[b.by].By.Hash[:]))
	})
	least := uint64(0)
	for _, n := range all {
		if n.by != best.by {
			least = max(least, n.heads.Top())
		}
	}
	return slices.DeleteFunc(slices.Clone(best.heads), func(h clock.RecordID) bool { return h.Seq < least })
}
