package keys

import (
	"slices"
	"time"
)

// A Session is whom a token stands for, as [Policy.Admit] found it. It says nothing of whether
// the key still holds: [Policy.Decide] looks that up for each request.
type Session struct {
	Key     PublicKey // API key that it was minted by
	Kind    KeyKind
	User    PublicKey // identity that acts
	Account PublicKey // owner of the key
	Scopes  []Scope   // what the mint asked for
	Granted []Scope   // what the grant gives to the user; nil without one
	Expires Millis    // when what it stands for ends, key or grant; 0 means never
}

// An Admission is a mint at one place and time.
type Admission struct {
	Now      time.Time
	Audience PublicKey // this node's device signing key
	Mint     *Mint
}

// Admit says whom a mint is for, or returns a [Refusal]. The caller has checked its challenge
// and its authority. Nothing is said of a key before the signature of the mint is right, so that
// only who holds a key's secret, or a grant of it, learns how it stands.
func (p *Policy) Admit(a Admission) (Session, error) {
	m := a.Mint
	if m == nil || m.check() != nil || !m.verify() {
		return Session{}, refuse(CodeBadSignature, "The request for a token is not signed by whom it names: check the secret.")
	}
	if m.Audience != a.Audience || a.Audience.IsZero() {
		return Session{}, refuse(CodeWrongAudience, "The request for a token is for another hub than this one.")
	}
	if m.Grant == nil {
		return p.admitKey(a)
	}
	return p.admitUser(a)
}

// admitKey admits the holder of an account key, for its owner.
func (p *Policy) admitKey(a Admission) (Session, error) {
	key, err := p.keyInForce(a.Now, a.Mint.Subject)
	if err != nil {
		return Session{}, err
	}
	if key.Kind != KindAccount {
		return Session{}, refuse(CodeWrongUser, "A user group key acts for users only: have a user sign, with a grant of the key.")
	}
	return Session{
		Key: key.Public, Kind: key.Kind, User: key.Owner, Account: key.Owner, Scopes: slices.Clone(a.Mint.Scopes), Expires: key.Expires,
	}, nil
}

// admitUser admits a user by a grant of a user group key, and by the user's own signature.
func (p *Policy) admitUser(a Admission) (Session, error) {
	g := a.Mint.Grant
	if !g.verify() {
		return Session{}, refuse(CodeBadSignature, "The grant is not signed by the key that it names: check the key's secret.")
	}
	key, err := p.keyInForce(a.Now, g.Key)
	if err != nil {
		return Session{}, err
	}
	switch {
	case key.Kind != KindUser:
		return Session{}, refuse(CodeWrongUser, "An account key acts only for its owner: let users use a user group key.")
	case !key.Signing:
		return Session{}, refuse(CodePermissionDenied, "A non-signing key is for development on one's own machine: a hub takes none.")
	case g.User != a.Mint.Subject:
		return Session{}, refuse(CodeWrongUser, "The grant is for another user than the one that signed: ask for a grant for this identity.")
	case g.User == key.Owner:
		return Session{}, refuse(CodeWrongUser, "A user group key does not act for its owner: use an account key for your own resources.")
	}
	if err := g.holds(a.Now, a.Audience); err != nil {
		return Session{}, err
	}
	return Session{
		Key: key.Public, Kind: key.Kind, User: g.User, Account: key.Owner,
		Scopes: slices.Clone(a.Mint.Scopes), Granted: slices.Clone(g.Scopes), Expires: earliest(key.Expires, g.Expires),
	}, nil
}

// decideSession decides a request by a session. Whether its token holds is for the caller.
func (p *Policy) decideSession(r Request) (Decision, error) {
	s := r.Session
	key, err := p.keyInForce(r.Now, s.Key)
	if err != nil {
		return Decision{}, err
	}
	if key.Owner != s.Account || key.Kind != s.Kind || (s.Kind == KindAccount) != (s.Granted == nil) {
		return Decision{}, refuse(CodeWrongOwner, "The session is of another account than the API key's owner: get another token.")
	}
	switch {
	case s.Expires != 0 && !r.Now.Before(s.Expires.Time()):
		return Decision{}, refuse(CodeCredentialExpired, "What the session stands for ended at "+s.Expires.String()+": get another token.")
	case !permits(s.Scopes, r.Action):
		return Decision{}, refuse(CodeWrongScope, "The session does not include "+string(r.Action)+": get a token that does.")
	case s.Granted != nil && !permits(s.Granted, r.Action):
		return Decision{}, refuse(CodeWrongScope, "The grant does not include "+string(r.Action)+": ask for one that does.")
	case !permits(key.Scopes, r.Action):
		return Decision{}, refuse(CodeWrongScope, "The API key does not include "+string(r.Action)+": make a key with that scope.")
	}
	if err := checkRight(r, s.User, key); err != nil {
		return Decision{}, err
	}
	return Decision{
		User: s.User, Account: key.Owner, Key: key.Public, Kind: key.Kind, Expires: earliest(s.Expires, key.Expires),
	}, nil
}
