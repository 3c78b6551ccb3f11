package inbox

import (
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	domainReceipt = "weft/1/receipt"
	maxReceipt    = keys.MaxCertificateSize + 256
)

// An Outcome is what the recipient's device did with an envelope.
type Outcome uint8

// Outcomes of a receipt.
const (
	OutcomeFiled   Outcome = 1 // filed, or filed before
	OutcomeRefused Outcome = 2 // it cannot be opened, is forged or out of its time
)

// A Receipt is the signed statement of a recipient's device that it needs an
// envelope no more. Only it makes a relay drop the envelope before its time, and
// the sender can check it.
type Receipt struct {
	Certificate *keys.Certificate // of the recipient's device
	Digest      Digest            // of the envelope
	Outcome     Outcome
	Time        keys.Millis
	Signature   keys.Signature
}

type receiptBody struct {
	_           struct{} `cbor:",toarray"`
	Version     uint8
	Suite       canonical.Suite
	Certificate []byte
	Digest      Digest
	Outcome     Outcome
	Time        keys.Millis
}

type receiptWire struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature keys.Signature
}

// newReceipt signs a receipt with a device of the recipient and encodes it.
func newReceipt(d Digest, o Outcome, device *keys.Device, cert *keys.Certificate, now time.Time) ([]byte, error) {
	c, err := cert.Encode()
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	body := codec.Encode(receiptBody{Version: version, Suite: suite, Certificate: c, Digest: d, Outcome: o, Time: keys.MillisOf(now)})
	return codec.Encode(receiptWire{Body: body, Signature: device.Sign(domainReceipt, body)}), nil
}

// DecodeReceipt decodes a receipt strictly and checks its signatures: that a
// device of the identity Certificate.Identity made it.
func DecodeReceipt(p []byte) (Receipt, error) {
	var w receiptWire
	if err := decode(p, maxReceipt, "signed receipt", &w); err != nil {
		return Receipt{}, err
	}
	var b receiptBody
	if err := decode(w.Body, maxReceipt, "receipt", &b); err != nil {
		return Receipt{}, err
	}
	if b.Version != version || b.Suite != suite || b.Outcome < OutcomeFiled || b.Outcome > OutcomeRefused {
		return Receipt{}, fault.Of(ErrMalformed, "receipt version %d, suite %d, outcome %d", b.Version, b.Suite, b.Outcome)
	}
	cert, err := keys.DecodeCertificate(b.Certificate)
	if err != nil {
		return Receipt{}, fault.Of(ErrMalformed, "receipt: %v", err)
	}
	if err := cert.Verify(b.Time.Time()); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	if !keys.Verify(cert.Sign, domainReceipt, w.Signature, w.Body) {
		return Receipt{}, fmt.Errorf("receipt: %w", ErrForged)
	}
	return Receipt{Certificate: cert, Digest: b.Digest, Outcome: b.Outcome, Time: b.Time, Signature: w.Signature}, nil
}
