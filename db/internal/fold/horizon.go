package fold

import (
	"context"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/internal/clock"
)

// WriteHorizon writes a horizon of all that this device has. Only an owner or an admin can.
func (f *Fold) WriteHorizon(ctx context.Context) error {
	r := &Request{Ctx: ctx, Horizon: true}
	if err := f.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// judgeHorizon makes the record of a horizon that is to be written; nil if it is not.
func (b *batch) judgeHorizon(r *Request) (*judged, error) {
	j := b.fold.Journal
	role, _, err := j.Right(clock.RecordID{})
	if err != nil {
		return nil, err
	}
	view := j.View(payload.MaxView + 1)
	rec := b.fold.ownRecord(b.fold.Clock.Now(), false, nil) // later than all of it
	if rec.Horizon, r.Err = place.Draft(role, view, rec.Clock); r.Err != nil {
		return nil, nil
	}
	r.Payload = payload.EncodeHorizon(rec.Horizon)
	return &judged{req: r, rec: rec}, nil
}

// Uncovered reports whether this device may write horizons and holds what others wrote and no
// horizon in force has seen; and when the last of these was written, 0 for none.
func (f *Fold) Uncovered(ctx context.Context) (last clock.Time, some bool, err error) {
	err = f.inCommitter(ctx, func() error {
		role, _, err := f.Journal.Right(clock.RecordID{})
		if err != nil || !place.May(role) {
			return err
		}
		last, some, err = f.places.Uncovered(f.source(), f.Journal.View(payload.MaxView), func(id clock.LogID) bool { return f.own[id] })
		return err
	})
	return last, some, err
}
