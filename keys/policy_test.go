package keys_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

// store is a key store in memory.
type store map[keys.PublicKey]*keys.APIKey

func (s store) APIKey(k keys.PublicKey) (*keys.APIKey, error) { return s[k], nil }

type brokenStore struct{}

var errBroken = errors.New("disk on fire")

func (brokenStore) APIKey(keys.PublicKey) (*keys.APIKey, error) { return nil, errBroken }

func now() time.Time { return time.UnixMilli(1_780_000_000_000).UTC() }

// world is a relay with a developer, another developer, and a user of an app.
type world struct {
	dev, other, user, friend *keys.Identity
	relay, device            *keys.Device
	store                    store
	policy                   *keys.Policy
}

func newWorld() *world {
	w := &world{
		dev: keys.NewIdentity(), other: keys.NewIdentity(), user: keys.NewIdentity(), friend: keys.NewIdentity(),
		relay: keys.NewDevice(), device: keys.NewDevice(), store: store{},
	}
	w.policy = &keys.Policy{Keys: w.store, Admin: w.dev.Public()}
	return w
}

func (w *world) key(t *testing.T, opt keys.APIKeyOptions) (*keys.APIKey, *keys.APISecret) {
	t.Helper()
	if opt.Owner.IsZero() {
		opt.Owner = w.dev.Public()
	}
	k, s, err := keys.NewAPIKey(now().Add(-time.Hour), opt)
	if err != nil {
		t.Fatal(err)
	}
	w.store[k.Public] = k
	return k, s
}

func (w *world) certificate(t *testing.T, id *keys.Identity) *keys.Certificate {
	t.Helper()
	c, err := id.Certify(w.device.Public(), keys.CertifyOptions{Name: "phone", Issued: now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// request is one that a user group key permits: replicate one's own new thread.
func (w *world) request(t *testing.T, s *keys.APISecret, id *keys.Identity, change func(*keys.GrantOptions)) keys.Request {
	t.Helper()
	opt := keys.GrantOptions{
		User: id.Public(), Audience: w.relay.Public().Sign,
		Issued: now().Add(-time.Minute), Expires: now().Add(time.Hour),
	}
	if change != nil {
		change(&opt)
	}
	g, err := s.Grant(opt)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Request{
		Now: now(), Audience: w.relay.Public().Sign, Peer: w.device.Public().Sign, Action: keys.ActionReplicate,
		Credential: &keys.Credential{Grant: g, Certificate: w.certificate(t, id)},
		Resource:   keys.Resource{Owner: id.Public()},
	}
}

func TestAccessTable(t *testing.T) {
	w := newWorld()
	_, account := w.key(t, keys.APIKeyOptions{Kind: keys.KindAccount, Scopes: []keys.Scope{keys.ScopeAll}})
	_, group := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, Scopes: []keys.Scope{keys.ScopeAll}})
	dev, user, friend, other := w.dev.Public(), w.user.Public(), w.friend.Public(), w.other.Public()
	type row struct {
		name   string
		secret *keys.APISecret
		as     *keys.Identity
		action keys.Action
		res    keys.Resource
		want   keys.Code
	}
	rows := []row{
		{"account key creates the developer's thread", account, w.dev, keys.ActionReplicate, keys.Resource{Owner: dev}, ""},
		{"account key reads the developer's thread", account, w.dev, keys.ActionReadThread, keys.Resource{Owner: dev, Account: dev}, ""},
		{"account key pins the developer's blocks", account, w.dev, keys.ActionPin, keys.Resource{Owner: dev, Account: dev}, ""},
		{"account key reads a user's thread", account, w.dev, keys.ActionReadThread, keys.Resource{Owner: user, Account: dev}, keys.CodePermissionDenied},
		{"account key, member of a user's thread", account, w.dev, keys.ActionReadThread, keys.Resource{Owner: user, Account: dev, Member: true}, keys.CodePermissionDenied},
		{"account key acts as a user", account, w.user, keys.ActionReplicate, keys.Resource{Owner: user}, keys.CodeWrongUser},
		{"account key fetches its owner's messages", account, w.dev, keys.ActionFetchMessages, keys.Resource{Owner: dev, Account: dev}, ""},
		{"account key makes keys", account, w.dev, keys.ActionManageKeys, keys.Resource{Account: dev}, ""},
		{"account key makes another's keys", account, w.dev, keys.ActionManageKeys, keys.Resource{Account: other}, keys.CodeWrongOwner},
		{"account key administers the node", account, w.dev, keys.ActionAdminister, keys.Resource{}, keys.CodePermissionDenied},
		{"user key creates a user's thread", group, w.user, keys.ActionReplicate, keys.Resource{Owner: user}, ""},
		{"user key reads a user's thread", group, w.user, keys.ActionReadThread, keys.Resource{Owner: user, Account: dev}, ""},
		{"user key pins a user's blocks", group, w.user, keys.ActionPin, keys.Resource{Owner: user, Account: dev}, ""},
		{"user key reads a stranger's thread", group, w.user, keys.ActionReadThread, keys.Resource{Owner: friend, Account: dev}, keys.CodePermissionDenied},
		{"user key reads a friend's thread as a member", group, w.user, keys.ActionReadThread, keys.Resource{Owner: friend, Account: dev, Member: true}, ""},
		{"user key reads the developer's thread", group, w.user, keys.ActionReadThread, keys.Resource{Owner: dev, Account: dev, Member: true}, keys.CodePermissionDenied},
		{"user key acts for the developer", group, w.dev, keys.ActionReplicate, keys.Resource{Owner: dev}, keys.CodeWrongUser},
		{"user key, thread of another account", group, w.user, keys.ActionReplicate, keys.Resource{Owner: user, Account: other}, keys.CodeWrongOwner},
		{"user key makes keys", group, w.user, keys.ActionManageKeys, keys.Resource{Account: dev}, keys.CodePermissionDenied},
		{"user sends a message to a friend", group, w.user, keys.ActionSendMessage, keys.Resource{Owner: friend, Account: dev}, ""},
		{"user sends to nobody", group, w.user, keys.ActionSendMessage, keys.Resource{}, keys.CodePermissionDenied},
		{"user sends to a mailbox of another account", group, w.user, keys.ActionSendMessage, keys.Resource{Owner: friend, Account: other}, keys.CodeWrongOwner},
		{"user fetches own messages", group, w.user, keys.ActionFetchMessages, keys.Resource{Owner: user, Account: dev}, ""},
		{"user fetches a friend's messages", group, w.user, keys.ActionFetchMessages, keys.Resource{Owner: friend, Account: dev, Member: true}, keys.CodePermissionDenied},
		{"no owner", group, w.user, keys.ActionReplicate, keys.Resource{Member: true}, keys.CodePermissionDenied},
		{"unknown action", group, w.user, "thread.burn", keys.Resource{Owner: user}, keys.CodePermissionDenied},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			all := func(o *keys.GrantOptions) { o.Scopes = []keys.Scope{keys.ScopeAll} }
			r := w.request(t, row.secret, row.as, all)
			r.Action, r.Resource = row.action, row.res
			d, err := w.policy.Decide(r)
			if got := keys.CodeOf(err); got != row.want || (err == nil) != (row.want == "") {
				t.Fatalf("got %v, want code %q", err, row.want)
			}
			if err == nil && (d.Account != dev || d.User != row.as.Public() || d.Key != row.secret.Public()) {
				t.Errorf("got decision %+v", d)
			}
			if err != nil && (d != keys.Decision{}) {
				t.Errorf("got decision %+v with a refusal", d)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld()
	key, secret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	revoked, revokedSecret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	revoked.Revoked = keys.MillisOf(now())
	_, expiring := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, Expires: now()})
	_, inboxOnly := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, Scopes: []keys.Scope{keys.ScopeInbox}})
	unknown, unknownSecret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	delete(w.store, unknown.Public)
	_, otherSecret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, Owner: w.other.Public()})
	grant := func(change func(*keys.GrantOptions)) func() keys.Request {
		return func() keys.Request { return w.request(t, secret, w.user, change) }
	}
	with := func(s *keys.APISecret, change func(*keys.Request)) func() keys.Request {
		return func() keys.Request {
			r := w.request(t, s, w.user, nil)
			if change != nil {
				change(&r)
			}
			return r
		}
	}
	certify := func(opt keys.CertifyOptions) func(*keys.Request) {
		return func(r *keys.Request) { r.Credential.Certificate, _ = w.user.Certify(w.device.Public(), opt) }
	}
	rows := []struct {
		name string
		want keys.Code
		make func() keys.Request
	}{
		{"none", keys.CodeNoCredential, with(secret, func(r *keys.Request) { r.Credential = nil })},
		{"half", keys.CodeNoCredential, with(secret, func(r *keys.Request) { r.Credential.Grant = nil })},
		{"unknown key", keys.CodeKeyUnknown, with(unknownSecret, nil)},
		{"revoked key", keys.CodeKeyRevoked, with(revokedSecret, nil)},
		{"expired key", keys.CodeKeyExpired, with(expiring, nil)},
		{"expired grant", keys.CodeCredentialExpired, grant(func(o *keys.GrantOptions) { o.Expires = now() })},
		{"future grant", keys.CodeCredentialNotYetValid, grant(func(o *keys.GrantOptions) { o.Issued = now().Add(6 * time.Minute) })},
		{"future certificate", keys.CodeCredentialNotYetValid, with(secret, certify(keys.CertifyOptions{Issued: now().Add(time.Hour)}))},
		{"expired certificate", keys.CodeCertificateExpired, with(secret, certify(keys.CertifyOptions{Issued: now().Add(-time.Hour), Expires: now()}))},
		{"other audience", keys.CodeWrongAudience, grant(func(o *keys.GrantOptions) { o.Audience = w.device.Public().Sign })},
		{"scope of the grant", keys.CodeWrongScope, grant(func(o *keys.GrantOptions) { o.Scopes = []keys.Scope{"thread.read"} })},
		{"scope of the key", keys.CodeWrongScope, with(inboxOnly, nil)},
		{"key of another owner", keys.CodeWrongOwner, with(otherSecret, func(r *keys.Request) { r.Resource.Account = w.dev.Public() })},
		{"other peer", keys.CodeWrongPeer, with(secret, func(r *keys.Request) { r.Peer = w.relay.Public().Sign })},
		{"grant of another user", keys.CodeWrongUser, with(secret, func(r *keys.Request) { r.Credential.Certificate = w.certificate(t, w.friend) })},
		{"forged certificate", keys.CodeBadSignature, with(secret, func(r *keys.Request) { r.Credential.Certificate.Identity = w.friend.Public() })},
		{"forged grant", keys.CodeBadSignature, with(secret, func(r *keys.Request) { r.Credential.Grant.Expires++ })},
		{"grant of another key", keys.CodeBadSignature, with(otherSecret, func(r *keys.Request) { r.Credential.Grant.Key = key.Public })},
		{"unsigned grant of a signing key", keys.CodeBadSignature, with(secret, func(r *keys.Request) { r.Credential.Grant.Signed = false })},
		{"not a member", keys.CodePermissionDenied, with(secret, func(r *keys.Request) { r.Resource.Owner = w.friend.Public() })},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := w.policy.Decide(row.make())
			if got := keys.CodeOf(err); got != row.want {
				t.Fatalf("got %v, want code %q", err, row.want)
			}
		})
	}
}

func TestAnyAudienceIsExplicit(t *testing.T) {
	w := newWorld()
	_, secret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	r := w.request(t, secret, w.user, func(o *keys.GrantOptions) { o.Audience = keys.AnyAudience() })
	if _, err := w.policy.Decide(r); err != nil {
		t.Fatal(err)
	}
	opt := keys.GrantOptions{User: w.user.Public(), Issued: now(), Expires: now().Add(time.Hour)}
	if _, err := secret.Grant(opt); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("grant without audience: got %v, want ErrInvalid", err)
	}
}

// Users keep their data when the key is replaced by another of the same owner.
func TestReplacedKeyKeepsAccess(t *testing.T) {
	w := newWorld()
	first, firstSecret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	d, err := w.policy.Decide(w.request(t, firstSecret, w.user, nil))
	if err != nil {
		t.Fatal(err)
	}
	first.Revoked = keys.MillisOf(now())
	_, second := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	r := w.request(t, second, w.user, nil)
	r.Resource.Account = d.Account
	if _, err := w.policy.Decide(r); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

func TestNonSigningKey(t *testing.T) {
	w := newWorld()
	key, secret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser, NonSigning: true})
	if secret != nil {
		t.Error("a non-signing key has a secret")
	}
	if got, want := key.Expires.Time(), now().Add(23*time.Hour); !got.Equal(want) {
		t.Errorf("expires %v, want %v", got, want)
	}
	_, signing := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	r := w.request(t, signing, w.user, nil)
	g, err := keys.UnsignedGrant(key.Public, keys.GrantOptions{
		User: w.user.Public(), Audience: w.relay.Public().Sign, Issued: now(), Expires: now().Add(48 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Credential.Grant = g
	d, err := w.policy.Decide(r)
	if err != nil || !d.NonSigning || d.Expires != key.Expires {
		t.Errorf("got %+v, %v", d, err)
	}
	r.Credential.Certificate = w.certificate(t, w.friend) // nobody acts as the user with it
	if _, err := w.policy.Decide(r); keys.CodeOf(err) != keys.CodeWrongUser {
		t.Errorf("as another user: got %v", err)
	}
	for _, opt := range []keys.APIKeyOptions{
		{Kind: keys.KindAccount, NonSigning: true},
		{Kind: keys.KindUser, NonSigning: true, Expires: now().Add(31 * 24 * time.Hour)},
		{Kind: 3},
		{Kind: keys.KindUser, Scopes: []keys.Scope{"Thread"}},
	} {
		opt.Owner = w.dev.Public()
		if _, _, err := keys.NewAPIKey(now(), opt); !errors.Is(err, keys.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", opt, err)
		}
	}
}

func TestLocalAndBrokenStore(t *testing.T) {
	w := newWorld()
	d, err := w.policy.Decide(keys.Request{Local: true, Action: keys.ActionAdminister})
	if err != nil || !d.Local || d.Account != w.dev.Public() {
		t.Errorf("local: got %+v, %v", d, err)
	}
	_, secret := w.key(t, keys.APIKeyOptions{Kind: keys.KindUser})
	r := w.request(t, secret, w.user, nil)
	if _, err := (&keys.Policy{Keys: brokenStore{}}).Decide(r); !errors.Is(err, errBroken) || keys.CodeOf(err) != "" {
		t.Errorf("broken store: got %v", err)
	}
	if _, err := (&keys.Policy{}).Decide(r); keys.CodeOf(err) != keys.CodeKeyUnknown {
		t.Errorf("zero policy: got %v", err)
	}
}
