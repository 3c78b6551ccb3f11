package thread

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/floor"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// Pruning is in several transactions, each of which may be the last before a crash.
//
// Invariant: a log says that it begins after its floor, in commits of their own,
// before any record up to there is deleted, and nothing is looked for before a log's
// beginning.
//
//	log a: 1 2 3 4 5, floor 3
//	begins             base of the branch becomes 3; 1 2 3 are still there, not read, not counted
//	pruneSome          deletes 1 2 3 in transactions; a restart goes on here
//	pruneArrivals      deletes the chunks of numbers that point only to what is gone
//
// Of a log that its device forked each branch begins after its head; one that ends at or below
// the floor goes; of one beside the floor what is above it stays, and is void.
//
// The last arrival numbers stay, as new ones are counted from them.

// Prune deletes the records that are cut off and need not be kept, and reports how many. Call
// it when they are folded and the cut has been taken over, so that nobody asks for them.
func (t *Thread) Prune(ctx context.Context) (records int64, err error) {
	t.pruning.Lock()
	defer t.pruning.Unlock()
	t.mu.Lock()
	free, _ := t.released()
	floors := t.floorsOf(free)
	logs := slices.DeleteFunc(slices.Clone(t.ofData), func(l *held.Log) bool { return len(floors[l.ID]) == 0 })
	t.mu.Unlock()
	if len(logs) == 0 {
		return 0, nil
	}
	gone := make(map[uint32]*held.Pruned, len(logs))
	for _, l := range logs {
		p, err := t.begins(l, floors[l.ID])
		if err != nil {
			return records, err
		}
		gone[l.Num] = p
		for n := int64(1); n > 0; {
			if n, err = t.pruneSome(ctx, l, p); err != nil {
				return records, err
			}
			records += n
		}
	}
	if err := t.pruneArrivals(ctx, gone); err != nil {
		return records, err
	}
	t.mu.Lock()
	for _, c := range free {
		t.prunedOf[c.ID] = true
	}
	t.mu.Unlock()
	return records, t.env.store.Sync()
}

// begins makes the branches of a log begin after a floor, which its own may be above, before its
// records up to there are deleted, and takes off those that end there.
func (t *Thread) begins(l *held.Log, f floor.Floor) (*held.Pruned, error) {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	changed, off, p, err := l.Begin(t.rows, snap, f, func(id clock.RecordID) bool { return t.ahead(id) != nil })
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	if err := l.Write(t.env.store, t.rows, changed, off); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	for i := range changed {
		b := l.Branch(changed[i].Num)
		for _, at := range []*clock.RecordID{&b.Sent, &b.Flushed} {
			if at.Seq < changed[i].Base.Seq {
				*at = changed[i].Base
			}
		}
		b.Branch = changed[i]
	}
	l.Branches = slices.DeleteFunc(slices.Clone(l.Branches), func(b *held.Branch) bool {
		return slices.ContainsFunc(off, func(o logstore.Branch) bool { return o.Num == b.Num })
	})
	t.refused = slices.DeleteFunc(t.refused, func(r Refusal) bool { return r.ID.Log == l.ID && p.Has(r.ID.Seq, r.ID.Hash) })
	t.grew.Ring()
	return p, nil
}

// pruneSome deletes some of what goes of a log. It counts with no branch any more.
func (t *Thread) pruneSome(ctx context.Context, l *held.Log, p *held.Pruned) (int64, error) {
	if err := errors.Join(ctx.Err(), t.notClosed()); err != nil {
		return 0, err
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	tx := t.env.store.Begin()
	defer tx.Discard()
	n, err := t.rows.PruneRecords(snap, tx, l.Num, p.Top, p.Has)
	if err == nil && n > 0 {
		err = tx.Commit()
	}
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return n, nil
}

// pruneArrivals deletes the numbers of records that are cut off, in so far as they
// are kept together and flushed. The last stay: new ones are counted from them.
func (t *Thread) pruneArrivals(ctx context.Context, gone map[uint32]*held.Pruned) error {
	t.mu.Lock()
	flushed, last := t.flushedTo, t.arrivals
	t.mu.Unlock()
	for from := int64(0); from >= 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if from, err = t.pruneArrivalsFrom(from, min(flushed, last-1), gone); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}

// pruneArrivalsFrom goes on from a number and returns where to go on; -1 at the end.
func (t *Thread) pruneArrivalsFrom(from, last int64, gone map[uint32]*held.Pruned) (next int64, err error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	tx := t.env.store.Begin()
	defer tx.Discard()
	next, err = t.rows.PruneArrivals(snap, tx, from, last, func(a logstore.ArrivalRef) bool { return gone[a.Log].Has(a.ID.Seq, a.ID.Hash) })
	if err != nil {
		return -1, err
	}
	return next, tx.Commit()
}
