package thread

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// A snapshotLog is a snapshot log that is being written: a data log of its own for
// each checkpoint, whose records are in the order in which they are folded. Until
// the checkpoint names its last record it is void, so that one that was broken off
// does no harm.
type snapshotLog struct {
	t    *Thread
	log  *held.Log
	at   clock.Hash // of the record that announces it
	keys format.Keys
	last clock.RecordID
}

// add appends one record, which has an arrival number as any other.
func (w *snapshotLog) add(payload []byte) error {
	t := w.t
	if len(payload) > format.MaxPayload {
		return fault.Of(format.ErrTooLarge, "payload of %d bytes, at most %d", len(payload), format.MaxPayload)
	}
	t.write.Lock()
	err := w.commit(payload)
	t.write.Unlock()
	if err == nil {
		t.notify()
	}
	return err
}

// commit writes one record in a transaction of its own; write is held. The log comes
// into memory with its first record.
func (w *snapshotLog) commit(payload []byte) error {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	l, next := w.log, logstore.Branch{}
	if len(l.Branches) == 0 {
		l.Num = uint32(len(t.byNum))
		if err := t.rows.PutLog(tx, &l.Log); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	} else {
		next = l.Branches[0].Branch
	}
	h := &format.Header{
		Log: l.ID, Seq: next.Tip.Seq + 1, Prev: next.Tip.Hash, Time: t.env.clock.Now(),
		Control: []clock.Hash{w.at}, Epochs: w.keys.Epochs,
	}
	secret, ok := w.keys.Read(w.keys.Epochs)
	if !ok {
		return verify.ErrEpoch
	}
	rec, err := t.sealRecord(secret, h, &format.Plaintext{Payload: payload}, true)
	if err != nil {
		return err
	}
	next.Tip, next.Signed, next.Done, next.Time = rec.id, rec.id, rec.id, h.Time
	next.Records++
	next.Bytes += int64(rec.size)
	ref := arrivalRef{ArrivalRef: logstore.ArrivalRef{N: t.arrivals + 1, ID: rec.id, Log: l.Num}, signed: true}
	err = errors.Join(
		t.rows.PutRecord(tx, l.Num, rec.id, rec.value),
		t.rows.PutBranch(tx, l.Num, &next),
		t.rows.PutArrivals(tx, []logstore.ArrivalRef{ref.ArrivalRef}),
	)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	t.installLocal(l)
	ref.branch = t.installBranch(l, &next)
	t.arrivals = ref.N
	t.arrived(ref)
	t.grew.Ring()
	w.last = rec.id
	return nil
}
