package net

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/cbor"
)

const (
	semanticsVersion = 1
	maxGenesis       = 1 << 10
)

// A genesis is what a thread begins with; the hash of its signed bytes is the
// thread's ID.
type genesis struct {
	Owner       keys.PublicKey // identity
	Certificate *keys.Certificate
	Salt        [32]byte
	Semantics   uint64     // version of operators and rules that everybody folds by
	Rules       clock.Hash // of the sealed rules; zero while there are none
	Read        clock.Hash // commitment to the read key of the first epoch
	Service     clock.Hash // commitment to its service key
	Time        clock.Time
}

// threadKeys are the secrets of one epoch. A relay has no read key.
type threadKeys struct {
	Epoch   clock.Hash
	Read    secretKey // zero if not held
	Service secretKey
}

func (k *threadKeys) canRead() bool { return k.Read != secretKey{} }

func newThreadKeys() threadKeys {
	var k threadKeys
	_, _ = rand.Read(k.Read[:]) // never fails: crypto/rand aborts the process instead
	_, _ = rand.Read(k.Service[:])
	return k
}

func commitTo(k secretKey) clock.Hash { return digest(domainKeyCommit, k[:]) }

// newGenesis returns the genesis of a new thread, signed, and its keys.
func newGenesis(device *keys.Device, cert *keys.Certificate, now clock.Time) ([]byte, threadKeys, error) {
	k := newThreadKeys()
	g := genesis{
		Owner: cert.Identity, Certificate: cert, Semantics: semanticsVersion,
		Read: commitTo(k.Read), Service: commitTo(k.Service), Time: now,
	}
	_, _ = rand.Read(g.Salt[:])
	b, err := g.encode()
	if err != nil {
		return nil, threadKeys{}, err
	}
	sig := device.Sign(domainGenesis, b)
	signed := encodeSigned(b, sig)
	k.Epoch = clock.Hash(threadID(signed))
	return signed, k, nil
}

func threadID(signed []byte) ThreadID { return ThreadID(digest(domainThread, signed)) }

func encodeSigned(b []byte, sig keys.Signature) []byte {
	return cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(nil, 2), b), sig[:])
}

func (g *genesis) encode() ([]byte, error) {
	cert, err := g.Certificate.Encode()
	if err != nil {
		return nil, fmt.Errorf("net: genesis: %w", err)
	}
	b := cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 10), formatVersion), formatSuite)
	b = cbor.AppendBytes(cbor.AppendBytes(b, g.Owner[:]), cert)
	b = cbor.AppendUint(cbor.AppendBytes(b, g.Salt[:]), g.Semantics)
	b = cbor.AppendBytes(cbor.AppendBytes(b, g.Rules[:]), g.Read[:])
	return cbor.AppendUint(cbor.AppendBytes(b, g.Service[:]), uint64(g.Time)), nil
}

// decodeGenesis parses and verifies a signed genesis. The signature is by the
// certified device, whose certificate is by the owner.
func decodeGenesis(signed []byte) (*genesis, error) {
	if len(signed) > maxGenesis {
		return nil, fmt.Errorf("%w: genesis of %d bytes", ErrTooLarge, len(signed))
	}
	r := cbor.NewReader(signed)
	r.Array(2)
	b := r.Bytes(maxGenesis)
	var sig keys.Signature
	r.Fixed(sig[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	g, err := decodeGenesisBody(b)
	if err != nil {
		return nil, err
	}
	if g.Certificate.Identity != g.Owner {
		return nil, fmt.Errorf("%w: genesis: certificate of another identity", ErrMalformed)
	}
	if err := g.Certificate.VerifySignature(); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	if !keys.Verify(g.Certificate.Sign, domainGenesis, sig, b) {
		return nil, fmt.Errorf("%w: genesis is not signed by the certified device", ErrMalformed)
	}
	return g, nil
}

func decodeGenesisBody(b []byte) (*genesis, error) {
	r := cbor.NewReader(b)
	r.Array(10)
	if err := checkFormat(r, "genesis"); err != nil {
		return nil, err
	}
	g := &genesis{}
	r.Fixed(g.Owner[:])
	cert := r.Bytes(keys.MaxCertificateSize)
	r.Fixed(g.Salt[:])
	g.Semantics = r.Uint()
	r.Fixed(g.Rules[:])
	r.Fixed(g.Read[:])
	r.Fixed(g.Service[:])
	g.Time = clock.Time(r.Uint())
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	var err error
	if g.Certificate, err = keys.DecodeCertificate(cert); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	if again, err := g.encode(); err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: genesis is not in canonical form", ErrMalformed)
	}
	if g.Semantics != semanticsVersion {
		return nil, fmt.Errorf("%w: semantics version %d", ErrVersion, g.Semantics)
	}
	return g, nil
}
