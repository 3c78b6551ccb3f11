package control

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// checkCheckpoint checks the form of a checkpoint by what its author had seen, so that all
// replicas decide alike. Whether its author may write it is for the fold.
func (g *Graph) checkCheckpoint(c *Record) error {
	cp := c.Payload.Checkpoint
	heads := make(map[clock.LogID][]clock.RecordID, len(cp.Heads))
	for _, h := range cp.Heads {
		heads[h.Log] = append(heads[h.Log], h)
	}
	announced := false
	for _, r := range g.ancestors(c.Parents) {
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

// A Checkpoint is one that has effect.
type Checkpoint struct {
	*format.Checkpoint
	ID clock.RecordID
	by *Record
}

// Follows reports whether a checkpoint has seen another.
func (s *State) Follows(c, o *Checkpoint) bool { return c != o && s.g.saw(c.by, o.by) }
