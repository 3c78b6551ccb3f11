package net

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

const (
	inviteScheme    = "weft:"
	maxInviteAddrs  = 16
	maxInviteAddr   = 256
	maxInviteBinary = 256 + maxInviteAddrs*(maxInviteAddr+3)
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

// Key returns the public key that names the invite.
func (i Invite) Key() keys.PublicKey {
	id, err := i.identity()
	if err != nil {
		return keys.PublicKey{}
	}
	return id.Public()
}

func (i Invite) identity() (*keys.Identity, error) { return keys.IdentityOf(i.seed) }

// URL returns the secret text form, "weft:…", which [ParseInvite] parses. Whoever
// sees it can join.
func (i Invite) URL() string {
	b := i.encode()
	sum := digest(domainInvite, b)
	return inviteScheme + inviteText.EncodeToString(append(b, sum[:4]...))
}

type inviteWire struct {
	_       struct{} `cbor:",toarray"`
	Version uint64
	Thread  ThreadID
	Seed    [32]byte
	Service [32]byte
	Addrs   [][]byte
}

func (i Invite) encode() []byte {
	w := inviteWire{Version: formatVersion, Thread: i.Thread}
	copy(w.Seed[:], i.seed.Reveal())
	copy(w.Service[:], i.service.Reveal())
	for _, a := range i.Addrs {
		w.Addrs = append(w.Addrs, a.Bytes())
	}
	return encode(&w)
}

// ParseInvite parses what [Invite.URL] returns, and nothing else. Errors repeat
// none of the text.
func ParseInvite(url string) (Invite, error) {
	text, ok := strings.CutPrefix(url, inviteScheme)
	if !ok || len(url) > maxInviteText {
		return Invite{}, fmt.Errorf("%w: an invite is written weft:…", ErrMalformed)
	}
	b, err := inviteText.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") || len(b) < 5 {
		return Invite{}, fmt.Errorf("%w: invite: not base64url", ErrMalformed)
	}
	b, sum := b[:len(b)-4], b[len(b)-4:]
	if want := digest(domainInvite, b); !bytes.Equal(sum, want[:4]) {
		return Invite{}, fmt.Errorf("%w: invite: the checksum does not match: part of it is missing or altered", ErrMalformed)
	}
	return decodeInvite(b)
}

func decodeInvite(b []byte) (Invite, error) {
	var w inviteWire
	if err := decodeFormat(b, maxInviteBinary, "invite", &w); err != nil {
		return Invite{}, err
	}
	if len(w.Addrs) > maxInviteAddrs {
		return Invite{}, fmt.Errorf("%w: invite of %d addresses", ErrMalformed, len(w.Addrs))
	}
	i := Invite{Thread: w.Thread}
	for _, p := range w.Addrs {
		a, err := multiaddr.NewMultiaddrBytes(p)
		if err != nil || len(p) == 0 || len(p) > maxInviteAddr || !bytes.Equal(a.Bytes(), p) {
			return Invite{}, fmt.Errorf("%w: invite: address", ErrMalformed)
		}
		i.Addrs = append(i.Addrs, a)
	}
	var err error
	if i.seed, err = keys.SecretOf(w.Seed[:]); err != nil {
		return Invite{}, fmt.Errorf("%w: invite: %w", ErrMalformed, err)
	}
	if i.service, err = keys.SecretOf(w.Service[:]); err != nil {
		return Invite{}, fmt.Errorf("%w: invite: %w", ErrMalformed, err)
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

// sealedTo is the context that an epoch's keys are sealed in.
func sealedTo(thread ThreadID, purpose string) []byte {
	return append(append([]byte("weft/1/keys/"+purpose), 0), thread[:]...)
}

type keysWire struct {
	_       struct{} `cbor:",toarray"`
	Epoch   clock.Hash
	Read    secretKey
	Service secretKey
}

func (k *threadKeys) encode() []byte {
	return encode(&keysWire{Epoch: k.Epoch, Read: k.Read, Service: k.Service})
}

func decodeThreadKeys(p []byte) (threadKeys, error) {
	var w keysWire
	if err := decode(p, "keys of an epoch", &w); err != nil {
		return threadKeys{}, err
	}
	return threadKeys{Epoch: w.Epoch, Read: w.Read, Service: w.Service}, nil
}

// sealForInvite seals the keys to an invite's secret.
func sealForInvite(thread ThreadID, id *keys.Identity, k *threadKeys) ([]byte, error) {
	return keys.Seal(id.SealingKey().Public(), sealedTo(thread, "invite"), nil, k.encode())
}

// openWithInvite opens what sealForInvite sealed and checks it against the genesis.
func openWithInvite(thread ThreadID, g *genesis, id *keys.Identity, sealed []byte) (threadKeys, error) {
	p, err := keys.Open(id.SealingKey(), sealedTo(thread, "invite"), nil, sealed)
	if err != nil {
		return threadKeys{}, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	k, err := decodeThreadKeys(p)
	if err != nil {
		return threadKeys{}, err
	}
	if k.Epoch != clock.Hash(thread) || commitTo(k.Read) != g.Read || commitTo(k.Service) != g.Service {
		return threadKeys{}, fmt.Errorf("%w: the invite gives other keys than the thread's", ErrWrongKey)
	}
	return k, nil
}
