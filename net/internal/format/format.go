package format

import (
	"crypto/sha256"

	"github.com/weftdb/weft/internal/clock"
)

// Maxima of the format (docs/design.md).
const (
	MaxHeader  = 1 << 10
	MaxPlain   = 1 << 20
	MaxPiece   = 64 << 10
	MaxPayload = MaxPlain - 64<<10 // room for heads and padding
	MaxBlob    = 1 << 20
	MaxFrame   = 4 << 20
)

// Domain strings of what is hashed and signed here.
const (
	domainGenesis   = "weft/1/genesis"
	domainThread    = "weft/1/thread"
	domainKeyCommit = "weft/1/key-commit"
	domainLog       = "weft/1/log"
	domainRecord    = "weft/1/record"
	DomainHead      = "weft/1/head"
	domainBody      = "weft/1/body"
	domainSeal      = "weft/1/seal"
	DomainJoin      = "weft/1/join"
	domainInvite    = "weft/1/invite"
)

const (
	thisVersion = 1
	thisSuite   = 1 // SHA-256, Ed25519, HKDF-SHA256, ChaCha20-Poly1305

	MaxControlHeads = 16
	maxExtensions   = 16
)

// digest is h of docs/design.md: SHA-256 over the domain, a zero byte and the parts.
func digest(domain string, parts ...[]byte) clock.Hash {
	h := sha256.New()
	var buf [32]byte
	h.Write(append(append(buf[:0], domain...), 0))
	for _, p := range parts {
		h.Write(p)
	}
	var sum clock.Hash
	h.Sum(sum[:0])
	return sum
}
