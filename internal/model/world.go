package model

import (
	"cmp"
	"slices"
)

// A step is one grant on a path: the position of the record, and its place in a list.
type step struct {
	seq  int
	hash Hash // decides between branches of one log
	at   int
}

// A key is the seniority of an entry: the lower, the more senior. The zero key comes first.
type key struct {
	role      Role
	delegated bool // a delegated device is on the path
	path      []step
}

func (k key) compare(o key) int {
	late := func(b bool) int { return map[bool]int{true: 1}[b] }
	return cmp.Or(cmp.Compare(k.role, o.role), cmp.Compare(late(k.delegated), late(o.delegated)),
		slices.CompareFunc(k.path, o.path, func(a, b step) int {
			return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.hash, b.hash), cmp.Compare(a.at, b.at))
		}))
}

// An entry is one reason why a control log, and its data logs, may do something.
type entry struct {
	key
	first, grant *Record
	by           *entry    // of who granted it; nil at the top
	limited      bool      // a delegated device: writes, and adds devices
	ends         []*Record // its own transfers
}

// outranks reports whether a is b's senior or of its identity.
func (e *entry) outranks(o *entry) bool {
	return e.first.Identity == o.first.Identity || e.compare(o.key) < 0
}

// full reports whether the entry has a role, or a lower one, in its own right.
func (e *entry) full(r Role) bool { return e.role <= r && !e.limited }

// A cut limits entries of its subject to what rec has seen.
type cut struct {
	rec      *Record
	by       key
	identity string // of its author
	subject  string
	own      bool // reaches no other identity
}

// A world is a set of control records, folded.
type world struct {
	*graph
	kept    []*Record
	agenda  []*entry
	entries []*entry
	cuts    []cut
	closes  []*Record
	listed  set
	used    []*Record // the records that use one commitment
	author  map[Hash]*entry
	verdict map[Hash]Verdict
}

// fold folds the control records that keep wants.
func (g *graph) fold(genesis Genesis, keep func(*Record) bool) *world {
	w := &world{graph: g, listed: set{}, author: map[Hash]*entry{}, verdict: map[Hash]Verdict{}}
	for _, r := range g.sorted {
		if r.control() && g.in[r.Hash] && keep(r) {
			w.kept = append(w.kept, r)
		}
	}
	w.begin(genesis)
	for len(w.agenda) > 0 {
		slices.SortStableFunc(w.agenda, func(a, b *entry) int { return a.compare(b.key) })
		e := w.agenda[0]
		w.agenda = w.agenda[1:]
		w.visit(e)
	}
	return w
}

// begin takes down what needs no entry: revocations, recoveries, the open.
func (w *world) begin(genesis Genesis) {
	commit, owner, done := genesis.Commit, genesis.Identity, set{"": true}
	for n := 1; !done[Hash(commit)]; n++ {
		uses := w.uses(commit)
		if len(uses) > 1 {
			w.used = uses
			w.kept = slices.DeleteFunc(w.kept, w.frozen)
		}
		if len(uses) != 1 {
			break
		}
		r := uses[0]
		w.cuts = append(w.cuts, cut{rec: r, by: key{role: Owner}, subject: owner})
		w.push(&entry{key: key{role: Owner, path: []step{{seq: -n}}}, first: r, grant: r})
		done[Hash(commit)] = true
		commit, owner = r.Commit, r.Identity
	}
	for _, r := range w.kept {
		switch {
		case r.Kind == Revoke:
			w.cuts = append(w.cuts, cut{rec: r, by: key{role: Relay}, identity: r.Identity, subject: r.Subject, own: true})
			w.verdict[r.Hash] = OK
		case r.Kind == Open && r.Device == genesis.Device && r.Identity == genesis.Identity:
			w.push(&entry{key: key{role: Owner, path: []step{{}}}, first: r, grant: r})
		}
	}
}

// uses returns the records that use a commitment, and had seen no other that does.
func (w *world) uses(commit string) (uses []*Record) {
	for _, r := range w.kept {
		if r.Kind == Recover && r.Key == commit {
			uses = append(uses, r)
		}
	}
	return slices.DeleteFunc(slices.Clone(uses), func(r *Record) bool {
		return slices.ContainsFunc(uses, func(u *Record) bool { return u != r && w.has(r, u) })
	})
}

// frozen reports whether a commitment was used twice, and no use has seen r before it.
func (w *world) frozen(r *Record) bool {
	return len(w.used) > 0 && !slices.ContainsFunc(w.used, func(u *Record) bool { return u != r && w.has(u, r) })
}

func (w *world) push(e *entry) {
	for _, r := range w.kept {
		if r.Kind == Transfer && r.Log == e.first.Log && w.has(r, e.first) {
			e.ends = append(e.ends, r)
		}
	}
	w.agenda = append(w.agenda, e)
}

// lifted reports whether the entry was granted by who had seen the cut and could.
func (e *entry) lifted(w *world, c cut) bool {
	if e.by == nil || e.grant == c.rec {
		return e.grant == c.rec
	}
	named := e.grant.Subject == c.subject && !e.by.limited
	if named && w.has(e.grant, c.rec) && e.by.role <= c.by.role {
		return true
	}
	return e.by.first.Identity == e.first.Identity && e.by.lifted(w, c)
}

// applies reports whether a cut limits an entry.
func (w *world) applies(c cut, e *entry) bool {
	if c.subject != e.first.Identity && c.subject != e.first.Device || c.own && c.identity != e.first.Identity || e.lifted(w, c) {
		return false
	}
	top := c.by.path == nil // a revocation or recovery
	return top || c.by.compare(e.key) < 0 || len(e.ends) > 0 && c.by.role == Owner
}

// covers says whether an entry covers a record, of control or data.
func (w *world) covers(e *entry, r *Record) Verdict {
	if !w.has(r, e.first) {
		return Nobody
	}
	for _, t := range e.ends {
		if r.control() && r != t && !w.has(t, r) || !r.control() && w.has(r, t) {
			return Cut
		}
	}
	if (e.grant.Kind == SetRole || e.grant.Kind == Transfer) && w.has(e.grant, r) {
		return Before
	}
	for _, c := range w.cuts {
		if !w.applies(c, e) || w.has(c.rec, r) {
			continue
		}
		if !r.control() && w.unsure(c.rec, r) {
			return Unknown
		}
		return Cut
	}
	return OK
}

// visit lets the log of an entry do what it may.
func (w *world) visit(e *entry) {
	if e.grant.Kind == Invite && w.shut(e.grant) && !w.listed[e.first.Hash] {
		if w.verdict[e.first.Hash] != OK {
			w.verdict[e.first.Hash] = Waiting
		}
		return
	}
	w.entries = append(w.entries, e)
	for _, r := range w.kept {
		if r.Log != e.first.Log || w.verdict[r.Hash] == OK {
			continue
		}
		v := w.covers(e, r)
		if v == OK {
			if w.author[r.Hash] == nil {
				w.author[r.Hash] = e
			}
			v = w.act(e, r)
		}
		if v != Nobody && (w.verdict[r.Hash] == "" || v == OK) {
			w.verdict[r.Hash] = v
		}
	}
}

// shut reports whether an invite is closed.
func (w *world) shut(invite *Record) bool {
	return slices.ContainsFunc(w.closes, func(c *Record) bool {
		return c.Grant == invite.Hash || c.Kind == Remove && !w.has(invite, c)
	})
}

// act is the table: what a record does that its entry covers.
func (w *world) act(e *entry, r *Record) Verdict {
	switch r.Kind {
	case Open, Recover, Join, Start:
		return OK
	case Device:
		w.grant(e, r, e.role, w.firsts(Start, r))
		return OK
	case Remove:
		if !e.full(Admin) && (e.limited || !w.owns(e, r)) {
			return NotInRole
		}
		w.cuts = append(w.cuts, cut{rec: r, by: e.key, identity: e.first.Identity, subject: r.Subject, own: !e.full(Admin)})
		if e.full(Admin) {
			w.end(r)
		}
		return OK
	case Transfer:
		if r.Subject != "" && !e.full(Owner) {
			return NotInRole
		}
		if !e.limited {
			w.cuts = append(w.cuts, cut{rec: r, by: e.key, identity: e.first.Identity, subject: e.first.Identity, own: true})
		}
		w.grant(e, r, Owner, w.named(r))
		return OK
	}
	lowest := map[Kind]Role{Invite: Writer, SetRole: Writer}[r.Kind]
	if e.role == Owner && r.Kind == SetRole {
		lowest = Owner
	}
	switch {
	case !e.full(Admin), r.Role < lowest, lowest > 0 && r.Role > Relay:
		return NotInRole
	case r.Kind == Checkpoint && !e.full(Owner):
		return NotInRole
	case r.Kind == Checkpoint && r.T >= r.Clock:
		return BadTime
	}
	switch r.Kind {
	case Invite:
		w.grant(e, r, r.Role, w.firsts(Join, r))
	case SetRole:
		w.cuts = append(w.cuts, cut{rec: r, by: e.key, identity: e.first.Identity, subject: r.Subject})
		w.grant(e, r, r.Role, w.named(r))
	case Close, Admit:
		w.end(r)
	}
	return OK
}

// end takes down which joins stand, and that invites are closed.
func (w *world) end(r *Record) {
	for _, j := range r.Joins {
		w.listed[j] = true
	}
	if r.Kind != Admit {
		w.closes = append(w.closes, r)
	}
}

// grant makes entries of a record for logs.
func (w *world) grant(e *entry, r *Record, role Role, firsts []*Record) {
	for i, f := range firsts {
		switch {
		case r.Kind == Invite && r.Subject != "" && f.Identity != r.Subject:
			w.verdict[f.Hash] = Named
			continue
		case r.Kind == Device && (f.Device != r.Subject || f.Identity != e.first.Identity):
			continue
		case r.Kind == Invite || r.Kind == Device:
			i = 0 // in no order
		}
		path := append(slices.Clone(e.path), step{r.Seq, r.Hash, i})
		k := key{role, e.delegated && r.Kind == Device || r.Delegated, path}
		w.push(&entry{key: k, first: f, grant: r, by: e, limited: r.Delegated})
	}
}

// owns reports whether the subject of r is a device of its author's identity.
func (w *world) owns(e *entry, r *Record) bool {
	return slices.ContainsFunc(w.kept, func(f *Record) bool {
		return f.first() && f.Device == r.Subject && f.Identity == e.first.Identity && w.has(r, f)
	})
}

// firsts returns the first records that name r, and have seen it.
func (w *world) firsts(k Kind, r *Record) (fs []*Record) {
	for _, f := range w.kept {
		if f.Kind == k && f.Grant == r.Hash && w.has(f, r) {
			fs = append(fs, f)
		}
	}
	return fs
}

// named returns the first records of its subject that r lists, and has seen.
func (w *world) named(r *Record) (fs []*Record) {
	for _, h := range r.Joins {
		if f := w.recs[h]; f != nil && f.first() && f.Kind != Revoke && f.Identity == r.Subject && w.has(r, f) && slices.Contains(w.kept, f) {
			fs = append(fs, f)
		}
	}
	return fs
}

// alive reports whether nothing limits an entry.
func (w *world) alive(e *entry) bool {
	return len(e.ends) == 0 && !slices.ContainsFunc(w.cuts, func(c cut) bool { return w.applies(c, e) })
}
