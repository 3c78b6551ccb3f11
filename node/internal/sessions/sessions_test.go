package sessions

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/keys/dpop"
)

const here = "hub.example"

type rows struct {
	mu  sync.Mutex
	all map[keys.PublicKey]*keys.APIKey
}

func (r *rows) APIKey(k keys.PublicKey) (*keys.APIKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[k], nil
}

// world is a hub of a developer, with an account key and a user group key, and a clock.
type world struct {
	*testing.T
	rows           *rows
	hub            *keys.Device
	account, group *keys.APISecret
	table          *Table
	now            time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, rows: &rows{all: map[keys.PublicKey]*keys.APIKey{}}, hub: keys.NewDevice(), now: time.Unix(1_780_000_000, 0)}
	dev := keys.NewIdentity().Public()
	for kind, s := range map[keys.KeyKind]**keys.APISecret{keys.KindAccount: &w.account, keys.KindUser: &w.group} {
		k, secret, err := keys.NewAPIKey(w.now, keys.APIKeyOptions{Kind: kind, Owner: dev})
		if err != nil {
			t.Fatal(err)
		}
		w.rows.all[k.Public], *s = k, secret
	}
	w.table = w.open()
	return w
}

func (w *world) open() *Table {
	return New(Options{Policy: &keys.Policy{Keys: w.rows}, Audience: w.hub.Public().Sign, Now: func() time.Time { return w.now }})
}

func (w *world) options(client *dpop.Key) keys.MintOptions {
	c, _ := w.table.Challenge()
	o := keys.MintOptions{Challenge: c, Authority: here, Audience: w.hub.Public().Sign}
	if client != nil {
		x := client.Thumbprint()
		o.Client = x[:]
	}
	return o
}

func (w *world) encoded(m *keys.Mint, err error) []byte {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	b, err := m.Encode()
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func (w *world) forUser(id *keys.Identity, o keys.MintOptions) []byte {
	w.Helper()
	g, err := w.group.Grant(keys.GrantOptions{User: id.Public(), Audience: w.hub.Public().Sign, Issued: w.now, Expires: w.now.Add(time.Hour)})
	if err != nil {
		w.Fatal(err)
	}
	return w.encoded(id.Mint(g, o))
}

func (w *world) mint(b []byte) (string, *Session) {
	w.Helper()
	token, s, err := w.table.Mint(b, func(a string) bool { return a == here })
	if err != nil {
		w.Fatal(err)
	}
	return token, s
}

func (w *world) refuses(b []byte, want fault.Kind, what string) {
	w.Helper()
	if token, _, err := w.table.Mint(b, func(a string) bool { return a == here }); fault.KindOf(err) != want || token != "" {
		w.Errorf("%s: got %v, want %s", what, err, want)
	}
}

func (w *world) find(p Presented, want fault.Kind, what string) {
	w.Helper()
	if s, err := w.table.Find(p); fault.KindOf(err) != want || (s == nil) != (err != nil) {
		w.Errorf("%s: got %v, want %q", what, err, want)
	}
}

// A token is good where and while it was given, and in the form that it was given for.
func TestToken(t *testing.T) {
	w := newWorld(t)
	token, s := w.mint(w.encoded(w.account.Mint(w.options(nil))))
	if len(token) != 54 || !strings.HasPrefix(token, "wt") || s.User != s.Account || s.Ends != w.now.Add(15*time.Minute) {
		t.Errorf("got %q %+v", token, s)
	}
	w.find(Presented{Token: token}, "", "the token")
	for name, bad := range map[string]string{
		"nothing": "", "a beginning": token[:53], "more": token + "a", "another": "wt" + strings.Repeat("a", 52),
		"capitals": strings.ToUpper(token), "a key": w.account.Key(),
	} {
		w.find(Presented{Token: bad}, fault.NoCredential, name)
	}
	w.find(Presented{Token: token, DPoP: true}, fault.NoCredential, "one that is not bound, as bound")
	w.now = w.now.Add(15*time.Minute - 1)
	w.find(Presented{Token: token}, "", "at its end")
	w.now = w.now.Add(1)
	w.find(Presented{Token: token}, fault.CredentialExpired, "when it is over")

	token, s = w.mint(w.encoded(w.account.Mint(w.options(nil))))
	w.table.End(s)
	w.find(Presented{Token: token}, fault.NoCredential, "one that was ended")
	token, _ = w.mint(w.encoded(w.account.Mint(w.options(nil))))
	w.table = w.open() // as after a restart, or another hub that knows the key
	w.find(Presented{Token: token}, fault.NoCredential, "of before a restart")
}

// A mint is good once, here, within a minute.
func TestMintOnce(t *testing.T) {
	w := newWorld(t)
	user := keys.NewIdentity()
	b := w.forUser(user, w.options(nil))
	if _, s := w.mint(b); s.User != user.Public() || s.Account == s.User {
		t.Errorf("got %+v", s)
	}
	w.refuses(b, fault.CredentialExpired, "the same again")
	o := w.options(nil)
	o.Authority = "evil.example"
	w.refuses(w.forUser(user, o), fault.WrongAudience, "signed for another name")
	o = w.options(nil)
	o.Audience = keys.NewDevice().Public().Sign
	w.refuses(w.forUser(user, o), fault.WrongAudience, "signed for another hub")
	o = w.options(nil)
	o.Challenge[39]++
	w.refuses(w.forUser(user, o), fault.CredentialExpired, "a challenge that is altered")
	o.Challenge = [40]byte{}
	w.refuses(w.forUser(user, o), fault.CredentialExpired, "a challenge that is invented")
	o = w.options(nil)
	w.now = w.now.Add(time.Minute)
	w.refuses(w.forUser(user, o), fault.CredentialExpired, "a challenge that is old")
	o = w.options(nil)
	w.now = w.now.Add(-time.Second)
	w.refuses(w.forUser(user, o), fault.CredentialExpired, "a challenge of a time to come")
	o = w.options(nil)
	other := w.table
	w.table = w.open()
	w.refuses(w.forUser(user, o), fault.CredentialExpired, "a challenge of before a restart")
	w.table = other
	w.refuses([]byte{0x8c, 1}, fault.Malformed, "what is none")

	// What is refused uses up no challenge: else whoever sees one could.
	o = w.options(nil)
	forged := w.forUser(user, o)
	forged[len(forged)-1]++
	w.refuses(forged, fault.BadSignature, "forged")
	w.mint(w.forUser(user, o))
}

// The session ends with the key or the grant, when that is before the token.
func TestTokenEndsWithItsKey(t *testing.T) {
	w := newWorld(t)
	w.rows.all[w.account.Public()].Expires = keys.MillisOf(w.now.Add(time.Minute))
	token, s := w.mint(w.encoded(w.account.Mint(w.options(nil))))
	if !s.Ends.Equal(w.now.Add(time.Minute)) {
		t.Errorf("ends at %v", s.Ends)
	}
	w.now = w.now.Add(time.Minute)
	w.find(Presented{Token: token}, fault.CredentialExpired, "after the key's end")
}

// A bound token is nothing without its key, and a proof is good once.
func TestBoundToken(t *testing.T) {
	w := newWorld(t)
	mine, err1 := dpop.NewKey()
	thief, err2 := dpop.NewKey()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	token, s := w.mint(w.forUser(keys.NewIdentity(), w.options(mine)))
	other, _ := w.mint(w.forUser(keys.NewIdentity(), w.options(mine)))
	const url = "https://hub.example/x"
	proof := func(k *dpop.Key, token string) string {
		p, err := k.Proof(dpop.Request{Method: "POST", URL: url, Token: token, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := Presented{Token: token, DPoP: true, Method: "POST", URL: url, Proof: proof(mine, token)}
	w.find(p, "", "with a proof")
	w.find(p, fault.BadSignature, "with it again")
	w.now = w.now.Add(dpop.Kept / 2)
	w.find(p, fault.BadSignature, "with it again at its end")
	w.now = w.now.Add(time.Second)
	w.find(p, fault.CredentialExpired, "with an old one")
	bad := p
	bad.Proof = proof(thief, token)
	w.find(bad, fault.BadSignature, "with another key's")
	bad.Proof = proof(mine, other)
	w.find(bad, fault.BadSignature, "with one of another token")
	bad.Proof = ""
	w.find(bad, fault.BadSignature, "without one")
	bad.Proof = proof(mine, token)
	bad.DPoP = false
	w.find(bad, fault.NoCredential, "as a bearer's")
	bad.DPoP, bad.URL = true, "https://hub.example/y"
	w.find(bad, fault.BadSignature, "for another call")
	if !s.Bound() {
		t.Error("the session is not bound")
	}
}

// What runs by a key is cut when the key ends, and nothing else is; the same of a session.
func TestCut(t *testing.T) {
	w := newWorld(t)
	_, a := w.mint(w.encoded(w.account.Mint(w.options(nil))))
	var users []*Session
	for range 3 {
		_, s := w.mint(w.forUser(keys.NewIdentity(), w.options(nil)))
		users = append(users, s)
	}
	cut := map[*Session]error{}
	for _, s := range append(users, a) {
		if _, err := w.table.Hold(s, func(why error) { cut[s] = why }); err != nil {
			t.Fatal(err)
		}
	}
	release, err := w.table.Hold(users[0], func(error) { t.Error("what has ended is cut") })
	if err != nil {
		t.Fatal(err)
	}
	release()
	w.table.End(users[0])
	if len(cut) != 1 || fault.KindOf(cut[users[0]]) != fault.NoCredential {
		t.Errorf("got %v", cut)
	}
	why := errors.New("revoked")
	w.table.EndKey(w.group.Public(), why)
	if len(cut) != 3 || !errors.Is(cut[users[1]], why) || !errors.Is(cut[users[2]], why) || cut[a] != nil || w.table.Len() != 1 {
		t.Errorf("got %v, %d tokens", cut, w.table.Len())
	}
}

// A space has so many sessions, and one more ends its own oldest; so has a key.
func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	user := keys.NewIdentity()
	var tokens []string
	for range maxOfSpace + 1 {
		token, _ := w.mint(w.forUser(user, w.options(nil)))
		tokens = append(tokens, token)
	}
	w.find(Presented{Token: tokens[0]}, fault.NoCredential, "the oldest")
	w.find(Presented{Token: tokens[1]}, "", "the next")
	mine, _ := w.mint(w.encoded(w.account.Mint(w.options(nil))))
	for range maxOfKey + 10 { // users that somebody makes up with a key's secret
		who := keys.Session{Key: w.group.Public(), Kind: keys.KindUser, User: keys.PublicKey([]byte(fmt.Sprintf("%032d", w.table.Len()*7+len(tokens)))), Account: w.rows.all[w.group.Public()].Owner}
		tokens = append(tokens, "")
		_, s := newSession(who, &keys.Mint{Seconds: 900}, w.now)
		w.table.mu.Lock()
		err := w.table.keep(s, w.now)
		w.table.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := w.table.Len(); got != maxOfKey+1 {
		t.Errorf("%d sessions", got)
	}
	w.find(Presented{Token: mine}, "", "of another key")
	w.now = w.now.Add(16 * time.Minute)
	w.mint(w.encoded(w.account.Mint(w.options(nil))))
	if w.table.Len() != 1 || len(w.table.ofKey) != 1 || len(w.table.ofSpace) != 1 {
		t.Errorf("%d sessions, of %d keys and %d spaces, after all were over", w.table.Len(), len(w.table.ofKey), len(w.table.ofSpace))
	}
}

func TestRates(t *testing.T) {
	w := newWorld(t)
	from := netip.MustParseAddr("192.0.2.1")
	refused := 0
	var last error
	for range 150 {
		if err := w.table.Stranger(from); err != nil {
			refused, last = refused+1, err
		}
	}
	if s, ok := Wait(last); refused != 50 || !ok || s != 1 || fault.KindOf(last) != fault.LimitReached {
		t.Errorf("%d refused, %v", refused, last)
	}
	for _, other := range []string{"192.0.2.2", "2001:db8::1"} {
		if err := w.table.Stranger(netip.MustParseAddr(other)); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	if err := w.table.Stranger(netip.MustParseAddr("::ffff:192.0.2.1")); err == nil {
		t.Error("an address in another form has a rate of its own")
	}
	for range 100 {
		_ = w.table.Stranger(netip.MustParseAddr("2001:db8::2"))
	}
	if w.table.Stranger(netip.MustParseAddr("2001:db8::3")) == nil {
		t.Error("each address of a customer's has a rate of its own")
	}
	w.now = w.now.Add(50 * time.Millisecond)
	if err := w.table.Stranger(from); err != nil {
		t.Error(err)
	}
	l := newLimit[int](1, 1, "")
	for i := range maxRemembered + 10 {
		if err := l.take(i, w.now); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.of) != maxRemembered || l.recent.Len() != maxRemembered || l.take(maxRemembered, w.now) == nil || l.take(0, w.now) != nil {
		t.Errorf("%d are remembered", len(l.of))
	}
}

// One user that takes all that it may leaves the others of its key what they may.
func TestRunningIsBounded(t *testing.T) {
	w := newWorld(t)
	_, greedy := w.mint(w.forUser(keys.NewIdentity(), w.options(nil)))
	_, other := w.mint(w.forUser(keys.NewIdentity(), w.options(nil)))
	var free []func()
	for range maxRunningOfSpace {
		release, err := w.table.Hold(greedy, nil)
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, release)
	}
	if _, err := w.table.Hold(greedy, nil); fault.KindOf(err) != fault.LimitReached {
		t.Errorf("got %v", err)
	}
	release, err := w.table.Hold(other, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(free, release) {
		f()
	}
	if r := &w.table.running; r.all != 0 || len(r.of) != 0 || len(r.ofSpace) != 0 {
		t.Errorf("what has ended is counted: %+v", r)
	}
}

func BenchmarkFind(b *testing.B) {
	w := newWorld(&testing.T{})
	token, s := w.mint(w.encoded(w.account.Mint(w.options(nil))))
	r := keys.Request{Now: w.now, Session: &s.Session, Action: keys.ActionRead, Resource: keys.Resource{Owner: s.User, Account: s.Account}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.table.Find(Presented{Token: token}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.table.opt.Policy.Decide(r); err != nil {
			b.Fatal(err)
		}
	}
}
