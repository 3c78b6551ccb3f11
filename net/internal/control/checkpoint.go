package control

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// checkCheckpoint checks a checkpoint by what its author had seen, so that all
// replicas decide alike and nothing that comes later changes it: what was cut on
// its word cannot be had back.
func (g *Graph) checkCheckpoint(c *Record) error {
	if c.rank != 0 {
		return fault.Of(ErrNotMember, "only the device that made the thread cuts its history")
	}
	cp := c.Payload.Checkpoint
	heads := make(map[clock.LogID]clock.RecordID, len(cp.Heads))
	for _, h := range cp.Heads {
		heads[h.Log] = h
	}
	announced := false
	for _, i := range g.ancestors(c.Parents) {
		r := g.records[i]
		if _, ok := heads[r.ID.Log]; ok {
			return fault.Of(format.ErrMalformed, "checkpoint covers a control log")
		}
		switch r.Payload.Op {
		case format.OpLog:
			if r.Device == c.Device && format.LogIDOf(g.thread, r.Payload.Data) == cp.Snapshot.Log {
				d, err := format.DecodeDescriptor(r.Payload.Data)
				announced = announced || err == nil && d.Kind == format.KindSnapshot
			}
		case format.OpCheckpoint:
			if err := cp.After(r.Payload.Checkpoint, heads); err != nil {
				return err
			}
		}
	}
	if !announced {
		return fault.Of(ErrNotMember, "checkpoint with a snapshot log that its device has not announced")
	}
	return nil
}
