package keys_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

// A caller is one way to ask, and what the table of the design page gives to it.
type caller struct {
	name    string
	ask     func(keys.Request) keys.Request
	account keys.PublicKey // that it acts under; zero: it may nothing
	user    keys.PublicKey // identity that acts
	kind    keys.KeyKind   // of its key; 0: the administrator
	scopes  []keys.Scope   // that hold of all of key, grant and mint; nil: all
}

// may is the table of docs/design/hub.md and keys.md, written once more: who may do what to
// whose resource.
func (c *caller) may(a keys.Action, r keys.Resource) bool {
	area, _, _ := strings.Cut(string(a), ".")
	switch {
	case c.account.IsZero() || !slices.Contains(keys.Actions(), a):
		return false
	case c.kind == 0:
		return true
	case c.scopes != nil && !slices.ContainsFunc(c.scopes, func(s keys.Scope) bool { return string(s) == area || string(s) == string(a) }):
		return false
	case area == "node":
		return false
	case area == "account":
		return c.kind == keys.KindAccount && r.Account == c.account
	case !r.Account.IsZero() && r.Account != c.account || r.Owner.IsZero():
		return false
	case a == keys.ActionSendMessage:
		return true
	case c.kind == keys.KindAccount:
		return r.Owner == c.account
	case r.Owner == c.account:
		return false
	}
	return r.Owner == c.user || r.Member && a != keys.ActionFetchMessages
}

// Every kind of caller, every action, every resource: what Decide says is what the table says,
// by a session as by a credential.
func TestAccessIsTheTable(t *testing.T) {
	w := newWorld()
	all := []keys.Scope{keys.ScopeAll}
	narrow := []keys.Scope{"db.read", "inbox"}
	key := func(kind keys.KeyKind, owner *keys.Identity, scopes []keys.Scope, change func(*keys.APIKey)) *keys.APISecret {
		k, s := w.key(t, keys.APIKeyOptions{Kind: kind, Owner: owner.Public(), Scopes: scopes})
		if change != nil {
			change(k)
		}
		return s
	}
	session := func(m *keys.Mint) func(keys.Request) keys.Request {
		s, err := w.policy.Admit(keys.Admission{Now: now(), Audience: w.relay.Public().Sign, Mint: m})
		if err != nil {
			t.Fatal(err)
		}
		return func(r keys.Request) keys.Request { r.Session = &s; return r }
	}
	mint := func(scopes []keys.Scope) keys.MintOptions {
		return keys.MintOptions{Authority: "hub.example", Audience: w.relay.Public().Sign, Scopes: scopes}
	}
	byKey := func(s *keys.APISecret, scopes []keys.Scope) *keys.Mint {
		m, err := s.Mint(mint(scopes))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	byUser := func(id *keys.Identity, s *keys.APISecret, granted, scopes []keys.Scope) *keys.Mint {
		g, err := s.Grant(keys.GrantOptions{User: id.Public(), Audience: w.relay.Public().Sign, Scopes: granted, Issued: now(), Expires: now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		m, err := id.Mint(g, mint(scopes))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	credential := func(id *keys.Identity, s *keys.APISecret) func(keys.Request) keys.Request {
		c := w.request(t, s, id, func(o *keys.GrantOptions) { o.Scopes = all })
		return func(r keys.Request) keys.Request { r.Credential, r.Peer = c.Credential, c.Peer; return r }
	}
	dev, other, user, friend := w.dev.Public(), w.other.Public(), w.user.Public(), w.friend.Public()
	account, group := key(keys.KindAccount, w.dev, all, nil), key(keys.KindUser, w.dev, all, nil)
	second := key(keys.KindUser, w.dev, all, nil)
	theirs, theirAccount := key(keys.KindUser, w.other, all, nil), key(keys.KindAccount, w.other, all, nil)
	ending := func(end func(*keys.APIKey)) (*keys.APISecret, func()) {
		var k *keys.APIKey
		s := key(keys.KindUser, w.dev, all, func(x *keys.APIKey) { k = x })
		return s, func() { end(k) }
	}
	revoked, revoke := ending(func(k *keys.APIKey) { k.Revoked = keys.MillisOf(now()) })
	expired, expire := ending(func(k *keys.APIKey) { k.Expires = keys.MillisOf(now()) })
	moved, move := ending(func(k *keys.APIKey) { k.Owner = other })

	callers := []caller{
		{name: "nobody", ask: func(r keys.Request) keys.Request { return r }},
		{name: "administrator", ask: func(r keys.Request) keys.Request { r.Local = true; return r }, account: dev, user: dev},
		{name: "account key", ask: session(byKey(account, nil)), account: dev, user: dev, kind: keys.KindAccount},
		{name: "account key by a device", ask: credential(w.dev, account), account: dev, user: dev, kind: keys.KindAccount},
		{name: "account key, narrow mint", ask: session(byKey(account, narrow)), account: dev, user: dev, kind: keys.KindAccount, scopes: narrow},
		{name: "narrow account key", ask: session(byKey(key(keys.KindAccount, w.dev, narrow, nil), nil)), account: dev, user: dev, kind: keys.KindAccount, scopes: narrow},
		{name: "another developer's account key", ask: session(byKey(theirAccount, nil)), account: other, user: other, kind: keys.KindAccount},
		{name: "user", ask: session(byUser(w.user, group, all, nil)), account: dev, user: user, kind: keys.KindUser},
		{name: "user by a device", ask: credential(w.user, group), account: dev, user: user, kind: keys.KindUser},
		{name: "user by another key of the account", ask: session(byUser(w.user, second, all, nil)), account: dev, user: user, kind: keys.KindUser},
		{name: "another user of the group", ask: session(byUser(w.friend, group, all, nil)), account: dev, user: friend, kind: keys.KindUser},
		{name: "the same user under another account", ask: session(byUser(w.user, theirs, all, nil)), account: other, user: user, kind: keys.KindUser},
		{name: "the developer as a user of another", ask: session(byUser(w.dev, theirs, all, nil)), account: other, user: dev, kind: keys.KindUser},
		{name: "user, narrow grant", ask: session(byUser(w.user, group, narrow, nil)), account: dev, user: user, kind: keys.KindUser, scopes: narrow},
		{name: "user, narrow mint", ask: session(byUser(w.user, group, all, narrow)), account: dev, user: user, kind: keys.KindUser, scopes: narrow},
		{name: "user, narrow key", ask: session(byUser(w.user, key(keys.KindUser, w.dev, narrow, nil), all, nil)), account: dev, user: user, kind: keys.KindUser, scopes: narrow},
		{name: "user, key revoked since", ask: session(byUser(w.user, revoked, all, nil))},
		{name: "user, key expired since", ask: session(byUser(w.user, expired, all, nil))},
		{name: "user, key of another owner since", ask: session(byUser(w.user, moved, all, nil))},
		{name: "a session that nobody minted", ask: func(r keys.Request) keys.Request { r.Session = &keys.Session{Scopes: all}; return r }},
		{name: "user's session that says account", ask: func(r keys.Request) keys.Request {
			r.Session = &keys.Session{Key: group.Public(), Kind: keys.KindAccount, User: dev, Account: dev, Scopes: all}
			return r
		}},
	}
	revoke()
	expire()
	move()

	permitted, asked := map[string]int{}, 0
	for _, c := range callers {
		for _, a := range append(keys.Actions(), "db.burn", "") {
			for _, owner := range []keys.PublicKey{{}, dev, other, user, friend} {
				for _, account := range []keys.PublicKey{{}, dev, other} {
					for _, member := range []bool{false, true} {
						res := keys.Resource{Owner: owner, Account: account, Member: member}
						d, err := w.policy.Decide(c.ask(keys.Request{Now: now(), Audience: w.relay.Public().Sign, Action: a, Resource: res}))
						want := c.may(a, res)
						at := fmt.Sprintf("%s, %s of %+v", c.name, a, res)
						switch {
						case (err == nil) != want:
							t.Errorf("%s: got %v, want %v", at, err, want)
						case err != nil && (keys.CodeOf(err) == "" || d != keys.Decision{}):
							t.Errorf("%s: got %+v, %v", at, d, err)
						case err == nil && (d.User != c.user || d.Account != c.account || d.Kind != c.kind):
							t.Errorf("%s: acts as %+v", at, d)
						}
						if asked++; err == nil {
							permitted[c.name]++
						}
					}
				}
			}
		}
	}
	for _, c := range callers {
		if (permitted[c.name] > 0) == c.account.IsZero() {
			t.Errorf("%s: %d of its questions were permitted", c.name, permitted[c.name])
		}
	}
	t.Logf("%d questions", asked)
}

// What a mint must be, each by what is wrong with it.
func TestAdmit(t *testing.T) {
	w := newWorld()
	_, account := w.key(t, keys.APIKeyOptions{Kind: keys.KindAccount})
	_, group := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	open, _ := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, NonSigning: true})
	revoked, gone := w.key(t, keys.APIKeyOptions{Kind: keys.KindAccount})
	revoked.Revoked = keys.MillisOf(now())
	_, unknown, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindAccount, Owner: w.dev.Public()})
	if err != nil {
		t.Fatal(err)
	}
	hub := w.relay.Public().Sign
	o := keys.MintOptions{Authority: "hub.example", Audience: hub, Client: make([]byte, 32)}
	must := func(m *keys.Mint, err error) *keys.Mint {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	grant := func(s *keys.APISecret, user *keys.Identity, change func(*keys.GrantOptions)) *keys.Grant {
		g := keys.GrantOptions{User: user.Public(), Audience: hub, Issued: now(), Expires: now().Add(time.Hour)}
		if change != nil {
			change(&g)
		}
		out, err := s.Grant(g)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	unsigned, err := keys.UnsignedGrant(open.Public, keys.GrantOptions{User: w.user.Public(), Audience: hub, Issued: now(), Expires: now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	alter := func(m *keys.Mint, f func(*keys.Mint)) *keys.Mint { f(m); return m }
	user := func() *keys.Mint { return must(w.user.Mint(grant(group, w.user, nil), o)) }
	for _, c := range []struct {
		name string
		mint *keys.Mint
		want keys.Code
	}{
		{"account key", must(account.Mint(o)), ""},
		{"user", user(), ""},
		{"none", nil, keys.CodeBadSignature},
		{"another client key than was signed", alter(user(), func(m *keys.Mint) { m.Client = make([]byte, 32); m.Client[0] = 1 }), keys.CodeBadSignature},
		{"no client key where one was signed", alter(user(), func(m *keys.Mint) { m.Client = nil }), keys.CodeBadSignature},
		{"more scopes than were signed", alter(user(), func(m *keys.Mint) { m.Scopes = []keys.Scope{"*", "db"} }), keys.CodeBadSignature},
		{"another challenge", alter(user(), func(m *keys.Mint) { m.Challenge[0]++ }), keys.CodeBadSignature},
		{"another authority", alter(user(), func(m *keys.Mint) { m.Authority = "evil.example" }), keys.CodeBadSignature},
		{"the grant left out", alter(user(), func(m *keys.Mint) { m.Grant = nil }), keys.CodeBadSignature},
		{"for another hub", must(account.Mint(keys.MintOptions{Authority: "hub.example", Audience: w.device.Public().Sign})), keys.CodeWrongAudience},
		{"an account key that is not known", must(unknown.Mint(o)), keys.CodeKeyUnknown},
		{"an account key that is revoked", must(gone.Mint(o)), keys.CodeKeyRevoked},
		{"an identity without a grant", alter(must(account.Mint(o)), func(m *keys.Mint) { m.Subject = w.dev.Public() }), keys.CodeBadSignature},
		{"a grant for another user", must(w.user.Mint(grant(group, w.friend, nil), o)), keys.CodeWrongUser},
		{"a grant of an account key", must(w.dev.Mint(grant(account, w.dev, nil), o)), keys.CodeWrongUser},
		{"a grant for the key's owner", must(w.dev.Mint(grant(group, w.dev, nil), o)), keys.CodeWrongUser},
		{"a grant of a non-signing key", must(w.user.Mint(unsigned, o)), keys.CodeBadSignature},
		{"a forged grant", must(w.user.Mint(func() *keys.Grant { g := grant(group, w.user, nil); g.Expires++; return g }(), o)), keys.CodeBadSignature},
		{"a grant for another hub", must(w.user.Mint(grant(group, w.user, func(g *keys.GrantOptions) { g.Audience = w.device.Public().Sign }), o)), keys.CodeWrongAudience},
		{"a grant that is over", must(w.user.Mint(grant(group, w.user, func(g *keys.GrantOptions) { g.Issued, g.Expires = now().Add(-time.Hour), now() }), o)), keys.CodeCredentialExpired},
	} {
		s, err := w.policy.Admit(keys.Admission{Now: now(), Audience: hub, Mint: c.mint})
		if got := keys.CodeOf(err); got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want code %q", c.name, err, c.want)
		}
		if err != nil && !s.Key.IsZero() {
			t.Errorf("%s: got a session with a refusal", c.name)
		}
	}
	if _, err := group.Mint(o); err == nil {
		t.Error("a user group key mints by itself")
	}
}
