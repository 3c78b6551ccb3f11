package canonical

import "github.com/weftdb/weft/internal/fault"

// A Suite names all algorithms of a format together: hash, signature, key encapsulation and
// authenticated encryption. A format carries one byte of it, never a choice for each.
type Suite uint8

// The suites. A thread has the one of its genesis.
const (
	// SuiteX25519 is SHA-256, Ed25519, DHKEM(X25519, HKDF-SHA256) and ChaCha20-Poly1305.
	SuiteX25519 Suite = 1
	// SuiteHybrid is reserved: as SuiteX25519, with keys encapsulated by X25519 and
	// ML-KEM-768 together. Nothing writes or takes it yet.
	SuiteHybrid Suite = 2
)

// CheckSuite returns UnknownVersion for a suite that this release does not take.
func (c *Codec) CheckSuite(s Suite, what string) error {
	switch s {
	case SuiteX25519:
		return nil
	case SuiteHybrid:
		return fault.Of(c.opts.UnknownVersion, "%s suite %d (X25519 and ML-KEM-768) does not exist yet", what, s)
	}
	return fault.Of(c.opts.UnknownVersion, "%s suite %d is unknown to this release", what, s)
}
