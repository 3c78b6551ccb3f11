package format

import (
	"crypto/rand"
	"fmt"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	semanticsVersion = 1
	maxGenesis       = 1 << 10

	delegationArray = 0x80 | 11 // the first byte of a delegation
)

// A Genesis is what a thread begins with; the hash of its signed bytes is the
// thread's ID.
type Genesis struct {
	Owner       keys.PublicKey    // identity
	Certificate *keys.Certificate // of the first device; nil if that is a delegated one
	Delegation  *keys.Delegation  // of the first device, with the right to create; nil if that is a full one
	Salt        [32]byte
	Semantics   uint64         // version of operators and rules that everybody folds by
	Rules       clock.Hash     // of the sealed rules; zero while there are none
	Read        clock.Hash     // commitment to the read key of the first epoch
	Service     clock.Hash     // commitment to its service key
	Recovery    keys.PublicKey // the first recovery key; zero: there is none
	Sealed      []byte         // the read key of the first epoch, to the recovery key
	Time        clock.Time
}

// NewGenesis returns the genesis of a new thread, signed, and its keys; recovery is its
// recovery key, zero for none.
func NewGenesis(device *keys.Device, cert *keys.Certificate, recovery keys.PublicKey, now clock.Time) ([]byte, Keys, error) {
	return newGenesis(device, Genesis{Owner: cert.Identity, Certificate: cert, Recovery: recovery, Time: now})
}

// NewDelegatedGenesis is [NewGenesis] by a delegated device: the owner is the identity that
// delegates.
func NewDelegatedGenesis(device *keys.Device, d *keys.Delegation, recovery keys.PublicKey, now clock.Time) ([]byte, Keys, error) {
	return newGenesis(device, Genesis{Owner: d.Identity, Delegation: d, Recovery: recovery, Time: now})
}

func newGenesis(device *keys.Device, g Genesis) ([]byte, Keys, error) {
	read, service := NewSecretKey(), NewSecretKey()
	g.Semantics, g.Read, g.Service = semanticsVersion, CommitTo(read), CommitTo(service)
	if !g.Recovery.IsZero() {
		var err error
		if g.Sealed, err = g.sealFirst(read); err != nil {
			return nil, Keys{}, fmt.Errorf("genesis: %w", err)
		}
	}
	_, _ = rand.Read(g.Salt[:])
	b, err := g.encode()
	if err != nil {
		return nil, Keys{}, err
	}
	sig := device.Sign(domainGenesis, b)
	signed := encodeSigned(b, sig)
	return signed, FirstKeys(ThreadIDOf(signed), read, service), nil
}

// ThreadIDOf returns the ID of the thread that a signed genesis begins.
func ThreadIDOf(signed []byte) ThreadID { return ThreadID(digest(domainThread, signed)) }

// signedGenesis is what the thread ID is the hash of.
type signedGenesis struct {
	_         struct{} `cbor:",toarray"`
	Genesis   []byte
	Signature keys.Signature
}

type genesisWire struct {
	_           struct{} `cbor:",toarray"`
	Version     uint64
	Suite       canonical.Suite
	Owner       keys.PublicKey
	Certificate []byte // an array of 9; or a delegation, one of 11
	Salt        [32]byte
	Semantics   uint64
	Rules       clock.Hash
	Read        clock.Hash
	Service     clock.Hash
	Recovery    keys.PublicKey
	Sealed      []byte
	Time        clock.Time
}

func encodeSigned(b []byte, sig keys.Signature) []byte {
	return codec.Encode(&signedGenesis{Genesis: b, Signature: sig})
}

// encode returns the bytes that the device signs.
func (g *Genesis) encode() ([]byte, error) {
	var first interface{ Encode() ([]byte, error) } = g.Certificate
	if g.Delegation != nil {
		first = g.Delegation
	}
	cert, err := first.Encode()
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return codec.Encode(&genesisWire{
		Version: thisVersion, Suite: thisSuite, Owner: g.Owner, Certificate: cert, Salt: g.Salt, Semantics: g.Semantics,
		Rules: g.Rules, Read: g.Read, Service: g.Service, Recovery: g.Recovery, Sealed: g.Sealed, Time: g.Time,
	}), nil
}

// DecodeGenesis parses and verifies a signed genesis. The signature is by the
// certified device, whose certificate is by the owner.
func DecodeGenesis(signed []byte) (*Genesis, error) {
	if len(signed) > maxGenesis {
		return nil, fault.Of(ErrTooLarge, "genesis of %d bytes", len(signed))
	}
	var w signedGenesis
	if err := codec.Decode(signed, "signed genesis", &w); err != nil {
		return nil, err
	}
	g, err := decodeGenesisBody(w.Genesis)
	if err != nil {
		return nil, err
	}
	if err := g.checkFirst(); err != nil {
		return nil, err
	}
	if !keys.Verify(g.Device(), domainGenesis, w.Signature, w.Genesis) {
		return nil, fault.Of(ErrMalformed, "genesis is not signed by the first device")
	}
	return g, nil
}

// Device returns the first device.
func (g *Genesis) Device() keys.PublicKey {
	if g.Delegation != nil {
		return g.Delegation.Sign
	}
	return g.Certificate.Sign
}

// checkFirst verifies what makes the first device the owner's.
func (g *Genesis) checkFirst() error {
	var owner keys.PublicKey
	var err error
	if d := g.Delegation; d != nil {
		if owner, err = d.Identity, d.VerifySignature(); err == nil && !d.Rights.Has(keys.RightCreate) {
			return fault.Of(ErrMalformed, "genesis by a delegated device without the right to create")
		}
	} else {
		owner, err = g.Certificate.Identity, g.Certificate.VerifySignature()
	}
	switch {
	case err != nil:
		return fault.Of(ErrMalformed, "genesis: %w", err)
	case owner != g.Owner:
		return fault.Of(ErrMalformed, "the certificate of the genesis is of another identity")
	}
	return nil
}

func decodeGenesisBody(b []byte) (*Genesis, error) {
	var w genesisWire
	if err := codec.DecodeVersioned(b, maxGenesis, "genesis", &w); err != nil {
		return nil, err
	}
	if err := codec.CheckSuite(w.Suite, "genesis"); err != nil {
		return nil, err
	}
	if w.Semantics != semanticsVersion {
		return nil, fault.Of(ErrVersion, "semantics version %d is unknown to this release", w.Semantics)
	}
	var cert *keys.Certificate
	var d *keys.Delegation
	var err error
	if len(w.Certificate) > 0 && w.Certificate[0] == delegationArray {
		d, err = keys.DecodeDelegation(w.Certificate)
	} else {
		cert, err = keys.DecodeCertificate(w.Certificate)
	}
	if err != nil {
		return nil, fault.Of(ErrMalformed, "genesis: %w", err)
	}
	if err := checkRecovery(w.Recovery, w.Sealed); err != nil {
		return nil, err
	}
	return &Genesis{
		Owner: w.Owner, Certificate: cert, Delegation: d, Salt: w.Salt, Semantics: w.Semantics,
		Rules: w.Rules, Read: w.Read, Service: w.Service, Recovery: w.Recovery, Sealed: w.Sealed, Time: w.Time,
	}, nil
}

// checkRecovery says of a recovery key, and of what is sealed to it, whether they are both
// there or neither.
func checkRecovery(key keys.PublicKey, sealed []byte) error {
	if key.IsZero() {
		if len(sealed) > 0 {
			return fault.Of(ErrMalformed, "genesis: a key is sealed to no recovery key")
		}
		return nil
	}
	if err := key.Check(); err != nil {
		return fault.Of(ErrMalformed, "genesis: recovery key: %w", err)
	}
	if len(sealed) != len(SecretKey{})+keys.SealOverhead {
		return fault.Of(ErrMalformed, "genesis: the key that is sealed to the recovery key has %d bytes", len(sealed))
	}
	return nil
}
