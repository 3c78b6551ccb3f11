// Package keys says who somebody is and what they may do: identities, their
// devices, sealing, API keys, the credential that a peer presents, and the one
// decision that every way in calls.
//
//	Identity ── Certificate ── Device       who: a person or app, and its nodes
//	APIKey ── Grant ──┐                     what: a developer lets a user use a peer
//	Certificate ──────┴─ Credential         what a peer presents
//	Policy.Decide(Request) ── Decision      may it? deny by default
//	                      └── Refusal       no, and why, by a stable code
//	Secret ── key file                      at rest; a Secret never prints
//
// Nothing here opens a socket, stores a record or starts a goroutine. Every
// value is safe for concurrent use as long as nobody changes it. Formats and
// threats: docs/design/keys.md.
package keys

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"filippo.io/edwards25519"
	"github.com/mr-tron/base58"

	"github.com/weftdb/weft/internal/fault"
)

// The domain strings of this package's signed types. Each signed type of every
// package has its own, so that no signature can be taken for another's.
const (
	DomainCertificate = "weft/1/certificate"
	DomainGrant       = "weft/1/grant"
	DomainDelegation  = "weft/1/delegation"
)

// A PublicKey is an Ed25519 public key: of an identity, a device or an API key.
type PublicKey [ed25519.PublicKeySize]byte

// did:key is "did:key:" and the base58btc multibase ("z") of the multicodec
// ed25519-pub (0xed, as the varint ed 01) and the 32 bytes.
const (
	didPrefix = "did:key:z"
	maxDIDLen = 64 // a did:key of Ed25519 has 56 characters
)

// DID returns the text form of k, "did:key:z6Mk…".
func (k PublicKey) DID() string {
	return didPrefix + base58.Encode(append([]byte{0xed, 0x01}, k[:]...))
}

// String returns the text form of k; the zero key is "".
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return k.DID()
}

// IsZero reports whether k is the zero key, which stands for no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText returns the text form of k; the zero key gives "".
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses what [PublicKey.MarshalText] returns.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	parsed, err := ParseDID(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// ParseDID parses the text form of an Ed25519 key. Any other text, and any key
// that [PublicKey.Check] refuses, returns [ErrMalformed].
func ParseDID(s string) (PublicKey, error) {
	var k PublicKey
	if len(s) > maxDIDLen || !strings.HasPrefix(s, didPrefix) {
		return k, fault.Of(ErrMalformed, "an identity is written did:key:z6Mk…")
	}
	raw, err := base58.Decode(s[len(didPrefix):])
	if err != nil {
		return k, fault.Of(ErrMalformed, "the did:key cannot be decoded: %v", err)
	}
	if len(raw) != 2+len(k) || raw[0] != 0xed || raw[1] != 0x01 {
		return k, fault.Of(ErrMalformed, "the did:key is not of an Ed25519 key")
	}
	copy(k[:], raw[2:])
	if k.DID() != s {
		return PublicKey{}, fault.Of(ErrMalformed, "the did:key is not in canonical form")
	}
	if err := k.Check(); err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

// Check returns [ErrMalformed] unless k is the canonical encoding of a point of
// the group of prime order, and not its identity. A key of small order accepts
// signatures that nobody made; with one that has a part of small order, verifiers
// that multiply by the cofactor accept more signatures than others.
func (k PublicKey) Check() error {
	_, err := k.point()
	return err
}

func (k PublicKey) point() (*edwards25519.Point, error) {
	p, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil {
		return nil, fault.Of(ErrMalformed, "the bytes are not an Ed25519 public key")
	}
	if [32]byte(p.Bytes()) != k {
		return nil, fault.Of(ErrMalformed, "the Ed25519 public key is not in canonical form")
	}
	eight := new(edwards25519.Point).MultByCofactor(p)
	if eight.Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, fault.Of(ErrMalformed, "the Ed25519 public key is of small order")
	}
	if eight.ScalarMult(eighth, eight).Equal(p) != 1 {
		return nil, fault.Of(ErrMalformed, "the Ed25519 public key has a part of small order")
	}
	return p, nil
}

// eighth is 1/8 modulo the group's order: it takes 8P back to P, but for what of P
// is of small order.
var eighth = func() *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{8}, make([]byte, 31)...))
	if err != nil {
		panic(fmt.Sprintf("keys: %v", err))
	}
	return s.Invert(s)
}()

// A Signature is an Ed25519 signature.
type Signature [ed25519.SignatureSize]byte

// ErrNoKey reports an operation with the zero value of a key type.
var ErrNoKey = fault.New(fault.InvalidArgument, "the key is the zero value: there is none")

// Sign signs domain ‖ 0x00 ‖ msg…, the parts of msg joined as they are: pass one
// canonical encoding, or parts of fixed length. The domain must hold no zero
// byte. A priv that is not 64 bytes panics, as in crypto/ed25519.
func Sign(priv ed25519.PrivateKey, domain string, msg ...[]byte) Signature {
	return Signature(ed25519.Sign(priv, signedBytes(domain, msg)))
}

// Verify reports whether sig is pub's signature of msg under domain; see [Sign]. It
// is the equation without the cofactor of RFC 8032, 5.1.7, with R compared as bytes
// and S below the group's order. It does not run [PublicKey.Check], which is the duty
// of whoever accepts a key; of a key that passes it, every verifier accepts the same
// signatures.
func Verify(pub PublicKey, domain string, sig Signature, msg ...[]byte) bool {
	return ed25519.Verify(pub[:], signedBytes(domain, msg), sig[:])
}

func signedBytes(domain string, msg [][]byte) []byte {
	n := len(domain) + 1
	for _, m := range msg {
		n += len(m)
	}
	b := append(make([]byte, 0, n), domain...)
	b = append(b, 0)
	for _, m := range msg {
		b = append(b, m...)
	}
	return b
}

// Millis is a time in milliseconds since the Unix epoch, at most 48 bits, as in
// the formats. Zero means that there is no such time.
type Millis uint64

const maxMillis Millis = 1<<48 - 1

// MillisOf returns t in milliseconds; the zero time, and any time outside the
// 48 bits, is zero.
func MillisOf(t time.Time) Millis {
	if ms := t.UnixMilli(); !t.IsZero() && ms > 0 && Millis(ms) <= maxMillis {
		return Millis(ms)
	}
	return 0
}

// Time returns m in UTC; zero gives the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// String returns m for people.
func (m Millis) String() string {
	if m == 0 {
		return "never"
	}
	return m.Time().Format(time.RFC3339)
}
