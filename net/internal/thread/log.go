package thread

import (
	"bytes"
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// A threadLog is what is held of one log.
type threadLog struct {
	num      uint32
	id       clock.LogID
	desc     format.Descriptor
	raw      []byte
	branches []*branch
}

// forked reports whether the log has more than one branch: a range of keys then
// holds records of several.
func (l *threadLog) forked() bool { return len(l.branches) > 1 }

// start returns the position after which the records of a log's first branch are
// held: those before it were cut off, here or before they came here.
func (l *threadLog) start() uint64 {
	if len(l.branches) == 0 {
		return 0
	}
	return l.branches[0].base.Seq
}

// top returns the highest flushed position of a log.
func (l *threadLog) top() (top clock.RecordID) {
	for _, b := range l.branches {
		if b.flushed.Seq > top.Seq || (b.flushed.Seq == top.Seq && bytes.Compare(b.flushed.Hash[:], top.Hash[:]) > 0) {
			top = b.flushed
		}
	}
	return top
}

// A branch is one line of a log: the only one, unless the log's device forked it.
// Its positions never pass each other:
//
//	base ≤ done ≤ tip        what is held; up to done it was judged, the rest waits
//	signed ≤ tip             runs end at signed positions
//	sent ≤ flushed           what may be sent, what may be acknowledged: see Flushed
//
// A log 1 2 3 that its device forked after 1 (a restored copy wrote 2' 3') is two:
//
//	branch 0    base –    tip 3
//	branch 1    base 1    tip 3'     walked back by previous hashes to its base
type branch struct {
	num    uint32
	base   clock.RecordID // the record it leaves another branch after; none if Seq is 0
	tip    clock.RecordID
	time   clock.Time     // of the tip
	signed clock.RecordID // last position with a signature
	done   clock.RecordID // judged up to: arrived, refused, or folded; the rest waits

	records, bytes int64

	// In memory only: what is durable (and folded, on a member) up to a signed
	// position, and up to any.
	sent, flushed clock.RecordID
	pending       int // arrivals that are not flushed
}

// branchRow is a branch as it is kept.
type branchRow struct {
	_              struct{} `cbor:",toarray"`
	BaseSeq        uint64
	Base           clock.Hash
	TipSeq         uint64
	Tip            clock.Hash
	Time           clock.Time
	SignedSeq      uint64
	Signed         clock.Hash
	DoneSeq        uint64
	Done           clock.Hash
	Records, Bytes int64
}

func (b *branch) encode() []byte {
	return rows.Encode(&branchRow{
		BaseSeq: b.base.Seq, Base: b.base.Hash, TipSeq: b.tip.Seq, Tip: b.tip.Hash, Time: b.time,
		SignedSeq: b.signed.Seq, Signed: b.signed.Hash, DoneSeq: b.done.Seq, Done: b.done.Hash,
		Records: b.records, Bytes: b.bytes,
	})
}

// decodeBranch parses a row strictly. The marks sent and flushed are not in it: after a
// restart they are found from what the database has folded.
func decodeBranch(log clock.LogID, num uint32, p []byte) (*branch, error) {
	var w branchRow
	if err := rows.Decode(p, "stored branch", &w); err != nil {
		return nil, err
	}
	id := func(seq uint64, hash clock.Hash) clock.RecordID {
		if seq == 0 {
			return clock.RecordID{Hash: hash}
		}
		return clock.RecordID{Log: log, Seq: seq, Hash: hash}
	}
	return &branch{
		num: num, base: id(w.BaseSeq, w.Base), tip: id(w.TipSeq, w.Tip), time: w.Time,
		signed: id(w.SignedSeq, w.Signed), done: id(w.DoneSeq, w.Done), records: w.Records, bytes: w.Bytes,
	}, nil
}

// addLog gives a log the next number; mu is held, or nobody else knows t.
func (t *Thread) addLog(d format.Descriptor, raw []byte) *threadLog {
	l := &threadLog{num: uint32(len(t.byNum)), id: format.LogIDOf(t.id, raw), desc: d, raw: raw}
	t.byNum = append(t.byNum, l)
	t.logs[l.id] = l
	return l
}

func (t *Thread) putLog(tx store.Tx, l *threadLog) error {
	return tx.Put(binary.BigEndian.AppendUint32(t.key(keyLog), l.num), l.raw)
}

// newLocalLog returns a log with the number that it will have after n others that
// are not installed yet.
func (t *Thread) newLocalLog(d format.Descriptor, n int) *threadLog {
	raw := d.Encode()
	return &threadLog{num: uint32(len(t.byNum) + n), id: format.LogIDOf(t.id, raw), desc: d, raw: raw}
}

// installLocal takes a log of this device in, once its announcement has committed.
func (t *Thread) installLocal(l *threadLog) {
	if _, ok := t.logs[l.id]; !ok {
		t.byNum = append(t.byNum, l)
		t.logs[l.id] = l
	}
}

// installBranch takes the stored part of next into the branch of that number.
func (t *Thread) installBranch(l *threadLog, next *branch) *branch {
	if int(next.num) == len(l.branches) {
		b := *next
		l.branches = append(l.branches, &b)
		return &b
	}
	b := l.branches[next.num]
	b.tip, b.time, b.signed, b.done, b.records, b.bytes = next.tip, next.time, next.signed, next.done, next.records, next.bytes
	return b
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
		err := t.walkPath(r, l.num, b.tip, id.Seq-1, func(at clock.RecordID, _ format.Stored) (bool, error) {
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
	return nil, fault.Of(ErrNotFound, "record %s is on no branch", id)
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
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			return clock.RecordID{}, err
		}
		id = clock.RecordID{Log: id.Log, Seq: id.Seq - 1, Hash: h.Prev}
	}
	return clock.RecordID{}, nil
}
