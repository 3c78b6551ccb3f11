// Package tipset is what two hosts know of each other's threads, in tips: how far a
// side has each log, what changed, and how many records one has and the other lacks.
//
//	mine   a/9 b/2        a log is held up to its tip; a forked one has a tip a branch
//	theirs a/6 c/3        mine lacks 3, theirs lacks 3+2
//
// It knows no records: a tip stands for all before it.
package tipset

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A Set is tips by their logs. It is not safe for concurrent use, but the slices in it
// are replaced and not changed: who read one keeps it.
type Set map[clock.LogID][]clock.RecordID

// Of returns tips by their logs.
func Of(tips []clock.RecordID) Set {
	s := Set{}
	for _, t := range tips {
		s[t.Log] = append(s[t.Log], t)
	}
	return s
}

// Replace makes tips the set and returns those of the logs that changed, sorted.
func (s *Set) Replace(tips []clock.RecordID) (changed []clock.RecordID) {
	now := Of(tips)
	for log, t := range now {
		if !slices.Equal(t, (*s)[log]) {
			changed = append(changed, t...)
		}
	}
	*s = now
	slices.SortFunc(changed, format.CompareIDs)
	return changed
}

// Note sets the tips of the logs that are named, as a peer acknowledges them. Of logs
// that are new to the set it takes none above most in all.
func (s Set) Note(tips []clock.RecordID, most int) {
	seen := map[clock.LogID]bool{}
	for _, t := range tips {
		if !seen[t.Log] {
			if _, known := s[t.Log]; !known && len(s) >= most {
				continue
			}
			seen[t.Log] = true
			s[t.Log] = nil
		}
		s[t.Log] = append(s[t.Log], t)
	}
}

// Learn adds tips that a peer has sent, or said before it began to send: they may be
// older than what was noted.
func (s Set) Learn(tips ...clock.RecordID) {
	for _, t := range tips {
		switch had := s[t.Log]; {
		case len(had) == 0, len(had) == 1 && had[0].Seq < t.Seq:
			s[t.Log] = []clock.RecordID{t}
		case len(had) == 1 && had[0].Seq == t.Seq && had[0] != t:
			s[t.Log] = []clock.RecordID{had[0], t}
		}
	}
}

// But returns the tips that are not cut off.
func (s Set) But(cut func(tip clock.RecordID) bool) Set {
	out := Set{}
	for log, all := range s {
		for _, tip := range all {
			if !cut(tip) {
				out[log] = append(out[log], tip)
			}
		}
	}
	return out
}

// Until returns the tips, those that mine has not and that are beyond the end of their log
// put back to it: what comes after it is taken by nobody who knows why. A log whose end has
// position 0 is left out; end reports false for one that has none.
func (s Set) Until(mine Set, end func(clock.LogID) (clock.RecordID, bool)) Set {
	out, copied := s, false
	for log, tips := range s {
		if !slices.ContainsFunc(tips, func(t clock.RecordID) bool { return !slices.Contains(mine[log], t) }) {
			continue
		}
		e, ends := end(log)
		if !ends || !slices.ContainsFunc(tips, func(t clock.RecordID) bool { return t.Seq > e.Seq }) {
			continue
		}
		if !copied {
			out, copied = maps.Clone(s), true
		}
		kept := slices.DeleteFunc(slices.Clone(tips), func(t clock.RecordID) bool { return t.Seq > e.Seq })
		if e.Seq > 0 && !slices.Contains(kept, e) {
			kept = append(kept, e)
		}
		if out[log] = kept; len(kept) == 0 {
			delete(out, log)
		}
	}
	return out
}

// Lacking returns how many of the records up to the tips in have are missing from who
// has the tips in lacks.
func Lacking(have, lacks Set) (n uint64) {
	for log, tips := range have {
		for _, t := range tips {
			var base uint64
			for _, o := range lacks[log] {
				if o == t || o.Seq > t.Seq && len(lacks[log]) == 1 {
					base = t.Seq
					break
				}
				base = max(base, min(o.Seq, t.Seq-1))
			}
			n += t.Seq - base
		}
	}
	return n
}

// Forked reports whether the log of tips[i] has other tips; those of a log are next to each
// other.
func Forked(tips []clock.RecordID, i int) bool {
	log := tips[i].Log
	return i > 0 && tips[i-1].Log == log || i+1 < len(tips) && tips[i+1].Log == log
}

// Digest is SHA-256 over the domain and the sorted tips.
func Digest(tips []clock.RecordID) clock.Hash {
	sorted := slices.Clone(tips)
	slices.SortFunc(sorted, format.CompareIDs)
	h := sha256.New()
	h.Write([]byte("weft/1/tips\x00"))
	for _, t := range sorted {
		h.Write(t.Log[:])
		h.Write(binary.BigEndian.AppendUint64(nil, t.Seq))
		h.Write(t.Hash[:])
	}
	return clock.Hash(h.Sum(nil))
}
