package node

import (
	"context"
	"errors"
	"time"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// What a checkpoint covers is deleted by itself, here and at whoever else has it, once a second
// device of an owner or admin vouches that its own history gave the same, or 30 days after.

// pruneEvery is how often a node looks for what may be deleted.
const pruneEvery = 10 * time.Minute

// startPruning begins to delete what was cut off, once it may be.
func (n *Node) startPruning(context.Context) error {
	if n.cfg.offline {
		return nil
	}
	n.background(func(ctx context.Context) {
		look := time.NewTicker(pruneEvery)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			for _, d := range n.all() {
				if d.rebuilding.Load() || !d.thread.PruneDue() {
					continue
				}
				if err := n.pruneDue(ctx, d); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) && !errors.Is(err, db.ErrClosed) {
					n.log.Warn("history that was cut off is not deleted", "database", d.name, "error", err)
				}
			}
		}
	})
	return nil
}

// pruneDue deletes what was cut off of a database, and the blobs that nothing names without it.
func (n *Node) pruneDue(ctx context.Context, d *database) error {
	d.compacting.Lock()
	defer d.compacting.Unlock()
	fold, err := d.open(ctx)
	if err != nil {
		return err
	}
	var out Compaction
	if err := d.prune(ctx, fold, &out); err != nil || out.Records == 0 {
		return err
	}
	n.log.Info("history that was cut off is deleted", "database", d.name, "records", out.Records)
	return d.collectBlobs(ctx, &out)
}

// vouch says what the history here gave, where a checkpoint of another device stands for it.
func (d *database) vouch(ctx context.Context, fold *replica.Replica) error {
	d.cutMu.Lock()
	kept, cut := d.kept, d.cut
	d.cutMu.Unlock()
	if !kept {
		if log, ok := fold.Compared(); ok {
			return d.thread.Vouch(ctx, log, true, clock.Hash{})
		}
		return nil
	}
	_, state := fold.StateHash()
	for log := range cut.Snapshots {
		if err := d.thread.Vouch(ctx, log, false, state); err != nil {
			return err
		}
	}
	return nil
}
