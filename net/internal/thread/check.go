package thread

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A Checked says what [Thread.Check] has read.
type Checked struct {
	Records, Blobs int64
	Bytes          int64 // of both
}

// A checker reads a thread once.
type checker struct {
	t      *Thread
	ctx    context.Context //nolint:containedctx // of one call
	pace   func(bytes int) error
	report func(error)
	out    Checked
}

// Check reads everything that is stored of the thread and reports what is not as it
// was written: chains of hashes, signatures, bodies, positions, arrival numbers,
// blobs. What is reported is of kind corrupt, one sentence each; blobs that [Thread.DropBlobs]
// would drop are altered. pace, which may be nil, is told how many bytes were read and may
// wait; its error ends the check. The error of Check is of reading, not of what was read.
func (t *Thread) Check(ctx context.Context, pace func(bytes int) error, report func(error), altered func(format.BlobID, error)) (Checked, error) {
	if pace == nil {
		pace = func(int) error { return nil }
	}
	c := &checker{t: t, ctx: ctx, pace: pace, report: report}
	defer t.HoldBlobs()() // files are not of the snapshot
	snap := t.env.store.Snapshot()
	defer snap.Release()
	t.mu.Lock()
	var logs []*threadLog
	for _, l := range t.byNum {
		copied := *l
		copied.branches = nil
		for _, b := range l.branches {
			at := *b
			copied.branches = append(copied.branches, &at)
		}
		logs = append(logs, &copied)
	}
	floors := t.cuts.floors
	t.mu.Unlock()
	// What was read under mu may be newer than the snapshot, never older: what is
	// there of a branch is looked up again.
	judged := make([]judgedPart, len(logs))
	for i, l := range logs {
		if err := c.log(snap, l, floors[l.id].Seq, &judged[i]); err != nil {
			return c.out, err
		}
	}
	if err := c.arrivals(snap, logs, judged); err != nil {
		return c.out, err
	}
	var err error
	c.out.Blobs, err = t.blobs.Check(snap, c.read, report, altered)
	return c.out, err
}

// A judgedPart is what a log has after its floor, up to where it was judged.
type judgedPart struct{ after, upTo uint64 }

func (c *checker) damaged(format string, args ...any) {
	c.report(fault.Errorf(fault.Corrupt, format, args...))
}

// read counts n bytes and lets pace wait.
func (c *checker) read(n int) error {
	c.out.Bytes += int64(n)
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return c.pace(n)
}

// log checks the branches of a log.
func (c *checker) log(r store.Reader, l *threadLog, floor uint64, judged *judgedPart) error {
	for _, b := range l.branches {
		v, err := r.Get(c.t.branchKey(l.num, b.num))
		if errors.Is(err, store.ErrNotFound) {
			continue // it began after the snapshot
		}
		if err != nil {
			return err
		}
		stored, err := decodeBranch(l.id, b.num, v)
		if err != nil {
			c.damaged("log %s of thread %s: %v", l.id.Short(), c.t.id, err)
			continue
		}
		if l.forked() {
			err = c.branch(r, l, stored)
		} else {
			err = c.line(r, l, stored)
			judged.after = max(stored.base.Seq, floor)
			judged.upTo = max(stored.done.Seq, judged.after)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// line checks a log that is not forked, which is one range of keys, and goes on
// after what is missing.
func (c *checker) line(r store.Reader, l *threadLog, b *branch) error {
	it := r.Iterate(store.Range{Lower: c.t.seqKey(l.num, b.base.Seq+1), Upper: c.t.seqKey(l.num, b.tip.Seq+1)})
	defer it.Close()
	at := b.base // the last record that was there
	missing := func(from, to uint64) {
		if from <= to {
			c.damaged("log %s of thread %s lacks the records %d to %d", l.id.Short(), c.t.id, from, to)
		}
	}
	broken := false // what at is does not tell what comes next
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		k := it.Key()
		seq := binary.BigEndian.Uint64(k[len(k)-24:])
		if seq > at.Seq+1 {
			missing(at.Seq+1, seq-1)
			broken = true
		}
		id, err := c.record(l, k, v, at, broken)
		if broken = err != nil; broken {
			c.damaged("record %d of log %s of thread %s: %v", seq, l.id.Short(), c.t.id, err)
			id = clock.RecordID{Log: l.id, Seq: seq}
		}
		at = id
		if err := c.read(len(v)); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	missing(at.Seq+1, b.tip.Seq)
	if at.Seq == b.tip.Seq && !broken && b.tip.Seq > b.base.Seq && at.Hash != b.tip.Hash {
		c.damaged("log %s of thread %s ends in another record than it says", l.id.Short(), c.t.id)
	}
	return nil
}

// branch checks one branch of a forked log, back from its tip.
func (c *checker) branch(r store.Reader, l *threadLog, b *branch) error {
	at := b.base
	return c.t.walkPath(r, l.num, b.tip, b.base.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
		v := s.Encode()
		if _, err := c.record(l, c.t.recordKey(l.num, id.Seq, id.Hash), v, at, false); err != nil {
			c.damaged("record %d of log %s of thread %s: %v", id.Seq, l.id.Short(), c.t.id, err)
		}
		at = id
		return true, c.read(len(v))
	})
}

// record checks one record against its key and the record before it; after a gap
// nothing is known of that.
func (c *checker) record(l *threadLog, key, v []byte, before clock.RecordID, gap bool) (clock.RecordID, error) {
	c.out.Records++
	s, err := format.DecodeStored(v)
	if err != nil {
		return clock.RecordID{}, err
	}
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return clock.RecordID{}, err
	}
	id := clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: format.RecordHash(c.t.id, s.Header)}
	if id.Log != l.id || !bytes.Equal(key, c.t.recordKey(l.num, id.Seq, id.Hash)) {
		return id, fmt.Errorf("another record is in its place")
	}
	if !gap && id.Seq > 1 && h.Prev != before.Hash {
		return id, fmt.Errorf("it does not follow the one before it")
	}
	b, err := format.ParseBody(s.Body)
	if err != nil {
		return id, err
	}
	if b.Root() != h.Root {
		return id, fmt.Errorf("the body is not the one that the header commits to")
	}
	if s.Signed && !keys.Verify(l.desc.Device, format.DomainHead, s.Signature, c.t.id[:], id.Hash[:]) {
		return id, fmt.Errorf("the signature does not hold")
	}
	return id, nil
}

// arrivals compares the arrival numbers with the records: each record of a log that
// was judged and has effect has one.
func (c *checker) arrivals(r store.Reader, logs []*threadLog, judged []judgedPart) error {
	if c.t.relay {
		return nil
	}
	lacks := make([]int64, len(logs))
	for i, l := range logs {
		if l.desc.Kind != format.KindControl {
			lacks[i] = int64(judged[i].upTo - judged[i].after)
		}
	}
	found := func(log uint32, seq uint64) {
		if int(log) < len(logs) && seq > judged[log].after && seq <= judged[log].upTo {
			lacks[log]--
		}
	}
	err := c.t.eachArrival(r, 0, func(a arrivalRef) (bool, error) {
		found(a.log, a.id.Seq)
		return true, c.read(arrivalSize)
	})
	if err != nil {
		return err
	}
	refused := r.Iterate(store.Prefix(c.t.key(keyRefused)))
	defer refused.Close()
	for ; refused.Valid(); refused.Next() {
		k := refused.Key()
		found(binary.BigEndian.Uint32(k[len(k)-28:]), binary.BigEndian.Uint64(k[len(k)-24:]))
	}
	for i, l := range logs {
		if lacks[i] != 0 && !l.forked() {
			c.damaged("log %s of thread %s: %d records have no arrival number", l.id.Short(), c.t.id, lacks[i])
		}
	}
	return refused.Err()
}
