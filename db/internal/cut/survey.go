package cut

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
)

// A Survey says what a cut that brings a snapshot into force makes of the arrivals up to
// one.
type Survey struct {
	Gone  *Arrivals // counted before, and are left out
	Back  []int64   // are the snapshot's
	After []int64   // count before and after
	Heads []int64   // the last of each log that is left out, but for logs of snapshots
}

// Survey sorts the arrivals up to the n-th, which ids gives in order, by what c makes of
// them, which brings the snapshot of a log into force on top of old. ok is false if one
// counts that did not before, if more than most others are to stay, or if the records of a
// log did not come in its order, as those of a forked one.
func (c *Cut) Survey(ids func(after int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error, n int64, old *Cut, log clock.LogID, most int) (s *Survey, ok bool, err error) {
	s, ok = &Survey{Gone: &Arrivals{}}, true
	type head struct {
		seq uint64
		n   int64
	}
	heads := map[clock.LogID]head{}
	err = ids(0, func(k int64, id clock.RecordID, snapshot bool) bool {
		if k > n {
			return false
		}
		was, is := !old.Voids(id, snapshot), !c.Voids(id, snapshot)
		switch {
		case id.Log == log && is:
			s.Back = append(s.Back, k)
		case id.Log == log:
		case is && was:
			s.After = append(s.After, k)
			ok = len(s.After) <= most
		case is:
			ok = false
		case was:
			s.Gone.Add(k)
			if !snapshot {
				ok = id.Seq > heads[id.Log].seq
				heads[id.Log] = head{id.Seq, k}
			}
		}
		return ok
	})
	for _, h := range heads {
		s.Heads = append(s.Heads, h.n)
	}
	slices.Sort(s.Heads)
	return s, ok && err == nil, err
}
