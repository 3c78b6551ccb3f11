package node

import (
	"context"
	"errors"
	"fmt"
	"time"

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

	Kept      time.Time // until when records that are cut off are kept, if nobody vouches for the cut before; zero: none are
	Objection string    // why they are kept for longer, in one sentence
}

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
	if err := d.vouch(ctx, fold); err != nil {
		return err
	}
	var err error
	if d.differs() {
		out.Cut, out.Reason = false, "the history is kept: the checkpoint is not what it gave"
		out.Kept, out.Objection = d.keeps()
		return nil
	}
	out.Records, err = d.thread.Prune(ctx)
	out.Kept, out.Objection = d.keeps()
	return err
}

// keeps says until when what is cut off is kept, and who objects to deleting it.
func (d *database) keeps() (until time.Time, objection string) {
	kept := d.thread.Kept()
	for _, o := range kept.Objections {
		objection = fmt.Sprintf("a device of an owner or admin got another state from its history, %s", o.Device.DID())
	}
	return kept.Until, objection
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
