package thread

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/net/internal/format"
)

// rows encodes what the store keeps of a thread besides records.
var rows = canonical.New(canonical.Options{
	Elements: 64, Nesting: 8, Malformed: format.ErrMalformed, TooLarge: format.ErrTooLarge,
})
