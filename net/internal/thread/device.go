package thread

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// A device adds another one of its identity, without an invite: its record has the
// certificate of the new device, and the keys sealed to it. That one takes the control logs
// in, and begins a log of its own.
//
//	laptop   AddDevice       device [certificate of the phone, keys sealed to it]
//	phone    Begin, FinishBegin  start [that record], the first of its control log
//
// A delegated device, which is another's, comes in the same way by Delegate; or it begins the
// thread itself (CreateFor), and adds the owner's own devices, which are senior to it.

// MaxDevices is how many devices an identity has in a thread, for who adds one.
const MaxDevices = 16

// AddDevice lets a device of this device's identity in, which its certificate names; if it
// is in already, nothing is written. It is durable on return.
func (t *Thread) AddDevice(ctx context.Context, cert *keys.Certificate) error {
	encoded, err := cert.Encode()
	if err != nil {
		return fmt.Errorf("add device: %w", err)
	}
	return t.addDevice(ctx, &format.Control{Op: format.OpDevice, Certificate: encoded}, cert.Identity, cert.Device(), 0)
}

// Delegate lets a device in that is another's and writes for this device's identity, by the
// delegation that the identity signed; one that ends later than that by which the device is
// in takes its place at doors. It is durable on return.
func (t *Thread) Delegate(ctx context.Context, d *keys.Delegation) error {
	encoded, err := d.Encode()
	if err == nil {
		err = d.VerifySignature()
	}
	if err != nil {
		return fmt.Errorf("delegate: %w", err)
	}
	until := d.Expires
	if until == 0 {
		until = math.MaxUint64
	}
	return t.addDevice(ctx, &format.Control{Op: format.OpDevice, Certificate: encoded, Delegated: true}, d.Identity, d.Device(), until)
}

// addDevice writes p, which adds a device of an identity; until is the end of its delegation,
// 0 if it is a full one.
func (t *Thread) addDevice(ctx context.Context, p *format.Control, identity keys.PublicKey, device keys.DevicePublic, until keys.Millis) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		self, err := t.me()
		if err != nil {
			return nil, err
		}
		if more, err := t.graph.State().MayAdd(self, identity, device.Sign, until, MaxDevices); err != nil || !more {
			return nil, err
		}
		k := t.present()
		if _, ok := k.Read(k.Epochs); !ok {
			return nil, verify.ErrEpoch
		}
		p.Subject = device.Sign
		p.Sealed, err = format.SealForDevice(t.id, device.Seal, &k)
		return p, err
	})
	return err
}

// Begin begins to take part in a thread to which another device has added this one: it holds
// what the control logs are opened with. Once they have arrived, [Thread.FinishBegin] makes the
// device a member.
func Begin(ctx context.Context, env *Env, signedGenesis []byte, service format.SecretKey) (*Thread, error) {
	t, err := newThread(env, signedGenesis, format.RelayKeys(format.ThreadIDOf(signedGenesis), service), false)
	if err != nil {
		return nil, err
	}
	return t, t.found(ctx, nil)
}

// FinishBegin begins the log of this device, which another one of its identity has added. It is
// durable on return.
func (t *Thread) FinishBegin(ctx context.Context) error {
	return t.enter(ctx, func() (*format.Control, format.Keys, error) {
		record, sealed, ok := t.graph.AddedBy(t.env.self())
		if !ok {
			return nil, t.keys, fault.Of(ErrNotMember, "no device of the identity has added this one to the database, or it was removed since: add it again with weft device add, on a device that takes part")
		}
		k, err := format.OpenAdded(t.id, &t.keys, t.env.device, sealed, t.graph.Commit)
		if err != nil {
			return nil, t.keys, err
		}
		t.expanded = nil
		k, _ = t.open(k, func(_ clock.Hash, e *format.Epoch) (format.SecretKey, error) { return e.ForDevice(t.id, t.env.device) })
		return &format.Control{Op: format.OpStart, Added: record}, k, nil
	})
}

// RevokeDevice ends the membership of a device, signed by its identity itself and no device:
// also of one that is senior to this one. It is durable on return. If this device may, it
// begins a new epoch; else an owner's or admin's does that hears of it.
func (t *Thread) RevokeDevice(ctx context.Context, id *keys.Identity, device keys.PublicKey) error {
	t.mu.Lock()
	run, made, err := t.revocation(id, device)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := t.Ingest(ctx, run); err != nil {
		return err
	}
	if err := errors.Join(t.syncNow(), t.hasEffect(made)); err != nil {
		return err
	}
	t.mu.Lock()
	_, no := t.mayDecide()
	t.mu.Unlock()
	if no != nil {
		return nil // somebody else's device rotates
	}
	return t.Rotate(ctx)
}

// revocation returns the one record of a control log that is the identity's own; mu is held.
func (t *Thread) revocation(id *keys.Identity, device keys.PublicKey) (run format.Run, made clock.RecordID, err error) {
	s := t.graph.State()
	m := s.Members[device]
	switch {
	case t.closed:
		return run, made, ErrClosed
	case m == nil:
		return run, made, fault.Of(ErrNotFound, "%s is no member", device.DID())
	case m.Identity != id.Public():
		return run, made, fault.Of(ErrNotMember, "%s is a device of %s", device.DID(), m.Identity.DID())
	case device == t.env.self():
		return run, made, fault.Of(ErrNotMember, "a device does not remove itself: it leaves, with weft db leave")
	case s.Stopped():
		return run, made, errFrozen
	}
	p := &format.Control{Op: format.OpRevoke, Subject: device, View: t.viewOf(t.graph.DataOf(device))}
	d := format.NewDescriptor(id.Public(), format.KindControl, clock.LogID{})
	h := &format.Header{Log: d.LogID(t.id), Seq: 1, Epochs: t.firstEpoch(), Control: t.graph.NamedWith(p)}
	after := t.genesis.Time
	for _, c := range h.Control {
		after = max(after, t.graph.Time(c))
	}
	if err := t.controlTime(h, after, 0); err != nil {
		return run, made, err
	}
	at := format.Position{Thread: t.id, Log: h.Log, Seq: h.Seq}
	body, root, err := t.env.sealer.Seal(t.keys.Service, at, &format.Plaintext{Payload: p.Encode()})
	if err != nil {
		return run, made, err
	}
	h.Root = root
	r := format.Record{Header: h.Encode(), Body: body}
	made = clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: format.RecordHash(t.id, r.Header)}
	sig := id.Sign(format.DomainHead, t.id[:], made.Hash[:])
	return format.Run{Descriptor: d.Encode(), Records: []format.Record{r}, Signature: sig}, made, nil
}
