package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// A Held is a log to check, as memory has it, which may be newer than the view that is
// read, never older: what is there of a branch is looked up.
type Held struct {
	Log
	Branches []uint32 // their numbers
	Floor    uint64   // up to which it is cut off

	after, upTo uint64 // what was judged: after the floor, up to a position
}

// forked reports whether the log has more than one branch.
func (l *Held) forked() bool { return len(l.Branches) > 1 }

// Check reads logs, of which there is one for each number, and reports what is not as it
// was written: chains of hashes, signatures, bodies, positions and, if they are asked
// for, arrival numbers. read is told how many bytes were read; its error ends the check.
// It returns how many records it read.
func (t Table) Check(r store.Reader, logs []Held, arrivals bool, read func(bytes int) error, report func(error)) (records int64, err error) {
	c := &checker{Table: t, read: read, report: report}
	for i := range logs {
		if err := c.log(r, &logs[i]); err != nil {
			return c.records, err
		}
	}
	if arrivals {
		err = c.arrivals(r, logs)
	}
	return c.records, err
}

// A checker reads a thread once.
type checker struct {
	Table
	read    func(bytes int) error
	report  func(error)
	records int64
}

func (c *checker) damaged(format string, args ...any) {
	c.report(fault.Errorf(fault.Corrupt, format, args...))
}

// log checks the branches of a log.
func (c *checker) log(r store.Reader, l *Held) error {
	for _, num := range l.Branches {
		v, err := r.Get(c.branchKey(l.Num, num))
		if errors.Is(err, store.ErrNotFound) {
			continue // it began after the view
		}
		if err != nil {
			return err
		}
		b, err := decodeBranch(l.ID, num, v)
		if err != nil {
			c.damaged("log %s of thread %s: %v", l.ID.Short(), c.thread, err)
			continue
		}
		if l.forked() {
			err = c.branch(r, &l.Log, &b)
		} else {
			err = c.line(r, &l.Log, &b)
			l.after = max(b.Base.Seq, l.Floor)
			l.upTo = max(b.Done.Seq, l.after)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// line checks a log that is not forked, which is one range of keys, and goes on
// after what is missing.
func (c *checker) line(r store.Reader, l *Log, b *Branch) error {
	it := r.Iterate(store.Range{Lower: c.seqKey(l.Num, b.Base.Seq+1), Upper: c.seqKey(l.Num, b.Tip.Seq+1)})
	defer it.Close()
	at := b.Base // the last record that was there
	missing := func(from, to uint64) {
		if from <= to {
			c.damaged("log %s of thread %s lacks the records %d to %d", l.ID.Short(), c.thread, from, to)
		}
	}
	broken := false // what at is does not tell what comes next
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		k := it.Key()
		seq := SeqOf(k)
		if seq > at.Seq+1 {
			missing(at.Seq+1, seq-1)
			broken = true
		}
		id, err := c.record(l, k, v, at, broken)
		if broken = err != nil; broken {
			c.damaged("record %d of log %s of thread %s: %v", seq, l.ID.Short(), c.thread, err)
			id = clock.RecordID{Log: l.ID, Seq: seq}
		}
		at = id
		if err := c.read(len(v)); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	missing(at.Seq+1, b.Tip.Seq)
	if at.Seq == b.Tip.Seq && !broken && b.Tip.Seq > b.Base.Seq && at.Hash != b.Tip.Hash {
		c.damaged("log %s of thread %s ends in another record than it says", l.ID.Short(), c.thread)
	}
	return nil
}

// branch checks one branch of a forked log, back from its tip.
func (c *checker) branch(r store.Reader, l *Log, b *Branch) error {
	at := b.Base
	return c.WalkPath(r, l.Num, b.Tip, b.Base.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
		v := s.Encode()
		if _, err := c.record(l, c.recordKey(l.Num, id.Seq, id.Hash), v, at, false); err != nil {
			c.damaged("record %d of log %s of thread %s: %v", id.Seq, l.ID.Short(), c.thread, err)
		}
		at = id
		return true, c.read(len(v))
	})
}

// record checks one record against its key and the record before it; after a gap
// nothing is known of that.
func (c *checker) record(l *Log, key, v []byte, before clock.RecordID, gap bool) (clock.RecordID, error) {
	c.records++
	s, err := format.DecodeStored(v)
	if err != nil {
		return clock.RecordID{}, err
	}
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return clock.RecordID{}, err
	}
	id := clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: format.RecordHash(c.thread, s.Header)}
	if id.Log != l.ID || !bytes.Equal(key, c.recordKey(l.Num, id.Seq, id.Hash)) {
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
	if s.Signed && !format.VerifyHead(c.thread, l.Desc.Device, id.Hash, s.Signature) {
		return id, fmt.Errorf("the signature does not hold")
	}
	return id, nil
}

// arrivals compares the arrival numbers with the records: each record of a log that
// was judged and has effect has one.
func (c *checker) arrivals(r store.Reader, logs []Held) error {
	lacks := make([]int64, len(logs))
	for i := range logs {
		if l := &logs[i]; l.Desc.Kind != format.KindControl {
			lacks[i] = int64(l.upTo - l.after)
		}
	}
	found := func(log uint32, seq uint64) {
		if int(log) < len(logs) && seq > logs[log].after && seq <= logs[log].upTo {
			lacks[log]--
		}
	}
	err := c.EachArrival(r, 0, func(a ArrivalRef) (bool, error) {
		found(a.Log, a.ID.Seq)
		return true, c.read(ArrivalSize)
	})
	if err != nil {
		return err
	}
	refused := r.Iterate(store.Prefix(c.key(keyRefused)))
	defer refused.Close()
	for ; refused.Valid(); refused.Next() {
		k := refused.Key()
		found(binary.BigEndian.Uint32(k[len(k)-28:]), SeqOf(k))
	}
	for i := range logs {
		if l := &logs[i]; lacks[i] != 0 && !l.forked() {
			c.damaged("log %s of thread %s: %d records have no arrival number", l.ID.Short(), c.thread, lacks[i])
		}
	}
	return refused.Err()
}
