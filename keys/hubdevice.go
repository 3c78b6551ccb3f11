package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// HubDevice derives the device by which a hub writes for one identity, from the hub's master key:
// each identity has another one, and another again of each generation, of which nobody without the
// master key can tell that they are one hub's. A master key of fewer than 32 bytes is [ErrInvalid].
func HubDevice(master Secret, identity PublicKey, generation uint64) (*Device, error) {
	if master.Len() < 32 {
		return nil, fmt.Errorf("a hub's master key has 32 bytes: %w", ErrInvalid)
	}
	info := append([]byte("weft/1/hub-device\x00"), identity[:]...)
	info = binary.BigEndian.AppendUint64(info, generation)
	b, err := hkdf.Key(sha256.New, master.bytes(), nil, string(info), 64)
	if err != nil {
		return nil, fmt.Errorf("hub's device: %w", err)
	}
	s, err := SecretOf(b)
	if err != nil {
		return nil, err
	}
	return DeviceOf(s)
}
