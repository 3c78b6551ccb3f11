package keys_test

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/keys"
)

type encoder interface{ Encode() ([]byte, error) }

// same asserts that a decoder either fails or accepts the one canonical form.
func same[T encoder](t *testing.T, b []byte, decode func([]byte) (T, error)) {
	v, err := decode(b)
	if err != nil {
		return
	}
	if again, err := v.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("got %x, %v, want %x", again, err, b)
	}
}

type seeds struct{ certificate, grant, unsigned, credential, key []byte }

func samples(f testing.TB) seeds {
	id, d := keys.NewIdentity(), keys.NewDevice()
	k, s, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindUser, Owner: keys.NewIdentity().Public(), Name: "app", Org: "acme"})
	if err != nil {
		f.Fatal(err)
	}
	c, err := id.Certify(d.Public(), keys.CertifyOptions{Name: "phone ✓", Issued: now()})
	if err != nil {
		f.Fatal(err)
	}
	opt := keys.GrantOptions{User: id.Public(), Audience: keys.AnyAudience(), Issued: now(), Expires: now().Add(time.Hour)}
	g, err := s.Grant(opt)
	if err != nil {
		f.Fatal(err)
	}
	u, err := keys.UnsignedGrant(k.Public, opt)
	if err != nil {
		f.Fatal(err)
	}
	encode := func(e encoder) []byte {
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	return seeds{encode(c), encode(g), encode(u), encode(&keys.Credential{Grant: g, Certificate: c}), encode(k)}
}

func TestDecodersAcceptWhatIsEncoded(t *testing.T) {
	s := samples(t)
	if _, err := keys.DecodeCertificate(s.certificate); err != nil {
		t.Error(err)
	}
	for _, b := range [][]byte{s.grant, s.unsigned} {
		if _, err := keys.DecodeGrant(b); err != nil {
			t.Error(err)
		}
	}
	if _, err := keys.DecodeAPIKey(s.key); err != nil {
		t.Error(err)
	}
	c, err := keys.DecodeCredential(s.credential)
	if err != nil || c.Certificate.Verify(now()) != nil {
		t.Error(err)
	}
}

// Whatever bytes of a credential change, it fails or stays canonical.
func TestCredentialMutations(t *testing.T) {
	s := samples(t)
	rapid.Check(t, func(rt *rapid.T) {
		b := bytes.Clone(s.credential)
		for range rapid.IntRange(1, 4).Draw(rt, "changes") {
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "place")] = rapid.Byte().Draw(rt, "byte")
		}
		b = b[:rapid.IntRange(0, len(b)).Draw(rt, "length")]
		same(t, b, keys.DecodeCredential)
	})
}

func FuzzDecodeCertificate(f *testing.F) {
	f.Add(samples(f).certificate)
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeCertificate) })
}

func FuzzDecodeGrant(f *testing.F) {
	s := samples(f)
	f.Add(s.grant)
	f.Add(s.unsigned)
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeGrant) })
}

func FuzzDecodeMint(f *testing.F) {
	s, o := samples(f), keys.MintOptions{Authority: "hub.example", Audience: keys.NewDevice().Public().Sign}
	g, err := keys.DecodeGrant(s.grant)
	if err != nil {
		f.Fatal(err)
	}
	_, account, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindAccount, Owner: keys.NewIdentity().Public()})
	if err != nil {
		f.Fatal(err)
	}
	for _, mint := range []func() (*keys.Mint, error){
		func() (*keys.Mint, error) { return keys.NewIdentity().Mint(g, o) },
		func() (*keys.Mint, error) { return account.Mint(o) },
	} {
		m, err := mint()
		if err != nil {
			f.Fatal(err)
		}
		b, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		if _, err := keys.DecodeMint(b); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeMint) })
}

func FuzzDecodeCredential(f *testing.F) {
	f.Add(samples(f).credential)
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeCredential) })
}

func FuzzDecodeAPIKey(f *testing.F) {
	f.Add(samples(f).key)
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeAPIKey) })
}

func FuzzParseDID(f *testing.F) {
	f.Add(keys.NewIdentity().Public().DID())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := keys.ParseDID(s); err == nil && k.DID() != s {
			t.Fatalf("got %s, want %s", k.DID(), s)
		}
	})
}

func FuzzParseKeyText(f *testing.F) {
	f.Add(keys.KeyText(keys.KindUser, keys.NewIdentity().Public()))
	_, s, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindAccount, Owner: keys.NewIdentity().Public()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if kind, k, err := keys.ParseKey(text); err == nil && keys.KeyText(kind, k) != text {
			t.Fatalf("key: got %s, want %s", keys.KeyText(kind, k), text)
		}
		if s, err := keys.ParseAPISecret(text); err == nil && s.Text() != text {
			t.Fatalf("secret: got another text than %s", text)
		}
	})
}

// Without a passphrase a sealed file stops before the costly key derivation.
func FuzzDecodeKeyFile(f *testing.F) {
	for _, pass := range [][]byte{nil, []byte("p")} {
		b, err := keys.EncodeKeyFile(keys.FileSecret, keys.NewSecret(), pass)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := keys.DecodeKeyFile(b, keys.FileSecret, nil)
		if err != nil {
			return
		}
		if again, err := keys.EncodeKeyFile(keys.FileSecret, s, nil); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("got %q, %v, want %q", again, err, b)
		}
	})
}
