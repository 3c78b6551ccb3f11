package keys

import (
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

// MaxDelegationSize bounds a delegation, in bytes encoded.
const MaxDelegationSize = 512

// Rights are what a delegated device may do for its identity.
type Rights uint64

// The rights that there are. Each delegation has [RightWrite]; no other right exists.
const (
	RightCreate Rights = 1 // begin threads of which the identity is the owner
	RightWrite  Rights = 2 // take part in its threads: read, and write documents
	RightAdmit  Rights = 4 // add devices that the identity has certified

	allRights = RightCreate | RightWrite | RightAdmit
)

// Has reports whether r has every right of o.
func (r Rights) Has(o Rights) bool { return r&o == o }

// A Delegation is an identity's signed statement that somebody else's device, a hub's, acts
// for it in threads, and how far. It is no certificate: nothing that asks for one takes it.
type Delegation struct {
	Identity   PublicKey
	Sign       PublicKey // of the device
	Seal       [32]byte  // of the device, X25519
	Rights     Rights
	Generation uint64 // which of the key pairs that its holder derives for the identity; counts from 1
	Issued     Millis
	Expires    Millis // when doors take no more from the device; 0 means never
	Name       string
	Signature  Signature
}

// delegationBody is what is signed; delegationWire is what travels.
type delegationBody struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Suite      canonical.Suite
	Identity   PublicKey
	Sign       PublicKey
	Seal       [32]byte
	Rights     Rights
	Generation uint64
	Issued     Millis
	Expires    Millis
	Name       string
}

type delegationWire struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Suite      canonical.Suite
	Identity   PublicKey
	Sign       PublicKey
	Seal       [32]byte
	Rights     Rights
	Generation uint64
	Issued     Millis
	Expires    Millis
	Name       string
	Signature  Signature
}

func (d *Delegation) body() delegationBody {
	return delegationBody{
		Version: version, Suite: suite, Identity: d.Identity, Sign: d.Sign, Seal: d.Seal,
		Rights: d.Rights, Generation: d.Generation, Issued: d.Issued, Expires: d.Expires, Name: d.Name,
	}
}

// Device returns the public keys of the delegated device.
func (d *Delegation) Device() DevicePublic { return DevicePublic{Sign: d.Sign, Seal: d.Seal} }

// check looks at everything but the signature and the present time.
func (d *Delegation) check() error {
	if err := d.Identity.Check(); err != nil {
		return err
	}
	if err := d.Sign.Check(); err != nil {
		return err
	}
	switch {
	case d.Rights&^allRights != 0:
		return fault.Of(ErrVersion, "a delegation has a right that this release does not know")
	case !d.Rights.Has(RightWrite):
		return fault.Of(ErrMalformed, "a delegation without the right to write")
	case d.Generation == 0:
		return fault.Of(ErrMalformed, "the generations of a delegation count from 1")
	}
	return checkTimesAndName("delegation", d.Issued, d.Expires, d.Name)
}

// Encode returns the canonical bytes.
func (d *Delegation) Encode() ([]byte, error) {
	return codec.Encode(delegationWire{
		Version: version, Suite: suite, Identity: d.Identity, Sign: d.Sign, Seal: d.Seal,
		Rights: d.Rights, Generation: d.Generation, Issued: d.Issued, Expires: d.Expires, Name: d.Name, Signature: d.Signature,
	}), nil
}

// DecodeDelegation decodes what [Delegation.Encode] gives, and nothing else. It does not
// check the signature or the time: see [Delegation.Verify].
func DecodeDelegation(b []byte) (*Delegation, error) {
	var w delegationWire
	if err := codec.DecodeVersioned(b, MaxDelegationSize, "delegation", &w); err != nil {
		return nil, err
	}
	if err := checkSuite(w.Version, w.Suite, "delegation"); err != nil {
		return nil, err
	}
	d := &Delegation{
		Identity: w.Identity, Sign: w.Sign, Seal: w.Seal, Rights: w.Rights, Generation: w.Generation,
		Issued: w.Issued, Expires: w.Expires, Name: w.Name, Signature: w.Signature,
	}
	return d, d.check()
}

// VerifySignature checks all of the delegation but the present time: what was accepted
// while it was valid stays.
func (d *Delegation) VerifySignature() error {
	if d.check() == nil && Verify(d.Identity, DomainDelegation, d.Signature, codec.Encode(d.body())) {
		return nil
	}
	return refuse(CodeBadSignature, "The delegation is not signed by the identity that it names: have that sign it.")
}

// Verify checks the signature and that the delegation is valid at now. It returns a
// [Refusal] with the code bad_signature, certificate_expired or credential_not_yet_valid.
func (d *Delegation) Verify(now time.Time) error {
	if err := d.VerifySignature(); err != nil {
		return err
	}
	if d.Issued.Time().After(now.Add(maxSkew)) {
		return refuse(CodeCredentialNotYetValid, "The delegation begins at "+d.Issued.String()+": set the clocks right.")
	}
	if d.Expires != 0 && !now.Before(d.Expires.Time()) {
		return refuse(CodeCertificateExpired, "The delegation expired at "+d.Expires.String()+": have the identity delegate again.")
	}
	return nil
}

// DelegateOptions say what a delegation states besides the keys.
type DelegateOptions struct {
	Rights     Rights    // [RightWrite] is always given
	Generation uint64    // 0 means 1
	Name       string    // of the device, for people, at most 128 bytes of UTF-8
	Issued     time.Time // required
	Expires    time.Time // zero means never
}

// Delegate signs a delegation of the identity to a device that is somebody else's.
func (id *Identity) Delegate(to DevicePublic, opt DelegateOptions) (*Delegation, error) {
	d := &Delegation{
		Identity: id.Public(), Sign: to.Sign, Seal: to.Seal, Rights: opt.Rights | RightWrite, Generation: max(opt.Generation, 1),
		Issued: MillisOf(opt.Issued), Expires: MillisOf(opt.Expires), Name: opt.Name,
	}
	if !opt.Expires.IsZero() && d.Expires == 0 {
		return nil, fault.Of(ErrInvalid, "delegation expiry %v is out of range", opt.Expires)
	}
	if err := d.check(); err != nil {
		return nil, fault.Of(ErrInvalid, "%v", err)
	}
	d.Signature = id.Sign(DomainDelegation, codec.Encode(d.body()))
	return d, nil
}
