package thread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A testNode is a device with a store, without a network.
type testNode struct {
	env *Env
	dir string
}

func newTestNode(t testing.TB) *testNode {
	t.Helper()
	return openTestNode(t, t.TempDir(), keys.NewDevice(), nil)
}

func newMemoryNode(t testing.TB) *testNode {
	t.Helper()
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	return nodeOn(t, s, t.TempDir(), keys.NewDevice(), nil)
}

func openTestNode(t testing.TB, dir string, device *keys.Device, cert *keys.Certificate) *testNode {
	t.Helper()
	s, err := engines.Open(dir+"/store", nil)
	if err != nil {
		t.Fatal(err)
	}
	return nodeOn(t, s, dir, device, cert)
}

func nodeOn(t testing.TB, s store.Store, dir string, device *keys.Device, cert *keys.Certificate) *testNode {
	t.Helper()
	if cert == nil {
		var err error
		cert, err = keys.NewIdentity().Certify(device.Public(), keys.CertifyOptions{Name: "test", Issued: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
	}
	env, err := NewEnv(s, dir+"/blobs", device, cert, &clock.Clock{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.Close(); _ = s.Close() })
	return &testNode{env: env, dir: dir}
}

func (n *testNode) create(t testing.TB) *Thread {
	t.Helper()
	th, err := Create(t.Context(), n.env, "test", keys.PublicKey{})
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, th)
}

func opened(t testing.TB, th *Thread) *Thread {
	t.Cleanup(th.Close)
	if !th.relay {
		th.Flushed(th.lastArrival())
	}
	return th
}

// join makes n a member of the thread of `from`, by what `from` sends.
func (n *testNode) join(t testing.TB, from *Thread, inv format.Invite) *Thread {
	t.Helper()
	th, err := Join(t.Context(), n.env, inv, from.Genesis())
	if err != nil {
		t.Fatal(err)
	}
	opened(t, th)
	mustPull(t, th, from)
	if err := th.FinishJoin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return th
}

func (n *testNode) adopt(t testing.TB, from *Thread) *Thread {
	t.Helper()
	th, err := Adopt(t.Context(), n.env, from.Genesis(), format.SecretKey(from.ServiceKey()))
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, th)
}

// pull gives `to` everything that `from` may send, run by run, control logs first.
func pull(ctx context.Context, to, from *Thread, maxBytes int) error {
	if err := errors.Join(from.settleSync(), to.settleSync()); err != nil {
		return err
	}
	var errs []error
	for _, control := range []bool{true, false} {
		for _, tip := range from.Sendable() {
			if from.IsControl(tip.Log) != control || to.Has(tip) {
				continue
			}
			errs = append(errs, pullLog(ctx, to, from, tip, maxBytes))
		}
	}
	return errors.Join(append(errs, to.settleSync())...)
}

func pullLog(ctx context.Context, to, from *Thread, tip clock.RecordID, maxBytes int) error {
	after := from.Start(tip.Log)
	for _, h := range to.Tips() {
		if h.Log == tip.Log && h != tip {
			after = max(after, from.Common(tip, h))
		}
	}
	for after < tip.Seq {
		r, err := from.ReadRun(tip, after, maxBytes)
		if err != nil || len(r.Records) == 0 {
			return err
		}
		back, err := format.DecodeRun(format.EncodeRun(r))
		if err != nil {
			return err
		}
		if _, err := to.Ingest(ctx, back); err != nil {
			return err
		}
		last, err := r.Last(from.id)
		if err != nil {
			return err
		}
		after = last.Seq
	}
	return nil
}

// settleSync does what the background sync and an attached database would do.
func (t *Thread) settleSync() error {
	if !t.relay {
		t.Flushed(t.lastArrival())
	}
	return t.syncNow()
}

func mustPull(t testing.TB, to, from *Thread) {
	t.Helper()
	if err := pull(t.Context(), to, from, 1<<20); err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) write(t testing.TB, th *Thread, payloads ...string) []clock.RecordID {
	t.Helper()
	ids, err := appendAll(n.env, th, payloads...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func appendAll(env *Env, th *Thread, payloads ...string) ([]clock.RecordID, error) {
	drafts := make([]Draft, len(payloads))
	for i, p := range payloads {
		drafts[i] = Draft{Time: env.clock.Now(), Payload: []byte(p)}
	}
	tx := env.store.Begin()
	defer tx.Discard()
	ids, first, done, err := th.Append(tx, drafts)
	if err != nil {
		return nil, err
	}
	err = tx.Commit()
	done(err == nil)
	th.Flushed(first + int64(len(ids)) - 1)
	return ids, err
}

func payloads(t testing.TB, th *Thread) []string {
	t.Helper()
	var all []string
	for n := int64(0); ; {
		got, err := th.Arrivals(n, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			slices.Sort(all)
			return all
		}
		for _, a := range got {
			if a.N != n+1 {
				t.Fatalf("got arrival %d after %d", a.N, n)
			}
			n = a.N
			all = append(all, string(a.Payload))
		}
	}
}

func wantPayloads(t testing.TB, th *Thread, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := payloads(t, th); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func (n *testNode) invite(t testing.TB, th *Thread, o InviteOptions) format.Invite {
	t.Helper()
	inv, err := th.CreateInvite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	back, err := format.ParseInvite(inv.URL())
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestTwoMembersAndARelayExchange(t *testing.T) {
	a, b, r := newTestNode(t), newTestNode(t), newTestNode(t)
	ta := a.create(t)
	a.write(t, ta, "one", "two")
	a.write(t, ta, "three")
	inv := a.invite(t, ta, InviteOptions{})
	tr := r.adopt(t, ta)
	mustPull(t, tr, ta)
	tb := b.join(t, tr, inv)
	wantPayloads(t, tb, "one", "two", "three")
	b.write(t, tb, "four")
	mustPull(t, tr, tb)
	mustPull(t, ta, tr)
	wantPayloads(t, ta, "one", "two", "three", "four")
	mustPull(t, tr, ta) // the invite is used up: its close
	mustPull(t, tb, tr)
	for _, th := range []*Thread{tb, tr} {
		if !slices.Equal(th.ackable(), ta.ackable()) || !slices.Equal(th.Tips(), ta.Tips()) || !slices.Equal(th.Sendable(), ta.Tips()) {
			t.Fatalf("got %v, %v, %v, want %v", th.Tips(), th.ackable(), th.Sendable(), ta.Tips())
		}
	}
	if got := len(ta.Members()); got != 2 {
		t.Fatalf("got %d members, want 2", got)
	}
	if _, err := tr.Arrivals(0, 1); err != nil {
		t.Fatalf("relay arrivals: %v", err)
	}
	if c := tr.Counts(); c.Records != ta.Counts().Records || c.Bytes != ta.Counts().Bytes || c.Arrivals != 0 {
		t.Fatalf("got %+v, want %+v without arrivals", c, ta.Counts())
	}
	if err := tb.InviteOpen(inv.Key(), 0); !errors.Is(err, ErrInvite) {
		t.Fatalf("got %v of an invite that is used up", err)
	}
}

func TestReopen(t *testing.T) {
	n, other := newTestNode(t), newTestNode(t)
	th := n.create(t)
	ids := n.write(t, th, "one", "two")
	inv := n.invite(t, th, InviteOptions{})
	to := other.join(t, th, inv)
	other.write(t, to, "three")
	mustPull(t, th, to)
	// A commit that nobody flushed: it is there after a crash, and not sent before
	// it is flushed again.
	tx := n.env.store.Begin()
	_, first, done, err := th.Append(tx, []Draft{{Time: n.env.clock.Now(), Payload: []byte("four")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	done(true)
	id, cert, dev := th.ID(), n.env.cert, n.env.device
	heads := th.Tips()
	th.Close()
	if err := n.env.store.Close(); err != nil {
		t.Fatal(err)
	}
	n = openTestNode(t, n.dir, dev, cert)
	all, err := Stored(n.env.store)
	if err != nil || !slices.Equal(all, []format.ThreadID{id}) {
		t.Fatalf("got %v, %v", all, err)
	}
	again, err := Open(t.Context(), n.env, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if !slices.Equal(again.Tips(), heads) {
		t.Fatalf("got heads %v, want %v", again.Tips(), heads)
	}
	again.Flushed(first - 1)
	for _, h := range again.Sendable() {
		if h.Log == ids[0].Log && h.Seq != ids[len(ids)-1].Seq {
			t.Fatalf("got %v sendable, want %v", h, ids[len(ids)-1])
		}
	}
	again.Flushed(first)
	if !slices.Equal(again.Sendable(), heads) || !slices.Equal(again.ackable(), heads) {
		t.Fatalf("got %v and %v, want %v", again.Sendable(), again.ackable(), heads)
	}
	wantPayloads(t, again, "one", "two", "three", "four")
	n.write(t, again, "five")
	mustPull(t, to, again)
	wantPayloads(t, to, "one", "two", "three", "four", "five")
	e, err := again.Entry(ids[1])
	if err != nil || string(e.Payload) != "two" || e.ID != ids[1] {
		t.Fatalf("got %v, %v", e, err)
	}
}

func TestAppendRollsBack(t *testing.T) {
	n := newTestNode(t)
	th := n.create(t)
	n.write(t, th, "one")
	before := th.Tips()
	tx := n.env.store.Begin()
	_, _, done, err := th.Append(tx, []Draft{{Time: n.env.clock.Now(), Payload: []byte("lost")}})
	if err != nil {
		t.Fatal(err)
	}
	tx.Discard()
	done(false)
	if !slices.Equal(th.Tips(), before) {
		t.Fatal("a rolled back append moved the head")
	}
	tx = n.env.store.Begin()
	for i := 0; ; i++ {
		if err := tx.Put(fmt.Appendf(nil, "filler/%d", i), make([]byte, 100)); errors.Is(err, store.ErrTooBig) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	_, _, _, err = th.Append(tx, []Draft{{Time: n.env.clock.Now(), Payload: make([]byte, 200)}})
	tx.Discard()
	if !errors.Is(err, store.ErrTooBig) {
		t.Fatalf("got %v, want ErrTooBig", err)
	}
	n.write(t, th, "two", "three")
	wantPayloads(t, th, "one", "two", "three")
	tx = n.env.store.Begin()
	defer tx.Discard()
	if _, _, _, err := th.Append(tx, []Draft{{Time: 1, Payload: nil}}); !errors.Is(err, ErrClock) {
		t.Fatalf("got %v, want ErrClock", err)
	}
	if _, _, _, err := th.Append(tx, []Draft{{Time: n.env.clock.Now(), Payload: make([]byte, format.MaxPayload+1)}}); !errors.Is(err, format.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
}

func TestAttachmentHearsOfArrivals(t *testing.T) {
	a, b := newTestNode(t), newTestNode(t)
	ta := a.create(t)
	tb := b.join(t, ta, a.invite(t, ta, InviteOptions{}))
	var mu sync.Mutex
	heard := 0
	tb.Attach(&Attachment{
		Arrived: func() { mu.Lock(); heard++; mu.Unlock() },
		State:   func() (int64, clock.Hash, bool) { return 0, clock.Hash{1}, true },
		Voided:  func(c Cut) { t.Errorf("got a cut %v", c) },
	})
	a.write(t, ta, "one")
	mustPull(t, tb, ta)
	mu.Lock()
	defer mu.Unlock()
	if heard == 0 {
		t.Fatal("the attachment heard of no arrival")
	}
	if _, h, ok := tb.state(); !ok || h != (clock.Hash{1}) {
		t.Fatal("the state is not the attachment's")
	}
}

func TestBlobsAreSealedKeptAndChecked(t *testing.T) {
	a, b := newTestNode(t), newTestNode(t)
	ta := a.create(t)
	tb := b.join(t, ta, a.invite(t, ta, InviteOptions{}))
	var plains [][]byte
	for _, n := range []int{0, 1, 1000, 64 << 10, 65<<10 + 7, format.MaxBlob} {
		plains = append(plains, bytes.Repeat([]byte{byte(n), 3}, n/2+1)[:n])
	}
	ids, err := ta.PutBlobs(t.Context(), append(plains, plains[2]))
	if err != nil {
		t.Fatal(err)
	}
	if ids[2] != ids[len(ids)-1] {
		t.Fatal("equal plaintexts gave different blobs")
	}
	refs, _, err := ta.BlobsAfter(0, 100)
	if err != nil || len(refs) != len(plains) {
		t.Fatalf("got %d blobs, %v, want %d", len(refs), err, len(plains))
	}
	for i, r := range refs {
		sealed, err := ta.SealedBlob(r.ID)
		if err != nil || len(sealed) != r.Size || bytes.Contains(sealed, plains[3][:64]) {
			t.Fatalf("blob %d: %v", i, err)
		}
		if err := tb.PutSealedBlobs(t.Context(), [][]byte{sealed}); err != nil {
			t.Fatal(err)
		}
		got, err := tb.Blob(t.Context(), r.ID)
		if err != nil || !bytes.Equal(got, plains[i]) {
			t.Fatalf("blob %d: got %d bytes, %v", i, len(got), err)
		}
		sealed[len(sealed)-1] ^= 1
		if err := tb.PutSealedBlobs(t.Context(), [][]byte{sealed}); err != nil {
			t.Fatal(err)
		}
		if _, err := tb.Blob(t.Context(), format.BlobIDOf(sealed)); !errors.Is(err, format.ErrSealed) {
			t.Fatalf("got %v of an altered blob", err)
		}
	}
	if _, err := ta.PutBlob(t.Context(), make([]byte, format.MaxBlob+1)); !errors.Is(err, format.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if _, err := ta.Blob(t.Context(), format.BlobID{}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	want := ta.Counts()
	again, err := Open(t.Context(), a.env, ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if got := again.Counts(); got.Blobs != want.Blobs || got.BlobBytes != want.BlobBytes {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if err := ta.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), a.env, ta.ID()); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v of a removed thread", err)
	}
}

// A thread is discarded without being opened, whatever is left of it.
func TestDiscard(t *testing.T) {
	n := newTestNode(t)
	th := n.create(t)
	n.write(t, th, "one")
	th.Close()
	for range 2 { // the second time there is none
		if err := Discard(t.Context(), n.env, th.ID()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), n.env, th.ID()); !errors.Is(err, ErrNotFound) {
			t.Fatalf("got %v of a discarded thread", err)
		}
	}
}

// lastArrival returns the number of the last arrival.
func (t *Thread) lastArrival() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arrivals
}

// state returns the folded position and state hash of what is attached.
func (t *Thread) state() (n int64, hash clock.Hash, ok bool) {
	t.mu.Lock()
	a := t.attached
	t.mu.Unlock()
	if a == nil || a.State == nil {
		return 0, clock.Hash{}, false
	}
	return a.State()
}
