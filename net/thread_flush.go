package net

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// maxCached bounds the payloads of received records that are kept for
// [Thread.Arrivals], so that they are not read and opened a second time.
const maxCached = 16 << 20

// An arrivalCache holds entries by arrival number.
type arrivalCache struct {
	entries map[int64]Entry
	size    int
	low     int64 // nothing is held up to here
}

func (c *arrivalCache) add(n int64, e Entry) {
	if c.size+len(e.Payload) > maxCached {
		return
	}
	if c.entries == nil {
		c.entries = map[int64]Entry{}
		c.low = n - 1
	}
	c.entries[n] = e
	c.size += len(e.Payload) + 64
}

// drop forgets the entries up to n.
func (c *arrivalCache) drop(n int64) {
	for ; c.low < n && len(c.entries) > 0; c.low++ {
		if e, ok := c.entries[c.low+1]; ok {
			c.size -= len(e.Payload) + 64
			delete(c.entries, c.low+1)
		}
	}
	c.low = max(c.low, n)
}

// Arrivals returns the data records that arrived after n, in order, of at least
// one and at most about maxBytes of payload; none if there are none. It includes
// own records.
func (t *Thread) Arrivals(n int64, maxBytes int) ([]Arrival, error) {
	t.mu.Lock()
	k, last := t.keys, t.arrivals
	var got []Arrival
	size := 0
	for at := n + 1; at <= last && (size == 0 || size < maxBytes); at++ {
		e, ok := t.cache.entries[at]
		if !ok {
			break
		}
		got = append(got, Arrival{N: at, Entry: e})
		size += len(e.Payload)
	}
	t.mu.Unlock()
	if len(got) > 0 || n >= last {
		return got, nil
	}
	if !k.canRead() {
		return nil, ErrNoKeys
	}
	return t.readArrivals(k.Read, n, last, maxBytes)
}

// readArrivals reads and opens records of the store.
func (t *Thread) readArrivals(read secretKey, n, last int64, maxBytes int) ([]Arrival, error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	var refs []arrivalRef
	var raw []rawRecord
	size := 0
	err := t.eachArrival(snap, n, func(a arrivalRef) (bool, error) {
		if a.n > last {
			return false, nil
		}
		t.mu.Lock()
		l := t.byNum[a.log]
		a.id.Log = l.id
		cut := a.id.Seq <= t.cuts.floor(l.id).Seq
		t.mu.Unlock()
		s, err := t.readRecord(snap, a.log, a.id)
		if cut && errors.Is(err, ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		a.snapshot = l.desc.Kind == kindSnapshot
		refs, raw = append(refs, a), append(raw, s.rawRecord)
		size += len(s.Body)
		return 2*size < maxBytes, nil // compressed, about by half
	})
	if err != nil {
		return nil, err
	}
	got, errs := make([]Arrival, len(refs)), make([]error, len(refs))
	parallel(len(refs), func(i int) {
		got[i].N = refs[i].n
		got[i].Entry, errs[i] = t.openEntry(read, refs[i].id, raw[i])
		got[i].Snapshot = refs[i].snapshot
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// arrived notes a new arrival that is not flushed; mu is held.
func (t *Thread) arrived(a arrivalRef) {
	if t.flushedTo < 0 {
		return // Flushed will read them from the store
	}
	t.pending = append(t.pending, a)
	a.branch.pending++
}

// skip moves the marks of a branch over records that have no arrival number, if
// nothing before them is unflushed.
func (t *Thread) skip(b *branch) {
	if t.flushedTo >= 0 && b.pending == 0 {
		b.flushed = b.done
		if b.signed.Seq <= b.done.Seq {
			b.sent = b.signed
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
		t.signal()
		return
	}
	if n <= t.flushedTo {
		t.signal() // the state may be another at the same arrival: logs became void
		return
	}
	done := 0
	for done < len(t.pending) && t.pending[done].n <= n {
		a := &t.pending[done]
		b := a.branch
		b.pending--
		b.flushed = a.id
		if a.signed {
			b.sent = a.id
		}
		if b.pending == 0 && b.done != a.id {
			t.skip(b)
		}
		done++
	}
	t.pending = t.pending[done:]
	if len(t.pending) == 0 {
		t.pending = nil
	}
	t.flushedTo = n
	t.cache.drop(n)
	t.signal()
}

// loadPending sets the marks of data logs from what is stored, with n flushed.
func (t *Thread) loadPending(n int64) error {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	t.flushedTo = n
	t.pending = nil
	at := map[*branch]clock.RecordID{}
	err := t.eachArrival(snap, n, func(a arrivalRef) (bool, error) {
		l := t.byNum[a.log]
		a.id.Log = l.id
		s, err := t.readRecord(snap, a.log, a.id)
		if errors.Is(err, ErrNotFound) && a.id.Seq <= t.cuts.floor(l.id).Seq {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		h, err := decodeHeader(s.Header)
		if err != nil {
			return false, err
		}
		a.signed = s.Signed
		if a.branch, err = t.branchOf(snap, l, a.id); err != nil {
			return false, err
		}
		if _, ok := at[a.branch]; !ok {
			at[a.branch] = clock.RecordID{}
			if a.id.Seq > 1 {
				at[a.branch] = clock.RecordID{Log: l.id, Seq: a.id.Seq - 1, Hash: h.Prev}
			}
		}
		a.branch.pending++
		t.pending = append(t.pending, a)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, l := range t.byNum {
		for _, b := range l.branches {
			if l.desc.Kind == kindControl {
				continue
			}
			flushed, pending := at[b]
			if !pending {
				flushed = b.done
			}
			if b.flushed = flushed; b.flushed.Seq <= b.base.Seq && b.num > 0 {
				b.flushed = clock.RecordID{}
			}
			if b.sent, err = t.signedBefore(snap, l, b, flushed); err != nil {
				return err
			}
		}
	}
	t.cache.drop(n)
	return nil
}

// branchOf returns the branch that a record is on.
func (t *Thread) branchOf(r store.Reader, l *threadLog, id clock.RecordID) (*branch, error) {
	if !l.forked() {
		return l.branches[0], nil
	}
	for _, b := range l.branches {
		if id.Seq <= b.base.Seq || id.Seq > b.tip.Seq {
			continue
		}
		found := false
		err := t.walkPath(r, l.num, b.tip, id.Seq-1, func(at clock.RecordID, _ storedRecord) (bool, error) {
			found = at == id
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		if found {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: branch of record %s", ErrNotFound, id)
}

// signedBefore returns the last signed position of a branch up to id.
func (t *Thread) signedBefore(r store.Reader, l *threadLog, b *branch, id clock.RecordID) (clock.RecordID, error) {
	if b.signed.Seq <= id.Seq {
		return b.signed, nil
	}
	for id.Seq > b.base.Seq {
		s, err := t.readRecord(r, l.num, id)
		if err != nil {
			return clock.RecordID{}, err
		}
		if s.Signed {
			return id, nil
		}
		h, err := decodeHeader(s.Header)
		if err != nil {
			return clock.RecordID{}, err
		}
		id = clock.RecordID{Log: id.Log, Seq: id.Seq - 1, Hash: h.Prev}
	}
	return clock.RecordID{}, nil
}

// Attach joins the thread to what folds its data; nil detaches. What State says
// is flushed. If there is a cut already, Voided is called before Attach returns.
func (t *Thread) Attach(a *Attachment) {
	t.mu.Lock()
	t.attached = a
	t.mu.Unlock()
	if a == nil {
		return
	}
	if a.State != nil {
		if n, _, ok := a.State(); ok {
			t.Flushed(n)
		}
	}
	t.notifyMu.Lock()
	t.lastCut = Cut{}
	t.notifyMu.Unlock()
	t.notify()
}

// state returns the folded position and state hash of what is attached.
func (t *Thread) state() (n int64, hash clock.Hash, ok bool) {
	t.mu.Lock()
	a := t.attached
	t.mu.Unlock()
	if a == nil || a.State == nil {
		return 0, clock.Hash{}, false
	}
	return a.State()
}

// lastArrival returns the number of the last arrival.
func (t *Thread) lastArrival() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arrivals
}

// notify tells what is attached of arrivals and void logs. No lock is held.
func (t *Thread) notify() {
	t.notifyMu.Lock()
	defer t.notifyMu.Unlock()
	t.mu.Lock()
	a, cut := t.attached, t.cut()
	more := len(t.pending) > 0 || (t.flushedTo < 0 && t.arrivals > 0)
	if t.relay && !t.closed && t.cuts.inForce > t.prunedFor {
		t.prunedFor = t.cuts.inForce
		t.wg.Go(t.pruneRelay)
	}
	t.mu.Unlock()
	if a == nil {
		return
	}
	if a.Voided != nil && !cut.equal(t.lastCut) {
		t.lastCut = cut
		a.Voided(cut.clone())
	}
	if more && a.Arrived != nil {
		a.Arrived()
	}
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
		if err := t.syncNow(); err != nil {
			t.env.log.Error("sync", "thread", t.id.String(), "err", err)
		}
	}
}

// syncNow makes what is committed durable and moves the marks.
func (t *Thread) syncNow() error {
	type mark struct {
		b         *branch
		tip, head clock.RecordID
	}
	var marks []mark
	t.mu.Lock()
	for _, l := range t.byNum {
		for _, b := range l.branches {
			if l.desc.Kind == kindControl || t.relay {
				marks = append(marks, mark{b, b.tip, b.signed})
			}
		}
	}
	t.mu.Unlock()
	if err := t.env.store.Sync(); err != nil {
		return fmt.Errorf("net: sync: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range marks {
		if m.tip.Seq > m.b.flushed.Seq {
			m.b.flushed = m.tip
		}
		if m.head.Seq > m.b.sent.Seq {
			m.b.sent = m.head
		}
	}
	t.signal()
	return nil
}
