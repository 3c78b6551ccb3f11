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
func (t *replica) MayCheckpoint() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mayCheckpoint()
}

func (t *replica) mayCheckpoint() error {
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
func (t *replica) Cover(n int64) (*Coverage, error) {
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
func (t *replica) Checkpoint(ctx context.Context, cover *Coverage, snapshot func(add func(payload []byte) error) (clock.Hash, error)) error {
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
