package thread

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/self"
)

// A store can be lost. With its genesis and its keys, which are kept beside the
// store, a thread begins again with nothing in it, and the exchange with its peers
// brings back what they hold: this device is still the member that it was.
//
//	Essence     genesis, keys: kept outside
//	Reopen      the thread, empty, under a new number: what is left of the old one is not read
//	Rebuild     that, with what is left of the old one, checked as if a peer had sent it
//	            the next Append opens a new data log, in the control log that came back

// An Essence is what a thread can be opened with when nothing else is left of it.
type Essence struct {
	Genesis []byte // signed
	Keys    []byte // sealed to the device
}

// Essence returns what the thread can be opened with again. ErrNoKeys says that
// this device is no member, or not yet.
func (t *Thread) Essence() (Essence, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.relay || !t.keys.CanRead() {
		return Essence{}, ErrNoKeys
	}
	sealed, err := self.Seal(t.env.device.Public(), t.id, t.relay, &t.keys, nil)
	return Essence{Genesis: bytes.Clone(t.signed), Keys: sealed}, err
}

// EssenceIn reads an Essence from the store, without opening the thread.
func EssenceIn(r store.Reader, id format.ThreadID) (e Essence, err error) {
	rows, err := logstore.Trace(r, id)
	if err != nil {
		return e, err
	}
	if e.Genesis, err = rows.Genesis(r); err == nil {
		e.Keys, err = rows.Secrets(r)
	}
	if err != nil {
		return Essence{}, fmt.Errorf("thread %s: %w", id, err)
	}
	return Essence{Genesis: bytes.Clone(e.Genesis), Keys: bytes.Clone(e.Keys)}, nil
}

// Reopen begins a thread again from its Essence, as the member or the relay that
// this device is in it. What the store holds of the thread under another number stays there; the
// thread must not be open.
func Reopen(ctx context.Context, env *Env, e Essence) (*Thread, error) {
	id := format.ThreadIDOf(e.Genesis)
	env, err := env.of(e.Genesis)
	if err != nil {
		return nil, fmt.Errorf("thread %s: %w", id, err)
	}
	relay, k, _, err := self.Open(env.device, id, e.Keys)
	if err != nil {
		return nil, fmt.Errorf("keys of thread %s: %w", id, err)
	}
	if !relay && !k.CanRead() {
		return nil, ErrNoKeys
	}
	t, err := newThread(env, e.Genesis, k, relay)
	if err != nil {
		return nil, err
	}
	if err := unlist(env.store, id); err != nil {
		return nil, err
	}
	return t, t.found(ctx, nil)
}

// unlist deletes the row that names a thread, if there is one.
func unlist(s store.Store, id format.ThreadID) error {
	tx := s.Begin()
	defer tx.Discard()
	return errors.Join(logstore.Unlist(tx, id), tx.Commit())
}

// Restored says that a store is a copy of what it was at another time: each
// thread's next record begins a new data log, as the device may have written more
// in its present one, and new threads get numbers that nothing has. No host may have
// the store open. Calling it again changes nothing.
func Restored(st store.Store) error {
	tx := st.Begin()
	defer tx.Discard()
	if err := logstore.Restored(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("own logs: %w", err)
	}
	return st.Sync()
}

// Own returns the last durable position of each log of this device. A log that a
// checkpoint has cut off as a whole has the position up to there.
func (t *Thread) Own() []clock.RecordID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var own []clock.RecordID
	for _, l := range t.byNum {
		if l.Desc.Device != t.env.self() || t.relay {
			continue
		}
		if top := l.Top(); top.Seq > 0 {
			own = append(own, top)
		}
	}
	return own
}

// Prefix begins every key of the store that is of this thread.
func (t *Thread) Prefix() []byte { return t.rows.Prefix() }

// formerControl returns the control log of this device that a reopened thread goes
// on in if it is no member by any: the longest, nil if none has come back. Forked control
// logs do no harm.
func (t *Thread) formerControl() (found *held.Log) {
	var most uint64
	for _, l := range t.byNum {
		if l.Desc.Kind != format.KindControl || l.Desc.Device != t.env.self() || !t.graph.Knows(l.ID) {
			continue
		}
		for _, b := range l.Branches {
			if b.Done.Seq > most {
				found, most = l, b.Done.Seq
			}
		}
	}
	return found
}
