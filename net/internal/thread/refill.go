package thread

import (
	"context"
	"errors"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// What is left of a damaged thread is taken in as if a peer had sent it: every
// signature, chain and body is checked again, and what does not hold is left out.
//
//	log a: 1 2 – 4 5      3 is gone: a/1 a/2 are taken, a/4 a/5 are a gap until a peer brings a/3

// A Refilled says what of a damaged copy was taken in.
type Refilled struct {
	Records, Blobs int64
	Left           int64 // records that were there and could not be taken; of blobs see [Thread.LackedBlobs]
	Missing        int64 // records that the logs had
}

// Rebuild begins a thread again from its Essence, takes in what the store holds of
// it under its number of before, and deletes that. A crash in between leaves what is
// not taken in yet to no one; who rebuilds works on a copy of the store.
func Rebuild(ctx context.Context, env *Env, e Essence) (*Thread, Refilled, error) {
	var out Refilled
	snap := env.store.Snapshot()
	old, err := logstore.Trace(snap, format.ThreadIDOf(e.Genesis))
	snap.Release()
	was := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, out, err
	}
	t, err := Reopen(ctx, env, e)
	if err != nil || !was {
		return t, out, err
	}
	if out, err = t.refill(ctx, old); err == nil {
		err = t.forget(ctx, old)
	}
	if err != nil {
		t.Close()
		return nil, out, err
	}
	return t, out, nil
}

// refill takes in what the store holds of the thread under its number of before.
func (t *Thread) refill(ctx context.Context, old logstore.Table) (Refilled, error) {
	var out Refilled
	snap := t.env.store.Snapshot()
	defer snap.Release()
	descriptors, err := old.Descriptors(snap)
	if err != nil {
		return out, err
	}
	tips, err := old.Tips(snap)
	if err != nil {
		return out, err
	}
	out.Left, err = old.EachRun(ctx, snap, t.id, func(run format.Run) (left int, err error) {
		got, err := t.Ingest(ctx, run)
		var rejection *Rejection
		if err != nil && !errors.As(err, &rejection) {
			return 0, err
		}
		out.Records += int64(got.Stored)
		if rejection != nil {
			left = len(run.Records) - got.Stored - got.Held
		}
		return left, nil
	})
	if err != nil {
		return out, err
	}
	for log, tip := range tips {
		if raw, ok := descriptors[log]; !ok {
			out.Missing += int64(tip)
		} else if reached := t.reached(format.LogIDOf(t.id, raw)); reached < tip {
			out.Missing += int64(tip - reached)
		}
	}
	of, _, lacks, _ := old.BlobKeys()
	out.Blobs, err = t.blobs.Refill(ctx, snap, of, lacks)
	return out, err
}

// reached returns the last position of a log that is held.
func (t *Thread) reached(id clock.LogID) (seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.logs[id]; l != nil {
		for _, b := range l.Branches {
			seq = max(seq, b.Tip.Seq)
		}
	}
	return max(seq, t.cuts.floors[id].Top())
}

// forget deletes rows, in several transactions.
func (t *Thread) forget(ctx context.Context, rows logstore.Table) error {
	prefix := rows.Prefix()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := store.DeleteSome(t.env.store, prefix)
		if err != nil || n == 0 {
			return err
		}
	}
}
