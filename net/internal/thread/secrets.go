package thread

import (
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// sealSecrets returns the keys, the role here and the invite of a join under way,
// sealed to the device.
func (t *Thread) sealSecrets(k *format.Keys, invite *format.Invite) ([]byte, error) {
	var inv []byte
	if invite != nil {
		inv = format.EncodeInvite(*invite)
	}
	row := logstore.Secrets{Relay: t.relay, Keys: k.Encode(), Invite: inv}
	return keys.Seal(t.env.device.Public().Seal, format.SealedTo(t.id, "device"), nil, row.Encode())
}

// openSecrets is the inverse of sealSecrets, for the device that they were sealed to.
func openSecrets(env *Env, id format.ThreadID, sealed []byte) (relay bool, k format.Keys, invite *format.Invite, err error) {
	b, err := keys.Open(env.device.SealingKey(), format.SealedTo(id, "device"), nil, sealed)
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
