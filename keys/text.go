package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"

	"github.com/weftdb/weft/internal/fault"
)

// The text of a key is a prefix of three letters, "wk" for a key or "ws" for a
// secret, then "a" (account) or "u" (user group), and 56 characters of base32
// (RFC 4648, lower case, no padding) of the 32 bytes and a checksum of 3 bytes:
// the first of SHA-256("weft/1/key-text" ‖ 0x00 ‖ prefix ‖ 32 bytes).
const (
	keyPrefix    = "wk"
	secretPrefix = "ws"
	keyTextLen   = 3 + 56
	checksumLen  = 3
)

// base32Lower is RFC 4648's alphabet in lower case.
func base32Lower() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// KeyText returns the text of the API key with the given public key, "wka…" or
// "wku…", 59 characters.
func KeyText(kind KeyKind, public PublicKey) string { return keyText(keyPrefix, kind, public) }

// ParseKey parses what [KeyText] gives. Other text returns [ErrMalformed], or
// [ErrChecksum] if only the checksum is wrong.
func ParseKey(text string) (KeyKind, PublicKey, error) {
	kind, b, err := parseKeyText(keyPrefix, text)
	if err != nil {
		return 0, PublicKey{}, err
	}
	public := PublicKey(b)
	if err := public.Check(); err != nil {
		return 0, PublicKey{}, err
	}
	return kind, public, nil
}

// ParseAPISecret parses what [APISecret.Text] gives, with the errors of
// [ParseKey]. No error repeats any of the text.
func ParseAPISecret(text string) (*APISecret, error) {
	kind, seed, err := parseKeyText(secretPrefix, text)
	if err != nil {
		return nil, err
	}
	return &APISecret{kind: kind, signer: newSigner(seed[:])}, nil
}

func keyText(prefix string, kind KeyKind, b [32]byte) string {
	letter := "?"
	switch kind {
	case KindAccount:
		letter = "a"
	case KindUser:
		letter = "u"
	}
	prefix += letter
	return prefix + base32Lower().EncodeToString(append(b[:], checksum(prefix, b)...))
}

func checksum(prefix string, b [32]byte) []byte {
	h := sha256.Sum256(signedBytes("weft/1/key-text", [][]byte{[]byte(prefix), b[:]}))
	return h[:checksumLen]
}

func parseKeyText(prefix, text string) (KeyKind, [32]byte, error) {
	var b [32]byte
	what := map[string]string{keyPrefix: "a key", secretPrefix: "a secret"}
	if len(text) < 3 || text[:2] != prefix {
		if len(text) > 2 && what[text[:2]] != "" {
			return 0, b, fault.Of(ErrMalformed, "%s stands where %s belongs", what[text[:2]], what[prefix])
		}
		return 0, b, fault.Of(ErrMalformed, "this is not %s: one begins with %q", what[prefix], prefix)
	}
	var kind KeyKind
	switch text[2] {
	case 'a':
		kind = KindAccount
	case 'u':
		kind = KindUser
	default:
		return 0, b, fault.Of(ErrMalformed, "%s begins with %q and then a or u", what[prefix], prefix)
	}
	if len(text) != keyTextLen {
		return 0, b, fault.Of(ErrMalformed, "%s has %d characters, not %d", what[prefix], keyTextLen, len(text))
	}
	raw, err := base32Lower().DecodeString(text[3:])
	if err != nil || len(raw) != len(b)+checksumLen {
		// The decoder's error names the place only, but secrets stay out of it whole.
		return 0, b, fault.Of(ErrMalformed, "%s has a character other than a-z and 2-7", what[prefix])
	}
	copy(b[:], raw)
	if subtle.ConstantTimeCompare(raw[len(b):], checksum(text[:3], b)) != 1 {
		return 0, [32]byte{}, ErrChecksum
	}
	return kind, b, nil
}
