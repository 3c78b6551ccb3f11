package net

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
)

// ErrCheckpoint reports that the thread's history cannot be cut here and now; the
// text says why.
var ErrCheckpoint = errors.New("net: history is not cut")

// A Coverage is the records that a checkpoint is to cover.
type Coverage struct{ heads []clock.RecordID }

// MayCheckpoint returns nil if this device is the one that may cut the thread's
// history: the one that made it.
func (t *Thread) MayCheckpoint() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mayCheckpoint()
}

func (t *Thread) mayCheckpoint() error {
	switch {
	case t.closed:
		return ErrClosed
	case t.relay || !t.keys.canRead():
		return ErrNoKeys
	case t.genesis.Certificate.Sign != t.env.self() || t.ownControl == nil || t.graph.ranks[t.ownControl.id] != 0:
		return fmt.Errorf("%w: only the device that made the database can", ErrCheckpoint)
	}
	return nil
}

// Cover returns what was folded up to arrival n, which must be the last that was
// said to be flushed, for a checkpoint; nothing if no data was written since the
// last one.
func (t *Thread) Cover(n int64) (*Coverage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mayCheckpoint(); err != nil {
		return nil, err
	}
	if t.flushedTo != n {
		return nil, fmt.Errorf("%w: arrival %d is not the last that is folded", ErrCheckpoint, n)
	}
	c := &Coverage{}
	data := false
	for _, l := range t.byNum {
		if l.desc.Kind == kindControl || t.graph.state.void[l.id] || len(l.branches) == 0 {
			continue
		}
		if l.forked() {
			return nil, fmt.Errorf("%w: log %s is forked", ErrCheckpoint, l.id.Short())
		}
		b := l.branches[0]
		if b.flushed != b.sent {
			return nil, fmt.Errorf("%w: the last records of log %s are not signed yet", ErrCheckpoint, l.id.Short())
		}
		if b.flushed.Seq > t.cuts.floor(l.id).Seq {
			c.heads = append(c.heads, b.flushed)
			data = data || l.desc.Kind == kindData
		}
	}
	if !data {
		return nil, nil
	}
	if len(c.heads) > maxCovered {
		return nil, fmt.Errorf("%w: %d logs changed, at most %d can", ErrCheckpoint, len(c.heads), maxCovered)
	}
	slices.SortFunc(c.heads, compareID)
	return c, nil
}

// Checkpoint cuts the history up to cover. The payloads that snapshot adds stand
// in its place; it returns their state hash. The checkpoint is durable on return;
// an error leaves a snapshot log without effect at most, which the next covers.
func (t *Thread) Checkpoint(ctx context.Context, cover *Coverage, snapshot func(add func(payload []byte) error) (clock.Hash, error)) error {
	d := newDescriptor(t.env.self(), kindSnapshot)
	announced, err := t.appendControl(ctx, &controlPayload{Op: opLog, Data: d.encode()})
	if err != nil {
		return err
	}
	w := &snapshotLog{t: t, at: announced.Hash, log: &threadLog{id: d.id(t.id), desc: d, raw: d.encode()}}
	state, err := snapshot(func(p []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.add(p)
	})
	if err != nil {
		return err
	}
	if w.last.Seq == 0 {
		return fmt.Errorf("%w: the snapshot is empty", ErrCheckpoint)
	}
	if err := t.env.store.Sync(); err != nil {
		return fmt.Errorf("net: snapshot: %w", err)
	}
	_, err = t.appendControl(ctx, &controlPayload{
		Op: opCheckpoint, Checkpoint: &checkpoint{Heads: cover.heads, Snapshot: w.last, State: state},
	})
	return err
}

// A snapshotLog is a snapshot log that is being written.
type snapshotLog struct {
	t    *Thread
	log  *threadLog
	at   clock.Hash // of the record that announces it
	last clock.RecordID
}

// add appends one record, which has an arrival number as any other.
func (w *snapshotLog) add(payload []byte) error {
	t := w.t
	if len(payload) > MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	t.write.Lock()
	err := w.commit(payload)
	t.write.Unlock()
	if err == nil {
		t.notify()
	}
	return err
}

func (w *snapshotLog) commit(payload []byte) error {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	l, next := w.log, branch{}
	if len(l.branches) == 0 {
		l.num = uint32(len(t.byNum))
		if err := t.putLog(tx, l); err != nil {
			return fmt.Errorf("net: snapshot: %w", err)
		}
	} else {
		next = *l.branches[0]
	}
	h := &header{
		Log: l.id, Seq: next.tip.Seq + 1, Prev: next.tip.Hash, Time: t.env.clock.Now(),
		Control: []clock.Hash{w.at}, Epoch: t.keys.Epoch,
	}
	rec, err := t.sealRecord(t.keys.Read, h, &plaintext{Payload: payload}, true)
	if err != nil {
		return err
	}
	next.tip, next.signed, next.done, next.time = rec.id, rec.id, rec.id, h.Time
	next.records++
	next.bytes += int64(rec.size)
	ref := arrivalRef{n: t.arrivals + 1, id: rec.id, log: l.num, signed: true}
	err = errors.Join(
		tx.Put(t.recordKey(l.num, rec.id.Seq, rec.id.Hash), rec.value),
		tx.Put(t.branchKey(l.num, 0), next.encode()),
		t.putArrivals(tx, []arrivalRef{ref}),
	)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("net: snapshot: %w", err)
	}
	t.installLocal(l)
	ref.branch = t.installBranch(l, &next)
	t.arrivals = ref.n
	t.arrived(ref)
	t.signal()
	w.last = rec.id
	return nil
}
