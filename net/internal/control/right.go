package control

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A Right is one reason why records of a data log count: an entry of the control log that
// it belongs to, of a role that writes.
//
//	role        writer, by the invite
//	Within      a removal has seen a/7; a role change before it a/9: up to a/7 counts
//	Without     of the entry that a role change grants: what that had seen counts by another
type Right struct {
	Writer
	Role    format.Role
	Rank    []byte             // its seniority: the lesser is the senior
	defines bool               // not by a delegated device, which defines nothing
	grant   *Record            // a role change or transfer that gives it; nil for a join or open
	Within  [][]clock.RecordID // of each cut that limits it, the heads that it has seen
	Without []clock.RecordID
	until   [][]clock.RecordID // where a recovery key was used twice, what each use has seen
}

// Stopped reports whether nothing new may be defined: a recovery key was used twice.
func (r *Right) Stopped() bool { return len(r.until) > 0 }

// Equal reports whether both cover the same records.
func (r *Right) Equal(o *Right) bool {
	return r.first == o.first && r.Role == o.Role && r.grant == o.grant && bytes.Equal(r.Rank, o.Rank) && slices.Equal(r.Without, o.Without) && slices.EqualFunc(r.Within, o.Within, slices.Equal) &&
		slices.EqualFunc(r.until, o.until, slices.Equal)
}

// Holds reports whether a record that is no plain operation, written under control heads,
// may count by this right, as far as they say: it has seen what gives it.
func (r *Right) Holds(heads []clock.Hash) bool {
	return r.defines && r.Of(heads) && (r.grant == nil || r.g.Reaches(heads, r.grant))
}

// Defines reports whether what changes definitions may count by this right.
func (r *Right) Defines() bool { return r.defines }

// A Writer is a first record of a control log, and whose it is.
type Writer struct {
	Identity keys.PublicKey
	g        *Graph
	first    *Record
}

// Of reports whether a record that was written under control heads is by this writer: it
// has seen that first record.
func (w *Writer) Of(heads []clock.Hash) bool { return w.g.Reaches(heads, w.first) }

// ControlOf returns the control log that an announced data log belongs to.
func (g *Graph) ControlOf(log clock.LogID) (clock.LogID, bool) {
	a := g.announced[log]
	if a == nil {
		return clock.LogID{}, false
	}
	return a.ID.Log, true
}

// Announced returns all data logs that a control log which is part of the graph announces.
func (g *Graph) Announced(f func(log, control clock.LogID)) {
	for log, r := range g.announced {
		f(log, r.ID.Log)
	}
}

// seenOf returns the heads of a data log that r has seen: those that it names, and those
// that control records name which it has seen. What an identity says of its own logs counts
// in its own record only: nobody chooses what its removal has seen.
func (g *Graph) seenOf(r *Record, log clock.LogID) (heads []clock.RecordID) {
	control, _ := g.ControlOf(log)
	for _, v := range g.views[log] {
		if v.by == r || !g.kin(v.by.ID.Log, control) && g.saw(r, v.by) {
			heads = append(heads, v.head)
		}
	}
	slices.SortFunc(heads, format.CompareIDs)
	return slices.Compact(heads)
}

// kin reports whether two control logs are of one identity.
func (g *Graph) kin(a, b clock.LogID) bool {
	return slices.ContainsFunc(g.firsts[a], func(f *Record) bool {
		id, known := f.identity()
		return known && slices.ContainsFunc(g.firsts[b], func(o *Record) bool { return o.of(id) })
	})
}

// Rights returns why records of a data log count, the most senior reason first; none: it is
// void. Most logs have one, which is plain.
func (g *Graph) Rights(log clock.LogID) (rights []Right) {
	control, announced := g.ControlOf(log)
	if !announced {
		return nil
	}
	s := g.State()
	for _, e := range s.byLog[control] {
		if !e.role.CanWrite() {
			continue
		}
		r := Right{Writer: Writer{e.identity(), g, e.first}, Role: e.role, Rank: e.rank(), defines: !e.limited()}
		for _, u := range s.uses {
			r.until = append(r.until, g.seenOf(u, log))
		}
		s.cutsOf(e, func(c *cut) bool {
			r.Within = append(r.Within, g.seenOf(c.rec, log))
			return false
		})
		if e.role == format.RoleOwner {
			for _, t := range e.ends {
				r.Within = append(r.Within, g.seenOf(t, log))
			}
		}
		if e.regranted() {
			r.grant, r.Without = e.grant, g.seenOf(e.grant, log)
		}
		rights = append(rights, r)
	}
	return rights
}

// RoleNow returns the highest role of a control log that nothing limits, and its seniority; 0
// if it does not write.
func (g *Graph) RoleNow(control clock.LogID) (format.Role, []byte) {
	s := g.State()
	for _, e := range s.byLog[control] { // the most senior first
		if e.role.CanWrite() && !e.limited() && s.alive(e) && !s.Stopped() {
			return e.role, e.rank()
		}
	}
	return 0, nil
}

// Split reports whether the control log of a data log has two first records: whose each
// record is depends on which of them it has seen.
func (g *Graph) Split(log clock.LogID) bool {
	control, _ := g.ControlOf(log)
	return len(g.firsts[control]) > 1
}

// Begun says of a record of a data log, written under control heads, why it never counts,
// "" if it may: it has to have seen a first record of its control log, and no transfer by
// which that log ended.
func (g *Graph) Begun(log clock.LogID, heads []clock.Hash) string {
	control, _ := g.ControlOf(log)
	if !slices.ContainsFunc(g.firsts[control], func(r *Record) bool { return g.Reaches(heads, r) }) {
		return "the record does not name what let its writer in"
	}
	if slices.ContainsFunc(g.transfers[control], func(t *Record) bool { return t.leaves() && g.Reaches(heads, t) }) {
		return "the device had left the thread"
	}
	return ""
}

// Commit returns the commitment to the read key of an epoch.
func (g *Graph) Commit(epoch clock.Hash) (clock.Hash, bool) {
	if epoch == clock.Hash(g.thread) {
		return g.genesis.Read, true
	}
	if r := g.index[epoch]; r != nil && r.Payload.Epoch != nil {
		return r.Payload.Epoch.Commit, true
	}
	return clock.Hash{}, false
}

// maxSealedDevices is how many devices of one identity an epoch is sealed to: nobody takes
// the room of others by adding devices.
const maxSealedDevices = 16

// Readers returns the devices that an epoch is sealed to: members that read, of each
// identity the most senior devices.
func (s *State) Readers() (all []*Member) {
	of := map[keys.PublicKey][]*Member{}
	for _, m := range s.Members {
		if m.Role <= format.RoleReader {
			of[m.Identity] = append(of[m.Identity], m)
		}
	}
	for _, devices := range of {
		if len(devices) > maxSealedDevices {
			slices.SortFunc(devices, func(a, b *Member) int {
				return cmp.Or(a.entry.compare(b.entry), bytes.Compare(a.Device[:], b.Device[:]))
			})
			devices = devices[:maxSealedDevices]
		}
		all = append(all, devices...)
	}
	return all
}

// Heir returns the recovery key that epochs are sealed to, so that it opens what is lost
// otherwise; zero if there is none, or who made it is no owner any more: it would read on.
func (s *State) Heir() (key keys.PublicKey) {
	for _, m := range s.Members {
		if m.Role == format.RoleOwner && m.Identity == s.Recovery.Owner && !m.Added {
			return s.Recovery.Key
		}
	}
	return key
}

// Unsealed returns the members' devices that read and were not given the key of an epoch:
// it is not sealed to them, nor to what let them in, nor was that made later. heir says the
// same of the recovery key.
func (g *Graph) Unsealed(epoch clock.Hash) (lacking map[keys.PublicKey]bool, heir bool) {
	lacking = map[keys.PublicKey]bool{}
	s, r := g.State(), g.index[epoch]
	key := s.Heir()
	if r == nil || r.Payload.Epoch == nil { // the first, which every invite gives
		return lacking, !key.IsZero() && key != g.genesis.Recovery
	}
	devices, invites := map[[8]byte]bool{}, map[clock.Hash]bool{}
	for _, d := range r.Payload.Epoch.Devices {
		devices[d.Tag] = true
	}
	for _, i := range r.Payload.Epoch.Invites {
		invites[i.Invite] = true
	}
	for _, m := range s.Readers() {
		in := m.entry.first.invite // what let it in, and gave it keys
		if m.Added {
			in = m.entry.grant
		}
		switch {
		case devices[[8]byte(m.Device[:])]:
		case in != nil && (invites[in.ID.Hash] && g.saw(m.entry.first, r) || g.saw(in, r)):
		default:
			lacking[m.Device] = true
		}
	}
	return lacking, !key.IsZero() && !invites[clock.Hash(key)]
}

// RotationDue reports whether the device is to begin an epoch: one is due, and no owner or
// admin that is senior to it has all keys. has says of which epochs it holds the key itself,
// loose of which of these no other gives.
func (g *Graph) RotationDue(device keys.PublicKey, has func(epoch clock.Hash) bool, loose func() []clock.Hash) bool {
	s := g.State()
	self := s.Members[device]
	if self == nil || !self.May(format.RoleAdmin) || s.Stopped() {
		return false
	}
	now := s.Epochs()
	if slices.ContainsFunc(now, func(e clock.Hash) bool { return !has(e) }) {
		return false // it lacks a key itself
	}
	lacking, heir := map[keys.PublicKey]bool{}, false
	for _, e := range now {
		l, h := g.Unsealed(e)
		maps.Copy(lacking, l)
		heir = heir || h
	}
	for _, m := range s.Members { // who lacks a key leaves it to the next
		if m != self && m.May(format.RoleAdmin) && !m.Added && m.SeniorTo(self) && !lacking[m.Device] {
			return false
		}
	}
	due := len(now) > 1 || s.Unkeyed()
	if len(s.Readers()) > format.MaxDevices {
		return due // one record has no room for all
	}
	// A key that no present epoch gives may be of one that had effect somewhere for a while.
	return due || heir || len(lacking) > 0 || slices.ContainsFunc(loose(), func(e clock.Hash) bool { return !slices.Contains(now, e) })
}

// EpochRecords calls f for each record that carries a new key, of logs that could begin an
// epoch at some time: also of those without effect, under which somebody may have written
// who did not know better.
func (g *Graph) EpochRecords(f func(epoch clock.Hash, e *format.Epoch)) {
	for _, r := range g.carriers {
		if slices.ContainsFunc(g.State().byLog[r.ID.Log], func(e *entry) bool { return e.full(format.RoleAdmin) }) {
			f(r.ID.Hash, r.Payload.Epoch)
		}
	}
}

// Writers returns who may have written records of a data log: one, unless its device forked
// the first record of its control log. Of several the first that a record is of wrote it.
func (g *Graph) Writers(log clock.LogID) (all []Writer) {
	control, _ := g.ControlOf(log)
	add := func(f *Record) {
		known := slices.ContainsFunc(all, func(w Writer) bool { return w.first == f })
		if f.cert != nil && !known {
			all = append(all, Writer{f.cert.Identity, g, f})
		}
	}
	for _, e := range g.State().byLog[control] { // the most senior first
		add(e.first)
	}
	for _, f := range g.firsts[control] {
		add(f)
	}
	return all
}

// Plain reports whether all records of a data log count that a right covers: it has one,
// which limits nothing.
func (g *Graph) Plain(log clock.LogID) bool {
	control, ok := g.ControlOf(log)
	if !ok {
		return false
	}
	s := g.State()
	all := s.byLog[control]
	return len(all) == 1 && !s.Stopped() && all[0].role.CanWrite() && s.alive(all[0]) && !all[0].regranted() && !g.Split(log)
}

// Ruling hashes which records of a log count by which of several rights: by positions, or
// one by one, by the number of their right from 1.
func Ruling(rights []Right, single map[clock.Hash]int, span func(i int) clock.Span) clock.Hash {
	h := sha256.New()
	if single != nil {
		for _, id := range slices.SortedFunc(maps.Keys(single), format.CompareHashes) {
			r := &rights[single[id]-1]
			h.Write(append(append(id[:], byte(r.Role)), r.Rank...))
		}
		return clock.Hash(h.Sum(nil))
	}
	for i := range rights {
		s := span(i)
		h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{byte(rights[i].Role)}, s.First), s.Last))
	}
	return clock.Hash(h.Sum(nil))
}

// AuthorityWith is Authority with which records of logs that count by several rights do so by
// which of them.
func (s *State) AuthorityWith(rulings map[clock.LogID]clock.Hash) clock.Hash {
	if len(rulings) == 0 {
		return s.ruling
	}
	h := sha256.New()
	h.Write(s.ruling[:])
	for _, log := range slices.SortedFunc(maps.Keys(rulings), func(a, b clock.LogID) int { return bytes.Compare(a[:], b[:]) }) {
		r := rulings[log]
		h.Write(log[:])
		h.Write(r[:])
	}
	return clock.Hash(h.Sum(nil))
}
