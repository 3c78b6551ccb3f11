package keys

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// version and suite begin every binary format of this package. Suite 1 is
// Ed25519 with SHA-512 as in RFC 8032.
const (
	version = 1
	suite   = 1
)

// codec is the encoding of what this package signs and stores: an array that
// begins with the version.
var codec = canonical.New(canonical.Options{
	Version: version, Elements: 64, Nesting: 8,
	Malformed: ErrMalformed, TooLarge: ErrTooLarge, UnknownVersion: ErrVersion,
})

func checkSuite(v, s uint8, what string) error {
	if v != version {
		return fault.Of(ErrVersion, "%s version %d is unknown to this release", what, v)
	}
	if s != suite {
		return fault.Of(ErrVersion, "%s suite %d is unknown to this release", what, s)
	}
	return nil
}
