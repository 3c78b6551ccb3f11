// Package control is who may do what in a thread: a graph of control records, and its
// fold.
//
//	Check    may a record be part of the graph at all? No replica keeps one that may not
//	Add      it is: the fold follows, or is made anew when somebody asks
//	State    members, invites, announced data logs, who waits, checkpoints
//
// It keeps nothing and knows no time but what records say: package thread stores the
// records, and decides by its own clock what to take in.
package control

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A Record is a record of a control log, opened.
type Record struct {
	ID      clock.RecordID
	Time    clock.Time
	Device  keys.PublicKey
	Parents []clock.Hash // named ones and the previous of its log
	Payload *format.Control
	rank    int  // of its log: 0 for the owner's, one more for each grant
	checked bool // check has passed it: what its ancestors are does not change

	// Read from the payload once, by read.
	cert *keys.Certificate  // of an open or a join; nil if it is malformed
	data *format.Descriptor // of a join, or of a log; nil if it is malformed
	log  clock.LogID        // that data describes

	invite *Record // of a join: what lets it in
}

// read decodes what the fold needs of the payload, however often that runs.
func (c *Record) read(thread format.ThreadID, g *format.Genesis) {
	if c.Payload.Op == format.OpOpen {
		c.cert = g.Certificate
	}
	if c.Payload.Op == format.OpJoin && c.cert == nil {
		if cert, err := keys.DecodeCertificate(c.Payload.Certificate); err == nil {
			c.cert = cert
		}
	}
	if c.Payload.Data != nil && c.data == nil {
		if d, err := format.DecodeDescriptor(c.Payload.Data); err == nil {
			c.data, c.log = &d, format.LogIDOf(thread, c.Payload.Data)
		}
	}
}

// Certificate returns that of a join which [Graph.Check] has passed.
func (c *Record) Certificate() *keys.Certificate { return c.cert }

// before is the order in which concurrent records are listed: the senior by grant chain
// first, equals by hash, never by clock. No verdict rests on it.
func (c *Record) before(o *Record) int {
	if d := cmp.Compare(c.rank, o.rank); d != 0 {
		return d
	}
	return bytes.Compare(c.ID.Hash[:], o.ID.Hash[:])
}

// A Graph is the control records of a thread whose parents are all known,
// and their fold. It is not safe for concurrent use.
//
// Invariant: the graph is closed under parents, each record is later than its
// parents, and state is a function of the set of records: whatever came first, replicas
// that hold the same have the same members and void the same logs. What a record may do
// rests on records of lower rank only, which is the length of the chain of grants:
//
//	o1 open ── o2 invite ─┬─ o3 close [j1]   of the owner, rank 0
//	                      ├─ j1 join         of who was invited, rank 1
//	                      └─ j2 join         rank 1
//	o3 closes the invite and lists j1: j1 stands, j2 waits for an admit, whatever
//	the clocks and hashes of j1 and j2 are, and whichever has seen which
//
// No clock, no hash and no order of arrival plays a part, as their writers choose them.
type Graph struct {
	thread    format.ThreadID
	genesis   *format.Genesis
	records   []*Record // parents before children
	index     map[clock.Hash]int
	heads     map[clock.Hash]bool
	lowest    []clock.Hash // of the heads, sorted; nil: to be found again
	ranks     map[clock.LogID]int
	invites   map[keys.PublicKey][]*Record // the records that make one, by its key
	folded    *State                       // nil: to be folded again
	cuts      int                          // checkpoints among the records, in force or not
	closes    map[clock.Hash]bool          // invites that a record closes, in force or not
	announced map[clock.LogID]*Record      // the first record that announces a data log
	listing   []*Record                    // admits and later closes since Revived was asked
}

// New returns the graph of a thread of which no record is known.
func New(thread format.ThreadID, g *format.Genesis) *Graph {
	return &Graph{
		thread: thread, genesis: g, index: map[clock.Hash]int{}, heads: map[clock.Hash]bool{}, ranks: map[clock.LogID]int{},
		invites: map[keys.PublicKey][]*Record{}, closes: map[clock.Hash]bool{}, announced: map[clock.LogID]*Record{}, folded: newState(),
	}
}

// State returns the fold of the records.
func (g *Graph) State() *State {
	if g.folded == nil {
		g.folded = newState()
		g.folded.rank(g.records)
		for _, i := range g.order() {
			g.folded.apply(g.records[i])
		}
	}
	return g.folded
}

// Has reports whether a record is in the graph.
func (g *Graph) Has(h clock.Hash) bool { _, ok := g.index[h]; return ok }

// Lacks returns a parent of c that is not in the graph, if there is one.
func (g *Graph) Lacks(c *Record) (clock.Hash, bool) {
	for _, p := range c.Parents {
		if !g.Has(p) {
			return p, true
		}
	}
	return clock.Hash{}, false
}

// Knows reports whether the control log begins with a record that was accepted.
func (g *Graph) Knows(log clock.LogID) bool { _, ok := g.ranks[log]; return ok }

// Check says whether c may be part of the graph at all; its parents are. What it
// refuses no replica ever keeps. What it passes may still have no effect.
func (g *Graph) Check(c *Record) error {
	if c.checked {
		return nil
	}
	err := g.fits(c)
	if err == nil && c.Payload.Op == format.OpInvite {
		err = c.Payload.Key.Check() // joins are signed with it
	}
	if err == nil && c.Payload.Op == format.OpJoin {
		err = g.checkJoin(c)
	}
	c.checked = err == nil
	return err
}

// fits is check without signatures: a record that was kept has had them checked.
func (g *Graph) fits(c *Record) error {
	for _, p := range c.Parents {
		if c.Time <= g.records[g.index[p]].Time {
			return fault.Of(ErrClock, "control record is not later than its parents")
		}
	}
	if c.ID.Seq > 1 {
		if !g.Knows(c.ID.Log) {
			return fault.Of(ErrNotMember, "the log does not begin with open or join")
		}
		c.rank = g.rankBefore(c)
		if c.Payload.Op == format.OpOpen || c.Payload.Op == format.OpJoin {
			return fault.Of(format.ErrMalformed, "%s is not the first of its log", c.Payload.Op)
		}
		if c.Payload.Op == format.OpCheckpoint {
			return g.checkCheckpoint(c)
		}
		return nil
	}
	switch c.Payload.Op {
	case format.OpOpen:
		if c.Device != g.genesis.Certificate.Sign {
			return fault.Of(ErrNotMember, "open by another device than the genesis names")
		}
		if c.Time <= g.genesis.Time {
			return fault.Of(ErrClock, "open is not later than the genesis")
		}
		return nil
	case format.OpJoin:
		if !slices.Contains(c.Parents, c.Payload.Invite) {
			return fault.Of(ErrNotMember, "join by an invite that is none of its parents")
		}
		c.invite = g.records[g.index[c.Payload.Invite]]
		if c.invite.Payload.Op != format.OpInvite {
			return fault.Of(ErrNotMember, "join by what is no invite")
		}
		c.rank = c.invite.rank + 1
		return nil
	}
	return fault.Of(ErrNotMember, "the log begins with %s", c.Payload.Op)
}

// rankBefore returns the rank of the record that c follows in its log: a log with two
// first records has two ranks, whichever came first.
func (g *Graph) rankBefore(c *Record) int {
	for _, p := range c.Parents {
		if r := g.records[g.index[p]]; r.ID.Log == c.ID.Log && r.ID.Seq == c.ID.Seq-1 {
			return r.rank
		}
	}
	return g.ranks[c.ID.Log]
}

// checkJoin verifies that whoever holds the invite's secret let this device in.
// Whether the invite still held is a question for the fold.
func (g *Graph) checkJoin(c *Record) error {
	cert, err := keys.DecodeCertificate(c.Payload.Certificate)
	if err != nil {
		return fault.Of(format.ErrMalformed, "join: %w", err)
	}
	if err := cert.VerifySignature(); err != nil || cert.Sign != c.Device {
		return fault.Of(ErrNotMember, "join: the certificate is not for the log's device")
	}
	if !keys.Verify(c.invite.Payload.Key, format.DomainJoin, c.Payload.Signature, g.thread[:], c.ID.Log[:], c.Payload.Certificate, c.Payload.Data) {
		return fault.Of(ErrNotMember, "join is not signed with the invite's secret")
	}
	c.cert = cert
	return nil
}

// ancestors returns the records from the given ones down.
func (g *Graph) ancestors(from []clock.Hash) (all []int) {
	seen := map[int]bool{}
	visit := func(hs []clock.Hash) {
		for _, h := range hs {
			if i := g.index[h]; !seen[i] {
				seen[i] = true
				all = append(all, i)
			}
		}
	}
	visit(from)
	for n := 0; n < len(all); n++ {
		visit(g.records[all[n]].Parents)
	}
	return all
}

// Add takes c, which check has passed, into the graph. A record that decides nothing of
// others is applied on top; any other has the graph folded again when the state is asked
// for next, so once for many.
func (g *Graph) Add(c *Record) {
	if g.Has(c.ID.Hash) {
		return
	}
	c.read(g.thread, g.genesis)
	decides := g.decides(c)
	_, again := g.ranks[c.ID.Log]
	seen := 0
	for _, p := range c.Parents {
		if g.heads[p] {
			seen++
		}
	}
	last := seen == len(g.heads)
	g.index[c.ID.Hash] = len(g.records)
	if c.Payload.Op == format.OpInvite {
		g.invites[c.Payload.Key] = append(g.invites[c.Payload.Key], c)
	}
	if c.Payload.Op == format.OpCheckpoint {
		g.cuts++
	}
	g.records = append(g.records, c)
	if c.data != nil && g.announced[c.log] == nil {
		g.announced[c.log] = c
	}
	if c.ID.Seq == 1 && !again {
		g.ranks[c.ID.Log] = c.rank
	}
	for _, p := range c.Parents {
		delete(g.heads, p)
	}
	g.heads[c.ID.Hash] = true
	g.lowest = nil
	ordered := c.Payload.Op == format.OpOpen || c.Payload.Op == format.OpCheckpoint // their lists are
	s := g.folded
	switch {
	case s == nil:
	case decides || ordered && !last || c.ID.Seq == 1 && again:
		g.folded = nil
	default:
		twofold := len(s.twofold)
		if s.apply(c); len(s.twofold) != twofold || c.data != nil && s.twofold[c.log] {
			g.folded = nil // which of the announcements is listed as refused depends on their order
		}
	}
}

// decides reports whether a record may be an owner's close or admit, after which others
// stand that did not, or the other way round.
func (g *Graph) decides(c *Record) bool {
	if c.Payload.Op != format.OpClose && c.Payload.Op != format.OpAdmit {
		return false
	}
	again := c.Payload.Op == format.OpAdmit || g.closes[c.Payload.Invite]
	if c.Payload.Op == format.OpClose {
		g.closes[c.Payload.Invite] = true
	}
	if again && len(c.Payload.Joins) > 0 { // who stands by a first close had not waited
		g.listing = append(g.listing, c)
	}
	return g.folded == nil || g.folded.owns(c.ID.Log)
}

// AddAll adds records that were part of the graph before, in whatever order they come:
// each as soon as its parents are there.
func (g *Graph) AddAll(cs []*Record) error {
	lacking := map[clock.Hash][]*Record{} // by a parent that is not there
	left := len(cs)
	for len(cs) > 0 {
		c := cs[len(cs)-1]
		cs = cs[:len(cs)-1]
		if p, lacks := g.Lacks(c); lacks {
			lacking[p] = append(lacking[p], c)
			continue
		}
		if err := g.fits(c); err != nil {
			return fmt.Errorf("stored control record %s: %w", c.ID, err)
		}
		g.Add(c)
		left--
		cs = append(cs, lacking[c.ID.Hash]...)
		delete(lacking, c.ID.Hash)
	}
	if left > 0 {
		return fault.Of(format.ErrMalformed, "%d control records without their parents", left)
	}
	g.listing = nil // it was asked when they came
	return nil
}

// order returns the records in the order of the fold: the first by seniority and hash
// as early as its ancestors allow, then the second, and so on. That is found from the
// end: of the records that no other has seen, the last by seniority and hash is last.
func (g *Graph) order() []int {
	children := make([]int, len(g.records))
	for _, c := range g.records {
		for _, p := range c.Parents {
			children[g.index[p]]++
		}
	}
	open := &byRank{g: g}
	for i, n := range children {
		if n == 0 {
			open.at = append(open.at, i)
		}
	}
	heap.Init(open)
	order := make([]int, len(g.records))
	for n := len(order) - 1; n >= 0; n-- {
		i := heap.Pop(open).(int)
		order[n] = i
		for _, p := range g.records[i].Parents {
			at := g.index[p]
			if children[at]--; children[at] == 0 {
				heap.Push(open, at)
			}
		}
	}
	return order
}

// byRank is a heap of records, the last by seniority and hash on top.
type byRank struct {
	g  *Graph
	at []int
}

func (h *byRank) Len() int           { return len(h.at) }
func (h *byRank) Less(i, j int) bool { return h.g.records[h.at[i]].before(h.g.records[h.at[j]]) > 0 }
func (h *byRank) Swap(i, j int)      { h.at[i], h.at[j] = h.at[j], h.at[i] }
func (h *byRank) Push(x any)         { h.at = append(h.at, x.(int)) }
func (h *byRank) Pop() any {
	i := h.at[len(h.at)-1]
	h.at = h.at[:len(h.at)-1]
	return i
}

// Named returns the heads that a new record names: at most MaxControlHeads, sorted.
func (g *Graph) Named() []clock.Hash {
	if g.lowest == nil {
		hs := slices.SortedFunc(maps.Keys(g.heads), format.CompareHashes)
		s := g.State()
		hs = slices.DeleteFunc(hs, func(h clock.Hash) bool { return s.Standing[g.records[g.index[h]].ID.Log] == nil })
		g.lowest = hs[:min(len(hs), format.MaxControlHeads)]
	}
	return slices.Clone(g.lowest)
}

// NamedInJoin is named for a join, which names the record of its invite too: heads that
// somebody else made, however many, must not leave it out.
func (g *Graph) NamedInJoin(invite clock.Hash) []clock.Hash { return With(g.Named(), invite) }

// With returns heads with h among them, sorted, at most MaxControlHeads. It may change heads.
func With(heads []clock.Hash, h clock.Hash) []clock.Hash {
	if slices.Contains(heads, h) {
		return heads
	}
	heads = append(heads[:min(len(heads), format.MaxControlHeads-1)], h)
	slices.SortFunc(heads, format.CompareHashes)
	return heads
}

// Len returns how many records the graph has.
func (g *Graph) Len() int { return len(g.records) }

// Time returns the time of a record that the graph has.
func (g *Graph) Time(h clock.Hash) clock.Time { return g.records[g.index[h]].Time }

// Rank returns the rank of a control log that the graph knows.
func (g *Graph) Rank(log clock.LogID) int { return g.ranks[log] }

// InvitesOf returns the records that make invites with a key; usually one.
func (g *Graph) InvitesOf(key keys.PublicKey) []*Record { return g.invites[key] }

// Checkpoints returns how many checkpoints are among the records, in force or not.
func (g *Graph) Checkpoints() int { return g.cuts }

// Revived reports whether somebody stands who had waited, by the records that were added
// since it was asked before.
func (g *Graph) Revived() bool {
	listing := g.listing
	g.listing = nil
	return slices.ContainsFunc(listing, func(c *Record) bool {
		s := g.State()
		return s.owns(c.ID.Log) && slices.ContainsFunc(c.Payload.Joins, func(j clock.Hash) bool {
			i, held := g.index[j]
			return held && i < g.index[c.ID.Hash] && s.Standing[g.records[i].ID.Log] != nil
		})
	})
}

// Announcement returns the first record that announces a data log, nil if none does.
func (g *Graph) Announcement(log clock.LogID) *Record { return g.announced[log] }

// IsHead reports whether no record of the graph names a record that is part of it.
func (g *Graph) IsHead(h clock.Hash) bool { return g.heads[h] }
