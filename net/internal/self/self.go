// Package self is who a host is in a thread, and what it alone can read of what it keeps of it.
//
//	Hub ── Device    the device that the host has in the thread of a genesis
//	Seal, Open       the thread's keys, as the store has them: for that device
//
// A hub has another device for each identity that delegates to it: docs/design/hub.md.
package self

import (
	"fmt"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A Hub gives the device by which a hub writes for an identity, always the same, or nil. The nil
// Hub is that of a host that is none.
type Hub func(identity keys.PublicKey, generation uint64) (*keys.Device, error)

// Device returns the device that a host has in the thread of a signed genesis: that which the
// genesis delegates to, if it is one of the hub's; else the host's own.
func (h Hub) Device(own *keys.Device, signed []byte) (*keys.Device, error) {
	g, err := format.DecodeGenesis(signed)
	if err != nil || g.Delegation == nil {
		return own, err
	}
	d, err := h.Delegated(own, g.Delegation)
	if d == nil {
		d = own
	}
	return d, err
}

// Delegated returns the device of a host that a delegation is to, nil if it is none of its.
func (h Hub) Delegated(own *keys.Device, d *keys.Delegation) (*keys.Device, error) {
	if d.Device() == own.Public() {
		return own, nil
	}
	if h == nil {
		return nil, nil
	}
	device, err := h(d.Identity, d.Generation)
	if err != nil {
		return nil, fmt.Errorf("device of the hub: %w", err)
	}
	if device == nil || device.Public() != d.Device() {
		return nil, nil
	}
	return device, nil
}

// Seal returns the keys of a thread, the role here and the invite of a join under way, sealed to
// the device.
func Seal(to keys.DevicePublic, id format.ThreadID, relay bool, k *format.Keys, invite *format.Invite) ([]byte, error) {
	var inv []byte
	if invite != nil {
		inv = format.EncodeInvite(*invite)
	}
	row := logstore.Secrets{Relay: relay, Keys: k.Encode(), Invite: inv}
	return keys.Seal(to.Seal, format.SealedTo(id, "device"), nil, row.Encode())
}

// Open is the inverse of Seal, for the device that it was sealed to.
func Open(device *keys.Device, id format.ThreadID, sealed []byte) (relay bool, k format.Keys, invite *format.Invite, err error) {
	b, err := keys.Open(device.SealingKey(), format.SealedTo(id, "device"), nil, sealed)
	if err != nil {
		return false, k, nil, err
	}
	row, err := logstore.DecodeSecrets(b)
	if err != nil {
		return false, k, nil, err
	}
	if len(row.Invite) > 0 {
		i, err := format.DecodeInvite(row.Invite)
		if err != nil {
			return false, k, nil, err
		}
		invite = &i
	}
	k, err = format.DecodeKeys(id, row.Keys)
	return row.Relay, k, invite, err
}
