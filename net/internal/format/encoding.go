package format

import "github.com/weftdb/weft/internal/canonical"

// codec encodes what is signed, hashed, sealed and sent here. The longest array is
// that of a view's heads; the bound leaves room.
var codec = canonical.New(canonical.Options{
	Version: thisVersion, Elements: 1 << 11, Nesting: 8,
	Malformed: ErrMalformed, TooLarge: ErrTooLarge, UnknownVersion: ErrVersion,
})
