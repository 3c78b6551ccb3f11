package model

import (
	"cmp"
	"maps"
	"slices"
)

type set map[Hash]bool

func (s set) addAll(o set) {
	for h := range o {
		s[h] = true
	}
}

// A graph is the records that are held with all that they need, and what each has seen.
type graph struct {
	recs    map[Hash]*Record
	sorted  []*Record // by log, sequence, hash
	in      set
	control map[Hash]set           // by record: the control records that it has seen
	data    map[Hash]set           // by record: the data records
	heads   map[Hash]map[Head]bool // by record: the data heads through which
	floors  map[string]int         // by data log: the highest head of a checkpoint
	tops    set                    // heads of checkpoints
}

func newGraph(records []*Record) *graph {
	g := &graph{recs: map[Hash]*Record{}, sorted: slices.Clone(records), in: set{},
		control: map[Hash]set{}, data: map[Hash]set{}, heads: map[Hash]map[Head]bool{}, floors: map[string]int{}, tops: set{}}
	slices.SortFunc(g.sorted, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Hash, b.Hash))
	})
	for _, r := range g.sorted {
		g.recs[r.Hash] = r
	}
	return g
}

// close takes in what has all that it needs, until nothing is left to take.
func (g *graph) close() {
	for more := true; more; {
		more = false
		for _, r := range g.sorted {
			if !g.in[r.Hash] && g.fits(r) {
				g.in[r.Hash] = true
				more = true
			}
		}
	}
}

func (g *graph) fits(r *Record) bool {
	for _, h := range r.Control {
		q := g.recs[h]
		if !g.in[h] || !q.control() || r.Clock <= q.Clock {
			return false
		}
	}
	if r.control() && r.first() != (r.Seq == 1) {
		return false
	}
	if r.Seq == 1 {
		return r.Prev == "" && (r.control() || g.floors[r.Log] == 0)
	}
	if g.tops[r.Prev] {
		return true
	}
	p := g.recs[r.Prev]
	return g.in[r.Prev] && p.Log == r.Log && p.Seq == r.Seq-1 && p.Clock < r.Clock
}

// saw returns the control records that r has seen, itself among them.
func (g *graph) saw(r *Record) set {
	if s, ok := g.control[r.Hash]; ok {
		return s
	}
	s := set{}
	g.control[r.Hash] = s
	next := r.Control
	if r.control() {
		s[r.Hash] = true
		next = append(slices.Clone(next), r.Prev)
	}
	for _, h := range next {
		if q := g.recs[h]; g.in[h] && q.control() {
			s.addAll(g.saw(q))
		}
	}
	return s
}

// sawData returns the data records that r has seen, and the data heads through which.
func (g *graph) sawData(r *Record) (set, map[Head]bool) {
	if s, ok := g.data[r.Hash]; ok {
		return s, g.heads[r.Hash]
	}
	s, heads := set{}, map[Head]bool{}
	g.data[r.Hash], g.heads[r.Hash] = s, heads
	next := slices.Clone(r.Data)
	for h := range g.saw(r) {
		next = append(next, g.recs[h].Data...)
	}
	if !r.control() {
		s[r.Hash] = true
		next = append(next, Head{r.Log, r.Seq - 1, r.Prev})
	}
	for _, h := range next {
		heads[h] = true
		if q := g.recs[h.Hash]; g.in[h.Hash] && !q.control() {
			t, hs := g.sawData(q)
			s.addAll(t)
			maps.Copy(heads, hs)
		}
	}
	return s, heads
}

// has reports whether r has seen q.
func (g *graph) has(r, q *Record) bool {
	if q.control() {
		return g.saw(r)[q.Hash]
	}
	s, _ := g.sawData(r)
	return s[q.Hash]
}

// unsure reports whether r names a head that is not held, at or above x in its log.
func (g *graph) unsure(r, x *Record) bool {
	_, heads := g.sawData(r)
	for h := range heads {
		if !g.in[h.Hash] && h.Log == x.Log && x.Seq <= h.Seq {
			return true
		}
	}
	return false
}

// complete reports whether all data heads that r names are held, or not above a floor,
// and r is later than they.
func (g *graph) complete(r *Record) bool {
	return !slices.ContainsFunc(r.Data, func(h Head) bool {
		return h.Seq > g.floors[h.Log] && (!g.in[h.Hash] || g.recs[h.Hash].Clock >= r.Clock)
	})
}
