package node

import (
	"cmp"
	"context"

	"github.com/weftdb/weft/node/internal/horizon"
)

// startHorizons begins to write horizons: docs/design/places.md says what they are for.
func (n *Node) startHorizons(context.Context) error {
	every := cmp.Or(n.cfg.HorizonEvery, horizon.Every)
	if every < 0 || n.cfg.offline {
		return nil
	}
	all := func() (ds []horizon.Database) {
		for _, d := range n.all() {
			ready := func() bool { return !d.rebuilding.Load() && d.thread.CaughtUp() }
			ds = append(ds, horizon.Database{Name: d.name, Stirred: &d.stirred, Ready: ready, Open: d.open})
		}
		return ds
	}
	n.background(func(ctx context.Context) { horizon.Run(ctx, every, all, n.clock, n.log) })
	return nil
}
