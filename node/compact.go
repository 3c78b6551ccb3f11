package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net"
)

// A Compaction says what [Node.Compact] did.
type Compaction struct {
	Cut     bool   // the history was cut now; other devices follow
	Reason  string // why it was not, in one sentence
	Records int64  // that were deleted here
	Refused int64  // refused operations that went with them
	Before  int64  // bytes of the node's store on disk, of all databases
	After   int64

	Blobs     int64  // blocks of files that were deleted here: no record names them any more
	BlobBytes int64  // their bytes; large ones are not in the store
	BlobsKept string // why none were looked for, in one sentence
}

// Compact makes a database as small on disk as it can be. The most senior device of the
// first owner, which made the database or was given it, cuts its history: a snapshot of the
// documents takes the place of the records, on every replica. What was cut before, here or
// elsewhere, is deleted on this device, with the blocks of files that nothing names without
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
	err = d.checkpoint(ctx, fold, &out)
	if fault.Is(err, fault.DiskFull) { // what nothing names already may be room enough
		if err := d.collectBlobs(ctx, &out); err != nil {
			return out, err
		}
		err = d.checkpoint(ctx, fold, &out)
	}
	if err != nil {
		return out, err
	}
	if err := d.prune(ctx, fold, &out); err != nil {
		return out, err
	}
	if err := d.collectBlobs(ctx, &out); err != nil {
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

// checkpoint cuts the history, if this device may and something was written
// since it was cut last.
func (d *database) checkpoint(ctx context.Context, fold *replica.Replica, out *Compaction) error {
	if err := d.thread.MayCheckpoint(); errors.Is(err, net.ErrCheckpoint) {
		out.Reason = err.Error()
		return nil
	} else if err != nil {
		return err
	}
	var cover *net.Coverage
	at, err := fold.Checkpoint(ctx, func(n int64) (err error) {
		cover, err = d.thread.Cover(n)
		return err
	})
	if errors.Is(err, net.ErrCheckpoint) {
		out.Reason = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	if cover == nil {
		out.Reason = "nothing was written since the history was cut last"
		return nil
	}
	err = d.thread.Checkpoint(ctx, cover, func(add func([]byte) error) (clock.Hash, error) { return at.Each(ctx, add) })
	if err != nil {
		return err
	}
	out.Cut, out.Refused = true, at.Refused()
	return nil
}

// prune deletes what is cut off, once the fold does without it.
func (d *database) prune(ctx context.Context, fold *replica.Replica, out *Compaction) error {
	if err := d.takeCut(ctx, fold); err != nil {
		return err
	}
	if err := fold.Settle(ctx); err != nil {
		return err
	}
	if d.differs() {
		out.Cut, out.Reason = false, "the history is kept: the checkpoint is not what it gave"
		return nil
	}
	var err error
	out.Records, err = d.thread.Prune(ctx)
	return err
}

// collectBlobs deletes the blocks of files that no record names any more.
func (d *database) collectBlobs(ctx context.Context, out *Compaction) error {
	blobs, bytes, err := d.thread.CollectBlobs(ctx, blobNames)
	out.Blobs, out.BlobBytes = out.Blobs+blobs, out.BlobBytes+bytes
	if errors.Is(err, net.ErrBlobsHeld) {
		out.BlobsKept = err.Error()
		return nil
	}
	return err
}
