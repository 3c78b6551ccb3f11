package adversary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/mux"
	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
	"github.com/weftdb/weft/node"
)

var relays = []attack{
	{
		name: "old-heads", play: relayWithholds,
		tried:   "is the only way between two members; serves one of them old records, says that this is all, and acknowledges what it does not keep",
		remains: "Where a hostile relay is the only path, nobody can tell withheld from not written: `identical` with a relay is the relay's word. Another path, such as one direct connection, heals it.",
	},
	{
		name: "two-stories", play: relayTwoStories,
		tried:   "gives the records of each of two writers to one reader only, in the wrong order",
		remains: "As above, until they meet by another path.",
	},
	{
		name: "alters", play: relayAlters,
		tried: "leaves records out, alters a body, a header and a signature, and serves a record of another thread",
	},
	{
		name: "reads", play: relayReads,
		tried:   "opens what it keeps with the keys that it has",
		remains: "It sees what the section above says: who is a member, who writes when, and how much.",
	},
	{
		name: "joiner", play: relayJoiner,
		tried:   "gives who joins by it an altered genesis, altered control logs, or those of before the invite",
		remains: "It can keep who joins out.",
	},
	{
		name: "brings-in", play: relayBringsIn,
		tried:   "brings the owner a join by an invite that has expired, of an accomplice",
		remains: "Until the invite is closed, a relay in use can bring in whoever has its secret, as a member can: records that come from it have passed its door.",
	},
	{
		name: "hides-removal", play: relayHidesRemoval,
		tried:   "is the only way to a member, and withholds from it that another was removed, who goes on writing to it",
		remains: "Until it hears of the removal, that member shows what the removed writes, and gives it what it writes itself, under the old key.",
	},
}

var senders = []attack{
	{
		name: "floods", play: senderFloods, alone: true,
		tried:   "sends messages of the largest size to somebody who is offline, without end",
		remains: "While a mailbox is full, others' messages wait at their senders. The relay's operator revokes the key.",
	},
	{
		name: "without-a-key", play: senderWithoutKey,
		tried: "sends without a credential, with that of another device, and with one that its own key has not signed",
	},
	{
		name: "replays", play: senderReplays,
		tried: "passes an envelope on to somebody else, and changes its ID",
	},
}

// Relays.

// between returns an owner and a member that know no way to each other but a hostile relay.
func between(t *testing.T) (o, n *node.Node, v *villain) {
	t.Helper()
	o = newOwner(t)
	v = newVillain(t)
	v.serves(o)
	n = openNode(t, node.Config{})
	url := invite(t, o, node.InviteOptions{})
	v.all(o, nil)
	v.offer(n.Peer(), v.runs...)
	_, err := n.Join(within(t), v.only(url), name)
	must(t, err)
	v.serves(n)
	v.carryUntil(n, o, "the member is known", func() bool { return isMember(t, o, n.Device()) })
	v.carry(o, n)
	return o, n, v
}

// only returns an invite that names no way but the villain.
func (v *villain) only(url string) string {
	v.t.Helper()
	inv, err := format.ParseInvite(url)
	must(v.t, err)
	at, err := multiaddr.NewMultiaddr(v.addr())
	must(v.t, err)
	inv.Addrs = []multiaddr.Multiaddr{at}
	return inv.URL()
}

// serves makes a node use the villain as its relay.
func (v *villain) serves(n *node.Node) {
	v.t.Helper()
	v.mu.Lock()
	before := len(v.asked)
	v.mu.Unlock()
	_, err := n.AddRelay(v.t.Context(), v.addr(), node.RelayOptions{})
	must(v.t, err)
	eventually(v.t, "the node asks it to keep the thread", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.asked) > before
	})
	v.mu.Lock()
	req := v.asked[len(v.asked)-1]
	v.mu.Unlock()
	if v.genesis == nil {
		v.id, v.genesis = format.ThreadIDOf(req.Genesis), req.Genesis
		v.keys = format.RelayKeys(v.id, format.SecretKey(req.ServiceKey))
	}
}

// carry brings a node what another has.
func (v *villain) carry(from, to *node.Node) {
	v.t.Helper()
	must(v.t, v.bring(to, v.all(from, nil).runs...))
}

// carryUntil carries until something holds: what one has may not be durable there yet.
func (v *villain) carryUntil(from, to *node.Node, what string, is func() bool) {
	v.t.Helper()
	eventually(v.t, what, func() bool { v.carry(from, to); return is() })
}

// offer answers the next subscription of a peer, in the background.
func (v *villain) offer(p peer.ID, runs ...format.Run) {
	q, ctx := v.servingTo(p), v.t.Context()
	go func() {
		select {
		case q.queue <- delivery{runs: runs, done: make(chan error, 1)}:
		case <-ctx.Done():
		}
	}()
}

// claims says to a node that it holds durably all that the node has.
func (v *villain) claims(n *node.Node) {
	v.t.Helper()
	ctx, at := within(v.t), peerOf(v.t, n)
	c, err := v.h.NewStream(ctx, at.ID, protoSession)
	must(v.t, err)
	ses, err := mux.Ask(c, patience)
	must(v.t, err)
	v.t.Cleanup(func() { _ = ses.Close() })
	lane := func(l byte, m wire.Message) (*wire.Writer, *bufio.Reader) {
		s, err := ses.Open(ctx, l)
		must(v.t, err)
		w := wire.NewWriter(s)
		must(v.t, w.Send(m))
		return w, bufio.NewReader(s)
	}
	w, _ := lane(laneBlobs, wire.Follow{Version: wire.Version, Thread: v.id[:], Follow: true})
	must(v.t, w.Send(wire.Want{}))
	w, r := lane(laneThread, wire.Subscribe{Version: wire.Version, Thread: v.id[:]})
	go func() {
		for {
			kind, body, err := wire.Read(r)
			if err != nil {
				return
			}
			if m, err := wire.As[wire.Accepted](kind, body); err == nil {
				if tips, err := wire.Tips(m.Tips); err == nil {
					digest := tipset.Digest(tips)
					_ = w.Send(wire.Ack{Tips: m.Tips, State: wire.Statement{Digest: digest[:]}})
				}
			}
		}
	}()
}

func relayWithholds(t *testing.T) string {
	o, n, v := between(t)
	insert(t, o, "1")
	v.carryUntil(o, n, "the first has come", func() bool { return has(t, n, "1") })
	insert(t, o, "2")
	v.claims(o)
	v.claims(n)
	becomes(t, o, v.h.ID(), "identical")
	becomes(t, n, v.h.ID(), "identical")
	if has(t, n, "2") {
		t.Fatal("it was not withheld")
	}
	connect(t, n, o)
	eventually(t, "the rest has come", func() bool { return has(t, n, "2") })
	insert(t, n, "3")
	sameEverywhere(t, o, n)
	return "Both said `identical` of it, and one lacked what the other had. Once they met, they had the same at once."
}

func relayTwoStories(t *testing.T) string {
	o, n, v := between(t)
	y := openNode(t, node.Config{})
	url := invite(t, o, node.InviteOptions{})
	v.all(o, nil)
	v.offer(y.Peer(), v.runs...)
	_, err := y.Join(within(t), v.only(url), name)
	must(t, err)
	v.serves(y)
	v.carryUntil(y, o, "y is known", func() bool { return isMember(t, o, y.Device()) })
	v.carryUntil(o, n, "y is known", func() bool { return isMember(t, n, y.Device()) })
	insert(t, o, "of o")
	insert(t, n, "of n")
	a, b := v.all(o, nil).runs, v.all(n, nil).runs
	slices.Reverse(a) // data before what admits it
	must(t, v.bring(y, a...))
	must(t, v.bring(y, a...))
	must(t, v.bring(o, b...))
	eventually(t, "y has o's", func() bool { return has(t, y, "of o") })
	if has(t, y, "of n") || has(t, n, "of o") {
		t.Error("it does not tell two stories")
	}
	connect(t, y, n)
	connect(t, y, o)
	sameEverywhere(t, o, n, y)
	for _, at := range []*node.Node{o, n, y} {
		if !has(t, at, "of o") || !has(t, at, "of n") {
			t.Error("a document is missing")
		}
	}
	return "Each had what it was given, whatever the order, and nothing that was not written. Once they met, all three had the same state."
}

func relayAlters(t *testing.T) string {
	o, n, v := between(t)
	insert(t, o, "1")
	v.carryUntil(o, n, "the first has come", func() bool { return has(t, n, "1") })
	insert(t, o, "2", "3")
	tips := v.all(n, nil).tips
	var run format.Run
	for _, r := range v.all(o, tips).runs {
		if d, err := format.DecodeDescriptor(r.Descriptor); err == nil && d.Kind == format.KindData {
			run = r
		}
	}
	log := format.LogIDOf(v.id, run.Descriptor).String()
	before := info(t, n).Heads[log]
	change := func(f func(r *format.Run)) format.Run {
		r := run
		r.Records = nil
		for _, rec := range run.Records {
			r.Records = append(r.Records, format.Record{Header: slices.Clone(rec.Header), Body: slices.Clone(rec.Body)})
		}
		f(&r)
		return r
	}
	other := v.guise()
	other.id[7] ^= 1
	other.ownData = other.newChain(format.KindData, clock.LogID{1})
	lies := []format.Run{
		change(func(r *format.Run) { r.Records[0].Body[90] ^= 1 }),
		change(func(r *format.Run) { r.Records[0].Header[len(r.Records[0].Header)-2] ^= 1 }),
		change(func(r *format.Run) { r.Signature[9] ^= 1 }),
		other.run(other.ownData, other.forge(other.ownData, other.keys.Service, []byte("elsewhere"), nil)),
	}
	insert(t, o, "4")
	var late format.Run // what comes after 2 and 3
	for _, r := range v.all(o, tips).runs {
		if d, err := format.DecodeDescriptor(r.Descriptor); err == nil && d.Kind == format.KindData {
			late = r
		}
	}
	late.Records = late.Records[len(late.Records)-1:]
	must(t, v.bring(n, late))
	if err := v.bring(n, lies...); err != nil && !errors.Is(err, errBanned) {
		t.Fatal(err)
	}
	eventually(t, "it is hung up on", func() bool {
		return !slices.ContainsFunc(n.Peers(), func(p node.ConnectedPeer) bool { return p.ID == v.h.ID() })
	})
	if got := info(t, n).Heads[log]; got != before {
		t.Errorf("%d records of the log, %d before", got, before)
	}
	connect(t, n, o)
	eventually(t, "the truth has come", func() bool { return has(t, n, "3") })
	sameEverywhere(t, o, n)
	return "Nothing of it was kept; after three faults the member hung up on its relay for five minutes, and had the truth from the owner."
}

func relayReads(t *testing.T) string {
	o, n, v := between(t)
	insert(t, o, "secret")
	insert(t, n, "secret too")
	v.carry(n, o)
	opened, sealed := v.opens(v.all(o, nil).runs)
	if opened != 0 || sealed < 2 {
		t.Errorf("it opens %d of %d", opened, sealed)
	}
	if len(v.control) < 3 {
		t.Errorf("it sees %d control records", len(v.control))
	}
	return fmt.Sprintf("It opened 0 of %d data records, and all %d control records.", sealed, len(v.control))
}

func relayJoiner(t *testing.T) string {
	o, _, v := between(t)
	before := slices.Clone(v.all(o, nil).runs)
	url := invite(t, o, node.InviteOptions{})
	whole := v.all(o, nil).runs
	y := openNode(t, node.Config{})
	altered := slices.Clone(whole)
	for i := range altered {
		altered[i].Signature[3] ^= 1
	}
	for what, runs := range map[string][]format.Run{"altered": altered, "before the invite": before} {
		v.offer(y.Peer(), runs...)
		if _, err := y.Join(within(t), v.only(url), name); err == nil {
			t.Errorf("it joins by control logs that are %s", what)
		}
		if len(y.Databases()) != 0 {
			t.Errorf("something is left of a join that failed: %v", y.Databases())
		}
	}
	right := v.genesis
	v.genesis = slices.Clone(right)
	v.genesis[len(v.genesis)-1] ^= 1
	v.offer(y.Peer(), whole...)
	if _, err := y.Join(within(t), v.only(url), name); err == nil {
		t.Error("it joins a thread of another genesis")
	}
	v.genesis = right
	v.offer(y.Peer(), whole...)
	_, err := y.Join(within(t), v.only(url), name)
	must(t, err)
	return "It was told that it cannot join, and nothing was left; by the right ones it joined."
}

func relayBringsIn(t *testing.T) string {
	o, _, v := between(t)
	x := newVillain(t)
	url := invite(t, o, node.InviteOptions{Expires: time.Millisecond, Uses: -1})
	v.all(o, nil)
	x.learnFrom(v)
	inv := x.takeURL(url)
	eventually(t, "the invite has expired", func() bool { return x.fetch(o, nil, &inv).refused == "bad_invite" })
	_, _, join := x.joinOf(inv, nil)
	must(t, x.bring(o, join))
	if isMember(t, o, x.sign()) {
		t.Fatal("it comes in by itself")
	}
	must(t, v.bring(o, join))
	if !isMember(t, o, x.sign()) {
		t.Error("a relay brings nobody in, and the table says so")
	}
	must(t, o.RevokeInvite(t.Context(), name, inv.Key()))
	y := newVillain(t)
	y.learnFrom(v)
	y.takeURL(url)
	_, _, join = y.joinOf(inv, nil)
	must(t, v.bring(o, join))
	if isMember(t, o, y.sign()) {
		t.Error("after the close, too")
	}
	return "The accomplice came in, which it did not by itself; after the close of the invite nobody did."
}

func relayHidesRemoval(t *testing.T) string {
	o, n, v := between(t)
	x := newVillain(t)
	x.enters(o, invite(t, o, node.InviteOptions{}))
	v.carryUntil(o, n, "the member knows it", func() bool { return isMember(t, n, x.sign()) })
	must(t, o.RemoveMember(t.Context(), name, x.identity.Public()))
	must(t, x.bring(n, x.writes(inserts(t, "of the removed"), nil)))
	eventually(t, "it counts there", func() bool { return has(t, n, "of the removed") })
	insert(t, n, "of n")
	if opened, _ := x.opens(x.fetch(n, nil, nil).runs); opened == 0 {
		t.Error("who has not heard of it gives the removed nothing, and the table says so")
	}
	connect(t, n, o)
	eventually(t, "it has heard", func() bool { return !isMember(t, n, x.sign()) && !has(t, n, "of the removed") })
	sameEverywhere(t, o, n)
	if has(t, o, "of the removed") || !has(t, o, "of n") {
		t.Error("not what it should be")
	}
	return "What the removed wrote there counted until the member heard of the removal; then it was void there, too, and it never counted elsewhere."
}

// Senders.

// A post is an honest relay that keeps mail, somebody's mailbox there, and a villain with a
// key of the relay.
type post struct {
	relay, to *node.Node
	home      string // of to
	key       *keys.APIKey
	secret    *keys.APISecret
	address   inbox.Address
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{relay: openNode(t, node.Config{Relay: true}), home: filepath.Join(t.TempDir(), "home")}
	p.to = openNode(t, node.Config{Home: p.home})
	key, secret, err := p.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	must(t, err)
	_, err = p.to.AddRelay(t.Context(), p.relay.Addrs()[0], node.RelayOptions{Key: key.Text(), Secret: secret.Text()})
	must(t, err)
	p.address, err = p.to.SetupInbox(t.Context())
	must(t, err)
	p.key, p.secret, err = p.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	must(t, err)
	return p
}

// credential is what a villain shows the relay, under its key.
func (p *post) credential(v *villain) *keys.Credential {
	v.t.Helper()
	g, err := p.secret.Grant(keys.GrantOptions{User: v.identity.Public(), Audience: p.relay.Device(), Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	must(v.t, err)
	return &keys.Credential{Grant: g, Certificate: v.cert}
}

// client opens a stream to the relay's mail.
func (p *post) client(v *villain) *inbox.Client {
	v.t.Helper()
	v.connect(p.relay)
	s, err := v.h.NewStream(within(v.t), p.relay.Peer(), inbox.Protocol)
	must(v.t, err)
	c := inbox.NewClient(s)
	v.t.Cleanup(func() { _ = c.Close() })
	return c
}

// envelope seals a message of a villain.
func (p *post) envelope(v *villain, to keys.PublicKey, body []byte) inbox.Envelope {
	v.t.Helper()
	e, err := inbox.Seal(inbox.Message{ID: newULID(v.t), From: v.identity.Public(), To: to, Time: time.UnixMilli(time.Now().UnixMilli()), Body: body}, v.device, v.cert)
	must(v.t, err)
	return e
}

func deposit(ctx context.Context, c *inbox.Client, cred *keys.Credential, e inbox.Envelope) error {
	b, err := e.Encode()
	if err != nil {
		return err
	}
	return c.Deposit(ctx, cred, b)
}

func senderFloods(t *testing.T) string {
	p := newPost(t)
	must(t, p.to.Close())
	v, honest := newVillain(t), newVillain(t)
	c, cred := p.client(v), p.credential(v)
	start, sent := time.Now(), 0
	var err error
	for ; err == nil && sent < 2000; sent++ {
		err = deposit(within(t), c, cred, p.envelope(v, p.address.Identity, make([]byte, inbox.MaxBody)))
	}
	if !fault.Is(err, "quota_exceeded") {
		t.Errorf("got %v after %d messages", err, sent)
	}
	took := time.Since(start)
	cred2 := p.credential(honest)
	c2 := p.client(honest)
	one := p.envelope(honest, p.address.Identity, []byte("hello"))
	if err := deposit(within(t), c2, cred2, one); err != nil && !fault.Is(err, "quota_exceeded") {
		t.Errorf("got %v of an honest sender", err)
	}
	_, err = p.relay.RevokeKey(p.key.Public)
	must(t, err)
	if err := deposit(within(t), c, cred, p.envelope(v, p.address.Identity, []byte("more"))); !fault.Is(err, "key_revoked") {
		t.Errorf("after its key was revoked: %v", err)
	}
	to := openNode(t, node.Config{Home: p.home}) // and takes what there is
	eventually(t, "the messages have come", func() bool {
		m, err := to.Messages(t.Context(), 1)
		return err == nil && len(m) > 0
	})
	return fmt.Sprintf("After %d messages, in %.1f s, the mailbox took no more (`quota_exceeded`, 64 MiB). With its key revoked (`key_revoked`) it sent nothing. The recipient came back and had its mail.", sent-1, took.Seconds())
}

func senderWithoutKey(t *testing.T) string {
	p := newPost(t)
	v, other := newVillain(t), newVillain(t)
	for what, cred := range map[string]*keys.Credential{"none": nil, "another device's": p.credential(other)} {
		if err := deposit(within(t), p.client(v), cred, p.envelope(v, p.address.Identity, []byte("x"))); err == nil {
			t.Errorf("it sends with a credential that is %s", what)
		}
	}
	own, secret, err := keys.NewAPIKey(time.Now(), keys.APIKeyOptions{Kind: keys.KindUser, Owner: v.identity.Public(), Name: "mine"})
	must(t, err)
	g, err := secret.Grant(keys.GrantOptions{User: v.identity.Public(), Audience: p.relay.Device(), Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	must(t, err)
	_ = own
	if err := deposit(within(t), p.client(v), &keys.Credential{Grant: g, Certificate: v.cert}, p.envelope(v, p.address.Identity, []byte("x"))); err == nil {
		t.Error("it sends with a key that it made itself")
	}
	return "Refused each time."
}

func senderReplays(t *testing.T) string {
	p := newPost(t)
	v, honest := newVillain(t), newVillain(t)
	c, cred := p.client(v), p.credential(v)
	e := p.envelope(honest, honest.identity.Public(), []byte("for honest"))
	e.Recipient = p.address.Identity
	must(t, deposit(within(t), c, cred, e))
	again := p.envelope(honest, p.address.Identity, []byte("once"))
	must(t, deposit(within(t), p.client(honest), p.credential(honest), again))
	must(t, deposit(within(t), c, cred, again)) // as it is
	again.ID = newULID(t)
	must(t, deposit(within(t), c, cred, again))
	must(t, deposit(within(t), c, cred, p.envelope(v, p.address.Identity, []byte("last"))))
	eventually(t, "the last has come", func() bool {
		m, err := p.to.Messages(t.Context(), 0)
		return err == nil && slices.ContainsFunc(m, func(m inbox.Received) bool { return string(m.Body) == "last" })
	})
	m, err := p.to.Messages(t.Context(), 0)
	must(t, err)
	if len(m) != 2 {
		t.Errorf("%d messages were filed, want one of each", len(m))
	}
	return "What was not for the recipient, and what had another ID, was not filed; the copy was filed once."
}
