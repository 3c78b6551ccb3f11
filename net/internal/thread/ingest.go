package thread

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
	"github.com/weftdb/weft/net/internal/verify"
)

// An Ingested says what became of a run.
type Ingested struct {
	Stored  int  // records that are new here
	Held    int  // records that were here already
	Waiting bool // some are held, or on hand, and wait to be judged
	Control bool // the control state may have changed
}

// A run is taken in under write and mu, in one transaction unless it is too large.
//
// Invariant: of each branch a prefix is held and of that a prefix is judged, in
// order; a record is judged once, and what it became (in the graph, an arrival, a
// refusal) is in one commit with the done that passes it.
//
//	held a/1…6      run a/5 a/6 a/7 a/8, signed at a/8
//	a/5 a/6         are held: skipped
//	a/7             follows the tip; had it another a/6 before it, it would be a new branch
//	judge a/7       arrival 44; a/8 names a control record that is not held: done stays at 7
//	commit          records, the branch (tip 8, done 7, signed 8), the arrival: all or none
//
// A record that fails verification ends the run before it: what is good is kept.

// Ingest takes a run from another node: it verifies, stores, and folds or numbers
// its records. A *Rejection names the first record that was refused; the ones
// before it are kept. Any other error is of this node.
func (t *Thread) Ingest(ctx context.Context, r format.Run) (Ingested, error) {
	return t.ingest(ctx, r, false)
}

// IngestFromStranger is [Thread.Ingest] of what a peer brings that is no member here, and
// no relay in use: its join is taken in while the invite lets it in.
func (t *Thread) IngestFromStranger(ctx context.Context, r format.Run) (Ingested, error) {
	return t.ingest(ctx, r, true)
}

func (t *Thread) ingest(ctx context.Context, r format.Run, stranger bool) (Ingested, error) {
	v, rej := t.verify(ctx, r)
	if err := ctx.Err(); err != nil {
		return Ingested{}, err
	}
	if v == nil || len(v.Records) == 0 {
		return Ingested{}, rej
	}
	v.Stranger = stranger
	t.write.Lock()
	t.mu.Lock()
	res, late, err := t.ingestLocked(v)
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
	switch {
	case err != nil:
		return res, err
	case late != nil:
		return res, verify.Judged(late)
	case rej != nil:
		return res, rej
	}
	return res, nil
}

// ingestLocked takes in a verified run; write and mu are held.
func (t *Thread) ingestLocked(v *verify.Run) (Ingested, *Rejection, error) {
	if t.closed {
		return Ingested{}, nil, ErrClosed
	}
	w := &ingestTx{t: t, tx: t.env.store.Begin(), dirty: map[*held.Branch]*held.Log{}}
	defer func() { w.tx.Discard() }()
	rej, err := w.hold(v)
	if err == nil && (w.res.Control || t.wantedMore) {
		err = w.settle()
	}
	if err == nil {
		err = w.commit()
	}
	if err == nil {
		t.refreshCuts()
	}
	t.armWaker(0)
	t.tellRevived()
	t.grew.Ring()
	t.syncSoon(w.unsynced)
	return w.res, rej, err
}

// An ingestTx is a write of ingest. Memory is changed before the commit, under mu:
// after a commit that was refused for a full disk it is read again, and after one that
// has failed the store takes no other until it is opened again.
type ingestTx struct {
	t        *Thread
	tx       store.Tx
	dirty    map[*held.Branch]*held.Log
	refs     []logstore.ArrivalRef
	res      Ingested
	unsynced bool // something is committed that Flushed will not speak of
	learned  bool // keys of epochs that are to be kept
}

// room commits what there is if n more bytes would not fit.
func (w *ingestTx) room(n int) error {
	lim, used := w.t.env.store.Limits(), w.tx.Used()
	n += 4096 + len(w.refs)*logstore.ArrivalSize + len(w.dirty)*256
	if used.Bytes+n <= lim.Bytes && used.Puts+64+len(w.dirty)+len(w.refs)/logstore.ArrivalChunk <= lim.Puts {
		return nil
	}
	return w.next()
}

// next commits what there is and goes on in another transaction: the records so far
// are a prefix, so that a crash between the two leaves nothing that is half judged.
func (w *ingestTx) next() error {
	if err := w.commit(); err != nil {
		return err
	}
	w.tx = w.t.env.store.Begin()
	return nil
}

// commit writes the branches and arrivals that changed, with the records.
func (w *ingestTx) commit() error {
	for b, l := range w.dirty {
		if err := w.t.rows.PutBranch(w.tx, l.Num, &b.Branch); err != nil {
			return fmt.Errorf("branch: %w", err)
		}
	}
	if err := w.t.rows.PutArrivals(w.tx, w.refs); err != nil {
		return err
	}
	if w.learned {
		if err := w.t.putSecrets(w.tx, &w.t.keys); err != nil {
			return err
		}
		w.learned = false
	}
	clear(w.dirty)
	w.refs = nil
	if err := w.tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// hold stores the records of v that are new, after the one they follow.
func (w *ingestTx) hold(v *verify.Run) (*Rejection, error) {
	t := w.t
	l := t.logs[v.Log]
	if rej, parked := w.admit(v, l); rej != nil || parked {
		return rej, nil
	}
	i := w.passed(l, v)
	w.res.Held += i
	if i == len(v.Records) {
		return nil, nil
	}
	if rej := t.lapsed(v); rej != nil {
		return rej, nil
	}
	first := &v.Records[i]
	b, rej, err := w.follow(l, first)
	if rej != nil || err != nil {
		return rej, err
	}
	if l == nil {
		l = t.addLog(v.Desc, v.Raw)
		if err := t.rows.PutLog(w.tx, &l.Log); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
	}
	if !slices.Contains(l.Branches, b) {
		b.Num = l.Next()
		l.Branches = append(l.Branches, b)
		l.Floor = t.cuts.floors[l.ID]
	}
	if l == t.ownData {
		// Records of our own that we do not know: somebody restored an older state.
		t.ownData = nil
		if err := t.putOwn(w.tx, t.ownControl, nil); err != nil {
			return nil, fmt.Errorf("own log: %w", err)
		}
	}
	return w.extend(v, l, b, v.Records[i:])
}

// passed returns how many records at the beginning of a run are held, or lie below the floor
// of their log: before a head, or where nothing that is held leads to.
func (w *ingestTx) passed(l *held.Log, v *verify.Run) (n int) {
	t, f := w.t, w.t.cuts.floors[v.Log]
	for i := range v.Records {
		if id := v.Records[i].ID; id.Seq <= f.Lowest() || f.Has(id) {
			n = i + 1
		}
	}
	isHeld := func(id clock.RecordID) bool { return l != nil && t.held(w.tx, l, id) }
	for n < len(v.Records) && isHeld(v.Records[n].ID) {
		n++
	}
	if n == len(v.Records) || v.Records[n].ID.Seq > f.Top() {
		return n
	}
	r := &v.Records[n]
	prev := clock.RecordID{Log: r.ID.Log, Seq: r.ID.Seq - 1, Hash: r.Header.Prev}
	if !f.Has(prev) && !(isHeld(prev) && l.Above(prev)) {
		for n < len(v.Records) && v.Records[n].ID.Seq <= f.Top() {
			n++
		}
	}
	return n
}

// admit decides whether records of the log may be kept. It parks what may become
// admissible when more control records are known.
func (w *ingestTx) admit(v *verify.Run, l *held.Log) (rej *Rejection, parked bool) {
	t, first := w.t, &v.Records[0]
	if v.Desc.Kind != format.KindControl {
		return w.admitData(v)
	}
	second := first.ID.Seq == 1 && t.graph.Knows(v.Log) && !t.graph.Has(first.ID.Hash)
	if (l != nil || t.graph.Knows(v.Log)) && !second {
		if t.idle(v) {
			t.idled = true
			return verify.Refuse(fault.Void, v.Records[len(v.Records)-1].ID, "the device waits until an owner admits it", ErrNotMember), false
		}
		return nil, false
	}
	if first.ID.Seq != 1 {
		return verify.Refuse(fault.Gap, first.ID, "control log without its first record", nil), false
	}
	if _, lacks := t.graph.Lacks(first.Control); lacks || t.env.clock.Check(first.Header.Time) != nil {
		return t.park(v, first.Header.Time, w), true
	}
	if err := t.graph.Check(first.Control); err != nil {
		return verify.Reject(first.ID, err), false
	}
	if t.door(v) != nil {
		return t.park(v, 0, w), true
	}
	if op := first.Control.Payload.Op; (op == format.OpRecover || op == format.OpRevoke) && t.graph.Recovers() >= maxRecovers && !t.wanted[first.ID.Hash] {
		return verify.Refuse(fault.Void, first.ID, "too many recoveries and revocations are held", ErrNotMember), false
	}
	if s := t.graph.State(); s.Idle >= maxIdleJoins && first.Control.Payload.Op == format.OpJoin && !s.Stands(first.Control) && !t.wanted[first.ID.Hash] {
		t.idled = true // of a kind that ends no pull: what comes after it is taken
		return verify.Refuse(fault.Void, first.ID, "too many joins without effect are held", ErrNotMember), false
	}
	return nil, false
}

// maxRecovers bounds the records that whoever has a recovery key, or a member's identity key,
// can make without being a member.
const maxRecovers = 256

// maxIdleJoins bounds the joins without effect that a thread keeps.
var maxIdleJoins = 10_000

// idle reports whether a run goes on in the control log of a device that waits, of which
// its join is enough, and no member names a record of it.
func (t *Thread) idle(v *verify.Run) bool {
	ends := func(r verify.Record) bool { return r.Control != nil && r.Control.Payload.Op == format.OpTransfer }
	if v.Records[len(v.Records)-1].ID.Seq == 1 || !t.graph.Knows(v.Log) || t.graph.State().Live(v.Log) || slices.ContainsFunc(v.Records, ends) {
		return false
	}
	return !slices.ContainsFunc(v.Records, func(r verify.Record) bool { return t.wanted[r.ID.Hash] })
}

// admitData is admit for a data log: only announced logs are kept, so that nobody
// but members fills the disk.
func (w *ingestTx) admitData(v *verify.Run) (rej *Rejection, parked bool) {
	t, first := w.t, &v.Records[0]
	if _, ok := t.graph.ControlOf(v.Log); ok {
		return t.within(v), false
	}
	for _, h := range first.Header.Control {
		if !t.graph.Has(h) {
			return t.park(v, 0, w), true
		}
	}
	return verify.Refuse(fault.NotMember, first.ID, "no member has announced the log", ErrNotMember), false
}

// follow returns the branch that a record goes on, a new one if it forks the log.
func (w *ingestTx) follow(l *held.Log, r *verify.Record) (*held.Branch, *Rejection, error) {
	if r.ID.Seq == 1 {
		return &held.Branch{}, nil, nil
	}
	prev := clock.RecordID{Log: r.ID.Log, Seq: r.ID.Seq - 1, Hash: r.Header.Prev}
	f := w.t.cuts.floors[prev.Log]
	if b := w.afterCut(l, prev); b != nil {
		return b, nil, nil
	}
	beside := func() (*held.Branch, *Rejection, error) {
		return nil, verify.Refuse(fault.Void, r.ID, "a checkpoint cuts the log, and this is not after one of its heads", nil), nil
	}
	if l != nil {
		for _, b := range l.Branches {
			if b.Tip == prev {
				if !l.Above(prev) {
					return beside()
				}
				if r.Header.Time <= b.Time {
					return nil, verify.Reject(r.ID, ErrClock), nil
				}
				return b, nil, nil
			}
		}
		s, err := w.t.rows.Record(w.tx, l.Num, prev)
		if err == nil {
			h, err := format.DecodeHeader(s.Header)
			if err != nil {
				return nil, nil, err
			}
			if r.Header.Time <= h.Time {
				return nil, verify.Reject(r.ID, ErrClock), nil
			}
			b := &held.Branch{Branch: logstore.Branch{Base: prev, Done: prev, Time: h.Time}}
			if !l.Above(prev) {
				return beside()
			}
			b.From, err = w.from(l, prev)
			return b, nil, err
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, nil, err
		}
	}
	if len(f) == 1 && prev.Seq == f.Top() {
		return beside()
	}
	return nil, verify.Refuse(fault.Gap, r.ID, "the records before it are not held", nil), nil
}

// from returns after which record what leads to one that is held counts, for a new branch.
func (w *ingestTx) from(l *held.Log, id clock.RecordID) (clock.RecordID, error) {
	if len(l.Floor) > 0 {
		return l.HeadOf(w.t.rows, w.tx, id)
	}
	if !slices.ContainsFunc(l.Branches, func(b *held.Branch) bool { return b.From.Seq > 0 }) {
		return clock.RecordID{}, nil
	}
	b, err := l.BranchOf(w.t.rows, w.tx, id)
	if err != nil {
		return clock.RecordID{}, err
	}
	return b.From, nil
}

// extend stores records at the end of a branch and judges them as far as it can.
func (w *ingestTx) extend(v *verify.Run, l *held.Log, b *held.Branch, records []verify.Record) (*Rejection, error) {
	t := w.t
	for i := range records {
		r := &records[i]
		ready := b.Done.Seq == r.ID.Seq-1
		if ready && l.Desc.Kind == format.KindControl {
			if wait := t.judgeControl(r.Control); wait != "" {
				ready = false
			} else if err := t.graph.Check(r.Control); err != nil {
				return verify.Reject(r.ID, err), nil
			}
		}
		s := format.Stored{Record: r.Raw}
		if v.Signed && i == len(records)-1 {
			s.Signed, s.Signature = true, v.Signature
		}
		value := s.Encode()
		if err := w.room(len(value)); err != nil {
			return nil, err
		}
		if err := t.rows.PutRecord(w.tx, l.Num, r.ID, value); err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		b.Tip, b.Time = r.ID, r.Header.Time
		if s.Signed {
			b.Signed = r.ID
		}
		b.Records++
		b.Bytes += int64(r.Raw.Size())
		w.dirty[b] = l
		if l.Add(b, r.ID) {
			t.limited++
		}
		w.res.Stored++
		if ready {
			if _, err := w.judge(l, b, r, s.Signed); err != nil {
				return nil, err
			}
		}
	}
	w.res.Waiting = w.res.Waiting || b.Done != b.Tip
	w.unsynced = w.unsynced || l.Desc.Kind == format.KindControl || t.relay
	return nil, nil
}

// A Rejection says which record was refused and why. Records before it in the
// same run are kept.
type Rejection = verify.Rejection

// verify checks what can be checked of a run without state.
func (t *Thread) verify(ctx context.Context, r format.Run) (*verify.Run, *Rejection) {
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	return t.opener(&k).Run(ctx, r)
}

// opener returns what records are opened with by who has the keys k.
func (t *Thread) opener(k *format.Keys) *verify.Opener {
	return &verify.Opener{Thread: t.id, Keys: k, Sealer: t.env.sealer, FirstEpoch: t.firstEpoch()}
}
