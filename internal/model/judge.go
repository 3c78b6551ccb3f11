package model

import (
	"cmp"
	"slices"
	"strings"
)

// A State is what records say.
type State struct {
	Verdicts map[Hash]Verdict // of every record
	Places   map[Hash]Place   // of operations, definitions and horizons that are not settled
	Roles    map[string]Role  // of identities: the highest of their logs that nothing limits
	Docs     map[string]Doc   // by collection/document

	*judge
}

// A horizon is one in force.
type horizon struct {
	rec *Record
	by  *entry
}

type judge struct {
	*graph
	genesis  Genesis
	full     *world
	worlds   map[string]*world // by the horizons that apply
	horizons []horizon         // by descending T
	tips     map[string]Tip
	floor    int // T of the latest checkpoint
	valid    map[Hash]*entry
	invalid  map[Hash]Verdict
}

// Judge folds records. The order in which they are given is of no account.
func Judge(genesis Genesis, records []*Record) *State {
	g := newGraph(records)
	g.close()
	all := func(*Record) bool { return true }
	w := g.fold(genesis, all)
	var cuts []*Record
	for _, r := range w.kept {
		if r.Kind == Checkpoint && w.verdict[r.Hash] == OK {
			cuts = append(cuts, r)
		}
	}
	slices.SortStableFunc(cuts, func(a, b *Record) int { return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Hash, b.Hash)) })

	s := &State{Verdicts: map[Hash]Verdict{}, Places: map[Hash]Place{}, Roles: map[string]Role{}, Docs: map[string]Doc{}}
	s.judge = &judge{genesis: genesis, worlds: map[string]*world{}, tips: map[string]Tip{}, valid: map[Hash]*entry{}, invalid: map[Hash]Verdict{}}
	rest, floors, tops := records, map[string]int{}, set{}
	if len(cuts) > 0 {
		g = newGraph(records) // what they have seen, also where a part of it is gone
		for _, c := range cuts {
			for _, h := range c.Data {
				g.tops[h.Hash], tops[h.Hash] = true, true
				floors[h.Log] = max(floors[h.Log], h.Seq)
			}
		}
		g.close()
		for _, c := range cuts {
			seen, _ := g.sawData(c)
			rest = slices.DeleteFunc(slices.Clone(rest), func(r *Record) bool { return seen[r.Hash] })
			for h := range seen {
				s.Verdicts[h] = Settled
			}
			for name, d := range c.Docs {
				s.Docs[name] = d
			}
			for name, t := range c.Tips {
				s.tips[name] = t
			}
			s.floor = max(s.floor, c.T+1)
		}
	}
	s.graph = newGraph(rest)
	s.floors, s.tops = floors, tops
	s.close()
	s.full = s.fold(genesis, all)
	s.setHorizons()
	s.control()
	s.data()
	return s
}

// control gives the verdicts on control records, and the roles.
func (s *State) control() {
	for _, r := range s.sorted {
		switch v := s.full.verdict[r.Hash]; {
		case !s.in[r.Hash] && !r.control() && s.floors[r.Log] > 0:
			s.Verdicts[r.Hash] = Floor
		case !s.in[r.Hash]:
			s.Verdicts[r.Hash] = Apart
		case r.control():
			s.Verdicts[r.Hash] = cmp.Or(v, Nobody)
		}
	}
	for _, e := range s.full.entries {
		if i := e.first.Identity; s.full.alive(e) && (s.Roles[i] == 0 || e.role < s.Roles[i]) {
			s.Roles[i] = e.role
		}
	}
}

// setHorizons finds the horizons in force. What decides about one has a higher T, or has
// seen it and as high a one.
func (j *judge) setHorizons() {
	var all []*Record
	for _, r := range j.sorted {
		if r.Kind == Horizon && j.in[r.Hash] {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b *Record) int { return cmp.Or(cmp.Compare(b.T, a.T), cmp.Compare(b.Clock, a.Clock)) })
	for _, r := range all {
		e, v := j.standing(r)
		switch {
		case v != OK:
		case !e.full(Admin):
			v = NotInRole
		case !j.complete(r):
			v = Unknown
		case r.T+j.genesis.Late >= r.Clock || slices.ContainsFunc(j.horizons, func(h horizon) bool { return h.rec.T > r.T && j.has(r, h.rec) }):
			v = BadTime
		default:
			j.horizons = append(j.horizons, horizon{r, e})
		}
		j.invalid[r.Hash] = v
	}
}

// misses reports whether a horizon has not seen r, and is to be minded: none that
// outranks it, and that counts, has seen r and not the horizon.
func (j *judge) misses(h horizon, r *Record, counts func(horizon) bool) bool {
	return !j.has(h.rec, r) && !slices.ContainsFunc(j.horizons, func(o horizon) bool {
		return counts(o) && o.by.outranks(h.by) && j.has(o.rec, r) && !j.has(o.rec, h.rec)
	})
}

// place returns where a data record stands.
func (j *judge) place(x *Record) Place {
	p := Place{max(x.Clock, j.floor), x.Clock, x.Log, x.Hash}
	author, _ := best(j.full, x)
	for _, h := range j.horizons {
		senior := author != nil && author.compare(h.by.key) < 0 && author.first.Identity != h.by.first.Identity
		if h.rec != x && !senior && j.misses(h, x, func(o horizon) bool { return x.Clock <= o.rec.T }) {
			p.First = max(p.First, h.rec.T+1)
		}
	}
	return p
}

// best returns the most senior entry by which x was written, or why there is none.
func best(w *world, x *Record) (*entry, Verdict) {
	why := Nobody
	for _, e := range w.entries {
		if e.first.Log != x.Of {
			continue
		}
		v := w.covers(e, x)
		if v == OK && e.role > Writer {
			v = NotInRole
		}
		if v == OK {
			return e, OK
		}
		if why == Nobody {
			why = v
		}
	}
	return nil, why
}

// standing returns the entry by which x was written, in its world: that without what a
// horizon left out that has seen x, or that x comes before.
func (j *judge) standing(x *Record) (*entry, Verdict) {
	if j.full.frozen(x) && x.Kind != Op {
		return nil, Frozen
	}
	first := j.place(x).First
	applies := func(h horizon) bool { return h.rec != x && (first <= h.rec.T || j.has(h.rec, x)) }
	var name strings.Builder
	for _, h := range j.horizons {
		if applies(h) {
			name.WriteString(string(h.rec.Hash) + " ")
		}
	}
	w := j.worlds[name.String()]
	if w == nil {
		w = j.fold(j.genesis, func(r *Record) bool {
			return !slices.ContainsFunc(j.horizons, func(h horizon) bool {
				return applies(h) && !j.senior(r, h) && j.misses(h, r, applies)
			})
		})
		j.worlds[name.String()] = w
	}
	return best(w, x)
}

// senior reports whether the author of a control record outranks that of a horizon.
func (j *judge) senior(r *Record, h horizon) bool {
	if r.Kind == Revoke {
		return r.Identity == h.by.first.Identity
	}
	a := j.full.author[r.Hash]
	return a != nil && a.outranks(h.by)
}
