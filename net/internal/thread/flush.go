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
)

// What may leave this node of a branch is said by two marks:
//
//	flushed    it is durable and folded up to here: it may be acknowledged
//	sent       the last signed position up to flushed: it may be sent, as runs end there
//
// Invariant: pending holds the arrivals after flushedTo, in order, and each branch
// counts its own of them; a mark moves only over what the database said that its
// sync covers. So no peer is ever told of a record that a crash here takes back.
//
//	pending          41 a/1    42 a/2 signed    43 b/7 signed
//	Flushed(41)      a: flushed 1, sent –       a/1 is under the signature of a/2
//	Flushed(43)      a: flushed 2, sent 2       b: flushed 7, sent 7
//	a/3 is refused   it has no number: skip moves a over it, as nothing before it is pending
//
// Control logs, and all logs on a relay, wait for no fold: their marks move with the
// sync of this package (syncLoop). After a restart flushedTo is -1, and the first
// Flushed reads from the store what came after it (loadPending).

// arrived notes a new arrival that is not flushed; mu is held.
func (t *Thread) arrived(a arrivalRef) {
	if t.flushedTo < 0 {
		return // Flushed will read them from the store
	}
	t.pending = append(t.pending, a)
	a.branch.Pending++
}

// skip moves the marks of a branch over records that have no arrival number, if
// nothing before them is unflushed.
func (t *Thread) skip(b *held.Branch) {
	if t.flushedTo >= 0 && b.Pending == 0 {
		b.Flushed = b.Done
		if b.Signed.Seq <= b.Done.Seq {
			b.Sent = b.Signed
		}
	}
}

// Flushed says that everything up to arrival n is folded and durable: own records
// may be sent, other writers' acknowledged. It also speaks for control records
// that were committed before it. Called again with the same n, it says that the
// state there is known, or is another, now.
func (t *Thread) Flushed(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.relay {
		return
	}
	if t.flushedTo < 0 {
		if err := t.loadPending(n); err != nil {
			t.env.log.Error("reading what is not flushed", "thread", t.id.String(), "err", err)
			return
		}
		t.grew.Ring()
		return
	}
	if n <= t.flushedTo {
		t.grew.Ring() // the state may be another at the same arrival: logs became void
		return
	}
	done := 0
	for done < len(t.pending) && t.pending[done].N <= n {
		a := &t.pending[done]
		b := a.branch
		b.Pending--
		b.Flushed = a.ID
		if a.signed {
			b.Sent = a.ID
		}
		if b.Pending == 0 && b.Done != a.ID {
			t.skip(b)
		}
		done++
	}
	t.pending = t.pending[done:]
	if len(t.pending) == 0 {
		t.pending = nil
	}
	t.flushedTo = n
	t.cache.Drop(n)
	t.grew.Ring()
}

// loadPending sets the marks of data logs from what is stored, with n flushed.
func (t *Thread) loadPending(n int64) error {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	t.flushedTo = n
	t.pending = nil
	at := map[*held.Branch]clock.RecordID{}
	err := t.rows.EachArrival(snap, n, func(ref logstore.ArrivalRef) (bool, error) {
		a := arrivalRef{ArrivalRef: ref}
		l := t.byNum[a.Log]
		a.ID.Log = l.ID
		s, err := t.rows.Record(snap, a.Log, a.ID)
		if errors.Is(err, ErrNotFound) && a.ID.Seq <= l.Floor.Top() {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			return false, err
		}
		a.signed = s.Signed
		if a.branch, err = l.BranchOf(t.rows, snap, a.ID); err != nil {
			return false, err
		}
		if _, ok := at[a.branch]; !ok { // the first that is not flushed: the mark is before it
			at[a.branch] = clock.RecordID{}
			if a.ID.Seq > 1 {
				at[a.branch] = clock.RecordID{Log: l.ID, Seq: a.ID.Seq - 1, Hash: h.Prev}
			}
		}
		a.branch.Pending++
		t.pending = append(t.pending, a)
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := t.markData(snap, at); err != nil {
		return err
	}
	t.cache.Drop(n)
	return nil
}

// markData sets the marks of data branches to the positions in at, before which all
// is flushed; a branch without one is flushed as far as it is judged.
func (t *Thread) markData(r store.Reader, at map[*held.Branch]clock.RecordID) (err error) {
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if l.Desc.Kind == format.KindControl {
				continue
			}
			flushed, pending := at[b]
			if !pending {
				flushed = b.Done
			}
			if b.Flushed = flushed; b.Flushed.Seq <= b.Base.Seq && b.Num > 0 {
				b.Flushed = clock.RecordID{}
			}
			if b.Sent, err = t.rows.SignedBefore(r, l.Num, &b.Branch, flushed); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncSoon makes what is committed durable in the background and then moves the
// marks of control logs and, on a relay, of data logs; mu is held.
func (t *Thread) syncSoon(needed bool) {
	if !needed || t.closed {
		return
	}
	t.dirty = true
	if t.syncing {
		return
	}
	t.syncing = true
	t.wg.Go(t.syncLoop)
}

// syncLoop syncs while there is something to sync: many commits share one.
func (t *Thread) syncLoop() {
	for {
		t.mu.Lock()
		if !t.dirty || t.closed {
			t.syncing = false
			t.mu.Unlock()
			return
		}
		t.dirty = false
		t.mu.Unlock()
		err := t.syncNow()
		if err == nil {
			continue
		}
		t.env.log.Error("sync", "thread", t.id.String(), "err", err)
		if fault.Is(err, fault.DiskFull) { // there may be room later
			t.mu.Lock()
			t.dirty = true
			t.mu.Unlock()
			t.pause(fullPause)
		}
	}
}

// fullPause is between a sync that a full disk refused and the next.
const fullPause = time.Second

// pause waits; the end of the thread ends it.
func (t *Thread) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ended:
	}
}

// syncNow makes what is committed durable and moves the marks.
func (t *Thread) syncNow() error {
	type mark struct {
		b         *held.Branch
		tip, head clock.RecordID
	}
	var marks []mark
	t.mu.Lock()
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if l.Desc.Kind == format.KindControl || t.relay {
				marks = append(marks, mark{b, b.Tip, b.Signed})
			}
		}
	}
	t.mu.Unlock()
	if err := t.env.store.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range marks {
		if m.tip.Seq > m.b.Flushed.Seq {
			m.b.Flushed = m.tip
		}
		if m.head.Seq > m.b.Sent.Seq {
			m.b.Sent = m.head
		}
	}
	t.grew.Ring()
	return nil
}
