package net

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// createThread makes a thread of which this device is the first member, as owner.
// It is durable on return.
func createThread(ctx context.Context, env *threadEnv, name string) (*replica, error) {
	if len(name) > maxThreadName {
		return nil, fmt.Errorf("%w: a thread's name has at most %d bytes", ErrTooLarge, maxThreadName)
	}
	signed, k, err := newGenesis(env.device, env.cert, env.clock.Now())
	if err != nil {
		return nil, err
	}
	t, err := newThread(env, signed, k, false)
	if err != nil {
		return nil, err
	}
	if err := t.found(ctx, nil); err != nil {
		return nil, err
	}
	data := newDescriptor(env.self(), kindData)
	if _, err := t.appendControl(ctx, &controlPayload{Op: opOpen, Name: name}); err != nil {
		return nil, err
	}
	if _, err := t.appendControl(ctx, &controlPayload{Op: opLog, Data: data.encode()}); err != nil {
		return nil, err
	}
	return t, nil
}

// adoptThread begins to keep a thread as a relay.
func adoptThread(ctx context.Context, env *threadEnv, signedGenesis []byte, service secretKey) (*replica, error) {
	k := threadKeys{Epoch: clock.Hash(threadID(signedGenesis)), Service: service}
	t, err := newThread(env, signedGenesis, k, true)
	if err != nil {
		return nil, err
	}
	return t, t.found(ctx, nil)
}

func newThread(env *threadEnv, signed []byte, k threadKeys, relay bool) (*replica, error) {
	g, err := decodeGenesis(signed)
	if err != nil {
		return nil, err
	}
	if commitTo(k.Service) != g.Service {
		return nil, fmt.Errorf("%w: not the service key of the thread", ErrWrongKey)
	}
	id := threadID(signed)
	t := &replica{
		env: env, id: id, signed: slices.Clone(signed), genesis: g, relay: relay, keys: k,
		logs: map[clock.LogID]*threadLog{}, named: map[clock.LogID]clock.Hash{},
		graph: newControlGraph(id, g), flushedTo: -1, changes: make(chan struct{}),
	}
	t.blobs.init(t)
	return t, nil
}

// found gives the thread its number and writes what it begins with.
func (t *replica) found(ctx context.Context, invite *Invite) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.tryFound(invite)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("net: new thread: %w", err)
		}
		return t.env.store.Sync()
	}
}

func (t *replica) tryFound(invite *Invite) error {
	tx := t.env.store.Begin()
	defer tx.Discard()
	index := append([]byte(keyThreads), t.id[:]...)
	if _, err := tx.Get(index); err == nil {
		return errors.New("the thread is held already")
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	next, err := tx.Get([]byte(keyThreads))
	switch {
	case err == nil && len(next) == 4:
		t.num = binary.BigEndian.Uint32(next)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	secrets, err := t.sealSecrets(invite)
	if err != nil {
		return err
	}
	num := binary.BigEndian.AppendUint32(nil, t.num)
	return errors.Join(
		tx.Put([]byte(keyThreads), binary.BigEndian.AppendUint32(nil, t.num+1)),
		tx.Put(index, num),
		tx.Put(t.key(keyGenesis), t.signed),
		tx.Put(t.key(keySecrets), secrets),
		tx.Commit(),
	)
}

func (t *replica) putOwn(tx store.Tx, control, data *threadLog) error {
	num := func(l *threadLog) uint32 {
		if l == nil {
			return noLog
		}
		return l.num
	}
	v := binary.BigEndian.AppendUint32(nil, num(control))
	return tx.Put(t.key(keyOwn), binary.BigEndian.AppendUint32(v, num(data)))
}

// close stops what the thread runs and waits for it.
func (t *replica) close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.wg.Wait()
		return
	}
	t.closed = true
	t.stopWaker()
	t.signal()
	t.mu.Unlock()
	t.wg.Wait()
}
