package control

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// An entry is one reason why a control log, and its data logs, may do something.
type entry struct {
	role         format.Role
	path         []step // seniority: the role, and whether a delegated device is on it; then the steps of each grant
	visit        []step // where it is on the agenda: a delegated device comes before those that it lets in
	first, grant *Record
	by           *entry    // of who granted it; nil at the top
	ends         []*Record // its own transfers
}

// seat gives an entry its place: that of who granted it, and more.
func (e *entry) seat(more ...step) {
	e.visit = []step{{n: 2 * uint64(e.role)}}
	if e.limited() {
		e.visit[0].n++
	}
	if e.by != nil {
		e.visit[0].n = max(e.visit[0].n, e.by.visit[0].n%2+2*uint64(e.role))
		e.visit = append(e.visit, e.by.visit[1:]...)
	}
	e.visit = append(e.visit, more...)
	if e.path = e.visit; e.limited() {
		e.path = append(slices.Clone(e.visit), step{n: math.MaxUint64})
	}
}

// A step is a position in a log. The hash decides between branches of one log.
type step struct {
	n    uint64
	hash clock.Hash
}

// compare orders entries by seniority, the most senior first.
func (e *entry) compare(o *entry) int { return compareSteps(e.path, o.path) }

func compareSteps(a, b []step) int {
	return slices.CompareFunc(a, b, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.n, b.n), bytes.Compare(a.hash[:], b.hash[:]))
	})
}

// rank is the path as bytes, whose order is that of seniority: each step is n u64be ‖ hash.
func (e *entry) rank() (b []byte) {
	for _, s := range e.path {
		b = append(binary.BigEndian.AppendUint64(b, s.n), s.hash[:]...)
	}
	return b
}

// before is compare, and of equals the first by hash: for lists. No verdict rests on it.
func (e *entry) before(o *entry) bool {
	return cmp.Or(e.compare(o), bytes.Compare(e.first.ID.Hash[:], o.first.ID.Hash[:])) < 0
}

func (e *entry) identity() keys.PublicKey { return e.first.cert.Identity }
func (e *entry) device() keys.PublicKey   { return e.first.Device }

// full reports whether the entry has a role, or a higher one, in its own right.
func (e *entry) full(r format.Role) bool { return e.role <= r && !e.limited() }

// A cut limits entries of its subject to what rec has seen.
type cut struct {
	rec     *Record
	by      *entry         // of its author; nil: senior to all
	role    format.Role    // of its author
	own     bool           // it reaches one identity alone
	of      keys.PublicKey // that
	subject keys.PublicKey
}

// applies reports whether the cut limits an entry.
func (s *State) applies(c *cut, e *entry) bool {
	if c.own && c.of != e.identity() {
		return false
	}
	return (c.by == nil || c.by.compare(e) < 0) && !s.lifted(e, c)
}

// cutsOf calls f for the cuts that limit an entry, until it returns true.
func (s *State) cutsOf(e *entry, f func(c *cut) bool) bool {
	check := func(all []*cut) bool {
		return slices.ContainsFunc(all, func(c *cut) bool { return s.applies(c, e) && f(c) })
	}
	id, d := e.identity(), e.device()
	return check(s.cuts[id]) || d != id && check(s.cuts[d])
}

// lifted reports whether the entry was granted by who had seen the cut and could.
func (s *State) lifted(e *entry, c *cut) bool {
	if e.by == nil || e.grant == c.rec {
		return e.grant == c.rec
	}
	named := e.grant.Payload.Subject == c.subject && e.grant.Payload.Op != format.OpInvite && !e.by.limited() && e.by.role <= c.role
	return named && s.g.saw(e.grant, c.rec) || e.by.identity() == e.identity() && s.lifted(e.by, c)
}

// alive reports whether nothing limits an entry.
func (s *State) alive(e *entry) bool {
	return len(e.ends) == 0 && !s.cutsOf(e, func(*cut) bool { return true })
}

// covers says whether an entry covers a control record of its log.
func (s *State) covers(e *entry, r *Record) verdict {
	switch {
	case e.first != r && !s.g.saw(r, e.first):
		return nobody
	case slices.ContainsFunc(e.ends, func(t *Record) bool { return !s.g.saw(t, r) }):
		return cutOff
	case e.regranted() && (s.g.saw(e.grant, r) || !s.g.saw(r, e.grant)):
		return before
	case s.cutsOf(e, func(c *cut) bool { return !s.g.saw(c.rec, r) }):
		return cutOff
	}
	return ok
}

// regranted reports whether the entry changes what its log could do before.
func (e *entry) regranted() bool {
	return e.grant.Payload.Op == format.OpRole || e.grant.Payload.Op == format.OpTransfer
}

// An agenda is a heap of entries, the most senior on top.
type agenda []*entry

func (h agenda) Len() int { return len(h) }
func (h agenda) Less(i, j int) bool {
	return cmp.Or(compareSteps(h[i].visit, h[j].visit), bytes.Compare(h[i].first.ID.Hash[:], h[j].first.ID.Hash[:])) < 0
}
func (h agenda) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *agenda) Push(x any)   { *h = append(*h, x.(*entry)) }
func (h *agenda) Pop() any {
	e := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return e
}
