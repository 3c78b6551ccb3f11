package net

import (
	"context"
	"errors"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/thread"
)

// A recovery key makes its holder the owner of a thread, once; a device without an invite is
// added by another one of its identity. Both come to a thread as a joiner does: what they
// lack is fetched from a peer that holds it, a relay will do, and then they write the record
// that makes them members.

// CreateRecoverable is [Host.Create] with a recovery key, which is kept nowhere; it names
// addresses where the thread may be found.
func (h *Host) CreateRecoverable(ctx context.Context, name string, addrs []multiaddr.Multiaddr) (*Thread, Recovery, error) {
	key := keys.NewIdentity()
	t, err := h.create(ctx, name, key.Public())
	if err != nil {
		return nil, Recovery{}, err
	}
	r, err := format.NewRecovery(t.ID(), format.SecretKey(t.held().ServiceKey()), key, addrs)
	return t, r, err
}

// Commitment returns what the thread commits to: the recovery key, and who used one.
func (t *Thread) Commitment() Commitment { return t.held().Recovery() }

// Recover makes this device's identity the owner of a thread by a recovery key, in the place
// of the one that had it, whose devices are members no more. Where the thread is not held,
// all of it is fetched first, from a connected peer or one at an address of the key: what
// the fetched copy lacks of that identity's documents is lost. The key is used up; next
// takes its place, unless none is wanted. It is durable on return.
func (h *Host) Recover(ctx context.Context, r Recovery, wanted bool) (t *Thread, next Recovery, err error) {
	id := keys.NewIdentity()
	key := id.Public()
	if !wanted {
		key = keys.PublicKey{}
	}
	if t, err = h.Thread(r.Thread); err == nil {
		err = t.held().Recover(ctx, r, key)
	} else {
		t, err = h.reclaim(ctx, r, key)
	}
	if err != nil || !wanted {
		return t, next, err
	}
	next, err = format.NewRecovery(r.Thread, r.Service(), id, r.Addrs)
	return t, next, err
}

// reclaim recovers a thread of which this host holds nothing.
func (h *Host) reclaim(ctx context.Context, r Recovery, next keys.PublicKey) (*Thread, error) {
	key, proof, err := r.Prove(h.self)
	if err != nil {
		return nil, err
	}
	t, err := fromAny(ctx, h, r.Addrs, errNoHolder, func(p peer.ID) (*thread.Thread, error) {
		return h.reclaimFrom(ctx, p, r, controlRequest{id: r.Thread, invite: key, proof: proof})
	})
	if err != nil {
		return nil, err
	}
	if err := t.Recover(ctx, r, next); err != nil {
		return nil, h.undo(t, err)
	}
	return h.entered(t, key, proof)
}

// reclaimFrom takes in all that a peer holds of a thread.
func (h *Host) reclaimFrom(ctx context.Context, p peer.ID, r Recovery, q controlRequest) (t *thread.Thread, err error) {
	defer func() {
		if err != nil && t != nil {
			err = h.undo(t, err)
		}
	}()
	if err := h.clear(ctx, r.Thread); err != nil {
		return nil, err
	}
	var began error
	opened := false
	open := func() error {
		if opened || t == nil {
			return nil
		}
		opened = true
		return t.OpenReclaimed(r)
	}
	err = h.fetch(ctx, p, q, func(genesis []byte) {
		if t == nil && began == nil {
			t, began = thread.Reclaim(ctx, h.env, r, genesis)
		}
	}, func(run format.Run, _ int) (bool, error) {
		if t == nil {
			return false, errors.Join(began, fault.Errorf(fault.Malformed, "records came before the genesis"))
		}
		if d, err := format.DecodeDescriptor(run.Descriptor); err == nil && d.Kind != format.KindControl {
			if err := open(); err != nil { // control logs come first
				return false, err
			}
		}
		return true, takeRun(ctx, t, run)
	})
	if err == nil {
		err = began
	}
	if err == nil && t == nil {
		err = fault.Errorf(fault.Malformed, "the peer gave no genesis")
	}
	if err == nil {
		err = open()
	}
	return t, err
}

// ServiceKey returns the key that opens the control logs, for a device that is added.
func (t *Thread) ServiceKey() keys.Secret {
	s, _ := keys.SecretOf(t.held().ServiceKey()) // of 32 bytes, which make one
	return s
}

// RevokeDevice ends the membership of a device, signed by its identity and no device.
func (t *Thread) RevokeDevice(ctx context.Context, id *keys.Identity, device keys.PublicKey) error {
	return t.held().RevokeDevice(ctx, id, device)
}

// AddDevice lets a device of this device's identity into the thread, by its certificate.
func (t *Thread) AddDevice(ctx context.Context, cert *keys.Certificate) error {
	return t.held().AddDevice(ctx, cert)
}

// CreateFor makes a thread of which the identity is the owner that delegated that to this
// device, or to the one that this hub has for it; its own devices come by [Thread.AddDevice].
// recovery is a key that the owner has, the zero key for none.
func (h *Host) CreateFor(ctx context.Context, name string, d *keys.Delegation, recovery keys.PublicKey) (*Thread, error) {
	t, err := thread.CreateFor(ctx, h.env, name, d, recovery)
	if err != nil {
		return nil, err
	}
	return h.entered(t, nil, nil)
}

// Delegate lets a device into the thread that is another's, and writes for this device's
// identity as that delegated: it begins with [Host.Begin].
func (t *Thread) Delegate(ctx context.Context, d *keys.Delegation) error {
	return t.held().Delegate(ctx, d)
}

// Begin makes this device a member of a thread to which another device of its identity has
// added it, also of one that is here and from which it was removed. It needs one connected
// peer, or one reachable at addrs, that holds the thread.
func (h *Host) Begin(ctx context.Context, id ThreadID, service keys.Secret, addrs []multiaddr.Multiaddr) (*Thread, error) {
	if t, err := h.Thread(id); err == nil {
		return t, t.beginAgain(ctx, addrs)
	}
	if service.Len() != len(format.SecretKey{}) {
		return nil, fault.Errorf(fault.Malformed, "a service key of %d bytes", service.Len())
	}
	t, err := fromAny(ctx, h, addrs, errNoHolder, func(p peer.ID) (*thread.Thread, error) {
		return h.beginFrom(ctx, p, id, format.SecretKey(service.Reveal()))
	})
	if err != nil {
		return nil, err
	}
	return h.entered(t, nil, nil)
}

// beginAgain begins another log of this device, which had been removed and was added again;
// nothing happens if it is a member.
func (t *Thread) beginAgain(ctx context.Context, addrs []multiaddr.Multiaddr) error {
	h, th := t.share.host, t.share.thread
	if m, ok := th.Member(h.self); ok && !m.Added {
		return nil
	}
	_, err := fromAny(ctx, h, addrs, errNoHolder, func(p peer.ID) (*Thread, error) {
		_, runs, err := h.fetchControl(ctx, p, controlRequest{id: th.ID(), limit: maxJoinBytes})
		if err == nil {
			err = takeRuns(ctx, th, runs, th.FinishBegin)
		}
		return t, err
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range t.share.links { // who refused the former member may be asked again
		poke(l.kick)
		poke(l.kickBlobs)
	}
	t.share.admission.Ring()
	t.share.status.Ring()
	return nil
}

func (h *Host) beginFrom(ctx context.Context, p peer.ID, id ThreadID, service format.SecretKey) (*thread.Thread, error) {
	genesis, runs, err := h.fetchControl(ctx, p, controlRequest{id: id, limit: maxJoinBytes})
	if err != nil {
		return nil, err
	}
	if format.ThreadIDOf(genesis) != id {
		return nil, fault.Of(ErrMalformed, "genesis of another thread")
	}
	if err := h.clear(ctx, id); err != nil {
		return nil, err
	}
	t, err := thread.Begin(ctx, h.env, slices.Clone(genesis), service)
	if err != nil {
		return nil, err
	}
	return h.finish(ctx, t, runs, t.FinishBegin)
}
