package node

import "github.com/weftdb/weft/node/internal/sessions"

// What a hub gives to remote callers: see package sessions.
type (
	// Sessions are the tokens of a hub, and what runs by them.
	Sessions = sessions.Table
	// A Session is what a token stands for.
	Session = sessions.Session
	// Presented is a token as a request carries it.
	Presented = sessions.Presented
)

// SurfaceRemote is the name of the surface that remote callers of a hub use.
const SurfaceRemote = "listen"

// RetryAfter returns in how many seconds it is worth to come again, for a refusal that says so.
func RetryAfter(err error) (seconds int, ok bool) { return sessions.Wait(err) }

// Sessions returns the tokens of this hub.
func (n *Node) Sessions() *Sessions { return n.sessions }
