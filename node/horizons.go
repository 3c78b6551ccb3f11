package node

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/horizon"
)

// An owner's or admin's device writes horizons by itself, of what others wrote, once it has
// what they wrote: what it does not have then, and what dates itself before, comes after.
// docs/design/places.md says what that is for.

// startHorizons begins to look for databases in which others have written.
func (n *Node) startHorizons(context.Context) error {
	every := cmp.Or(n.cfg.HorizonEvery, horizon.Every)
	if every < 0 || n.cfg.offline {
		return nil
	}
	n.background(func(ctx context.Context) {
		plans := map[*database]*horizon.Plan{}
		look := time.NewTicker(max(min(time.Minute, every/4), time.Millisecond))
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			here := map[*database]bool{}
			for _, d := range n.all() {
				here[d] = true
				if !d.stirred.Load() {
					continue
				}
				if plans[d] == nil {
					plans[d] = &horizon.Plan{Every: every, Draw: func(most time.Duration) time.Duration { return rand.N(most + 1) }}
				}
				err := n.writeHorizon(ctx, d, plans[d])
				if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) && !errors.Is(err, db.ErrClosed) {
					n.log.Warn("a horizon is not written", "database", d.name, "error", err)
				}
			}
			for d := range plans {
				if !here[d] {
					delete(plans, d)
				}
			}
		}
	})
	return nil
}

// writeHorizon writes one of a database if it is time, and this device has what others have.
func (n *Node) writeHorizon(ctx context.Context, d *database, p *horizon.Plan) (err error) {
	now := n.clock.Real().Wall()
	if p.Waits(now) || d.rebuilding.Load() || !d.thread.CaughtUp() {
		return nil
	}
	// What comes from now on is looked at again.
	again := false
	d.stirred.Store(false)
	defer func() {
		if again || err != nil {
			d.stirred.Store(true)
		}
	}()
	role, _, err := d.thread.RightOf(net.RecordID{})
	if err != nil || role != net.RoleOwner && role != net.RoleAdmin {
		return err
	}
	fold, err := d.open(ctx)
	if err != nil {
		return err
	}
	last, some, err := fold.Uncovered(ctx)
	if err != nil {
		return err
	}
	var at time.Time
	if last > 0 {
		at = last.Wall()
	}
	if p.Look(now, at, some) {
		return d.met(fold.WriteHorizon(ctx))
	}
	again = some
	return nil
}
