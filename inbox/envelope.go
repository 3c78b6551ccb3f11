package inbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	domainMessage = "weft/1/message"
	version       = 1
	suite         = canonical.SuiteX25519
	minPadded     = 512
	maxPadded     = 128 << 10
	maxEnvelope   = maxPadded + keys.SealOverhead + 128
	maxSkew       = 5 * time.Minute
)

// A Digest names an envelope by its bytes, between a sender and a relay.
type Digest [sha256.Size]byte

// An Envelope is a message in transit. Besides what it shows here, whoever
// carries it learns its padded size.
type Envelope struct {
	Recipient keys.PublicKey // identity
	ID        ID
	Sealed    []byte
}

type envelopeWire struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     canonical.Suite
	Recipient keys.PublicKey
	ID        [16]byte
	Sealed    []byte
}

// messageWire is what the sender's device signs.
type messageWire struct {
	_           struct{} `cbor:",toarray"`
	Version     uint8
	Suite       canonical.Suite
	Recipient   keys.PublicKey
	ID          [16]byte
	Time        keys.Millis
	Certificate []byte // of the sender's device: it names the sender
	Body        []byte
}

type signedWire struct {
	_         struct{} `cbor:",toarray"`
	Message   []byte
	Signature keys.Signature
}

// Seal signs m with a device of the identity that certificate names, which is
// the sender whatever m.From says, and seals it to m.To.
func Seal(m Message, device *keys.Device, certificate *keys.Certificate) (Envelope, error) {
	if len(m.Body) > MaxBody {
		return Envelope{}, fault.Of(ErrTooLarge, "the message has %d bytes, at most %d are allowed", len(m.Body), MaxBody)
	}
	if certificate.Sign != device.Public().Sign {
		return Envelope{}, fault.Errorf(fault.InvalidArgument, "the certificate is of another device than the one that signs")
	}
	cert, err := certificate.Encode()
	if err != nil {
		return Envelope{}, fmt.Errorf("seal: %w", err)
	}
	msg := codec.Encode(messageWire{Version: version, Suite: suite, Recipient: m.To, ID: m.ID, Time: keys.MillisOf(m.Time), Certificate: cert, Body: m.Body})
	signed := codec.Encode(signedWire{Message: msg, Signature: device.Sign(domainMessage, msg)})
	to, err := m.To.SealingPublic()
	if err != nil {
		return Envelope{}, fmt.Errorf("recipient: %w", err)
	}
	sealed, err := keys.Seal(to, info(m.To, m.ID), nil, pad(signed))
	if err != nil {
		return Envelope{}, fmt.Errorf("seal: %w", err)
	}
	return Envelope{Recipient: m.To, ID: m.ID, Sealed: sealed}, nil
}

// Open opens an envelope with the recipient's sealing key and checks all that is
// inside: padding, encoding, that recipient and ID are those outside, the
// sender's certificate and signature, and that the message is no older than
// Expiry at now.
func (e Envelope) Open(key keys.SealingKey, now time.Time) (Message, error) {
	plain, err := keys.Open(key, info(e.Recipient, e.ID), nil, e.Sealed)
	if errors.Is(err, keys.ErrSealed) {
		return Message{}, ErrSealed
	}
	if err != nil {
		return Message{}, fmt.Errorf("open: %w", err)
	}
	signed, err := unpad(plain)
	if err != nil {
		return Message{}, err
	}
	return e.verify(signed, now)
}

func (e Envelope) verify(signed []byte, now time.Time) (Message, error) {
	var s signedWire
	if err := decode(signed, maxPadded, "signed message", &s); err != nil {
		return Message{}, err
	}
	var m messageWire
	if err := decode(s.Message, maxPadded, "message", &m); err != nil {
		return Message{}, err
	}
	switch {
	case m.Version != version || m.Suite != suite:
		return Message{}, fault.Of(ErrMalformed, "message version %d, suite %d is unknown", m.Version, m.Suite)
	case m.Recipient != e.Recipient || m.ID != e.ID:
		return Message{}, fault.Of(ErrForged, "the message was sealed for another recipient or ID")
	case len(m.Body) > MaxBody:
		return Message{}, fault.Of(ErrTooLarge, "the message has %d bytes, at most %d are allowed", len(m.Body), MaxBody)
	}
	cert, err := keys.DecodeCertificate(m.Certificate)
	if err != nil {
		return Message{}, fault.Of(ErrMalformed, "the sender's certificate: %v", err)
	}
	sent := m.Time.Time()
	if sent.After(now.Add(maxSkew)) || !sent.After(now.Add(-Expiry)) {
		return Message{}, fault.Of(ErrExpired, "the message says that it was sent at %v", m.Time)
	}
	if err := cert.Verify(sent); err != nil {
		return Message{}, fault.Of(ErrForged, "the sender's certificate: %v", err)
	}
	if !keys.Verify(cert.Sign, domainMessage, s.Signature, s.Message) {
		return Message{}, ErrForged
	}
	return Message{ID: m.ID, From: cert.Identity, To: m.Recipient, Time: sent, Body: m.Body}, nil
}

// info binds a seal to the protocol, the recipient and the ID.
func info(to keys.PublicKey, id ID) []byte {
	p := append([]byte(Protocol), 0)
	p = append(p, to[:]...)
	return append(p, id[:]...)
}

// pad puts p's length before it and zeros after it, up to a power of two.
func pad(p []byte) []byte {
	size := minPadded
	for size < 4+len(p) {
		size *= 2
	}
	out := make([]byte, size)
	binary.BigEndian.PutUint32(out, uint32(len(p)))
	copy(out[4:], p)
	return out
}

func unpad(p []byte) ([]byte, error) {
	if !paddedSize(len(p)) {
		return nil, fault.Of(ErrMalformed, "a message is not padded to %d bytes", len(p))
	}
	n := binary.BigEndian.Uint32(p)
	if uint64(n) > uint64(len(p)-4) {
		return nil, fault.Of(ErrMalformed, "the padding is not as it is made")
	}
	inner := p[4 : 4+n]
	if !bytes.Equal(pad(inner), p) {
		return nil, fault.Of(ErrMalformed, "the padding is not as it is made")
	}
	return inner, nil
}

func paddedSize(n int) bool { return n >= minPadded && n <= maxPadded && n&(n-1) == 0 }

// Encode returns the canonical bytes.
func (e Envelope) Encode() ([]byte, error) {
	return codec.Encode(envelopeWire{Version: version, Suite: suite, Recipient: e.Recipient, ID: e.ID, Sealed: e.Sealed}), nil
}

// DecodeEnvelope decodes what [Envelope.Encode] gives, and nothing else. What is
// sealed stays unchecked until [Envelope.Open].
func DecodeEnvelope(p []byte) (Envelope, error) {
	var w envelopeWire
	if err := decode(p, maxEnvelope, "envelope", &w); err != nil {
		return Envelope{}, err
	}
	if w.Version != version || w.Suite != suite {
		return Envelope{}, fault.Of(ErrMalformed, "envelope version %d, suite %d is unknown", w.Version, w.Suite)
	}
	if !paddedSize(len(w.Sealed) - keys.SealOverhead) {
		return Envelope{}, fault.Of(ErrMalformed, "the envelope has a size that no padding gives")
	}
	if err := w.Recipient.Check(); err != nil {
		return Envelope{}, fault.Of(ErrMalformed, "the envelope's recipient: %v", err)
	}
	return Envelope{Recipient: w.Recipient, ID: w.ID, Sealed: w.Sealed}, nil
}

// digestOf names an encoded envelope.
func digestOf(envelope []byte) Digest { return sha256.Sum256(envelope) }
