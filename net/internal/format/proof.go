package format

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// domainInviteProof is the domain of the signature by which a device shows that
// it holds an invite, before its join is known. It names the device, so that it
// is of no use to whoever is shown it.
const domainInviteProof = "weft/1/invite-proof"

var errInviteProof = fault.New(fault.BadInvite, "the invite was not proved")

// ProveInvite returns the public key of an invite, and the proof that device
// holds its secret.
func ProveInvite(inv Invite, device keys.PublicKey) (invite, proof []byte, err error) {
	id, err := InviteIdentity(inv)
	if err != nil {
		return nil, nil, err
	}
	public, sig := id.Public(), id.Sign(domainInviteProof, inv.Thread[:], device[:])
	return public[:], sig[:], nil
}

// CheckInviteProof checks that device holds the secret of an invite.
func CheckInviteProof(id ThreadID, device keys.PublicKey, invite, proof []byte) error {
	if len(invite) != len(keys.PublicKey{}) || len(proof) != len(keys.Signature{}) {
		return errInviteProof
	}
	key := keys.PublicKey(invite)
	if key.Check() != nil || !keys.Verify(key, domainInviteProof, keys.Signature(proof), id[:], device[:]) {
		return errInviteProof
	}
	return nil
}
