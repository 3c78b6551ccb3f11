package net

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// createThread makes a thread of which this device is the first member, as owner.
// It is durable on return.
func createThread(ctx context.Context, env *threadEnv, name string) (*Thread, error) {
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

// joinThread begins to join: the thread holds what its control logs are opened
// with. Once they have arrived, [Thread.finishJoin] makes the device a member.
func joinThread(ctx context.Context, env *threadEnv, invite Invite, signedGenesis []byte) (*Thread, error) {
	if threadID(signedGenesis) != invite.Thread {
		return nil, fmt.Errorf("%w: genesis of another thread than the invite's", ErrMalformed)
	}
	k := threadKeys{Epoch: clock.Hash(invite.Thread), Service: secretKey(invite.service.Reveal())}
	t, err := newThread(env, signedGenesis, k, false)
	if err != nil {
		return nil, err
	}
	t.invite = &invite
	return t, t.found(ctx, &invite)
}

// adoptThread begins to keep a thread as a relay.
func adoptThread(ctx context.Context, env *threadEnv, signedGenesis []byte, service secretKey) (*Thread, error) {
	k := threadKeys{Epoch: clock.Hash(threadID(signedGenesis)), Service: service}
	t, err := newThread(env, signedGenesis, k, true)
	if err != nil {
		return nil, err
	}
	return t, t.found(ctx, nil)
}

func newThread(env *threadEnv, signed []byte, k threadKeys, relay bool) (*Thread, error) {
	g, err := decodeGenesis(signed)
	if err != nil {
		return nil, err
	}
	if commitTo(k.Service) != g.Service {
		return nil, fmt.Errorf("%w: not the service key of the thread", ErrWrongKey)
	}
	id := threadID(signed)
	t := &Thread{
		env: env, id: id, signed: slices.Clone(signed), genesis: g, relay: relay, keys: k,
		logs: map[clock.LogID]*threadLog{}, named: map[clock.LogID]clock.Hash{},
		graph: newControlGraph(id, g), flushedTo: -1, changes: make(chan struct{}),
	}
	t.blobs.init(t)
	return t, nil
}

// found gives the thread its number and writes what it begins with.
func (t *Thread) found(ctx context.Context, invite *Invite) error {
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

func (t *Thread) tryFound(invite *Invite) error {
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

type secretsRow struct {
	_      struct{} `cbor:",toarray"`
	Relay  bool
	Keys   []byte
	Invite []byte // of a join under way, or empty
}

// sealSecrets returns the keys, the role here and the invite of a join under way,
// sealed to the device.
func (t *Thread) sealSecrets(invite *Invite) ([]byte, error) {
	var inv []byte
	if invite != nil {
		inv = invite.encode()
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

// storedThreads returns the IDs of the threads in the store.
func storedThreads(s store.Store) ([]ThreadID, error) {
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(keyThreads)))
	defer it.Close()
	var ids []ThreadID
	for ; it.Valid(); it.Next() {
		if k := it.Key(); len(k) == len(keyThreads)+32 {
			ids = append(ids, ThreadID(k[len(keyThreads):]))
		}
	}
	return ids, it.Err()
}

// openThread opens a thread of the store. It reads the control logs and one value
// a branch of the data logs, whatever their length.
func openThread(_ context.Context, env *threadEnv, id ThreadID) (*Thread, error) {
	snap := env.store.Snapshot()
	defer snap.Release()
	num, err := snap.Get(append([]byte(keyThreads), id[:]...))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: thread %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("net: open thread: %w", err)
	}
	at := &Thread{num: binary.BigEndian.Uint32(num)}
	signed, err := snap.Get(at.key(keyGenesis))
	if err != nil {
		return nil, fmt.Errorf("net: open thread: genesis: %w", err)
	}
	sealed, err := snap.Get(at.key(keySecrets))
	if err != nil {
		return nil, fmt.Errorf("net: open thread: keys: %w", err)
	}
	relay, k, invite, err := openSecrets(env, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("net: open thread: keys: %w", err)
	}
	t, err := newThread(env, signed, k, relay)
	if err != nil {
		return nil, fmt.Errorf("net: open thread: %w", err)
	}
	t.num, t.invite = at.num, invite
	if err := t.load(snap); err != nil {
		return nil, fmt.Errorf("net: open thread %s: %w", id, err)
	}
	return t, nil
}

func (t *Thread) load(r store.Reader) error {
	if err := t.loadLogs(r); err != nil {
		return err
	}
	if err := t.loadOwn(r); err != nil {
		return err
	}
	if err := t.loadRefused(r); err != nil {
		return err
	}
	var err error
	if t.arrivals, err = t.lastArrivalIn(r); err != nil {
		return err
	}
	if err := t.loadControl(r); err != nil {
		return err
	}
	t.refreshCuts()
	for _, l := range t.byNum {
		if l.desc.Kind == kindControl || t.relay {
			for _, b := range l.branches {
				b.sent, b.flushed = b.signed, b.tip
			}
		}
	}
	if err := t.blobs.sweep(); err != nil {
		return err
	}
	if err := t.blobs.load(r); err != nil {
		return err
	}
	t.armWaker() // last: nobody would stop it after an error
	return nil
}

func (t *Thread) loadLogs(r store.Reader) error {
	it := r.Iterate(store.Prefix(t.key(keyLog)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		raw := slices.Clone(v)
		d, err := decodeDescriptor(raw)
		if err != nil {
			return err
		}
		t.addLog(d, raw)
	}
	if err := it.Err(); err != nil {
		return err
	}
	branches := r.Iterate(store.Prefix(t.key(keyBranch)))
	defer branches.Close()
	for ; branches.Valid(); branches.Next() {
		k := branches.Key()
		v, err := branches.Value()
		if err != nil {
			return err
		}
		log := binary.BigEndian.Uint32(k[len(k)-8:])
		if int(log) >= len(t.byNum) {
			return fmt.Errorf("%w: branch of an unknown log", ErrMalformed)
		}
		l := t.byNum[log]
		b, err := decodeBranch(l.id, binary.BigEndian.Uint32(k[len(k)-4:]), v)
		if err != nil {
			return err
		}
		l.branches = append(l.branches, b)
	}
	return branches.Err()
}

// addLog gives a log the next number; mu is held, or nobody else knows t.
func (t *Thread) addLog(d descriptor, raw []byte) *threadLog {
	l := &threadLog{num: uint32(len(t.byNum)), id: logID(t.id, raw), desc: d, raw: raw}
	t.byNum = append(t.byNum, l)
	t.logs[l.id] = l
	return l
}

func (t *Thread) loadOwn(r store.Reader) error {
	v, err := r.Get(t.key(keyOwn))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(v) != 8 {
		return fmt.Errorf("%w: own logs", ErrMalformed)
	}
	get := func(n uint32) *threadLog {
		if int(n) < len(t.byNum) {
			return t.byNum[n]
		}
		return nil
	}
	t.ownControl, t.ownData = get(binary.BigEndian.Uint32(v)), get(binary.BigEndian.Uint32(v[4:]))
	return nil
}

func (t *Thread) putOwn(tx store.Tx, control, data *threadLog) error {
	num := func(l *threadLog) uint32 {
		if l == nil {
			return noLog
		}
		return l.num
	}
	v := binary.BigEndian.AppendUint32(nil, num(control))
	return tx.Put(t.key(keyOwn), binary.BigEndian.AppendUint32(v, num(data)))
}

func (t *Thread) putLog(tx store.Tx, l *threadLog) error {
	return tx.Put(binary.BigEndian.AppendUint32(t.key(keyLog), l.num), l.raw)
}

type refusalRow struct {
	_      struct{} `cbor:",toarray"`
	Log    clock.LogID
	Seq    uint64
	Hash   clock.Hash
	Code   []byte
	Reason []byte
}

func (f *Refusal) encode() []byte {
	reason := []byte(f.Reason)
	return encode(&refusalRow{
		Log: f.ID.Log, Seq: f.ID.Seq, Hash: f.ID.Hash, Code: []byte(f.Code), Reason: reason[:min(len(reason), 1024)],
	})
}

func (t *Thread) loadRefused(r store.Reader) error {
	it := r.Iterate(store.Prefix(t.key(keyRefused)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		var w refusalRow
		if err := decode(v, "stored refusal", &w); err != nil {
			return err
		}
		id := clock.RecordID{Log: w.Log, Seq: w.Seq, Hash: w.Hash}
		t.refused = append(t.refused, Refusal{ID: id, Code: RejectCode(w.Code), Reason: string(w.Reason)})
	}
	return it.Err()
}

func (t *Thread) putRefused(tx store.Tx, log uint32, f *Refusal) error {
	k := t.recordKey(log, f.ID.Seq, f.ID.Hash)
	k[len(t.key(keyRefused))-1] = keyRefused
	return tx.Put(k, f.encode())
}

// loadControl reads the control records that were folded and folds them again, in
// rounds: a record follows its parents, which may be in other logs.
func (t *Thread) loadControl(r store.Reader) error {
	var left []*controlRecord
	for _, l := range t.byNum {
		if l.desc.Kind != kindControl {
			continue
		}
		for _, b := range l.branches {
			if b.done.Seq <= b.base.Seq {
				continue
			}
			err := t.walk(r, l, l.forked(), b.done, b.base.Seq, func(id clock.RecordID, s storedRecord) (bool, error) {
				h, err := decodeHeader(s.Header)
				if err != nil {
					return false, err
				}
				c, err := t.openControl(t.keys.Service, l.desc.Device, id, h, s.Body)
				left = append(left, c)
				return true, err
			})
			if err != nil {
				return err
			}
		}
	}
	for len(left) > 0 {
		n := len(left)
		left = slices.DeleteFunc(left, func(c *controlRecord) bool {
			if _, lacks := t.graph.lacks(c); lacks || t.graph.check(c) != nil {
				return false
			}
			t.graph.add(c)
			return true
		})
		if len(left) == n {
			return fmt.Errorf("%w: %d control records without their parents", ErrMalformed, n)
		}
	}
	return nil
}

// openControl opens a control record.
func (t *Thread) openControl(service secretKey, device keys.PublicKey, id clock.RecordID, h *header, body []byte) (*controlRecord, error) {
	b, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	p, err := t.env.codec.open(service, place{t.id, id.Log, id.Seq}, b)
	if err != nil {
		return nil, err
	}
	payload, err := decodeControl(p.Payload)
	if err != nil {
		return nil, err
	}
	c := &controlRecord{id: id, time: h.Time, device: device, parents: slices.Clone(h.Control), payload: payload}
	if h.Seq > 1 && !slices.Contains(c.parents, h.Prev) {
		c.parents = append(c.parents, h.Prev)
	}
	return c, nil
}

// close stops what the thread runs and waits for it.
func (t *Thread) close() {
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

// remove deletes what the store holds of a thread, in steps, its entry last.
func (t *Thread) remove(ctx context.Context) error {
	t.close()
	prefix := binary.BigEndian.AppendUint32([]byte(keyThread), t.num)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := t.removeSome(prefix)
		if err != nil {
			return fmt.Errorf("net: remove thread: %w", err)
		}
		if n == 0 {
			break
		}
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	if err := errors.Join(tx.Delete(append([]byte(keyThreads), t.id[:]...)), tx.Commit()); err != nil {
		return fmt.Errorf("net: remove thread: %w", err)
	}
	return errors.Join(t.blobs.remove(), t.env.store.Sync())
}

func (t *Thread) removeSome(prefix []byte) (n int, err error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	r := store.Prefix(prefix)
	r.KeysOnly = true
	it := snap.Iterate(r)
	defer it.Close()
	tx := t.env.store.Begin()
	defer tx.Discard()
	for ; it.Valid() && n < 4096; it.Next() {
		if err := tx.Delete(slices.Clone(it.Key())); errors.Is(err, store.ErrTooBig) {
			break
		} else if err != nil {
			return 0, err
		}
		n++
	}
	if err := it.Err(); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}
