package adversary

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/wire"
	"github.com/weftdb/weft/node"
)

var strangers = []attack{
	{
		name: "learns", row: 10, play: strangerLearns,
		tried:   "connects, and listens to all that a host says by itself; then asks for a thread by its ID",
		remains: "Who knows a thread's ID, which no host tells, hears from its refusal that the host holds it. Who has the service key (from a URL) names the thread itself, and is told it back.",
	},
	{
		name: "expired-url", row: 5, play: strangerExpired,
		tried:   "has the URL of an expired invite and the control logs, dates its join to the invite + 1 and lets the owner pull it",
		remains: "A hostile member can bring it in until the invite is closed, a day after it expired, or by hand: the fold cannot know when a join was made. What it then reads it has.",
	},
	{
		name: "expired-certificate", play: strangerCertificate,
		tried: "joins by an open invite as a device whose certificate has expired",
	},
	{
		name: "ground-joins", row: 3, play: strangerGroundJoins,
		tried:   "has the URL of an invite of four uses, two of which are used, and offers twenty joins with hashes ground below those of the honest",
		remains: "It uses up the uses that are left: an invite's URL is a bearer secret.",
	},
	{
		name: "useless-joins", row: 7, play: strangerUselessJoins,
		tried:   "makes 48 joins by an open invite, with hashes ground to come first, so that they fill the heads of whoever joins next",
		remains: "Each is a member until it is removed: the invite was open.",
	},
	{
		name: "mass-joins", row: 6, play: strangerMassJoins, alone: true,
		tried:   "makes thousands of joins by a used-up, revoked invite, which a hostile member brings past the door",
		remains: "Each costs about a kilobyte of disk and a millisecond at everybody, until 10,000 are kept; then no more. Besides, each stream of the thread looks through all its logs, at most five times a second when they are as many.",
	},
	{
		name: "ended-url", play: strangerEndedURL,
		tried:   "has the URL of an invite that was used up, and what a relay has on its disk",
		remains: "With a relay's disk, an old URL opens what was written before the next rotation. A removal rotates; for a URL that leaked alone, an owner does (`Rotate`).",
	},
	{
		name: "stolen-proof", play: strangerStolenProof,
		tried: "shows the proof of an invite that another device showed it",
	},
	{
		name: "waiting-room", play: strangerWaitingRoom,
		tried:   "has the service key, and fills the memory in which runs of unknown logs wait",
		remains: "While it is full, an honest run that has to wait is refused, and asked for again: it comes later.",
	},
	{
		name: "crowd-at-the-door", play: strangerCrowd, alone: true,
		tried:   "brings a thousand joins by an open invite, of devices whose certificates have expired, which wait at the door",
		remains: "They are looked at again at each control record.",
	},
	{
		name: "relay-without-key", play: strangerAtRelay,
		tried: "asks a relay to keep a thread of its own, without a credential, and with another device's; and asks it for a thread that it keeps",
	},
	{
		name: "identities", play: strangerIdentities, alone: true,
		tried:   "comes with one new device key after the other, names the thread and subscribes; then with many at once",
		remains: "Strangers keep other strangers out, such as those who come with an invite for the first time: they have a quarter of the connections together.",
	},
}

// guise returns the villain as another device of another identity, which forges and is
// brought by the villain itself.
func (v *villain) guise() *villain {
	v.t.Helper()
	id, d := keys.NewIdentity(), keys.NewDevice()
	cert, err := id.Certify(d.Public(), keys.CertifyOptions{Issued: time.Now()})
	must(v.t, err)
	return &villain{t: v.t, identity: id, device: d, cert: cert, sealer: v.sealer, id: v.id, genesis: v.genesis, keys: v.keys, control: v.control, index: v.index}
}

// groundJoin is a join whose hash begins with a zero byte.
func (v *villain) groundJoin(inv format.Invite) format.Run {
	v.t.Helper()
	g := v.guise()
	for {
		c, _, join := g.joinOf(inv, nil)
		if c.prev[0] == 0 {
			return join
		}
	}
}

func strangerLearns(t *testing.T) string {
	o := newOwner(t)
	insert(t, o, "secret")
	x := newVillain(t)
	heard := make(chan int, 4)
	x.h.SetStreamHandler(protoHello, func(s network.Stream) {
		if m, err := wire.Next[wire.Hello](bufio.NewReader(s), 1<<20); err == nil {
			heard <- len(m.Tags)
		}
		_, _ = io.Copy(io.Discard, s)
	})
	x.connect(o)
	select {
	case n := <-heard:
		if n != 0 {
			t.Errorf("it was told %d bytes of tags", n)
		}
	case <-within(t).Done():
		t.Fatal("no hello came")
	}
	protocols, err := x.h.Peerstore().GetProtocols(o.Peer())
	must(t, err)
	for _, p := range protocols {
		if strings.Contains(string(p), "sub") {
			t.Errorf("a host speaks %s, which tells every peer all topics", p)
		}
	}
	ref, err := o.DatabaseRef(name)
	must(t, err)
	x.id = ref.ID
	if g := x.fetch(o, nil, nil); g.refused != "not_member" || len(g.runs) != 0 || g.tips != nil {
		t.Errorf("got %q, %d runs and %d tips of the thread", g.refused, len(g.runs), len(g.tips))
	}
	x.id[0] ^= 1
	if g := x.fetch(o, nil, nil); g.refused != "unknown_thread" {
		t.Errorf("got %q of a thread that nobody has", g.refused)
	}
	return "Nothing was told: no tag of a thread, no topic, not how many there are. The thread that it named was refused (`not_member`), with none of its tips."
}

func strangerExpired(t *testing.T) string {
	o := newOwner(t)
	insert(t, o, "secret")
	expired := invite(t, o, node.InviteOptions{Expires: time.Millisecond, Uses: -1})
	m := newVillain(t)
	m.enters(o, invite(t, o, node.InviteOptions{}))
	x := newVillain(t)
	x.learnFrom(m)
	x.keys = format.RelayKeys(m.id, m.keys.Service)
	inv := x.takeURL(expired)
	eventually(t, "the invite has expired", func() bool { return x.fetch(o, nil, &inv).refused == "bad_invite" })
	join := func(v *villain) format.Run {
		var run format.Run
		v.ownControl, v.ownData, run = v.joinOf(inv, func(h *format.Header) { h.Time = v.index[h.Control[0]].header.Time + 1 })
		return run
	}
	before := info(t, o)
	first := join(x)
	must(t, x.bring(o, first))
	if isMember(t, o, x.sign()) || info(t, o).Records != before.Records || len(members(t, o)) != 2 {
		t.Errorf("it is a member: %v", members(t, o))
	}
	if g := x.fetch(o, nil, nil); g.refused == "" {
		t.Error("it is given the thread")
	}
	// A member brings it.
	must(t, m.bring(o, first))
	if !isMember(t, o, x.sign()) {
		t.Error("it remains possible by a member, says the table")
	}
	// The owner closes the invite.
	all, err := o.Invites(name)
	must(t, err)
	for _, i := range all {
		if i.Key == inv.Key() {
			must(t, o.RevokeInvite(t.Context(), name, i.Key))
		}
	}
	y := newVillain(t)
	y.learnFrom(m)
	y.takeURL(expired)
	must(t, m.bring(o, join(y)))
	if isMember(t, o, y.sign()) {
		t.Error("a join by a closed invite is a member's")
	}
	return "The owner's door, by its own clock, let it wait outside: no member, nothing stored, nothing given. Brought by a hostile member it came in; after the invite was closed, nobody did that way."
}

func strangerCertificate(t *testing.T) string {
	o := newOwner(t)
	url := invite(t, o, node.InviteOptions{Uses: -1})
	x := newVillainOf(t, keys.NewIdentity(), keys.CertifyOptions{Issued: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour)})
	inv := x.takeURL(url)
	x.fetch(o, nil, &inv)
	_, _, join := x.joinOf(inv, nil)
	must(t, x.bring(o, join))
	if len(members(t, o)) != 1 {
		t.Errorf("members %v", members(t, o))
	}
	_, _, back := x.joinOf(inv, func(h *format.Header) { h.Time = x.index[h.Control[0]].header.Time + 1 })
	must(t, x.bring(o, back))
	if len(members(t, o)) != 1 {
		t.Errorf("dated back: members %v", members(t, o))
	}
	return "It stayed outside the door, whatever time its join gave."
}

func strangerGroundJoins(t *testing.T) string {
	o := newOwner(t)
	url := invite(t, o, node.InviteOptions{Uses: 4})
	var honest []*node.Node
	for range 2 {
		n := openNode(t, node.Config{})
		joinBy(t, n, o, url)
		insert(t, n, n.Identity().DID())
		sameEverywhere(t, n, o)
		honest = append(honest, n)
	}
	x := newVillain(t)
	inv := x.takeURL(url)
	x.fetch(o, nil, &inv)
	var joins []format.Run
	for range 20 {
		joins = append(joins, x.groundJoin(inv))
	}
	must(t, x.bring(o, joins...))
	eventually(t, "the invite is used up", func() bool { return len(members(t, o)) == 5 })
	insert(t, o, "after")
	sameEverywhere(t, o, honest[0], honest[1])
	for _, n := range honest {
		for _, at := range append(honest, o) {
			if !isMember(t, at, n.Device()) || !has(t, at, n.Identity().DID()) {
				t.Error("an honest member or its document is gone")
			}
		}
		insert(t, n, "of "+n.Identity().DID())
		sameEverywhere(t, n, o)
		if !has(t, o, "of "+n.Identity().DID()) {
			t.Error("an honest member writes no more")
		}
	}
	return "Two of the twenty came in, as the invite had two uses left; the others stayed at the door. No honest member, and no document, was void at anybody's."
}

func strangerUselessJoins(t *testing.T) string {
	o := newOwner(t)
	url := invite(t, o, node.InviteOptions{Uses: -1})
	x := newVillain(t)
	inv := x.takeURL(url)
	x.fetch(o, nil, &inv)
	var joins []format.Run
	for range 48 {
		joins = append(joins, x.groundJoin(inv))
	}
	must(t, x.bring(o, joins...))
	eventually(t, "they came", func() bool { return len(members(t, o)) == 49 })
	n, other := openNode(t, node.Config{}), newMember(t, o)
	joinBy(t, n, o, url)
	insert(t, n, "of n")
	insert(t, other, "of other")
	sameEverywhere(t, o, n, other)
	if !has(t, o, "of n") || !has(t, n, "of other") {
		t.Error("honest joins fail")
	}
	return "The next to come joined by the same invite, and by another, and what they wrote counted everywhere."
}

func strangerMassJoins(t *testing.T) string {
	home := filepath.Join(t.TempDir(), "home")
	o := openNode(t, node.Config{Home: home})
	_, err := o.CreateDatabase(t.Context(), name)
	must(t, err)
	honest := newMember(t, o)
	insert(t, honest, "honest")
	m := newVillain(t)
	m.enters(o, invite(t, o, node.InviteOptions{}))
	url := invite(t, o, node.InviteOptions{})
	m.takeURL(url)
	m.catchUp(o)
	inv := m.invites[1]
	must(t, o.RevokeInvite(t.Context(), name, inv.Key()))
	var joins []format.Run
	size := 0
	for range massJoins {
		_, _, join := m.guise().joinOf(inv, nil)
		joins, size = append(joins, join), size+len(format.EncodeRun(join))
	}
	half := len(joins) / 2
	var took [2]time.Duration
	for i, js := range [][]format.Run{joins[:half], joins[half:]} {
		took[i] = cpuOf(t, func() {
			for part := range slices.Chunk(js, 500) {
				must(t, m.bring(o, part...))
			}
		})
	}
	w, err := o.WaitingJoins(name)
	must(t, err)
	if len(w) != massJoins || len(members(t, o)) != 3 {
		t.Errorf("%d wait, %d members", len(w), len(members(t, o)))
	}
	if took[1] > 3*took[0]+time.Second {
		t.Errorf("the first half took %v, the second %v: more than linear", took[0], took[1])
	}
	insert(t, o, "after")
	sameEverywhere(t, honest, o)
	must(t, o.Close())
	opened := cpuOf(t, func() {
		o = openNode(t, node.Config{Home: home})
		if len(members(t, o)) != 3 || !has(t, o, "honest") {
			t.Error("not what it was")
		}
	})
	if opened > time.Second {
		t.Errorf("opening took %v", opened)
	}
	return fmt.Sprintf("All wait, each by itself: nobody is member or loses anything by them. %d joins of %d KB in all took %d ms of processor time for the first half and %d ms for the second, at two nodes and the attacker together; opening the home with them, and the database in it, took %d ms of it.",
		massJoins, size>>10, took[0].Milliseconds(), took[1].Milliseconds(), opened.Milliseconds())
}

func strangerEndedURL(t *testing.T) string {
	o := newOwner(t)
	url := invite(t, o, node.InviteOptions{})
	n := openNode(t, node.Config{})
	joinBy(t, n, o, url)
	insert(t, o, "before")
	m := newVillain(t) // reads what the owner has, as a relay would
	m.enters(o, invite(t, o, node.InviteOptions{}))
	x := newVillain(t)
	inv := x.takeURL(url)
	if g := x.fetch(o, nil, &inv); g.refused != "bad_invite" {
		t.Errorf("the owner says %q to who shows it", g.refused)
	}
	x.learnFrom(m)
	x.keys = format.RelayKeys(m.id, m.keys.Service)
	_, _, join := x.joinOf(inv, nil)
	must(t, x.bring(o, join))
	if isMember(t, o, x.sign()) {
		t.Error("it is a member by a used-up invite")
	}
	for _, k := range x.control {
		x.takeKeys(k)
	}
	if opened, sealed := x.opens(x.runs); opened != sealed || opened == 0 {
		t.Errorf("an old URL opens %d of %d records, and the table says all", opened, sealed)
	}
	must(t, o.Rotate(t.Context(), name))
	insert(t, o, "after")
	tips := x.tipsOf()
	g := m.all(o, tips)
	x.learn(g.runs...)
	if opened, sealed := x.opens(g.runs); opened != 0 || sealed == 0 {
		t.Errorf("after a rotation it opens %d of %d", opened, sealed)
	}
	return "No peer gave it anything (`bad_invite`), its join stayed outside. With a relay's disk it read what was written under the epoch of the invite; after a rotation nothing."
}

// tipsOf returns the last records of what it got, by log.
func (v *villain) tipsOf() (tips []clock.RecordID) {
	last := map[clock.LogID]clock.RecordID{}
	for _, run := range v.runs {
		if id, err := run.Last(v.id); err == nil && id.Seq > last[id.Log].Seq {
			last[id.Log] = id
		}
	}
	for _, id := range last {
		tips = append(tips, id)
	}
	slices.SortFunc(tips, format.CompareIDs)
	return tips
}

func strangerStolenProof(t *testing.T) string {
	o := newOwner(t)
	inv, err := format.ParseInvite(invite(t, o, node.InviteOptions{Uses: -1}))
	must(t, err)
	honest := keys.NewDevice()
	public, proof, err := format.ProveInvite(inv, honest.Public().Sign)
	must(t, err)
	x := newVillain(t)
	x.connect(o)
	s, err := x.h.NewStream(within(t), o.Peer(), protoThread)
	must(t, err)
	must(t, wire.NewWriter(s).Send(wire.Subscribe{Version: wire.Version, Thread: inv.Thread[:], Invite: public, Proof: proof}))
	m, err := wire.Next[wire.Refused](bufio.NewReader(s), 1<<20)
	must(t, err)
	if m.Code != "bad_invite" {
		t.Errorf("got %q", m.Code)
	}
	return "Refused (`bad_invite`): a proof names the device."
}

func strangerWaitingRoom(t *testing.T) string {
	o := newOwner(t)
	n := newMember(t, o)
	x := newVillain(t)
	inv := x.takeURL(invite(t, o, node.InviteOptions{Uses: -1}))
	x.fetch(o, nil, &inv)
	url := invite(t, o, node.InviteOptions{})
	var runs []format.Run
	for i := range 1100 { // each names a control record that nobody has
		g := x.guise()
		c := g.newChain(format.KindControl, clock.LogID{})
		runs = append(runs, g.sayOn(c, &format.Control{Op: format.OpJoin}, func(h *format.Header) {
			h.Control = []clock.Hash{{1, byte(i), byte(i >> 8)}}
		}))
	}
	must(t, x.bring(o, runs...))
	y := openNode(t, node.Config{})
	joinBy(t, y, o, url)
	insert(t, y, "of y")
	insert(t, n, "of n")
	sameEverywhere(t, o, n, y)
	if !has(t, o, "of y") || !has(t, o, "of n") {
		t.Error("the honest are kept out")
	}
	if got := len(members(t, o)); got != 3 {
		t.Errorf("%d members", got)
	}
	return "Of 1,100 runs, of which 1,024 may wait in memory, none made anybody a member. Members wrote, and a new one joined, meanwhile."
}

func strangerCrowd(t *testing.T) string {
	o := newOwner(t)
	n := newMember(t, o)
	x := newVillain(t)
	inv := x.takeURL(invite(t, o, node.InviteOptions{Uses: -1}))
	x.fetch(o, nil, &inv)
	calm := timeOf(func() { invite(t, o, node.InviteOptions{}) })
	var joins []format.Run
	for range 1000 {
		g := x.guise()
		var err error
		g.cert, err = g.identity.Certify(g.device.Public(), keys.CertifyOptions{Issued: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour)})
		must(t, err)
		_, _, join := g.joinOf(inv, nil)
		joins = append(joins, join)
	}
	took := timeOf(func() { must(t, x.bring(o, joins...)) })
	busy := timeOf(func() { invite(t, o, node.InviteOptions{}) })
	insert(t, n, "of n")
	sameEverywhere(t, o, n)
	if len(members(t, o)) != 2 {
		t.Errorf("members %v", members(t, o))
	}
	return fmt.Sprintf("Nobody came in. They took %.1f s; a control record of the owner took %d ms before, %d ms with them there.", took.Seconds(), calm.Milliseconds(), busy.Milliseconds())
}

func timeOf(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func strangerAtRelay(t *testing.T) string {
	r := openNode(t, node.Config{Relay: true})
	key, secret, err := r.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	must(t, err)
	o := newOwner(t)
	_, err = o.AddRelay(t.Context(), r.Addrs()[0], node.RelayOptions{Key: key.Text(), Secret: secret.Text()})
	must(t, err)
	becomes(t, o, r.Peer(), "identical")
	ref, err := o.DatabaseRef(name)
	must(t, err)
	x, honest := newVillain(t), newVillain(t)
	x.id = ref.ID
	if g := x.fetch(r, nil, nil); g.refused != "no_credential" {
		t.Errorf("it is told %q of the thread", g.refused)
	}
	genesis, k, err := format.NewGenesis(x.device, x.cert, keys.PublicKey{}, clock.At(time.Now()))
	must(t, err)
	id := format.ThreadIDOf(genesis)
	g, err := secret.Grant(keys.GrantOptions{User: honest.identity.Public(), Audience: r.Device(), Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	must(t, err)
	stolen, err := (&keys.Credential{Grant: g, Certificate: honest.cert}).Encode()
	must(t, err)
	x.connect(r)
	s, err := x.h.NewStream(within(t), r.Peer(), protoHost)
	must(t, err)
	in, w := bufio.NewReader(s), wire.NewWriter(s)
	for _, credential := range [][]byte{nil, stolen} {
		must(t, w.Send(wire.HostRequest{Version: wire.Version, Thread: id[:], Credential: credential, Genesis: genesis, ServiceKey: k.Service[:]}))
		m, err := wire.Next[wire.Refused](in, 1<<20)
		must(t, err)
		if m.Code == "" {
			t.Error("no code")
		}
	}
	if r.Kept() != 1 {
		t.Errorf("the relay keeps %d threads", r.Kept())
	}
	return "Refused each time, by a code; nothing was kept or given."
}

func strangerIdentities(t *testing.T) string {
	o := newOwner(t)
	n := newMember(t, o)
	ref, err := o.DatabaseRef(name)
	must(t, err)
	at := peerOf(t, o)
	for range massIdentities {
		h := newHost(t, keys.NewDevice())
		ctx := within(t)
		must(t, h.Connect(ctx, at))
		if s, err := h.NewStream(ctx, at.ID, protoHello); err == nil {
			_ = wire.NewWriter(s).Send(wire.Hello{Tags: bytes.Repeat([]byte{7}, 512*wire.TagSize)})
		}
		s, err := h.NewStream(ctx, at.ID, protoThread)
		must(t, err)
		must(t, wire.NewWriter(s).Send(wire.Subscribe{Version: wire.Version, Thread: ref.ID[:]}))
		if kind, _, err := wire.Read(bufio.NewReader(s)); err != nil || kind != wire.KindRefused {
			t.Fatalf("a stranger got frame %d, %v", kind, err)
		}
		must(t, h.Close())
	}
	eventually(t, "they are gone", func() bool { return len(o.Peers()) == 1 })
	for range 80 {
		_ = newHost(t, keys.NewDevice()).Connect(within(t), at) // it may be hung up at once
	}
	eventually(t, "strangers have a quarter of the connections at most", func() bool { return len(o.Peers()) <= 65 })
	insert(t, n, "meanwhile")
	sameEverywhere(t, n, o)
	if !has(t, o, "meanwhile") {
		t.Error("a member is kept out")
	}
	return fmt.Sprintf("%d came and went one by one, and left no connection. Of 80 at once at most 64 stayed connected; a member wrote meanwhile.", massIdentities)
}
