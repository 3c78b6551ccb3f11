package adversary

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/mux"
	"github.com/weftdb/weft/net/internal/wire"
	"github.com/weftdb/weft/node"
)

// Protocols, as docs/design/sync.md names them.
const (
	protoHello   protocol.ID = "/weft/hello/1"
	protoThread  protocol.ID = "/weft/thread/1"
	protoSession protocol.ID = "/weft/session/1"
	protoHost    protocol.ID = "/weft/host/1"

	laneThread = 1
	laneBlobs  = 2
)

// A villain knows the protocol and has whatever secrets it was told.
type villain struct {
	t        testing.TB
	h        host.Host
	identity *keys.Identity
	device   *keys.Device
	cert     *keys.Certificate
	sealer   *format.Sealer

	// Of the thread, as far as it was told.
	id      format.ThreadID
	genesis []byte
	keys    format.Keys
	invites []format.Invite
	control []*known // control records, as they came
	index   map[clock.Hash]*known
	runs    []format.Run // all that it got, as it came

	ownControl, ownData *chain

	mu      sync.Mutex // guards what follows
	serving map[peer.ID]*serving
	host    func(req wire.HostRequest, w *wire.Writer) // as a relay; nil: it keeps everything
	blobs   func(w *wire.Writer, r *bufio.Reader)      // answers a stream of blobs; nil: it has none
	said    wire.Statement                             // what it says that it holds
	acks    int                                        // bytes of acknowledgements
	asked   []wire.HostRequest
}

// A serving is what one node is brought.
type serving struct {
	queue chan delivery
	hello network.Stream
}

type delivery struct {
	runs  []format.Run
	to    *node.Node    // nil: whoever asks
	probe string        // a sentence that tells that all before it was read
	seen  chan struct{} // closed when it has told that
	done  chan error
}

// A known is a control record, opened.
type known struct {
	hash   clock.Hash
	log    clock.LogID
	header *format.Header
	say    *format.Control
}

// A chain is a log that is being forged.
type chain struct {
	desc format.Descriptor
	seq  uint64
	prev clock.Hash
	time clock.Time
}

func newVillain(t testing.TB) *villain {
	t.Helper()
	return newVillainOf(t, keys.NewIdentity(), keys.CertifyOptions{})
}

// newVillainOf returns a device of an identity that it certified as it liked.
func newVillainOf(t testing.TB, identity *keys.Identity, o keys.CertifyOptions) *villain {
	t.Helper()
	v := &villain{t: t, identity: identity, device: keys.NewDevice(), index: map[clock.Hash]*known{}, serving: map[peer.ID]*serving{}}
	if o.Issued.IsZero() {
		o.Issued = time.Now()
	}
	var err error
	v.cert, err = identity.Certify(v.device.Public(), o)
	must(t, err)
	v.sealer, err = format.NewSealer()
	must(t, err)
	t.Cleanup(v.sealer.Close)
	v.said = wire.Statement{Digest: make([]byte, 32)}
	v.h = newHost(t, v.device)
	v.h.SetStreamHandler(protoHello, func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	v.h.SetStreamHandler(protoSession, v.serveSession)
	v.h.SetStreamHandler(protoThread, func(s network.Stream) { v.serveThread(s.Conn().RemotePeer(), s) })
	v.h.SetStreamHandler(protoHost, v.serveHost)
	return v
}

// newHost is a libp2p host without limits.
func newHost(t testing.TB, d *keys.Device) host.Host {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(d.PrivateKey())
	must(t, err)
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay())
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func parseAddr(text string) (peer.AddrInfo, error) {
	a, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	i, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	return *i, nil
}

// addr is where the villain listens, with its peer ID.
func (v *villain) addr() string {
	return v.h.Addrs()[0].String() + "/p2p/" + v.h.ID().String()
}

func (v *villain) sign() keys.PublicKey { return v.device.Public().Sign }

func (v *villain) connect(n *node.Node) {
	v.t.Helper()
	must(v.t, v.h.Connect(within(v.t), peerOf(v.t, n)))
}

// takeURL is told an invite.
func (v *villain) takeURL(url string) format.Invite {
	v.t.Helper()
	inv, err := format.ParseInvite(url)
	must(v.t, err)
	v.id = inv.Thread
	if v.keys.Service == (format.SecretKey{}) {
		v.keys = format.RelayKeys(inv.Thread, format.InviteService(inv))
	}
	v.invites = append(v.invites, inv)
	return inv
}

// learnFrom tells the villain all that an accomplice knows.
func (v *villain) learnFrom(o *villain) {
	v.id, v.genesis, v.keys = o.id, o.genesis, o.keys
	v.control, v.runs = slices.Clone(o.control), slices.Clone(o.runs)
	for _, k := range v.control {
		v.index[k.hash] = k
	}
}

// Subscribing.

// A got is what came of a subscription.
type got struct {
	refused string // the code
	runs    []format.Run
	bytes   int
	tips    []clock.RecordID // that the peer says it has
}

// fetch subscribes to the thread at a node, as who has tips, and takes all that comes until
// the node says that it has sent all, or refuses. It learns what came.
func (v *villain) fetch(n *node.Node, tips []clock.RecordID, by *format.Invite) got {
	v.t.Helper()
	return v.fetchFrom(peerOf(v.t, n), tips, by)
}

func (v *villain) fetchFrom(at peer.AddrInfo, tips []clock.RecordID, by *format.Invite) (g got) {
	v.t.Helper()
	ctx := within(v.t)
	must(v.t, v.h.Connect(ctx, at))
	s, err := v.h.NewStream(ctx, at.ID, protoThread)
	must(v.t, err)
	defer s.Reset() //nolint:errcheck // the exchange is over
	req := wire.Subscribe{Version: wire.Version, Thread: v.id[:], Tips: wire.FromTips(tips)}
	if by != nil {
		req.Invite, req.Proof, err = format.ProveInvite(*by, v.sign())
		must(v.t, err)
	}
	must(v.t, wire.NewWriter(s).Send(req))
	_ = s.SetReadDeadline(time.Now().Add(patience))
	for r := bufio.NewReader(s); ; {
		kind, body, err := wire.Read(r)
		if err != nil {
			g.refused = "reset"
			return g
		}
		switch kind {
		case wire.KindRefused:
			m, err := wire.As[wire.Refused](kind, body)
			must(v.t, err)
			g.refused = m.Code
			return g
		case wire.KindAccepted:
			m, err := wire.As[wire.Accepted](kind, body)
			must(v.t, err)
			v.genesis = m.Genesis
			more, err := wire.Tips(m.Tips)
			must(v.t, err)
			g.tips = append(g.tips, more...)
		case wire.KindRun:
			run, err := format.DecodeRun(slices.Clone(body))
			must(v.t, err)
			g.runs, g.bytes = append(g.runs, run), g.bytes+len(body)
		case wire.KindCaughtUp:
			v.learn(g.runs...)
			return g
		}
	}
}

// all is fetch once all that the node wrote is durable there, and may be sent.
func (v *villain) all(n *node.Node, tips []clock.RecordID) (g got) {
	v.t.Helper()
	eventually(v.t, "all is sent", func() bool {
		heads := info(v.t, n).Heads
		g = v.fetch(n, tips, nil)
		for _, tip := range g.tips {
			if tip.Seq >= heads[tip.Log.String()] {
				delete(heads, tip.Log.String())
			}
		}
		return g.refused == "" && len(heads) == 0
	})
	return g
}

// learn opens the control records in runs, and takes the keys that are sealed to it.
func (v *villain) learn(runs ...format.Run) {
	v.t.Helper()
	v.runs = append(v.runs, runs...)
	for _, run := range runs {
		d, err := format.DecodeDescriptor(run.Descriptor)
		must(v.t, err)
		if d.Kind != format.KindControl {
			continue
		}
		for _, rec := range run.Records {
			h, err := format.DecodeHeader(rec.Header)
			must(v.t, err)
			hash := format.RecordHash(v.id, rec.Header)
			if v.index[hash] != nil {
				continue
			}
			b, err := format.ParseBody(rec.Body)
			must(v.t, err)
			p, err := v.sealer.Open(v.keys.Service, format.Position{Thread: v.id, Log: h.Log, Seq: h.Seq}, b)
			must(v.t, err)
			say, err := format.DecodeControl(p.Payload)
			must(v.t, err)
			k := &known{hash: hash, log: h.Log, header: h, say: say}
			v.control, v.index[hash] = append(v.control, k), k
			v.takeKeys(k)
		}
	}
}

// takeKeys opens what a record seals to the device of the villain, or to an invite of its.
func (v *villain) takeKeys(k *known) {
	for i := range v.invites {
		if id, err := format.InviteIdentity(v.invites[i]); err == nil && k.say.Op == format.OpInvite && k.say.Key == id.Public() {
			if all, err := format.OpenWithInvite(v.id, &v.keys, id, k.say.Sealed, v.commits); err == nil {
				v.keys = all
			}
		}
	}
	if e := k.say.Epoch; e != nil {
		read, err := e.ForDevice(v.id, v.device)
		for i := 0; i < len(v.invites) && err != nil; i++ { // an epoch may be sealed to an invite's record
			for _, o := range v.control {
				if id, no := format.InviteIdentity(v.invites[i]); no == nil && o.say.Op == format.OpInvite && o.say.Key == id.Public() && err != nil {
					read, err = e.ForInvite(v.id, o.hash, id)
				}
			}
		}
		if err == nil {
			v.keys = v.keys.With(k.hash, read)
			if all, _, err := e.Before(v.id, &v.keys, read, v.commits); err == nil {
				v.keys = all
			}
		}
	}
}

// commits is the commitment to the key of an epoch.
func (v *villain) commits(epoch clock.Hash) (clock.Hash, bool) {
	if epoch == clock.Hash(v.id) {
		g, err := format.DecodeGenesis(v.genesis)
		if err != nil {
			return clock.Hash{}, false
		}
		return g.Read, true
	}
	if k := v.index[epoch]; k != nil && k.say.Epoch != nil {
		return k.say.Epoch.Commit, true
	}
	return clock.Hash{}, false
}

// opens counts the data records among runs that a key opens which the villain has, or two.
func (v *villain) opens(runs []format.Run) (opened, sealed int) {
	v.t.Helper()
	for _, run := range runs {
		if d, err := format.DecodeDescriptor(run.Descriptor); err != nil || d.Kind == format.KindControl {
			continue
		}
		for _, rec := range run.Records {
			h, err := format.DecodeHeader(rec.Header)
			must(v.t, err)
			b, err := format.ParseBody(rec.Body)
			must(v.t, err)
			sealed++
			read, ok := v.keys.Read(h.Epochs)
			if !ok {
				continue
			}
			if _, err := v.sealer.Open(read, format.Position{Thread: v.id, Log: h.Log, Seq: h.Seq}, b); err == nil {
				opened++
			}
		}
	}
	return opened, sealed
}

// Forging.

// heads are control records that no other names, at most as many as a header holds.
func (v *villain) heads() (all []clock.Hash) {
	named := map[clock.Hash]bool{}
	for _, k := range v.control {
		for _, h := range k.header.Control {
			named[h] = true
		}
		named[k.header.Prev] = true
	}
	for _, k := range v.control {
		if !named[k.hash] {
			all = append(all, k.hash)
		}
	}
	slices.SortFunc(all, format.CompareHashes)
	return all[:min(len(all), format.MaxControlHeads)]
}

// latest is the time of the latest control record that it has.
func (v *villain) latest() (at clock.Time) {
	for _, k := range v.control {
		at = max(at, k.header.Time)
	}
	return at
}

func (v *villain) epochs() []clock.Hash { return []clock.Hash{clock.Hash(v.id)} }

// forge makes the next record of a chain; change alters the header before it is sealed.
func (v *villain) forge(c *chain, secret format.SecretKey, payload []byte, change func(h *format.Header)) format.Record {
	v.t.Helper()
	h := &format.Header{
		Log: c.desc.LogID(v.id), Seq: c.seq + 1, Prev: c.prev, Epochs: v.epochs(), Control: v.heads(),
		Time: max(c.time, v.latest(), clock.At(time.Now())) + 1,
	}
	if change != nil {
		change(h)
	}
	body, root, err := v.sealer.Seal(secret, format.Position{Thread: v.id, Log: h.Log, Seq: h.Seq}, &format.Plaintext{Payload: payload})
	must(v.t, err)
	h.Root = root
	rec := format.Record{Header: h.Encode(), Body: body}
	c.seq, c.prev, c.time = h.Seq, format.RecordHash(v.id, rec.Header), h.Time
	return rec
}

// run signs records as one run.
func (v *villain) run(c *chain, records ...format.Record) format.Run {
	last := format.RecordHash(v.id, records[len(records)-1].Header)
	return format.Run{Descriptor: c.desc.Encode(), Records: records, Signature: v.device.Sign(format.DomainHead, v.id[:], last[:])}
}

// says writes the next record of its control log, and knows it.
func (v *villain) says(p *format.Control, change func(h *format.Header)) format.Run {
	v.t.Helper()
	r := v.run(v.ownControl, v.forge(v.ownControl, v.keys.Service, p.Encode(), change))
	v.learn(r)
	return r
}

// sayOn is says on another chain, of which it does not take the record for known.
func (v *villain) sayOn(c *chain, p *format.Control, change func(h *format.Header)) format.Run {
	v.t.Helper()
	return v.run(c, v.forge(c, v.keys.Service, p.Encode(), change))
}

// writes writes records of its data log, sealed under the present epochs that it has.
func (v *villain) writes(payloads [][]byte, change func(h *format.Header)) format.Run {
	v.t.Helper()
	return v.writesOn(v.ownData, payloads, change)
}

func (v *villain) writesOn(c *chain, payloads [][]byte, change func(h *format.Header)) format.Run {
	v.t.Helper()
	var records []format.Record
	for _, p := range payloads {
		epochs := v.present()
		read, ok := v.keys.Read(epochs)
		if !ok {
			v.t.Fatal("the villain has no key")
		}
		records = append(records, v.forge(c, read, p, func(h *format.Header) {
			h.Epochs = epochs
			if change != nil {
				change(h)
			}
		}))
	}
	return v.run(c, records...)
}

// present returns the last epoch that it has the key of.
func (v *villain) present() []clock.Hash {
	at := clock.Hash(v.id)
	for _, k := range v.control {
		if k.say.Epoch != nil && v.keys.Has(k.hash) {
			at = k.hash
		}
	}
	return []clock.Hash{at}
}

func (c *chain) copy() *chain { d := *c; return &d }

// newChain begins a log of its own device.
func (v *villain) newChain(kind format.LogKind, control clock.LogID) *chain {
	return &chain{desc: format.NewDescriptor(v.sign(), kind, control)}
}

// joinOf makes a join by an invite: of a new control log, with a new data log.
func (v *villain) joinOf(inv format.Invite, change func(h *format.Header)) (control, data *chain, join format.Run) {
	v.t.Helper()
	id, err := format.InviteIdentity(inv)
	must(v.t, err)
	i := slices.IndexFunc(v.control, func(k *known) bool { return k.say.Op == format.OpInvite && k.say.Key == id.Public() })
	if i < 0 {
		v.t.Fatal("the villain does not know the invite's record")
	}
	cert, err := v.cert.Encode()
	must(v.t, err)
	control = v.newChain(format.KindControl, clock.LogID{})
	log := control.desc.LogID(v.id)
	data = v.newChain(format.KindData, log)
	p := &format.Control{Op: format.OpJoin, Invite: v.control[i].hash, Certificate: cert, Data: data.desc.Encode()}
	p.Signature = id.Sign(format.DomainJoin, v.id[:], log[:], p.Certificate, p.Data)
	join = v.run(control, v.forge(control, v.keys.Service, p.Encode(), func(h *format.Header) {
		h.Control = []clock.Hash{v.control[i].hash}
		if change != nil {
			change(h)
		}
	}))
	return control, data, join
}

// enters makes the villain a member by an open invite, at a node, as an honest device would.
func (v *villain) enters(n *node.Node, url string) {
	v.t.Helper()
	inv := v.takeURL(url)
	if g := v.fetch(n, nil, &inv); g.refused != "" {
		v.t.Fatalf("the invite is refused: %s", g.refused)
	}
	var join format.Run
	v.ownControl, v.ownData, join = v.joinOf(inv, nil)
	v.learn(join)
	must(v.t, v.bring(n, join))
	eventually(v.t, "the villain is a member", func() bool { return isMember(v.t, n, v.sign()) })
	v.catchUp(n)
}

// catchUp fetches all that a node gives it.
func (v *villain) catchUp(n *node.Node) got {
	v.t.Helper()
	return v.fetch(n, nil, nil)
}

// Serving.

// bring has a node pull runs, and returns when the node has taken or refused each. An error
// says that it hung up.
//
// After the runs it says a sentence of its own, as the reason of a refusal: once the status
// of the node shows that, it has read all before it. A node that ends the stream by itself,
// as it does at a gap, is brought all once more, twice; so is one that lists the villain no more.
func (v *villain) bring(n *node.Node, runs ...format.Run) error {
	v.t.Helper()
	for range 3 {
		d := delivery{runs: runs, to: n, probe: fmt.Sprint("probe ", probes.Add(1)), seen: make(chan struct{}), done: make(chan error, 1)}
		if err := v.deliver(n, d); err != nil || isClosed(d.seen) {
			return err
		}
	}
	return nil
}

var probes atomic.Int64

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (v *villain) deliver(n *node.Node, d delivery) error {
	v.t.Helper()
	ctx := within(v.t)
	at := peerOf(v.t, n)
	if err := v.h.Connect(ctx, at); err != nil {
		return errBanned
	}
	q := v.servingTo(at.ID)
	if err := v.greet(ctx, at.ID, q); err != nil {
		return errBanned
	}
	gone := make(chan struct{})
	watch := &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
		if c.RemotePeer() == at.ID && v.h.Network().Connectedness(at.ID) != network.Connected {
			close(gone)
		}
	}}
	v.h.Network().Notify(watch)
	defer v.h.Network().StopNotify(watch)
	select {
	case q.queue <- d:
	case <-gone:
		return errBanned
	case <-ctx.Done():
		v.t.Fatal("the node asks for nothing")
	}
	select {
	case err := <-d.done:
		return err
	case <-gone:
		return errBanned
	case <-ctx.Done():
		v.t.Fatal("the node does not take what it is brought")
	}
	return nil
}

// status says whether a node lists the villain, and gives as its reason what it said last.
func (v *villain) status(n *node.Node, said string) (listed, heard bool) {
	s, _, err := n.DatabaseStatus(v.t.Context(), name)
	if err != nil {
		return false, false
	}
	i := slices.IndexFunc(s.Peers, func(p node.PeerStatus) bool { return p.Peer == v.h.ID() })
	return i >= 0, i >= 0 && s.Peers[i].Reason == said
}

func (v *villain) servingTo(p peer.ID) *serving {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.serving[p] == nil {
		v.serving[p] = &serving{queue: make(chan delivery)}
	}
	return v.serving[p]
}

// greet names the thread to a node, which then asks for it, or asks again.
func (v *villain) greet(ctx context.Context, p peer.ID, q *serving) error {
	old := q.hello != nil
	if !old {
		s, err := v.h.NewStream(ctx, p, protoHello)
		if err != nil {
			return err
		}
		q.hello = s
	}
	tag := wire.TagOf(v.keys.Service[:], v.id, v.h.ID(), p)
	err := wire.NewWriter(q.hello).Send(wire.Hello{Tags: tag[:]})
	if err != nil && old { // of a connection that has ended
		q.hello = nil
		return v.greet(ctx, p, q)
	}
	return err
}

func (v *villain) serveSession(s network.Stream) {
	p := s.Conn().RemotePeer()
	ses, err := mux.Accept(s)
	if err != nil {
		return
	}
	defer ses.Close()
	for {
		st, err := ses.Next()
		if err != nil {
			return
		}
		go func() {
			switch lane, err := mux.ReadLane(st, patience); {
			case err != nil:
			case lane == laneThread:
				v.serveThread(p, st)
			case lane == laneBlobs:
				v.serveBlobs(st)
			}
		}()
	}
}

// A stream is one of libp2p's or of a session's.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset() error
}

// serveThread answers a subscription with the next delivery that waits for the peer.
func (v *villain) serveThread(p peer.ID, s stream) {
	defer s.Reset() //nolint:errcheck // the exchange is over
	r := bufio.NewReader(s)
	if _, err := wire.Next[wire.Subscribe](r, wire.MaxSubscribe); err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, body, err := wire.Read(r)
			if err != nil {
				return
			}
			v.mu.Lock()
			v.acks += len(body)
			v.mu.Unlock()
		}
	}()
	w := wire.NewWriter(s)
	if w.Send(wire.Accepted{Genesis: v.genesis}) != nil {
		return
	}
	for {
		select {
		case d := <-v.servingTo(p).queue:
			for _, run := range d.runs {
				if err := w.SendRun(run); err != nil {
					v.t.Logf("a run is not sent: %v", err)
					break
				}
			}
			v.mu.Lock()
			said := v.said
			v.mu.Unlock()
			_ = w.Send(said)
			if d.to != nil {
				v.waitHeard(w, d, ended)
			}
			_ = s.CloseWrite()
			<-ended // it has taken all
			d.done <- nil
			return
		case <-ended:
			return
		}
	}
}

// waitHeard says the probe of a delivery and waits until the node shows it, unless it does
// not list the villain.
func (v *villain) waitHeard(w *wire.Writer, d delivery, ended <-chan struct{}) {
	if listed, _ := v.status(d.to, ""); !listed {
		return
	}
	_ = w.Send(wire.Refused{Thread: v.id[:], Code: "probe", Message: d.probe})
	// Not at each change, which comes with each record, and costs what there are of logs.
	again := time.NewTicker(time.Duration(5+len(d.runs)/5) * time.Millisecond)
	defer again.Stop()
	for {
		if _, heard := v.status(d.to, d.probe); heard {
			close(d.seen)
			return
		}
		select {
		case <-again.C:
		case <-ended:
			return
		}
	}
}

func (v *villain) serveBlobs(s stream) {
	defer s.Reset() //nolint:errcheck // the exchange is over
	r, w := bufio.NewReader(s), wire.NewWriter(s)
	if _, err := wire.Next[wire.Follow](r, wire.MaxRequest); err != nil {
		return
	}
	v.mu.Lock()
	lie := v.blobs
	v.mu.Unlock()
	if lie != nil {
		lie(w, r)
		return
	}
	_ = w.Send(wire.BlobRefs{})
	_, _ = io.Copy(io.Discard, r)
}

// serveHost answers, as a relay does, devices that ask it to keep threads.
func (v *villain) serveHost(s network.Stream) {
	defer s.Reset() //nolint:errcheck // the exchange is over
	r, w := bufio.NewReader(s), wire.NewWriter(s)
	for {
		req, err := wire.Next[wire.HostRequest](r, wire.MaxRequest)
		if err != nil {
			return
		}
		v.mu.Lock()
		v.asked = append(v.asked, req)
		answer := v.host
		v.mu.Unlock()
		if answer != nil {
			answer(req, w)
		} else if w.Send(wire.Hosted{Thread: req.Thread}) != nil {
			return
		}
	}
}
