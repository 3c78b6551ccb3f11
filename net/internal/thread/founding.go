package thread

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/blobs"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/self"
)

// Create makes a thread of which this device is the first member, as owner.
// recovery is its recovery key, zero for none. It is durable on return.
func Create(ctx context.Context, env *Env, name string, recovery keys.PublicKey) (*Thread, error) {
	signed, k, err := format.NewGenesis(env.device, env.cert, recovery, env.clock.Now())
	if err != nil {
		return nil, err
	}
	return create(ctx, env, name, signed, k)
}

// CreateFor is [Create] for the identity that delegated that to this device, or to that which this
// hub has for it: the owner is that identity, and nobody decides anything until a device of its own
// is added.
func CreateFor(ctx context.Context, env *Env, name string, d *keys.Delegation, recovery keys.PublicKey) (*Thread, error) {
	device, err := env.Hub.Delegated(env.device, d)
	if err != nil {
		return nil, err
	}
	if device == nil {
		return nil, fault.Of(ErrNotMember, "the delegation is to another device, %s", d.Sign.DID())
	}
	signed, k, err := format.NewDelegatedGenesis(device, d, recovery, env.clock.Now())
	if err != nil {
		return nil, err
	}
	return create(ctx, env, name, signed, k)
}

// create makes a thread and all that it begins with in one commit: a thread that this device
// made has its name and a log, or is not there.
func create(ctx context.Context, env *Env, name string, signed []byte, k format.Keys) (*Thread, error) {
	if len(name) > format.MaxThreadName {
		return nil, fault.Of(format.ErrTooLarge, "a thread's name has at most %d bytes", format.MaxThreadName)
	}
	for {
		t, err := newThread(env, signed, k, false)
		if err != nil {
			return nil, err
		}
		if err = cmp.Or(ctx.Err(), t.checkTime()); err == nil {
			err = t.tryCreate(name)
		}
		if err == nil {
			if err = t.syncNow(); err != nil {
				return nil, errors.Join(err, t.Remove(context.WithoutCancel(ctx)))
			}
			t.notify()
			return t, nil
		}
		t.Close()
		if !errors.Is(err, store.ErrConflict) { // else another thread took the number
			return nil, fmt.Errorf("new thread: %w", err)
		}
	}
}

// tryCreate commits the genesis, the keys and the first two control records. After an error the
// thread has in memory what the store does not have.
func (t *Thread) tryCreate(name string) error {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	tx := t.env.store.Begin()
	defer tx.Discard()
	if err := t.putFounding(tx, nil); err != nil {
		return err
	}
	for _, p := range []*format.Control{{Op: format.OpOpen, Name: name}, {Op: format.OpLog}} {
		w, err := t.writeControl(tx, p, 0)
		if err != nil {
			return err
		}
		t.installControl(w)
	}
	return tx.Commit()
}

// Adopt begins to keep a thread as a relay.
func Adopt(ctx context.Context, env *Env, signedGenesis []byte, service format.SecretKey) (*Thread, error) {
	k := format.RelayKeys(format.ThreadIDOf(signedGenesis), service)
	t, err := newThread(env, signedGenesis, k, true)
	if err != nil {
		return nil, err
	}
	return t, t.found(ctx, nil)
}

// newThread returns a thread with nothing in it. It checks the service key against
// the genesis: a relay takes it from a device, a joiner from an invite.
func newThread(env *Env, signed []byte, k format.Keys, relay bool) (*Thread, error) {
	g, err := format.DecodeGenesis(signed)
	if err != nil {
		return nil, err
	}
	if env, err = env.of(signed); err != nil {
		return nil, err
	}
	if format.CommitTo(k.Service) != g.Service {
		return nil, fault.Of(format.ErrWrongKey, "not the service key of the thread")
	}
	id := format.ThreadIDOf(signed)
	return &Thread{
		env: env, id: id, signed: slices.Clone(signed), genesis: g, relay: relay, keys: k,
		logs: map[clock.LogID]*held.Log{}, since: map[clock.Hash]int64{}, prunedOf: map[clock.RecordID]bool{},
		graph: control.New(id, g), wanted: map[clock.Hash]bool{}, limits: map[clock.LogID]*limit{}, flushedTo: -1, ended: make(chan struct{}),
	}, nil
}

// setRows gives a thread its rows in the store.
func (t *Thread) setRows(rows logstore.Table) {
	t.rows = rows
	of, refs, lacks, fresh := rows.BlobKeys()
	t.blobs = blobs.New(blobs.Config{
		Store: t.env.store, Dir: t.env.dir, ID: t.id, Rows: of, Refs: refs, Lacks: lacks, Fresh: fresh,
		Keys: t.readKeys, Writable: t.notClosed, Grew: &t.grew,
	})
}

// found gives the thread its number and writes what it begins with.
func (t *Thread) found(ctx context.Context, invite *format.Invite) error {
	if err := t.checkTime(); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.tryFound(invite)
		if errors.Is(err, store.ErrConflict) { // another thread took the number
			continue
		}
		if err != nil {
			return fmt.Errorf("new thread: %w", err)
		}
		return t.env.store.Sync()
	}
}

// checkTime refuses a thread after which no record can have a time.
func (t *Thread) checkTime() error {
	if t.genesis.Time > clock.MaxTime {
		return fault.Of(format.ErrMalformed, "the thread's genesis has a time beyond the year 9999")
	}
	return nil
}

// tryFound commits what putFounding writes.
func (t *Thread) tryFound(invite *format.Invite) error {
	tx := t.env.store.Begin()
	defer tx.Discard()
	if err := t.putFounding(tx, invite); err != nil {
		return err
	}
	return tx.Commit()
}

// putFounding writes the genesis, the sealed keys and the thread's number.
func (t *Thread) putFounding(tx store.Tx, invite *format.Invite) error {
	rows, err := logstore.Found(tx, t.id)
	if err != nil {
		return err
	}
	t.setRows(rows)
	secrets, err := self.Seal(t.env.device.Public(), t.id, t.relay, &t.keys, invite)
	if err != nil {
		return err
	}
	return errors.Join(rows.PutGenesis(tx, t.signed), rows.PutSecrets(tx, secrets))
}

// putOwn remembers which logs are this device's.
func (t *Thread) putOwn(tx store.Tx, control, data *held.Log) error {
	num := func(l *held.Log) uint32 {
		if l == nil {
			return logstore.NoLog
		}
		return l.Num
	}
	return t.rows.PutOwn(tx, num(control), num(data))
}

// Close stops what the thread runs and waits for it.
func (t *Thread) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.wg.Wait()
		return
	}
	t.closed = true
	close(t.ended)
	t.stopWaker()
	t.grew.Ring()
	t.mu.Unlock()
	t.wg.Wait()
}

// Remove deletes what the store holds of a thread, in several transactions, the row that names it last.
func (t *Thread) Remove(ctx context.Context) error {
	t.Close()
	if err := t.forget(ctx, t.rows); err != nil {
		return fmt.Errorf("remove thread: %w", err)
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	tx.UseReserve()
	if err := errors.Join(logstore.Unlist(tx, t.id), tx.Commit()); err != nil {
		return fmt.Errorf("remove thread: %w", err)
	}
	return errors.Join(t.blobs.Remove(), t.env.store.Sync())
}

// Discard is Remove of a thread that is not open, and perhaps cannot be opened. One
// that the store does not hold is no error.
func Discard(ctx context.Context, env *Env, id format.ThreadID) error {
	snap := env.store.Snapshot()
	rows, err := logstore.Find(snap, id)
	snap.Release()
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	t := &Thread{env: env, id: id, ended: make(chan struct{})}
	t.setRows(rows)
	return t.Remove(ctx)
}
