package keys

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// DomainMint is the domain of mints.
const DomainMint = "weft/1/mint"

// Bounds of a mint.
const (
	MaxMintSize      = 2048             // bytes encoded
	MaxAuthoritySize = 255              // bytes
	ChallengeSize    = 40               // bytes
	MaxTokenLife     = 15 * time.Minute // of a token
)

// The kinds of mints, in their encoding.
const (
	mintByKey  = 1 // the subject is an account key
	mintByUser = 2 // the subject is a user, with a grant of a user group key
)

// A Mint asks a hub for a token. Its subject has signed it: an account key, or the identity of a
// user that shows a grant. Who has somebody sign for a hub of his own cannot use that elsewhere, as
// it names the hub in three ways.
type Mint struct {
	Challenge [ChallengeSize]byte // of the hub, which takes it once
	Authority string              // of the URL that the client calls, as it is called
	Audience  PublicKey           // the hub's device signing key
	Subject   PublicKey           // who signs
	Client    []byte              // SHA-256 thumbprint of the key that the token is bound to; none
	Scopes    []Scope
	Seconds   uint32 // that the token is to hold, 1 to 900
	Grant     *Grant // for a user; nil for an account key
	Signature Signature
}

// MintOptions say what token to ask for.
type MintOptions struct {
	Challenge [ChallengeSize]byte
	Authority string
	Audience  PublicKey
	Client    []byte        // nil: the token is bound to nothing
	Scopes    []Scope       // nil means all that key and grant give
	Life      time.Duration // 0 means MaxTokenLife
}

// Mint asks for a token of an account key, for its owner.
func (s *APISecret) Mint(o MintOptions) (*Mint, error) {
	if s.kind != KindAccount {
		return nil, fault.Of(ErrInvalid, "a user group key acts for users: have one sign with [Identity.Mint]")
	}
	m, err := newMint(s.Public(), nil, o)
	if err == nil {
		m.Signature = Sign(*s.signer.key, DomainMint, codec.Encode(m.body()))
	}
	return m, err
}

// Mint asks for a token for the identity as a user, to whom the grant gives that.
func (id *Identity) Mint(g *Grant, o MintOptions) (*Mint, error) {
	if g == nil {
		return nil, fault.Of(ErrInvalid, "a user shows a grant")
	}
	m, err := newMint(id.Public(), g, o)
	if err == nil {
		m.Signature = id.Sign(DomainMint, codec.Encode(m.body()))
	}
	return m, err
}

func newMint(subject PublicKey, g *Grant, o MintOptions) (*Mint, error) {
	life := o.Life
	if life == 0 {
		life = MaxTokenLife
	}
	if life < time.Second || life > MaxTokenLife {
		return nil, fault.Of(ErrInvalid, "a token holds for a second to %v, not %v", MaxTokenLife, life)
	}
	m := &Mint{
		Challenge: o.Challenge, Authority: o.Authority, Audience: o.Audience, Subject: subject, Client: slices.Clone(o.Client),
		Scopes: slices.Clone(o.Scopes), Seconds: uint32(life / time.Second), Grant: g,
	}
	if m.Scopes == nil {
		m.Scopes = []Scope{ScopeAll}
	}
	if err := m.check(); err != nil {
		return nil, fault.Of(ErrInvalid, "%v", err)
	}
	return m, nil
}

// check looks at everything but signatures and times.
func (m *Mint) check() error {
	if m.Authority == "" || len(m.Authority) > MaxAuthoritySize || strings.ContainsFunc(m.Authority, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.Of(ErrMalformed, "a request for a token names the authority that is called, in ASCII")
	}
	if err := m.Audience.Check(); err != nil {
		return fmt.Errorf("audience: %w", err)
	}
	if err := m.Subject.Check(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if len(m.Client) != 0 && len(m.Client) != 32 {
		return fault.Of(ErrMalformed, "the thumbprint of a client key has 32 bytes")
	}
	if m.Seconds < 1 || time.Duration(m.Seconds)*time.Second > MaxTokenLife {
		return fault.Of(ErrMalformed, "a token holds for a second to %v", MaxTokenLife)
	}
	if m.Grant != nil {
		if err := m.Grant.check(); err != nil {
			return err
		}
	}
	return checkScopes("request for a token", m.Scopes)
}

type mintBody struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     canonical.Suite
	Kind      uint8
	Challenge [ChallengeSize]byte
	Authority string
	Audience  PublicKey
	Subject   PublicKey
	Client    []byte
	Scopes    []Scope
	Seconds   uint32
	Grant     []byte
}

type mintWire struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     canonical.Suite
	Kind      uint8
	Challenge [ChallengeSize]byte
	Authority string
	Audience  PublicKey
	Subject   PublicKey
	Client    []byte
	Scopes    []Scope
	Seconds   uint32
	Grant     []byte
	Signature Signature
}

func (m *Mint) body() mintBody {
	b := mintBody{
		Version: version, Suite: suite, Kind: mintByKey, Challenge: m.Challenge, Authority: m.Authority, Audience: m.Audience,
		Subject: m.Subject, Client: m.Client, Scopes: m.Scopes, Seconds: m.Seconds,
	}
	if m.Grant != nil {
		b.Kind, b.Grant = mintByUser, codec.Encode(m.Grant.wire())
	}
	return b
}

// Encode returns the canonical bytes.
func (m *Mint) Encode() ([]byte, error) {
	b := m.body()
	return codec.Encode(mintWire{
		Version: b.Version, Suite: b.Suite, Kind: b.Kind, Challenge: b.Challenge, Authority: b.Authority, Audience: b.Audience,
		Subject: b.Subject, Client: b.Client, Scopes: b.Scopes, Seconds: b.Seconds, Grant: b.Grant, Signature: m.Signature,
	}), nil
}

// DecodeMint decodes what [Mint.Encode] gives, and nothing else. It checks neither signatures nor
// times: that is for [Policy.Admit].
func DecodeMint(b []byte) (*Mint, error) {
	var w mintWire
	if err := codec.DecodeVersioned(b, MaxMintSize, "request for a token", &w); err != nil {
		return nil, err
	}
	if err := checkSuite(w.Version, w.Suite, "request for a token"); err != nil {
		return nil, err
	}
	m := &Mint{
		Challenge: w.Challenge, Authority: w.Authority, Audience: w.Audience, Subject: w.Subject, Client: w.Client,
		Scopes: w.Scopes, Seconds: w.Seconds, Signature: w.Signature,
	}
	switch {
	case w.Kind == mintByKey && len(w.Grant) == 0:
	case w.Kind == mintByUser:
		var err error
		if m.Grant, err = DecodeGrant(w.Grant); err != nil {
			return nil, err
		}
	default:
		return nil, fault.Of(ErrVersion, "a request for a token of kind %d is unknown to this release", w.Kind)
	}
	return m, m.check()
}

// verify reports whether the subject has signed the mint.
func (m *Mint) verify() bool {
	return Verify(m.Subject, DomainMint, m.Signature, codec.Encode(m.body()))
}
