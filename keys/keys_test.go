package keys_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/keys"
)

// A vector of the did:key method specification: the base58btc form and the key.
func TestDIDVectors(t *testing.T) {
	const did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	k, err := keys.ParseDID(did)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", k[:]), "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"; got != want {
		t.Errorf("got key %s, want %s", got, want)
	}
	seed, _ := keys.SecretOf(make([]byte, 32)) // RFC 8032's arithmetic gives this key for the zero seed
	id, err := keys.IdentityOf(seed)
	if err != nil || id.Public() != k || id.Public().DID() != did {
		t.Errorf("zero seed: got %v, %v", id.Public(), err)
	}
	for _, bad := range []string{
		"", "did:key:", "did:key:z", did + "1", did[:len(did)-1], strings.ToUpper(did), "did:key:z1" + did[9:],
		"did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc", // X25519
		keys.PublicKey{1}.DID(), // small order
		keys.AnyAudience().DID(),
	} {
		if _, err := keys.ParseDID(bad); !errors.Is(err, keys.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", bad, err)
		}
	}
}

func TestSignaturesAreOfTheirDomain(t *testing.T) {
	id := keys.NewIdentity()
	sig := id.Sign("weft/1/a", []byte("x"), []byte("y"))
	if !keys.Verify(id.Public(), "weft/1/a", sig, []byte("xy")) {
		t.Error("signature refused")
	}
	if keys.Verify(id.Public(), "weft/1/b", sig, []byte("xy")) || keys.Verify(id.Public(), "weft/1/a", sig, []byte("x")) {
		t.Error("signature accepted for other bytes")
	}
}

func TestSealing(t *testing.T) {
	id, d := keys.NewIdentity(), keys.NewDevice()
	derived, err := id.Public().SealingPublic()
	if err != nil || derived != id.SealingKey().Public() {
		t.Fatalf("derived sealing key: got %x, %v", derived, err)
	}
	info, aad, msg := []byte("info"), []byte("aad"), []byte("message")
	for name, k := range map[string]keys.SealingKey{"identity": id.SealingKey(), "device": d.SealingKey()} {
		sealed, err := keys.Seal(k.Public(), info, aad, msg)
		if err != nil || len(sealed) != len(msg)+keys.SealOverhead {
			t.Fatalf("%s: %d bytes, %v", name, len(sealed), err)
		}
		if got, err := keys.Open(k, info, aad, sealed); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		altered := bytes.Clone(sealed)
		altered[len(altered)-1] ^= 1
		for what, f := range map[string]func() ([]byte, error){
			"info":  func() ([]byte, error) { return keys.Open(k, []byte("other"), aad, sealed) },
			"aad":   func() ([]byte, error) { return keys.Open(k, info, nil, sealed) },
			"key":   func() ([]byte, error) { return keys.Open(keys.NewSealingKey(), info, aad, sealed) },
			"bytes": func() ([]byte, error) { return keys.Open(k, info, aad, altered) },
			"short": func() ([]byte, error) { return keys.Open(k, info, aad, sealed[:40]) },
		} {
			if got, err := f(); !errors.Is(err, keys.ErrSealed) {
				t.Errorf("%s, other %s: got %q, %v", name, what, got, err)
			}
		}
	}
	if _, err := keys.Seal([32]byte{}, nil, nil, msg); err == nil {
		t.Error("sealed to a key of small order")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	seed := bytes.Repeat([]byte{0xa7}, 32)
	s, _ := keys.SecretOf(seed)
	id, _ := keys.IdentityOf(s)
	both, _ := keys.SecretOf(bytes.Repeat(seed, 2))
	dev, _ := keys.DeviceOf(both)
	_, api, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindUser, Owner: id.Public()})
	if err != nil {
		t.Fatal(err)
	}
	fromFile, _ := keys.ParseAPISecret(string(api.Secret().Reveal()))
	type hidden struct{ v any }
	type nested struct {
		s keys.Secret
		i keys.Identity
		d keys.Device
		k keys.SealingKey
		a keys.APISecret
	}
	values := []any{s, &s, id, *id, dev, *dev, dev.SealingKey(), api, *api, fromFile, []any{id}, map[string]any{"k": s}}
	var out strings.Builder
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil || !bytes.Contains(b, []byte("[secret]")) {
			t.Errorf("%T: JSON %s, %v", v, b, err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		fmt.Fprintf(&out, verb, hidden{nested{s, *id, *dev, dev.SealingKey(), *api}})
		fmt.Fprintf(&out, verb, nested{s, *id, *dev, dev.SealingKey(), *api})
	}
	apiSeed := api.Text()
	for _, leak := range []string{"a7a7", "A7A7", "167 167", "0xa7, 0xa7", "p6en", "\\xa7\\xa7", apiSeed} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("a secret printed as %.12q in %s", leak, out.String())
		}
	}
}

func TestKeyText(t *testing.T) {
	owner := keys.NewIdentity().Public()
	for _, kind := range []keys.KeyKind{keys.KindAccount, keys.KindUser} {
		k, s, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: kind, Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		gotKind, public, err := keys.ParseKey(k.Text())
		if err != nil || gotKind != kind || public != k.Public || s.Key() != k.Text() {
			t.Fatalf("%s: got %v %v, %v", k.Text(), gotKind, public, err)
		}
		again, err := keys.ParseAPISecret(s.Text())
		if err != nil || again.Text() != s.Text() || again.Public() != k.Public || again.Kind() != kind {
			t.Fatalf("secret: got %v, %v", again, err)
		}
		typo := []byte(k.Text())
		typo[20] = 'a' + (typo[20]-'a'+1)%25
		if _, _, err := keys.ParseKey(string(typo)); err == nil {
			t.Errorf("typo in %s accepted", k.Text())
		}
		if _, _, err := keys.ParseKey(s.Text()); err == nil || strings.Contains(err.Error(), s.Text()[5:15]) ||
			!strings.Contains(err.Error(), "a secret stands where a key belongs") {
			t.Errorf("secret as key: got %v", err)
		}
	}
}

func TestTypoIsNamed(t *testing.T) {
	_, s, err := keys.NewAPIKey(now(), keys.APIKeyOptions{Kind: keys.KindUser, Owner: keys.NewIdentity().Public()})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(s.Text())
		i := rapid.IntRange(3, len(text)-1).Draw(t, "place")
		c := rapid.SampledFrom([]byte("abcdefghijklmnopqrstuvwxyz234567")).Draw(t, "letter")
		if text[i] == c {
			return
		}
		text[i] = c
		if _, err := keys.ParseAPISecret(string(text)); !errors.Is(err, keys.ErrChecksum) {
			t.Fatalf("got %v, want ErrChecksum", err)
		}
	})
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	id := keys.NewIdentity()
	for name, pass := range map[string][]byte{"plain": nil, "sealed": []byte("correct horse")} {
		path := filepath.Join(dir, name)
		if err := keys.WriteKeyFile(path, keys.FileIdentity, id.Secret(), pass); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, %v", name, info.Mode(), err)
		}
		if got, err := keys.ReadKeyFile(path, keys.FileIdentity, pass); err != nil || !got.Equal(id.Secret()) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := keys.WriteKeyFile(path, keys.FileIdentity, keys.NewSecret(), nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: overwrite: got %v, want ErrExist", name, err)
		}
		if _, err := keys.ReadKeyFile(path, keys.FileDevice, pass); !errors.Is(err, keys.ErrKind) {
			t.Errorf("%s: other kind: got %v", name, err)
		}
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		_, err := keys.ReadKeyFile(path, keys.FileIdentity, pass)
		if !errors.Is(err, keys.ErrFileMode) || !strings.Contains(err.Error(), "0640") || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("%s: open to the group: got %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestPassphrase(t *testing.T) {
	s := keys.NewDevice().Secret()
	b, err := keys.EncodeKeyFile(keys.FileDevice, s, []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, s.Reveal()) {
		t.Error("the secret is in the file")
	}
	if _, err := keys.DecodeKeyFile(b, keys.FileDevice, nil); !errors.Is(err, keys.ErrPassphraseNeeded) {
		t.Errorf("none: got %v", err)
	}
	if _, err := keys.DecodeKeyFile(b, keys.FileDevice, []byte("wrong")); !errors.Is(err, keys.ErrPassphraseWrong) {
		t.Errorf("wrong: got %v", err)
	}
	weaker := bytes.Replace(b, []byte(`"time":3`), []byte(`"time":1`), 1)
	if _, err := keys.DecodeKeyFile(weaker, keys.FileDevice, []byte("right")); !errors.Is(err, keys.ErrPassphraseWrong) {
		t.Errorf("altered parameters: got %v", err)
	}
	for _, huge := range []string{`"memory":4194304`, `"memory":1`} {
		bad := bytes.Replace(b, []byte(`"memory":65536`), []byte(huge), 1)
		if _, err := keys.DecodeKeyFile(bad, keys.FileDevice, []byte("right")); !errors.Is(err, keys.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", huge, err)
		}
	}
}

func TestDeviceRoundTrip(t *testing.T) {
	d := keys.NewDevice()
	again, err := keys.DeviceOf(d.Secret())
	if err != nil || again.Public() != d.Public() || !again.PrivateKey().Equal(d.PrivateKey()) {
		t.Errorf("got %v, %v", again, err)
	}
}

func TestSecretEqual(t *testing.T) {
	a, b := keys.NewSecret(), keys.NewSecret()
	if !a.Equal(a) || a.Equal(b) || (keys.Secret{}).Equal(keys.Secret{}) || a.Equal(keys.Secret{}) {
		t.Error("Equal is wrong")
	}
}

// What was taken once is read again without another look at its keys, and in no other form.
func TestDecodeKeptCertificate(t *testing.T) {
	c, err := keys.NewIdentity().Certify(keys.NewDevice().Public(), keys.CertifyOptions{Issued: time.UnixMilli(1)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := keys.DecodeKeptCertificate(b); err != nil || *kept != *c {
		t.Errorf("got %+v, %v", kept, err)
	}
	for i := range b { // whatever DecodeCertificate refuses otherwise than for a key, it refuses
		bad := bytes.Clone(b)
		bad[i] ^= 0x40
		whole, err := keys.DecodeCertificate(bad)
		kept, keptErr := keys.DecodeKeptCertificate(bad)
		switch {
		case err == nil && (keptErr != nil || *kept != *whole):
			t.Errorf("byte %d: got %+v, %v", i, kept, keptErr)
		case err != nil && keptErr == nil && whole == nil:
			t.Errorf("byte %d: %v is not noticed", i, err)
		case err != nil && keptErr == nil && kept.Identity.Check() == nil && kept.Sign.Check() == nil:
			t.Errorf("byte %d: %v is not noticed", i, err)
		}
	}
	if _, err := keys.DecodeKeptCertificate(append(b, 0)); err == nil {
		t.Error("bytes after it are taken")
	}
}

func TestCertificateBindsEveryField(t *testing.T) {
	id := keys.NewIdentity()
	c, err := id.Certify(keys.NewDevice().Public(), keys.CertifyOptions{Name: "n", Issued: now(), Expires: now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(now()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*keys.Certificate){
		"identity": func(c *keys.Certificate) { c.Identity = keys.NewIdentity().Public() },
		"sign":     func(c *keys.Certificate) { c.Sign = keys.NewDevice().Public().Sign },
		"seal":     func(c *keys.Certificate) { c.Seal[0] ^= 1 },
		"issued":   func(c *keys.Certificate) { c.Issued-- },
		"expires":  func(c *keys.Certificate) { c.Expires = 0 },
		"name":     func(c *keys.Certificate) { c.Name = "m" },
		"sig":      func(c *keys.Certificate) { c.Signature[3] ^= 1 },
	} {
		forged := *c
		change(&forged)
		if err := forged.Verify(now()); keys.CodeOf(err) != keys.CodeBadSignature {
			t.Errorf("%s: got %v, want bad_signature", name, err)
		}
	}
	if _, err := id.Certify(keys.DevicePublic{}, keys.CertifyOptions{Issued: now()}); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("no device: got %v", err)
	}
}
