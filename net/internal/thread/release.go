package thread

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
)

// What a checkpoint covers counts no more once it is in force, and is kept for a while all
// the same: who has the history can tell a snapshot that is not what it gave.
//
//	own cut                   its device deletes at once: it has compared the two
//	vouched for               by another device of an owner or admin, whose history gave the same
//	30 days                   since it has been in force here, by this device's clock
//	objected to               nothing is deleted, of this or any other checkpoint, until it is cleared
//
// Only when is decided so; what counts does not rest on it.

// KeepFor is how long what a checkpoint covers is kept that nobody vouches for.
const KeepFor = 30 * 24 * time.Hour

type (
	// A Kept says what is cut off and is still to be kept.
	Kept = control.Kept
	// An Objection is what a device said of a checkpoint that its own history does not give.
	Objection = control.Objection
)

// noteSince notes since when checkpoints are in force; mu is held. What cannot be noted is
// noted later.
func (t *Thread) noteSince(in []*control.Checkpoint) {
	tx := t.env.store.Begin()
	defer tx.Discard()
	at, fresh := t.env.clock.Real().Wall().Unix(), map[clock.Hash]int64{}
	var errs []error
	for _, c := range in {
		if _, known := t.since[c.ID.Hash]; !known {
			fresh[c.ID.Hash] = at
			errs = append(errs, t.rows.PutSince(tx, c.ID.Hash, at))
		}
	}
	if len(fresh) == 0 {
		return
	}
	if err := errors.Join(append(errs, tx.Commit())...); err != nil {
		t.env.log.Warn("since when a checkpoint is in force is not noted", "thread", t.id.String(), "err", err)
		return
	}
	for h, at := range fresh {
		t.since[h] = at
	}
}

// released returns the checkpoints in force of which what they cover may be deleted here, and
// what is kept of the others; mu is held.
func (t *Thread) released() (free []*control.Checkpoint, kept Kept) {
	if t.graph.Checkpoints() == 0 {
		return nil, kept
	}
	now := t.env.clock.Real().Wall()
	return t.graph.State().Free(now, t.cuts.in, func(c *control.Checkpoint) time.Time {
		at, known := t.since[c.ID.Hash]
		if !known {
			return now.Add(KeepFor)
		}
		return time.Unix(at, 0).Add(KeepFor)
	}, func(c *control.Checkpoint) bool { return !t.relay && c.Device() == t.env.self() })
}

// Kept says what is cut off and is kept.
func (t *Thread) Kept() Kept {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, kept := t.released()
	return kept
}

// PruneDue reports whether Prune may delete what it did not when it was called last.
func (t *Thread) PruneDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	free, _ := t.released()
	if !slices.ContainsFunc(free, func(c *control.Checkpoint) bool { return !t.prunedOf[c.ID] }) {
		return false
	}
	floors := t.floorsOf(free)
	return slices.ContainsFunc(t.ofData, func(l *held.Log) bool { return len(l.Branches) > 0 && l.Start() < floors[l.ID].Top() })
}

// Vouch says of another device's checkpoint, by the log of its snapshot, whether the history here
// gave the same state, if this device is of an owner or admin; or else which state it gave. Who
// agrees says nothing where another has. It is durable on return.
func (t *Thread) Vouch(ctx context.Context, snapshot clock.LogID, agree bool, state clock.Hash) error {
	_, err := t.decide(ctx, func() (*format.Control, error) {
		s := t.graph.State()
		m, i := s.Members[t.env.self()], slices.IndexFunc(s.Checkpoints, func(c *control.Checkpoint) bool { return c.Snapshot.Log == snapshot })
		if i < 0 || m == nil || m.Added || !m.May(format.RoleAdmin) || s.Stopped() || s.Checkpoints[i].Device() == t.env.self() {
			return nil, nil
		}
		c := s.Checkpoints[i]
		if slices.ContainsFunc(s.VouchesFor(c), func(v control.Vouch) bool { return v.By.Device == t.env.self() || agree && v.Agree }) {
			return nil, nil
		}
		p := &format.Control{Op: format.OpVouch, Vouched: c.ID.Hash, State: c.State}
		if !agree {
			if p.State = t.keys.StateTag(state); p.State == c.State {
				p.State = clock.Hash{} // the same by its hash, and not by its documents
			}
		}
		return p, nil
	})
	return err
}
