package node

import (
	"context"
	"time"
)

// How often it is looked whether the disk is full, and whether there is room again.
const (
	lookFull = 3 * time.Second
	lookRoom = time.Second
)

// startRoom watches whether the disk is full. Nothing tells a process that there is
// room again, so it has to look; then what waits goes on by itself.
func (n *Node) startRoom(context.Context) error {
	n.background(func(ctx context.Context) {
		look := time.NewTimer(0)
		defer look.Stop()
		was := error(nil)
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			full := n.store.Full()
			look.Reset(map[bool]time.Duration{true: lookRoom, false: lookFull}[full != nil])
			if (full == nil) == (was == nil) {
				continue
			}
			was = full
			n.host.SetFull(full)
			if full != nil {
				n.log.Error("nothing can be written", "error", full)
				continue
			}
			n.log.Warn("there is room on the disk again: writes go on")
			for _, d := range n.all() {
				d.arrived()
			}
			n.background(func(ctx context.Context) {
				n.naming.Lock()
				defer n.naming.Unlock()
				if err := n.finishRemovals(ctx); err != nil && ctx.Err() == nil {
					n.log.Error("what is left of a removed database", "error", err)
				}
			})
		}
	})
	return nil
}
