package node

import (
	"context"
	"fmt"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/internal/compaction"
)

// A Compaction says what [Node.Compact] did.
type Compaction = compaction.Result

// Compact makes a database as small on disk as it can be. The most senior device of the
// first owner, which made the database or was given it, cuts its history: a snapshot of the
// documents takes the place of the records, on every replica. What was cut here is deleted on
// this device, and what was cut elsewhere if another device of an owner or admin vouches for it,
// or if that is 30 days ago; with the blocks of files that nothing names without
// it, and the store gives the space back. One runs at a time for a database. It may end
// between its parts, with an error or ctx, and the next goes on.
func (n *Node) Compact(ctx context.Context, name string) (Compaction, error) {
	var out Compaction
	if err := checkName(name); err != nil {
		return out, err
	}
	d, err := n.lookup(name)
	if err != nil {
		return out, err
	}
	d.compacting.Lock()
	defer d.compacting.Unlock()
	fold, err := d.open(ctx)
	if err != nil {
		return out, err
	}
	if out.Before, err = n.store.Size(); err != nil {
		return out, fmt.Errorf("compact: %w", err)
	}
	err = compaction.Cut(ctx, d.thread, fold, &out)
	if fault.Is(err, fault.DiskFull) { // what nothing names already may be room enough
		if err := compaction.Collect(ctx, d.thread, blobNames, &out); err != nil {
			return out, err
		}
		err = compaction.Cut(ctx, d.thread, fold, &out)
	}
	if err != nil {
		return out, err
	}
	if err := d.prune(ctx, fold, &out); err != nil {
		return out, err
	}
	if err := compaction.Collect(ctx, d.thread, blobNames, &out); err != nil {
		return out, err
	}
	if err := n.store.Compact(ctx); err != nil {
		return out, fmt.Errorf("compact: %w", err)
	}
	if out.After, err = n.store.Size(); err != nil {
		return out, fmt.Errorf("compact: %w", err)
	}
	return out, nil
}

// prune deletes what is cut off, once the fold does without it.
func (d *database) prune(ctx context.Context, fold *replica.Replica, out *Compaction) error {
	if err := d.takeCut(ctx, fold); err != nil {
		return err
	}
	if err := fold.Settle(ctx); err != nil {
		return err
	}
	if err := d.vouch(ctx, fold); err != nil {
		return err
	}
	var err error
	if d.differs() {
		out.Cut, out.Reason = false, "the history is kept: the checkpoint is not what it gave"
		out.Kept, out.Objection = compaction.Kept(d.thread)
		return nil
	}
	out.Records, err = d.thread.Prune(ctx)
	out.Kept, out.Objection = compaction.Kept(d.thread)
	return err
}
