package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A graph is the records that are held with all that they need, and what each has seen.
type graph struct {
	recs   map[Hash]*Record
	sorted []*Record // by log, sequence, hash
	in     map[Hash]bool
	seen   map[Hash]map[Head]bool
	passed map[Hash]map[Head]bool // of control records: without what they say of logs of their own identity
	tops   map[Head]bool          // heads of checkpoints: what follows them needs no predecessor
	floors map[string]int         // by data log: the highest of them; what is before is gone
}

func newGraph(records []*Record, tops map[Head]bool, floors map[string]int) *graph {
	g := &graph{recs: map[Hash]*Record{}, sorted: slices.Clone(records), in: map[Hash]bool{}, seen: map[Hash]map[Head]bool{}, passed: map[Hash]map[Head]bool{}, tops: tops, floors: floors}
	slices.SortFunc(g.sorted, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Hash, b.Hash))
	})
	for _, r := range g.sorted {
		g.recs[r.Hash] = r
	}
	for n := -1; n < len(g.in); { // until nothing more fits
		n = len(g.in)
		for _, r := range g.sorted {
			if g.fits(r) {
				g.in[r.Hash] = true
			}
		}
	}
	return g
}

func (g *graph) fits(r *Record) bool {
	switch p := g.recs[r.Prev]; {
	case slices.ContainsFunc(r.Control, func(h Hash) bool { return !g.in[h] || !g.recs[h].control() || r.Clock <= g.recs[h].Clock }),
		r.control() && r.first() != (r.Seq == 1):
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
// What an identity says of its own data logs counts in its own record only.
func (g *graph) saw(r *Record) map[Head]bool { return g.sees(r, g.seen, true) }

func (g *graph) sees(r *Record, memo map[Hash]map[Head]bool, own bool) map[Head]bool {
	if s := memo[r.Hash]; s != nil {
		return s
	}
	s := map[Head]bool{r.Head: true}
	memo[r.Hash] = s
	take := func(h Hash, control, data bool) {
		if !g.in[h] {
			return
		}
		all := g.saw
		if g.recs[h].control() {
			all = func(q *Record) map[Head]bool { return g.sees(q, g.passed, false) }
		}
		for q := range all(g.recs[h]) {
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
		if own || !g.kin(r.Log, h.Log) {
			s[h] = true
			take(h.Hash, false, true)
		}
	}
	return s
}

// kin reports whether a control log and a data log are of one identity.
func (g *graph) kin(control, data string) bool {
	of := slices.IndexFunc(g.sorted, func(r *Record) bool { return r.Log == data })
	firsts := filter(g.sorted, func(r *Record) bool { return r.first() && of >= 0 && r.Log == g.sorted[of].Of })
	return slices.ContainsFunc(g.sorted, func(r *Record) bool {
		return r.first() && r.Log == control && slices.ContainsFunc(firsts, func(f *Record) bool { return f.Identity == r.Identity })
	})
}

// has reports whether r has seen q.
func (g *graph) has(r, q *Record) bool { return g.saw(r)[q.Head] }

// unsure reports whether r has seen a head that is not held, above x in its log.
func (g *graph) unsure(r, x *Record) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(g.saw(r))), func(h Head) bool {
		return !g.in[h.Hash] && h.Log == x.Log && x.Seq < h.Seq
	})
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

// An entry is one reason why a control log, and its data logs, may do something.
type entry struct {
	role                     Role
	limited, lone, delegated bool     // a delegated device: writes, and adds devices; not even that; one is on the path
	path                     []string // role and whether one is on it; then the steps of each grant
	first, grant             *Record
	by                       *entry    // of who granted it; nil at the top
	ends                     []*Record // its own transfers
}

// compare orders entries by seniority, the most senior first. A delegated device comes after
// all whom it let in, though it is visited before them.
func (e *entry) compare(o *entry) int { return slices.Compare(e.rank(), o.rank()) }

func (e *entry) rank() []string {
	if e.limited {
		return append(slices.Clone(e.path), "last")
	}
	return e.path
}

// step is a position in a log. The hash decides between branches of one log.
func step(n int, h Hash) string { return fmt.Sprintf("%06d%s", n, h) }

func (e *entry) kin(o *entry) bool { return e.first.Identity == o.first.Identity }

// full reports whether the entry has a role, or a higher one, in its own right.
func (e *entry) full(r Role) bool { return e.role <= r && !e.limited }

// A cut limits entries of its subject to what rec has seen.
type cut struct {
	rec          *Record
	by           *entry // of its author; nil: senior to all
	role         Role   // of its author
	own, subject string // own: it reaches that identity alone
}

// A world is a set of control records, folded.
type world struct {
	*graph
	genesis         Genesis
	shuts           func(*Record) bool
	agenda, entries []*entry
	cuts            []cut
	kept            []*Record // those that fold was asked for
	closes, used    []*Record // that end invites, or list joins; that use one commitment
	top             *entry    // the most senior full one that nothing limits
	author          map[Hash]*entry
	verdict         map[Hash]Verdict
}

// fold folds the control records that keep wants; invites are ended by those that shuts wants.
func (g *graph) fold(genesis Genesis, keep, shuts func(*Record) bool) *world {
	w := &world{graph: g, genesis: genesis, shuts: shuts, author: map[Hash]*entry{}, verdict: map[Hash]Verdict{}}
	w.kept = filter(g.sorted, func(r *Record) bool { return r.control() && g.in[r.Hash] && keep(r) })
	w.recover(genesis)
	for _, r := range w.kept {
		if r.Kind == Revoke {
			w.cuts = append(w.cuts, cut{rec: r, role: Relay, own: r.Identity, subject: r.Subject})
			w.verdict[r.Hash] = OK
		} else if r.Kind == Open && r.Device == genesis.Device && r.Identity == genesis.Identity {
			w.push(&entry{role: Owner, first: r, grant: r}, step(1000, ""))
		}
	}
	for len(w.agenda) > 0 {
		slices.SortStableFunc(w.agenda, func(a, b *entry) int { return slices.Compare(a.path, b.path) })
		e := w.agenda[0]
		w.agenda = w.agenda[1:]
		if e.by == nil || !e.by.limited || w.covers(e.by, e.grant) == OK { // whom it let in before may have cut it
			w.visit(e)
		}
	}
	for _, r := range w.kept {
		e := w.author[r.Hash]
		stands := slices.ContainsFunc(w.entries, func(o *entry) bool { return o.grant == r })
		if w.verdict[r.Hash] == OK && e != nil && e.limited && !stands {
			w.verdict[r.Hash] = w.covers(e, r)
		}
	}
	return w
}

// recover follows the commitments from the genesis on: before the open, the last first.
func (w *world) recover(genesis Genesis) {
	commit, owner, done := genesis.Commit, genesis.Identity, map[string]bool{"": true}
	for !done[commit] {
		uses := filter(w.kept, func(r *Record) bool { return r.Kind == Recover && r.Key == commit })
		// Who has seen another use is no use.
		uses = filter(uses, func(r *Record) bool {
			return !slices.ContainsFunc(uses, func(u *Record) bool { return u != r && w.has(r, u) })
		})
		if len(uses) > 1 {
			w.used = uses
			for _, r := range filter(w.kept, w.frozen) {
				w.verdict[r.Hash] = Frozen
			}
			w.kept = filter(w.kept, func(r *Record) bool { return w.verdict[r.Hash] != Frozen })
		}
		if len(uses) != 1 {
			return
		}
		e := &entry{role: Owner, first: uses[0], grant: uses[0]}
		w.cuts = append(w.cuts, cut{rec: uses[0], by: e, role: Owner, subject: owner})
		w.push(e, step(1000-len(done), ""))
		done[commit] = true
		commit, owner = uses[0].Commit, uses[0].Identity
	}
}

// frozen reports whether a commitment was used twice, and no use has seen r before it. Who
// leaves does so all the same.
func (w *world) frozen(r *Record) bool {
	return len(w.used) > 0 && (r.Kind != Transfer || r.Subject != "") && !slices.ContainsFunc(w.used, func(u *Record) bool { return u != r && w.has(u, r) })
}

// push puts an entry on the agenda: its path is that of who granted it, and more.
func (w *world) push(e *entry, more ...string) {
	if q := w.recs[e.first.Grant]; e.first.Kind == Open {
		e.limited, e.lone = w.genesis.Delegated, w.genesis.Lone
	} else if e.first.Kind == Start && q != nil {
		e.limited, e.lone = q.Delegated, q.Delegated && q.Lone
	}
	e.delegated = e.limited || e.by != nil && e.by.delegated
	e.path = []string{step(2*int(e.role)+map[bool]int{true: 1}[e.delegated], "")}
	if e.by != nil {
		e.path = append(e.path, e.by.path[1:]...)
	}
	e.path = append(e.path, more...)
	e.ends = filter(w.kept, func(r *Record) bool {
		return r.Kind == Transfer && (r.Subject == "" || e.full(Owner)) && r.Log == e.first.Log && w.has(r, e.first)
	})
	w.agenda = append(w.agenda, e)
}

// lifted reports whether the entry was granted by who had seen the cut and could.
func (w *world) lifted(e *entry, c cut) bool {
	if e.by == nil || e.grant == c.rec {
		return e.grant == c.rec
	}
	named := e.grant.Subject == c.subject && !e.by.limited && e.by.role <= c.role
	return named && w.has(e.grant, c.rec) || e.by.kin(e) && w.lifted(e.by, c)
}

// applies reports whether a cut limits an entry.
func (w *world) applies(c cut, e *entry) bool {
	subject, reached := c.subject == e.first.Identity || c.subject == e.first.Device, c.own == "" || c.own == e.first.Identity
	return subject && reached && !w.lifted(e, c) && (c.by == nil || c.by.compare(e) < 0)
}

// covers says whether an entry covers a record, of control or data.
func (w *world) covers(e *entry, r *Record) Verdict {
	ended := slices.ContainsFunc(e.ends, func(t *Record) bool {
		return !w.has(t, r) && (r.control() || e.role == Owner) || !r.control() && w.has(r, t)
	})
	missed := filter(w.cuts, func(c cut) bool { return w.applies(c, e) && !w.has(c.rec, r) })
	switch {
	case !w.has(r, e.first):
		return Nobody
	case ended:
		return Cut
	case (e.grant.Kind == SetRole || e.grant.Kind == Transfer) && (w.has(e.grant, r) || r.Kind != Op && !w.has(r, e.grant)):
		return Before
	case len(missed) == 0:
		return OK
	case !r.control() && !slices.ContainsFunc(missed, func(c cut) bool { return !w.unsure(c.rec, r) }):
		return Unknown
	}
	return Cut
}

// visit lets the log of an entry do what it may.
func (w *world) visit(e *entry) {
	shut := slices.ContainsFunc(w.closes, func(c *Record) bool {
		return w.shuts(c) && (c.Kind == Close && c.Grant == e.grant.Hash || c.Kind == Remove && !w.has(e.grant, c))
	})
	listed := slices.ContainsFunc(w.closes, func(c *Record) bool { return slices.Contains(c.Joins, e.first.Hash) })
	if e.grant.Kind == Invite && shut && !listed {
		w.verdict[e.first.Hash] = cmp.Or(w.verdict[e.first.Hash], Waiting)
		return
	}
	w.entries = append(w.entries, e)
	if w.top == nil && !e.limited && w.alive(e) {
		w.top = e
	}
	for _, r := range filter(w.kept, func(r *Record) bool { return r.Log == e.first.Log && w.verdict[r.Hash] != OK }) {
		v := w.covers(e, r)
		if v == OK {
			w.author[r.Hash] = cmp.Or(w.author[r.Hash], e)
			v = w.act(e, r)
		}
		if v != Nobody && (w.verdict[r.Hash] == "" || v == OK) {
			w.verdict[r.Hash] = v
		}
	}
}

// act is the table: what a record does that its entry covers.
func (w *world) act(e *entry, r *Record) Verdict {
	own := r.Kind == Transfer || r.Kind == Remove && !e.full(Admin) // reaches the own identity alone
	c := cut{rec: r, by: e, role: e.role, own: map[bool]string{true: e.first.Identity}[own]}
	c.subject = map[bool]string{true: c.own, false: r.Subject}[r.Kind == Transfer]
	grants, highest := r.Kind == Invite || r.Kind == SetRole, map[bool]Role{true: Owner, false: Writer}[r.Kind == SetRole && e.role == Owner]
	switch {
	case r.first(), r.Kind == Announce, r.Kind == Device && !e.lone, r.Kind == Transfer && (r.Subject == "" || e.full(Owner)):
	case r.Kind == Remove && own && !e.limited && slices.ContainsFunc(w.kept, func(f *Record) bool {
		return f.Device == r.Subject && f.Identity == c.own || f.Kind == Device && f.Subject == r.Subject
	}):
	case own, !e.full(Admin), grants && (r.Role < highest || r.Role > Relay), r.Kind == Checkpoint && (e.role > Owner || w.top != nil && !w.top.kin(e)):
		return NotInRole
	case r.Kind == Checkpoint && r.T >= r.Clock:
		return BadTime
	}
	if grants || r.Kind == Transfer || r.Kind == Device {
		w.grant(e, r)
	}
	if r.Kind == Transfer && !e.limited || r.Kind == SetRole || r.Kind == Remove {
		w.cuts = append(w.cuts, c)
	}
	if !own && (r.Kind == Remove || r.Kind == Close || r.Kind == Admit) {
		w.closes = append(w.closes, r)
	}
	return OK
}

// grant makes entries of a record: of an invite or device for the first records that name
// it, in no order, or else for those that it lists.
func (w *world) grant(e *entry, r *Record) {
	kind := map[Kind]Kind{Invite: Join, Device: Start}[r.Kind]
	role := cmp.Or(map[Kind]Role{Device: e.role, Transfer: Owner}[r.Kind], r.Role)
	for _, f := range w.kept {
		at := slices.Index(r.Joins, f.Hash)
		switch {
		case kind == "" && (at < 0 || !f.first() || f.Kind == Revoke || f.Identity != r.Subject || !w.has(r, f)):
		case kind != "" && (f.Kind != kind || f.Grant != r.Hash || !w.has(f, r)):
		case kind == Start && (f.Device != r.Subject || f.Identity != e.first.Identity):
		case kind == Join && r.Subject != "" && f.Identity != r.Subject:
			w.verdict[f.Hash] = cmp.Or(w.verdict[f.Hash], Named)
		default:
			w.push(&entry{role: role, first: f, grant: r, by: e}, step(r.Seq, r.Hash), step(at+1, ""))
		}
	}
}

// alive reports whether nothing limits an entry.
func (w *world) alive(e *entry) bool {
	return len(e.ends) == 0 && !slices.ContainsFunc(w.cuts, func(c cut) bool { return w.applies(c, e) })
}

// floors returns the heads after which records of data logs count, and the highest of each log.
// A checkpoint replaces what those that it has seen named of a log. Of others, which only a copy
// of a device writes, the highest head decides, and what its own names below theirs is none.
func (w *world) floors(cuts []*Record) (tops map[Head]bool, floors map[string]int) {
	tops, floors = map[Head]bool{}, map[string]int{}
	of := func(c *Record, log string) []Head {
		return filter(c.Data, func(h Head) bool { return h.Log == log })
	}
	top := func(c *Record, log string) (t Head) {
		for _, h := range of(c, log) {
			if h.Seq > t.Seq || h.Seq == t.Seq && h.Hash > t.Hash {
				t = h
			}
		}
		return t
	}
	for _, c := range cuts {
		for _, h := range c.Data {
			last := filter(cuts, func(o *Record) bool {
				return len(of(o, h.Log)) > 0 && !slices.ContainsFunc(cuts, func(z *Record) bool { return z != o && len(of(z, h.Log)) > 0 && w.has(z, o) })
			})
			best := slices.MaxFunc(last, func(a, b *Record) int {
				x, y := top(a, h.Log), top(b, h.Log)
				return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Hash, y.Hash), cmp.Compare(a.Hash, b.Hash))
			})
			low := slices.ContainsFunc(last, func(o *Record) bool { return o != best && h.Seq < top(o, h.Log).Seq })
			if best == c && !low {
				tops[h], floors[h.Log] = true, max(floors[h.Log], h.Seq)
			}
		}
	}
	return tops, floors
}
