// Package inbox carries sealed, signed messages between identities through peers
// that keep them until the recipient's device acknowledges.
//
//	Message ── Envelope          signed, then sealed: what is inside and what travels
//	Mailbox ── received, sent    a person's own database thread
//	Post ───── Server            a relay's store of envelopes, and how it is reached
//	Inbox ──── Client            a node's side: sends what is queued, collects, files
//
// A message is never lost on the way: the sender keeps it queued until a relay
// has it on disk, the relay until the recipient's device has signed for it, and
// the device signs only when it is filed, once, by its ID. There is no forward
// secrecy: whoever gets an identity's secret reads every envelope to it that they
// kept. Formats and threats: docs/design/inbox.md.
package inbox

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/keys"
)

// Protocol is the libp2p protocol ID of the streams of this package.
const Protocol = "/weft/inbox/1"

// Maxima and the time that IDs are remembered and envelopes are kept.
const (
	MaxBody = 64 << 10 // bytes of a message's body
	Expiry  = 30 * 24 * time.Hour
)

// An ID names a message; its sender chooses it.
type ID = ulid.ULID

// A State says how far a sent message is.
type State string

// The states of a sent message, in order. Refused and expired end it too.
const (
	Queued    State = "queued"    // on this device, until a relay takes it
	Accepted  State = "accepted"  // a relay has it on disk
	Delivered State = "delivered" // a device of the recipient signed that it is filed
	Refused   State = "refused"   // a device of the recipient signed that it cannot be opened
	Expired   State = "expired"   // nobody took it within Expiry
)

// A Message is what one identity says to another.
type Message struct {
	ID   ID
	From keys.PublicKey // identity
	To   keys.PublicKey // identity
	Time time.Time      // the sender's, to the millisecond
	Body []byte         // at most MaxBody
}

// An Address says to whom to send and, if At is not empty, by which peer.
type Address struct {
	Identity keys.PublicKey
	At       string // a multiaddr, or empty: the sender's own relays
}

// ParseAddress parses "did:key:z6Mk…" or "did:key:z6Mk…@MULTIADDR".
func ParseAddress(s string) (Address, error) {
	did, at, found := strings.Cut(s, "@")
	id, err := keys.ParseDID(did)
	if err != nil {
		return Address{}, fmt.Errorf("recipient: %w", err)
	}
	if !found {
		return Address{Identity: id}, nil
	}
	if _, err := multiaddr.NewMultiaddr(at); err != nil {
		return Address{}, fmt.Errorf("recipient's peer: %w", err)
	}
	return Address{Identity: id, At: at}, nil
}

// String is the inverse of [ParseAddress].
func (a Address) String() string {
	if a.At == "" {
		return a.Identity.DID()
	}
	return a.Identity.DID() + "@" + a.At
}

// A Transport opens streams of [Protocol].
type Transport interface {
	// Open opens a stream to the peer at a multiaddr and returns it with the
	// peer's authenticated device key. Closing the stream ends reads at once.
	Open(ctx context.Context, to string) (io.ReadWriteCloser, keys.PublicKey, error)
}

// A Gate decides what a peer may do: [keys.Policy] is one.
type Gate interface {
	Decide(keys.Request) (keys.Decision, error)
}
