package format

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// Records about devices of an identity, and the one by which a thread gets a new owner.

// decodeOfDevices sets the fields of a device, start, recover or revoke.
func (c *Control) decodeOfDevices(p []byte) error {
	what := c.Op.String()
	switch c.Op {
	case OpDevice:
		var w deviceWire
		if err := codec.Decode(p, what, &w); err != nil {
			return err
		}
		c.Certificate, c.Sealed, c.Delegated = w.Certificate, w.Sealed, w.Delegated == 1
		switch w.Delegated {
		case 0:
			cert, err := keys.DecodeCertificate(w.Certificate)
			if err != nil {
				return fault.Of(ErrMalformed, "device: %w", err)
			}
			c.Subject = cert.Sign
		case 1:
			d, err := keys.DecodeDelegation(w.Certificate)
			if err != nil {
				return fault.Of(ErrMalformed, "device: %w", err)
			}
			c.Subject = d.Sign
		default:
			return fault.Of(ErrOperation, "a device that is delegated in the way %d does not exist yet", w.Delegated)
		}
		return nil
	case OpStart:
		var w startWire
		err := codec.Decode(p, what, &w)
		c.Added, c.Data = w.Added, w.Data
		return err
	case OpRecover:
		var w recoverWire
		if err := codec.Decode(p, what, &w); err != nil {
			return err
		}
		var s recoverStatement
		err := codec.Decode(w.Statement, what, &s)
		c.Certificate, c.Data, c.Key, c.Next, c.Signature = s.Certificate, s.Data, s.Key, s.Next, w.Signature
		return c.cutFields(err, nil, s.View)
	default:
		var w revokeWire
		err := codec.Decode(p, what, &w)
		c.Subject = w.Subject
		return c.cutFields(err, nil, w.View)
	}
}

// statement returns what a recovery key signs of a recover.
func (c *Control) statement() []byte {
	return codec.Encode(&recoverStatement{
		Certificate: c.Certificate, Data: c.Data, Key: c.Key, Next: c.Next, View: coveredWires(c.View...),
	})
}

// SignRecover has a recovery key sign a recover that begins a control log.
func (c *Control) SignRecover(thread ThreadID, log clock.LogID, key *keys.Identity) {
	c.Signature = key.Sign(domainRecover, thread[:], log[:], c.statement())
}

// CheckRecover reports whether a recover is signed by the recovery key that it names.
func (c *Control) CheckRecover(thread ThreadID, log clock.LogID) bool {
	return c.Key.Check() == nil && keys.Verify(c.Key, domainRecover, c.Signature, thread[:], log[:], c.statement())
}

// SealForDevice seals the read keys of the epochs that k is written under to a device that
// is added.
func SealForDevice(thread ThreadID, to [32]byte, k *Keys) ([]byte, error) {
	return keys.Seal(to, SealedTo(thread, sealAdded), nil, k.joined(k.Epochs))
}

// OpenAdded adds to k what [SealForDevice] sealed, as [OpenWithInvite] does.
func OpenAdded(thread ThreadID, k *Keys, device *keys.Device, sealed []byte, commits func(epoch clock.Hash) (clock.Hash, bool)) (Keys, error) {
	p, err := keys.Open(device.SealingKey(), SealedTo(thread, sealAdded), nil, sealed)
	if err != nil {
		return Keys{}, fault.Of(ErrSealed, "the device does not open the keys that it was given: %w", err)
	}
	return k.given(p, commits)
}

const sealAdded = "device/added"
