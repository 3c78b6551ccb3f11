package keys

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/weftdb/weft/internal/fault"
)

// A KeyKind says for whom an API key stands.
type KeyKind uint8

const (
	// KindAccount grants its owner's own resources.
	KindAccount KeyKind = 1
	// KindUser is a user group key: it lets an app's users make and use resources of
	// their own, counted against the key's owner, and nothing of the owner's.
	KindUser KeyKind = 2
)

// String returns "account" or "user".
func (k KeyKind) String() string {
	switch k {
	case KindAccount:
		return "account"
	case KindUser:
		return "user"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A Scope is what a key or grant is for: an [Action], an area of actions such as
// "thread" (all that begin with "thread."), or "*".
type Scope string

// The areas of actions.
const (
	ScopeAll     Scope = "*"
	ScopeThread  Scope = "thread"
	ScopeInbox   Scope = "inbox"
	ScopePin     Scope = "pin"
	ScopeDB      Scope = "db"
	ScopeAccount Scope = "account"
)

// DefaultScopes returns the scopes of keys and grants made without any: all but
// the management of the account.
func DefaultScopes() []Scope { return []Scope{ScopeThread, ScopeInbox, ScopePin, ScopeDB} }

// Permits reports whether the scope covers the action.
func (s Scope) Permits(a Action) bool {
	return s == ScopeAll || string(s) == string(a) || s != "" && strings.HasPrefix(string(a), string(s)+".")
}

func permits(scopes []Scope, a Action) bool {
	return slices.ContainsFunc(scopes, func(s Scope) bool { return s.Permits(a) })
}

// Limits of API keys.
const (
	MaxScopes           = 16
	MaxScopeSize        = 32                  // bytes
	MaxAPIKeySize       = 2048                // bytes encoded
	NonSigningLifetime  = 24 * time.Hour      // of a non-signing key, by default
	MaxNonSigningLength = 30 * 24 * time.Hour // of a non-signing key, at most
)

// An APIKey is what a server stores of a key: never its secret.
type APIKey struct {
	Public  PublicKey // names the key
	Kind    KeyKind
	Signing bool      // false: development only; a grant needs no signature
	Owner   PublicKey // identity of the account: a developer, or an organization
	Org     string    // name of the organization, if Owner is one
	Name    string
	Scopes  []Scope
	Created Millis
	Expires Millis // 0 means never
	Revoked Millis // 0 means that it is not revoked
}

// APIKeyOptions say what key to make.
type APIKeyOptions struct {
	Kind       KeyKind   // required
	NonSigning bool      // development only, user group keys only
	Owner      PublicKey // required
	Org        string
	Name       string
	Scopes     []Scope   // nil means DefaultScopes
	Expires    time.Time // zero means never, or 24 hours for a non-signing key
}

// CheckName refuses a name, of a key or a device, that cannot be printed as it is.
func CheckName(name string) error {
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fault.Of(ErrInvalid, "the name %q has characters that cannot be printed", name)
		}
	}
	return nil
}

// NewAPIKey makes a key at the time now. The secret is to be shown once and kept
// nowhere; that of a non-signing key is nil.
func NewAPIKey(now time.Time, opt APIKeyOptions) (*APIKey, *APISecret, error) {
	if err := CheckName(opt.Name); err != nil {
		return nil, nil, err
	}
	secret := &APISecret{kind: opt.Kind, signer: newSigner(NewSecret().bytes())}
	k := &APIKey{
		Public: secret.Public(), Kind: opt.Kind, Signing: !opt.NonSigning, Owner: opt.Owner, Org: opt.Org,
		Name: opt.Name, Scopes: slices.Clone(opt.Scopes), Created: MillisOf(now), Expires: MillisOf(opt.Expires),
	}
	if k.Scopes == nil {
		k.Scopes = DefaultScopes()
	}
	if opt.NonSigning && opt.Expires.IsZero() {
		k.Expires = MillisOf(now.Add(NonSigningLifetime))
	}
	if !opt.Expires.IsZero() && k.Expires == 0 {
		return nil, nil, fault.Of(ErrInvalid, "key expiry %v is out of range", opt.Expires)
	}
	if err := k.check(); err != nil {
		return nil, nil, fault.Of(ErrInvalid, "%v", err)
	}
	if opt.NonSigning {
		secret = nil
	}
	return k, secret, nil
}

// Text returns the key as people see it, "wku…": see [KeyText].
func (k *APIKey) Text() string { return KeyText(k.Kind, k.Public) }

func (k *APIKey) check() error {
	if k.Kind != KindAccount && k.Kind != KindUser {
		return fault.Of(ErrMalformed, "an API key cannot be of kind %v", k.Kind)
	}
	if err := k.Public.Check(); err != nil {
		return err
	}
	if err := k.Owner.Check(); err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	if err := checkTimesAndName("API key", k.Created, k.Expires, k.Name); err != nil {
		return err
	}
	if err := checkTimesAndName("API key", k.Created, 0, k.Org); err != nil {
		return err
	}
	if k.Revoked > maxMillis {
		return fault.Of(ErrMalformed, "API key: time out of range")
	}
	if !k.Signing {
		switch {
		case k.Kind != KindUser:
			return fault.Of(ErrMalformed, "only a user group key can be non-signing")
		case k.Expires == 0 || k.Expires-k.Created > Millis(MaxNonSigningLength.Milliseconds()):
			return fault.Of(ErrMalformed, "a non-signing key must expire within 30 days")
		}
	}
	return checkScopes("API key", k.Scopes)
}

func checkScopes(what string, scopes []Scope) error {
	if len(scopes) == 0 || len(scopes) > MaxScopes {
		return fault.Of(ErrMalformed, "%s has 1 to %d scopes, not %d", what, MaxScopes, len(scopes))
	}
	for _, s := range scopes {
		if s == ScopeAll {
			continue
		}
		ok := func(r rune) bool { return r >= 'a' && r <= 'z' || r == '.' || r == '_' }
		if len(s) == 0 || len(s) > MaxScopeSize || strings.ContainsFunc(string(s), func(r rune) bool { return !ok(r) }) {
			return fault.Of(ErrMalformed, "%s: there is no scope %.40q", what, s)
		}
	}
	return nil
}

type apiKeyWire struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Public  PublicKey
	Kind    KeyKind
	Signing bool
	Owner   PublicKey
	Org     string
	Name    string
	Scopes  []Scope
	Created Millis
	Expires Millis
	Revoked Millis
}

// Encode returns the canonical bytes, for a store.
func (k *APIKey) Encode() ([]byte, error) {
	return codec.Encode(apiKeyWire{
		Version: version, Public: k.Public, Kind: k.Kind, Signing: k.Signing, Owner: k.Owner, Org: k.Org,
		Name: k.Name, Scopes: k.Scopes, Created: k.Created, Expires: k.Expires, Revoked: k.Revoked,
	}), nil
}

// DecodeAPIKey decodes what [APIKey.Encode] gives, and nothing else.
func DecodeAPIKey(b []byte) (*APIKey, error) {
	var w apiKeyWire
	if err := codec.DecodeVersioned(b, MaxAPIKeySize, "API key", &w); err != nil {
		return nil, err
	}
	k := &APIKey{
		Public: w.Public, Kind: w.Kind, Signing: w.Signing, Owner: w.Owner, Org: w.Org, Name: w.Name,
		Scopes: w.Scopes, Created: w.Created, Expires: w.Expires, Revoked: w.Revoked,
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return k, nil
}

// An APISecret is the private half of a signing API key. It prints as "[secret]".
type APISecret struct {
	kind   KeyKind
	signer signer
}

// Public returns the public key that names the API key.
func (s *APISecret) Public() PublicKey { return s.signer.public() }

// Kind returns the kind of the API key.
func (s *APISecret) Kind() KeyKind { return s.kind }

// Key returns the text of the API key that the secret belongs to.
func (s *APISecret) Key() string { return KeyText(s.kind, s.Public()) }

// Text returns the secret itself, "wsu…", to be shown once.
func (s *APISecret) Text() string { return keyText(secretPrefix, s.kind, [32]byte(s.signer.seed())) }

// Secret returns the text form for a key file: see [ParseAPISecret].
func (s *APISecret) Secret() Secret { t, _ := SecretOf([]byte(s.Text())); return t }

// Format prints "[secret]" for every verb.
func (APISecret) Format(f fmt.State, _ rune) { redact(f) }

// String returns "[secret]".
func (APISecret) String() string { return redacted }

// LogValue returns "[secret]".
func (APISecret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]"; JSON uses it too.
func (APISecret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
