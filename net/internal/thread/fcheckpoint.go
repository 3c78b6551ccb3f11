package thread

import (
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// checkCheckpoint judges a checkpoint by what its author had seen, so that all
// replicas judge alike and nothing that comes later changes it: what was cut on
// its word cannot be had back.
func (g *controlGraph) checkCheckpoint(c *controlRecord) error {
	if c.rank != 0 {
		return fmt.Errorf("%w: only the device that made the thread cuts its history", ErrNotMember)
	}
	cp := c.payload.Checkpoint
	heads := make(map[clock.LogID]clock.RecordID, len(cp.Heads))
	for _, h := range cp.Heads {
		heads[h.Log] = h
	}
	announced := false
	for _, i := range g.ancestors(c.parents, nil) {
		r := g.records[i]
		if _, ok := heads[r.id.Log]; ok {
			return fmt.Errorf("%w: checkpoint covers a control log", format.ErrMalformed)
		}
		switch r.payload.Op {
		case format.OpLog:
			if r.device == c.device && format.LogIDOf(g.thread, r.payload.Data) == cp.Snapshot.Log {
				d, err := format.DecodeDescriptor(r.payload.Data)
				announced = announced || err == nil && d.Kind == format.KindSnapshot
			}
		case format.OpCheckpoint:
			if err := cp.After(r.payload.Checkpoint, heads); err != nil {
				return err
			}
		}
	}
	if !announced {
		return fmt.Errorf("%w: checkpoint with a snapshot log that its device has not announced", ErrNotMember)
	}
	return nil
}
