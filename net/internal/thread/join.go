package thread

import (
	"context"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/self"
)

// A join is in two halves, as the joiner can read nothing yet: Join holds the genesis
// and the service key of the invite's URL, the control logs arrive, and FinishJoin
// finds the invite's record in them, opens the keys that it seals, and writes the
// record that makes the device a member. A restart in between begins there again.

// Join begins to join: the thread holds what its control logs are opened
// with. Once they have arrived, [Thread.FinishJoin] makes the device a member.
func Join(ctx context.Context, env *Env, invite format.Invite, signedGenesis []byte) (*Thread, error) {
	if format.ThreadIDOf(signedGenesis) != invite.Thread {
		return nil, fault.Of(format.ErrMalformed, "genesis of another thread than the invite's")
	}
	k := format.RelayKeys(invite.Thread, format.InviteService(invite))
	t, err := newThread(env, signedGenesis, k, false)
	if err != nil {
		return nil, err
	}
	t.invite = &invite
	return t, t.found(ctx, &invite)
}

// Joined reports whether the thread can be read and written here: false on a
// relay and while a join or a recovery is under way.
func (t *Thread) Joined() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys.CanRead() && !t.entering
}

// pendingInvite returns the invite that a join under way uses.
func (t *Thread) pendingInvite() (format.Invite, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.invite == nil {
		return format.Invite{}, false
	}
	return *t.invite, true
}

// FinishJoin makes this device a member by the pending invite. It returns
// ErrNoInvite until the invite's record has arrived, and an ErrInvite if the
// invite lets nobody in. The join is durable on return. It stands while the invite is
// not closed, and after that if a close or an admit lists it.
func (t *Thread) FinishJoin(ctx context.Context) error {
	inv, ok := t.pendingInvite()
	if !ok {
		if t.Joined() {
			return nil
		}
		return ErrNoInvite
	}
	id, err := format.InviteIdentity(inv)
	if err != nil {
		return err
	}
	record, sealed, err := t.openInvite(id.Public())
	if err != nil {
		return err
	}
	k, err := t.keysOfInvite(record, id, sealed)
	if err != nil {
		return err
	}
	cert, err := t.env.cert.Encode()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return t.enter(ctx, func() (*format.Control, format.Keys, error) {
		return &format.Control{Op: format.OpJoin, Invite: record, Certificate: cert}, k, nil
	})
}

// enter commits the record that makes this device a member, with the keys that it was given:
// say is asked with the locks held.
func (t *Thread) enter(ctx context.Context, say func() (*format.Control, format.Keys, error)) error {
	if err := t.commitEntry(ctx, say); err != nil {
		return err
	}
	if err := t.syncNow(); err != nil {
		return err
	}
	return t.recheck() // what waited for the read key
}

// commitEntry writes the record, and the keys, in one commit: a device that is a member can
// read, and one that can read is a member.
func (t *Thread) commitEntry(ctx context.Context, say func() (*format.Control, format.Keys, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	p, k, err := say()
	if err != nil {
		return err
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	w, err := t.writeControl(tx, p, 0)
	if err != nil {
		return err
	}
	was := t.keys
	t.keys = k
	secrets, err := self.Seal(t.env.device.Public(), t.id, t.relay, &k, nil)
	if err == nil {
		err = t.rows.PutSecrets(tx, secrets)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.keys = was
		return fmt.Errorf("%s: %w", p.Op, err)
	}
	t.invite, t.entering = nil, false
	t.installControl(w)
	t.grew.Ring()
	return nil
}

// inviteSignature signs a join of ours with the pending invite; mu is held.
func (t *Thread) inviteSignature(control clock.LogID, join *format.Control) keys.Signature {
	if t.invite == nil {
		return keys.Signature{}
	}
	id, err := format.InviteIdentity(*t.invite)
	if err != nil {
		return keys.Signature{}
	}
	return id.Sign(format.DomainJoin, t.id[:], control[:], join.Certificate, join.Data)
}
