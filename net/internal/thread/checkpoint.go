package thread

import (
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// ErrCheckpoint reports that the thread's history cannot be cut here and now; the
// text says why.
var ErrCheckpoint = fault.New(fault.NotCut, "the history cannot be cut here and now")

// A Coverage is the records that a checkpoint is to cover.
type Coverage struct{ heads []clock.RecordID }

// MayCheckpoint returns nil if this device is the one that cuts the thread's
// history: the most senior of the first owner.
func (t *Thread) MayCheckpoint() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mayCheckpoint()
}

// mayCheckpoint is MayCheckpoint; mu is held.
func (t *Thread) mayCheckpoint() error {
	switch {
	case t.closed:
		return ErrClosed
	case t.relay || !t.keys.CanRead():
		return ErrNoKeys
	case t.ownControl == nil || !t.graph.MayCheckpoint(t.ownControl.ID):
		return fault.Of(ErrCheckpoint, "history is not cut: only the most senior device of the first owner does that")
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
		return nil, fault.Of(ErrCheckpoint, "history is not cut: arrival %d is not the last that is folded", n)
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	c := &Coverage{}
	data := false
	for _, l := range t.byNum {
		if l.Desc.Kind == format.KindControl || t.limitOf(l).all() || len(l.Branches) == 0 {
			continue
		}
		if slices.ContainsFunc(l.Branches, func(b *held.Branch) bool { return b.Counts(b.Flushed.Seq) && b.Flushed != b.Sent }) {
			return nil, fault.Of(ErrCheckpoint, "history is not cut: the last records of log %s are not signed yet", l.ID.Short())
		}
		heads, err := l.Heads(t.rows, snap)
		if err != nil {
			return nil, err
		}
		c.heads = append(c.heads, heads...)
		data = data || len(heads) > 0 && l.Desc.Kind == format.KindData
	}
	if !data {
		return nil, nil
	}
	if len(c.heads) > format.MaxCovered {
		return nil, fault.Of(ErrCheckpoint, "history is not cut: %d branches of logs changed, at most %d can", len(c.heads), format.MaxCovered)
	}
	slices.SortFunc(c.heads, format.CompareIDs)
	named := map[clock.LogID][]clock.RecordID{}
	for _, h := range c.heads {
		named[h.Log] = append(named[h.Log], h)
	}
	for _, old := range t.graph.State().Checkpoints { // one that is not in force may cover more
		if err := (&format.Checkpoint{Heads: c.heads}).After(old.Checkpoint, named); err != nil {
			return nil, fault.Of(ErrCheckpoint, "history is not cut: the snapshot of an earlier checkpoint is not here yet")
		}
	}
	return c, nil
}

// Checkpoint cuts the history up to cover. The payloads that snapshot adds stand
// in its place; it returns their state hash. The checkpoint is durable on return;
// an error leaves a snapshot log without effect at most, which the next covers.
func (t *Thread) Checkpoint(ctx context.Context, cover *Coverage, snapshot func(add func(payload []byte) error) (clock.Hash, error)) error {
	t.mu.Lock()
	d, k := format.NewDescriptor(t.env.self(), format.KindSnapshot, t.ownControl.ID), t.present()
	t.mu.Unlock()
	announced, err := t.appendControl(ctx, &format.Control{Op: format.OpLog, Data: d.Encode()})
	if err != nil {
		return err
	}
	w := &snapshotLog{t: t, at: announced.Hash, keys: k, log: &held.Log{Log: logstore.Log{ID: d.LogID(t.id), Desc: d, Raw: d.Encode()}}}
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
		return fault.Of(ErrCheckpoint, "history is not cut: the snapshot is empty")
	}
	if err := t.env.store.Sync(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	_, err = t.appendControl(ctx, &format.Control{
		Op: format.OpCheckpoint, Checkpoint: &format.Checkpoint{Heads: cover.heads, Snapshot: w.last, State: t.StateTag(state)},
	})
	return err
}
