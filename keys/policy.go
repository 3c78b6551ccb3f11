package keys

import (
	"fmt"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// An Action is what a request wants to do. Its word before the dot is its area.
type Action string

// Every action of every way in. Others are refused.
const (
	ActionReplicate     Action = "thread.replicate" // have a thread's records stored and relayed
	ActionReadThread    Action = "thread.read"      // fetch a thread's records
	ActionSendMessage   Action = "inbox.send"       // leave a message in somebody's mailbox
	ActionFetchMessages Action = "inbox.fetch"      // fetch and acknowledge one's own messages
	ActionPin           Action = "pin.add"          // have blocks stored and served
	ActionReadBlocks    Action = "pin.read"         // fetch blocks
	ActionCreate        Action = "db.create"        // make a database that this node reads, in the caller's space
	ActionRead          Action = "db.read"          // read the documents and files of one
	ActionWrite         Action = "db.write"         // write them
	ActionRemove        Action = "db.remove"        // delete one
	ActionManageKeys    Action = "account.keys"     // make, list and revoke the account's keys
	ActionReadUsage     Action = "account.usage"    // see what is counted against the account
	ActionAdminister    Action = "node.administer"  // the node itself: local requests only
)

// Actions returns every action.
func Actions() []Action {
	return []Action{
		ActionReplicate, ActionReadThread, ActionSendMessage, ActionFetchMessages, ActionPin, ActionReadBlocks,
		ActionCreate, ActionRead, ActionWrite, ActionRemove, ActionManageKeys, ActionReadUsage, ActionAdminister,
	}
}

// KeyStore finds API keys.
type KeyStore interface {
	// APIKey returns the key with the given public key, revoked ones too, or nil if
	// there is none; a key is one that [NewAPIKey] made or [DecodeAPIKey] read. It is asked for
	// each decision, and must answer by what holds now. An error means that the store could not
	// tell.
	APIKey(public PublicKey) (*APIKey, error)
}

// A Policy decides what requests may do. The zero Policy knows no keys and
// refuses all but local requests.
type Policy struct {
	Keys  KeyStore
	Admin PublicKey // identity of the node's owner, for whom local requests act
}

// A Resource is what an action is about.
type Resource struct {
	// Owner is the identity whose thread, bucket or mailbox it is.
	Owner PublicKey
	// Account is the account (a key's owner) that the resource is counted against;
	// zero if it does not exist here yet.
	Account PublicKey
	// Member says that the caller found the credential's user to be a current member
	// of the thread, or to have proved an invite to it. Only the certificate's
	// identity may be looked up for it.
	Member bool
}

// A Request is one thing that somebody wants to do at this node.
type Request struct {
	Now        time.Time
	Audience   PublicKey // this node's device signing key
	Peer       PublicKey // the authenticated peer's device signing key
	Credential *Credential
	Session    *Session // of a token that the caller found; instead of a credential and a peer
	Action     Action
	Resource   Resource
	// Local says that the request carries the node's administrator token, which the
	// caller compared in constant time ([Secret.Equal]).
	Local bool
}

// A Decision says on whose behalf a permitted request acts.
type Decision struct {
	User       PublicKey // identity that acts
	Account    PublicKey // account to count against: the owner of the key
	Key        PublicKey // API key used; zero if Local
	Kind       KeyKind   // of the key; 0 if Local
	NonSigning bool      // a development key was used: mark it
	Local      bool
	Expires    Millis // when the decision no longer holds; 0 means never
}

// Decide permits the request, or returns a [Refusal]. An error that is no
// Refusal means that the key store failed; the request is not permitted either.
// Long-lived streams ask again when a key is revoked and at Decision.Expires.
func (p *Policy) Decide(r Request) (Decision, error) {
	if !slices.Contains(Actions(), r.Action) {
		return Decision{}, refuse(CodePermissionDenied, "This node does not know the action that was asked for: use a release that both peers share.")
	}
	if r.Local {
		return Decision{User: p.Admin, Account: p.Admin, Local: true}, nil
	}
	if r.Session != nil {
		return p.decideSession(r)
	}
	if r.Credential == nil || r.Credential.Grant == nil || r.Credential.Certificate == nil {
		return Decision{}, refuse(CodeNoCredential, "This peer accepts data only with an API key: add the relay with a key and its secret.")
	}
	g, c := r.Credential.Grant, r.Credential.Certificate
	if err := checkPeer(r, g, c); err != nil {
		return Decision{}, err
	}
	key, err := p.checkKey(r.Now, g)
	if err != nil {
		return Decision{}, err
	}
	if err := checkGrant(r, g, key); err != nil {
		return Decision{}, err
	}
	if err := checkRight(r, g.User, key); err != nil {
		return Decision{}, err
	}
	return Decision{
		User: g.User, Account: key.Owner, Key: key.Public, Kind: key.Kind, NonSigning: !key.Signing,
		Expires: earliest(g.Expires, key.Expires, c.Expires),
	}, nil
}

// checkPeer settles that the peer is a device of the grant's user.
func checkPeer(r Request, g *Grant, c *Certificate) error {
	if err := c.Verify(r.Now); err != nil {
		return err
	}
	if c.Sign != r.Peer || r.Peer.IsZero() {
		return refuse(CodeWrongPeer, "The credential is of another peer than the one that presents it: present this device's own certificate.")
	}
	if g.User != c.Identity {
		return refuse(CodeWrongUser, "The grant is for another user than the device certificate: ask for a grant for this identity.")
	}
	return nil
}

// checkKey settles that the grant is the key's, and that the key is in force.
func (p *Policy) checkKey(now time.Time, g *Grant) (*APIKey, error) {
	signed := g.verify()
	if g.Signed && !signed {
		return nil, refuse(CodeBadSignature, "The grant is not signed by the key that it names: check the key's secret.")
	}
	key, err := p.keyInForce(now, g.Key)
	if err != nil {
		return nil, err
	}
	switch {
	case key.Signing && !g.Signed:
		return nil, refuse(CodeBadSignature, "The API key needs signed grants and this one is not signed: give the key's secret.")
	case !key.Signing && g.Signed:
		return nil, refuse(CodeBadSignature, "The API key is a non-signing key and this grant is signed: leave the secret out.")
	}
	return key, nil
}

// keyInForce looks a key up: what was found before tells nothing of now.
func (p *Policy) keyInForce(now time.Time, public PublicKey) (*APIKey, error) {
	var key *APIKey
	if p.Keys != nil {
		var err error
		if key, err = p.Keys.APIKey(public); err != nil {
			return nil, fmt.Errorf("look up API key: %w", err)
		}
	}
	if key == nil || key.Public != public {
		return nil, refuse(CodeKeyUnknown, "This peer does not know the API key: check the key, and that it was made on this relay.")
	}
	switch {
	case key.Kind != KindAccount && key.Kind != KindUser:
		return nil, fault.Of(ErrMalformed, "a stored API key cannot be of kind %v", key.Kind)
	case key.Revoked != 0:
		return nil, refuse(CodeKeyRevoked, "The API key was revoked at "+key.Revoked.String()+": ask its owner for another; your data stays yours.")
	case key.Expires != 0 && !now.Before(key.Expires.Time()):
		return nil, refuse(CodeKeyExpired, "The API key expired at "+key.Expires.String()+": ask its owner for another; your data stays yours.")
	}
	return key, nil
}

// checkGrant settles that the grant holds now, here, and for the action.
func checkGrant(r Request, g *Grant, key *APIKey) error {
	if err := g.holds(r.Now, r.Audience); err != nil {
		return err
	}
	switch {
	case !permits(g.Scopes, r.Action):
		return refuse(CodeWrongScope, "The grant does not include "+string(r.Action)+": ask for one that does.")
	case !permits(key.Scopes, r.Action):
		return refuse(CodeWrongScope, "The API key does not include "+string(r.Action)+": make a key with that scope.")
	}
	return nil
}

// holds settles that a grant, whose signature was checked, holds now and here.
func (g *Grant) holds(now time.Time, audience PublicKey) error {
	if err := g.check(); err != nil { // a grant that was not decoded, but made by hand
		return refuse(CodeBadSignature, "The grant is malformed: ask for another.")
	}
	switch {
	case g.Issued.Time().After(now.Add(maxSkew)):
		return refuse(CodeCredentialNotYetValid, "The grant begins at "+g.Issued.String()+": set the clocks right.")
	case !now.Before(g.Expires.Time()):
		return refuse(CodeCredentialExpired, "The grant expired at "+g.Expires.String()+": ask for a new one.")
	case g.Audience != AnyAudience() && (g.Audience != audience || audience.IsZero()):
		return refuse(CodeWrongAudience, "The grant is for another peer than this one: ask for a grant for this relay.")
	}
	return nil
}

// checkRight is the table of rights: who may do the action to the resource.
// It asks who owns the key, never which key it is.
func checkRight(r Request, user PublicKey, key *APIKey) error {
	res := r.Resource
	switch {
	case key.Kind == KindAccount && user != key.Owner:
		return refuse(CodeWrongUser, "An account key acts only for its owner: let users use a user group key.")
	case key.Kind == KindUser && user == key.Owner:
		return refuse(CodeWrongUser, "A user group key does not act for its owner: use an account key for your own resources.")
	}
	switch r.Action {
	case ActionAdminister:
		return refuse(CodePermissionDenied, "Only the node's own administrator may do this: use the node's local API.")
	case ActionManageKeys, ActionReadUsage:
		if key.Kind != KindAccount {
			return refuse(CodePermissionDenied, "A user group key does not manage its owner's account: use an account key.")
		}
		if res.Account != key.Owner {
			return refuse(CodeWrongOwner, "The account is not the API key's owner: use a key of that account.")
		}
		return nil
	}
	if !res.Account.IsZero() && res.Account != key.Owner {
		return refuse(CodeWrongOwner, "The resource is counted against another account than the API key's owner: use a key of that account.")
	}
	if r.Action == ActionSendMessage {
		return checkRecipient(res)
	}
	return checkOwner(r.Action, res, user, key)
}

// A message may be sent to anybody whose mailbox is not another account's.
func checkRecipient(res Resource) error {
	if res.Owner.IsZero() {
		return refuse(CodePermissionDenied, "The message names no recipient: give a did:key.")
	}
	return nil
}

func checkOwner(a Action, res Resource, user PublicKey, key *APIKey) error {
	if res.Owner.IsZero() {
		return refuse(CodePermissionDenied, "The resource has no owner that this peer could check: present its genesis first.")
	}
	if key.Kind == KindUser && res.Owner == key.Owner {
		return refuse(CodePermissionDenied, "A user group key does not reach its owner's own resources: use an account key.")
	}
	if key.Kind == KindAccount && res.Owner != key.Owner {
		return refuse(CodePermissionDenied, "An account key does not reach resources of users: use a user group key.")
	}
	member := res.Member && a != ActionFetchMessages // a mailbox has no members
	if res.Owner != user && !member {
		return refuse(CodePermissionDenied, "The user is neither the owner nor a member of the resource: ask its owner for an invite.")
	}
	return nil
}

func earliest(times ...Millis) Millis {
	var first Millis
	for _, t := range times {
		if t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	return first
}
