package net

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/tipset"
)

// A world holds the keys of one developer, and the relay's list of them.
type world struct {
	developer *keys.Identity
	mu        sync.Mutex // guards keys
	keys      map[keys.PublicKey]*keys.APIKey
}

func newWorld() *world {
	return &world{developer: keys.NewIdentity(), keys: map[keys.PublicKey]*keys.APIKey{}}
}

// APIKey makes the world a key store.
func (w *world) APIKey(public keys.PublicKey) (*keys.APIKey, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keys[public]
	if k == nil {
		return nil, nil
	}
	c := *k
	return &c, nil
}

func (w *world) policy() *keys.Policy { return &keys.Policy{Keys: w} }

func (w *world) newKey(t testing.TB, owner *keys.Identity, scopes ...keys.Scope) *keys.APISecret {
	t.Helper()
	k, secret, err := keys.NewAPIKey(time.Now(), keys.APIKeyOptions{Kind: keys.KindUser, Owner: owner.Public(), Name: "app", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[k.Public] = k
	return secret
}

func (w *world) revoke(k keys.PublicKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[k].Revoked = keys.MillisOf(time.Now())
}

// restore undoes revoke.
func (w *world) restore(k keys.PublicKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[k].Revoked = 0
}

// A party is one host, its device and identity.
type party struct {
	*Host
	identity *keys.Identity
	device   *keys.Device
	cert     *keys.Certificate
	store    store.Store
	dir      string
	opt      Options
	folds    map[ThreadID]*fold
	memory   bool // its store is lost when it halts
}

func newParty(t testing.TB, change ...func(*Options)) *party {
	t.Helper()
	return begin(t, &party{}, change)
}

// newLightParty is newParty with a store in memory, for tests with many.
func newLightParty(t testing.TB, change ...func(*Options)) *party {
	t.Helper()
	return begin(t, &party{memory: true}, change)
}

func begin(t testing.TB, p *party, change []func(*Options)) *party {
	t.Helper()
	*p = party{identity: keys.NewIdentity(), device: keys.NewDevice(), dir: t.TempDir(), folds: map[ThreadID]*fold{}, memory: p.memory}
	var err error
	p.cert, err = p.identity.Certify(p.device.Public(), keys.CertifyOptions{Name: "test", Issued: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	p.opt = Options{Device: p.device, Certificate: p.cert, Dir: p.dir + "/blobs"}
	if os.Getenv("WEFT_TEST_LOG") != "" {
		p.opt.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", p.cert.Sign.String()[50:])
	}
	for _, c := range change {
		c(&p.opt)
	}
	p.start(t)
	t.Cleanup(func() { p.halt(t) })
	return p
}

func (p *party) start(t testing.TB) {
	t.Helper()
	open := func() (store.Store, error) { return engines.Open(p.dir+"/store", nil) }
	if p.memory {
		open = engines.OpenMemory
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	p.store, p.opt.Store = s, s
	if p.Host, err = Open(t.Context(), p.opt); err != nil {
		t.Fatal(err)
	}
}

func (p *party) halt(t testing.TB) {
	t.Helper()
	if p.Host == nil {
		return
	}
	if err := p.Host.Close(); err != nil {
		t.Error("close host:", err)
	}
	if err := p.store.Close(); err != nil {
		t.Error("close store:", err)
	}
	p.Host = nil
}

func newRelay(t testing.TB, w *world) *party {
	return newParty(t, func(o *Options) { o.Relay, o.Gate = true, w.policy() })
}

// credential makes what the party presents, under the secret of a key.
func (p *party) credential(t testing.TB, secret *keys.APISecret, change ...func(*keys.GrantOptions)) CredentialFunc {
	return func(audience keys.PublicKey) (*keys.Credential, error) {
		opt := keys.GrantOptions{User: p.identity.Public(), Audience: audience, Issued: time.Now(), Expires: time.Now().Add(time.Hour)}
		for _, c := range change {
			c(&opt)
		}
		g, err := secret.Grant(opt)
		return &keys.Credential{Grant: g, Certificate: p.cert}, err
	}
}

func (p *party) addr(t testing.TB) multiaddr.Multiaddr {
	t.Helper()
	return p.Addrs()[0]
}

func (p *party) use(t testing.TB, relay *party, credential CredentialFunc) {
	t.Helper()
	if err := p.AddRelay(t.Context(), relay.addr(t), credential); err != nil {
		t.Fatal(err)
	}
}

func (p *party) create(t testing.TB) *Thread {
	t.Helper()
	th, err := p.Create(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	return p.attach(th)
}

// within bounds how long a test waits for an event.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (p *party) connect(t testing.TB, to *party) {
	t.Helper()
	if err := p.Connect(within(t), to.addr(t)); err != nil {
		t.Fatal(err)
	}
}

func identical(t testing.TB, th *Thread, peers ...peer.ID) {
	t.Helper()
	if err := th.WaitIdentical(within(t), peers...); err != nil {
		t.Fatalf("%v\n%+v", err, th.Status())
	}
}

// until waits until something holds, by what a host notices of one thread.
func until(t testing.TB, th *Thread, what string, holds func() bool) {
	t.Helper()
	ctx := within(t)
	for {
		changed := th.StatusChanged()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not so: %s: %+v", what, th.Status())
		}
	}
}

// refusedBy waits until a peer refuses the thread.
func waitRefused(t testing.TB, th *Thread, p peer.ID, code keys.Code) PeerStatus {
	t.Helper()
	ctx := within(t)
	for {
		changed := th.StatusChanged()
		for _, ps := range th.Status() {
			if ps.Peer == p && ps.State == StateRefused && ps.Code == code {
				return ps
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not refused as %s: %+v", code, th.Status())
		}
	}
}

// write appends n records of one payload each to the thread.
func write(t testing.TB, p *party, th *Thread, n int) {
	t.Helper()
	for i := range n {
		writeOne(t, p, th, []byte(fmt.Sprintf("secret document %d of %s", i, p.cert.Sign)))
	}
}

func writeOne(t testing.TB, p *party, th *Thread, payloads ...[]byte) []clock.RecordID {
	t.Helper()
	drafts := make([]Draft, len(payloads))
	for i, b := range payloads {
		drafts[i] = Draft{Time: p.clock.Now(), Payload: b}
	}
	tx := p.store.Begin()
	defer tx.Discard()
	ids, _, done, err := th.Append(tx, drafts)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		done(false)
		t.Fatal(err)
	}
	done(true)
	p.folds[th.ID()].run()
	return ids
}

// A fold folds nothing: its state is the set of the records that arrived.
type fold struct {
	th    *Thread
	store store.Store
	mu    sync.Mutex // guards n and hash, and orders runs
	n     int64
	hash  clock.Hash
}

// run takes what arrived and makes it durable.
func (f *fold) run() {
	f.mu.Lock()
	n := f.n
	for {
		arrivals, err := f.th.Arrivals(n, 4<<20)
		if err != nil || len(arrivals) == 0 {
			break
		}
		for _, a := range arrivals {
			d := sha256.Sum256(append(a.ID.Hash[:], a.Payload...))
			for i := range d {
				f.hash[i] ^= d[i]
			}
			n = a.N
		}
	}
	if n == f.n || f.store.Sync() != nil {
		f.mu.Unlock()
		return
	}
	f.n = n
	f.mu.Unlock()
	f.th.Flushed(n)
}

func (f *fold) state() (int64, clock.Hash, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n, f.hash, true
}

// attach joins a thread to a fold.
func (p *party) attach(th *Thread) *Thread {
	f := &fold{th: th, store: p.store}
	th.Attach(&Attachment{Arrived: f.run, State: f.state, Voided: func(Cut) {}})
	f.run()
	p.folds[th.ID()] = f
	return th
}

func expired(o *keys.GrantOptions) {
	o.Issued, o.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

func (p *party) invite(t testing.TB, th *Thread) Invite {
	t.Helper()
	inv, err := th.CreateInvite(t.Context(), InviteOptions{Role: RoleWriter, Uses: -1})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (p *party) joinBy(t testing.TB, inv Invite) *Thread {
	t.Helper()
	th, err := p.Join(within(t), inv)
	if err != nil {
		t.Fatal(err)
	}
	return p.attach(th)
}

// join makes p a member of a thread of a party that it is connected to.
func (p *party) join(t testing.TB, th *Thread) *Thread {
	t.Helper()
	return p.joinBy(t, p.invite(t, th))
}

// same checks that two replicas hold the same records.
func same(t testing.TB, a, b *Thread) {
	t.Helper()
	if x, y := tipset.Digest(a.held().Tips()), tipset.Digest(b.held().Tips()); x != y {
		t.Fatalf("tips differ: %v and %v", a.held().Tips(), b.held().Tips())
	}
}

// heads returns a digest of what p holds of a thread.
func (p *party) heads(t testing.TB, th *Thread) clock.Hash {
	t.Helper()
	kept, err := p.Thread(th.ID())
	if err != nil {
		t.Fatal(err)
	}
	return tipset.Digest(kept.held().Tips())
}

func waitState(t testing.TB, th *Thread, p peer.ID, state State) PeerStatus {
	t.Helper()
	ctx := within(t)
	for {
		changed := th.StatusChanged()
		for _, ps := range th.Status() {
			if ps.Peer == p && ps.State == state {
				return ps
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not %s: %+v", state, th.Status())
		}
	}
}

func (p *party) putBlob(t testing.TB, th *Thread, plain []byte) BlobID {
	t.Helper()
	ids, err := th.PutBlobs(t.Context(), [][]byte{plain})
	if err != nil {
		t.Fatal(err)
	}
	return ids[0]
}

// haveBlobs waits until a replica holds blobs.
func haveBlobs(t testing.TB, th *Thread, ids []BlobID) {
	t.Helper()
	ctx := within(t)
	for {
		changed, lacks := th.held().Changed(), 0
		for _, id := range ids {
			if !th.held().HasBlob(id) {
				lacks++
			}
		}
		if lacks == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d blobs of %d did not arrive", lacks, len(ids))
		}
	}
}

// open returns a thread that p holds, attached.
func (p *party) open(t testing.TB, id ThreadID) *Thread {
	t.Helper()
	th, err := p.Thread(id)
	if err != nil {
		t.Fatal(err)
	}
	return p.attach(th)
}
