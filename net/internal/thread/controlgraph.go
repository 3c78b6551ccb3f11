package thread

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A controlRecord is a record of a control log, opened.
type controlRecord struct {
	id      clock.RecordID
	time    clock.Time
	device  keys.PublicKey
	parents []clock.Hash // named ones and the previous of its log
	payload *format.Control
	rank    int // of its log: 0 for the owner's, one more for each grant
}

// before is the order among concurrent records: the senior by grant chain first,
// equals by hash, never by clock.
func (c *controlRecord) before(o *controlRecord) int {
	if d := cmp.Compare(c.rank, o.rank); d != 0 {
		return d
	}
	return bytes.Compare(c.id.Hash[:], o.id.Hash[:])
}

// A controlGraph is the control records of a thread whose parents are all known,
// and their fold. It is not safe for concurrent use.
//
// Invariant: the graph is closed under parents, each record is later than its
// parents, and state is the fold of the records in the order that order gives. That
// is a function of the set of records: whatever came first, replicas that hold the
// same have the same members and void the same logs.
//
//	o1 open ── o2 invite ─┬─ o3 revoke     of the owner, rank 0
//	                      └─ j1 join       of who was invited, rank 1
//	order o1 o2 o3 j1     of concurrent ones the senior is first: the join is void
//	o4, which has seen j1 its ancestors o1 o2 o3 j1 keep their order, then o4
//
// No clock and no order of arrival plays a part, as their writers choose them.
type controlGraph struct {
	thread  format.ThreadID
	genesis *format.Genesis
	records []*controlRecord // parents before children
	index   map[clock.Hash]int
	heads   []clock.Hash // sorted
	ranks   map[clock.LogID]int
	state   *controlState
}

// newControlGraph returns the graph of a thread of which no record is known.
func newControlGraph(thread format.ThreadID, g *format.Genesis) *controlGraph {
	return &controlGraph{
		thread: thread, genesis: g, index: map[clock.Hash]int{}, ranks: map[clock.LogID]int{},
		state: newControlState(),
	}
}

// has reports whether a record is in the graph.
func (g *controlGraph) has(h clock.Hash) bool { _, ok := g.index[h]; return ok }

// lacks returns a parent of c that is not in the graph, if there is one.
func (g *controlGraph) lacks(c *controlRecord) (clock.Hash, bool) {
	for _, p := range c.parents {
		if !g.has(p) {
			return p, true
		}
	}
	return clock.Hash{}, false
}

// knows reports whether the control log begins with a record that was accepted.
func (g *controlGraph) knows(log clock.LogID) bool { _, ok := g.ranks[log]; return ok }

// check judges whether c may be part of the graph at all; its parents are. What it
// refuses no replica ever keeps. What it passes may still have no effect.
func (g *controlGraph) check(c *controlRecord) error {
	for _, p := range c.parents {
		if c.time <= g.records[g.index[p]].time {
			return fault.Of(ErrClock, "control record is not later than its parents")
		}
	}
	if c.id.Seq > 1 {
		if !g.knows(c.id.Log) {
			return fault.Of(ErrNotMember, "the log does not begin with open or join")
		}
		c.rank = g.ranks[c.id.Log]
		if c.payload.Op == format.OpOpen || c.payload.Op == format.OpJoin {
			return fault.Of(format.ErrMalformed, "%s is not the first of its log", c.payload.Op)
		}
		if c.payload.Op == format.OpCheckpoint {
			return g.checkCheckpoint(c)
		}
		return nil
	}
	switch c.payload.Op {
	case format.OpOpen:
		if c.device != g.genesis.Certificate.Sign {
			return fault.Of(ErrNotMember, "open by another device than the genesis names")
		}
		if c.time <= g.genesis.Time {
			return fault.Of(ErrClock, "open is not later than the genesis")
		}
		return nil
	case format.OpJoin:
		return g.checkJoin(c)
	}
	return fault.Of(ErrNotMember, "the log begins with %s", c.payload.Op)
}

// checkJoin verifies that whoever holds the invite's secret let this device in.
// Whether the invite still held is a question for the fold.
func (g *controlGraph) checkJoin(c *controlRecord) error {
	rank, ok := g.inviterRank(c)
	if !ok {
		return fault.Of(ErrNotMember, "join by an invite that its parents do not know")
	}
	cert, err := keys.DecodeCertificate(c.payload.Certificate)
	if err != nil {
		return fault.Of(format.ErrMalformed, "join: %w", err)
	}
	if err := cert.VerifySignature(); err != nil || cert.Sign != c.device {
		return fault.Of(ErrNotMember, "join: the certificate is not for the log's device")
	}
	if !keys.Verify(c.payload.Key, format.DomainJoin, c.payload.Signature, g.thread[:], c.id.Log[:], c.payload.Certificate) {
		return fault.Of(ErrNotMember, "join is not signed with the invite's secret")
	}
	c.rank = rank + 1
	return nil
}

// inviterRank returns the rank of the most senior ancestor that made the invite.
func (g *controlGraph) inviterRank(c *controlRecord) (rank int, ok bool) {
	for _, i := range g.ancestors(c.parents, nil) {
		r := g.records[i]
		if r.payload.Op == format.OpInvite && r.payload.Key == c.payload.Key && (!ok || r.rank < rank) {
			rank, ok = r.rank, true
		}
	}
	return rank, ok
}

// ancestors returns the records from the given ones down that are not in skip.
func (g *controlGraph) ancestors(from []clock.Hash, skip []bool) []int {
	seen := make([]bool, len(g.records))
	var all []int
	visit := func(h clock.Hash) {
		if i := g.index[h]; !seen[i] && (skip == nil || !skip[i]) {
			seen[i] = true
			all = append(all, i)
		}
	}
	for _, h := range from {
		visit(h)
	}
	for n := 0; n < len(all); n++ {
		for _, h := range g.records[all[n]].parents {
			visit(h)
		}
	}
	return all
}

// add takes c, which check has passed, into the graph and folds it. A record that
// has seen all others comes last in the order and is applied on top; any other
// folds the graph again.
func (g *controlGraph) add(c *controlRecord) {
	if g.has(c.id.Hash) {
		return
	}
	last := !slices.ContainsFunc(g.heads, func(h clock.Hash) bool { return !slices.Contains(c.parents, h) })
	g.index[c.id.Hash] = len(g.records)
	g.records = append(g.records, c)
	if c.id.Seq == 1 {
		g.ranks[c.id.Log] = c.rank
	}
	g.heads = slices.DeleteFunc(g.heads, func(h clock.Hash) bool { return slices.Contains(c.parents, h) })
	at, _ := slices.BinarySearchFunc(g.heads, c.id.Hash, format.CompareHashes)
	g.heads = slices.Insert(g.heads, at, c.id.Hash)
	if last {
		g.state.apply(g, c)
		return
	}
	g.state = newControlState()
	for _, i := range g.order() {
		g.state.apply(g, g.records[i])
	}
}

// order returns the records in the order of the fold: by seniority and hash, each
// after its ancestors, which come in the same order among themselves.
func (g *controlGraph) order() []int {
	done := make([]bool, len(g.records))
	order := make([]int, 0, len(g.records))
	byRank := func(a, b int) int { return g.records[a].before(g.records[b]) }
	var emit func(set []int)
	emit = func(set []int) {
		slices.SortFunc(set, byRank)
		for _, i := range set {
			if done[i] {
				continue
			}
			emit(g.ancestors(g.records[i].parents, done))
			done[i] = true
			order = append(order, i)
		}
	}
	all := make([]int, len(g.records))
	for i := range all {
		all[i] = i
	}
	emit(all)
	return order
}

// named returns the heads that a new record names: at most maxControlHeads, sorted.
func (g *controlGraph) named() []clock.Hash {
	return slices.Clone(g.heads[:min(len(g.heads), format.MaxControlHeads)])
}
