package thread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// Stored returns the IDs of the threads in the store.
func Stored(s store.Store) ([]format.ThreadID, error) {
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(keyThreads)))
	defer it.Close()
	var ids []format.ThreadID
	for ; it.Valid(); it.Next() {
		if k := it.Key(); len(k) == len(keyThreads)+32 {
			ids = append(ids, format.ThreadID(k[len(keyThreads):]))
		}
	}
	return ids, it.Err()
}

// Open opens a thread of the store. It reads the control logs and one value
// a branch of the data logs, whatever their length.
func Open(_ context.Context, env *Env, id format.ThreadID) (*Thread, error) {
	snap := env.store.Snapshot()
	defer snap.Release()
	num, err := snap.Get(append([]byte(keyThreads), id[:]...))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Of(ErrNotFound, "no thread %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("open thread: %w", err)
	}
	at := &Thread{num: binary.BigEndian.Uint32(num)}
	signed, err := snap.Get(at.key(keyGenesis))
	if err != nil {
		return nil, fmt.Errorf("open thread: genesis: %w", err)
	}
	sealed, err := snap.Get(at.key(keySecrets))
	if err != nil {
		return nil, fmt.Errorf("open thread: keys: %w", err)
	}
	relay, k, invite, err := openSecrets(env, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("open thread: keys: %w", err)
	}
	t, err := newThread(env, signed, k, relay)
	if err != nil {
		return nil, fmt.Errorf("open thread: %w", err)
	}
	t.setNumber(at.num)
	t.invite = invite
	if err := t.load(snap); err != nil {
		return nil, fmt.Errorf("open thread %s: %w", id, err)
	}
	return t, nil
}

// load reads a thread, in the order in which the parts need each other. Nobody else
// knows t yet.
func (t *Thread) load(r store.Reader) error {
	if err := t.loadState(r); err != nil {
		return err
	}
	if err := t.blobs.Sweep(); err != nil {
		return err
	}
	if err := t.blobs.Load(r); err != nil {
		return err
	}
	t.armWaker(0) // last: nobody would stop it after an error
	return nil
}

// loadState is load of all but blobs.
func (t *Thread) loadState(r store.Reader) error {
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
	t.learn()
	t.refreshCuts()
	for _, l := range t.byNum {
		if l.desc.Kind == format.KindControl || t.relay {
			for _, b := range l.branches {
				b.sent, b.flushed = b.signed, b.tip
			}
		}
	}
	return t.loadWaiting(r)
}

// reload reads the thread again after a commit that the store refused, and did not
// apply: what the transaction had changed in memory did not happen. write and mu are
// held; the caller calls reflush when they are not.
func (t *Thread) reload() error {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	next, err := newThread(t.env, t.signed, t.keys, t.relay)
	if err != nil {
		return err
	}
	next.num, next.invite = t.num, t.invite
	if err := next.loadState(snap); err != nil {
		return err
	}
	for _, l := range next.byNum { // what was durable is, and no more is
		was := t.logs[l.id]
		for i, b := range l.branches {
			if b.sent, b.flushed = (clock.RecordID{}), (clock.RecordID{}); was != nil && i < len(was.branches) {
				b.sent, b.flushed = was.branches[i].sent, was.branches[i].flushed
			}
		}
	}
	t.logs, t.byNum, t.ownControl, t.ownData = next.logs, next.byNum, next.ownControl, next.ownData
	t.graph, t.cuts, t.refused, t.arrivals = next.graph, next.cuts, next.refused, next.arrivals
	t.keys, t.expanded, t.given, t.limits = next.keys, next.expanded, next.given, next.limits
	t.flushedTo, t.pending, t.cache, t.parked = -1, nil, arrivalCache{}, parkedRuns{}
	t.wakeAt = next.wakeAt
	t.armWaker(0)
	t.syncSoon(true)
	return nil
}

// reflush tells a reloaded thread again what is flushed. No lock is held.
func (t *Thread) reflush() {
	t.mu.Lock()
	a := t.attached
	t.mu.Unlock()
	if a == nil || a.State == nil {
		return
	}
	if n, _, ok := a.State(); ok {
		t.Flushed(n)
	}
}

// loadLogs reads the logs by their numbers, then their branches.
func (t *Thread) loadLogs(r store.Reader) error {
	it := r.Iterate(store.Prefix(t.key(keyLog)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		raw := slices.Clone(v)
		d, err := format.DecodeDescriptor(raw)
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
			return fault.Of(format.ErrMalformed, "branch of an unknown log")
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

// loadOwn reads which logs are this device's; none on a relay.
func (t *Thread) loadOwn(r store.Reader) error {
	v, err := r.Get(t.key(keyOwn))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(v) != 8 {
		return fault.Of(format.ErrMalformed, "the numbers of the own logs are not two")
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

// loadControl reads the control records that were folded and folds them again. To open one
// takes some microseconds, of which there may be ten thousand: they are opened by several
// workers, a batch at a time.
func (t *Thread) loadControl(r store.Reader) error {
	const batch = 1024
	type sealed struct {
		log *threadLog
		id  clock.RecordID
		s   format.Stored
	}
	var waiting []sealed
	var left []*control.Record
	open := func() error {
		opened, errs := make([]*control.Record, len(waiting)), make([]error, len(waiting))
		parallel.Do(len(waiting), func(i int) {
			w := &waiting[i]
			h, err := format.DecodeHeader(w.s.Header)
			if err == nil {
				opened[i], err = t.openControl(t.keys.Service, w.log.desc.Device, w.id, h, w.s.Body)
			}
			errs[i] = err
		})
		left, waiting = append(left, opened...), waiting[:0]
		if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
			return errs[i]
		}
		return nil
	}
	for _, l := range t.byNum {
		if l.desc.Kind != format.KindControl {
			continue
		}
		for _, b := range l.branches {
			if b.done.Seq <= b.base.Seq {
				continue
			}
			err := t.walk(r, l, l.forked(), b.done, b.base.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
				s.Header, s.Body = slices.Clone(s.Header), slices.Clone(s.Body)
				if waiting = append(waiting, sealed{l, id, s}); len(waiting) == batch {
					return true, open()
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
	}
	if err := open(); err != nil {
		return err
	}
	return t.graph.AddAll(left)
}
