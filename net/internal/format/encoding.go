package format

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// codec encodes what is signed, hashed, sealed and sent here. The longest array is
// that of a plaintext's heads; the bound leaves room.
var codec = canonical.New(canonical.Options{
	Version: thisVersion, Elements: 1 << 17, Nesting: 8,
	Malformed: ErrMalformed, TooLarge: ErrTooLarge, UnknownVersion: ErrVersion,
})

// checkSuite refuses other algorithms by name.
func checkSuite(suite uint64, what string) error {
	if suite != thisSuite {
		return fault.Of(ErrVersion, "%s suite %d is unknown to this release", what, suite)
	}
	return nil
}
