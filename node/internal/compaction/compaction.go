// Package compaction is how the history of one database is cut off: it joins a thread and its fold.
//
//	Cut        a snapshot of the fold takes the place of the thread's records
//	Vouch      what the history here gave, where another device has cut it
//	Kept       until when what is cut off is kept
//	Collect    the blobs that nothing names without it
package compaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net"
)

// A Result says what a compaction did.
type Result struct {
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

// Cut cuts the history, if this device may and something was written since it was cut last.
func Cut(ctx context.Context, t *net.Thread, fold *replica.Replica, out *Result) error {
	if err := t.MayCheckpoint(); errors.Is(err, net.ErrCheckpoint) {
		out.Reason = err.Error()
		return nil
	} else if err != nil {
		return err
	}
	var cover *net.Coverage
	at, err := fold.Checkpoint(ctx, func(n int64) (err error) {
		cover, err = t.Cover(n)
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
	err = t.Checkpoint(ctx, cover, func(add func([]byte) error) (clock.Hash, error) { return at.Each(ctx, add) })
	if err != nil {
		return err
	}
	out.Cut, out.Refused = true, at.Refused()
	return nil
}

// Vouch says what the history here gave; kept says that it is not what the snapshots of a cut give.
func Vouch(ctx context.Context, t *net.Thread, fold *replica.Replica, kept bool, cut net.Cut) error {
	if !kept {
		if log, ok := fold.Compared(); ok {
			return t.Vouch(ctx, log, true, clock.Hash{})
		}
		return nil
	}
	_, state := fold.StateHash()
	for log := range cut.Snapshots {
		if err := t.Vouch(ctx, log, false, state); err != nil {
			return err
		}
	}
	return nil
}

// Kept says until when what is cut off is kept, and who objects to deleting it.
func Kept(t *net.Thread) (until time.Time, objection string) {
	kept := t.Kept()
	for _, o := range kept.Objections {
		objection = fmt.Sprintf("a device of an owner or admin got another state from its history, %s", o.Device.DID())
	}
	return kept.Until, objection
}

// Collect deletes the blobs that no record names any more.
func Collect(ctx context.Context, t *net.Thread, names net.BlobNames, out *Result) error {
	blobs, bytes, err := t.CollectBlobs(ctx, names)
	out.Blobs, out.BlobBytes = out.Blobs+blobs, out.BlobBytes+bytes
	if errors.Is(err, net.ErrBlobsHeld) {
		out.BlobsKept = err.Error()
		return nil
	}
	return err
}
