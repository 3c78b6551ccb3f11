package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// A book is the records of a thread, by whomever they were written.
type book struct {
	genesis Genesis
	all     []*Record
	hash    func(n int) Hash // of the n-th record; nil: in order
}

// An author is a device, with what it holds: it writes as an honest one does, unless a
// test changes the record.
type author struct {
	*book
	id, dev   string
	log       string // its control log
	held      map[Hash]bool
	last, own *Record            // of its control and data log
	thin      func(*Record) bool // what it admits to hold; nil: all
}

func newBook() *book {
	return &book{genesis: Genesis{Identity: "ann", Device: "ann.1", Commit: "key1"}}
}

// device returns a device whose control log is not begun.
func (b *book) device(id string, n int) *author {
	dev := fmt.Sprintf("%s.%d", id, n)
	return &author{book: b, id: id, dev: dev, log: "c/" + dev, held: map[Hash]bool{}}
}

// owner returns the device that opened the thread.
func (b *book) owner() *author {
	a := b.device("ann", 1)
	a.control(Record{Kind: Open})
	return a
}

// records returns what an author holds.
func (a *author) records() []*Record {
	return filter(a.all, func(r *Record) bool { return a.held[r.Hash] })
}

// state is what the author's replica says.
func (a *author) state() *State { return Judge(a.genesis, a.records()) }

// sync has an author take over all that others hold.
func (a *author) sync(from ...*author) *author {
	for _, o := range from {
		maps.Copy(a.held, o.held)
	}
	return a
}

// meet has authors exchange all.
func meet(as ...*author) {
	for range 2 {
		for _, a := range as {
			a.sync(as...)
		}
	}
}

// tips returns the last held records of each branch of each log.
func (a *author) tips() (control []Hash, data []Head, clock int) {
	followed := map[Hash]bool{}
	held := a.records()
	if a.thin != nil {
		held = filter(held, a.thin)
	}
	for _, r := range held {
		followed[r.Prev] = true
		clock = max(clock, r.Clock)
	}
	for _, r := range held {
		if followed[r.Hash] {
			continue
		}
		if r.control() {
			control = append(control, r.Hash)
		} else {
			data = append(data, r.Head)
		}
	}
	return control, data, clock
}

func (a *author) write(r Record, prev *Record) *Record {
	control, data, clock := a.tips()
	r.Control = append(r.Control, control...)
	r.Seq = 1
	if prev != nil {
		r.Prev, r.Seq = prev.Hash, prev.Seq+1
		clock = max(clock, prev.Clock)
	}
	if r.Kind != Op {
		r.Data = data
	}
	if r.Clock == 0 {
		r.Clock = clock + 1
	}
	r.Hash = Hash(fmt.Sprintf("h%03d", len(a.all)))
	if a.hash != nil {
		r.Hash = a.hash(len(a.all))
	}
	if r.Kind == Horizon && r.T == 0 {
		r.T = r.Clock - a.genesis.Late - 1
	}
	if r.Kind == Checkpoint && r.T == 0 {
		r.T = r.Clock - 1
	}
	a.all = append(a.all, &r)
	a.held[r.Hash] = true
	return &r
}

// control writes a control record.
func (a *author) control(r Record) *Record {
	r.Log = a.log
	if a.last == nil {
		r.Identity, r.Device = a.id, a.dev
	}
	a.last = a.write(r, a.last)
	return a.last
}

// data writes a data record.
func (a *author) data(r Record) *Record {
	r.Log, r.Of = "d/"+a.dev, a.log
	a.own = a.write(r, a.own)
	return a.own
}

func (a *author) op(name, doc, shape string) *Record {
	return a.data(Record{Kind: Op, Name: name, Doc: doc, Shape: shape})
}

func (a *author) insert(name, doc, shape string, clock int) *Record {
	return a.data(Record{Kind: Op, Name: name, Doc: doc, Shape: shape, Insert: true, Clock: clock})
}

func (a *author) define(name string, d Def) *Record {
	return a.data(Record{Kind: Define, Name: name, Def: d})
}

func (a *author) horizon() *Record { return a.data(Record{Kind: Horizon}) }

// invite makes an invite; join has a new device use it, holding what the inviter holds.
func (a *author) invite(role Role) *Record { return a.control(Record{Kind: Invite, Role: role}) }

func (a *author) join(id string, n int, invite *Record) *author {
	j := a.device(id, n).sync(a)
	j.control(Record{Kind: Join, Grant: invite.Hash, Control: []Hash{invite.Hash}})
	return j
}

// add has an author add a device of its identity.
func (a *author) add(n int, delegated bool) *author {
	d := a.device(a.id, n)
	q := a.control(Record{Kind: Device, Subject: d.dev, Delegated: delegated})
	d.sync(a).control(Record{Kind: Start, Grant: q.Hash})
	return d
}

// logs returns the first records of an identity's logs that the author holds.
func (a *author) logs(id string) (hs []Hash) {
	for _, r := range a.records() {
		if r.first() && r.Kind != Revoke && r.Identity == id {
			hs = append(hs, r.Hash)
		}
	}
	return hs
}

func (a *author) role(id string, r Role) *Record {
	return a.control(Record{Kind: SetRole, Subject: id, Role: r, Joins: a.logs(id)})
}

// standing returns the joins that count, and the devices of who may read, by what the
// author holds, without those of a subject.
func (a *author) standing(subject string) (joins []Hash, devices []string) {
	s := a.state()
	for _, e := range s.full.entries {
		if e.first.Kind == Join {
			joins = append(joins, e.first.Hash)
		}
		if s.full.alive(e) && e.role <= Reader && e.first.Identity != subject && e.first.Device != subject && !slices.Contains(devices, e.first.Device) {
			devices = append(devices, e.first.Device)
		}
	}
	return joins, devices
}

func (a *author) remove(subject string) *Record {
	joins, devices := a.standing(subject)
	return a.control(Record{Kind: Remove, Subject: subject, Joins: joins, Devices: devices})
}

func (a *author) close(invite *Record) *Record {
	joins, _ := a.standing("")
	return a.control(Record{Kind: Close, Grant: invite.Hash, Joins: joins})
}

// checkpoint writes one of what the author holds, as an honest device does.
func (a *author) checkpoint() *Record {
	s := a.state()
	tips := maps.Clone(s.tips)
	for _, d := range s.sorted {
		if d.Kind == Define && s.Verdicts[d.Hash] == OK {
			hs := s.holding(s.sorted, d.Name)
			tips[d.Name] = *hs[len(hs)-1]
		}
	}
	return a.control(Record{Kind: Checkpoint, Docs: s.Docs, Tips: tips})
}

// promoted returns n admins or owners, each of an identity of its own, who know all.
func (a *author) promoted(role Role, ids ...string) (as []*author) {
	v := a.invite(Writer)
	for _, id := range ids {
		as = append(as, a.join(id, 1, v))
	}
	a.sync(as...)
	for _, id := range ids {
		a.role(id, role)
	}
	for _, o := range as {
		o.sync(a)
	}
	return as
}

// want checks verdicts on records.
func want(t *testing.T, s *State, v Verdict, rs ...*Record) {
	t.Helper()
	for _, r := range rs {
		if got := s.Verdicts[r.Hash]; got != v {
			t.Errorf("%s %s of %s: got %q, want %q", r.Kind, r.Hash, r.Log, got, v)
		}
	}
}

func wantRole(t *testing.T, s *State, id string, r Role) {
	t.Helper()
	if s.Roles[id] != r {
		t.Errorf("%s has role %d, want %d", id, s.Roles[id], r)
	}
}

// reversed judges records from the last to the first, and fails if that changes anything.
func (b *book) judge(t *testing.T) *State {
	t.Helper()
	s := Judge(b.genesis, b.all)
	back := slices.Clone(b.all)
	slices.Reverse(back)
	if d := diff(s, Judge(b.genesis, back), func(Hash) bool { return true }); d != "" {
		t.Errorf("the order in which records come matters: %s", d)
	}
	return s
}

// diff returns a difference of two states in the records that are asked for.
func diff(a, b *State, of func(Hash) bool) string {
	for _, h := range slices.Sorted(maps.Keys(a.Verdicts)) {
		if of(h) && (a.Verdicts[h] != b.Verdicts[h] || a.Places[h] != b.Places[h]) {
			return fmt.Sprintf("%s: %s at %v, and %s at %v", h, a.Verdicts[h], a.Places[h], b.Verdicts[h], b.Places[h])
		}
	}
	return cmp.Or(diffMaps("role", a.Roles, b.Roles), diffMaps("document", a.Docs, b.Docs))
}

func diffMaps[V comparable](what string, a, b map[string]V) string {
	if maps.Equal(a, b) {
		return ""
	}
	return fmt.Sprintf("%ss %v, and %v", what, a, b)
}
