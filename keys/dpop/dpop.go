// Package dpop makes and checks proofs that a request comes from whoever a token was given to:
// DPoP (RFC 9449), a JWT that a key pair of the client signs for one request.
//
//	Key ── Proof(method, url, token, now)       what a client adds to its request
//	Check(proof, Request) ── id                 the proof's own name
//
// That a proof is not used twice is for the caller. Nothing is stored. The bytes, and what is refused: docs/design/hub.md.
package dpop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	maxProof = 2048             // bytes
	maxID    = 128              // bytes of a jti
	window   = 60 * time.Second // how far iat may be from now

	// Kept is how long a caller has to remember the name of a proof: after that its time is over.
	Kept = 2 * window
)

// A Request is what a proof is to be of.
type Request struct {
	Method string
	URL    string   // scheme, authority and path, as the client calls it
	Token  string   // its text
	Client [32]byte // thumbprint of the client key (RFC 7638, SHA-256) that the token is bound to
	Now    time.Time
}

type header struct {
	Type string          `json:"typ"`
	Alg  string          `json:"alg"`
	JWK  json.RawMessage `json:"jwk"`
	Crit json.RawMessage `json:"crit,omitempty"`
}

type jwk struct {
	Curve   string          `json:"crv"`
	Type    string          `json:"kty"`
	X       string          `json:"x"`
	Y       string          `json:"y,omitempty"`
	Private json.RawMessage `json:"d,omitempty"`
}

type payload struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	Issued int64  `json:"iat"`
	Token  string `json:"ath"`
}

func refuse(code keys.Code, message string) error {
	return &keys.Refusal{Code: code, Message: message}
}

var errProof = refuse(keys.CodeBadSignature, "The proof of the client key (DPoP) is missing or wrong: sign one for each request.")

// Check checks everything of a proof but that it is new, and returns its jti, 1 to 128 bytes. Its
// refusals are bad_signature, or of a time that is out of the window credential_expired and
// credential_not_yet_valid, which tell the time here. The signature comes last, as it costs most.
func Check(proof string, r Request) (id string, err error) {
	if len(proof) > maxProof {
		return "", errProof
	}
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return "", errProof
	}
	var h header
	var p payload
	signature, ok := decode(parts[2])
	if !ok || !decodeJSON(parts[0], &h) || !decodeJSON(parts[1], &p) || h.Type != "dpop+jwt" || h.Crit != nil {
		return "", errProof
	}
	ath := sha256.Sum256([]byte(r.Token))
	if p.Method != r.Method || p.URL != r.URL || p.Token != encode(ath[:]) || len(p.ID) < 1 || len(p.ID) > maxID {
		return "", errProof
	}
	if !verify(h, parts[0]+"."+parts[1], signature, r.Client) {
		return "", errProof
	}
	at := r.Now.UTC().Format(time.RFC3339)
	switch age := r.Now.Unix() - p.Issued; {
	case age > int64(window/time.Second):
		return "", refuse(keys.CodeCredentialExpired, "The proof of the client key is too old: it is "+at+" here.")
	case age < -int64(window/time.Second):
		return "", refuse(keys.CodeCredentialNotYetValid, "The proof of the client key is of a time to come: it is "+at+" here.")
	}
	return p.ID, nil
}

// verify checks the signature by the key of the header, which must have the thumbprint. Whether
// the key is of small order is not asked: it is the choice of who had the token bound to it.
func verify(h header, signed string, signature []byte, client [32]byte) bool {
	var k jwk
	if json.Unmarshal(h.JWK, &k) != nil || k.Private != nil {
		return false
	}
	x, ok := decode(k.X)
	if !ok || len(x) != 32 || len(signature) != 64 {
		return false
	}
	switch {
	case h.Alg == "EdDSA" && k.Type == "OKP" && k.Curve == "Ed25519" && k.Y == "":
		return ofEd25519(x) == client && ed25519.Verify(x, []byte(signed), signature)
	case h.Alg == "ES256" && k.Type == "EC" && k.Curve == "P-256":
		y, ok := decode(k.Y)
		if !ok || len(y) != 32 || ofP256(x, y) != client {
			return false
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return false
		}
		digest := sha256.Sum256([]byte(signed))
		return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return false
}

func ofP256(x, y []byte) [32]byte {
	return sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + encode(x) + `","y":"` + encode(y) + `"}`))
}

// ofEd25519 is the thumbprint of a key: the hash of its JWK, its members in order.
func ofEd25519(x []byte) [32]byte {
	return sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encode(x) + `"}`))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && !strings.ContainsAny(s, "\r\n") // which the decoder passes over
}

func decodeJSON(s string, v any) bool {
	b, ok := decode(s)
	if !ok || !bytes.HasPrefix(b, []byte("{")) {
		return false
	}
	return json.Unmarshal(b, v) == nil
}

// A Key is the key pair that a client makes for itself. It is safe for concurrent use.
type Key struct {
	private ed25519.PrivateKey
	header  string // of each of its proofs
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "make a client key: %v", err)
	}
	h := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"crv":"Ed25519","kty":"OKP","x":"` + encode(public) + `"}}`
	return &Key{private: private, header: encode([]byte(h))}, nil
}

// Thumbprint returns the name by which a token is bound to the key.
func (k *Key) Thumbprint() [32]byte { return ofEd25519(k.private[32:]) }

// Proof signs a proof for one request.
func (k *Key) Proof(r Request) (string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	ath := sha256.Sum256([]byte(r.Token))
	b, err := json.Marshal(payload{ID: encode(id[:]), Method: r.Method, URL: r.URL, Issued: r.Now.Unix(), Token: encode(ath[:])})
	if err != nil {
		return "", fault.Errorf(fault.Internal, "make a proof: %v", err)
	}
	signed := k.header + "." + encode(b)
	return signed + "." + encode(ed25519.Sign(k.private, []byte(signed))), nil
}
