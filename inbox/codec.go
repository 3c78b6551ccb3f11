package inbox

import "github.com/weftdb/weft/internal/canonical"

// codec is the encoding of everything that is signed, sent or stored.
var codec = canonical.New(canonical.Options{
	Version: version, Elements: maxBatch, Nesting: 6,
	Malformed: ErrMalformed, TooLarge: ErrTooLarge,
})

// decode reads p, of at most limit bytes, into v: exactly what codec.Encode(v)
// gives, or an error that is ErrTooLarge or ErrMalformed.
func decode(p []byte, limit int, what string, v any) error {
	if err := codec.Within(p, limit, what); err != nil {
		return err
	}
	return codec.Decode(p, what, v)
}
