package thread

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Pruning is in several transactions, each of which may be the last before a crash.
//
// Invariant: a log says that it begins after its floor, in a commit of its own,
// before any record up to there is deleted, and nothing is looked for before a log's
// beginning.
//
//	log a: 1 2 3 4 5, floor 3
//	begins             base of the branch becomes 3; 1 2 3 are still there, and not read
//	pruneSome          deletes 1 2 3 in transactions, counts with them; a restart goes on here
//	pruneArrivals      deletes the chunks of numbers that point only to what is gone
//
// The last arrival numbers stay, as new ones are counted from them.

// Prune deletes the records that are cut off, and reports how many. Call it when
// they are folded and the cut has been taken over, so that nobody asks for them.
func (t *Thread) Prune(ctx context.Context) (records int64, err error) {
	t.pruning.Lock()
	defer t.pruning.Unlock()
	floors := t.Floors()
	if len(floors) == 0 {
		return 0, nil
	}
	t.mu.Lock()
	logs := slices.Clone(t.byNum)
	t.mu.Unlock()
	for _, l := range logs {
		f, ok := floors[l.ID]
		if !ok || l.Desc.Kind == format.KindControl {
			continue
		}
		cut, err := t.begins(l, f)
		if err != nil {
			return records, err
		}
		for cut {
			n, err := t.pruneSome(ctx, l, f.Seq)
			records += n
			if err != nil {
				return records, err
			}
			if n == 0 {
				break
			}
		}
	}
	if err := t.pruneArrivals(ctx, floors); err != nil {
		return records, err
	}
	return records, t.env.store.Sync()
}

// pruneRelay prunes in the background: a relay keeps what the thread's members may
// ask for.
func (t *Thread) pruneRelay() {
	if _, err := t.Prune(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
		t.env.log.Error("prune", "thread", t.id.String(), "err", err)
	}
}

// begins makes the log begin after f, before its records up to there are deleted.
// A forked log keeps them: its branches are found by walking back.
func (t *Thread) begins(l *threadLog, f clock.RecordID) (bool, error) {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false, ErrClosed
	}
	if len(l.branches) != 1 {
		return false, nil
	}
	b := l.branches[0]
	if b.Base.Seq >= f.Seq {
		return true, nil
	}
	next := *b
	next.Base = f
	for _, at := range []*clock.RecordID{&next.Tip, &next.Signed, &next.Done, &next.sent, &next.flushed} {
		if at.Seq < f.Seq {
			*at = f
		}
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	if err := t.rows.PutBranch(tx, l.Num, &next.Branch); err != nil {
		return false, fmt.Errorf("prune: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("prune: %w", err)
	}
	*b = next
	return true, nil
}

// pruneSome deletes some of the records of a log up to seq.
func (t *Thread) pruneSome(ctx context.Context, l *threadLog, seq uint64) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	tx := t.env.store.Begin()
	defer tx.Discard()
	n, size, err := t.rows.PruneRecords(snap, tx, l.Num, seq)
	if err != nil || n == 0 {
		return 0, err
	}
	return n, t.commitPrune(tx, l, seq, n, size)
}

// commitPrune commits one transaction, with the counts that go down by it.
func (t *Thread) commitPrune(tx store.Tx, l *threadLog, seq uint64, n, size int64) error {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	b := l.branches[0]
	next := *b
	next.Records, next.Bytes = max(0, b.Records-n), max(0, b.Bytes-size)
	if err := t.rows.PutBranch(tx, l.Num, &next.Branch); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	b.Records, b.Bytes = next.Records, next.Bytes
	t.refused = slices.DeleteFunc(t.refused, func(r Refusal) bool { return r.ID.Log == l.ID && r.ID.Seq <= seq })
	t.grew.Ring()
	return nil
}

// pruneArrivals deletes the numbers of records that are cut off, in so far as they
// are kept together and flushed. The last stay: new ones are counted from them.
func (t *Thread) pruneArrivals(ctx context.Context, floors map[clock.LogID]clock.RecordID) error {
	t.mu.Lock()
	upTo := make([]uint64, len(t.byNum))
	for i, l := range t.byNum {
		upTo[i] = floors[l.ID].Seq
	}
	flushed, last := t.flushedTo, t.arrivals
	t.mu.Unlock()
	for from := int64(0); from >= 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if from, err = t.pruneArrivalsFrom(from, min(flushed, last-1), upTo); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}

// pruneArrivalsFrom goes on from a number and returns where to go on; -1 at the end.
func (t *Thread) pruneArrivalsFrom(from, last int64, upTo []uint64) (next int64, err error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	tx := t.env.store.Begin()
	defer tx.Discard()
	if next, err = t.rows.PruneArrivals(snap, tx, from, last, upTo); err != nil {
		return -1, err
	}
	return next, tx.Commit()
}
