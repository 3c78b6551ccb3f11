package thread

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// An openedLog is a data log that was announced, before the commit.
type openedLog struct {
	log    *held.Log
	hash   clock.Hash // of the record that announces it
	time   clock.Time
	record *controlWrite
}

// A controlWrite is a record of the own control log, before the commit.
type controlWrite struct {
	log     *held.Log
	next    logstore.Branch
	record  *control.Record
	newData *held.Log    // that it announces
	keys    *format.Keys // of the device from then on, if the record begins an epoch
}

// openDataLog writes a control record that announces a new data log of this
// device; its time is before `before`. mu and write are held.
func (t *Thread) openDataLog(tx store.Tx, before clock.Time) (*openedLog, error) {
	if t.presentControl() == nil {
		return nil, ErrNotMember
	}
	w, err := t.writeControl(tx, &format.Control{Op: format.OpLog}, before)
	if err != nil {
		return nil, err
	}
	return &openedLog{log: w.newData, hash: w.record.ID.Hash, time: w.record.Time, record: w}, nil
}

// installLog makes an announced log that has committed the one to append to.
func (t *Thread) installLog(o *openedLog) { t.installControl(o.record) }

// writeControl puts the next record of the own control log into tx. A join, and a log that
// names none, announces a new data log. With before set, its time is the earliest that is
// allowed and must be before that. mu and write are held.
func (t *Thread) writeControl(tx store.Tx, p *format.Control, before clock.Time) (*controlWrite, error) {
	w := &controlWrite{log: t.ownControl}
	if !p.Op.First() {
		w.log = t.presentControl()
	}
	fresh := 0
	if w.log == nil || p.Op == format.OpRecover || p.Op == format.OpStart { // these begin a log of their own
		w.log = t.newLocalLog(format.NewDescriptor(t.env.self(), format.KindControl, clock.LogID{}), 0)
		fresh = 1
	}
	if p.Data == nil && (p.Op == format.OpLog || p.Op.First() && p.Op != format.OpOpen) {
		d := format.NewDescriptor(t.env.self(), format.KindData, w.log.ID)
		p.Data = d.Encode()
	}
	h := &format.Header{Log: w.log.ID, Seq: 1, Epochs: t.firstEpoch(), Control: t.graph.Named()}
	switch p.Op {
	case format.OpJoin:
		h.Control = t.graph.NamedInJoin(p.Invite)
	case format.OpStart:
		h.Control = t.graph.NamedInJoin(p.Added)
	case format.OpRecover: // of whom it replaces it has seen the last
		h.Control = t.graph.NamedWith(&format.Control{Op: format.OpRemove, Subject: t.graph.State().Recovery.Owner})
	case format.OpRole, format.OpRemove, format.OpTransfer: // what it has not seen gets no rights, or loses them
		h.Control = t.graph.NamedWith(p)
	}
	after := t.genesis.Time
	for _, b := range w.log.Branches {
		if b.Tip.Seq >= h.Seq {
			w.next, h.Seq, h.Prev = b.Branch, b.Tip.Seq+1, b.Tip.Hash
			after = max(after, b.Time)
		}
	}
	for _, c := range h.Control {
		after = max(after, t.graph.Time(c))
	}
	if err := t.controlTime(h, after, before); err != nil {
		return nil, err
	}
	switch p.Op {
	case format.OpJoin:
		p.Signature = t.inviteSignature(w.log.ID, p)
	case format.OpRecover:
		p.SignRecover(t.id, w.log.ID, t.recovering)
		t.recovering = nil
	}
	payload := p.Encode()
	if _, err := format.DecodeControl(payload); err != nil { // nobody would take it, nor what follows it
		return nil, fmt.Errorf("control record: %w", err)
	}
	rec, err := t.sealRecord(t.keys.Service, h, &format.Plaintext{Payload: payload}, true)
	if err != nil {
		return nil, err
	}
	if w.record, err = t.ownControlRecord(h, rec, p); err != nil {
		return nil, err
	}
	if p.Epoch != nil {
		if read, err := p.Epoch.ForDevice(t.id, t.env.device); err == nil {
			k := t.keys.With(rec.id.Hash, read)
			if w.keys = &k; err == nil {
				err = t.putSecrets(tx, w.keys)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	w.next.Tip, w.next.Time, w.next.Signed, w.next.Done = rec.id, h.Time, rec.id, rec.id
	w.next.Records++
	w.next.Bytes += int64(rec.size)
	data := t.ownData
	if p.Data != nil {
		d, err := format.DecodeDescriptor(p.Data)
		if err != nil {
			return nil, err
		}
		if d.Kind == format.KindData {
			w.newData = t.newLocalLog(d, fresh)
			data = w.newData
		}
	}
	return w, t.putControl(tx, w, rec, data)
}

// firstEpoch names the epoch of what is sealed with the service key.
func (t *Thread) firstEpoch() []clock.Hash { return []clock.Hash{clock.Hash(t.id)} }

// ownControlRecord checks a record of ours as every other node will.
func (t *Thread) ownControlRecord(h *format.Header, rec *sealedRecord, p *format.Control) (*control.Record, error) {
	c := control.NewRecord(rec.id, t.env.self(), h, p)
	return c, t.graph.Check(c)
}

// controlTime sets the time of a record after those that it names. One that announces
// a log in a transaction of data has the earliest time, as the data comes after it.
func (t *Thread) controlTime(h *format.Header, after, before clock.Time) error {
	h.Time = after + 1
	if before == 0 {
		if err := t.env.clock.Observe(after); err != nil {
			return err
		}
		h.Time = t.env.clock.Now()
	} else if h.Time >= before {
		return ErrClock
	}
	return nil
}

// presentControl returns the control log that this device goes on in: one that may do
// nothing any more gives way to one that may.
func (t *Thread) presentControl() *held.Log {
	if t.ownControl != nil && t.graph.State().Live(t.ownControl.ID) {
		return t.ownControl
	}
	if m := t.graph.State().Members[t.env.self()]; m != nil && t.logs[m.Log] != nil {
		return t.logs[m.Log]
	}
	if t.ownControl != nil {
		return t.ownControl
	}
	return t.formerControl()
}

// putControl writes a control record and the logs that are new with it.
func (t *Thread) putControl(tx store.Tx, w *controlWrite, rec *sealedRecord, data *held.Log) error {
	errs := []error{
		t.rows.PutRecord(tx, w.log.Num, rec.id, rec.value),
		t.rows.PutBranch(tx, w.log.Num, &w.next),
	}
	if t.ownControl != w.log {
		errs = append(errs, t.rows.PutLog(tx, &w.log.Log))
	}
	if w.newData != nil {
		errs = append(errs, t.rows.PutLog(tx, &w.newData.Log))
	}
	if t.ownControl != w.log || w.newData != nil {
		errs = append(errs, t.putOwn(tx, w.log, data))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("control record: %w", err)
	}
	return nil
}

// installControl makes a control record that has committed the state in memory.
func (t *Thread) installControl(w *controlWrite) {
	t.installLocal(w.log)
	t.ownControl = w.log
	if w.newData != nil {
		t.installLocal(w.newData)
		t.ownData = w.newData
	}
	t.installBranch(w.log, &w.next)
	t.graph.Add(w.record)
	if w.keys != nil {
		t.keys = *w.keys
		t.learn() // what it gives
	}
	t.tellRevived()
	t.refreshCuts()
	t.syncSoon(true)
}

// appendControl appends a record to the own control log; it is durable on return.
func (t *Thread) appendControl(ctx context.Context, p *format.Control) (clock.RecordID, error) {
	if err := ctx.Err(); err != nil {
		return clock.RecordID{}, err
	}
	id, err := t.commitControl(func() (*format.Control, error) { return p, nil })
	if err != nil {
		return clock.RecordID{}, err
	}
	if err := t.syncNow(); err != nil {
		return clock.RecordID{}, err
	}
	t.notify()
	return id, nil
}

// commitControl is appendControl without the sync: the record is in the fold, and not
// yet sent. What it says is asked for with the locks held, so that nothing comes between.
func (t *Thread) commitControl(say func() (*format.Control, error)) (clock.RecordID, error) {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return clock.RecordID{}, ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	p, err := say()
	if err != nil || p == nil {
		return clock.RecordID{}, err
	}
	w, err := t.writeControl(tx, p, 0)
	if err != nil {
		return clock.RecordID{}, err
	}
	if err := tx.Commit(); err != nil {
		return clock.RecordID{}, fmt.Errorf("control record: %w", err)
	}
	t.installControl(w)
	t.grew.Ring()
	return w.record.ID, nil
}
