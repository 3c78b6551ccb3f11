package keys

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// version and suite begin every binary format of this package.
const (
	version = 1
	suite   = canonical.SuiteX25519
)

// codec is the encoding of what this package signs and stores: an array that
// begins with the version.
var codec = canonical.New(canonical.Options{
	Version: version, Elements: 64, Nesting: 8,
	Malformed: ErrMalformed, TooLarge: ErrTooLarge, UnknownVersion: ErrVersion,
})

func checkSuite(v uint8, s canonical.Suite, what string) error {
	if v != version {
		return fault.Of(ErrVersion, "%s version %d is unknown to this release", what, v)
	}
	return codec.CheckSuite(s, what)
}
