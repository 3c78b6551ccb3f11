package node

import (
	"context"

	"github.com/weftdb/weft/internal/fault"
)

// An Erasure says what [Node.Erase] did.
type Erasure struct {
	Removed int64 // documents that were there
	Compaction
}

// Erase removes the documents that match a filter, and everything that was ever written of them:
// it cuts the history off without them. One that is not there any more goes with its history.
// Only the device that may cut can, see [Node.Compact]; else nothing is removed. Here the records are deleted on return, with the blocks of files that
// nothing names any more. Others delete them once a second device of an owner or admin vouches for
// the cut, or within 30 days of hearing of it; [DatabaseStatus] says of each peer whether it has.
// What somebody has copied, backups among it, is not reached, nor a device that never comes back.
func (n *Node) Erase(ctx context.Context, name, collection string, filter any) (Erasure, error) {
	var out Erasure
	d, err := n.lookup(name)
	if err != nil {
		return out, err
	}
	if err := d.thread.MayCheckpoint(); err != nil {
		return out, err
	}
	db, err := n.Database(ctx, name)
	if err != nil {
		return out, err
	}
	if out.Removed, err = db.Collection(collection).Delete(ctx, filter, true); err != nil {
		return out, err
	}
	if out.Compaction, err = n.Compact(ctx, name); err != nil {
		return out, err
	}
	if !out.Cut && out.Removed > 0 || out.Objection != "" {
		return out, fault.Errorf(fault.NotCut, "what was to be erased is removed, and its history is still here: %s%s", out.Reason, out.Objection)
	}
	return out, nil
}
