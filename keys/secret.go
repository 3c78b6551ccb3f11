package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"

	"github.com/weftdb/weft/internal/fault"
)

const (
	redacted      = "[secret]"
	maxSecretSize = 1024
)

// A Secret is up to 1 KiB of secret bytes that never print: fmt, log/slog, JSON
// and text encoding give "[secret]". The zero Secret is empty.
type Secret struct {
	// A pointer, so that fmt prints an address, not the bytes, when a Secret is an
	// unexported field of another struct and its methods cannot be called.
	p *[]byte
}

// NewSecret returns 32 random bytes.
func NewSecret() Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the process instead
	return Secret{p: &b}
}

// SecretOf returns a Secret with a copy of b, which must have 1 to 1,024 bytes.
func SecretOf(b []byte) (Secret, error) {
	if len(b) == 0 || len(b) > maxSecretSize {
		return Secret{}, fault.Of(ErrInvalid, "a secret has 1 to %d bytes, not %d", maxSecretSize, len(b))
	}
	c := bytes.Clone(b)
	return Secret{p: &c}, nil
}

// Reveal returns a copy of the bytes.
func (s Secret) Reveal() []byte { return bytes.Clone(s.bytes()) }

// Len returns the number of bytes.
func (s Secret) Len() int { return len(s.bytes()) }

// Equal reports in constant time whether s and o hold the same bytes. Two empty
// secrets are not equal: an unset secret must match nothing.
func (s Secret) Equal(o Secret) bool {
	return s.Len() > 0 && subtle.ConstantTimeCompare(s.bytes(), o.bytes()) == 1
}

func (s Secret) bytes() []byte {
	if s.p == nil {
		return nil
	}
	return *s.p
}

// Format prints "[secret]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { redact(f) }

// String returns "[secret]".
func (Secret) String() string { return redacted }

// LogValue returns "[secret]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]"; JSON uses it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func redact(f fmt.State) { _, _ = io.WriteString(f, redacted) }
