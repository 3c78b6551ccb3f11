package format

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	inviteScheme = "weft:"
	// MaxInviteAddrs bounds the addresses that an invite names.
	MaxInviteAddrs  = 16
	maxInviteAddr   = 256
	maxInviteBinary = 256 + MaxInviteAddrs*(maxInviteAddr+3)
	maxInviteText   = 8 << 10
)

var inviteText = base64.RawURLEncoding.Strict()

// An Invite lets whoever holds it join a thread. Its URL is a bearer secret, so
// that it prints as "[invite]"; only [Invite.URL] shows it.
type Invite struct {
	Thread  ThreadID
	Addrs   []multiaddr.Multiaddr // where a relay or a member is found; they end in /p2p
	seed    keys.Secret           // 32 bytes: the invite's key pair
	service keys.Secret           // service key of the epoch it was made in: the joiner reads the control logs with it
}

// NewInvite returns an invite to a thread with a new secret.
func NewInvite(thread ThreadID, service SecretKey, addrs []multiaddr.Multiaddr) (Invite, error) {
	i := Invite{Thread: thread, Addrs: addrs, seed: keys.NewSecret()}
	var err error
	i.service, err = keys.SecretOf(service[:])
	return i, err
}

// Key returns the public key that names the invite.
func (i Invite) Key() keys.PublicKey {
	id, err := InviteIdentity(i)
	if err != nil {
		return keys.PublicKey{}
	}
	return id.Public()
}

// InviteIdentity returns the key pair that an invite's secret is.
func InviteIdentity(i Invite) (*keys.Identity, error) { return keys.IdentityOf(i.seed) }

// InviteService returns the service key that an invite carries.
func InviteService(i Invite) SecretKey { return SecretKey(i.service.Reveal()) }

// URL returns the secret text form, "weft:…", which [ParseInvite] parses. Whoever
// sees it can join.
func (i Invite) URL() string { return i.text(inviteScheme, domainInvite) }

// text returns the bytes and a checksum in base64url, after a scheme.
func (i Invite) text(scheme, domain string) string {
	b := EncodeInvite(i)
	sum := digest(domain, b)
	return scheme + inviteText.EncodeToString(append(b, sum[:4]...))
}

type inviteWire struct {
	_       struct{} `cbor:",toarray"`
	Version uint64
	Suite   canonical.Suite
	Thread  ThreadID
	Seed    [32]byte
	Service [32]byte
	Addrs   [][]byte
}

// EncodeInvite returns the bytes that the text of an invite stands for.
func EncodeInvite(i Invite) []byte {
	w := inviteWire{Version: thisVersion, Suite: thisSuite, Thread: i.Thread}
	copy(w.Seed[:], i.seed.Reveal())
	copy(w.Service[:], i.service.Reveal())
	for _, a := range i.Addrs {
		w.Addrs = append(w.Addrs, a.Bytes())
	}
	return codec.Encode(&w)
}

// ParseInvite parses what [Invite.URL] returns, and nothing else. Errors repeat
// none of the text.
func ParseInvite(url string) (Invite, error) {
	b, err := textBytes(url, inviteScheme, domainInvite, "invite")
	if err != nil {
		return Invite{}, err
	}
	return DecodeInvite(b)
}

// textBytes returns the bytes that a text stands for; what names it in errors.
func textBytes(url, scheme, domain, what string) ([]byte, error) {
	text, ok := strings.CutPrefix(url, scheme)
	if !ok || len(url) > maxInviteText {
		return nil, fault.Of(ErrMalformed, "invalid %s: it is written %s…", what, scheme)
	}
	// The decoder skips line breaks: there would be two texts of one thing.
	b, err := inviteText.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") || len(b) < 5 {
		return nil, fault.Of(ErrMalformed, "invalid %s: not base64url after %s", what, scheme)
	}
	b, sum := b[:len(b)-4], b[len(b)-4:]
	if want := digest(domain, b); !bytes.Equal(sum, want[:4]) {
		return nil, fault.Of(ErrMalformed, "%s: the checksum does not match: part of it is missing or altered", what)
	}
	return b, nil
}

// DecodeInvite parses the bytes in the text of an invite, strictly.
func DecodeInvite(b []byte) (Invite, error) {
	var w inviteWire
	if err := codec.DecodeVersioned(b, maxInviteBinary, "invite", &w); err != nil {
		return Invite{}, err
	}
	if err := codec.CheckSuite(w.Suite, "invite"); err != nil {
		return Invite{}, err
	}
	if len(w.Addrs) > MaxInviteAddrs {
		return Invite{}, fault.Of(ErrMalformed, "invite of %d addresses", len(w.Addrs))
	}
	i := Invite{Thread: w.Thread}
	for _, p := range w.Addrs {
		a, err := multiaddr.NewMultiaddrBytes(p)
		if err != nil || len(p) == 0 || len(p) > maxInviteAddr || !bytes.Equal(a.Bytes(), p) {
			return Invite{}, fault.Of(ErrMalformed, "invite: address")
		}
		i.Addrs = append(i.Addrs, a)
	}
	var err error
	if i.seed, err = keys.SecretOf(w.Seed[:]); err != nil {
		return Invite{}, fault.Of(ErrMalformed, "invite: %w", err)
	}
	if i.service, err = keys.SecretOf(w.Service[:]); err != nil {
		return Invite{}, fault.Of(ErrMalformed, "invite: %w", err)
	}
	return i, nil
}

// Format prints "[invite]" for every verb.
func (Invite) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[invite]")) }

// String returns "[invite]".
func (Invite) String() string { return "[invite]" }

// LogValue returns "[invite]".
func (Invite) LogValue() slog.Value { return slog.StringValue("[invite]") }

// MarshalText returns "[invite]"; JSON uses it too.
func (Invite) MarshalText() ([]byte, error) { return []byte("[invite]"), nil }
