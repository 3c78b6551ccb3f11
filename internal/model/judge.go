package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A State is what records say.
type State struct {
	Verdicts map[Hash]Verdict // of every record
	Places   map[Hash]int     // of data records that are not settled: what orders them before their clocks
	Roles    map[string]Role  // of identities: the highest of their logs that nothing limits
	Docs     map[string]Doc   // by collection/document

	*graph
	genesis  Genesis
	full     *world
	worlds   map[string]*world // by the horizons that apply
	horizons []*Record         // in force, by descending T
	tips     map[string]Record
	floor    int              // what is not settled comes after the checkpoints
	writer   map[Hash]*entry  // of horizons and definitions that count
	judged   map[Hash]Verdict // of horizons and definitions, as such
}

// Judge folds records. The order in which they are given is of no account.
func Judge(genesis Genesis, records []*Record) *State {
	s := &State{
		genesis: genesis, Verdicts: map[Hash]Verdict{}, Places: map[Hash]int{}, Roles: map[string]Role{}, Docs: map[string]Doc{},
		worlds: map[string]*world{}, tips: map[string]Record{}, writer: map[Hash]*entry{}, judged: map[Hash]Verdict{},
	}
	w := newGraph(records, nil, nil).fold(genesis, all, all)
	cuts := filter(w.kept, func(r *Record) bool { return r.Kind == Checkpoint && w.verdict[r.Hash] == OK })
	slices.SortStableFunc(cuts, func(a, b *Record) int { return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Hash, b.Hash)) })
	tops, floors := w.floors(cuts)
	heads := map[Head]bool{}
	for _, c := range cuts {
		for _, h := range c.Data {
			heads[h] = true
		}
	}
	whole := newGraph(records, heads, nil) // what they have seen, also where a part of it is gone
	for _, c := range cuts {
		for h := range whole.saw(c) {
			if whole.in[h.Hash] && !whole.recs[h.Hash].control() {
				s.Verdicts[h.Hash] = Settled
			}
		}
		maps.Copy(s.Docs, c.Docs)
		maps.Copy(s.tips, c.Tips)
		s.floor = max(s.floor, c.T+1)
	}
	s.graph = newGraph(filter(records, func(r *Record) bool { return s.Verdicts[r.Hash] == "" }), tops, floors)
	s.full = s.fold(genesis, all, all)
	s.setHorizons()
	for _, r := range s.sorted {
		switch {
		case !s.in[r.Hash] && s.floors[r.Log] > 0:
			s.Verdicts[r.Hash] = Floor
		case !s.in[r.Hash]:
			s.Verdicts[r.Hash] = Apart
		case r.control():
			s.Verdicts[r.Hash] = cmp.Or(s.full.verdict[r.Hash], Nobody)
		default:
			s.Places[r.Hash] = s.place(r)
		}
	}
	for _, e := range filter(s.full.entries, s.full.alive) {
		s.Roles[e.first.Identity] = cmp.Or(s.Roles[e.first.Identity], e.role)
	}
	s.data()
	return s
}

// setHorizons finds the horizons in force. What decides about one has a higher T, or has
// seen it and as high a one.
func (s *State) setHorizons() {
	all := filter(s.sorted, func(r *Record) bool { return r.Kind == Horizon && s.in[r.Hash] })
	slices.SortStableFunc(all, func(a, b *Record) int { return cmp.Or(cmp.Compare(b.T, a.T), cmp.Compare(b.Clock, a.Clock)) })
	for _, r := range all {
		e, v := s.standing(r)
		switch {
		case v != OK:
		case !e.full(Admin):
			v = NotInRole
		case !s.complete(r):
			v = Unknown
		case r.T+s.genesis.Late >= r.Clock || slices.ContainsFunc(s.horizons, func(h *Record) bool { return h.T > r.T && s.has(r, h) }):
			v = BadTime
		default:
			s.horizons, s.writer[r.Hash] = append(s.horizons, r), e
		}
		s.judged[r.Hash] = v
	}
}

func all(*Record) bool { return true }

// from returns the horizons with at least a T.
func (s *State) from(t int) []*Record {
	return filter(s.horizons, func(h *Record) bool { return h.T >= t })
}

// under reports whether an author is not senior to a horizon's, or is of its identity.
func (s *State) under(author *entry, h *Record) bool {
	return !s.atLeast(author, h) || author.kin(s.writer[h.Hash])
}

// misses reports whether a horizon has not seen r, and is to be minded: none of some
// others that has seen r and not the horizon is of its identity or senior. One that came
// late does not count: another, of its identity or senior, had seen both, and not it.
func (s *State) misses(h, r *Record, others []*Record) bool {
	late := func(o, z *Record) bool {
		return s.atLeast(s.writer[z.Hash], o) && s.has(z, r) && s.has(z, h) && !s.has(z, o)
	}
	return !s.has(h, r) && !slices.ContainsFunc(others, func(o *Record) bool {
		return s.atLeast(s.writer[o.Hash], h) && s.has(o, r) && !s.has(o, h) && !slices.ContainsFunc(others, func(z *Record) bool { return late(o, z) })
	})
}

// atLeast reports whether an author is senior to a horizon's, or of its identity.
func (s *State) atLeast(author *entry, h *Record) bool {
	by := s.writer[h.Hash]
	return author != nil && (author.kin(by) || author.compare(by) < 0)
}

// place returns where a data record stands, before clocks and logs decide.
func (s *State) place(x *Record) int {
	at := max(x.Clock, s.floor)
	author, _ := best(s.full, x)
	for _, h := range s.from(x.Clock) {
		if s.under(author, h) && s.misses(h, x, s.from(x.Clock)) {
			at = max(at, h.T+1)
		}
	}
	return at
}

// best returns the most senior entry by which x was written, or why there is none.
func best(w *world, x *Record) (*entry, Verdict) {
	why := Nobody
	for _, e := range filter(w.entries, func(e *entry) bool { return e.first.Log == x.Of }) {
		switch v := w.covers(e, x); {
		case v == OK && e.role <= Writer:
			return e, OK
		case v == OK && why == Nobody:
			why = NotInRole
		case why == Nobody:
			why = v
		}
	}
	return nil, why
}

// standing returns the entry by which x was written, in its world: that without what a
// horizon left out that has seen x, or that x comes before.
func (s *State) standing(x *Record) (*entry, Verdict) {
	if s.full.frozen(x) && x.Kind != Op {
		return nil, Frozen
	}
	at := s.place(x)
	apply := filter(s.horizons, func(h *Record) bool { return at <= h.T || s.has(h, x) })
	name := fmt.Sprint(apply)
	if s.worlds[name] == nil {
		s.worlds[name] = s.fold(s.genesis, func(r *Record) bool {
			return r.first() && r.Kind != Revoke || !slices.ContainsFunc(apply, func(h *Record) bool {
				own := r.Kind == Revoke && slices.ContainsFunc(s.full.entries, func(e *entry) bool { return e.first.Identity == r.Identity && s.atLeast(e, h) })
				return !own && !s.atLeast(s.full.author[r.Hash], h) && s.misses(h, r, apply)
			})
		}, func(c *Record) bool {
			return !slices.ContainsFunc(apply, func(h *Record) bool { return s.misses(h, c, apply) })
		})
	}
	return best(s.worlds[name], x)
}

// data gives the verdicts on data records, and the documents.
func (s *State) data() {
	held := filter(s.sorted, func(r *Record) bool { return s.in[r.Hash] && !r.control() })
	slices.SortFunc(held, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(s.Places[a.Hash], s.Places[b.Hash]), cmp.Compare(a.Clock, b.Clock), cmp.Compare(a.Log, b.Log), cmp.Compare(a.Hash, b.Hash))
	})
	for _, r := range held {
		e, v := s.standing(r)
		switch {
		case r.Kind == Horizon:
			v = s.judged[r.Hash]
		case r.Kind == Define:
			if v = s.defines(r); v == OK && !slices.Contains(s.holding(s.sorted, r.Name), r) {
				v = Stale
			}
		case r.Kind != Op:
			v = NotInRole
		case v == OK:
			v = s.apply(e, r)
		}
		s.Verdicts[r.Hash] = v
	}
}

// apply does an operation at its place, under the definition that reaches it.
func (s *State) apply(e *entry, r *Record) Verdict {
	def := s.tips[r.Name].Def
	for _, d := range filter(s.holding(s.sorted, r.Name), func(d *Record) bool { return s.reaches(d, r) }) {
		def = d.Def
	}
	id := r.Name + "/" + r.Doc
	was, exists := s.Docs[id]
	switch {
	case !def.In && s.genesis.Closed:
		return Undefined
	case def.In && def.Shapes != nil && !slices.Contains(def.Shapes, r.Shape):
		return BadShape
	case exists && r.Insert:
		return Exists
	case exists && def.In && def.Own && was.Owner != e.first.Identity:
		return Denied
	}
	s.Docs[id] = Doc{cmp.Or(was.Owner, e.first.Identity), r.Shape}
	return OK
}

// defines says whether a definition counts: the one in force in its view lets it.
func (s *State) defines(d *Record) Verdict {
	if v, ok := s.judged[d.Hash]; ok {
		return v
	}
	e, v := s.standing(d)
	tip, late := s.tips[d.Name]
	def := tip.Def
	for _, o := range s.holding(filter(s.sorted, func(r *Record) bool { return r != d && s.has(d, r) }), d.Name) {
		def = o.Def
	}
	for h := range s.saw(d) {
		late = late && (h.Log != tip.Log || h.Seq < tip.Seq)
	}
	switch {
	case v != OK:
	case e.limited || e.role > cmp.Or(def.May, Admin) && e.role != Owner:
		v = NotInRole
	case !s.complete(d):
		v = Unknown
	case late:
		v = Stale
	}
	s.judged[d.Hash], s.writer[d.Hash] = v, e
	return v
}

// holding returns which of some records are definitions of a name that no concurrent one
// beats, each after those that it has seen.
func (s *State) holding(of []*Record, name string) []*Record {
	defs := filter(of, func(r *Record) bool {
		return r.Kind == Define && r.Name == name && s.in[r.Hash] && s.defines(r) == OK
	})
	holds := filter(defs, func(d *Record) bool {
		return !slices.ContainsFunc(defs, func(o *Record) bool { return !s.has(d, o) && !s.has(o, d) && s.beats(o, d) })
	})
	slices.SortFunc(holds, func(a, b *Record) int { return map[bool]int{true: -1, false: 1}[s.has(b, a)] })
	return holds
}

// beats decides between two concurrent definitions: the most senior horizon that counts
// and has seen one of them, or else their authors.
func (s *State) beats(a, b *Record) bool {
	counts := filter(s.horizons, func(h *Record) bool {
		out := map[bool]*Record{true: b, false: a}[s.has(h, a)]
		return s.has(h, a) != s.has(h, b) && s.under(s.writer[out.Hash], h) && s.misses(h, out, s.horizons)
	})
	if len(counts) > 0 {
		return s.has(slices.MinFunc(counts, func(x, y *Record) int { return s.writer[x.Hash].compare(s.writer[y.Hash]) }), a)
	}
	return cmp.Or(s.writer[a.Hash].compare(s.writer[b.Hash]), cmp.Compare(a.Hash, b.Hash)) < 0
}

// reaches reports whether an operation is judged by a definition, unless by a later one.
func (s *State) reaches(d, x *Record) bool {
	before := s.from(s.place(x))
	return !s.has(d, x) && !slices.ContainsFunc(before, func(h *Record) bool { return s.under(s.writer[d.Hash], h) && s.misses(h, d, before) })
}

// Epochs returns the records that made the epochs which the key of a record is derived
// from: those that its author had seen and none of the others has. Nil made the first.
func (s *State) Epochs(r *Record) []*Record {
	w := s.fold(s.genesis, func(q *Record) bool { return q != r && s.has(r, q) }, all)
	made := filter(w.kept, func(q *Record) bool { return q.epoch() && w.verdict[q.Hash] == OK && w.author[q.Hash].full(Admin) })
	if len(made) == 0 {
		return []*Record{nil}
	}
	return filter(made, func(q *Record) bool {
		return !slices.ContainsFunc(made, func(o *Record) bool { return o != q && s.has(o, q) })
	})
}

// Knows returns the epochs whose keys can be derived from devices, URLs of invites and
// all records, which a relay's disk has.
func (s *State) Knows(devices []string, urls []Hash) map[*Record]bool {
	known := map[*Record]bool{nil: slices.Contains(devices, s.genesis.Device)}
	for n := -1; n < len(known); {
		n = len(known)
		for _, r := range filter(s.sorted, func(r *Record) bool { return s.in[r.Hash] }) {
			if r.epoch() && (slices.ContainsFunc(r.Devices, func(d string) bool { return slices.Contains(devices, d) }) ||
				slices.ContainsFunc(r.Invites, func(u Hash) bool { return slices.Contains(urls, u) })) {
				known[r] = true
			}
			if known[r] || r.Kind == Invite && slices.Contains(urls, r.Hash) {
				for _, q := range s.Epochs(r) { // those before a new one are sealed under its key
					known[q] = true
				}
			}
		}
	}
	return known
}

// Reads reports whether who knows epochs has all that the key of a record rests on.
func (s *State) Reads(known map[*Record]bool, r *Record) bool {
	return !slices.ContainsFunc(s.Epochs(r), func(q *Record) bool { return !known[q] })
}
