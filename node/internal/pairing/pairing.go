// Package pairing is what two homes tell each other, in two texts that people carry, when
// a device is added to an identity:
//
//	the new home      Request   its public keys, signed; no secret
//	the old home      Reply     its certificate, and what it needs to find the databases that
//	                            it was added to; sealed to the new device
//
// It keeps nothing and knows no node: docs/design/node.md has the forms to the byte.
package pairing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// Maxima of the two.
const (
	MaxDatabases = 1024 // that a reply names
	maxRelays    = 16
	maxAddrs     = 16
	maxText      = 256 // bytes of an address or a key
	maxRequest   = 1 << 10
	maxReply     = 512 << 10
)

const (
	version       = 1
	requestScheme = "weft-device:"
	replyScheme   = "weft-reply:"
	domainRequest = "weft/1/device-request"
	infoReply     = "weft/1/device-reply"
)

// Reported of texts.
var (
	// ErrMalformed reports a text that is none of the two, or not whole.
	ErrMalformed = fault.New(fault.Malformed, "the text is no request or reply of a device")
	errTooLarge  = fault.New(fault.TooLarge, "the text is too long")
	errVersion   = fault.New(fault.UnknownVersion, "the text is of another release")
	// ErrOther reports a reply to another device.
	ErrOther = fault.New(fault.WrongKey, "the reply is to another device")
)

var codec = canonical.New(canonical.Options{
	Version: version, Elements: MaxDatabases, Nesting: 8, Malformed: ErrMalformed, TooLarge: errTooLarge, UnknownVersion: errVersion,
})

// A Request asks to become a device of an identity.
type Request struct {
	Device keys.DevicePublic
	Name   string // for people; at most [keys.MaxNameSize] bytes
}

type requestWire struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	Suite     canonical.Suite
	Sign      keys.PublicKey
	Seal      [32]byte
	Name      string
	Signature keys.Signature
}

// NewRequest returns the text of a device's request.
func NewRequest(d *keys.Device, name string) (string, error) {
	if len(name) > keys.MaxNameSize || !utf8.ValidString(name) {
		return "", fault.Errorf(fault.InvalidArgument, "the name of a device has at most %d bytes of UTF-8", keys.MaxNameSize)
	}
	if err := keys.CheckName(name); err != nil {
		return "", err
	}
	p := d.Public()
	w := requestWire{Version: version, Suite: canonical.SuiteX25519, Sign: p.Sign, Seal: p.Seal, Name: name}
	w.Signature = d.Sign(domainRequest, p.Sign[:], p.Seal[:], []byte(name))
	return text(requestScheme, codec.Encode(&w)), nil
}

// ParseRequest parses a request and checks that the device made it.
func ParseRequest(s string) (Request, error) {
	b, err := parse(s, requestScheme, maxRequest, "request")
	if err != nil {
		return Request{}, err
	}
	var w requestWire
	if err := codec.DecodeVersioned(b, maxRequest, "request of a device", &w); err != nil {
		return Request{}, err
	}
	if err := codec.CheckSuite(w.Suite, "request of a device"); err != nil {
		return Request{}, err
	}
	r := Request{Device: keys.DevicePublic{Sign: w.Sign, Seal: w.Seal}, Name: w.Name}
	ok := len(w.Name) <= keys.MaxNameSize && utf8.ValidString(w.Name) && w.Sign.Check() == nil
	if !ok || !keys.Verify(w.Sign, domainRequest, w.Signature, w.Sign[:], w.Seal[:], []byte(w.Name)) {
		return Request{}, fault.Of(ErrMalformed, "the request is not signed by the device that it names")
	}
	return r, nil
}

// A Reply tells a device whose it is, and what of.
type Reply struct {
	Certificate *keys.Certificate
	Databases   []Database
	Relays      []Relay
	Addrs       []string // where the device that wrote it is found
}

// A Database is one that the device was added to.
type Database struct {
	ID      [32]byte // of its thread
	Service keys.Secret
	Name    string
}

// A Relay is one that the device may use, with the key of the identity.
type Relay struct{ Addr, Key, Secret string }

type (
	databaseWire struct {
		_       struct{} `cbor:",toarray"`
		ID      [32]byte
		Service [32]byte
		Name    string
	}
	relayWire struct {
		_    struct{} `cbor:",toarray"`
		Addr string
		Key  string
		Text string
	}
	replyWire struct {
		_           struct{} `cbor:",toarray"`
		Certificate []byte
		Databases   []databaseWire
		Relays      []relayWire
		Addrs       []string
	}
	sealedWire struct {
		_       struct{} `cbor:",toarray"`
		Version uint64
		Suite   canonical.Suite
		Sealed  []byte
	}
)

// Text returns the reply, sealed to the device that its certificate names.
func (r *Reply) Text() (string, error) {
	cert, err := r.Certificate.Encode()
	if err != nil {
		return "", err
	}
	if len(r.Databases) > MaxDatabases {
		return "", fault.Of(errTooLarge, "the device is added to %d databases, at most %d at a time: name some with --db", len(r.Databases), MaxDatabases)
	}
	w := replyWire{Certificate: cert, Addrs: r.Addrs[:min(len(r.Addrs), maxAddrs)]}
	for _, d := range r.Databases {
		w.Databases = append(w.Databases, databaseWire{ID: d.ID, Service: [32]byte(d.Service.Reveal()), Name: d.Name})
	}
	for _, x := range r.Relays[:min(len(r.Relays), maxRelays)] {
		w.Relays = append(w.Relays, relayWire{Addr: x.Addr, Key: x.Key, Text: x.Secret})
	}
	sealed, err := keys.Seal(r.Certificate.Seal, []byte(infoReply), nil, codec.Encode(&w))
	if err != nil {
		return "", err
	}
	return text(replyScheme, codec.Encode(&sealedWire{Version: version, Suite: canonical.SuiteX25519, Sealed: sealed})), nil
}

// OpenReply parses a reply to a device, and checks that its certificate is of that device.
func OpenReply(s string, d *keys.Device) (*Reply, error) {
	b, err := parse(s, replyScheme, maxReply, "reply")
	if err != nil {
		return nil, err
	}
	var x sealedWire
	if err := codec.DecodeVersioned(b, maxReply, "reply to a device", &x); err != nil {
		return nil, err
	}
	if err := codec.CheckSuite(x.Suite, "reply to a device"); err != nil {
		return nil, err
	}
	plain, err := keys.Open(d.SealingKey(), []byte(infoReply), nil, x.Sealed)
	if err != nil {
		return nil, fault.Of(ErrOther, "the reply is to another device: answer the request of this one with weft device add")
	}
	var w replyWire
	if err := codec.Decode(plain, "reply to a device", &w); err != nil {
		return nil, err
	}
	r := &Reply{Addrs: w.Addrs}
	if r.Certificate, err = keys.DecodeCertificate(w.Certificate); err == nil {
		err = r.Certificate.VerifySignature()
	}
	if err != nil {
		return nil, err
	}
	if r.Certificate.Device() != d.Public() {
		return nil, fault.Of(ErrOther, "the reply certifies another device")
	}
	for _, q := range w.Databases {
		service, err := keys.SecretOf(q.Service[:])
		if err != nil {
			return nil, err
		}
		r.Databases = append(r.Databases, Database{ID: q.ID, Service: service, Name: q.Name})
	}
	for _, q := range w.Relays {
		r.Relays = append(r.Relays, Relay{Addr: q.Addr, Key: q.Key, Secret: q.Text})
	}
	long := func(s string) bool { return len(s) > maxText }
	for _, a := range w.Addrs {
		if long(a) {
			return nil, fault.Of(ErrMalformed, "the reply has an address of %d bytes", len(a))
		}
	}
	for _, x := range r.Relays {
		if long(x.Addr) || long(x.Key) || long(x.Secret) {
			return nil, fault.Of(ErrMalformed, "the reply has a relay of more than %d bytes", maxText)
		}
	}
	if len(w.Addrs) > maxAddrs || len(w.Relays) > maxRelays {
		return nil, fault.Of(ErrMalformed, "the reply has %d addresses and %d relays", len(w.Addrs), len(w.Relays))
	}
	return r, nil
}

var encoding = base64.RawURLEncoding.Strict()

const sumSize = 4

// sum is the end of a text, by which one that is not whole is known.
func sum(scheme string, b []byte) []byte {
	h := sha256.Sum256(append([]byte(scheme+"\x00"), b...))
	return h[:sumSize]
}

func text(scheme string, b []byte) string {
	return scheme + encoding.EncodeToString(append(b, sum(scheme, b)...))
}

// parse is the inverse of text. Errors repeat none of it.
func parse(s, scheme string, most int, what string) ([]byte, error) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok || len(s) > 2*most {
		return nil, fault.Of(ErrMalformed, "the %s of a device is written %s…", what, scheme)
	}
	b, err := encoding.DecodeString(rest)
	if err != nil || strings.ContainsAny(rest, "\r\n") || len(b) <= sumSize {
		return nil, fault.Of(ErrMalformed, "invalid %s of a device: not base64url after %s", what, scheme)
	}
	n := len(b) - sumSize
	if !bytes.Equal(sum(scheme, b[:n:n]), b[n:]) {
		return nil, fault.Of(ErrMalformed, "the %s of a device: the checksum does not match: part of it is missing or altered", what)
	}
	return b[:n], nil
}
