package thread

import (
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// maxUnsigned is how many bytes of records one signature covers, about, so that a
// run that ends in a signed position fits in a frame.
const maxUnsigned = 1 << 20

// A sealedRecord is a record of ours, before it is in the store.
type sealedRecord struct {
	id    clock.RecordID
	value []byte
	size  int
}

// An append is in two halves, around the commit of whoever calls it: prepare puts
// rows into the caller's transaction and changes nothing in memory, install makes
// memory agree once that has committed.
//
// Invariant: a record is written under control heads that its log's announcement is
// among or before, later than they are and than all of its log.
//
//	Append(tx, d1 d2)     a/7, a/8 signed, their arrivals 44 45, the branch: into tx
//	tx.Commit, done(true) memory: tip 8, arrivals 45, both pending
//	done(false)           nothing happened: the next Append makes another a/7
//	Flushed(45)           both may be sent

// An appending is what one Append changes once its transaction has committed.
type appending struct {
	log     *held.Log
	next    logstore.Branch // what the branch becomes
	refs    []arrivalRef
	control *openedLog // set if a new log had to be opened
}

// Append seals drafts as the next records of this device's data log, signs the
// last, and puts them into tx, which the caller then commits; there is one caller
// at a time. done must be called once, with the outcome of the commit; until then
// the thread takes no other record. first is the arrival number of the first
// record; the others follow. An error leaves the thread as it was and done nil;
// the caller discards tx. [store.ErrTooBig] is one to retry with fewer drafts,
// [ErrClock] one to retry with later times.
func (t *Thread) Append(tx store.Tx, drafts []Draft) (ids []clock.RecordID, first int64, done func(committed bool), err error) {
	if len(drafts) == 0 {
		return nil, 0, nil, fault.Of(format.ErrMalformed, "no drafts")
	}
	// write stays locked until done: the next record chains to the last of these,
	// and what ingest would number in between would have their arrival numbers.
	t.write.Lock()
	a, ids, err := t.prepare(tx, drafts)
	if err != nil {
		t.write.Unlock()
		return nil, 0, nil, err
	}
	return ids, a.refs[0].N, func(committed bool) {
		if committed {
			t.install(a)
		}
		t.write.Unlock()
	}, nil
}

// prepare does all of Append but to install it; write is held.
func (t *Thread) prepare(tx store.Tx, drafts []Draft) (*appending, []clock.RecordID, error) {
	a, h, last, secret, err := t.beginAppend(tx, drafts[0].Time)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]clock.RecordID, 0, len(drafts))
	unsigned := 0
	for i := range drafts {
		d := &drafts[i]
		if len(d.Payload) > format.MaxPayload {
			return nil, nil, fault.Of(format.ErrTooLarge, "payload of %d bytes, at most %d", len(d.Payload), format.MaxPayload)
		}
		if d.Time <= last {
			return nil, nil, ErrClock
		}
		last = d.Time
		p := format.Plaintext{Atomic: d.Atomic, Payload: d.Payload}
		h.Time = d.Time
		signed := i == len(drafts)-1 || unsigned+len(d.Payload) > maxUnsigned
		rec, err := t.sealRecord(secret, h, &p, signed)
		if err != nil {
			return nil, nil, err
		}
		if err := t.rows.PutRecord(tx, a.log.Num, rec.id, rec.value); err != nil {
			return nil, nil, fmt.Errorf("append: %w", err)
		}
		ids = append(ids, rec.id)
		n := a.refs[0].N + int64(i)
		a.refs = append(a.refs[:i], arrivalRef{ArrivalRef: logstore.ArrivalRef{N: n, ID: rec.id, Log: a.log.Num}, signed: signed}, arrivalRef{ArrivalRef: logstore.ArrivalRef{N: n + 1}})
		a.next.Tip, a.next.Time, a.next.Done = rec.id, d.Time, rec.id
		if unsigned += rec.size; signed {
			a.next.Signed, unsigned = rec.id, 0
		}
		a.next.Records++
		a.next.Bytes += int64(rec.size)
		h.Seq, h.Prev = rec.id.Seq+1, rec.id.Hash
	}
	a.refs = a.refs[:len(drafts)]
	stored := make([]logstore.ArrivalRef, len(a.refs))
	for i := range a.refs {
		stored[i] = a.refs[i].ArrivalRef
	}
	if err := t.rows.PutBranch(tx, a.log.Num, &a.next); err != nil {
		return nil, nil, fmt.Errorf("append: %w", err)
	}
	return a, ids, t.rows.PutArrivals(tx, stored)
}

// beginAppend finds the log to append to, or opens a new one, and returns the
// header of the next record with what all of a group share, and the key to seal it with.
func (t *Thread) beginAppend(tx store.Tx, at clock.Time) (*appending, *format.Header, clock.Time, format.SecretKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fail := func(err error) (*appending, *format.Header, clock.Time, format.SecretKey, error) {
		return nil, nil, 0, format.SecretKey{}, err
	}
	switch {
	case t.closed:
		return fail(ErrClosed)
	case !t.keys.CanRead():
		return fail(ErrNoKeys)
	}
	if err := t.mayWrite(); err != nil {
		return fail(err)
	}
	k := t.present()
	secret, ok := k.Read(k.Epochs)
	if !ok {
		return fail(verify.ErrEpoch)
	}
	a := &appending{log: t.ownData, refs: []arrivalRef{{ArrivalRef: logstore.ArrivalRef{N: t.arrivals + 1}}}}
	h := &format.Header{Epochs: k.Epochs, Seq: 1}
	var since clock.Time // of the log's announcement
	if !t.ownUsable() {
		opened, err := t.openDataLog(tx, at)
		if err != nil {
			return fail(err)
		}
		a.control, a.log = opened, opened.log
		since, h.Control = opened.time, []clock.Hash{opened.hash}
	} else {
		since = t.graph.Announcement(a.log.ID).Time
		h.Control = t.controlHeads(at, a.log.ID)
	}
	h.Log = a.log.ID
	last := since
	if len(a.log.Branches) > 0 {
		b := slices.MaxFunc(a.log.Branches, func(a, b *held.Branch) int { return int(int64(a.Tip.Seq) - int64(b.Tip.Seq)) })
		a.next, last = b.Branch, max(last, b.Time)
		h.Seq, h.Prev = b.Tip.Seq+1, b.Tip.Hash
	}
	// Without a head to name, the announcement is not before `at`: a later time will do.
	if at <= last || len(h.Control) == 0 {
		return fail(ErrClock)
	}
	return a, h, last, secret, nil
}

// mayWrite returns nil if this device may write data now, and else why not.
func (t *Thread) mayWrite() error {
	s := t.graph.State()
	m := s.Members[t.env.self()]
	switch {
	case m != nil && m.Expired(t.env.clock.Real().Wall()):
		return fault.Of(ErrNotMember, "the delegation of this device ended at %s: its identity delegates again, by a device of its own", m.Expires)
	case m != nil && m.Role.CanWrite():
		return nil
	case m != nil:
		return fault.Of(ErrNotMember, "the role of this device, %s, does not write", m.Role)
	case slices.ContainsFunc(s.Waiting, func(w WaitingJoin) bool { return w.Device == t.env.self() && !w.Barred }):
		return errSelfWaits
	case slices.ContainsFunc(s.Waiting, func(w WaitingJoin) bool { return w.Device == t.env.self() }):
		return errSelfBarred
	case t.ownControl != nil && t.graph.Knows(t.ownControl.ID):
		return fault.Of(ErrNotMember, "this device was removed, or has left: what it holds can be read, and not changed")
	}
	return ErrNotMember
}

// ownUsable reports whether the own log can go on. If its announcement does not
// hold, or if it is so far ahead of real time that others would wait for its
// records, a new one is opened.
func (t *Thread) ownUsable() bool {
	if t.ownData == nil {
		return false
	}
	control, ok := t.graph.ControlOf(t.ownData.ID)
	if !ok || !t.graph.State().Live(control) || !t.ownCovered() {
		return false
	}
	return !slices.ContainsFunc(t.ownData.Branches, func(b *held.Branch) bool { return t.env.clock.Until(b.Time) > clock.Slack })
}

// controlHeads returns the heads of the control graph that are before a time: the
// record that names them comes after them. There is at least the record that
// announced the log.
func (t *Thread) controlHeads(at clock.Time, log clock.LogID) []clock.Hash {
	heads := slices.DeleteFunc(t.graph.Named(), func(h clock.Hash) bool { return t.graph.Time(h) >= at })
	c := t.graph.Announcement(log)
	if c != nil && c.Time < at && !t.graph.Reaches(heads, c) { // without it the record would be nobody's
		heads = control.With(heads, c.ID.Hash)
	}
	return heads
}

// sealRecord seals p as the record that h describes, but for its root, which is set.
func (t *Thread) sealRecord(secret format.SecretKey, h *format.Header, p *format.Plaintext, signed bool) (*sealedRecord, error) {
	body, root, err := t.env.sealer.Seal(secret, format.Position{Thread: t.id, Log: h.Log, Seq: h.Seq}, p)
	if err != nil {
		return nil, err
	}
	h.Root = root
	head := h.Encode()
	if len(head) > format.MaxHeader {
		return nil, fault.Of(format.ErrTooLarge, "header of %d bytes", len(head))
	}
	id := clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: format.RecordHash(t.id, head)}
	s := format.Stored{Record: format.Record{Header: head, Body: body}}
	if signed {
		s.Signed, s.Signature = true, t.env.device.Sign(format.DomainHead, t.id[:], id.Hash[:])
	}
	return &sealedRecord{id: id, value: s.Encode(), size: s.Size()}, nil
}

// install makes an Append that has committed the state in memory; write is held.
func (t *Thread) install(a *appending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.control != nil {
		t.installLog(a.control)
	}
	if n := t.limits[a.log.ID]; n != nil && n.refind {
		t.limited++
	}
	b := t.installBranch(a.log, &a.next)
	for _, ref := range a.refs {
		if ref.branch = b; a.log.Add(b, ref.ID) {
			t.limited++
		}
		t.arrivals = ref.N
		t.arrived(ref)
	}
	t.grew.Ring()
}

// A Draft is a transaction to append to this device's data log.
type Draft struct {
	Time    clock.Time // later than every time of the log and of what was flushed
	Atomic  bool
	Payload []byte // at most MaxPayload
}
