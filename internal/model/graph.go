package model

import (
	"cmp"
	"slices"
)

// A graph is the records that are held with all that they need, and what each has seen.
type graph struct {
	recs   map[Hash]*Record
	sorted []*Record // by log, sequence, hash
	in     map[Hash]bool
	seen   map[Hash]map[Head]bool
	tops   map[Head]bool  // heads of checkpoints: what follows them needs no predecessor
	floors map[string]int // by data log: the highest of them; what is before is gone
}

func newGraph(records []*Record, tops map[Head]bool, floors map[string]int) *graph {
	g := &graph{recs: map[Hash]*Record{}, sorted: slices.Clone(records), in: map[Hash]bool{}, seen: map[Hash]map[Head]bool{}, tops: tops, floors: floors}
	slices.SortFunc(g.sorted, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Hash, b.Hash))
	})
	for _, r := range g.sorted {
		g.recs[r.Hash] = r
	}
	for n := -1; n < len(g.in); { // until nothing more fits
		n = len(g.in)
		for _, r := range g.sorted {
			if !g.in[r.Hash] && g.fits(r) {
				g.in[r.Hash] = true
			}
		}
	}
	return g
}

func (g *graph) fits(r *Record) bool {
	for _, h := range r.Control {
		if !g.in[h] || !g.recs[h].control() || r.Clock <= g.recs[h].Clock {
			return false
		}
	}
	switch p := g.recs[r.Prev]; {
	case r.control() && r.first() != (r.Seq == 1):
		return false
	case r.Seq == 1:
		return r.Prev == "" && g.floors[r.Log] == 0
	case g.in[r.Prev]:
		return p.Log == r.Log && p.Of == r.Of && p.Seq == r.Seq-1 && p.Clock < r.Clock
	}
	return g.tops[Head{r.Log, r.Seq - 1, r.Prev}]
}

// saw returns what r has seen, itself among it: control records through control records,
// data records through data records and, of a control record, through what it has seen.
func (g *graph) saw(r *Record) map[Head]bool {
	if s := g.seen[r.Hash]; s != nil {
		return s
	}
	s := map[Head]bool{r.Head: true}
	g.seen[r.Hash] = s
	take := func(h Hash, control, data bool) {
		if !g.in[h] {
			return
		}
		for q := range g.saw(g.recs[h]) {
			if c := g.in[q.Hash] && g.recs[q.Hash].control(); c && control || !c && data {
				s[q] = true
			}
		}
	}
	for _, h := range r.Control {
		take(h, true, r.control())
	}
	take(r.Prev, r.control(), true)
	heads := r.Data
	if !r.control() {
		s[Head{r.Log, r.Seq - 1, r.Prev}] = true
		heads = filter(heads, func(Head) bool { return g.complete(r) })
	}
	for _, h := range heads {
		s[h] = true
		take(h.Hash, false, true)
	}
	return s
}

// has reports whether r has seen q.
func (g *graph) has(r, q *Record) bool { return g.saw(r)[q.Head] }

// unsure reports whether r has seen a head that is not held, at or above x in its log.
func (g *graph) unsure(r, x *Record) bool {
	for h := range g.saw(r) {
		if !g.in[h.Hash] && h.Log == x.Log && x.Seq <= h.Seq {
			return true
		}
	}
	return false
}

// complete reports whether all data heads that r names are held, and r is later than
// they, or they are not above a floor.
func (g *graph) complete(r *Record) bool {
	return !slices.ContainsFunc(r.Data, func(h Head) bool {
		return h.Seq > g.floors[h.Log] && (!g.in[h.Hash] || g.recs[h.Hash].Clock >= r.Clock)
	})
}

func filter[T any](xs []T, f func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(xs), func(x T) bool { return !f(x) })
}
