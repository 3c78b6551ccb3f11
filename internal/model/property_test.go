package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistories(t *testing.T) {
	kinds, verdicts, checks := map[string]int{}, map[Verdict]int{}, map[string]int{}
	histories(t, func(t *testing.T, seed uint64, h *history, s *State) {
		for _, r := range h.all {
			v := s.Verdicts[r.Hash]
			verdicts[v]++
			if v == OK {
				kinds[string(r.Kind)]++
			}
			if v == "" {
				t.Errorf("%s has no verdict", r.Hash)
			}
		}
		for i, p := range properties {
			h.Rand = rand.New(rand.NewPCG(seed, uint64(i)))
			if d := p.check(h, s, checks); d != "" {
				t.Errorf("%s: %s", p.name, d)
			}
		}
	})
	t.Logf("count: %v\nverdicts: %v\nchecked: %v", kinds, verdicts, checks)
	if kinds[string(Open)] < 1000 {
		return // too few for everything to occur
	}
	for _, k := range []Kind{Open, Recover, Join, Start, Revoke, Invite, Close, Admit, SetRole, Transfer, Remove, Device, Rotate, Checkpoint, Op, Define, Horizon} {
		if kinds[string(k)] == 0 {
			t.Errorf("no %s ever counts", k)
		}
	}
	for _, v := range []Verdict{OK, Settled, Apart, Frozen, Nobody, Cut, Before, NotInRole, Named, Waiting, BadTime, Unknown, Floor, Stale, Undefined, BadShape, Denied, Exists} {
		if verdicts[v] == 0 {
			t.Errorf("the verdict %s is never given", v)
		}
	}
}

// properties say what is wrong with a history, and count what they looked at.
var properties = []struct {
	name  string
	check func(h *history, s *State, checks map[string]int) string
}{
	{"P1 any order", anyOrder},
	{"P1 pruning", pruning},
	{"P1 void data", voidData},
	{"P2 and P3 finality", finality},
	{"P3 chains", chains},
	{"P4 removed", removed},
	{"P5 horizons", horizonsVoidNobody},
	{"P6 hashes", hashes},
	{"P6 clocks", clocks},
}

func anyOrder(h *history, s *State, _ map[string]int) string {
	rs := slices.Clone(h.all)
	h.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	return diff(s, Judge(h.genesis, rs), func(Hash) bool { return true })
}

// pruning: what checkpoints in force have seen may be gone.
func pruning(h *history, s *State, checks map[string]int) string {
	rest := filter(h.all, func(r *Record) bool { return s.Verdicts[r.Hash] != Settled })
	if len(rest) == len(h.all) {
		return ""
	}
	checks["pruned"]++
	return diff(Judge(h.genesis, rest), s, func(Hash) bool { return true })
}

// voidData: data records without effect that nobody names may be missing.
func voidData(h *history, s *State, checks map[string]int) string {
	named := map[Hash]bool{}
	for _, r := range h.all {
		named[r.Prev] = true
		for _, d := range r.Data {
			named[d.Hash] = true
		}
	}
	rest := filter(h.all, func(r *Record) bool {
		v := s.Verdicts[r.Hash]
		return r.control() || named[r.Hash] || v == OK || v == Settled || v == Stale
	})
	checks["void data missing"] += len(h.all) - len(rest)
	return diff(Judge(h.genesis, rest), s, func(Hash) bool { return true })
}

// finality: whatever identities junior to a horizon's author add, nothing changes of what
// it has seen up to its T, nor does its author lose its right.
func finality(h *history, s *State, checks map[string]int) string {
	if len(s.horizons) == 0 {
		return ""
	}
	z := s.horizons[h.IntN(len(s.horizons))]
	by := s.writer[z.Hash]
	junior := func(s *State, id string) bool {
		return !slices.ContainsFunc(s.full.entries, func(e *entry) bool {
			return e.first.Identity == id && (e.kin(by) || e.compare(by) <= 0)
		})
	}
	n := len(h.all)
	h.alone = true
	defer func() { h.all, h.alone = h.all[:n], false }()
	as := filter(h.as, func(a *author) bool {
		heir := s.full.top != nil && a.id == s.full.top.first.Identity // whose checkpoints settle all
		return junior(s, a.id) && a.id != by.first.Identity && !heir
	})
	if len(as) == 0 {
		return ""
	}
	for range 6 {
		a := *as[h.IntN(len(as))]
		a.held = maps.Clone(a.held)
		if h.IntN(2) == 0 {
			for _, r := range h.all[:n] {
				a.held[r.Hash] = true
			}
		}
		was := len(h.as)
		h.attack(&a)
		h.as = h.as[:was]
	}
	after := Judge(h.genesis, h.all)
	if slices.ContainsFunc(as, func(a *author) bool { return !junior(after, a.id) }) {
		return "juniors rose"
	}
	d := diffVerdicts(s, after, func(hash Hash) bool {
		r := s.recs[hash]
		ok := r != nil && !r.control() && s.in[hash] && s.has(z, r) && s.Places[hash] <= z.T
		if ok {
			checks["final"]++
		}
		return ok
	})
	if d != "" {
		for _, r := range h.all[n:] {
			d += fmt.Sprintf("\n  added %s %s of %s: %s", r.Kind, r.Hash, r.Log, after.Verdicts[r.Hash])
		}
		return fmt.Sprintf("of horizon %s, T %d: %s", z.Hash, z.T, d)
	}
	alive := slices.ContainsFunc(s.full.entries, func(e *entry) bool { return e.compare(by) == 0 && s.full.alive(e) })
	if id := by.first.Identity; alive && s.Roles[id] != after.Roles[id] {
		for _, r := range h.all[n:] {
			d += fmt.Sprintf("\n  added %s %s of %s: %s", r.Kind, r.Hash, r.Log, after.Verdicts[r.Hash])
		}
		return fmt.Sprintf("%s was %d, is %d%s", id, s.Roles[id], after.Roles[id], d)
	}
	return ""
}

func diffVerdicts(a, b *State, of func(Hash) bool) string {
	b2 := *b
	b2.Roles, b2.Docs = a.Roles, a.Docs
	return diff(a, &b2, of)
}

// The table of the page, written out again.
var table = map[Kind][]Role{
	Open: {Owner}, Recover: {Owner}, Join: {Writer, Reader, Relay, Owner, Admin}, Start: {Owner, Admin, Writer, Reader, Relay},
	Invite: {Owner, Admin}, Close: {Owner, Admin}, Admit: {Owner, Admin}, SetRole: {Owner, Admin}, Rotate: {Owner, Admin},
	Remove: {Owner, Admin, Writer, Reader, Relay}, Device: {Owner, Admin, Writer, Reader, Relay}, Transfer: {Owner, Admin, Writer, Reader, Relay},
	Checkpoint: {Owner}, Announce: {Owner, Admin, Writer, Reader, Relay},
}

// chains: what has effect is by somebody with a chain of grants, each allowed, up to the
// genesis or a recovery, and no removal that acts and is senior to the chain cuts it.
func chains(h *history, s *State, checks map[string]int) string {
	w := s.full
	for _, r := range w.kept {
		if s.Verdicts[r.Hash] != OK || r.Kind == Revoke {
			continue
		}
		e := w.author[r.Hash]
		if e == nil || !slices.Contains(table[r.Kind], e.role) {
			return fmt.Sprintf("%s %s acts without a right", r.Kind, r.Hash)
		}
		checks["acts"]++
		for at := r; e != nil; at, e = e.grant, e.by {
			if e.first.Log != at.Log && at == r || !s.has(at, e.first) && at == r {
				return fmt.Sprintf("%s of %s acts under %s", r.Hash, r.Log, e.first.Log)
			}
			if e.by == nil && e.first.Kind != Open && e.first.Kind != Recover || e.by != nil && s.Verdicts[e.grant.Hash] != OK {
				return fmt.Sprintf("%s has no chain", r.Hash)
			}
			if e.by != nil && (e.role < e.by.role || e.role == Admin && e.by.role == Admin && !e.kin(e.by) || e.by.role > Admin && !e.kin(e.by)) {
				return fmt.Sprintf("%s: role %d granted by role %d", r.Hash, e.role, e.by.role)
			}
			if e.limited && at.Kind != Device && at.Kind != Announce && !at.first() && at.Kind != Transfer {
				return fmt.Sprintf("%s %s by a delegated device", at.Kind, at.Hash)
			}
			for _, c := range w.kept {
				gone := c.Kind == Remove && s.Verdicts[c.Hash] == OK && c.Subject == e.first.Identity
				by := w.author[c.Hash]
				if !gone || by.role >= e.role || by.role > Admin && !by.kin(e) || s.has(c, at) { // below admin it reaches its own identity
					continue
				}
				if s.has(e.grant, c) || e.by != nil && e.by.kin(e) { // barred or invited again: by hand
					continue
				}
				return fmt.Sprintf("%s has effect, though %s removed %s", at.Hash, c.Hash, c.Subject)
			}
		}
	}
	return ""
}

// removed: {who was removed, a relay's disk, all URLs it may have known} read nothing that
// an honest device wrote which had seen the removal.
func removed(h *history, s *State, checks map[string]int) string {
	for _, r := range s.full.kept {
		if r.Kind != Remove || s.Verdicts[r.Hash] != OK || !h.honest[r.Hash] || !s.full.author[r.Hash].full(Admin) {
			continue
		}
		var devices []string
		var urls []Hash
		for _, f := range s.full.kept {
			if f.first() && (f.Identity == r.Subject || f.Device == r.Subject) && !s.has(f, r) && !slices.Contains(devices, f.Device) {
				devices = append(devices, f.Device)
			}
			if f.Kind == Invite && !s.has(f, r) {
				urls = append(urls, f.Hash)
			}
		}
		if slices.ContainsFunc(s.full.kept, func(q *Record) bool {
			return q != r && s.has(q, r) && slices.ContainsFunc(q.Devices, func(d string) bool { return slices.Contains(devices, d) })
		}) {
			checks["removed, and a member again"]++ // by a senior who had seen the removal, or made it void
			continue
		}
		var known map[*Record]bool
		for _, x := range s.sorted {
			if x.control() || !s.in[x.Hash] || !h.honest[x.Hash] || !s.has(x, r) {
				continue
			}
			w := s.fold(s.genesis, func(q *Record) bool { return s.has(x, q) }, all)
			back := slices.ContainsFunc(w.entries, func(e *entry) bool { return slices.Contains(devices, e.first.Device) && w.alive(e) })
			forged := slices.ContainsFunc(w.kept, func(q *Record) bool { return (q.Kind == Remove || q.Kind == Rotate) && !h.honest[q.Hash] })
			if w.verdict[r.Hash] != OK || !w.author[r.Hash].full(Admin) || back || forged {
				continue
			}
			if known == nil {
				known = s.Knows(devices, urls)
			}
			checks["not read"]++
			if s.Reads(known, x) {
				return fmt.Sprintf("%s read %s, written under %v after removal %s", devices, x.Hash, s.Epochs(x), r.Hash)
			}
		}
	}
	return ""
}

var void = []Verdict{Nobody, Cut, Before, Unknown, NotInRole}

// horizonsVoidNobody: horizons, which devices publish by themselves, make nothing void. At
// most they settle what was void by what they had seen.
func horizonsVoidNobody(h *history, s *State, checks map[string]int) string {
	var rest []*Record
	for _, r := range h.all {
		c := *r
		if c.Kind == Horizon {
			c.T = c.Clock // without force, but there, as others name it
		}
		rest = append(rest, &c)
	}
	without := Judge(h.genesis, rest)
	for _, r := range h.all {
		if r.Kind == Op && slices.Contains(void, s.Verdicts[r.Hash]) && !slices.Contains(void, without.Verdicts[r.Hash]) {
			if slices.ContainsFunc(s.horizons, func(z *Record) bool {
				w := s.fold(s.genesis, func(q *Record) bool { return s.has(z, q) || q.first() && q.Kind != Revoke }, all)
				_, v := best(w, r)
				return v != OK && (s.has(z, r) || s.Places[r.Hash] <= z.T)
			}) {
				checks["void when it was settled"]++
				continue
			}
			return fmt.Sprintf("%s is %s, and without horizons %s", r.Hash, s.Verdicts[r.Hash], without.Verdicts[r.Hash])
		}
		if r.Kind == Op && !slices.Contains(void, s.Verdicts[r.Hash]) && slices.Contains(void, without.Verdicts[r.Hash]) {
			checks["kept by a horizon"]++
		}
	}
	return ""
}

// hashes: other hashes change nothing, where no log is forked.
func hashes(h *history, s *State, checks map[string]int) string {
	at := map[Head]bool{}
	for _, r := range h.all {
		p := Head{Log: r.Log, Seq: r.Seq}
		if at[p] {
			return ""
		}
		at[p] = true
	}
	checks["hashes"]++
	perm, name := h.Perm(len(h.all)), map[Hash]Hash{}
	for i, r := range h.all {
		name[r.Hash] = Hash(fmt.Sprintf("n%03d", perm[i]))
	}
	ren := func(x Hash) Hash {
		if n, ok := name[x]; ok {
			return n
		}
		return x
	}
	heads := func(hs []Head) (out []Head) {
		for _, x := range hs {
			out = append(out, Head{x.Log, x.Seq, ren(x.Hash)})
		}
		return out
	}
	hs := func(hs []Hash) (out []Hash) {
		for _, x := range hs {
			out = append(out, ren(x))
		}
		return out
	}
	var rs []*Record
	for _, r := range h.all {
		c := *r
		c.Hash, c.Prev, c.Grant, c.Control, c.Data, c.Joins = ren(c.Hash), ren(c.Prev), ren(c.Grant), hs(c.Control), heads(c.Data), hs(c.Joins)
		c.Tips = map[string]Record{}
		for n, t := range r.Tips {
			t.Hash = ren(t.Hash)
			c.Tips[n] = t
		}
		rs = append(rs, &c)
	}
	o := Judge(h.genesis, rs)
	for _, r := range h.all {
		if s.Verdicts[r.Hash] != o.Verdicts[ren(r.Hash)] {
			return fmt.Sprintf("%s %s is %s, and by another hash %s", r.Kind, r.Hash, s.Verdicts[r.Hash], o.Verdicts[ren(r.Hash)])
		}
	}
	return diffMaps("role", s.Roles, o.Roles)
}

// clocks: another clock of one record, between those of what it names and of what names
// it, changes no verdict on a record of control, a definition, or an operation that a
// horizon has settled which binds it.
func clocks(h *history, s *State, checks map[string]int) string {
	for range 3 {
		x := h.all[h.IntN(len(h.all))]
		low, high := 1, 100
		for _, r := range h.all {
			if r.Hash == x.Prev || slices.Contains(x.Control, r.Hash) || slices.Contains(x.Data, r.Head) {
				low = max(low, r.Clock+1)
			}
			if r.Prev == x.Hash || slices.Contains(r.Control, x.Hash) || slices.Contains(r.Data, x.Head) {
				high = min(high, r.Clock-1)
			}
		}
		if x.Kind == Horizon || x.Kind == Checkpoint || x.Clock < low || x.Clock > high || s.Verdicts[x.Hash] == Settled || s.Verdicts[x.Hash] == Apart {
			continue
		}
		c := *x
		c.Clock = low + h.IntN(high-low+1)
		o := Judge(h.genesis, append(filter(h.all, func(r *Record) bool { return r != x }), &c))
		author, _ := best(s.full, x)
		for _, r := range h.all {
			fixed := r != x && (r.Kind != Op || r.control())
			for _, z := range s.horizons {
				binds := s.under(author, z) && s.misses(z, x, s.horizons) && s.Verdicts[x.Hash] != Apart
				fixed = fixed || r != x && binds && s.has(z, r) && s.Places[r.Hash] <= z.T && s.in[r.Hash]
			}
			if !fixed {
				continue
			}
			checks["clocks"]++
			if s.Verdicts[r.Hash] != o.Verdicts[r.Hash] {
				return fmt.Sprintf("%s %s of %s dated %d, not %d: %s %s is %s, was %s", x.Kind, x.Hash, x.Log, c.Clock, x.Clock, r.Kind, r.Hash, o.Verdicts[r.Hash], s.Verdicts[r.Hash])
			}
		}
	}
	return ""
}
