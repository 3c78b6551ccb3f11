package keys

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/weftdb/weft/internal/fault"
)

// SealOverhead is how many bytes [Seal] adds: the encapsulated key (32) and the
// authentication tag (16).
const SealOverhead = 48

// A SealingKey is an X25519 private key. It prints as "[secret]". The zero value
// opens nothing.
type SealingKey struct {
	// Doubly behind a pointer: see Secret.
	key *struct{ x *ecdh.PrivateKey }
}

// NewSealingKey returns a random sealing key.
func NewSealingKey() SealingKey {
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic("keys: " + err.Error()) // cannot be: crypto/rand aborts the process instead
	}
	return SealingKey{key: &struct{ x *ecdh.PrivateKey }{x}}
}

// SealingKeyOf returns the sealing key with the given 32 bytes, any of which make
// a key: a random secret, such as an invite's, can stand for its sealing key.
func SealingKeyOf(s Secret) (SealingKey, error) { return sealingKeyOf(s.bytes()) }

func sealingKeyOf(b []byte) (SealingKey, error) {
	x, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return SealingKey{}, fault.Of(ErrInvalid, "a sealing key has 32 bytes, not %d", len(b))
	}
	return SealingKey{key: &struct{ x *ecdh.PrivateKey }{x}}, nil
}

// Public returns the public half; the zero key gives zeros.
func (k SealingKey) Public() [32]byte {
	if k.key == nil {
		return [32]byte{}
	}
	return [32]byte(k.key.x.PublicKey().Bytes())
}

// Secret returns the 32 bytes, for a key file.
func (k SealingKey) Secret() Secret { s, _ := SecretOf(k.private()); return s }

func (k SealingKey) private() []byte {
	if k.key == nil {
		return nil
	}
	return k.key.x.Bytes()
}

// SealingPublic returns the X25519 key derived from k, to which messages to an
// identity are sealed until it publishes another.
func (k PublicKey) SealingPublic() ([32]byte, error) {
	p, err := k.point()
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(p.BytesMontgomery()), nil
}

// Seal encrypts plaintext to recipient by HPKE (RFC 9180) in base mode, with
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305. The result is
// the encapsulated key (32 bytes) and the ciphertext. It says nothing about who
// sealed it: sign first.
func Seal(recipient [32]byte, info, aad, plaintext []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(recipient[:])
	if err != nil {
		return nil, fault.Of(ErrMalformed, "the sealing key: %v", err)
	}
	to, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	enc, sender, err := hpke.NewSender(to, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	ct, err := sender.Seal(aad, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append(enc, ct...), nil
}

// Open decrypts what [Seal] gave to k's public half with the same info and aad.
// Anything else returns [ErrSealed].
func Open(k SealingKey, info, aad, sealed []byte) ([]byte, error) {
	if k.key == nil {
		return nil, ErrNoKey
	}
	if len(sealed) < SealOverhead {
		return nil, ErrSealed
	}
	priv, err := hpke.NewDHKEMPrivateKey(k.key.x)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	r, err := hpke.NewRecipient(sealed[:32], priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, ErrSealed
	}
	plaintext, err := r.Open(aad, sealed[32:])
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}

// Format prints "[secret]" for every verb.
func (SealingKey) Format(f fmt.State, _ rune) { redact(f) }

// String returns "[secret]".
func (SealingKey) String() string { return redacted }

// LogValue returns "[secret]".
func (SealingKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]"; JSON uses it too.
func (SealingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
