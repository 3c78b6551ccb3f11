package thread

import (
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/self"
	"github.com/weftdb/weft/net/internal/verify"
)

// Stored returns the IDs of the threads in the store.
func Stored(s store.Store) ([]format.ThreadID, error) {
	snap := s.Snapshot()
	defer snap.Release()
	return logstore.Threads(snap)
}

// Open opens a thread of the store. It reads the control logs and one value
// a branch of the data logs, whatever their length.
func Open(_ context.Context, env *Env, id format.ThreadID) (*Thread, error) {
	snap := env.store.Snapshot()
	defer snap.Release()
	rows, err := logstore.Find(snap, id)
	if err != nil {
		return nil, err
	}
	signed, err := rows.Genesis(snap)
	if err != nil {
		return nil, fmt.Errorf("open thread: genesis: %w", err)
	}
	sealed, err := rows.Secrets(snap)
	if err != nil {
		return nil, fmt.Errorf("open thread: keys: %w", err)
	}
	if env, err = env.of(signed); err != nil {
		return nil, fmt.Errorf("open thread: %w", err)
	}
	relay, k, invite, err := self.Open(env.device, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("open thread: keys: %w", err)
	}
	t, err := newThread(env, signed, k, relay)
	if err != nil {
		return nil, fmt.Errorf("open thread: %w", err)
	}
	t.setRows(rows)
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
	if t.arrivals, err = t.rows.LastArrival(r); err != nil {
		return err
	}
	if err := t.loadControl(r); err != nil {
		return err
	}
	if t.noted, err = t.rows.Cuts(r); err != nil {
		return err
	}
	t.learn()
	t.refreshCuts()
	for _, l := range t.byNum {
		if l.Desc.Kind == format.KindControl || t.relay {
			for _, b := range l.Branches {
				b.Sent, b.Flushed = b.Signed, b.Tip
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
	next.rows, next.invite = t.rows, t.invite
	if err := next.loadState(snap); err != nil {
		return err
	}
	for _, l := range next.byNum { // what was durable is, and no more is
		was := t.logs[l.ID]
		for i, b := range l.Branches {
			if b.Sent, b.Flushed = (clock.RecordID{}), (clock.RecordID{}); was != nil && i < len(was.Branches) {
				b.Sent, b.Flushed = was.Branches[i].Sent, was.Branches[i].Flushed
			}
		}
	}
	t.logs, t.byNum, t.byID, t.ofData = next.logs, next.byNum, next.byID, next.ofData
	t.ownControl, t.ownData = next.ownControl, next.ownData
	t.graph, t.cuts, t.refused, t.arrivals = next.graph, next.cuts, next.refused, next.arrivals
	t.noted = next.noted
	t.keys, t.expanded, t.given, t.limits = next.keys, next.expanded, next.given, next.limits
	t.flushedTo, t.pending, t.cache, t.parked = -1, nil, logstore.ArrivalCache{}, verify.Parked{}
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
	logs, err := t.rows.Logs(r)
	if err != nil {
		return err
	}
	branches, err := t.rows.Branches(r, logs)
	if err != nil {
		return err
	}
	for i := range logs {
		l := t.addLog(logs[i].Desc, logs[i].Raw)
		for _, b := range branches[i] {
			l.Branches = append(l.Branches, &held.Branch{Branch: b, From: branches[i][0].Base}) // unless a checkpoint says otherwise
		}
	}
	return nil
}

// loadOwn reads which logs are this device's; none on a relay.
func (t *Thread) loadOwn(r store.Reader) error {
	control, data, err := t.rows.Own(r)
	if err != nil {
		return err
	}
	get := func(n uint32) *held.Log {
		if int(n) < len(t.byNum) {
			return t.byNum[n]
		}
		return nil
	}
	t.ownControl, t.ownData = get(control), get(data)
	return nil
}

// loadControl reads the control records that were folded and folds them again. To open one
// takes some microseconds, of which there may be ten thousand: they are opened by several
// workers, a batch at a time.
func (t *Thread) loadControl(r store.Reader) error {
	const batch = 1024
	type sealed struct {
		log *held.Log
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
				opened[i], err = t.opener(&t.keys).Control(w.log.Desc.Device, w.id, h, w.s.Body)
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
		if l.Desc.Kind != format.KindControl {
			continue
		}
		for _, b := range l.Branches {
			if b.Done.Seq <= b.Base.Seq {
				continue
			}
			err := t.rows.Walk(r, &l.Log, l.Forked(), b.Done, b.Base.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
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
