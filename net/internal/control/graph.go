// Package control is who may do what in a thread: a graph of control records, and its
// fold. What it has to give is defined by internal/model and docs/design/authority.md.
//
//	Check    may a record be part of the graph at all? No replica keeps one that may not
//	Add      it is: the fold follows, or is made anew when somebody asks
//	State    members, invites, who waits, checkpoints, epochs, and what data counts
//
//	graph.go     the records, and which has seen which
//	device.go    records about devices, and by which a thread gets a new owner
//	claim.go     what an identity signed of a device: its own, or a delegated one
//	entry.go     why a log may do something: seniority, cuts, what an entry covers
//	state.go     the fold: entries, most senior first, and what their records do
//	right.go     what that says of data logs, and of the keys that seal them
//	cover.go     which records of one count
//	member.go    members, invites, refusals
//
// It keeps nothing and knows no time but what records say: package thread stores the
// records, and decides by its own clock what to take in.
package control

import (
	"cmp"
	"fmt"
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
	checked bool // check has passed it: what its ancestors are does not change

	// Read from the payload once, by read.
	cert *claim             // of what begins a device's log; nil if it is malformed
	adds *claim             // of a device record: of the device that it adds
	data *format.Descriptor // of what announces a data log; nil if it is malformed
	log  clock.LogID        // that data describes

	invite *Record // of a join: what lets it in; of a start: what adds its device

	// Set by add.
	at    int       // in the graph
	up    []*Record // the parents
	chain *chain
	pos   int     // in the chain, from 1
	root  *Record // that begins its log, on its branch
}

// NewRecord returns the record of a device that has the header h. Its parents are those
// that h names, and the record before it in its log.
func NewRecord(id clock.RecordID, device keys.PublicKey, h *format.Header, p *format.Control) *Record {
	c := &Record{ID: id, Time: h.Time, Device: device, Parents: slices.Clone(h.Control), Payload: p}
	if h.Seq > 1 && !slices.Contains(c.Parents, h.Prev) {
		c.Parents = append(c.Parents, h.Prev)
	}
	return c
}

// read decodes what the fold needs of the payload, however often that runs.
func (c *Record) read(thread format.ThreadID, g *format.Genesis) {
	switch op := c.Payload.Op; {
	case op == format.OpOpen:
		c.cert = firstClaim(g)
	case op == format.OpStart && c.invite != nil:
		c.cert = c.invite.adds
	case (op == format.OpJoin || op == format.OpRecover) && c.cert == nil:
		// Of a record that was kept: Check looks at one that comes.
		if cert, err := keys.DecodeKeptCertificate(c.Payload.Certificate); err == nil {
			c.cert = claimOf(cert)
		}
	case op == format.OpDevice && c.adds == nil:
		if cert, err := decodeClaim(c.Payload); err == nil {
			c.adds = cert
		}
	}
	if c.Payload.Data != nil && c.data == nil {
		if d, err := format.DecodeDescriptor(c.Payload.Data); err == nil {
			c.data, c.log = &d, format.LogIDOf(thread, c.Payload.Data)
		}
	}
}

// first reports whether the record begins its log.
func (c *Record) first() bool { return c.ID.Seq == 1 }

// identity returns whose a first record is. A revocation is its identity's own; ok is false
// if the disk altered it.
func (c *Record) identity() (id keys.PublicKey, ok bool) {
	switch {
	case c.Payload.Op == format.OpRevoke:
		return c.Device, true
	case c.cert != nil:
		return c.cert.Identity, true
	}
	return id, false
}

// of reports of a first record whether its device is an identity's.
func (c *Record) of(identity keys.PublicKey) bool {
	return c.cert != nil && c.cert.Identity == identity
}

// announces reports whether the record announces a data log of its own control log.
func (c *Record) announces() bool {
	if c.data == nil || c.data.Device != c.Device || c.data.Control != c.ID.Log {
		return false
	}
	return c.data.Kind == format.KindData || c.data.Kind == format.KindSnapshot && c.Payload.Op == format.OpLog
}

// A chain is records of one log that follow each other; a log has several if its device
// forked it. Of every record of the graph it says how many of the chain that has seen,
// which is found when it is asked for first.
type chain struct {
	last *Record
	seen []int32 // by record
}

// A Graph is the control records of a thread whose parents are all known,
// and their fold. It is not safe for concurrent use.
//
// Invariant: the graph is closed under parents, each record is later than its
// parents, and state is a function of the set of records: whatever came first, replicas
// that hold the same have the same members. No clock, no hash and no order of arrival
// plays a part in what a record may do, as their writers choose them.
type Graph struct {
	thread    format.ThreadID
	genesis   *format.Genesis
	records   []*Record // parents before children
	index     map[clock.Hash]*Record
	logs      map[clock.LogID][]*Record    // by control log, parents before children
	joins     map[clock.Hash][]*Record     // by the record of the invite
	firsts    map[clock.LogID][]*Record    // that begin a control log: one, unless its device forked it
	devices   map[keys.PublicKey][]*Record // first records, by device
	transfers map[clock.LogID][]*Record    // by control log
	added     map[keys.PublicKey][]*Record // device records, by the device that they add
	starts    map[clock.Hash][]*Record     // by the record that adds the device
	recovers  []*Record
	revokes   []*Record
	invites   map[keys.PublicKey][]*Record // the records that make one, by its key
	announced map[clock.LogID]*Record      // the first record that announces a data log
	views     map[clock.LogID][]viewed     // by data log: the heads that records name
	heads     map[clock.Hash]bool
	lowest    []clock.Hash // of the heads, sorted; nil: to be found again
	folded    *State       // nil: to be folded again
	cuts      int          // checkpoints among the records, in force or not
	carriers  []*Record    // of a new key
	listing   []*Record    // what may let in who waited, since Revived was asked
}

// viewed is a head of a data log that a record names.
type viewed struct {
	by   *Record
	head clock.RecordID
}

// New returns the graph of a thread of which no record is known.
func New(thread format.ThreadID, g *format.Genesis) *Graph {
	c := &Graph{
		thread: thread, genesis: g, index: map[clock.Hash]*Record{}, logs: map[clock.LogID][]*Record{},
		joins: map[clock.Hash][]*Record{}, firsts: map[clock.LogID][]*Record{}, devices: map[keys.PublicKey][]*Record{}, transfers: map[clock.LogID][]*Record{},
		added: map[keys.PublicKey][]*Record{}, starts: map[clock.Hash][]*Record{},
		invites: map[keys.PublicKey][]*Record{}, announced: map[clock.LogID]*Record{}, views: map[clock.LogID][]viewed{},
		heads: map[clock.Hash]bool{},
	}
	c.folded = newState(c)
	return c
}

// State returns the fold of the records.
func (g *Graph) State() *State {
	if g.folded == nil {
		g.folded = newState(g)
		g.folded.fold()
	}
	return g.folded
}

// Has reports whether a record is in the graph.
func (g *Graph) Has(h clock.Hash) bool { return g.index[h] != nil }

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
func (g *Graph) Knows(log clock.LogID) bool { return len(g.logs[log]) > 0 }

// saw reports whether r has seen q: q is r, or can be reached from it by parents.
func (g *Graph) saw(r, q *Record) bool {
	if r.root == q {
		return true // most questions are these, and need no chain
	}
	c := q.chain
	for i := len(c.seen); i < len(g.records); i++ {
		x := g.records[i]
		n := int32(0)
		for _, p := range x.up {
			n = max(n, c.seen[p.at])
		}
		if x.chain == c {
			n = int32(x.pos)
		}
		c.seen = append(c.seen, n)
	}
	return int(c.seen[r.at]) >= q.pos
}

// Reaches reports whether who names heads has seen q.
func (g *Graph) Reaches(heads []clock.Hash, q *Record) bool {
	return slices.ContainsFunc(heads, func(h clock.Hash) bool {
		r := g.index[h]
		return r != nil && g.saw(r, q)
	})
}

// Check says whether c may be part of the graph at all; its parents are. What it
// refuses no replica ever keeps. What it passes may still have no effect.
func (g *Graph) Check(c *Record) error {
	if c.checked {
		return nil
	}
	err := g.fits(c)
	if err == nil {
		switch c.Payload.Op {
		case format.OpInvite:
			err = c.Payload.Key.Check() // joins are signed with it
		case format.OpJoin:
			err = g.checkJoin(c)
		case format.OpDevice:
			err = c.checkDevice()
		case format.OpRecover:
			err = g.checkRecover(c)
		}
	}
	c.checked = err == nil
	return err
}

// fits is check without signatures: a record that was kept has had them checked.
func (g *Graph) fits(c *Record) error {
	for _, p := range c.Parents {
		if c.Time <= g.index[p].Time {
			return fault.Of(ErrClock, "control record is not later than its parents")
		}
	}
	if !c.first() {
		if !g.Knows(c.ID.Log) {
			return fault.Of(ErrNotMember, "the log does not begin with what lets a device in")
		}
		if g.logs[c.ID.Log][0].Payload.Op == format.OpRevoke {
			return fault.Of(ErrNotMember, "a revocation is alone in its log")
		}
		if c.Payload.Op.First() {
			return fault.Of(format.ErrMalformed, "%s is not the first of its log", c.Payload.Op)
		}
		switch c.Payload.Op {
		case format.OpCheckpoint:
			return g.checkCheckpoint(c)
		case format.OpVouch:
			return g.checkVouch(c)
		}
		return nil
	}
	switch c.Payload.Op {
	case format.OpOpen:
		if c.Device != g.genesis.Device() {
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
		c.invite = g.index[c.Payload.Invite]
		if c.invite.Payload.Op != format.OpInvite {
			return fault.Of(ErrNotMember, "join by what is no invite")
		}
		return nil
	case format.OpStart:
		return g.fitsStart(c)
	case format.OpRecover:
		return g.fitsRecover(c)
	case format.OpRevoke:
		return g.fitsRevoke(c)
	}
	return fault.Of(ErrNotMember, "the log begins with %s", c.Payload.Op)
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
	c.cert = claimOf(cert)
	return nil
}

// ancestors returns the records from the given ones down.
func (g *Graph) ancestors(from []clock.Hash) (all []*Record) {
	seen := map[*Record]bool{}
	visit := func(rs ...*Record) {
		for _, r := range rs {
			if !seen[r] {
				seen[r] = true
				all = append(all, r)
			}
		}
	}
	for _, h := range from {
		visit(g.index[h])
	}
	for n := 0; n < len(all); n++ {
		visit(all[n].up...)
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
	if c.Payload.Op == format.OpStart {
		c.invite = g.index[c.Payload.Added]
	}
	c.read(g.thread, g.genesis)
	again := c.first() && g.Knows(c.ID.Log)
	g.place(c)
	switch p := c.Payload; p.Op {
	case format.OpInvite:
		g.invites[p.Key] = append(g.invites[p.Key], c)
	case format.OpJoin:
		c.invite = g.index[p.Invite]
		g.joins[p.Invite] = append(g.joins[p.Invite], c)
	case format.OpCheckpoint:
		g.cuts++
	case format.OpTransfer:
		g.transfers[c.ID.Log] = append(g.transfers[c.ID.Log], c)
	case format.OpDevice:
		g.added[p.Subject] = append(g.added[p.Subject], c)
	case format.OpStart:
		g.starts[p.Added] = append(g.starts[p.Added], c)
	case format.OpRecover:
		g.recovers = append(g.recovers, c)
	case format.OpRevoke:
		g.revokes = append(g.revokes, c)
	}
	if c.first() {
		g.firsts[c.ID.Log] = append(g.firsts[c.ID.Log], c)
		if c.Payload.Op != format.OpRevoke {
			g.devices[c.Device] = append(g.devices[c.Device], c)
		}
	}
	if c.announces() && g.announced[c.log] == nil {
		g.announced[c.log] = c
	}
	if c.Payload.Epoch != nil {
		g.carriers = append(g.carriers, c)
	}
	for _, h := range c.names() {
		g.views[h.Log] = append(g.views[h.Log], viewed{c, h})
	}
	if g.folded != nil && (again || !g.folded.apply(c)) {
		g.folded = nil
	}
	switch c.Payload.Op {
	case format.OpClose, format.OpAdmit, format.OpRemove, format.OpRole, format.OpTransfer:
		g.listing = append(g.listing, c)
	case format.OpDevice:
		if c.Payload.Delegated { // again, perhaps, after its time was over
			g.listing = append(g.listing, c)
		}
	}
}

// place links c to its parents, its chain and the heads.
func (g *Graph) place(c *Record) {
	c.at, c.chain, c.root = len(g.records), nil, nil
	c.up = make([]*Record, len(c.Parents))
	for i, p := range c.Parents {
		q := g.index[p]
		c.up[i] = q
		delete(g.heads, p)
		if q.ID.Log == c.ID.Log && q.ID.Seq == c.ID.Seq-1 {
			if c.root = q.root; q.chain.last == q {
				c.chain, c.pos = q.chain, q.pos+1
			}
		}
	}
	if c.root == nil {
		c.root = c
	}
	if c.chain == nil {
		c.chain, c.pos = &chain{}, 1
	}
	c.chain.last = c
	g.index[c.ID.Hash] = c
	g.records = append(g.records, c)
	g.logs[c.ID.Log] = append(g.logs[c.ID.Log], c)
	g.heads[c.ID.Hash] = true
	g.lowest = nil
}

// names returns the heads of data logs that the record names.
func (c *Record) names() []clock.RecordID {
	if c.Payload.Op == format.OpCheckpoint {
		return c.Payload.Checkpoint.Heads
	}
	return c.Payload.View
}

// AddAll adds records that were part of the graph before, in whatever order they come:
// each as soon as its parents are there.
func (g *Graph) AddAll(cs []*Record) error {
	lacking := map[clock.Hash][]*Record{} // by a parent that is not there
	left := len(cs)
	if left > 1 {
		g.folded = nil // once, at the end
	}
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

// Named returns the heads that a new record names: at most MaxControlHeads, sorted. They are
// those of the records with effect: what devices write that may do nothing neither takes
// room among them, nor hides what it names. Of too many, joins come last.
func (g *Graph) Named() []clock.Hash {
	if g.lowest == nil {
		heads := g.effective()
		slices.SortFunc(heads, func(a, b *Record) int {
			return cmp.Or(cmp.Compare(joinsLast(a), joinsLast(b)), format.CompareHashes(a.ID.Hash, b.ID.Hash))
		})
		g.lowest = []clock.Hash{}
		for _, r := range heads[:min(len(heads), format.MaxControlHeads)] {
			g.lowest = append(g.lowest, r.ID.Hash)
		}
		slices.SortFunc(g.lowest, format.CompareHashes)
	}
	return slices.Clone(g.lowest)
}

func joinsLast(r *Record) int {
	if r.Payload.Op == format.OpJoin {
		return 1
	}
	return 0
}

// effective returns the records with effect that no other record with effect has seen.
func (g *Graph) effective() (heads []*Record) {
	s := g.State()
	visited := map[*Record]bool{}
	var below, left []*Record // with effect, and without, found below heads without
	for h := range g.heads {
		if r := g.index[h]; s.verdict(r) == ok {
			heads = append(heads, r)
		} else {
			left = append(left, r)
		}
	}
	for len(left) > 0 {
		r := left[len(left)-1]
		left = left[:len(left)-1]
		for _, p := range r.up {
			switch {
			case visited[p]:
			case s.verdict(p) == ok:
				below = append(below, p)
			default:
				left = append(left, p)
			}
			visited[p] = true
		}
	}
	tops := heads
	for _, r := range below {
		seen := func(o *Record) bool { return o != r && g.saw(o, r) }
		if !slices.ContainsFunc(heads, seen) && !slices.ContainsFunc(below, seen) {
			tops = append(tops, r)
		}
	}
	return tops
}

// NamedInJoin is named for a join, which names the record of its invite too: heads that
// somebody else made, however many, must not leave it out.
func (g *Graph) NamedInJoin(invite clock.Hash) []clock.Hash { return With(g.Named(), invite) }

// NamedWith is named for a record that gives rights, or takes them: it has to reach the first
// records that it lists, and what its subject's control logs said last. What it reaches
// through others is not named.
func (g *Graph) NamedWith(p *format.Control) []clock.Hash {
	must := slices.Clone(p.Joins)
	if p.Op == format.OpRemove {
		must = nil // its joins stand whether it has seen them or not
	}
	s := g.State()
	for log, records := range g.logs {
		if !slices.ContainsFunc(g.firsts[log], func(f *Record) bool { return f.of(p.Subject) || f.cert != nil && f.Device == p.Subject }) {
			continue
		}
		for _, r := range slices.Backward(records) {
			if s.verdict(r) == ok && s.Live(log) {
				must = append(must, r.ID.Hash)
				break
			}
		}
	}
	for _, r := range g.added[p.Subject] {
		if s.verdict(r) == ok {
			must = append(must, r.ID.Hash)
		}
	}
	slices.SortFunc(must, format.CompareHashes)
	named := g.Named()
	var heads []clock.Hash
	for _, h := range must {
		if r := g.index[h]; r != nil && !g.Reaches(named, r) && !g.Reaches(heads, r) && len(heads) < format.MaxControlHeads {
			heads = With(heads, h)
		}
	}
	for _, h := range named {
		if len(heads) < format.MaxControlHeads && !slices.Contains(heads, h) {
			heads = With(heads, h)
		}
	}
	return heads
}

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
func (g *Graph) Time(h clock.Hash) clock.Time { return g.index[h].Time }

// InvitesOf returns the records that make invites with a key; usually one.
func (g *Graph) InvitesOf(key keys.PublicKey) []*Record { return g.invites[key] }

// Checkpoints returns how many checkpoints are among the records, in force or not.
func (g *Graph) Checkpoints() int { return g.cuts }

// Revived reports whether somebody stands who had waited, or a delegated device may go on, by
// the records that were added since it was asked before.
func (g *Graph) Revived() bool {
	listing := g.listing
	g.listing = nil
	return slices.ContainsFunc(listing, func(c *Record) bool {
		s := g.State()
		return s.verdict(c) == ok && (c.Payload.Delegated || slices.ContainsFunc(c.Payload.Joins, func(j clock.Hash) bool {
			r := g.index[j]
			return r != nil && r.at < c.at && s.Live(r.ID.Log)
		}))
	})
}

// Announcement returns the first record that announces a data log, nil if none does.
func (g *Graph) Announcement(log clock.LogID) *Record { return g.announced[log] }
