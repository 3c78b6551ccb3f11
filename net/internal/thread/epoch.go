package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/self"
)

// A removal and a rotation begin an epoch. Its key is in the control record that begins it,
// sealed to each device that goes on reading, and gives the keys of the epochs before it.
//
//	e0  the thread's first, by the genesis         e1 removes x: sealed to a, b, c; gives e0
//	e1 ─┐
//	e2 ─┴─ concurrent: who has seen both writes under a key made of theirs
//	e3  a rotation that has seen both: gives e1 and e2
//
// Whoever joins later opens the key of the epoch of its invite, and from there all earlier.

// present returns the keys, for who writes now; mu is held.
func (t *Thread) present() format.Keys {
	if !t.keys.CanRead() {
		return t.keys
	}
	return t.keys.Under(t.graph.State().Epochs())
}

// learn opens the keys of epochs that control records give to this device, and the keys of
// earlier epochs that these give. It reports whether there are more now; mu is held.
func (t *Thread) learn() bool {
	if t.relay || !t.keys.CanRead() {
		return false
	}
	k, more := t.open(t.keys, func(_ clock.Hash, e *format.Epoch) (format.SecretKey, error) {
		return e.ForDevice(t.id, t.env.device)
	})
	t.keys = k
	return more
}

// open adds to k what the epochs give, the keys of which open returns for who has others.
func (t *Thread) open(k format.Keys, open func(clock.Hash, *format.Epoch) (format.SecretKey, error)) (format.Keys, bool) {
	was := k.Len()
	if t.expanded == nil {
		t.expanded, t.given = map[clock.Hash]bool{}, map[clock.Hash]bool{}
	}
	for n := -1; n < k.Len(); {
		n = k.Len()
		t.graph.EpochRecords(func(epoch clock.Hash, e *format.Epoch) {
			if t.expanded[epoch] {
				return
			}
			if !k.Has(epoch) {
				read, err := open(epoch, e)
				if err != nil {
					return // it is given to others
				}
				k = k.With(epoch, read)
			}
			read, _ := k.Read([]clock.Hash{epoch})
			all, gives, err := e.Before(t.id, &k, read, t.graph.Commit)
			if err != nil {
				t.env.log.Warn("an epoch does not give those before it", "thread", t.id.String(), "epoch", epoch.String(), "err", err)
			}
			k, t.expanded[epoch] = all, true
			for _, g := range gives {
				if t.given[g] = true; !k.Has(g) {
					t.expanded[epoch] = false // again, once the record of that epoch is here
				}
			}
		})
	}
	return k, k.Len() > was
}

// keysOfInvite returns the keys that an invite's holder has: those that its record seals,
// those that rotations since have sealed to it, and all that these give.
func (t *Thread) keysOfInvite(record clock.Hash, id *keys.Identity, sealed []byte) (format.Keys, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := format.OpenWithInvite(t.id, &t.keys, id, sealed, t.graph.Commit)
	if err != nil {
		return format.Keys{}, err
	}
	t.expanded = nil
	k, _ = t.open(k, func(_ clock.Hash, e *format.Epoch) (format.SecretKey, error) { return e.ForInvite(t.id, record, id) })
	return k, nil
}

// unlinked returns the epochs whose keys are held and that no other of them gives.
func (t *Thread) unlinked() []clock.Hash {
	return slices.DeleteFunc(t.keys.Held(), func(e clock.Hash) bool { return t.given[e] })
}

// putSecrets keeps the keys.
func (t *Thread) putSecrets(tx store.Tx, k *format.Keys) error {
	if t.entering {
		lacks := format.RelayKeys(t.id, k.Service)
		k = &lacks
	}
	b, err := self.Seal(t.env.device.Public(), t.id, t.relay, k, t.invite)
	if err != nil {
		return err
	}
	return t.rows.PutSecrets(tx, b)
}
