package inbox

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantCode(t *testing.T, err error, code keys.Code) {
	t.Helper()
	if keys.CodeOf(err) != code {
		t.Fatalf("got %v, want a refusal with code %s", err, code)
	}
}

func TestDepositFetchAcknowledge(t *testing.T) {
	r := newRelay(t, PostOptions{})
	alice, bob := newPerson(t), newPerson(t)
	ac, bc := r.client(t, alice), r.client(t, bob)
	ctx := t.Context()
	env := alice.envelope(t, alice.message(bob.key(), "one"))

	wantCode(t, ac.Deposit(ctx, r.dev.credential(t, alice), env), CodeUnknownRecipient)
	if err := bc.Register(ctx, r.dev.credential(t, bob)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is a retry, and kept once
		if err := ac.Deposit(ctx, r.dev.credential(t, alice), env); err != nil {
			t.Fatal(err)
		}
	}
	items := fetchAll(t, bc, bob)
	if len(items) != 1 || !bytes.Equal(items[0].Envelope, env) {
		t.Fatalf("got %d envelopes, want the one", len(items))
	}
	if items := fetchAll(t, r.client(t, bob), bob); len(items) != 1 {
		t.Fatalf("fetched again before acknowledging: got %d, want 1", len(items))
	}
	status, err := ac.Status(ctx, bob.key(), []Digest{digestOf(env), {}})
	if err != nil || !status[0].Known || status[0].Receipt != nil || status[1].Known {
		t.Fatalf("got %+v, %v, want held and unknown", status, err)
	}
	receipt := bob.receipt(t, env)
	if err := r.client(t, bob).Acknowledge(ctx, [][]byte{receipt}); err != nil {
		t.Fatal(err)
	}
	if items := fetchAll(t, r.client(t, bob), bob); len(items) != 0 {
		t.Fatalf("after acknowledging: got %d, want none", len(items))
	}
	status, err = ac.Status(ctx, bob.key(), []Digest{digestOf(env)})
	if err != nil || !bytes.Equal(status[0].Receipt, receipt) {
		t.Fatalf("got %+v, %v, want the receipt", status, err)
	}
	// A replay of what was acknowledged is not kept again.
	if err := ac.Deposit(ctx, r.dev.credential(t, alice), env); err != nil {
		t.Fatal(err)
	}
	if items := fetchAll(t, r.client(t, bob), bob); len(items) != 0 {
		t.Fatalf("after a replay: got %d, want none", len(items))
	}
}

func TestRefusals(t *testing.T) {
	r := newRelay(t, PostOptions{})
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	ctx := t.Context()
	env := alice.envelope(t, alice.message(bob.key(), "one"))
	if err := r.client(t, bob).Register(ctx, r.dev.credential(t, bob)); err != nil {
		t.Fatal(err)
	}
	ac := r.client(t, alice)
	wantCode(t, ac.Deposit(ctx, nil, env), keys.CodeNoCredential)
	wantCode(t, ac.Deposit(ctx, r.dev.credential(t, bob), env), keys.CodeWrongPeer)
	wantCode(t, ac.Deposit(ctx, r.dev.credential(t, alice, keys.ScopePin), env), keys.CodeWrongScope)
	wantCode(t, ac.Deposit(ctx, newDeveloper(t).credential(t, alice), env), keys.CodeKeyUnknown)
	wantCode(t, ac.Deposit(ctx, r.dev.credential(t, alice), env[:len(env)-1]), CodeBadRequest)
	wantCode(t, ac.Register(ctx, nil), keys.CodeNoCredential)

	none := func(Item) error { t.Error("got an envelope of another"); return nil }
	end := func() error { return nil }
	wantCode(t, r.client(t, eve).Fetch(ctx, bob.cert, 0, false, none, end), keys.CodeWrongPeer)
	wantCode(t, r.client(t, eve).Fetch(ctx, eve.cert, 0, false, none, end), CodeUnknownRecipient)

	r.dev.mu.Lock()
	r.dev.key.Revoked = keys.MillisOf(time.Now())
	r.dev.mu.Unlock()
	wantCode(t, ac.Deposit(ctx, r.dev.credential(t, alice), env), keys.CodeKeyRevoked)
	if n := len(fetchAll(t, r.client(t, bob), bob)); n != 0 {
		t.Fatalf("refused deposits were kept: %d", n)
	}
}

// Only a device of the recipient makes a post drop an envelope.
func TestReceiptOfAnother(t *testing.T) {
	r := newRelay(t, PostOptions{})
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	ctx := t.Context()
	env := alice.envelope(t, alice.message(bob.key(), "one"))
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	if err := r.post.Deposit(env); err != nil {
		t.Fatal(err)
	}
	forged := eve.receipt(t, env)
	if err := r.client(t, eve).Acknowledge(ctx, [][]byte{forged}); err != nil {
		t.Fatal(err)
	}
	bad := bob.receipt(t, env)
	bad[len(bad)-1] ^= 1
	wantCode(t, r.client(t, eve).Acknowledge(ctx, [][]byte{bad}), CodeBadRequest)
	if n := len(fetchAll(t, r.client(t, bob), bob)); n != 1 {
		t.Fatalf("got %d envelopes, want 1", n)
	}
}

func TestMailboxCaps(t *testing.T) {
	r := newRelay(t, PostOptions{MaxMessages: 3})
	alice, bob, carol := newPerson(t), newPerson(t), newPerson(t)
	for _, p := range []*person{bob, carol} {
		if err := r.post.Register(p.key(), r.dev.owner); err != nil {
			t.Fatal(err)
		}
	}
	var envs [][]byte
	for range 3 {
		env := alice.envelope(t, alice.message(bob.key(), "x"))
		if err := r.post.Deposit(env); err != nil {
			t.Fatal(err)
		}
		envs = append(envs, env)
	}
	more := alice.envelope(t, alice.message(bob.key(), "x"))
	wantCode(t, r.post.Deposit(more), CodeMailboxFull)
	if err := r.post.Deposit(alice.envelope(t, alice.message(carol.key(), "x"))); err != nil {
		t.Fatalf("another recipient's mailbox: %v", err)
	}
	if err := r.post.Acknowledge([][]byte{bob.receipt(t, envs[1])}); err != nil {
		t.Fatal(err)
	}
	if err := r.post.Deposit(more); err != nil {
		t.Fatalf("after acknowledging: %v", err)
	}
	small := newRelay(t, PostOptions{MaxBytes: 1000})
	if err := small.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	wantCode(t, small.post.Deposit(alice.envelope(t, alice.message(bob.key(), randomBody(2000)))), CodeMailboxFull)
}

func TestExpire(t *testing.T) {
	now := time.Now()
	r := newRelay(t, PostOptions{Now: func() time.Time { return now }})
	alice, bob := newPerson(t), newPerson(t)
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	envs := [][]byte{alice.envelope(t, alice.message(bob.key(), "a")), alice.envelope(t, alice.message(bob.key(), "b"))}
	for _, e := range envs {
		if err := r.post.Deposit(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.post.Acknowledge([][]byte{bob.receipt(t, envs[0])}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(Expiry - time.Minute)
	if n, err := r.post.Expire(); n != 0 || err != nil {
		t.Fatalf("before the time: got %d, %v", n, err)
	}
	now = now.Add(2 * time.Minute)
	if n, err := r.post.Expire(); n != 2 || err != nil {
		t.Fatalf("after the time: got %d, %v, want 2", n, err)
	}
	held, err := r.post.Status(bob.key(), []Digest{digestOf(envs[0]), digestOf(envs[1])})
	if err != nil || held[0].Known || held[1].Known {
		t.Fatalf("got %+v, %v, want nothing known", held, err)
	}
	items, err := r.post.Fetch(bob.key(), 0, 1<<20)
	if err != nil || len(items) != 0 {
		t.Fatalf("got %d envelopes, %v", len(items), err)
	}
	view := r.post.store.Snapshot()
	defer view.Release()
	if reg, err := r.post.registration(view, bob.key()); err != nil || reg.Count != 0 || reg.Bytes != 0 {
		t.Fatalf("got %+v, %v, want nothing counted", reg, err)
	}
}

// What a post has taken is there after its process was killed.
func TestPostSurvivesReopen(t *testing.T) {
	dir := t.TempDir()
	alice, bob := newPerson(t), newPerson(t)
	env := alice.envelope(t, alice.message(bob.key(), "x"))
	for i := range 2 {
		s, err := engines.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPost(s, []byte("p"), PostOptions{})
		if i == 0 {
			if err := errors.Join(p.Register(bob.key(), alice.key()), p.Deposit(env)); err != nil {
				t.Fatal(err)
			}
		} else if items, err := p.Fetch(bob.key(), 0, 1<<20); err != nil || len(items) != 1 {
			t.Fatalf("got %d envelopes, %v, want 1", len(items), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A follower has what is held, then what arrives, in order and once.
func TestFollow(t *testing.T) {
	r := newRelay(t, PostOptions{})
	alice, bob := newPerson(t), newPerson(t)
	if err := r.post.Register(bob.key(), r.dev.owner); err != nil {
		t.Fatal(err)
	}
	deposit := func() {
		if err := r.post.Deposit(alice.envelope(t, alice.message(bob.key(), "x"))); err != nil {
			t.Error(err)
		}
	}
	deposit()
	ctx, cancel := context.WithCancel(t.Context())
	var seqs []uint64
	ends := 0
	err := r.client(t, bob).Fetch(ctx, bob.cert, 0, true, func(it Item) error {
		seqs = append(seqs, it.Seq)
		return nil
	}, func() error {
		if ends++; ends == 3 {
			cancel()
			return nil
		}
		go deposit() // ends before the stream does: the next end waits for it
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's end", err)
	}
	if len(seqs) != 3 || seqs[0] != 1 || seqs[1] != 2 || seqs[2] != 3 {
		t.Fatalf("got %v, want 1 2 3", seqs)
	}
}

// A peer that has shown no credential sends no more than a small request; who has,
// sends whole messages.
func TestLargeRequestsNeedACredential(t *testing.T) {
	r := newRelay(t, PostOptions{})
	alice, bob := newPerson(t), newPerson(t)
	if err := r.client(t, bob).Register(t.Context(), r.dev.credential(t, bob)); err != nil {
		t.Fatal(err)
	}
	msg := alice.message(bob.key(), "")
	msg.Body = bytes.Repeat([]byte("a"), MaxBody)
	env := alice.envelope(t, msg)
	if err := r.client(t, alice).Deposit(t.Context(), r.dev.credential(t, alice), env); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.client(t, alice).Deposit(t.Context(), nil, env), keys.CodeNoCredential)
	cred, err := r.dev.credential(t, alice).Encode()
	if err != nil {
		t.Fatal(err)
	}
	// Straight away, without showing what it has first.
	c := r.client(t, alice)
	if _, err := c.ask(t.Context(), frameDeposit, depositFrame{Credential: cred, Envelope: env}, frameDone); err == nil || keys.CodeOf(err) != "" {
		t.Errorf("a large deposit of a stranger: got %v, want the end of the stream", err)
	}
	var receipts [][]byte
	for range maxBatch {
		receipts = append(receipts, bob.receipt(t, env))
	}
	if err := r.client(t, bob).Acknowledge(t.Context(), receipts); err != nil {
		t.Errorf("many receipts: %v", err)
	}
}
