package dpop

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

func at() Request {
	return Request{Method: "POST", URL: "https://hub.example/weft.v1.DocumentService/Find", Token: "wttoken", Now: time.Unix(1_780_000_000, 0)}
}

// sign signs any header and payload with a key.
func sign(t *testing.T, key ed25519.PrivateKey, h, p any) string {
	t.Helper()
	hb, err1 := json.Marshal(h)
	pb, err2 := json.Marshal(p)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	signed := encode(hb) + "." + encode(pb)
	return signed + "." + encode(ed25519.Sign(key, []byte(signed)))
}

// The thumbprint of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	x, ok := decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if got := ofEd25519(x); !ok || encode(got[:]) != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("got %s", encode(got[:]))
	}
}

// The example of RFC 9449, section 7.1, which is signed by ES256.
func TestOfTheStandard(t *testing.T) {
	const proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" +
		".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" +
		".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	r := Request{
		Method: "GET", URL: "https://resource.example.org/protectedresource", Now: time.Unix(1562262618, 0),
		Token: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
	}
	b, ok := decode("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
	if r.Client = [32]byte(b); !ok {
		t.Fatal("no thumbprint")
	}
	if id, err := Check(proof, r); err != nil || id != "e1j3V_bKic8-LAEB" {
		t.Errorf("got %q, %v", id, err)
	}
}

func TestProof(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	r := at()
	r.Client = k.Thumbprint()
	one, err1 := k.Proof(r)
	two, err2 := k.Proof(r)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	a, err1 := Check(one, r)
	b, err2 := Check(two, r)
	if err1 != nil || err2 != nil || a == b {
		t.Fatalf("got %q, %v; %q, %v", a, err1, b, err2)
	}
	for name, change := range map[string]func(*Request){
		"another method": func(r *Request) { r.Method = "GET" },
		"another call":   func(r *Request) { r.URL += "2" },
		"another hub":    func(r *Request) { r.URL = strings.Replace(r.URL, "hub.", "evil.", 1) },
		"another token":  func(r *Request) { r.Token += "2" },
		"another key":    func(r *Request) { r.Client[0]++ },
	} {
		r := r
		change(&r)
		if _, err := Check(one, r); keys.CodeOf(err) != keys.CodeBadSignature {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for by, want := range map[time.Duration]keys.Code{
		60 * time.Second: "", 61 * time.Second: keys.CodeCredentialExpired, -60 * time.Second: "", -61 * time.Second: keys.CodeCredentialNotYetValid,
	} {
		r := r
		r.Now = r.Now.Add(by)
		if _, err := Check(one, r); keys.CodeOf(err) != want || (err == nil) != (want == "") {
			t.Errorf("%v later: got %v, want %q", by, err, want)
		}
	}
}

// Proofs that are signed well and say what they must not.
func TestForged(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := at()
	r.Client = ofEd25519(public)
	k := map[string]any{"crv": "Ed25519", "kty": "OKP", "x": encode(public)}
	h := map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": k}
	good, err := (&Key{private: private, header: ""}).Proof(r)
	if err != nil {
		t.Fatal(err)
	}
	var p map[string]any
	if !decodeJSON(strings.Split(good, ".")[1], &p) {
		t.Fatal("a proof that is none")
	}
	if _, err := Check(sign(t, private, h, p), r); err != nil {
		t.Fatal(err)
	}
	with := func(m map[string]any, name string, v any) map[string]any {
		out := map[string]any{}
		for k, v := range m {
			out[k] = v
		}
		if out[name] = v; v == nil {
			delete(out, name)
		}
		return out
	}
	small := with(k, "x", encode(append([]byte{1}, make([]byte, 31)...)))
	whole := sign(t, private, h, p)
	for name, proof := range map[string]string{
		"nothing":               "",
		"no JWT":                "a.b",
		"four parts":            whole + ".x",
		"alg none":              sign(t, private, with(h, "alg", "none"), p),
		"another alg":           sign(t, private, with(h, "alg", "ES256"), p),
		"HMAC":                  sign(t, private, with(h, "alg", "HS256"), p),
		"another type":          sign(t, private, with(h, "typ", "JWT"), p),
		"a critical extension":  sign(t, private, with(h, "crit", []string{"exp"}), p),
		"without a key":         sign(t, private, with(h, "jwk", nil), p),
		"with the private key":  sign(t, private, with(h, "jwk", with(k, "d", encode(private[:32]))), p),
		"a key of small order":  sign(t, private, with(h, "jwk", small), p),
		"another curve":         sign(t, private, with(h, "jwk", with(k, "crv", "Ed448")), p),
		"without a name":        sign(t, private, h, with(p, "jti", nil)),
		"a name that is long":   sign(t, private, h, with(p, "jti", strings.Repeat("x", 129))),
		"a name that is number": sign(t, private, h, with(p, "jti", 7)),
		"without a token":       sign(t, private, h, with(p, "ath", nil)),
		"without a time":        sign(t, private, h, with(p, "iat", nil)),
		"a time that is text":   sign(t, private, h, with(p, "iat", "1780000000")),
		"not signed":            whole[:strings.LastIndex(whole, ".")+1],
		"a line feed in it":     whole[:20] + "\n" + whole[20:],
		"too large":             sign(t, private, h, with(p, "x", strings.Repeat("x", 3000))),
	} {
		if got, err := Check(proof, r); keys.CodeOf(err) == "" || got != "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestOfP256(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := at()
	r.Client = ofP256(b[1:33], b[33:])
	ath := sha256.Sum256([]byte(r.Token))
	proof := func(x, y []byte) string {
		h, err1 := json.Marshal(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]string{"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)}})
		p, err2 := json.Marshal(payload{ID: "1", Method: r.Method, URL: r.URL, Issued: r.Now.Unix(), Token: encode(ath[:])})
		signed := encode(h) + "." + encode(p)
		d := sha256.Sum256([]byte(signed))
		a, b, err3 := ecdsa.Sign(rand.Reader, key, d[:])
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		return signed + "." + encode(append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...))
	}
	if _, err := Check(proof(b[1:33], b[33:]), r); err != nil {
		t.Error(err)
	}
	b[64] ^= 1 // a point that is not on the curve
	r.Client = ofP256(b[1:33], b[33:])
	if _, err := Check(proof(b[1:33], b[33:]), r); keys.CodeOf(err) != keys.CodeBadSignature {
		t.Errorf("got %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	r := at()
	r.Client = k.Thumbprint()
	proof, err := k.Proof(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proof)
	f.Fuzz(func(t *testing.T, s string) {
		_, err := Check(s, r)
		if err == nil && s != proof {
			t.Errorf("%q passes for the key's", s)
		}
		if err != nil && keys.CodeOf(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	k, err := NewKey()
	if err != nil {
		b.Fatal(err)
	}
	r := at()
	r.Client = k.Thumbprint()
	proof, err := k.Proof(r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check(proof, r); err != nil {
			b.Fatal(err)
		}
	}
}
