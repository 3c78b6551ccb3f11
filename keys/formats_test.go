package keys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/vectors"
)

// seedFrom returns 32 bytes that count up from b.
func seedFrom(t testing.TB, b byte) Secret {
	t.Helper()
	seed := make([]byte, 32)
	for i := range seed {
		seed[i] = b + byte(i)
	}
	s, err := SecretOf(seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVectors holds the formats of this package against testdata/vectors/keys.json.
func TestVectors(t *testing.T) {
	id, err1 := IdentityOf(seedFrom(t, 1))
	user, err2 := IdentityOf(seedFrom(t, 65))
	both, err3 := SecretOf(append(seedFrom(t, 2).Reveal(), seedFrom(t, 3).Reveal()...))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	device, err := DeviceOf(both)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_123)
	cert, err := id.Certify(device.Public(), CertifyOptions{Name: "Büro", Issued: at, Expires: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	delegation, err := id.Delegate(device.Public(), DelegateOptions{Rights: RightCreate | RightAdmit, Generation: 2, Name: "hub", Issued: at, Expires: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	api := &APISecret{kind: KindUser, signer: newSigner(seedFrom(t, 4).bytes())}
	grant := &Grant{
		Key: api.Public(), User: user.Public(), Audience: AnyAudience(), Scopes: []Scope{"thread", "inbox.send"},
		Issued: MillisOf(at), Expires: MillisOf(at.Add(time.Minute)), Nonce: [16]byte{1, 2, 3},
	}
	unsigned := *grant
	grant.Signed, grant.Signature = true, Sign(*api.signer.key, DomainGrant, codec.Encode(grant.body()))
	record := &APIKey{
		Public: api.Public(), Kind: KindUser, Signing: true, Owner: id.Public(), Org: "org", Name: "näme",
		Scopes: []Scope{"*"}, Created: MillisOf(at), Expires: MillisOf(at.Add(time.Hour)), Revoked: MillisOf(at.Add(time.Minute)),
	}
	credential := &Credential{Grant: grant, Certificate: cert}
	mint, err := user.Mint(grant, MintOptions{
		Challenge: [ChallengeSize]byte{1, 2, 3}, Authority: "hub.example:4443", Audience: device.Public().Sign,
		Client: bytes.Repeat([]byte{7}, 32), Scopes: []Scope{"db", "inbox.send"}, Life: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	account := &APISecret{kind: KindAccount, signer: newSigner(seedFrom(t, 4).bytes())}
	byKey, err := account.Mint(MintOptions{Authority: "localhost:4602", Audience: device.Public().Sign})
	if err != nil {
		t.Fatal(err)
	}

	encoded := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signed := func(key PublicKey, domain string, message []byte, s Signature) vectors.Gives {
		if !Verify(key, domain, s, message) {
			t.Errorf("%s: the signature is not valid", domain)
		}
		return vectors.Gives{"signed": []any{vectors.Gives{"key": key[:], "domain": domain, "message": message, "signature": s[:]}}}
	}
	all := []vectors.Vector{
		{
			Name: "identity", Gives: vectors.Gives{
				"seed": seedFrom(t, 1).Reveal(), "public": id.Public(), "did": id.Public().DID(),
				"sealingSecret": id.SealingKey().private(), "sealingPublic": id.SealingKey().Public(),
			},
		},
		{
			Name: "device", Gives: vectors.Gives{"secret": device.Secret().Reveal(), "sign": device.Public().Sign, "seal": device.Public().Seal},
		},
		{
			Name: "certificate", Values: cert, Bytes: encoded(cert.Encode()),
			Gives: signed(id.Public(), DomainCertificate, codec.Encode(cert.body()), cert.Signature),
			Back:  func(b []byte) (any, error) { return DecodeCertificate(b) },
		},
		{
			Name: "delegation", Values: delegation, Bytes: encoded(delegation.Encode()),
			Gives: signed(id.Public(), DomainDelegation, codec.Encode(delegation.body()), delegation.Signature),
			Back:  func(b []byte) (any, error) { return DecodeDelegation(b) },
		},
		{
			Name: "grant", Values: grant, Bytes: encoded(grant.Encode()),
			Gives: signed(api.Public(), DomainGrant, codec.Encode(grant.body()), grant.Signature),
			Back:  func(b []byte) (any, error) { return DecodeGrant(b) },
		},
		{
			Name: "grant without a signature", Values: &unsigned, Bytes: encoded(unsigned.Encode()),
			Back: func(b []byte) (any, error) { return DecodeGrant(b) },
		},
		{
			Name: "credential", Values: credential, Bytes: encoded(credential.Encode()),
			Back: func(b []byte) (any, error) { return DecodeCredential(b) },
		},
		{
			Name: "mint of a user", Values: mint, Bytes: encoded(mint.Encode()),
			Gives: signed(user.Public(), DomainMint, codec.Encode(mint.body()), mint.Signature),
			Back:  func(b []byte) (any, error) { return DecodeMint(b) },
		},
		{
			Name: "mint of an account key", Values: byKey, Bytes: encoded(byKey.Encode()),
			Gives: signed(account.Public(), DomainMint, codec.Encode(byKey.body()), byKey.Signature),
			Back:  func(b []byte) (any, error) { return DecodeMint(b) },
		},
		{
			Name: "API key", Values: record, Bytes: encoded(record.Encode()),
			Back: func(b []byte) (any, error) { return DecodeAPIKey(b) },
		},
	}
	for _, kind := range []KeyKind{KindAccount, KindUser} {
		s := &APISecret{kind: kind, signer: newSigner(seedFrom(t, 4).bytes())}
		k, public, err1 := ParseKey(s.Key())
		back, err2 := ParseAPISecret(s.Text())
		if err := errors.Join(err1, err2); err != nil || k != kind || public != s.Public() || back.Text() != s.Text() {
			t.Errorf("the texts of a key are not read as they are written: %v", err)
		}
		all = append(all, vectors.Vector{Name: "key text " + kind.String(), Gives: vectors.Gives{
			"seed": s.signer.seed(), "public": s.Public(), "key": s.Key(), "secret": s.Text(),
		}})
	}
	for _, to := range []struct {
		name string
		key  SealingKey
	}{{"seal to an identity", id.SealingKey()}, {"seal to a device", device.SealingKey()}} {
		info, aad, plain := []byte("info"), []byte("associated"), []byte("plaintext")
		b := vectors.Random(t, "keys", to.name, func(b []byte) bool {
			p, err := Open(to.key, info, aad, b)
			return err == nil && bytes.Equal(p, plain)
		}, func() []byte { return encoded(Seal(to.key.Public(), info, aad, plain)) })
		all = append(all, vectors.Vector{Name: to.name, Bytes: b, Gives: vectors.Gives{"sealed": []any{vectors.Gives{
			"secret": to.key.private(), "info": info, "aad": aad, "sealed": b, "plain": plain,
		}}}})
	}
	// One line of text each, which the file has as it is.
	plain := encoded(EncodeKeyFile(FileDevice, device.Secret(), nil))
	all = append(all, vectors.Vector{Name: "key file", Bytes: plain, Gives: vectors.Gives{"line": string(plain), "secret": device.Secret().Reveal()}})
	sealed := vectors.Random(t, "keys", "key file with a passphrase", func(b []byte) bool {
		s, err := DecodeKeyFile(b, FileIdentity, []byte("passphrase"))
		return err == nil && bytes.Equal(s.Reveal(), id.Secret().Reveal())
	}, func() []byte { return encoded(EncodeKeyFile(FileIdentity, id.Secret(), []byte("passphrase"))) })
	all = append(all, vectors.Vector{Name: "key file with a passphrase", Bytes: sealed, Gives: vectors.Gives{
		"line": string(sealed), "passphrase": "passphrase", "secret": id.Secret().Reveal(),
	}})
	if s, err := DecodeKeyFile(plain, FileDevice, nil); err != nil || hex.EncodeToString(s.Reveal()) != hex.EncodeToString(device.Secret().Reveal()) {
		t.Errorf("a key file: %v", err)
	}
	vectors.Check(t, "keys", "docs/design/keys.md", all...)
}
