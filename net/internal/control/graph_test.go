package control

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
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
	proxies [][]byte // delegations of the same devices by the same identities
	invites []*keys.Identity
	owners  map[keys.PublicKey]*keys.Identity // by public key
	recover []*keys.Identity                  // recovery keys, the first is the genesis'
	records []*Record
	logs    map[int][]*Record // by device
	ids     map[int]clock.LogID
	clock   clock.Time
	eager   bool // the state is asked for after each record
}

func newControlWorld(t *rapid.T, devices int) *controlWorld {
	w := &controlWorld{t: t, thread: format.ThreadID{1}, logs: map[int][]*Record{}, ids: map[int]clock.LogID{}, clock: 100, owners: map[keys.PublicKey]*keys.Identity{}}
	id := keys.NewIdentity()
	w.recover = append(w.recover, keys.NewIdentity())
	for i := range devices {
		d := keys.NewDevice()
		if i > 0 && rapid.Bool().Draw(t, "another identity") {
			id = keys.NewIdentity()
		}
		cert, err := id.Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := cert.Encode()
		if err != nil {
			t.Fatal(err)
		}
		rights := keys.RightWrite | keys.RightCreate
		if rapid.IntRange(0, 3).Draw(t, "admits") > 0 {
			rights |= keys.RightAdmit
		}
		proxy, err := id.Delegate(d.Public(), keys.DelegateOptions{Issued: time.Unix(1, 0), Rights: rights, Expires: time.Unix(int64(2+i), 0)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			w.genesis = &format.Genesis{Owner: cert.Identity, Certificate: cert, Time: 1, Recovery: w.recover[0].Public()}
		}
		bp, err := proxy.Encode()
		if err != nil {
			t.Fatal(err)
		}
		w.proxies = append(w.proxies, bp)
		w.owners[id.Public()] = id
		w.devices, w.certs = append(w.devices, d), append(w.certs, b)
		desc := format.NewDescriptor(d.Public().Sign, format.KindControl, clock.LogID{})
		w.ids[i] = desc.LogID(w.thread)
	}
	return w
}

// delegate has a delegated device begin the thread, sometimes.
func (w *controlWorld) delegate() {
	if rapid.IntRange(0, 2).Draw(w.t, "delegated genesis") > 0 {
		return
	}
	d, err := keys.DecodeDelegation(w.proxies[0])
	if err != nil {
		w.t.Fatal(err)
	}
	w.genesis.Certificate, w.genesis.Delegation = nil, d
}

// add writes a record of a device under what `seen` has folded. A revocation is the
// identity's, in a log of its own.
func (w *controlWorld) add(device int, seen *Graph, p *format.Control) {
	log, id := w.logs[device], w.ids[device]
	c := &Record{Device: w.devices[device].Public().Sign, Parents: seen.Named(), Payload: p}
	switch p.Op {
	case format.OpJoin:
		c.Parents = seen.NamedInJoin(p.Invite)
	case format.OpStart:
		c.Parents = seen.NamedInJoin(p.Added)
	case format.OpRevoke:
		c.Device = w.certified(device).Identity
		desc := format.NewDescriptor(c.Device, format.KindControl, clock.LogID{})
		log, id, device = nil, desc.LogID(w.thread), -1
		c.Parents = seen.NamedWith(p)
	}
	w.clock++
	c.Time = w.clock
	c.ID = clock.RecordID{Log: id, Seq: uint64(len(log) + 1), Hash: sha256.Sum256(fmt.Append(nil, len(w.records), rapid.Uint64().Draw(w.t, "hash")))}
	if len(log) > 0 {
		if prev := log[len(log)-1].ID.Hash; !slices.Contains(c.Parents, prev) {
			c.Parents = append(c.Parents, prev)
		}
	}
	if try := *c; seen.Check(&try) != nil {
		return // nobody would keep it
	}
	w.records = append(w.records, c)
	if device >= 0 {
		w.logs[device] = append(log, c)
	}
}

func (w *controlWorld) data(device int) []byte {
	d := format.NewDescriptor(w.devices[device].Public().Sign, format.KindData, w.ids[device])
	return d.Encode()
}

// step lets one device, which sees some of the records, do something.
func (w *controlWorld) step() {
	device := rapid.IntRange(0, len(w.devices)-1).Draw(w.t, "device")
	seen := w.graph(device)
	switch joined := len(w.logs[device]) > 0; {
	case device == 0 && !joined:
		w.add(0, seen, &format.Control{Op: format.OpOpen, Name: "n"})
	case !joined && rapid.IntRange(0, 11).Draw(w.t, "recover") == 0:
		w.recovers(device, seen)
	case !joined:
		if by := seen.added[w.devices[device].Public().Sign]; len(by) > 0 && rapid.IntRange(0, 4).Draw(w.t, "start") > 0 {
			w.add(device, seen, &format.Control{Op: format.OpStart, Added: rapid.SampledFrom(by).Draw(w.t, "added by").ID.Hash, Data: w.data(device)})
			return
		}
		if len(seen.State().Invites) == 0 {
			return
		}
		known := slices.SortedFunc(maps.Keys(seen.State().Invites), format.CompareHashes)
		w.join(device, seen, rapid.SampledFrom(known).Draw(w.t, "invite"))
	default:
		switch rapid.IntRange(0, 12).Draw(w.t, "op") {
		case 0:
			id := keys.NewIdentity()
			w.invites = append(w.invites, id)
			w.add(device, seen, &format.Control{Op: format.OpInvite, Key: id.Public(), Role: w.role(), Uses: rapid.Uint64Range(0, 2).Draw(w.t, "uses")})
		case 1:
			if known := slices.SortedFunc(maps.Keys(seen.State().Invites), format.CompareHashes); len(known) > 0 {
				w.add(device, seen, &format.Control{Op: format.OpClose, Invite: rapid.SampledFrom(known).Draw(w.t, "closed"), Joins: w.someJoins()})
			}
		case 4:
			w.add(device, seen, &format.Control{Op: format.OpAdmit, Joins: w.someJoins()})
		case 5:
			id, logs := w.identity()
			w.add(device, seen, &format.Control{Op: format.OpRole, Subject: id, Role: w.role(), Joins: logs, View: w.view(id)})
		case 6:
			id, _ := w.identity()
			w.add(device, seen, &format.Control{Op: format.OpRemove, Subject: id, Joins: w.someJoins(), View: w.view(id), Epoch: &format.Epoch{}})
		case 7:
			p := &format.Control{Op: format.OpTransfer, View: w.view(w.certified(device).Identity)}
			if rapid.Bool().Draw(w.t, "successor") {
				p.Subject, p.Joins = w.identity()
			}
			w.add(device, seen, p)
		case 8:
			w.add(device, seen, &format.Control{Op: format.OpRotate, Epoch: &format.Epoch{}})
		case 9, 10:
			i := w.other(device)
			p := &format.Control{Op: format.OpDevice, Certificate: w.certs[i], Subject: w.certified(i).Sign}
			if rapid.IntRange(0, 2).Draw(w.t, "delegated") == 0 {
				p.Certificate, p.Delegated = w.proxies[i], true
			}
			w.add(device, seen, p)
		case 11:
			i := w.other(device)
			w.add(device, seen, &format.Control{Op: format.OpRevoke, Subject: w.certified(i).Sign, View: w.view(w.certified(i).Identity)})
		default:
			w.add(device, seen, &format.Control{Op: format.OpLog, Data: w.data(device)})
		}
	}
}

// other picks a device, more often of the identity of another one.
func (w *controlWorld) other(device int) int {
	i := rapid.IntRange(0, len(w.devices)-1).Draw(w.t, "other")
	for range len(w.devices) {
		if w.certified(i).Identity == w.certified(device).Identity && i != device {
			break
		}
		i = (i + 1) % len(w.devices)
	}
	return i
}

// recovers uses one of the keys that the thread commits to, or will.
func (w *controlWorld) recovers(device int, seen *Graph) {
	key := rapid.SampledFrom(w.recover).Draw(w.t, "recovery key")
	p := &format.Control{Op: format.OpRecover, Certificate: w.certs[device], Data: w.data(device), Key: key.Public(), View: w.view(w.genesis.Owner)}
	if rapid.IntRange(0, 3).Draw(w.t, "next") > 0 {
		w.recover = append(w.recover, keys.NewIdentity())
		p.Next = w.recover[len(w.recover)-1].Public()
	}
	p.SignRecover(w.thread, w.ids[device], key)
	w.add(device, seen, p)
}

func (w *controlWorld) role() format.Role {
	return format.Role(rapid.IntRange(1, 4).Draw(w.t, "role"))
}

func (w *controlWorld) certified(device int) *keys.Certificate {
	c, err := keys.DecodeCertificate(w.certs[device])
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// identity picks one of a device, or the device, with the first records of its logs.
func (w *controlWorld) identity() (keys.PublicKey, []clock.Hash) {
	i := rapid.IntRange(0, len(w.devices)-1).Draw(w.t, "subject")
	c := w.certified(i)
	var firsts []clock.Hash
	for j := range w.devices {
		if w.certified(j).Identity == c.Identity && len(w.logs[j]) > 0 {
			firsts = append(firsts, w.logs[j][0].ID.Hash)
		}
	}
	slices.SortFunc(firsts, format.CompareHashes)
	if rapid.IntRange(0, 3).Draw(w.t, "by device") == 0 {
		return c.Sign, firsts
	}
	return c.Identity, firsts
}

// view is heads of the data logs of an identity, at some positions.
func (w *controlWorld) view(id keys.PublicKey) (heads []clock.RecordID) {
	for _, c := range w.records {
		i := slices.IndexFunc(w.devices, func(d *keys.Device) bool { return d.Public().Sign == c.Device })
		if c.Payload.Data == nil || w.certified(i).Identity != id && c.Device != id || !rapid.Bool().Draw(w.t, "head") {
			continue
		}
		heads = append(heads, w.dataRecord(format.LogIDOf(w.thread, c.Payload.Data), rapid.IntRange(1, dataRecords).Draw(w.t, "up to")))
	}
	slices.SortFunc(heads, format.CompareIDs)
	return slices.Compact(heads)
}

// dataRecords is how many records each data log has.
const dataRecords = 4

func (*controlWorld) dataRecord(log clock.LogID, seq int) clock.RecordID {
	return clock.RecordID{Log: log, Seq: uint64(seq), Hash: sha256.Sum256(fmt.Append(nil, log, seq))}
}

// someJoins picks joins that were made, whoever knows them.
func (w *controlWorld) someJoins() (hs []clock.Hash) {
	for _, c := range w.records {
		if c.Payload.Op == format.OpJoin && rapid.Bool().Draw(w.t, "listed") {
			hs = append(hs, c.ID.Hash)
		}
	}
	slices.SortFunc(hs, format.CompareHashes)
	return hs
}

// inviteOf is the record that makes the n-th invite.
func (w *controlWorld) inviteOf(n int) clock.Hash {
	i := slices.IndexFunc(w.records, func(c *Record) bool {
		return c.Payload.Op == format.OpInvite && c.Payload.Key == w.invites[n].Public()
	})
	return w.records[i].ID.Hash
}

func (w *controlWorld) join(device int, seen *Graph, invite clock.Hash) {
	key := seen.index[invite].Payload.Key
	for _, id := range w.invites {
		if id.Public() == key {
			log := w.ids[device]
			p := &format.Control{Op: format.OpJoin, Invite: invite, Certificate: w.certs[device], Data: w.data(device)}
			p.Signature = id.Sign(format.DomainJoin, w.thread[:], log[:], p.Certificate, p.Data)
			w.add(device, seen, p)
		}
	}
}

// graph folds a part of the records that is closed under parents and holds the
// device's own.
func (w *controlWorld) graph(device int) *Graph {
	g := New(w.thread, w.genesis)
	want := map[clock.Hash]bool{}
	mark := func(c *Record) {
		want[c.ID.Hash] = true
	}
	for i := len(w.records) - 1; i >= 0; i-- {
		c := w.records[i]
		if want[c.ID.Hash] || c.ID.Log == w.ids[device] || rapid.IntRange(0, 3).Draw(w.t, "seen") > 0 {
			mark(c)
			for _, p := range c.Parents {
				want[p] = true
			}
		}
	}
	for _, c := range w.records {
		if c := *c; want[c.ID.Hash] && g.Check(&c) == nil {
			g.Add(&c)
		}
	}
	return g
}

// deliver folds all records, in an order in which parents need not come first:
// what lacks a parent waits.
func (w *controlWorld) deliver(order []int) *Graph {
	g := New(w.thread, w.genesis)
	var waiting []*Record
	for _, i := range order {
		c := *w.records[i] // what add sets is the graph's
		waiting = append(waiting, &c)
		for n := -1; n != len(waiting); {
			n = len(waiting)
			waiting = slices.DeleteFunc(waiting, func(c *Record) bool {
				if _, lacks := g.Lacks(c); lacks || g.Check(c) != nil {
					return false
				}
				g.Add(c)
				if w.eager {
					g.State() // so that the next one is applied on top
				}
				return true
			})
		}
	}
	return g
}

func describe(g *Graph) string {
	s := g.State()
	out := fmt.Sprintln(s.Name, g.heads, s.Epochs())
	var lines []string
	for _, m := range s.Members {
		n := *m
		n.entry = nil
		lines = append(lines, fmt.Sprintf("%+v", n))
	}
	for _, i := range s.Invites {
		lines = append(lines, fmt.Sprintf("%+v", *i))
	}
	lines = append(lines, s.Authority().String())
	for log, live := range s.live {
		lines = append(lines, fmt.Sprintf("%v %v", log, live))
	}
	for _, j := range s.Waiting {
		lines = append(lines, fmt.Sprintf("%+v", j))
	}
	g.Announced(func(log, control clock.LogID) {
		line := fmt.Sprintf("%v %v %v", log, control, g.Split(log))
		for _, r := range g.Rights(log) {
			r.g, r.first = nil, nil
			if r.grant != nil {
				line += " by " + r.grant.ID.String()
			}
			r.grant = nil
			for _, seen := range [][][]clock.RecordID{r.Within, r.until} {
				slices.SortFunc(seen, func(a, b []clock.RecordID) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
			line += fmt.Sprintf(" %+v", r)
		}
		lines = append(lines, line)
	})
	for _, r := range s.Refused {
		lines = append(lines, fmt.Sprintf("%+v", r))
	}
	slices.Sort(lines)
	return fmt.Sprintln(out, lines)
}

// anew returns the graph with its fold made again.
func anew(g *Graph) *Graph {
	h := *g
	h.folded = newState(&h)
	h.folded.fold()
	return &h
}

// The same control records give the same state, in whatever order they come.
func TestControlFoldIsTheSameInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 4)
		w.delegate()
		for range rapid.IntRange(5, 25).Draw(t, "steps") {
			w.step()
		}
		order := make([]int, len(w.records))
		for i := range order {
			order[i] = i
		}
		want := w.deliver(order)
		w.eager = true
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range 3 {
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			got := w.deliver(order)
			got.State().rule() // which may stay while no role of a log that was there changes
			if describe(got) != describe(want) {
				t.Fatalf("order %v: got\n%swant\n%s", order, describe(got), describe(want))
			}
		}
		if again := anew(want); describe(again) != describe(want) {
			t.Fatalf("applied on top\n%sfolded anew\n%s", describe(want), describe(again))
		}
	})
}

// A close that does not list a join keeps it out, whichever has seen which and whatever
// their clocks and hashes are; an admit lets it in.
func TestCloseAndAdmit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 2)
		all := func() *Graph { return w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order")) }
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
		if s := g.State(); len(s.Members) != 1 || len(s.Waiting) != 1 {
			t.Fatalf("got %s", describe(g))
		}
		w.add(0, all(), &format.Control{Op: format.OpAdmit, Joins: []clock.Hash{g.State().Waiting[0].Join}})
		if s := all().State(); len(s.Members) != 2 || len(s.Waiting) != 0 {
			t.Fatalf("got %s", describe(all()))
		}
	})
}
