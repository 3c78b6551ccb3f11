package keys

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// Maxima of what a peer presents, in bytes encoded.
const (
	MaxGrantSize      = 1024
	MaxCredentialSize = 4096
)

// AnyAudience returns the audience that, given on purpose, lets a grant be presented to every peer that
// knows the key: 32 bytes of 0xff, which are no public key.
func AnyAudience() PublicKey {
	var k PublicKey
	for i := range k {
		k[i] = 0xff
	}
	return k
}

// A Grant lets a user use an API key at a peer, for a while. The key's holder,
// or the developer's backend, signs it with the key's secret.
type Grant struct {
	Key       PublicKey // of the API key
	User      PublicKey // identity that may use it
	Audience  PublicKey // peer (its device signing key) that may accept it, or AnyAudience
	Scopes    []Scope
	Issued    Millis
	Expires   Millis // required
	Nonce     [16]byte
	Signed    bool      // false: it names a non-signing key
	Signature Signature // zero unless Signed
}

// GrantOptions say what to grant.
type GrantOptions struct {
	User     PublicKey // required
	Audience PublicKey // required; AnyAudience for every peer
	Scopes   []Scope   // nil means DefaultScopes
	Issued   time.Time // required
	Expires  time.Time // required
}

// Grant signs a grant of the key.
func (s *APISecret) Grant(opt GrantOptions) (*Grant, error) {
	g, err := newGrant(s.Public(), opt)
	if err != nil {
		return nil, err
	}
	g.Signed = true
	g.Signature = Sign(*s.signer.key, DomainGrant, codec.Encode(g.body()))
	return g, nil
}

// UnsignedGrant names a non-signing key. Only such a key accepts it.
func UnsignedGrant(key PublicKey, opt GrantOptions) (*Grant, error) { return newGrant(key, opt) }

func newGrant(key PublicKey, opt GrantOptions) (*Grant, error) {
	g := &Grant{
		Key: key, User: opt.User, Audience: opt.Audience, Scopes: slices.Clone(opt.Scopes),
		Issued: MillisOf(opt.Issued), Expires: MillisOf(opt.Expires),
	}
	if g.Scopes == nil {
		g.Scopes = DefaultScopes()
	}
	_, _ = rand.Read(g.Nonce[:]) // never fails
	if err := g.check(); err != nil {
		return nil, fault.Of(ErrInvalid, "%v", err)
	}
	return g, nil
}

type grantBody struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8
	Suite    canonical.Suite
	Key      PublicKey
	User     PublicKey
	Audience PublicKey
	Scopes   []Scope
	Issued   Millis
	Expires  Millis
	Nonce    [16]byte
}

type grantWire struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     canonical.Suite
	Key       PublicKey
	User      PublicKey
	Audience  PublicKey
	Scopes    []Scope
	Issued    Millis
	Expires   Millis
	Nonce     [16]byte
	Signature []byte // 64 bytes, or none
}

func (g *Grant) body() grantBody {
	return grantBody{
		Version: version, Suite: suite, Key: g.Key, User: g.User, Audience: g.Audience,
		Scopes: g.Scopes, Issued: g.Issued, Expires: g.Expires, Nonce: g.Nonce,
	}
}

func (g *Grant) wire() grantWire {
	w := grantWire{
		Version: version, Suite: suite, Key: g.Key, User: g.User, Audience: g.Audience,
		Scopes: g.Scopes, Issued: g.Issued, Expires: g.Expires, Nonce: g.Nonce,
	}
	if g.Signed {
		w.Signature = g.Signature[:]
	}
	return w
}

func (w *grantWire) grant() (*Grant, error) {
	if err := checkSuite(w.Version, w.Suite, "grant"); err != nil {
		return nil, err
	}
	g := &Grant{
		Key: w.Key, User: w.User, Audience: w.Audience, Scopes: w.Scopes,
		Issued: w.Issued, Expires: w.Expires, Nonce: w.Nonce, Signed: len(w.Signature) > 0,
	}
	if g.Signed && len(w.Signature) != len(g.Signature) {
		return nil, fault.Of(ErrMalformed, "the signature of a grant has 64 bytes")
	}
	copy(g.Signature[:], w.Signature)
	return g, g.check()
}

// check looks at everything but the signature and the present time.
func (g *Grant) check() error {
	if err := g.Key.Check(); err != nil {
		return fmt.Errorf("grant: key: %w", err)
	}
	if err := g.User.Check(); err != nil {
		return fmt.Errorf("grant: user: %w", err)
	}
	if g.Audience != AnyAudience() {
		if err := g.Audience.Check(); err != nil {
			return fmt.Errorf("grant: audience: %w", err)
		}
	}
	if g.Expires == 0 {
		return fault.Of(ErrMalformed, "a grant must expire")
	}
	if err := checkTimesAndName("grant", g.Issued, g.Expires, ""); err != nil {
		return err
	}
	return checkScopes("grant", g.Scopes)
}

// Encode returns the canonical bytes.
func (g *Grant) Encode() ([]byte, error) { return codec.Encode(g.wire()), nil }

// DecodeGrant decodes what [Grant.Encode] gives, and nothing else. It checks
// neither signature nor time: that is for [Policy.Decide].
func DecodeGrant(b []byte) (*Grant, error) {
	var w grantWire
	if err := codec.DecodeVersioned(b, MaxGrantSize, "grant", &w); err != nil {
		return nil, err
	}
	return w.grant()
}

// verify reports whether the grant is signed by the key that it names.
func (g *Grant) verify() bool {
	return g.Signed && Verify(g.Key, DomainGrant, g.Signature, codec.Encode(g.body()))
}

// A Credential is what a peer presents: that a user may use a key, and that the
// peer is a device of that user.
type Credential struct {
	Grant       *Grant
	Certificate *Certificate
}

type credentialWire struct {
	_           struct{} `cbor:",toarray"`
	Version     uint8
	Grant       grantWire
	Certificate certificateWire
}

// Encode returns the canonical bytes.
func (c *Credential) Encode() ([]byte, error) {
	if c.Grant == nil || c.Certificate == nil {
		return nil, fault.Of(ErrInvalid, "a credential has a grant and a certificate")
	}
	return codec.Encode(credentialWire{Version: version, Grant: c.Grant.wire(), Certificate: c.Certificate.wire()}), nil
}

// DecodeCredential decodes what [Credential.Encode] gives, and nothing else. It
// checks neither signatures nor times: that is for [Policy.Decide].
func DecodeCredential(b []byte) (*Credential, error) {
	var w credentialWire
	if err := codec.DecodeVersioned(b, MaxCredentialSize, "credential", &w); err != nil {
		return nil, err
	}
	g, err := w.Grant.grant()
	if err != nil {
		return nil, err
	}
	c, err := w.Certificate.certificate()
	if err != nil {
		return nil, err
	}
	return &Credential{Grant: g, Certificate: c}, nil
}
