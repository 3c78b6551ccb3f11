package thread

import (
	"context"
	"errors"
	"slices"

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
	for _, kind := range []format.LogKind{format.KindControl, format.KindSnapshot, format.KindData} {
		for log, raw := range descriptors {
			d, err := format.DecodeDescriptor(raw)
			if err != nil || d.Kind != kind {
				continue
			}
			if err := t.refillLog(ctx, snap, old, log, raw, &out); err != nil {
				return out, err
			}
		}
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
		for _, b := range l.branches {
			seq = max(seq, b.Tip.Seq)
		}
	}
	return max(seq, t.cuts.floor(id).Seq)
}

// refillLog takes in the records of one log, a run up to each signed position. Of a
// forked log the branches are told apart by the previous hashes.
func (t *Thread) refillLog(ctx context.Context, r store.Reader, old logstore.Table, log uint32, descriptor []byte, out *Refilled) error {
	lines := map[clock.Hash][]format.Record{} // records that no signed one covers yet, by the hash of the last
	err := old.EachRecord(r, log, func(_, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := format.DecodeStored(slices.Clone(v))
		if err != nil {
			out.Left++
			return nil
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			out.Left++
			return nil
		}
		line := append(slices.Clip(lines[h.Prev]), s.Record)
		delete(lines, h.Prev)
		hash := format.RecordHash(t.id, s.Header)
		if !s.Signed {
			lines[hash] = line
			return nil
		}
		got, err := t.Ingest(ctx, format.Run{Descriptor: descriptor, Records: line, Signature: s.Signature})
		var rejection *Rejection
		if err != nil && !errors.As(err, &rejection) {
			return err
		}
		out.Records += int64(got.Stored)
		if rejection != nil {
			out.Left += int64(len(line) - got.Stored - got.Held)
		}
		return nil
	})
	for _, line := range lines {
		out.Left += int64(len(line))
	}
	return err
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
