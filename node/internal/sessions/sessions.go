// Package sessions keeps what a hub remembers of the tokens that it gave: in memory only, and no
// token among it.
//
//	Table ── challenge     what a mint is signed over; good once, for a minute
//	  ├────── sessions     by the SHA-256 of their tokens
//	  ├────── proofs       that were seen, so that none is used twice
//	  ├────── limits       rates and requests under way, of an address, a space, a key
//	  └────── Hold         what runs for a session, so that it can be cut
//
// Whom a mint is for, and what a session may, is for [keys.Policy]. Formats, bounds and refusals:
// docs/design/hub.md.
package sessions

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/keys/dpop"
)

// How many sessions there are at most.
const (
	maxOfSpace = 16
	maxOfKey   = 10_000
	maxAll     = 100_000
)

// TokenPrefix begins the text of a token; 52 characters of base32 follow.
const TokenPrefix = "wt"

var text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// A Space is what one identity has under one account.
type Space struct{ Account, User keys.PublicKey }

// A Session is one token's. What is in it does not change.
type Session struct {
	keys.Session
	Ends time.Time // of the token

	digest      [32]byte // of the token's text
	client      *[32]byte
	ofKey, ofSp *list.Element
}

// Space returns whose the session is.
func (s *Session) Space() Space { return Space{s.Account, s.User} }

// Bound reports whether the token is good only with a proof by a client key.
func (s *Session) Bound() bool { return s.client != nil }

// Options say whose tokens a table keeps.
type Options struct {
	Policy   *keys.Policy
	Audience keys.PublicKey   // the hub's device signing key
	Now      func() time.Time // nil means time.Now
}

// A Table has the sessions of one hub. It is safe for concurrent use. No call of it waits for
// anything but its lock, under which nothing is called.
type Table struct {
	opt    Options
	secret [32]byte // of the challenges of this process

	mu      sync.Mutex // guards what follows
	used    generations[[16]byte]
	proofs  generations[[16]byte]
	all     map[[32]byte]*Session
	ofKey   map[keys.PublicKey]*list.List // of *Session, the oldest first
	ofSpace map[Space]*list.List
	swept   time.Time
	running running
	rates   rates
}

// New returns an empty table.
func New(o Options) *Table {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Table{
		opt: o, all: map[[32]byte]*Session{}, ofKey: map[keys.PublicKey]*list.List{}, ofSpace: map[Space]*list.List{},
		used: newGenerations[[16]byte](challengeLife, maxUsed), proofs: newGenerations[[16]byte](dpop.Kept, maxProofs),
		running: newRunning(), rates: newRates(),
	}
	_, _ = rand.Read(t.secret[:]) // never fails
	return t
}

// Mint gives a token for what [keys.Mint.Encode] gave, if here answers to its authority. The
// token is in this answer and nowhere else.
func (t *Table) Mint(encoded []byte, here func(authority string) bool) (token string, s *Session, err error) {
	m, err := keys.DecodeMint(encoded)
	if err != nil {
		return "", nil, err
	}
	now := t.opt.Now()
	if !here(m.Authority) {
		return "", nil, refuse(keys.CodeWrongAudience, "The request for a token is for another address than this hub's: call it by the name that its operator gave out.")
	}
	if err := t.checkChallenge(m.Challenge, now); err != nil {
		return "", nil, err
	}
	who, err := t.opt.Policy.Admit(keys.Admission{Now: now, Audience: t.opt.Audience, Mint: m})
	if err != nil {
		return "", nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.rates.mint.take(who.Key, now); err != nil {
		return "", nil, err
	}
	if err := t.spend(m.Challenge, now); err != nil {
		return "", nil, err
	}
	token, s = newSession(who, m, now)
	if err := t.keep(s, now); err != nil {
		return "", nil, err
	}
	return token, s, nil
}

func newSession(who keys.Session, m *keys.Mint, now time.Time) (token string, s *Session) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token = TokenPrefix + text.EncodeToString(b[:])
	s = &Session{Session: who, Ends: now.Add(time.Duration(m.Seconds) * time.Second), digest: sha256.Sum256([]byte(token))}
	if len(m.Client) == 32 {
		s.client = (*[32]byte)(m.Client)
	}
	if e := who.Expires.Time(); who.Expires != 0 && e.Before(s.Ends) {
		s.Ends = e
	}
	return token, s
}

// keep makes room for a session and lists it.
func (t *Table) keep(s *Session, now time.Time) error {
	t.sweep(now)
	key, space := t.ofKey[s.Key], t.ofSpace[s.Space()]
	if space != nil && space.Len() >= maxOfSpace {
		t.forget(space.Front().Value.(*Session))
	} else if key != nil && (key.Len() >= maxOfKey || len(t.all) >= maxAll) {
		t.forget(key.Front().Value.(*Session))
	}
	if len(t.all) >= maxAll {
		return busy(time.Second, "This hub has as many sessions as it keeps.")
	}
	if key = t.ofKey[s.Key]; key == nil {
		key = list.New()
		t.ofKey[s.Key] = key
	}
	if space = t.ofSpace[s.Space()]; space == nil {
		space = list.New()
		t.ofSpace[s.Space()] = space
	}
	s.ofKey, s.ofSp = key.PushBack(s), space.PushBack(s)
	t.all[s.digest] = s
	return nil
}

// sweep forgets the sessions that are over, once a minute.
func (t *Table) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for _, s := range t.all {
		if !now.Before(s.Ends) {
			t.forget(s)
		}
	}
}

// forget ends a token; what runs by it goes on.
func (t *Table) forget(s *Session) {
	if t.all[s.digest] != s {
		return
	}
	delete(t.all, s.digest)
	key, space := t.ofKey[s.Key], t.ofSpace[s.Space()]
	if key.Remove(s.ofKey); key.Len() == 0 {
		delete(t.ofKey, s.Key)
	}
	if space.Remove(s.ofSp); space.Len() == 0 {
		delete(t.ofSpace, s.Space())
	}
}

// A Presented token is what a request carries.
type Presented struct {
	Token  string // of whatever length
	DPoP   bool   // it is presented as one that is bound
	Proof  string // with that
	Method string
	URL    string // scheme, authority and path, as the client calls it
}

// Find returns the session of a token, if it is presented as it must be and is not over.
func (t *Table) Find(p Presented) (*Session, error) {
	now := t.opt.Now()
	if len(p.Token) != len(TokenPrefix)+text.EncodedLen(32) || !strings.HasPrefix(p.Token, TokenPrefix) {
		return nil, errNoToken
	}
	// Who looks for digests cannot choose them, so the time that the map takes tells nothing.
	digest := sha256.Sum256([]byte(p.Token))
	t.mu.Lock()
	s := t.all[digest]
	t.mu.Unlock()
	if s == nil || s.Bound() != p.DPoP {
		return nil, errNoToken
	}
	if !now.Before(s.Ends) {
		return nil, refuse(keys.CodeCredentialExpired, "The token is over: get another one.")
	}
	if !s.Bound() {
		return s, nil
	}
	id, err := dpop.Check(p.Proof, dpop.Request{Method: p.Method, URL: p.URL, Token: p.Token, Client: *s.client, Now: now})
	if err != nil {
		return nil, err
	}
	seen := sha256.Sum256(append(digest[:], id...))
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh, err := t.proofs.add([16]byte(seen[:16]), now)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, refuse(keys.CodeBadSignature, "The proof of the client key was used before: sign one for each request.")
	}
	return s, nil
}

var errNoToken = refuse(keys.CodeNoCredential, "This call needs a token of this hub: get one with a key, or with a grant and your identity.")

func refuse(code keys.Code, message string) error { return &keys.Refusal{Code: code, Message: message} }

// Len returns how many tokens there are.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}
