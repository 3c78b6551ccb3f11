package model

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// A history is what honest and hostile devices of a thread wrote, by a seed.
type history struct {
	*book
	*rand.Rand
	as      []*author
	hostile map[string]bool // identities
	island  map[*author]int // between two of them nothing travels
	honest  map[Hash]bool   // records
	alone   bool            // nobody else joins
}

// newHistory has from 3 to 30 devices write. The owner's first device is honest, or no
// property could be asked for.
func newHistory(seed uint64) *history {
	h := &history{book: newBook(), Rand: rand.New(rand.NewPCG(seed, 8)), hostile: map[string]bool{}, island: map[*author]int{}, honest: map[Hash]bool{}}
	h.genesis.Late = []int{0, 0, 0, 3}[h.IntN(4)]
	h.genesis.Closed = h.IntN(4) == 0
	if h.IntN(3) > 0 { // ground hashes: they say nothing of when
		perm := h.Perm(1000)
		h.hash = func(n int) Hash { return Hash(fmt.Sprintf("g%03d", perm[n])) }
	}
	h.as = []*author{h.owner()}
	if seed%4 == 3 { // by a delegated device, which lets the owner's own in
		h.genesis.Delegated = true
		h.as = []*author{h.as[0].add(2, false), h.as[0]}
	}
	replicas := 3 + h.IntN(4)
	if h.IntN(50) == 0 {
		replicas = 3 + h.IntN(28)
	}
	h.settle(replicas)
	for range 15 + h.IntN(25) + replicas {
		h.step()
	}
	if h.IntN(3) > 0 {
		meet(h.as...)
		h.step()
		h.step()
	}
	return h
}

// settle has the first devices come in.
func (h *history) settle(replicas int) {
	ann := h.as[0]
	for i := range replicas - 1 {
		id := fmt.Sprintf("m%d", h.IntN(i+1))
		h.hostile[id] = h.hostile[id] || h.IntN(3) == 0
		n := 1
		for slices.ContainsFunc(h.as, func(a *author) bool { return a.id == id && a.dev == fmt.Sprintf("%s.%d", id, n) }) {
			n++
		}
		role := []Role{Writer, Writer, Writer, Reader, Relay}[h.IntN(5)]
		a := ann.join(id, n, ann.invite(role))
		h.as = append(h.as, a)
		ann.sync(a)
		if r := h.IntN(5); r < 3 {
			ann.role(id, []Role{Owner, Admin, Admin}[r])
		}
		a.sync(ann)
	}
	for _, r := range h.all {
		h.honest[r.Hash] = true
	}
}

func (h *history) pick() *author { return h.as[h.IntN(len(h.as))] }

// step has one device write something, and some exchange what they hold.
func (h *history) step() {
	a := h.pick()
	for range h.IntN(3) {
		from, to := h.pick(), h.pick()
		if h.island[from] == h.island[to] {
			to.sync(from)
		}
	}
	if h.IntN(12) == 0 {
		h.island[h.pick()] = h.IntN(2)
	}
	n := len(h.all)
	if h.hostile[a.id] && h.IntN(3) > 0 {
		h.attack(a)
	} else {
		h.act(a)
		for _, r := range h.all[n:] {
			h.honest[r.Hash] = true
		}
	}
	if h.IntN(25) == 0 { // a home is copied, or restored from a copy, in good faith
		c := *a
		c.held = maps.Clone(a.held)
		h.as = append(h.as, &c)
	}
}

// open returns the invites that are open by what an author holds.
func (a *author) open() (hs []Hash) {
	s := a.state()
	for _, v := range s.full.kept {
		shut := slices.ContainsFunc(s.full.closes, func(c *Record) bool { return c.Grant == v.Hash || c.Kind == Remove && !s.has(v, c) })
		if v.Kind == Invite && s.Verdicts[v.Hash] == OK && !shut {
			hs = append(hs, v.Hash)
		}
	}
	return hs
}

func (h *history) shape() string { return []string{"x", "y", "z"}[h.IntN(3)] }
func (h *history) name() string  { return []string{"c", "d"}[h.IntN(2)] }
func (h *history) def() Def {
	return Def{In: h.IntN(8) > 0, Shapes: [][]string{nil, {"x"}, {"x", "y"}, {"y", "z"}}[h.IntN(4)], Own: h.IntN(3) == 0, May: Role(h.IntN(4))}
}

// someone returns an identity or a device.
func (h *history) someone() string {
	o := h.pick()
	return []string{o.id, o.id, o.dev}[h.IntN(3)]
}

// act has an author do what an honest device does, with or without the right.
func (h *history) act(a *author) {
	role := Writer
	if h.IntN(2) == 0 {
		role = a.state().Roles[a.id]
	}
	if role == 0 || role > Admin {
		switch n := h.IntN(20); {
		case n == 0 && len(h.as) < 30:
			h.as = append(h.as, a.add(len(h.as)+10, h.IntN(2) == 0))
		case n == 1:
			a.remove(a.id + "." + strconv.Itoa(h.IntN(30)))
		case n == 2 && h.IntN(4) == 0:
			a.control(Record{Kind: Transfer})
		case n == 3:
			a.define(h.name(), h.def())
		default:
			a.data(Record{Kind: Op, Name: h.name(), Doc: strconv.Itoa(h.IntN(3)), Shape: h.shape(), Insert: h.IntN(3) == 0})
		}
		return
	}
	switch n := h.IntN(24); {
	case n < 5:
		a.horizon()
	case n < 9:
		a.define(h.name(), h.def())
	case n < 11:
		h.come(a, a.invite(Writer+Role(h.IntN(3))))
	case n == 11:
		v := a.control(Record{Kind: Invite, Role: Writer, Subject: h.pick().id})
		h.come(a, v)
	case n < 14:
		a.remove(h.someone())
	case n < 16:
		a.role(h.pick().id, Owner+Role(h.IntN(5)))
	case n == 16:
		_, devices := a.standing("")
		a.control(Record{Kind: Rotate, Devices: devices, Invites: a.open()})
	case n == 17:
		if open := a.open(); len(open) > 0 {
			a.close(a.find(open[h.IntN(len(open))]))
		}
	case n == 18:
		if s := a.state(); true {
			for _, r := range s.full.kept {
				if s.Verdicts[r.Hash] == Waiting {
					a.control(Record{Kind: Admit, Joins: []Hash{r.Hash}})
					break
				}
			}
		}
	case n == 19 && role == Owner:
		a.checkpoint()
	case n == 20 && role == Owner && h.IntN(3) == 0:
		o := h.pick()
		a.control(Record{Kind: Transfer, Subject: o.id, Joins: a.logs(o.id)})
	case n == 21:
		r := h.device(a.id, 0).sync(a)
		r.log = fmt.Sprintf("r/%d", len(h.all))
		r.control(Record{Kind: Revoke, Subject: h.pick().dev})
		a.sync(r)
	case n == 22 && h.IntN(3) == 0 && len(h.as) < 30:
		h.as = append(h.as, h.recover(a.id, len(h.as)+10, "key"+strconv.Itoa(1+h.IntN(2)), "key"+strconv.Itoa(2+h.IntN(2)), a))
	default:
		a.op(h.name(), "1", h.shape())
	}
}

func (b *book) find(hash Hash) *Record {
	return b.all[slices.IndexFunc(b.all, func(r *Record) bool { return r.Hash == hash })]
}

// come has a device join, perhaps long after.
func (h *history) come(a *author, v *Record) {
	if h.alone || len(h.as) >= 30 || h.IntN(3) == 0 {
		return
	}
	id := cmp.Or(v.Subject, fmt.Sprintf("m%d", h.IntN(12)))
	if h.IntN(9) == 0 {
		id = "somebody"
	}
	h.as = append(h.as, a.join(id, len(h.as)+10, v))
}

// attack has an author write whatever can be written: it admits to have seen what it
// likes, dates it as it likes, forks its logs, names what is not there.
func (h *history) attack(a *author) {
	keep := h.IntN(4)
	a.thin = func(r *Record) bool { return r.Log == a.log || keep == 0 || h.IntN(4) < keep }
	defer func() { a.thin = nil }()
	if h.IntN(10) == 0 {
		for _, r := range a.records() {
			if r.Log == a.log && h.IntN(3) == 0 {
				a.last = r
			}
			if r.Of == a.log && h.IntN(3) == 0 {
				a.own = r
			}
		}
	}
	some := filter(a.records(), func(r *Record) bool { return r.control() && h.IntN(2) == 0 })
	r := Record{Subject: h.someone(), Role: Role(h.IntN(6)), Delegated: h.IntN(3) == 0, Lone: h.IntN(2) == 0, Name: h.name(), Doc: strconv.Itoa(h.IntN(3)), Shape: h.shape(), Insert: h.IntN(3) == 0, Def: h.def()}
	for _, q := range some {
		switch {
		case q.first():
			r.Joins = append(r.Joins, q.Hash)
		case q.Kind == Invite:
			r.Grant = q.Hash
		}
	}
	_, _, clock := a.tips()
	if h.IntN(3) == 0 {
		r.Clock = clock + 1 + h.IntN(20)
	}
	if h.IntN(15) == 0 {
		r.Control = append(r.Control, "made up")
	}
	switch h.IntN(7) {
	case 0, 1: // control operations
		kinds := []Kind{Invite, Close, Admit, SetRole, SetRole, Remove, Remove, Device, Rotate, Checkpoint, Transfer, Announce}
		r.Kind = kinds[h.IntN(len(kinds))]
		if r.Kind == SetRole && h.IntN(2) == 0 {
			r.Subject, r.Joins = a.id, a.logs(a.id)
		}
		if r.Kind == Transfer && h.IntN(3) == 0 {
			r.Subject = ""
		}
		if r.Kind == Checkpoint {
			r.T = h.IntN(60)
		}
		_, r.Devices = a.standing("")
		q := a.control(r)
		if q.Kind == Invite || q.Kind == Device {
			h.come(a, q)
		}
	case 2: // a join by any invite that it knows, of another device, or again of its own
		if r.Grant != "" && len(h.as) < 30 {
			j := h.device(a.id, 1+h.IntN(40)).sync(a)
			r.Kind, r.Control = Join, append(r.Control, r.Grant)
			r.Clock = 0
			j.control(r)
			h.as = append(h.as, j)
		}
	case 3:
		r.Kind, r.T = Horizon, max(1, clock-h.IntN(20)+h.IntN(3))
		a.data(r)
	case 4:
		r.Kind = Define
		if h.IntN(6) == 0 {
			r.Data = []Head{{"d/ann.1", h.IntN(9), "made up"}}
		}
		q := a.data(r)
		if h.IntN(8) == 0 {
			q.Data = append(q.Data, Head{"d/ann.1", 1 + h.IntN(9), "made up"})
		}
	default:
		r.Kind = Op
		a.data(r)
	}
}

// histories calls f for so many histories as are asked for; it is told the seed.
func histories(t *testing.T, f func(*testing.T, uint64, *history, *State)) {
	n := 1000
	if s := os.Getenv("WEFT_HISTORIES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	from, _ := strconv.Atoi(os.Getenv("WEFT_HISTORY_FROM"))
	for seed := from; seed < from+n && !t.Failed(); seed++ {
		h := newHistory(uint64(seed))
		f(t, uint64(seed), h, Judge(h.genesis, h.all))
		if t.Failed() {
			t.Logf("history %d: %d records", seed, len(h.all))
		}
	}
}
