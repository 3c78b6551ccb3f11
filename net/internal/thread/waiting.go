package thread

import (
	"errors"
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// Two kinds of records wait to be judged:
//
//	stored    of a log that is known: they are on its branch, after done. They wait for
//	          a control record, an epoch, the read key, or their time, and so does
//	          all that follows them in their log
//	parked    runs of a log that no control record held here announces yet. They are in
//	          memory and bounded: strangers make such runs too
//
// Invariant: whatever may end a wait has all of it judged again: a control record
// (settle, in its own commit), the read key (FinishJoin), the time (the waker).
//
//	run b/1 names control record c9, not held      parked
//	c9 arrives, an announcement of log b           settle: b/1 is held and judged
//	b/2 is six minutes ahead                       stored; the waker is set for in a minute
//	b/3 follows                                    stored, waits behind b/2
//	a minute later                                 recheck: b/2 and b/3 arrive

// maxNap bounds one setting of the waker: the wall clock may be set meanwhile, and a
// time that a writer chose is never slept for at once.
const maxNap = time.Hour

// wakeFor remembers that a record has to be judged again when its time has come.
func (t *Thread) wakeFor(at clock.Time) {
	if t.wakeAt == 0 || at < t.wakeAt {
		t.wakeAt = at
	}
}

// armWaker sets the timer for the first record that waits for its time; it fires
// not before least. mu is held.
func (t *Thread) armWaker(least time.Duration) {
	t.stopWaker()
	if t.wakeAt == 0 || t.closed {
		return
	}
	wait := max(least, min(t.env.clock.Until(t.wakeAt), maxNap)+10*time.Millisecond)
	t.wg.Add(1)
	t.waker = time.AfterFunc(wait, t.wake)
}

// wake judges what waits again if its time has come, and else sleeps on.
func (t *Thread) wake() {
	defer t.wg.Done()
	t.mu.Lock()
	at := t.wakeAt
	due := at != 0 && t.env.clock.Until(at) == 0
	if !due {
		t.armWaker(0)
	}
	t.mu.Unlock()
	if !due {
		return
	}
	if err := t.recheck(); err != nil && !errors.Is(err, ErrClosed) {
		t.env.log.Warn("judging records whose time has come", "thread", t.id.String(), "err", err)
		t.mu.Lock()
		t.wakeFor(at) // the store failed, which may pass
		t.armWaker(time.Minute)
		t.mu.Unlock()
	}
}

// stopWaker stops the timer; mu is held.
func (t *Thread) stopWaker() {
	if t.waker != nil && t.waker.Stop() {
		t.wg.Done()
	}
	t.waker = nil
}

// loadWaiting sets the waker for the records that waited when the thread was last
// open: those whose time came meanwhile are judged at once.
func (t *Thread) loadWaiting(r store.Reader) error {
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if b.Done == b.Tip {
				continue
			}
			err := t.rows.Walk(r, &l.Log, l.Forked(), b.Tip, b.Done.Seq, func(_ clock.RecordID, s format.Stored) (bool, error) {
				h, err := format.DecodeHeader(s.Header)
				if err == nil {
					t.wakeFor(h.Time)
					t.wantAll(l, h)
				}
				return false, err
			})
			if err != nil {
				return fmt.Errorf("waiting records: %w", err)
			}
		}
	}
	return nil
}

// wantAll wants what the first waiting record of a member's log names and is not held.
func (t *Thread) wantAll(l *held.Log, h *format.Header) {
	control := l.ID
	if l.Desc.Kind != format.KindControl {
		control = l.Desc.Control
	}
	if !t.graph.State().Live(control) {
		return
	}
	for _, c := range h.Control {
		if !t.graph.Has(c) {
			t.want(c)
		}
	}
}

// park keeps a run until control records tell more of its log. The bound is a
// refusal that is no fault: the peer is asked again.
func (t *Thread) park(v *verify.Run, wake clock.Time, w *ingestTx) *Rejection {
	if t.parked.Has(v.Records[len(v.Records)-1].ID) {
		return nil
	}
	if t.parked.Full(v) {
		return verify.Refuse(fault.WaitingFull, v.Records[0].ID, "too much waits for control records", nil)
	}
	if wake != 0 && t.env.clock.Check(wake) != nil {
		t.wakeFor(wake)
	}
	t.parked.Add(v)
	w.res.Waiting = true
	return nil
}

// Waiting returns what cannot be judged yet and why, by log.
func (t *Thread) Waiting() ([]Waiting, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	var all []Waiting
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if b.Done == b.Tip {
				continue
			}
			wait := Waiting{Count: int(b.Tip.Seq - b.Done.Seq)}
			err := t.rows.Walk(snap, &l.Log, l.Forked(), b.Tip, b.Done.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
				r, err := t.reopen(l, id, s)
				if err == nil {
					wait.First, wait.Reason = id, t.whyWait(l, r)
				}
				return false, err
			})
			if err != nil {
				return nil, err
			}
			all = append(all, wait)
		}
	}
	for _, v := range t.parked.Runs {
		r := &v.Records[0]
		all = append(all, Waiting{First: r.ID, Count: len(v.Records), Reason: t.whyWait(&held.Log{Log: logstore.Log{Desc: v.Desc}}, r)})
	}
	return all, nil
}

// whyWait says why a record waits, for people.
func (t *Thread) whyWait(l *held.Log, r *verify.Record) string {
	if l.Desc.Kind != format.KindControl {
		wait, _ := t.judgeData(r)
		return wait
	}
	if wait := t.judgeControl(r.Control); wait != "" {
		return wait
	}
	if err := t.graph.Check(r.Control); err != nil {
		return err.Error()
	}
	return ""
}
