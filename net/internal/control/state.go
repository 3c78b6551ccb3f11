package control

import (
	"container/heap"
	"crypto/sha256"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A verdict is what becomes of a record.
type verdict uint8

const (
	nobody    verdict = iota // no entry for its log
	ok                       // it has effect
	cutOff                   // an entry, but a cut has not seen it
	before                   // or a role change has
	notInRole                // it is not in the table
	waiting                  // a join: the invite is closed, and nothing lists it
	badTime                  // a checkpoint
	frozen                   // the recovery key was used twice, and neither has seen it
)

// opened is the step of the open in the paths of entries; recoveries come before it.
const opened = 1 << 40

// A State is the fold of the control records of a thread.
//
// It takes entries from an agenda, the most senior first. What a record grants is junior to
// its author, so comes later; what can cut it or close its invite is senior, so came before.
// One pass, without iteration: what an entry may do rests on senior entries only.
//
//	o1 open ── o2 invite ─┬─ j1 join      entry of the owner: o1…o4 act; j1, j2 go to the agenda
//	           o3 role    └─ j2 join      o3 makes the identity of j2 an admin: its log has two
//	           o4 remove [j1 up to 7]     entries, and the one as an admin is taken first
//	entry of j2 as admin                  what that log does from o3 on
//	entry of j1                           o4 limits it to what o4 has seen
//	entry of j2 as writer                 what it did before
type State struct {
	g       *Graph
	Name    string
	Refused []Refusal
	Waiting []WaitingJoin
	Idle    int                        // joins without effect, those that wait among them
	Members map[keys.PublicKey]*Member // by device: the one that may do most of its logs
	Invites map[clock.Hash]*InviteInfo // by record, of those that have effect

	Checkpoints []*Checkpoint
	Recovery    Recovery

	agenda   agenda
	byLog    map[clock.LogID][]*entry // the most senior first
	live     map[clock.LogID]bool     // control logs with an entry that nothing limits
	cuts     map[keys.PublicKey][]*cut
	closed   map[clock.Hash]bool // invites that a close ends
	removals []*Record           // they close the invites that have not seen them
	shuts    map[clock.Hash]*shutting
	listed   map[clock.Hash]bool // joins
	top      *entry              // the most senior full one that nothing limits
	stood    map[*Record]bool    // records of delegated devices by which somebody has an entry
	author   []*entry            // by record: who it is judged by
	verdicts []verdict           // by record
	epochs   []*Record           // that began one
	unkeyed  []*Record           // that cut somebody off and began none
	tips     []clock.Hash        // nil: to be found again
	ruling   clock.Hash          // see Authority
	vouches  []*Record           // for a checkpoint, or against it
	uses     []*Record           // of one recovery key, that did not know of each other
}

// shutting is what is known of whether removals close an invite.
type shutting struct {
	shut bool
	upTo int // of the removals
}

func newState(g *Graph) *State {
	return &State{
		g: g, Members: map[keys.PublicKey]*Member{}, Invites: map[clock.Hash]*InviteInfo{}, byLog: map[clock.LogID][]*entry{},
		live: map[clock.LogID]bool{}, cuts: map[keys.PublicKey][]*cut{}, closed: map[clock.Hash]bool{},
		shuts: map[clock.Hash]*shutting{}, listed: map[clock.Hash]bool{}, stood: map[*Record]bool{},
		Recovery: Recovery{Key: g.genesis.Recovery, Owner: g.genesis.Owner},
	}
}

// fold folds all records.
func (s *State) fold() {
	s.author, s.verdicts = make([]*entry, len(s.g.records)), make([]verdict, len(s.g.records))
	s.recover()
	s.revoke()
	for _, r := range s.g.records {
		if r.Payload.Op == format.OpOpen && s.verdict(r) != frozen {
			s.push(&entry{role: format.RoleOwner, first: r, grant: r}, step{n: opened})
		}
	}
	s.run()
	s.recut()
	for _, all := range s.byLog {
		for _, e := range all {
			s.speak(e)
		}
	}
	for _, all := range s.g.added {
		for _, r := range all {
			s.speakAdded(r)
		}
	}
	for _, r := range s.g.records {
		s.note(r)
	}
	slices.SortFunc(s.Checkpoints, func(a, b *Checkpoint) int { return format.CompareIDs(a.Snapshot, b.Snapshot) })
	s.rule()
}

// rule finds the authority.
func (s *State) rule() {
	var all []clock.Hash
	for _, r := range s.g.records {
		switch r.Payload.Op {
		case format.OpTransfer: // with effect or without, it ends what its log may do
			all = append(all, r.ID.Hash)
		case format.OpOpen, format.OpRole, format.OpRemove, format.OpDevice, format.OpStart, format.OpRecover, format.OpRevoke:
			if s.verdict(r) == ok {
				all = append(all, r.ID.Hash)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, format.CompareHashes)
	h := sha256.New()
	for _, r := range all {
		h.Write(r[:])
	}
	s.ruling = clock.Hash(h.Sum(nil))
}

// Authority returns a hash of the records that give and take roles. While it is
// the same, so is the role of every record that counts: all else makes writers and readers.
func (s *State) Authority() clock.Hash { return s.ruling }

// run takes entries from the agenda until it is empty.
func (s *State) run() {
	for len(s.agenda) > 0 {
		s.visit(heap.Pop(&s.agenda).(*entry))
	}
}

// apply folds one more record on top, if it decides nothing of others: neither its author's
// entries nor what it does touch what was folded before. It returns false if it may.
func (s *State) apply(r *Record) bool {
	for len(s.verdicts) < len(s.g.records) {
		s.author, s.verdicts = append(s.author, nil), append(s.verdicts, nobody)
	}
	if s.Stopped() && r.Payload.Op != format.OpRecover && !r.departs() {
		s.verdicts[r.at] = frozen // no use has seen it
		s.note(r)
		return true
	}
	switch r.Payload.Op {
	case format.OpJoin, format.OpStart:
		inv := r.invite
		if inv != nil && r.Payload.Op == format.OpStart && s.refolds(inv.ID.Log) {
			return false
		}
		if inv != nil && s.verdict(inv) == ok {
			if by := s.author[inv.at]; r.Payload.Op == format.OpJoin {
				s.admit(by, inv, r)
			} else {
				s.start(by, inv, r)
			}
			n, top := len(s.byLog[r.ID.Log]), s.top
			s.run()
			if s.top != top { // by which checkpoints are judged
				return false
			}
			for _, e := range s.byLog[r.ID.Log][n:] {
				s.speak(e)
			}
		}
	case format.OpLog, format.OpInvite, format.OpRotate, format.OpDevice, format.OpVouch:
		if r.Payload.Op == format.OpDevice && s.refolds(r.ID.Log) {
			return false
		}
		for _, e := range s.byLog[r.ID.Log] {
			if s.verdict(r) != ok {
				s.try(e, r)
			}
		}
		s.speakAdded(r)
		if m := s.Members[r.Payload.Subject]; m != nil && r.Payload.Op == format.OpDevice {
			m.delegate(s)
		}
	case format.OpClose, format.OpAdmit, format.OpCheckpoint, format.OpRole:
		// Of who may do none of these, as a plain member, it costs nothing.
		for _, e := range s.byLog[r.ID.Log] {
			switch v := s.covers(e, r); {
			case v == ok && e.full(format.RoleAdmin):
				return false
			case v == ok:
				s.set(r, notInRole)
			default:
				s.set(r, v)
			}
		}
	default:
		return false
	}
	s.note(r)
	return true
}

// verdict returns that on a record of the graph.
func (s *State) verdict(r *Record) verdict { return s.verdicts[r.at] }

// set gives a verdict, unless there is a better one.
func (s *State) set(r *Record, v verdict) {
	if was := s.verdicts[r.at]; v == ok || was == nobody && v != nobody {
		s.verdicts[r.at] = v
	}
}

// push puts an entry on the agenda: its path is that of who granted it, and more.
func (s *State) push(e *entry, more ...step) {
	if e.first.cert == nil || s.verdict(e.first) == frozen {
		return // the disk altered it; or it came after control operations had stopped
	}
	e.seat(more...)
	for _, t := range s.g.transfers[e.first.ID.Log] {
		if s.verdict(t) != frozen && (t.leaves() || e.full(format.RoleOwner)) && s.g.saw(t, e.first) {
			e.ends = append(e.ends, t)
		}
	}
	heap.Push(&s.agenda, e)
}

// leaves reports of a transfer that it names no successor.
func (c *Record) leaves() bool { return c.Payload.Subject == keys.PublicKey{} }

// departs reports whether a record is a transfer that names no successor.
func (c *Record) departs() bool { return c.Payload.Op == format.OpTransfer && c.leaves() }

// admit gives a join an entry, by the invite that it names.
func (s *State) admit(by *entry, invite, join *Record) {
	s.push(&entry{role: invite.Payload.Role, first: join, grant: invite, by: by}, step{invite.ID.Seq, invite.ID.Hash}, step{})
}

// shut reports whether an invite lets nobody in any more: a close ends it, or a removal
// that it has not seen, as the removed may have its secret.
func (s *State) shut(invite *Record) bool {
	if s.closed[invite.ID.Hash] {
		return true
	}
	if len(s.removals) == 0 {
		return false
	}
	m := s.shuts[invite.ID.Hash]
	if m == nil {
		m = &shutting{}
		s.shuts[invite.ID.Hash] = m
	}
	for ; !m.shut && m.upTo < len(s.removals); m.upTo++ {
		m.shut = !s.g.saw(invite, s.removals[m.upTo])
	}
	return m.shut
}

// visit lets the log of an entry do what it may.
func (s *State) visit(e *entry) {
	if e.by != nil && e.by.limited() {
		if s.covers(e.by, e.grant) != ok { // whom it let in before has cut it
			return
		}
		s.stood[e.grant] = true
	}
	if e.grant.Payload.Op == format.OpInvite && s.shut(e.grant) && !s.listed[e.first.ID.Hash] {
		s.set(e.first, waiting)
		return
	}
	log := e.first.ID.Log
	s.byLog[log] = append(s.byLog[log], e)
	if (s.top == nil || compareSteps(e.visit, s.top.visit) < 0) && !e.limited() && s.alive(e) {
		s.top = e
	}
	for _, r := range s.g.logs[log] {
		if v := s.verdict(r); v != ok && v != frozen {
			s.try(e, r)
		}
	}
}

// try judges a record by an entry of its log.
func (s *State) try(e *entry, r *Record) {
	v := s.covers(e, r)
	if v == ok {
		if s.author[r.at] == nil {
			s.author[r.at] = e
		}
		v = s.act(e, r)
	}
	s.set(r, v)
}

// act is the table: what a record does that an entry covers.
func (s *State) act(e *entry, r *Record) verdict {
	p, admin, owner := r.Payload, e.full(format.RoleAdmin), e.full(format.RoleOwner)
	own := false // what it does reaches the own identity alone
	switch p.Op {
	case format.OpOpen, format.OpJoin, format.OpStart, format.OpRecover, format.OpLog:
		return ok
	case format.OpDevice:
		if e.lone() {
			return notInRole
		}
	case format.OpTransfer:
		if own = true; !r.leaves() && !owner {
			return notInRole
		}
	case format.OpRemove:
		if own = !admin; own && (e.limited() || !s.ownDevice(e, p.Subject)) {
			return notInRole
		}
	case format.OpInvite, format.OpRole:
		highest := format.RoleWriter
		if owner && p.Op == format.OpRole {
			highest = format.RoleOwner
		}
		if !admin || p.Role < highest {
			return notInRole
		}
	case format.OpCheckpoint:
		if !owner || s.top != nil && s.top.identity() != e.identity() {
			return notInRole
		}
	default:
		if !admin {
			return notInRole
		}
	}
	s.do(e, r, own)
	return ok
}

// ownDevice reports whether a subject is a device of the identity of an entry, or was added.
func (s *State) ownDevice(e *entry, subject keys.PublicKey) bool {
	counts := func(r *Record) bool { return s.verdict(r) != frozen }
	return slices.ContainsFunc(s.g.added[subject], counts) ||
		slices.ContainsFunc(s.g.devices[subject], func(f *Record) bool { return f.of(e.identity()) && counts(f) })
}

// firstCut reports whether a subject was not cut before, or was added again since: a device
// that removes another again and again has nobody change the key for it.
func (s *State) firstCut(subject keys.PublicKey) bool {
	return !slices.ContainsFunc(s.cuts[subject], func(c *cut) bool {
		return !slices.ContainsFunc(s.g.added[subject], func(a *Record) bool { return s.g.saw(a, c.rec) })
	})
}

// do does what a record says that may.
func (s *State) do(e *entry, r *Record, own bool) {
	p := r.Payload
	switch p.Op {
	case format.OpInvite:
		for _, j := range s.g.joins[r.ID.Hash] {
			s.admit(e, r, j)
		}
	case format.OpDevice:
		for _, f := range s.g.starts[r.ID.Hash] {
			s.start(e, r, f)
		}
	case format.OpRole:
		s.grant(e, r, p.Role)
		s.cut(&cut{rec: r, by: e, role: e.role, subject: p.Subject})
	case format.OpTransfer:
		s.grant(e, r, format.RoleOwner)
		if !e.limited() { // which takes nobody with it
			s.cut(&cut{rec: r, by: e, role: e.role, own: true, of: e.identity(), subject: e.identity()})
		}
	case format.OpRemove:
		if p.Epoch == nil && s.firstCut(p.Subject) {
			s.unkeyed = append(s.unkeyed, r)
		}
		s.cut(&cut{rec: r, by: e, role: e.role, own: own, of: e.identity(), subject: p.Subject})
		if !own {
			s.removals = append(s.removals, r)
			s.list(p.Joins)
		}
	case format.OpClose:
		s.closed[p.Invite] = true
		s.list(p.Joins)
	case format.OpAdmit:
		s.list(p.Joins)
	}
	if p.Epoch != nil && e.full(format.RoleAdmin) {
		s.epochs, s.tips = append(s.epochs, r), nil
	}
}

func (s *State) list(joins []clock.Hash) {
	for _, j := range joins {
		s.listed[j] = true
	}
}

func (s *State) cut(c *cut) { s.cuts[c.subject] = append(s.cuts[c.subject], c) }

// grant makes an entry for each log of the subject that a record names by its first record.
func (s *State) grant(by *entry, r *Record, role format.Role) {
	for i, h := range r.Payload.Joins {
		f := s.g.index[h]
		if f == nil || !f.first() || !f.of(r.Payload.Subject) || !s.g.saw(r, f) {
			continue
		}
		s.push(&entry{role: role, first: f, grant: r, by: by}, step{r.ID.Seq, r.ID.Hash}, step{n: uint64(i + 1)})
	}
}

// speak says who is a member by an entry.
func (s *State) speak(e *entry) {
	if !s.alive(e) {
		return
	}
	s.live[e.first.ID.Log] = true
	was := s.Members[e.device()]
	if was != nil && !was.Added && was.entry.before(e) {
		return
	}
	s.Members[e.device()] = &Member{
		Device: e.device(), Identity: e.identity(), Seal: e.first.cert.Seal, Name: e.first.cert.Name, Role: e.role, Since: e.first.Time,
		Log: e.first.ID.Log, entry: e,
	}
	s.Members[e.device()].delegate(s)
}

// note lists what a judged record is for members to see.
func (s *State) note(r *Record) {
	p, v := r.Payload, s.verdict(r)
	if v != ok {
		s.refuse(r, v)
		return
	}
	switch p.Op {
	case format.OpOpen:
		if s.Name == "" || p.Name < s.Name { // of two, which nobody honest writes, the same everywhere
			s.Name = p.Name
		}
	case format.OpInvite:
		s.Invites[r.ID.Hash] = &InviteInfo{Key: p.Key, Role: p.Role, Expires: p.Expires, Uses: p.Uses, Closed: s.shut(r), Creator: r.Device}
	case format.OpJoin:
		if inv := s.Invites[p.Invite]; inv != nil {
			inv.Used++
		}
	case format.OpVouch:
		s.vouches = append(s.vouches, r)
	case format.OpCheckpoint:
		s.Checkpoints = append(s.Checkpoints, &Checkpoint{p.Checkpoint, r.ID, r})
	}
}

// refuse lists a record without effect.
func (s *State) refuse(r *Record, v verdict) {
	kind, why := fault.NotMember, ""
	switch v {
	case waiting:
		why = "the invite is closed: the device waits until an owner admits it"
		s.Waiting = append(s.Waiting, r.Describe())
	case cutOff:
		if r.Payload.Op == format.OpJoin && s.barred(r) {
			w := r.Describe()
			w.Barred = true
			s.Waiting = append(s.Waiting, w)
			why = "its identity was removed: it waits until an owner admits it"
			break
		}
		why = "its author was removed, had left, or may do less since"
	case before:
		why = "it was written before its author was given that role"
	case notInRole:
		why = "the role of its author does not allow it"
	case frozen:
		why = "the recovery key was used twice, by devices that did not know of each other: nobody's rights change any more, and documents are still written"
	default:
		why = "its author is no member"
		if r.Payload.Op == format.OpRecover {
			why = "its author had heard that the recovery key was used"
		}
		if r.Payload.Op == format.OpStart {
			why = "the device was added by one that may not, or is of another identity"
		}
		if r.Payload.Op == format.OpJoin {
			why = "the invite is by a device that may not invite"
		}
	}
	if r.Payload.Op == format.OpJoin {
		kind = fault.Void
		s.Idle++
	}
	s.Refused = append(s.Refused, Refusal{ID: r.ID, Kind: kind, Reason: r.Payload.Op.String() + ": " + why})
}

// barred reports whether a join waits because its identity was removed before: no device of
// it is a member by that join or another.
func (s *State) barred(join *Record) bool {
	return !s.live[join.ID.Log] && !slices.ContainsFunc(s.g.devices[join.Device], func(f *Record) bool { return s.live[f.ID.Log] })
}

// Stopped reports whether control operations have no effect any more: a recovery key was used
// twice.
func (s *State) Stopped() bool { return len(s.uses) > 0 }

// Unkeyed reports whether somebody was cut off by a record that begins no epoch, and no
// present epoch has seen that: who was cut off has the key.
func (s *State) Unkeyed() bool {
	return slices.ContainsFunc(s.unkeyed, func(c *Record) bool {
		return !slices.ContainsFunc(s.epochs, func(e *Record) bool { return s.g.saw(e, c) })
	})
}

// Live reports whether a control log has an entry that nothing limits: its device may do
// something now.
func (s *State) Live(log clock.LogID) bool { return s.live[log] }

// Stands reports whether a join that is not part of the graph would stand if it were.
func (s *State) Stands(join *Record) bool {
	inv := join.invite
	if s.verdict(inv) != ok || s.shut(inv) && !s.listed[join.ID.Hash] {
		return false
	}
	return s.alive(&entry{role: inv.Payload.Role, first: join, grant: inv, by: s.author[inv.at], path: []step{{n: 2 * uint64(inv.Payload.Role)}}})
}

// Lists reports whether a close, an admit or a removal lists a join.
func (s *State) Lists(join clock.Hash) bool { return s.listed[join] }

// Epochs returns those under which is written now, sorted: none of them has seen another.
func (s *State) Epochs() []clock.Hash {
	if s.tips == nil {
		for _, e := range s.epochs {
			if !slices.ContainsFunc(s.epochs, func(o *Record) bool { return o != e && s.g.saw(o, e) }) {
				s.tips = append(s.tips, e.ID.Hash)
			}
		}
		if len(s.tips) == 0 {
			s.tips = []clock.Hash{clock.Hash(s.g.thread)}
		}
		slices.SortFunc(s.tips, format.CompareHashes)
	}
	return s.tips
}
