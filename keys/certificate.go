package keys

import (
	"time"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// Maxima of a certificate.
const (
	MaxCertificateSize = 512 // bytes encoded
	MaxNameSize        = 128 // bytes of UTF-8 in a name
)

// maxSkew is how far ahead of ours a signer's clock may be.
const maxSkew = 5 * time.Minute

// A Certificate is an identity's signed statement that a device is its own.
type Certificate struct {
	Identity  PublicKey
	Sign      PublicKey // of the device; also its libp2p host key
	Seal      [32]byte  // of the device, X25519
	Issued    Millis
	Expires   Millis // 0 means never
	Name      string
	Signature Signature
}

// certificateBody is what is signed; certificateWire is what travels.
type certificateBody struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8
	Suite    canonical.Suite
	Identity PublicKey
	Sign     PublicKey
	Seal     [32]byte
	Issued   Millis
	Expires  Millis
	Name     string
}

type certificateWire struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     canonical.Suite
	Identity  PublicKey
	Sign      PublicKey
	Seal      [32]byte
	Issued    Millis
	Expires   Millis
	Name      string
	Signature Signature
}

func (c *Certificate) body() certificateBody {
	return certificateBody{
		Version: version, Suite: suite, Identity: c.Identity, Sign: c.Sign, Seal: c.Seal,
		Issued: c.Issued, Expires: c.Expires, Name: c.Name,
	}
}

func (c *Certificate) wire() certificateWire {
	return certificateWire{
		Version: version, Suite: suite, Identity: c.Identity, Sign: c.Sign, Seal: c.Seal,
		Issued: c.Issued, Expires: c.Expires, Name: c.Name, Signature: c.Signature,
	}
}

func (w *certificateWire) certificate() (*Certificate, error) {
	c, err := w.kept()
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// kept is certificate without what check looks at.
func (w *certificateWire) kept() (*Certificate, error) {
	if err := checkSuite(w.Version, w.Suite, "certificate"); err != nil {
		return nil, err
	}
	return &Certificate{
		Identity: w.Identity, Sign: w.Sign, Seal: w.Seal,
		Issued: w.Issued, Expires: w.Expires, Name: w.Name, Signature: w.Signature,
	}, nil
}

// Device returns the public keys of the certified device.
func (c *Certificate) Device() DevicePublic { return DevicePublic{Sign: c.Sign, Seal: c.Seal} }

// check looks at everything but the signature and the present time.
func (c *Certificate) check() error {
	if err := c.Identity.Check(); err != nil {
		return err
	}
	if err := c.Sign.Check(); err != nil {
		return err
	}
	return checkTimesAndName("certificate", c.Issued, c.Expires, c.Name)
}

func checkTimesAndName(what string, issued, expires Millis, name string) error {
	switch {
	case issued == 0 || issued > maxMillis || expires > maxMillis:
		return fault.Of(ErrMalformed, "%s: time out of range", what)
	case expires != 0 && expires <= issued:
		return fault.Of(ErrMalformed, "%s expires before it begins", what)
	case len(name) > MaxNameSize || !utf8.ValidString(name):
		return fault.Of(ErrMalformed, "%s: a name has at most %d bytes of UTF-8", what, MaxNameSize)
	}
	return nil
}

// Encode returns the canonical bytes.
func (c *Certificate) Encode() ([]byte, error) {
	if c == nil { // a device that has none, such as one that is delegated
		return nil, fault.Of(ErrInvalid, "there is no certificate of the device")
	}
	return codec.Encode(c.wire()), nil
}

// DecodeCertificate decodes what [Certificate.Encode] gives, and nothing else.
// It does not check the signature or the time: see [Certificate.Verify].
func DecodeCertificate(b []byte) (*Certificate, error) {
	c, err := decodeCertificate(b)
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// DecodeKeptCertificate is [DecodeCertificate] for what that has taken before, such as what a
// store holds: it does not look again whether the keys are points that nobody else can sign
// for, which takes most of the time.
func DecodeKeptCertificate(b []byte) (*Certificate, error) {
	c, err := decodeCertificate(b)
	if err != nil {
		return nil, err
	}
	return c, checkTimesAndName("certificate", c.Issued, c.Expires, c.Name)
}

// decodeCertificate is DecodeCertificate without what check looks at.
func decodeCertificate(b []byte) (*Certificate, error) {
	var w certificateWire
	if err := codec.DecodeVersioned(b, MaxCertificateSize, "certificate", &w); err != nil {
		return nil, err
	}
	return w.kept()
}

// Verify checks the signature and that the certificate is valid at now. It
// returns a [Refusal] with the code bad_signature, certificate_expired or
// credential_not_yet_valid.
func (c *Certificate) Verify(now time.Time) error {
	if err := c.VerifySignature(); err != nil {
		return err
	}
	if c.Issued.Time().After(now.Add(maxSkew)) {
		return refuse(CodeCredentialNotYetValid, "The device certificate begins at "+c.Issued.String()+": set the clocks right.")
	}
	if c.Expires != 0 && !now.Before(c.Expires.Time()) {
		return refuse(CodeCertificateExpired, "The device certificate expired at "+c.Expires.String()+": have the identity certify the device again.")
	}
	return nil
}

// VerifySignature checks all of the certificate but the present time, for
// certificates that were used in the past, as in logs.
func (c *Certificate) VerifySignature() error {
	if c.check() == nil && Verify(c.Identity, DomainCertificate, c.Signature, codec.Encode(c.body())) {
		return nil
	}
	return refuse(CodeBadSignature, "The device certificate is not signed by the identity that it names: present the device's own certificate.")
}
