package node

import (
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Request is what somebody outside wants of the node: who asks, and what for.
// The zero Request is refused.
type Request struct {
	// Token is what was presented as the administrator's token, of whatever
	// length; "" for nothing.
	Token string
	// Credential is what was presented of an API key; nil for nothing.
	Credential *keys.Credential
	// Peer is the device that presents the credential, as the transport has
	// authenticated it; zero if it has not.
	Peer keys.PublicKey
	// Session is that of a token which [Node.Sessions] found; nil for nothing.
	Session *keys.Session
	// Action is what is wanted; required.
	Action keys.Action
	// Resource is what it is wanted of.
	Resource keys.Resource
}

// Authorize decides whether a request of a surface may be served, and on whose behalf: by
// the administrator's token, or else by a credential or a session, as the node's policy says. Everything
// else is refused. A surface asks once for each request, before it reads the request's
// body. A token that is wrong is as good as none: with a credential beside it that one
// decides.
func (n *Node) Authorize(r Request) (keys.Decision, error) {
	local := false
	if given, err := keys.SecretOf([]byte(r.Token)); err == nil {
		local = n.token.Equal(given) // in constant time
	}
	d, err := n.policy.Decide(keys.Request{
		Now: time.Now(), Audience: n.Device(), Peer: r.Peer, Credential: r.Credential, Session: r.Session,
		Action: r.Action, Resource: r.Resource, Local: local,
	})
	if err != nil && !local && r.Credential == nil && r.Session == nil {
		return keys.Decision{}, fault.Of(ErrDenied, "this call needs the node's administrator token")
	}
	return d, err
}
