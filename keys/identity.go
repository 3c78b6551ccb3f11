package keys

import (
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"log/slog"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// A signer holds an Ed25519 private key: seed ‖ public key, behind a pointer for
// the reason given at Secret.
type signer struct{ key *ed25519.PrivateKey }

func newSigner(seed []byte) signer {
	key := ed25519.NewKeyFromSeed(seed)
	return signer{key: &key}
}

func (s signer) public() PublicKey { return PublicKey((*s.key)[ed25519.SeedSize:]) }
func (s signer) seed() []byte      { return (*s.key)[:ed25519.SeedSize] }

// An Identity is the private key of a person or app. It certifies devices, and
// opens what was sealed to it. It prints as "[secret]".
type Identity struct {
	signer signer
	seal   SealingKey
}

// NewIdentity returns a random identity.
func NewIdentity() *Identity {
	id, err := IdentityOf(NewSecret())
	if err != nil {
		panic("keys: a random seed gives no key: " + err.Error()) // cannot be: every 32 bytes are a seed
	}
	return id
}

// IdentityOf returns the identity with the given 32-byte seed.
func IdentityOf(seed Secret) (*Identity, error) {
	if seed.Len() != ed25519.SeedSize {
		return nil, fault.Of(ErrInvalid, "an identity's seed has %d bytes, not %d", ed25519.SeedSize, seed.Len())
	}
	// RFC 8032, 5.1.5: the scalar is the first half of the seed's SHA-512; X25519
	// clamps it the same way.
	h := sha512.Sum512(seed.bytes())
	seal, err := sealingKeyOf(h[:32])
	if err != nil {
		return nil, err
	}
	return &Identity{signer: newSigner(seed.bytes()), seal: seal}, nil
}

// Public returns the identity's public key.
func (id *Identity) Public() PublicKey { return id.signer.public() }

// Sign signs as [Sign] does.
func (id *Identity) Sign(domain string, msg ...[]byte) Signature {
	return Sign(*id.signer.key, domain, msg...)
}

// Secret returns the 32-byte seed, for a key file.
func (id *Identity) Secret() Secret { s, _ := SecretOf(id.signer.seed()); return s }

// SealingKey returns the X25519 key derived from the identity's seed. Its public
// half is what [PublicKey.SealingPublic] gives.
func (id *Identity) SealingKey() SealingKey { return id.seal }

// CertifyOptions say what a certificate states besides the keys.
type CertifyOptions struct {
	Name    string    // for people, at most 128 bytes of UTF-8
	Issued  time.Time // required
	Expires time.Time // zero means never
}

// Certify signs a certificate that d is a device of the identity.
func (id *Identity) Certify(d DevicePublic, opt CertifyOptions) (*Certificate, error) {
	c := &Certificate{
		Identity: id.Public(), Sign: d.Sign, Seal: d.Seal,
		Issued: MillisOf(opt.Issued), Expires: MillisOf(opt.Expires), Name: opt.Name,
	}
	if !opt.Expires.IsZero() && c.Expires == 0 {
		return nil, fault.Of(ErrInvalid, "certificate expiry %v is out of range", opt.Expires)
	}
	if err := c.check(); err != nil {
		return nil, fault.Of(ErrInvalid, "%v", err)
	}
	c.Signature = id.Sign(DomainCertificate, codec.Encode(c.body()))
	return c, nil
}

// A Device is the private keys of one node: an Ed25519 signing key, which is
// also its libp2p host key, and an X25519 sealing key. It prints as "[secret]".
type Device struct {
	signer signer
	seal   SealingKey
}

// A DevicePublic is the public half of a [Device].
type DevicePublic struct {
	Sign PublicKey
	Seal [32]byte // X25519
}

// deviceSecretSize is the length of a device's secret: seed ‖ X25519 private key.
const deviceSecretSize = ed25519.SeedSize + 32

// NewDevice returns a device with random keys.
func NewDevice() *Device {
	return &Device{signer: newSigner(NewSecret().bytes()), seal: NewSealingKey()}
}

// DeviceOf returns the device with the secret that [Device.Secret] gave.
func DeviceOf(s Secret) (*Device, error) {
	if s.Len() != deviceSecretSize {
		return nil, fault.Of(ErrInvalid, "a device's secret has %d bytes, not %d", deviceSecretSize, s.Len())
	}
	seal, err := sealingKeyOf(s.bytes()[ed25519.SeedSize:])
	if err != nil {
		return nil, err
	}
	return &Device{signer: newSigner(s.bytes()[:ed25519.SeedSize]), seal: seal}, nil
}

// Public returns the device's public keys.
func (d *Device) Public() DevicePublic {
	return DevicePublic{Sign: d.signer.public(), Seal: d.seal.Public()}
}

// Sign signs as [Sign] does.
func (d *Device) Sign(domain string, msg ...[]byte) Signature {
	return Sign(*d.signer.key, domain, msg...)
}

// PrivateKey returns a copy of the signing key, the 64 bytes that libp2p's
// crypto.UnmarshalEd25519PrivateKey takes. The copy prints its bytes.
func (d *Device) PrivateKey() ed25519.PrivateKey {
	return append(ed25519.PrivateKey(nil), *d.signer.key...)
}

// SealingKey returns the device's own X25519 key.
func (d *Device) SealingKey() SealingKey { return d.seal }

// Secret returns the 64 secret bytes, for a key file.
func (d *Device) Secret() Secret {
	s, _ := SecretOf(append(append([]byte(nil), d.signer.seed()...), d.seal.private()...))
	return s
}

// Format prints "[secret]" for every verb.
func (Identity) Format(f fmt.State, _ rune) { redact(f) }

// String returns "[secret]".
func (Identity) String() string { return redacted }

// LogValue returns "[secret]".
func (Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]"; JSON uses it too.
func (Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints "[secret]" for every verb.
func (Device) Format(f fmt.State, _ rune) { redact(f) }

// String returns "[secret]".
func (Device) String() string { return redacted }

// LogValue returns "[secret]".
func (Device) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]"; JSON uses it too.
func (Device) MarshalText() ([]byte, error) { return []byte(redacted), nil }
