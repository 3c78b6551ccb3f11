package inbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	stdnet "net"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
)

// A person is an identity with one device.
type person struct {
	id     *keys.Identity
	device *keys.Device
	cert   *keys.Certificate
}

func newPerson(t testing.TB) *person {
	t.Helper()
	p := &person{id: keys.NewIdentity(), device: keys.NewDevice()}
	cert, err := p.id.Certify(p.device.Public(), keys.CertifyOptions{Issued: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	p.cert = cert
	return p
}

func (p *person) key() keys.PublicKey { return p.id.Public() }

func (p *person) message(to keys.PublicKey, body string) Message {
	return Message{ID: ulid.Make(), From: p.key(), To: to, Time: time.UnixMilli(time.Now().UnixMilli()).UTC(), Body: []byte(body)}
}

// envelope seals and encodes a message.
func (p *person) envelope(t testing.TB, m Message) []byte {
	t.Helper()
	e, err := Seal(m, p.device, p.cert)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *person) receipt(t testing.TB, envelope []byte) []byte {
	t.Helper()
	r, err := newReceipt(digestOf(envelope), OutcomeFiled, p.device, p.cert, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A developer is a key store with one user group key.
type developer struct {
	owner  keys.PublicKey
	secret *keys.APISecret

	mu  sync.Mutex // guards key
	key *keys.APIKey
}

func (d *developer) APIKey(public keys.PublicKey) (*keys.APIKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.key.Public != public {
		return nil, nil
	}
	k := *d.key
	return &k, nil
}

func newDeveloper(t testing.TB) *developer {
	t.Helper()
	owner := keys.NewIdentity().Public()
	key, secret, err := keys.NewAPIKey(time.Now().Add(-time.Hour), keys.APIKeyOptions{Kind: keys.KindUser, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	return &developer{owner: owner, key: key, secret: secret}
}

func (d *developer) credential(t testing.TB, p *person, scopes ...keys.Scope) *keys.Credential {
	t.Helper()
	g, err := d.secret.Grant(keys.GrantOptions{User: p.key(), Audience: keys.AnyAudience(), Scopes: scopes, Issued: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return &keys.Credential{Grant: g, Certificate: p.cert}
}

// A relay is a server on a post, reached by pipes.
type relay struct {
	dev    *developer
	post   *Post
	server *Server
	self   keys.PublicKey

	wg sync.WaitGroup
	mu sync.Mutex // guards down
	// down, if set, makes every new stream fail.
	down bool
}

func newRelay(t testing.TB, o PostOptions) *relay {
	t.Helper()
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{dev: newDeveloper(t), self: keys.NewDevice().Public().Sign}
	r.post = NewPost(s, []byte("post/"), o)
	r.server = &Server{Post: r.post, Gate: &keys.Policy{Keys: r.dev}, Self: r.self}
	t.Cleanup(func() {
		r.wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *relay) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// dial opens a stream as a device.
func (r *relay) dial(device keys.PublicKey) (io.ReadWriteCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("no route")
	}
	near, far := stdnet.Pipe()
	r.wg.Go(func() { _ = r.server.Serve(context.Background(), far, device) })
	return near, nil
}

func (r *relay) client(t testing.TB, p *person) *Client {
	t.Helper()
	s, err := r.dial(p.device.Public().Sign)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(s)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func fetchAll(t testing.TB, c *Client, p *person) []Item {
	t.Helper()
	var items []Item
	err := c.Fetch(t.Context(), p.cert, 0, false, func(it Item) error { items = append(items, it); return nil }, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestSealAndOpen(t *testing.T) {
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	for _, body := range [][]byte{nil, []byte("hello"), bytes.Repeat([]byte("x"), MaxBody)} {
		m := alice.message(bob.key(), string(body))
		e, err := DecodeEnvelope(alice.envelope(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(e.Sealed, []byte("hello")) {
			t.Fatal("the body can be read in transit")
		}
		got, err := e.Open(bob.id.SealingKey(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got.From != alice.key() || got.ID != m.ID || !got.Time.Equal(m.Time) || !bytes.Equal(got.Body, body) {
			t.Fatalf("got %+v, want %+v", got, m)
		}
		if _, err := e.Open(eve.id.SealingKey(), time.Now()); !errors.Is(err, ErrSealed) {
			t.Fatalf("opened by another: got %v, want ErrSealed", err)
		}
	}
	if _, err := Seal(alice.message(bob.key(), string(make([]byte, MaxBody+1))), alice.device, alice.cert); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("body over the maximum: got %v, want ErrTooLarge", err)
	}
}

func TestEnvelopeSizesArePadded(t *testing.T) {
	alice, bob := newPerson(t), newPerson(t)
	a := alice.envelope(t, alice.message(bob.key(), "a"))
	b := alice.envelope(t, alice.message(bob.key(), "a rather longer message"))
	if len(a) != len(b) {
		t.Fatalf("got sizes %d and %d, want equal", len(a), len(b))
	}
}

// Every changed byte outside or inside the seal is noticed.
func TestTamperedEnvelope(t *testing.T) {
	alice, bob := newPerson(t), newPerson(t)
	p := alice.envelope(t, alice.message(bob.key(), "pay 10"))
	for i := range p {
		q := bytes.Clone(p)
		q[i] ^= 0x40
		e, err := DecodeEnvelope(q)
		if err != nil {
			continue
		}
		if _, err := e.Open(bob.id.SealingKey(), time.Now()); err == nil {
			t.Fatalf("byte %d changed: opened", i)
		}
	}
}

func TestForgedMessages(t *testing.T) {
	alice, bob, eve := newPerson(t), newPerson(t), newPerson(t)
	t.Run("another's certificate", func(t *testing.T) {
		if _, err := Seal(eve.message(bob.key(), "I am Alice"), eve.device, alice.cert); err == nil {
			t.Fatal("sealed with another device's certificate")
		}
		m := messageWire{Version: version, Suite: suite, Recipient: bob.key(), ID: ulid.Make(), Time: keys.MillisOf(time.Now()), Body: []byte("I am Alice")}
		m.Certificate, _ = alice.cert.Encode()
		if _, err := open(t, eve, bob, m, m.ID); !errors.Is(err, ErrForged) {
			t.Fatalf("got %v, want ErrForged", err)
		}
	})
	t.Run("sealed on to another", func(t *testing.T) {
		// Bob takes what Alice signed for him and seals it to Eve.
		m := messageWire{Version: version, Suite: suite, Recipient: bob.key(), ID: ulid.Make(), Time: keys.MillisOf(time.Now())}
		m.Certificate, _ = alice.cert.Encode()
		if _, err := open(t, alice, eve, m, m.ID); !errors.Is(err, ErrForged) {
			t.Fatalf("got %v, want ErrForged", err)
		}
	})
	t.Run("another ID outside", func(t *testing.T) {
		m := messageWire{Version: version, Suite: suite, Recipient: bob.key(), ID: ulid.Make(), Time: keys.MillisOf(time.Now())}
		m.Certificate, _ = alice.cert.Encode()
		if _, err := open(t, alice, bob, m, ulid.Make()); !errors.Is(err, ErrForged) {
			t.Fatalf("got %v, want ErrForged", err)
		}
	})
	t.Run("out of its time", func(t *testing.T) {
		for _, at := range []time.Duration{-Expiry - time.Hour, time.Hour} {
			m := alice.message(bob.key(), "then")
			m.Time = m.Time.Add(at)
			e, err := Seal(m, alice.device, alice.cert)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Open(bob.id.SealingKey(), time.Now()); !errors.Is(err, ErrExpired) {
				t.Fatalf("at %v: got %v, want ErrExpired", at, err)
			}
		}
	})
	t.Run("expired device", func(t *testing.T) {
		old, err := alice.id.Certify(alice.device.Public(), keys.CertifyOptions{Issued: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		e, err := Seal(alice.message(bob.key(), "late"), alice.device, old)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Open(bob.id.SealingKey(), time.Now()); !errors.Is(err, ErrForged) {
			t.Fatalf("got %v, want ErrForged", err)
		}
	})
}

// open signs m with a person's device, seals it to another and opens it there.
func open(t *testing.T, signer, to *person, m messageWire, outside ID) (Message, error) {
	t.Helper()
	body := codec.Encode(m)
	signed := codec.Encode(signedWire{Message: body, Signature: signer.device.Sign(domainMessage, body)})
	pub, err := to.key().SealingPublic()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.Seal(pub, info(to.key(), outside), nil, pad(signed))
	if err != nil {
		t.Fatal(err)
	}
	return Envelope{Recipient: to.key(), ID: outside, Sealed: sealed}.Open(to.id.SealingKey(), time.Now())
}

func TestAddress(t *testing.T) {
	p := newPerson(t)
	for _, s := range []string{p.key().DID(), p.key().DID() + "@/ip4/127.0.0.1/tcp/4600"} {
		a, err := ParseAddress(s)
		if err != nil || a.String() != s {
			t.Fatalf("%s: got %s, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "did:key:", "bob", p.key().DID() + "@", p.key().DID() + "@nowhere"} {
		if a, err := ParseAddress(s); err == nil {
			t.Fatalf("%q: got %s, want an error", s, a)
		}
	}
}

// fixedPerson is the same person in every process, for fuzzing and vectors.
func fixedPerson(f testing.TB, seed byte) *person {
	f.Helper()
	secret := func(n int) keys.Secret {
		s, err := keys.SecretOf(bytes.Repeat([]byte{seed}, n))
		if err != nil {
			f.Fatal(err)
		}
		return s
	}
	var p person
	var err error
	if p.id, err = keys.IdentityOf(secret(32)); err != nil {
		f.Fatal(err)
	}
	if p.device, err = keys.DeviceOf(secret(64)); err != nil {
		f.Fatal(err)
	}
	if p.cert, err = p.id.Certify(p.device.Public(), keys.CertifyOptions{Issued: fixedTime()}); err != nil {
		f.Fatal(err)
	}
	return &p
}

func fixedTime() time.Time { return time.UnixMilli(1_700_000_000_000) }

func FuzzDecodeEnvelope(f *testing.F) {
	e := Envelope{Recipient: fixedPerson(f, 1).key(), ID: ID{1}, Sealed: make([]byte, minPadded+keys.SealOverhead)}
	good, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x85, 1, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		e, err := DecodeEnvelope(p)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, p) {
			t.Fatalf("got %x, %v, want %x", again, err, p)
		}
	})
}

// What is inside the seal is hostile too: anybody can seal.
func FuzzOpened(f *testing.F) {
	alice, bob := fixedPerson(f, 1), fixedPerson(f, 2)
	m := messageWire{Version: version, Suite: suite, Recipient: bob.key(), ID: ID{1}, Time: keys.MillisOf(fixedTime()), Body: []byte("hi")}
	m.Certificate, _ = alice.cert.Encode()
	body := codec.Encode(m)
	signed := codec.Encode(signedWire{Message: body, Signature: alice.device.Sign(domainMessage, body)})
	e := Envelope{Recipient: bob.key(), ID: ID{1}}
	if _, err := e.verify(signed, fixedTime()); err != nil {
		f.Fatal(err)
	}
	f.Add(pad(signed))
	f.Fuzz(func(t *testing.T, p []byte) {
		inner, err := unpad(p)
		if err != nil {
			return
		}
		if !bytes.Equal(pad(inner), p) {
			t.Fatal("padding that pad does not give was accepted")
		}
		if got, err := e.verify(inner, fixedTime()); err == nil && !bytes.Equal(inner, signed) {
			t.Fatalf("accepted another message: %+v", got)
		}
	})
}

func FuzzDecodeReceipt(f *testing.F) {
	bob := fixedPerson(f, 2)
	good, err := newReceipt(Digest{1}, OutcomeFiled, bob.device, bob.cert, fixedTime())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := DecodeReceipt(p); err == nil && !bytes.Equal(p, good) {
			t.Fatalf("accepted a receipt that nobody signed: %x", p)
		}
	})
}

// A server survives any bytes: it answers or ends the stream.
func FuzzServe(f *testing.F) {
	r := newRelay(f, PostOptions{})
	bob := fixedPerson(f, 2)
	var seed bytes.Buffer
	if err := writeFrame(&seed, frameStatus, statusFrame{Recipient: bob.key(), Digests: []Digest{{1}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte{0, 0, 0, 1, 3})
	f.Fuzz(func(t *testing.T, p []byte) {
		s := &script{in: bytes.NewReader(p)}
		_ = r.server.Serve(t.Context(), s, bob.device.Public().Sign)
		for out := bytes.NewReader(s.out.Bytes()); out.Len() > 0; {
			if _, _, err := readFrame(out, maxFrame); err != nil {
				t.Fatalf("the server wrote a broken frame: %v", err)
			}
		}
	})
}

// A script is a stream whose peer has said everything already.
type script struct {
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *script) Close() error                { return nil }

func randomBody(n int) string {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return string(p)
}
