package fold

import (
	"context"
	"errors"

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

// A madeCheckpoint is what this fold remembers of the last snapshot that it wrote.
type madeCheckpoint struct {
	n      int64      // the last arrival that the snapshot stands for; it stands for all up to it
	latest clock.Time // of their operations
	state  clock.Hash // of the snapshot's documents
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
		s.fold.made.Store(&madeCheckpoint{s.v.N, s.latest, state})
	}
	return state, err
}
