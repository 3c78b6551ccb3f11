package thread

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// judge folds, numbers or refuses the record after the last judged one of a
// branch. It returns false if the record has to wait.
func (w *ingestTx) judge(l *held.Log, b *held.Branch, r *verify.Record, signed bool) (bool, error) {
	t := w.t
	if l.Desc.Kind == format.KindControl {
		if t.judgeControl(r.Control) != "" || t.graph.Check(r.Control) != nil {
			return false, nil
		}
		t.graph.Add(r.Control)
		if r.Control.Payload.Epoch != nil {
			w.learned = t.learn() || w.learned
		}
		delete(t.wanted, r.ID.Hash)
		w.res.Control = true
		b.Done = r.ID
		w.dirty[b] = l
		_ = t.env.clock.Observe(r.Header.Time) // not ahead: it was judged
		return true, nil
	}
	t.openNow(l, r)
	wait, refuse := t.judgeData(r)
	if wait != "" {
		return false, nil
	}
	// Judged, whatever it becomes: a record without effect does not hold up its log.
	b.Done = r.ID
	w.dirty[b] = l
	_ = t.env.clock.Observe(r.Header.Time)
	if refuse != nil {
		f := logstore.Refusal{ID: r.ID, Kind: verify.KindOf(refuse), Reason: refuse.Error()}
		t.refused = append(t.refused, Refusal(f))
		if err := t.rows.PutRefused(w.tx, l.Num, &f); err != nil {
			return false, fmt.Errorf("refusal: %w", err)
		}
		t.skip(b)
		return true, nil
	}
	if t.relay {
		return true, nil
	}
	t.arrivals++
	if n := t.limits[l.ID]; n != nil && n.refind {
		t.limited++
	}
	ref := arrivalRef{ArrivalRef: logstore.ArrivalRef{N: t.arrivals, ID: r.ID, Log: l.Num}, branch: b, signed: signed}
	w.refs = append(w.refs, ref.ArrivalRef)
	t.arrived(ref)
	t.cache.Add(ref.N, r.Entry)
	return true, nil
}

// openNow opens a data record that was verified before its key was known.
func (t *Thread) openNow(l *held.Log, r *verify.Record) {
	if _, ok := t.keys.Read(r.Header.Epochs); ok && !r.Opened && !t.relay {
		r.Opened = true
		r.Entry, r.Err = t.opener(&t.keys).Entry(r.ID, r.Raw)
		r.Entry.Snapshot = l.Desc.Kind == format.KindSnapshot
	}
}

// judgeControl returns why a control record has to wait, or "".
func (t *Thread) judgeControl(c *control.Record) string {
	if p, lacks := t.graph.Lacks(c); lacks {
		if t.graph.State().Live(c.ID.Log) {
			t.want(p)
		}
		return fmt.Sprintf("unknown control record %x", p[:4])
	}
	if t.env.clock.Check(c.Time) != nil {
		t.wakeFor(c.Time)
		return clock.ErrAhead.Error()
	}
	return ""
}

// judgeData returns why a data record has to wait, or else why it has no effect,
// if it has none. Every replica that does not wait comes to the same result.
func (t *Thread) judgeData(r *verify.Record) (wait string, refuse error) {
	for _, h := range r.Header.Control {
		if !t.graph.Has(h) {
			if control, known := t.graph.ControlOf(r.ID.Log); known && t.graph.State().Live(control) {
				t.want(h)
			}
			return fmt.Sprintf("unknown control record %x", h[:4]), nil
		}
	}
	if t.env.clock.Check(r.Header.Time) != nil {
		t.wakeFor(r.Header.Time)
		return clock.ErrAhead.Error(), nil
	}
	if _, ok := t.graph.ControlOf(r.ID.Log); !ok {
		return "the log is not announced", nil
	}
	for _, h := range r.Header.Control {
		if r.Header.Time <= t.graph.Time(h) {
			return "", fault.Of(ErrClock, "the record is not later than the control records that it names")
		}
	}
	if why := t.graph.Begun(r.ID.Log, r.Header.Control); why != "" {
		return "", fault.Of(ErrNotMember, "%s", why)
	}
	if t.relay {
		return "", nil
	}
	if !r.Opened {
		if !t.keys.CanRead() {
			return "no read key yet", nil
		}
		return fmt.Sprintf("the key of epoch %x has not arrived", r.Header.Epochs[0][:4]), nil
	}
	return "", r.Err
}

// settle judges again what waits, until nothing changes: what is stored, and what
// is parked.
func (w *ingestTx) settle() error {
	t := w.t
	w.learned = t.learn() || w.learned // a record may bring into force an epoch that came before
	for {
		known := t.graph.Len()
		t.wantedMore = false
		for i := 0; i < len(t.byNum); i++ { // judging adds to neither list
			l := t.byNum[i]
			for j := 0; j < len(l.Branches); j++ {
				if b := l.Branches[j]; b.Done != b.Tip {
					if err := w.settleBranch(l, b); err != nil {
						return err
					}
				}
			}
		}
		for _, v := range t.parked.Take() {
			rej, err := w.hold(v)
			if err != nil {
				return err
			}
			if rej != nil {
				t.env.log.Info("a run that had waited is refused", "thread", t.id.String(), "record", rej.ID.String(), "kind", string(rej.Kind()), "reason", rej.Reason)
			}
		}
		if t.graph.Len() == known && !t.wantedMore {
			return nil
		}
	}
}

// settleBranch judges what waits on a branch, in order, until a record has to wait. It
// reads the store, so what this transaction wrote is committed first.
func (w *ingestTx) settleBranch(l *held.Log, b *held.Branch) error {
	if err := w.next(); err != nil {
		return err
	}
	t := w.t
	snap := t.env.store.Snapshot()
	defer snap.Release()
	return t.rows.Walk(snap, &l.Log, l.Forked(), b.Tip, b.Done.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
		r, err := t.reopen(l, id, s)
		if err != nil {
			return false, err
		}
		if err := w.room(1024); err != nil {
			return false, err
		}
		return w.judge(l, b, r, s.Signed)
	})
}

// reopen opens a record that is stored, to judge it.
func (t *Thread) reopen(l *held.Log, id clock.RecordID, s format.Stored) (*verify.Record, error) {
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return nil, fmt.Errorf("stored record: %w", err)
	}
	r := &verify.Record{Raw: s.Record, Header: h, ID: id}
	if l.Desc.Kind == format.KindControl {
		r.Control, err = t.opener(&t.keys).Control(l.Desc.Device, id, h, s.Body)
		return r, err
	}
	if _, ok := t.keys.Read(h.Epochs); ok {
		r.Opened = true
		r.Entry, r.Err = t.opener(&t.keys).Entry(id, s.Record)
		r.Entry.Snapshot = l.Desc.Kind == format.KindSnapshot
	}
	return r, nil
}

// recheck judges again what waits, for instance because time has passed.
func (t *Thread) recheck() error {
	t.write.Lock()
	t.mu.Lock()
	err := t.settleAll()
	refused := errors.Is(err, store.ErrDiskFull)
	if refused {
		err = errors.Join(err, t.reload())
	}
	t.mu.Unlock()
	t.write.Unlock()
	if refused {
		t.reflush()
	}
	t.notify()
	return err
}

// settleAll is settle in a transaction of its own; write and mu are held.
func (t *Thread) settleAll() error {
	if t.closed {
		return ErrClosed
	}
	w := &ingestTx{t: t, tx: t.env.store.Begin(), dirty: map[*held.Branch]*held.Log{}}
	defer func() { w.tx.Discard() }()
	t.wakeAt = 0
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	t.refreshCuts()
	t.armWaker(0)
	t.grew.Ring()
	t.syncSoon(true)
	return nil
}
