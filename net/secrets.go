package net

import "github.com/weftdb/weft/keys"

type secretsRow struct {
	_      struct{} `cbor:",toarray"`
	Relay  bool
	Keys   []byte
	Invite []byte // of a join under way, or empty
}

// sealSecrets returns the keys, the role here and the invite of a join under way,
// sealed to the device.
func (t *replica) sealSecrets(invite *Invite) ([]byte, error) {
	var inv []byte
	if invite != nil {
		inv = encodeInvite(*invite)
	}
	b := encode(&secretsRow{Relay: t.relay, Keys: t.keys.encode(), Invite: inv})
	return keys.Seal(t.env.device.Public().Seal, sealedTo(t.id, "device"), nil, b)
}

func openSecrets(env *threadEnv, id ThreadID, sealed []byte) (relay bool, k threadKeys, invite *Invite, err error) {
	b, err := keys.Open(env.device.SealingKey(), sealedTo(id, "device"), nil, sealed)
	if err != nil {
		return false, k, nil, err
	}
	var row secretsRow
	if err := decode(b, "secrets of a thread", &row); err != nil {
		return false, k, nil, err
	}
	if len(row.Invite) > 0 {
		i, err := decodeInvite(row.Invite)
		if err != nil {
			return false, k, nil, err
		}
		invite = &i
	}
	k, err = decodeThreadKeys(row.Keys)
	return row.Relay, k, invite, err
}
