package inbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
)

func newMailbox(t *testing.T) *Mailbox {
	t.Helper()
	st, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	d, _ := dbtest.OpenIn(t, st, "device")
	m, err := OpenMailbox(t.Context(), d.DB)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A road is the transport of one device to relays by name.
type road struct {
	device keys.PublicKey
	relays map[string]*relay

	mu    sync.Mutex // guards below
	opens int
	fail  func(n int) bool // whether to fail the n-th open
}

func (r *road) Open(_ context.Context, to string) (io.ReadWriteCloser, keys.PublicKey, error) {
	r.mu.Lock()
	r.opens++
	fail := r.fail != nil && r.fail(r.opens)
	r.mu.Unlock()
	relay := r.relays[to]
	if relay == nil || fail {
		return nil, keys.PublicKey{}, errors.New("no route to " + to)
	}
	s, err := relay.dial(r.device)
	return s, relay.self, err
}

// start opens a person's inbox on a mailbox, with relays by name.
func (p *person) start(t *testing.T, m *Mailbox, relays map[string]*relay, filed chan<- Message) (*Inbox, *road) {
	t.Helper()
	way := &road{device: p.device.Public().Sign, relays: relays}
	c := Config{
		Mailbox: m, Identity: p.key(), SealingKey: p.id.SealingKey(), Device: p.device, Certificate: p.cert, Transport: way,
		Credential: func(addr string, _ keys.PublicKey) (*keys.Credential, error) {
			return relays[addr].dev.credential(t, p), nil
		},
		Relays: func() []string {
			var out []string
			for addr := range relays {
				out = append(out, addr)
			}
			return out
		},
		Logf: t.Logf,
	}
	if filed != nil {
		c.OnMessage = func(m Message) { filed <- m }
	}
	b, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, way
}

func onlySent(t *testing.T, m *Mailbox) Sent {
	t.Helper()
	list, err := m.Sent(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("got %d sent messages, %v, want 1", len(list), err)
	}
	return list[0]
}

func received(t *testing.T, m *Mailbox, o ListOptions) []Received {
	t.Helper()
	list, err := m.List(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// settle flushes until the one message that was sent is in a state.
func settle(t *testing.T, b *Inbox, want State) Sent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if err := b.Flush(ctx); err != nil {
			t.Fatalf("the message is %+v, want it %s: %v", onlySent(t, b.Mailbox()), want, err)
		}
		if s := onlySent(t, b.Mailbox()); s.State == want {
			return s
		}
	}
}

func TestSendWhileRelayIsDown(t *testing.T) {
	r := newRelay(t, PostOptions{})
	relays := map[string]*relay{"/relay": r}
	alice, bob := newPerson(t), newPerson(t)
	r.setDown(true)
	a, _ := alice.start(t, newMailbox(t), relays, nil)
	m, err := a.Send(t.Context(), Address{Identity: bob.key()}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if s := settle(t, a, Queued); s.Reason == "" {
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s = onlySent(t, a.Mailbox()); s.Reason == "" {
			t.Fatalf("got %+v, want a reason", s)
		}
	}
	r.setDown(false)
	filed := make(chan Message, 1)
	b, _ := bob.start(t, newMailbox(t), relays, filed)
	if err := b.Setup(t.Context(), "/relay"); err != nil {
		t.Fatal(err)
	}
	a.Wake()
	select {
	case got := <-filed:
		if got.ID != m.ID || got.From != alice.key() || string(got.Body) != "hello" {
			t.Fatalf("got %+v, want %+v", got, m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the message did not arrive")
	}
	if s := settle(t, a, Delivered); s.Envelope != nil || s.Reason != "" {
		t.Fatalf("got %+v, want no envelope and no reason", s)
	}
	if peers, err := b.Mailbox().Peers(t.Context()); err != nil || len(peers) != 1 || peers[0] != "/relay" {
		t.Fatalf("got peers %v, %v", peers, err)
	}
}

func TestMailboxMarks(t *testing.T) {
	ctx := t.Context()
	m := newMailbox(t)
	alice, eve, bob := newPerson(t), newPerson(t), newPerson(t)
	msg := alice.message(bob.key(), "hello")
	copied := eve.message(bob.key(), "copied ID")
	copied.ID = msg.ID
	for i, want := range []bool{true, false} {
		if filed, err := m.File(ctx, msg); err != nil || filed != want {
			t.Fatalf("filing %d: got %v, %v, want %v", i, filed, err, want)
		}
	}
	got, err := m.Read(ctx, msg.ID)
	if err != nil || got.Read || !bytes.Equal(got.Body, msg.Body) || got.From != msg.From || !got.Time.Equal(msg.Time) {
		t.Fatalf("got %+v, %v, want %+v", got, err, msg)
	}
	if err := m.MarkRead(ctx, msg.ID); err != nil {
		t.Fatal(err)
	}
	if n := len(received(t, m, ListOptions{Unread: true})); n != 0 {
		t.Fatalf("got %d unread, want none", n)
	}
	// Another's message under the same ID takes no place.
	if filed, err := m.File(ctx, copied); err != nil || !filed {
		t.Fatalf("got %v, %v, want it filed", filed, err)
	}
	if _, err := m.Read(ctx, msg.ID); !errors.Is(err, ErrAmbiguous) {
		t.Fatalf("got %v, want ErrAmbiguous", err)
	}
}

// A removed message does not come back by a replay; its ID is forgotten with
// Expiry, when its age refuses it.
func TestRemoveAndSweep(t *testing.T) {
	ctx := t.Context()
	m := newMailbox(t)
	alice, bob := newPerson(t), newPerson(t)
	msg := alice.message(bob.key(), "hello")
	if _, err := m.File(ctx, msg); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, msg.ID); err != nil {
		t.Fatal(err)
	}
	if filed, err := m.File(ctx, msg); err != nil || filed {
		t.Fatalf("filed again after removal: %v, %v", filed, err)
	}
	if n := len(received(t, m, ListOptions{})); n != 0 {
		t.Fatalf("got %d messages, want none", n)
	}
	if _, err := m.Read(ctx, msg.ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if err := m.Remove(ctx, msg.ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if err := m.Sweep(ctx, msg.Time.Add(Expiry+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.db.Collection(receivedCollection).Count(ctx, nil); err != nil || n != 0 {
		t.Fatalf("got %d documents, %v, want none", n, err)
	}
}

// The device is killed after it filed and before it acknowledged: the message
// comes again, and is in the mailbox once.
func TestKilledBeforeAcknowledging(t *testing.T) {
	ctx := t.Context()
	r := newRelay(t, PostOptions{})
	relays := map[string]*relay{"/relay": r}
	alice, bob := newPerson(t), newPerson(t)
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	env := alice.envelope(t, alice.message(bob.key(), "once"))
	if err := r.post.Deposit(env); err != nil {
		t.Fatal(err)
	}
	m := newMailbox(t)
	b, way := bob.start(t, m, relays, nil)
	way.fail = func(n int) bool { return n == 2 } // the stream for receipts
	if err := b.Collect(ctx, "/relay"); err == nil {
		t.Fatal("collected without acknowledging")
	}
	if n := len(received(t, m, ListOptions{})); n != 1 {
		t.Fatalf("got %d messages, want 1", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := bob.start(t, m, relays, nil)
	for range 2 {
		if err := again.Collect(ctx, "/relay"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(received(t, m, ListOptions{})); n != 1 {
		t.Fatalf("got %d messages, want 1", n)
	}
	if held, err := r.post.Status(bob.key(), []Digest{digestOf(env)}); err != nil || held[0].Receipt == nil {
		t.Fatalf("got %+v, %v, want a receipt", held, err)
	}
}

// Envelopes that cannot be opened neither stop the others nor stay for ever, and
// their sender is told.
func TestBadEnvelopesAreRefused(t *testing.T) {
	ctx := t.Context()
	r := newRelay(t, PostOptions{})
	relays := map[string]*relay{"/relay": r}
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	e, err := Seal(eve.message(eve.key(), "for another"), eve.device, eve.cert)
	if err != nil {
		t.Fatal(err)
	}
	e.Recipient = bob.key()
	bad, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	old := alice.message(bob.key(), "of another time")
	old.Time = old.Time.Add(time.Hour)
	early := alice.envelope(t, old)
	good := alice.envelope(t, alice.message(bob.key(), "good"))
	for _, env := range [][]byte{bad, early, good, good} {
		if err := r.post.Deposit(env); err != nil {
			t.Fatal(err)
		}
	}
	m := newMailbox(t)
	b, _ := bob.start(t, m, relays, nil)
	if err := b.Collect(ctx, "/relay"); err != nil {
		t.Fatal(err)
	}
	if list := received(t, m, ListOptions{}); len(list) != 1 || string(list[0].Body) != "good" {
		t.Fatalf("got %+v, want the good one", list)
	}
	held, err := r.post.Status(bob.key(), []Digest{digestOf(bad), digestOf(early), digestOf(good)})
	if err != nil || held[0].Receipt == nil || held[1].Receipt != nil || held[2].Receipt == nil {
		t.Fatalf("got %+v, %v, want the early one held", held, err)
	}
	if r, err := DecodeReceipt(held[0].Receipt); err != nil || r.Outcome != OutcomeRefused {
		t.Fatalf("got %+v, %v, want it refused", r, err)
	}
}

// A relay that shows a receipt of its own making is not believed.
func TestLyingRelay(t *testing.T) {
	r := newRelay(t, PostOptions{})
	relays := map[string]*relay{"/relay": r}
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	a, _ := alice.start(t, newMailbox(t), relays, nil)
	if _, err := a.Send(t.Context(), Address{Identity: bob.key(), At: "/relay"}, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	s := settle(t, a, Accepted)
	tx := r.post.store.Begin()
	if err := tx.Put(r.post.indexKey(bob.key(), digestOf(s.Envelope)), eve.receipt(t, s.Envelope)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := onlySent(t, a.Mailbox()); s.State != Accepted || s.Reason == "" {
		t.Fatalf("got %+v, want accepted, with the reason", s)
	}
}
