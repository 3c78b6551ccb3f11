package thread

import (
	"context"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// A recovery key makes its holder the owner, once. On a device that has the thread that is
// one record. One that has nothing takes the thread in first, as the record says what its
// author had of the data of whom it replaces: what it does not name is void.
//
//	Reclaim           genesis and service key; all logs are taken in
//	OpenReclaimed     the control logs are there: the recovery key opens the read keys
//	Recover           the record, and a new epoch

// A Recovery is what a thread commits to.
type Recovery = control.Recovery

// A Recovered is one use of a recovery key.
type Recovered = control.Recovered

// ErrRecovery reports a recovery key that does not make an owner.
var ErrRecovery = control.ErrRecovery

// Recovery returns what the thread commits to.
func (t *Thread) Recovery() Recovery {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph.State().Recovery
}

// Recoverable reports whether a key is the thread's present recovery key.
func (t *Thread) Recoverable(key keys.PublicKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, err := t.graph.State().Recovery.Opens(key)
	return known && err == nil
}

// Reclaim begins to recover a thread of which nothing is held: it holds what the control
// logs are opened with. Until [Thread.Recover] it is nobody's.
func Reclaim(ctx context.Context, env *Env, r format.Recovery, signedGenesis []byte) (*Thread, error) {
	if format.ThreadIDOf(signedGenesis) != r.Thread {
		return nil, fault.Of(format.ErrMalformed, "genesis of another thread than the recovery key's")
	}
	t, err := newThread(env, signedGenesis, format.RelayKeys(r.Thread, r.Service()), false)
	if err != nil {
		return nil, err
	}
	t.entering = true
	return t, t.found(ctx, nil)
}

// OpenReclaimed opens the read keys that the recovery key has, once the control logs are
// there, and what waited for them.
func (t *Thread) OpenReclaimed(r format.Recovery) error {
	key, err := r.Identity()
	if err != nil {
		return err
	}
	if err := t.openReclaimed(key); err != nil {
		return err
	}
	return t.recheck()
}

func (t *Thread) openReclaimed(key *keys.Identity) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.graph.State().Recovery.Check(key.Public()); err != nil {
		return err
	}
	k, err := t.genesis.OpenFirst(t.id, &t.keys, key)
	if t.genesis.Recovery != key.Public() {
		k, err = t.keys, nil // a later key has what epochs give
	}
	if err != nil {
		return err
	}
	t.expanded = nil
	k, _ = t.open(k, func(_ clock.Hash, e *format.Epoch) (format.SecretKey, error) {
		return e.ForInvite(t.id, clock.Hash(key.Public()), key)
	})
	if !k.CanRead() {
		return fault.Of(ErrRecovery, "no key is sealed to the recovery key: the device that made it had no time to; another one's copy of the database can be exported")
	}
	t.keys = k
	return nil
}

// Recover makes this device's identity the owner, senior to all, by a recovery key, in the
// place of the one that had the thread: of that one's devices what is held here stays, and
// nothing else. next is the recovery key from then on, zero for none. A new epoch begins. It
// is durable on return.
func (t *Thread) Recover(ctx context.Context, r format.Recovery, next keys.PublicKey) error {
	if r.Thread != t.id {
		return fault.Of(ErrRecovery, "the recovery key is of another database, with the ID %s", r.Thread)
	}
	if t.relay {
		return ErrNoKeys
	}
	key, err := r.Identity()
	if err != nil {
		return err
	}
	cert, err := t.env.cert.Encode()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	err = t.enter(ctx, func() (*format.Control, format.Keys, error) {
		if err := t.graph.State().Recovery.Check(key.Public()); err != nil {
			return nil, t.keys, err
		}
		if !t.keys.CanRead() {
			return nil, t.keys, ErrNoKeys
		}
		t.recovering = key
		former := t.graph.DataOf(t.graph.State().Recovery.Owner)
		// If the key is used twice, what a use has not seen of definitions does not count.
		view := t.viewOf(append(t.graph.DataOfRulers(), former...))
		if len(view) == format.MaxView {
			view = t.viewOf(former) // which is what it cuts
		}
		return &format.Control{Op: format.OpRecover, Certificate: cert, Key: key.Public(), Next: next, View: view}, t.keys, nil
	})
	if err != nil {
		return err
	}
	t.notify()
	return t.Rotate(ctx)
}
