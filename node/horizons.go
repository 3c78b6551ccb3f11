package node

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node/internal/horizon"
)

// startHorizons begins to write horizons: what others have and this device does not have then,
// and dates itself before, comes after. docs/design/places.md says what that is for.
func (n *Node) startHorizons(context.Context) error {
	every := cmp.Or(n.cfg.HorizonEvery, horizon.Every)
	if every < 0 || n.cfg.offline {
		return nil
	}
	all := func() (ds []horizons) {
		for _, d := range n.all() {
			ds = append(ds, horizons{d})
		}
		return ds
	}
	n.background(func(ctx context.Context) {
		horizon.Run(ctx, every, all, func() time.Time { return n.clock.Real().Wall() }, func(h horizons, err error) {
			if !errors.Is(err, ErrClosed) && !errors.Is(err, db.ErrClosed) {
				n.log.Warn("a horizon is not written", "database", h.name, "error", err)
			}
		})
	})
	return nil
}

// horizons are those of a database.
type horizons struct{ *database }

func (h horizons) Stirred() *atomic.Bool { return &h.stirred }

func (h horizons) Ready() bool { return !h.rebuilding.Load() && h.thread.CaughtUp() }

func (h horizons) Uncovered(ctx context.Context) (at time.Time, some bool, err error) {
	fold, err := h.open(ctx)
	if err != nil {
		return at, false, err
	}
	last, some, err := fold.Uncovered(ctx)
	if last > 0 {
		at = last.Wall()
	}
	return at, some, err
}

func (h horizons) Write(ctx context.Context) error {
	fold, err := h.open(ctx)
	if err != nil {
		return err
	}
	return h.met(fold.WriteHorizon(ctx))
}
