package thread

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A controlWorld makes control records of several devices that each see some of
// the records of the others.
type controlWorld struct {
	t       *rapid.T
	thread  format.ThreadID
	genesis *format.Genesis
	devices []*keys.Device
	certs   [][]byte
	invites []*keys.Identity
	records []*controlRecord
	logs    map[int][]*controlRecord // by device
	ids     map[int]clock.LogID
	clock   clock.Time
}

func newControlWorld(t *rapid.T, devices int) *controlWorld {
	w := &controlWorld{t: t, thread: format.ThreadID{1}, logs: map[int][]*controlRecord{}, ids: map[int]clock.LogID{}, clock: 100}
	for i := range devices {
		d := keys.NewDevice()
		cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := cert.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			w.genesis = &format.Genesis{Owner: cert.Identity, Certificate: cert, Time: 1}
		}
		w.devices, w.certs = append(w.devices, d), append(w.certs, b)
		desc := format.NewDescriptor(d.Public().Sign, format.KindControl)
		w.ids[i] = desc.LogID(w.thread)
	}
	return w
}

// add writes a record of a device under what `seen` has folded.
func (w *controlWorld) add(device int, seen *controlGraph, p *format.Control) {
	log := w.logs[device]
	c := &controlRecord{device: w.devices[device].Public().Sign, parents: seen.named(), payload: p}
	if p.Op == format.OpJoin {
		c.parents = seen.namedInJoin(p.Invite)
	}
	w.clock++
	c.time = w.clock
	c.id = clock.RecordID{Log: w.ids[device], Seq: uint64(len(log) + 1), Hash: sha256.Sum256(fmt.Append(nil, len(w.records), rapid.Uint64().Draw(w.t, "hash")))}
	if len(log) > 0 {
		if prev := log[len(log)-1].id.Hash; !slices.Contains(c.parents, prev) {
			c.parents = append(c.parents, prev)
		}
	}
	w.records, w.logs[device] = append(w.records, c), append(log, c)
}

func (w *controlWorld) data(device int) []byte {
	d := format.NewDescriptor(w.devices[device].Public().Sign, format.KindData)
	return d.Encode()
}

// step lets one device, which sees some of the records, do something.
func (w *controlWorld) step() {
	device := rapid.IntRange(0, len(w.devices)-1).Draw(w.t, "device")
	seen := w.view(device)
	switch joined := len(w.logs[device]) > 0; {
	case device == 0 && !joined:
		w.add(0, seen, &format.Control{Op: format.OpOpen, Name: "n"})
	case !joined:
		if len(seen.state().invites) == 0 {
			return
		}
		known := slices.SortedFunc(maps.Keys(seen.state().invites), format.CompareHashes)
		w.join(device, seen, rapid.SampledFrom(known).Draw(w.t, "invite"))
	default:
		switch rapid.IntRange(0, 4).Draw(w.t, "op") {
		case 0:
			id := keys.NewIdentity()
			w.invites = append(w.invites, id)
			w.add(device, seen, &format.Control{Op: format.OpInvite, Key: id.Public(), Role: rapid.SampledFrom([]format.Role{format.RoleOwner, format.RoleWriter}).Draw(w.t, "role"), Uses: rapid.Uint64Range(0, 2).Draw(w.t, "uses")})
		case 1:
			if known := slices.SortedFunc(maps.Keys(seen.state().invites), format.CompareHashes); len(known) > 0 {
				w.add(device, seen, &format.Control{Op: format.OpClose, Invite: rapid.SampledFrom(known).Draw(w.t, "closed"), Joins: w.someJoins()})
			}
		case 4:
			w.add(device, seen, &format.Control{Op: format.OpAdmit, Joins: w.someJoins()})
		default:
			w.add(device, seen, &format.Control{Op: format.OpLog, Data: w.data(device)})
		}
	}
}

// someJoins picks joins that were made, whoever knows them.
func (w *controlWorld) someJoins() (hs []clock.Hash) {
	for _, c := range w.records {
		if c.payload.Op == format.OpJoin && rapid.Bool().Draw(w.t, "listed") {
			hs = append(hs, c.id.Hash)
		}
	}
	slices.SortFunc(hs, format.CompareHashes)
	return hs
}

// inviteOf is the record that makes the n-th invite.
func (w *controlWorld) inviteOf(n int) clock.Hash {
	i := slices.IndexFunc(w.records, func(c *controlRecord) bool {
		return c.payload.Op == format.OpInvite && c.payload.Key == w.invites[n].Public()
	})
	return w.records[i].id.Hash
}

func (w *controlWorld) join(device int, seen *controlGraph, invite clock.Hash) {
	key := seen.records[seen.index[invite]].payload.Key
	for _, id := range w.invites {
		if id.Public() == key {
			log := w.ids[device]
			p := &format.Control{Op: format.OpJoin, Invite: invite, Certificate: w.certs[device], Data: w.data(device)}
			p.Signature = id.Sign(format.DomainJoin, w.thread[:], log[:], p.Certificate, p.Data)
			w.add(device, seen, p)
		}
	}
}

// view folds a part of the records that is closed under parents and holds the
// device's own.
func (w *controlWorld) view(device int) *controlGraph {
	g := newControlGraph(w.thread, w.genesis)
	want := map[clock.Hash]bool{}
	mark := func(c *controlRecord) {
		want[c.id.Hash] = true
	}
	for i := len(w.records) - 1; i >= 0; i-- {
		c := w.records[i]
		if want[c.id.Hash] || c.id.Log == w.ids[device] || rapid.IntRange(0, 3).Draw(w.t, "seen") > 0 {
			mark(c)
			for _, p := range c.parents {
				want[p] = true
			}
		}
	}
	for _, c := range w.records {
		if want[c.id.Hash] && g.check(c) == nil {
			g.add(c)
		}
	}
	return g
}

// deliver folds all records, in an order in which parents need not come first:
// what lacks a parent waits.
func (w *controlWorld) deliver(order []int) *controlGraph {
	g := newControlGraph(w.thread, w.genesis)
	var waiting []*controlRecord
	for _, i := range order {
		c := *w.records[i] // rank is set as it is checked
		waiting = append(waiting, &c)
		for n := -1; n != len(waiting); {
			n = len(waiting)
			waiting = slices.DeleteFunc(waiting, func(c *controlRecord) bool {
				if _, lacks := g.lacks(c); lacks || g.check(c) != nil {
					return false
				}
				g.add(c)
				return true
			})
		}
	}
	return g
}

func describe(g *controlGraph) string {
	s := g.state()
	out := fmt.Sprintln(s.name, g.heads, s.voided())
	var lines []string
	for _, m := range s.members {
		lines = append(lines, fmt.Sprintf("%+v", *m))
	}
	for _, i := range s.invites {
		lines = append(lines, fmt.Sprintf("%+v", *i))
	}
	for log, m := range s.standing {
		lines = append(lines, fmt.Sprintf("%v %+v", log, *m))
	}
	for _, j := range s.waiting {
		lines = append(lines, fmt.Sprintf("%+v", j))
	}
	for id, l := range s.logs {
		lines = append(lines, fmt.Sprintf("%v %+v", id, l))
	}
	for _, r := range s.refused {
		lines = append(lines, fmt.Sprintf("%+v", r))
	}
	slices.Sort(lines)
	return fmt.Sprintln(out, lines)
}

// recursiveOrder is the order of the fold by its definition: by seniority and hash, each
// record after its ancestors, which come in the same order among themselves.
func recursiveOrder(g *controlGraph) (order []int) {
	done := map[int]bool{}
	var emit func(set []int)
	emit = func(set []int) {
		slices.SortFunc(set, func(a, b int) int { return g.records[a].before(g.records[b]) })
		for _, i := range set {
			if !done[i] {
				emit(slices.DeleteFunc(g.ancestors(g.records[i].parents), func(i int) bool { return done[i] }))
				done[i] = true
				order = append(order, i)
			}
		}
	}
	all := make([]int, len(g.records))
	for i := range all {
		all[i] = i
	}
	emit(all)
	return order
}

// The same control records give the same state, in whatever order they come.
func TestControlFoldIsTheSameInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 4)
		for range rapid.IntRange(5, 25).Draw(t, "steps") {
			w.step()
		}
		order := make([]int, len(w.records))
		for i := range order {
			order[i] = i
		}
		want := w.deliver(order)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range 3 {
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			if got := w.deliver(order); describe(got) != describe(want) {
				t.Fatalf("order %v: got\n%swant\n%s", order, describe(got), describe(want))
			}
		}
		if got := recursiveOrder(want); !slices.Equal(got, want.order()) {
			t.Fatalf("order %v, want %v", want.order(), got)
		}
		// Applying on top gave what folding anew gives.
		again := newControlState()
		again.rank(want.records)
		for _, i := range want.order() {
			again.apply(want.records[i])
		}
		g := *want
		g.folded = again
		if describe(&g) != describe(want) {
			t.Fatalf("got\n%swant\n%s", describe(want), describe(&g))
		}
	})
}

// A close that does not list a join keeps it out, whichever has seen which and whatever
// their clocks and hashes are; an admit lets it in.
func TestCloseAndAdmit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 2)
		all := func() *controlGraph { return w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order")) }
		w.add(0, all(), &format.Control{Op: format.OpOpen})
		w.invites = []*keys.Identity{keys.NewIdentity()}
		w.add(0, all(), &format.Control{Op: format.OpInvite, Key: w.invites[0].Public(), Role: format.RoleWriter})
		seen, end := all(), &format.Control{Op: format.OpClose, Invite: w.inviteOf(0)}
		switch rapid.IntRange(0, 3).Draw(t, "which first") {
		case 0:
			w.join(1, seen, w.inviteOf(0))
			w.add(0, seen, end)
		case 1:
			w.add(0, seen, end)
			w.join(1, seen, w.inviteOf(0))
		case 2:
			w.join(1, seen, w.inviteOf(0))
			w.add(0, all(), end)
		case 3:
			w.add(0, seen, end)
			w.join(1, all(), w.inviteOf(0))
		}
		w.add(0, all(), &format.Control{Op: format.OpLog, Data: w.data(0)}) // has seen both
		g := all()
		if s := g.state(); len(s.members) != 1 || len(s.void) != 1 || len(s.waiting) != 1 {
			t.Fatalf("got %s", describe(g))
		}
		w.add(0, all(), &format.Control{Op: format.OpAdmit, Joins: []clock.Hash{g.state().waiting[0].Join}})
		if s := all().state(); len(s.members) != 2 || len(s.void) != 0 || len(s.waiting) != 0 {
			t.Fatalf("got %s", describe(all()))
		}
	})
}

func TestSurplusJoinIsVoid(t *testing.T) {
	o, a, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: 1})
	ta, tb := a.join(t, to, inv), b.join(t, to, inv) // neither knows of the other
	a.write(t, ta, "of a")
	b.write(t, tb, "of b")
	var void [][]clock.LogID
	for _, th := range []*Thread{to, ta, tb} {
		th.Attach(&Attachment{Voided: func(c Cut) { void = append(void, slices.Collect(maps.Keys(c.Void))) }})
	}
	for _, pair := range [][2]*Thread{{to, ta}, {to, tb}, {ta, tb}, {tb, ta}, {ta, to}, {tb, to}} {
		err := pull(t.Context(), pair[0], pair[1], 1<<20)
		var r *Rejection
		if err != nil && (!errors.As(err, &r) || r.Hostile()) {
			t.Fatal(err)
		}
	}
	if len(void) != 3 || !slices.Equal(void[0], void[1]) || !slices.Equal(void[0], void[2]) || len(void[0]) != 1 {
		t.Fatalf("got void logs %v, want the same one three times", void)
	}
	for _, th := range []*Thread{to, ta, tb} {
		if got := len(th.Members()); got != 2 {
			t.Fatalf("got %d members, want 2", got)
		}
		if got := th.Refused(); len(got) != 1 || got[0].Kind != fault.Void {
			t.Fatalf("got %+v", got)
		}
	}
	loser, node := ta, a
	if void[0][0] == tb.ownData.id {
		loser, node = tb, b
	}
	if _, err := appendAll(node.env, loser, "late"); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a write of who is no member", err)
	}
}

func TestInvitesAreRefusedByName(t *testing.T) {
	o, a, b := newMemoryNode(t), newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	ctx := t.Context()
	if _, err := to.CreateInvite(ctx, InviteOptions{Role: format.RoleReader}); !errors.Is(err, format.ErrOperation) {
		t.Fatalf("got %v, want ErrOperation", err)
	}
	revoked := o.invite(t, to, InviteOptions{Uses: -1})
	ta := a.join(t, to, revoked)
	if err := to.RevokeInvite(ctx, revoked.Key()); err != nil {
		t.Fatal(err)
	}
	expired := o.invite(t, to, InviteOptions{Expires: time.Nanosecond})
	for _, inv := range []format.Invite{revoked, expired} {
		tb, err := Join(ctx, newMemoryNode(t).env, inv, to.Genesis())
		if err != nil {
			t.Fatal(err)
		}
		opened(t, tb)
		if err := tb.FinishJoin(ctx); !errors.Is(err, ErrNoInvite) {
			t.Fatalf("got %v before anything came, want ErrNoInvite", err)
		}
		mustPull(t, tb, to)
		if err := tb.FinishJoin(ctx); !errors.Is(err, ErrInvite) {
			t.Fatalf("got %v, want ErrInvite", err)
		}
	}
	if _, err := ta.CreateInvite(ctx, InviteOptions{}); !errors.Is(err, ErrNotMember) {
		t.Fatalf("got %v of a writer's invite, want ErrNotMember", err)
	}
	if _, err := Join(ctx, b.env, revoked, anotherGenesis(t)); !errors.Is(err, format.ErrMalformed) {
		t.Fatalf("got %v of another thread's genesis, want ErrMalformed", err)
	}
}

// A join under way survives a restart.
func TestJoinResumes(t *testing.T) {
	o, a := newMemoryNode(t), newMemoryNode(t)
	to := o.create(t)
	o.write(t, to, "one")
	inv := o.invite(t, to, InviteOptions{})
	ta, err := Join(t.Context(), a.env, inv, to.Genesis())
	if err != nil {
		t.Fatal(err)
	}
	mustPull(t, ta, to)
	if ws, err := ta.Waiting(); err != nil || len(ws) != 1 {
		t.Fatalf("got %v, %v, want the data log to wait for the read key", ws, err)
	}
	ta.Close()
	if ta, err = Open(t.Context(), a.env, to.ID()); err != nil {
		t.Fatal(err)
	}
	opened(t, ta)
	if _, ok := ta.pendingInvite(); !ok || ta.Joined() {
		t.Fatal("the join under way was forgotten")
	}
	if err := ta.FinishJoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, ta, "one")
	a.write(t, ta, "two")
	mustPull(t, to, ta)
	wantPayloads(t, to, "one", "two")
}

// voided returns the void logs, sorted.
func (s *controlState) voided() []clock.LogID {
	return slices.SortedFunc(maps.Keys(s.void), func(a, b clock.LogID) int { return bytes.Compare(a[:], b[:]) })
}
