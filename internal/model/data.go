package model

import (
	"cmp"
	"slices"
)

// data gives the verdicts on data records, and the documents.
func (s *State) data() {
	var ops []*Record
	for _, r := range s.sorted {
		if !s.in[r.Hash] || r.control() {
			continue
		}
		s.Places[r.Hash] = s.place(r)
		switch r.Kind {
		case Horizon:
			s.Verdicts[r.Hash] = s.invalid[r.Hash]
		case Define:
			s.Verdicts[r.Hash] = s.defines(r)
			if s.Verdicts[r.Hash] == OK && !slices.Contains(s.holding(s.sorted, r.Name), r) {
				s.Verdicts[r.Hash] = Stale
			}
		case Op:
			ops = append(ops, r)
		default:
			s.Verdicts[r.Hash] = NotInRole
		}
	}
	slices.SortFunc(ops, func(a, b *Record) int { return s.Places[a.Hash].compare(s.Places[b.Hash]) })
	for _, r := range ops {
		e, v := s.standing(r)
		if v == OK {
			v = s.apply(e, r)
		}
		s.Verdicts[r.Hash] = v
	}
}

// apply does an operation at its place, under the definition that reaches it.
func (s *State) apply(e *entry, r *Record) Verdict {
	def := s.tip(r.Name)
	for _, d := range s.holding(s.sorted, r.Name) {
		if s.reaches(d, r) {
			def = d.Def
		}
	}
	id := r.Name + "/" + r.Doc
	was, exists := s.Docs[id]
	switch {
	case def.Drop && s.genesis.Closed:
		return Undefined
	case !def.Drop && def.Shapes != nil && !slices.Contains(def.Shapes, r.Shape):
		return BadShape
	case exists && r.Insert:
		return Exists
	case exists && !def.Drop && def.Own && was.Owner != e.first.Identity:
		return Denied
	}
	owner := e.first.Identity
	if exists {
		owner = was.Owner
	}
	s.Docs[id] = Doc{owner, r.Shape}
	return OK
}

// tip returns the definition of a name that no record makes: a checkpoint's, or none.
func (j *judge) tip(name string) Def {
	if t, ok := j.tips[name]; ok {
		return t.Def
	}
	return Def{Drop: true}
}

// defines says whether a definition counts: the one in force in its view lets it.
func (j *judge) defines(d *Record) Verdict {
	if v, ok := j.invalid[d.Hash]; ok {
		return v
	}
	e, v := j.standing(d)
	seen, heads := j.sawData(d)
	def, late := j.tip(d.Name), false
	if t, ok := j.tips[d.Name]; ok {
		late = true
		for h := range heads {
			late = late && !(h.Log == t.Head.Log && h.Seq >= t.Head.Seq)
		}
	}
	if v == OK {
		before := slices.DeleteFunc(slices.Clone(j.sorted), func(r *Record) bool { return r == d || !seen[r.Hash] })
		for _, o := range j.holding(before, d.Name) {
			def = o.Def
		}
		may := cmp.Or(def.May, Admin)
		switch {
		case e.limited || e.role > may && e.role != Owner:
			v = NotInRole
		case !j.complete(d):
			v = Unknown
		case late:
			v = Stale
		}
	}
	j.invalid[d.Hash] = v
	if v == OK {
		j.valid[d.Hash] = e
	}
	return v
}

// holding returns which of some records are definitions of a name that no concurrent one
// beats, each after those that it has seen.
func (j *judge) holding(of []*Record, name string) []*Record {
	var defs []*Record
	for _, r := range of {
		if r.Kind == Define && r.Name == name && j.in[r.Hash] && j.defines(r) == OK {
			defs = append(defs, r)
		}
	}
	holds := slices.DeleteFunc(slices.Clone(defs), func(d *Record) bool {
		return slices.ContainsFunc(defs, func(o *Record) bool { return !j.has(d, o) && !j.has(o, d) && j.beats(o, d) })
	})
	slices.SortFunc(holds, func(a, b *Record) int { return cmp.Compare(a.Clock, b.Clock) })
	return holds
}

// beats decides between two concurrent definitions.
func (j *judge) beats(a, b *Record) bool {
	byKey := slices.Clone(j.horizons)
	slices.SortStableFunc(byKey, func(x, y horizon) int { return x.by.compare(y.by.key) })
	any := func(horizon) bool { return true }
	for _, h := range byKey {
		if j.has(h.rec, a) == j.has(h.rec, b) {
			continue
		}
		out := a
		if j.has(h.rec, a) {
			out = b
		}
		if e := j.valid[out.Hash]; h.by.outranks(e) && j.misses(h, out, any) {
			return out == b
		}
	}
	return cmp.Or(j.valid[a.Hash].compare(j.valid[b.Hash].key), cmp.Compare(a.Hash, b.Hash)) < 0
}

// reaches reports whether an operation is judged by a definition, unless by a later one.
func (j *judge) reaches(d, x *Record) bool {
	first, e := j.place(x).First, j.valid[d.Hash]
	applies := func(h horizon) bool { return first <= h.rec.T }
	return !j.has(d, x) && !slices.ContainsFunc(j.horizons, func(h horizon) bool {
		senior := e.compare(h.by.key) < 0 && e.first.Identity != h.by.first.Identity
		return applies(h) && !senior && j.misses(h, d, applies)
	})
}
