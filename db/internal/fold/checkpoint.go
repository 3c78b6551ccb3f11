package fold

import (
	"context"
	"errors"

	"github.com/weftdb/weft/db/internal/covered"
	"github.com/weftdb/weft/db/internal/snapshot"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
)

// A Checkpoint is the documents of a database at one moment, definitions included,
// in the form that stands for the records that gave them.
type Checkpoint struct {
	fold   *Fold
	v      *view.View
	latest clock.Time // of all operations that are folded
	moved  clock.Time // none was moved beyond it
}

var errUnsettled = errors.New("own records are folded ahead of others, or horizons are due")

// Checkpoint calls at with the arrival up to which everything is folded, and
// nothing after it, and returns the documents there. Nothing is written
// meanwhile. The caller owes Close.
func (f *Fold) Checkpoint(ctx context.Context, at func(n int64) error) (*Checkpoint, error) {
	for {
		if err := f.Settle(ctx); err != nil {
			return nil, err
		}
		s := &Checkpoint{fold: f}
		r := &Request{Ctx: ctx, Do: func() error { return s.take(at) }}
		if err := f.Submit(r); err != nil {
			return nil, err
		}
		if !errors.Is(r.Err, errUnsettled) {
			return s, r.Err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// checkpointAt says what is folded, as a checkpoint has it.
func (f *Fold) checkpointAt(ctx context.Context) (now covered.Folded, err error) {
	cp, err := f.Checkpoint(ctx, func(n int64) error { now.N = n; return nil })
	if err == nil {
		now.Moved, now.View = cp.moved, cp.v
	}
	return now, err
}

// take is Checkpoint in the committer. Own records that are folded ahead of others are in
// the state, but not before the arrival that at gets: then it is tried again.
func (s *Checkpoint) take(at func(n int64) error) error {
	if len(s.fold.meta.Ahead) > 0 || s.fold.places.Due() {
		return errUnsettled
	}
	if err := at(s.fold.meta.Cursor); err != nil {
		return err
	}
	for _, c := range s.fold.meta.Stats {
		s.latest = max(s.latest, c.MaxTime)
	}
	s.moved = s.fold.places.Latest()
	v, err := s.fold.Acquire()
	s.v = v
	return err
}

// Close frees it; it may be called twice.
func (s *Checkpoint) Close() {
	if s.v != nil {
		s.v.Release()
		s.v = nil
	}
}

// Refused returns how many refused operations the database has; a snapshot does
// not hold them.
func (s *Checkpoint) Refused() int64 { return s.v.Refused }

// Each calls f with the payloads of the records of a snapshot and returns the
// state hash of its documents.
func (s *Checkpoint) Each(ctx context.Context, f func(payload []byte) error) (clock.Hash, error) {
	state, err := snapshot.Write(ctx, s.v, f)
	if err == nil {
		s.fold.made.Store(&covered.Made{N: s.v.N, Latest: s.latest, State: state})
	}
	return state, err
}
