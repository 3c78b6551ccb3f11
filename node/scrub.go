package node

import (
	"cmp"
	"context"
	"time"
)

// What is on disk is read and checked now and then, so that damage is known before
// what it touches is needed, and while peers still have it.
const (
	scrubEvery = 24 * time.Hour
	scrubRate  = 4 << 20         // bytes a second
	scrubAfter = 5 * time.Minute // of the start, at the earliest
)

// startScrub begins to check the store's files, logs and blobs in the background, at a low
// rate. A check that was interrupted begins again. The first waits a while, so that a program
// that runs for a moment reads nothing; one that was made by hand counts.
func (n *Node) startScrub(context.Context) error {
	every := cmp.Or(n.cfg.ScrubEvery, scrubEvery)
	if every < 0 || n.cfg.offline {
		return nil
	}
	n.background(func(ctx context.Context) {
		for {
			wait := min(scrubAfter, every)
			if last := n.LastCheck(); last != nil {
				wait = max(wait, time.Until(last.Ended.Add(every)))
			}
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			d, err := n.Check(ctx, CheckOptions{Rate: cmp.Or(n.cfg.ScrubRate, scrubRate), Logs: true, Mend: true})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				n.log.Warn("the background check of the home did not end", "error", err)
				t.Reset(scrubAfter)
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				}
			case d.Broken():
				n.log.Error("the background check found damage: run weft doctor", "findings", d.Findings())
			case !d.Undamaged():
				n.log.Error("the background check found damaged blobs: peers are asked for them", "findings", d.Findings())
			}
		}
	})
	return nil
}
