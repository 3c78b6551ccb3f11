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
	Places   map[Hash]Place   // of data records that are not settled
	Roles    map[string]Role  // of identities: the highest of their logs that nothing limits
	Docs     map[string]Doc   // by collection/document

	*graph
	genesis  Genesis
	full     *world
	worlds   map[string]*world // by the horizons that apply
	horizons []horizon         // in force, by descending T
	tips     map[string]Tip
	floor    int              // what is not settled comes after the checkpoints
	writer   map[Hash]*entry  // of definitions that count
	judged   map[Hash]Verdict // of horizons and definitions, as such
}

type horizon struct {
	rec *Record
	by  *entry
}

// Judge folds records. The order in which they are given is of no account.
func Judge(genesis Genesis, records []*Record) *State {
	s := &State{genesis: genesis, Verdicts: map[Hash]Verdict{}, Places: map[Hash]Place{}, Roles: map[string]Role{}, Docs: map[string]Doc{},
		worlds: map[string]*world{}, tips: map[string]Tip{}, writer: map[Hash]*entry{}, judged: map[Hash]Verdict{}}
	w := newGraph(records, nil, nil).fold(genesis, all, all)
	cuts := filter(w.kept, func(r *Record) bool { return r.Kind == Checkpoint && w.verdict[r.Hash] == OK })
	slices.SortStableFunc(cuts, func(a, b *Record) int { return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Hash, b.Hash)) })
	tops, floors := map[Head]bool{}, map[string]int{}
	for _, c := range cuts {
		for _, h := range c.Data {
			tops[h], floors[h.Log] = true, max(floors[h.Log], h.Seq)
		}
	}
	whole := newGraph(records, tops, nil) // what they have seen, also where a part of it is gone
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
		if was := s.Roles[e.first.Identity]; was == 0 || e.role < was {
			s.Roles[e.first.Identity] = e.role
		}
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
		case r.T+s.genesis.Late >= r.Clock || slices.ContainsFunc(s.horizons, func(h horizon) bool { return h.rec.T > r.T && s.has(r, h.rec) }):
			v = BadTime
		default:
			s.horizons = append(s.horizons, horizon{r, e})
		}
		s.judged[r.Hash] = v
	}
}

func all(*Record) bool { return true }

// from returns the horizons with at least a T.
func (s *State) from(t int) []horizon {
	return filter(s.horizons, func(h horizon) bool { return h.rec.T >= t })
}

// over reports whether an author is senior to that of a horizon, and of another identity.
func (h horizon) over(author *entry) bool {
	return author == nil || author.kin(h.by) || author.compare(h.by) >= 0
}

// misses reports whether a horizon has not seen r, and is to be minded: none of some
// others that has seen r and not the horizon is of its identity or senior.
func (s *State) misses(h horizon, r *Record, others []horizon) bool {
	return !s.has(h.rec, r) && !slices.ContainsFunc(others, func(o horizon) bool {
		return (o.by.kin(h.by) || o.by.compare(h.by) < 0) && s.has(o.rec, r) && !s.has(o.rec, h.rec)
	})
}

// place returns where a data record stands.
func (s *State) place(x *Record) Place {
	p := Place{max(x.Clock, s.floor), x.Clock, x.Head}
	author, _ := best(s.full, x)
	for _, h := range s.from(x.Clock) {
		if h.rec != x && h.over(author) && s.misses(h, x, s.from(x.Clock)) {
			p.First = max(p.First, h.rec.T+1)
		}
	}
	return p
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
	first := s.place(x).First
	apply := filter(s.horizons, func(h horizon) bool { return h.rec != x && (first <= h.rec.T || s.has(h.rec, x)) })
	name := fmt.Sprint(apply)
	if s.worlds[name] == nil {
		s.worlds[name] = s.fold(s.genesis, func(r *Record) bool {
			return !slices.ContainsFunc(apply, func(h horizon) bool {
				author := s.full.author[r.Hash]
				if r.Kind == Revoke && r.Identity == h.by.first.Identity {
					author = h.by
				}
				kept := author != nil && (author.kin(h.by) || author.compare(h.by) < 0) || r.first() && r.Kind != Revoke
				return !kept && s.misses(h, r, apply)
			})
		}, func(c *Record) bool {
			return !slices.ContainsFunc(apply, func(h horizon) bool { return !s.has(h.rec, c) })
		})
	}
	return best(s.worlds[name], x)
}

// data gives the verdicts on data records, and the documents.
func (s *State) data() {
	held := filter(s.sorted, func(r *Record) bool { return s.in[r.Hash] && !r.control() })
	slices.SortFunc(held, func(a, b *Record) int {
		p, q := s.Places[a.Hash], s.Places[b.Hash]
		return cmp.Or(cmp.Compare(p.First, q.First), cmp.Compare(p.Clock, q.Clock), cmp.Compare(p.Log, q.Log), cmp.Compare(p.Hash, q.Hash))
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
	def, seen := s.tips[d.Name].Def, s.saw(d)
	for _, o := range s.holding(filter(s.sorted, func(r *Record) bool { return r != d && seen[r.Head] }), d.Name) {
		def = o.Def
	}
	tip, late := s.tips[d.Name]
	for h := range seen {
		late = late && !(h.Log == tip.Head.Log && h.Seq >= tip.Head.Seq)
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

// beats decides between two concurrent definitions.
func (s *State) beats(a, b *Record) bool {
	byAuthor := slices.Clone(s.horizons)
	slices.SortStableFunc(byAuthor, func(x, y horizon) int { return x.by.compare(y.by) })
	for _, h := range byAuthor {
		if s.has(h.rec, a) && !s.has(h.rec, b) && h.over(s.writer[b.Hash]) && s.misses(h, b, s.horizons) {
			return true
		}
		if s.has(h.rec, b) && !s.has(h.rec, a) && h.over(s.writer[a.Hash]) && s.misses(h, a, s.horizons) {
			return false
		}
	}
	return cmp.Or(s.writer[a.Hash].compare(s.writer[b.Hash]), cmp.Compare(a.Hash, b.Hash)) < 0
}

// reaches reports whether an operation is judged by a definition, unless by a later one.
func (s *State) reaches(d, x *Record) bool {
	before := s.from(s.place(x).First)
	return !s.has(d, x) && !slices.ContainsFunc(before, func(h horizon) bool { return h.over(s.writer[d.Hash]) && s.misses(h, d, before) })
}

// Epochs returns the epochs that the key of a record is derived from: those that its
// author had seen and none of the others has. The first epoch is "".
func (s *State) Epochs(r *Record) (last []Hash) {
	w := s.fold(s.genesis, func(q *Record) bool { return q != r && s.has(r, q) }, all)
	all := filter(w.kept, func(q *Record) bool {
		return (q.Kind == Rotate || q.Kind == Remove) && w.verdict[q.Hash] == OK && w.author[q.Hash].full(Admin)
	})
	for _, q := range all {
		if !slices.ContainsFunc(all, func(o *Record) bool { return o != q && s.has(o, q) }) {
			last = append(last, q.Hash)
		}
	}
	if last == nil {
		return []Hash{""}
	}
	return last
}

// Knows returns the epochs whose keys can be derived from devices, URLs of invites and
// all records, which a relay's disk has.
func (s *State) Knows(devices []string, urls []Hash) map[Hash]bool {
	known := map[Hash]bool{}
	if slices.Contains(devices, s.genesis.Device) {
		known[""] = true
	}
	for n := -1; n < len(known); {
		n = len(known)
		for _, r := range filter(s.sorted, func(r *Record) bool { return s.in[r.Hash] }) {
			opens := slices.ContainsFunc(r.Devices, func(d string) bool { return slices.Contains(devices, d) }) ||
				slices.ContainsFunc(r.Invites, func(u Hash) bool { return slices.Contains(urls, u) })
			if opens && (r.Kind == Rotate || r.Kind == Remove) {
				known[r.Hash] = true
			}
			if known[r.Hash] || r.Kind == Invite && slices.Contains(urls, r.Hash) {
				for _, h := range s.Epochs(r) { // those before a new one are sealed under its key
					known[h] = true
				}
			}
		}
	}
	return known
}

// Reads reports whether who knows epochs has all that the key of a record rests on.
func (s *State) Reads(known map[Hash]bool, r *Record) bool {
	return !slices.ContainsFunc(s.Epochs(r), func(h Hash) bool { return !known[h] })
}
